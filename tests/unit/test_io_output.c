#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include "check_main.h"
#include "io_files.h"
#include "output.h"
#include "sha256.h"

static void assert_content(const char *path, const char *expected)
{
    char *text;
    size_t n;
    kvc_error err = {0};
    ck_assert_msg(input_read(&text, &n, path, 1000, &err) == KVC_OK, "%s", err.message);
    ck_assert_uint_eq(n, strlen(expected));
    ck_assert_str_eq(text, expected);
    free(text);
}

START_TEST(commit__replaces_the_file_at_once)
{
    const char *path = scratch_path("whole");
    output *o;
    ck_assert_int_eq(output_write(path, "old", 3, NULL), KVC_OK);
    ck_assert_int_eq(output_open(&o, path, NULL), KVC_OK);
    fputs("new text", output_stream(o));
    fflush(output_stream(o));
    assert_content(path, "old");
    assert_content(output_temp_path(o), "new text");
    ck_assert_int_eq(output_commit(o, NULL), KVC_OK);
    assert_content(path, "new text");
    unlink(path);
}
END_TEST

START_TEST(discard__leaves_nothing)
{
    const char *path = scratch_path("absent");
    char temp[1100];
    output *o;
    for (int all = 0; all < 2; all++) {
        ck_assert_int_eq(output_open(&o, path, NULL), KVC_OK);
        snprintf(temp, sizeof temp, "%s", output_temp_path(o));
        ck_assert_int_eq(access(temp, F_OK), 0);
        if (all) output_discard_all();
        if (all) ck_assert_int_ne(access(temp, F_OK), 0);
        output_discard(o);
        ck_assert_int_ne(access(temp, F_OK), 0);
        ck_assert_int_ne(access(path, F_OK), 0);
    }
    output_discard(NULL);
}
END_TEST

START_TEST(commit__reports_a_full_disk_and_leaves_no_file)
{
    const char *path = scratch_path("full");
    struct rlimit old, small;
    char temp[1100], block[4096] = {0};
    output *o;
    kvc_error err = {0};
    signal(SIGXFSZ, SIG_IGN); /* writes beyond the limit then fail as on a full disk */
    getrlimit(RLIMIT_FSIZE, &old);
    small = (struct rlimit){10000, old.rlim_max};
    ck_assert_int_eq(output_open(&o, path, NULL), KVC_OK);
    snprintf(temp, sizeof temp, "%s", output_temp_path(o));
    setrlimit(RLIMIT_FSIZE, &small);
    for (int i = 0; i < 3; i++) fwrite(block, 1, sizeof block, output_stream(o));
    kvc_status status = output_commit(o, &err);
    kvc_status direct = output_write(path, temp, 0, NULL);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_failed(status, KVC_IO, &err, path);
    ck_assert_int_ne(access(temp, F_OK), 0);
    ck_assert_int_eq(direct, KVC_OK);
    unlink(path);
}
END_TEST

START_TEST(open__refuses_what_it_would_destroy)
{
    output *o;
    kvc_error err = {0};
    const char *folder = scratch_path("folder");
    mkdir(folder, 0777);
    assert_failed(output_open(&o, folder, &err), KVC_IO, &err, "no regular file");
    assert_failed(output_open(&o, "/dev/null", &err), KVC_IO, &err, "no regular file");
    char inside[1100];
    snprintf(inside, sizeof inside, "%s/absent/file", folder);
    assert_failed(output_open(&o, inside, &err), KVC_IO, &err, "No such file");
    ck_assert_ptr_null(o);
    rmdir(folder);
}
END_TEST

START_TEST(open__follows_a_link)
{
    const char *path = scratch_path("target"), *link_path = scratch_path("link");
    struct stat st;
    write_bytes(path, "old", 3);
    unlink(link_path);
    ck_assert_int_eq(symlink(path, link_path), 0);
    ck_assert_int_eq(output_write(link_path, "new", 3, NULL), KVC_OK);
    assert_content(path, "new");
    ck_assert_int_eq(lstat(link_path, &st), 0);
    ck_assert(S_ISLNK(st.st_mode));
    unlink(link_path);
    unlink(path);
}
END_TEST

START_TEST(open__passes_over_what_a_killed_process_left_behind)
{
    char leftover[1200];
    const char *path = scratch_path("survivor");
    for (unsigned i = 0; i < 40; i++) {
        snprintf(leftover, sizeof leftover, "%s.tmp-%ld-%u", path, (long)getpid(), i);
        FILE *f = fopen(leftover, "w");
        ck_assert_ptr_nonnull(f);
        fclose(f);
    }
    ck_assert_int_eq(output_write(path, "x", 1, NULL), KVC_OK);
    for (unsigned i = 0; i < 40; i++) {
        snprintf(leftover, sizeof leftover, "%s.tmp-%ld-%u", path, (long)getpid(), i);
        unlink(leftover);
    }
}
END_TEST

START_TEST(open__refuses_more_than_the_table_holds)
{
    output *open_ones[64], *one_more;
    char name[32];
    kvc_error err = {0};
    for (int i = 0; i < 64; i++) {
        snprintf(name, sizeof name, "many%d", i);
        ck_assert_int_eq(output_open(&open_ones[i], scratch_path(name), NULL), KVC_OK);
    }
    assert_failed(output_open(&one_more, scratch_path("many"), &err), KVC_IO, &err, "64");
    for (int i = 0; i < 64; i++) output_discard(open_ones[i]);
}
END_TEST

START_TEST(input_read__refuses_folders_and_large_files)
{
    char *text;
    size_t n;
    kvc_error err = {0};
    assert_failed(input_read(&text, &n, "/", 10, &err), KVC_INPUT, &err, "folder");
    assert_failed(input_read(&text, &n, "/dev/zero", 100000, &err), KVC_FORMAT, &err, "100000");
    ck_assert_ptr_null(text);
    ck_assert_int_eq(input_read(&text, &n, "/dev/null", 0, &err), KVC_OK);
    ck_assert_uint_eq(n, 0);
    ck_assert_str_eq(text, "");
    free(text);
}
END_TEST

START_TEST(sha256__agrees_with_published_vectors)
{
    uint8_t hash[32], of_file[32];
    char hex[65];
    sha256_bytes("abc", 3, hash);
    sha256_hex(hash, hex);
    ck_assert_str_eq(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    const char *path = scratch_path("hash");
    write_bytes(path, "abc", 3);
    ck_assert_int_eq(sha256_file(path, of_file, NULL), KVC_OK);
    ck_assert_mem_eq(hash, of_file, 32);
    unlink(path);
    kvc_error err = {0};
    assert_failed(sha256_file(path, of_file, &err), KVC_INPUT, &err, path);
    assert_failed(sha256_file("/", of_file, &err), KVC_INPUT, &err, "/");
}
END_TEST

CHECK_MAIN("io_output", commit__replaces_the_file_at_once, discard__leaves_nothing,
           commit__reports_a_full_disk_and_leaves_no_file, open__refuses_what_it_would_destroy, open__follows_a_link,
           open__passes_over_what_a_killed_process_left_behind, open__refuses_more_than_the_table_holds,
           input_read__refuses_folders_and_large_files, sha256__agrees_with_published_vectors)
