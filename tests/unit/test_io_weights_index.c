#include "check_main.h"
#include "io_files.h"
#include "sha256.h"
#include "weights.h"

static char folder[1024];

static const char *in_folder(const char *name)
{
    static char paths[3][1100];
    static int next;
    char *path = paths[next++ % 3];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void make_shard(const char *name, const char *const *tensors, size_t n)
{
    tensor list[4] = {0};
    const float zeros[4] = {0};
    weights_writer *w;
    for (size_t i = 0; i < n; i++) list[i] = (tensor){.name = tensors[i], .dtype = KVC_F32, .rank = 1, .shape = {1}};
    ck_assert_int_eq(weights_create(&w, in_folder(name), list, n, NULL), KVC_OK);
    ck_assert_int_eq(weights_write(w, zeros, 4 * n, NULL), KVC_OK);
    ck_assert_int_eq(weights_finish(w, NULL), KVC_OK);
}

/* Two shards: s1 holds a and c, s2 holds b. */
static void make_folder(void)
{
    snprintf(folder, sizeof folder, "%s", scratch_path("shards"));
    mkdir(folder, 0777);
    make_shard("s1.safetensors", (const char *const[]){"c", "a"}, 2);
    make_shard("s2.safetensors", (const char *const[]){"b"}, 1);
}

static void remove_folder(void)
{
    static const char *const names[] = {"s1.safetensors", "s2.safetensors", "model.safetensors",
                                        "model.safetensors.index.json"};
    for (int i = 0; i < 4; i++) unlink(in_folder(names[i]));
    rmdir(folder);
}

static const char *write_index(const char *map)
{
    char text[1024];
    snprintf(text, sizeof text, "{\"metadata\": {\"total_size\": 12}, \"weight_map\": %s}", map);
    write_bytes(in_folder("model.safetensors.index.json"), text, strlen(text));
    return in_folder("model.safetensors.index.json");
}

#define GOOD_MAP "{\"a\": \"s1.safetensors\", \"b\": \"s2.safetensors\", \"c\": \"s1.safetensors\"}"

START_TEST(open__joins_shards)
{
    make_folder();
    const char *const paths[] = {write_index(GOOD_MAP), folder};
    char list[200] = "";
    for (int i = 0; i < 2; i++) {
        weights *w;
        kvc_error err = {0};
        ck_assert_msg(weights_open(&w, paths[i], &err) == KVC_OK, "%s", err.message);
        ck_assert_uint_eq(weights_count(w), 3);
        for (size_t k = 0; k < 3; k++) ck_assert_int_eq(weights_at(w, k)->name[0], "abc"[k]);
        ck_assert_str_eq(weights_folder(w), folder);
        ck_assert_ptr_nonnull(strstr(weights_find(w, "b")->file, "/s2.safetensors"));
        uint8_t hash[32], expected[32];
        ck_assert_int_eq(weights_sha256(w, hash, NULL), KVC_OK);
        size_t n = 0;
        for (int s = 1; s <= 2; s++) {
            char name[20], hex[65];
            snprintf(name, sizeof name, "s%d.safetensors", s);
            ck_assert_int_eq(sha256_file(in_folder(name), expected, NULL), KVC_OK);
            sha256_hex(expected, hex);
            n += (size_t)sprintf(list + n, "%s  %s\n", hex, name);
        }
        sha256_bytes(list, n, expected);
        ck_assert_mem_eq(hash, expected, 32);
        weights_close(w);
    }
    remove_folder();
}
END_TEST

START_TEST(open__prefers_the_single_file)
{
    make_folder();
    write_index(GOOD_MAP);
    make_shard("model.safetensors", (const char *const[]){"only"}, 1);
    char with_slashes[1100];
    snprintf(with_slashes, sizeof with_slashes, "%s//", folder);
    weights *w;
    ck_assert_int_eq(weights_open(&w, with_slashes, NULL), KVC_OK);
    ck_assert_uint_eq(weights_count(w), 1);
    ck_assert_str_eq(weights_folder(w), folder);
    weights_close(w);
    remove_folder();
}
END_TEST

START_TEST(open__refuses_wrong_indexes)
{
    static const struct {
        const char *map;
        kvc_status status;
        const char *fragment;
    } bad[] = {
        {"{\"a\": \"s1.safetensors\", \"b\": \"s3.safetensors\", \"c\": \"s1.safetensors\"}", KVC_INPUT,
         "s3.safetensors: No such"},
        {"{\"a\": \"../s1.safetensors\"}", KVC_FORMAT, "'a': the shard is not"},
        {"{\"a\": \"/etc/passwd\"}", KVC_FORMAT, "'a': the shard is not"},
        {"{\"a\": \"..\"}", KVC_FORMAT, "'a': the shard is not"},
        {"{\"a\": \"\"}", KVC_FORMAT, "'a': the shard is not"},
        {"{\"a\": \"x\\ny\"}", KVC_FORMAT, "'a': the shard is not"},
        {"{\"a\": 5}", KVC_FORMAT, "'a': the shard is not"},
        {"{\"a\": \"s1.safetensors\", \"b\": \"s1.safetensors\", \"c\": \"s1.safetensors\"}", KVC_FORMAT,
         "'b' is not in s1.safetensors"},
        {"{\"a\": \"s1.safetensors\", \"b\": \"s2.safetensors\"}", KVC_FORMAT, "'c' is not in the weight_map"},
        {"{\"a\": \"s1.safetensors\", \"c\": \"s1.safetensors\", \"d\": \"s2.safetensors\"}", KVC_FORMAT,
         "'d' is not in s2.safetensors"},
        {"{\"a\": \"s1.safetensors\", \"a\": \"s2.safetensors\"}", KVC_FORMAT, "duplicate"},
        {"{}", KVC_FORMAT, "\"weight_map\""},
        {"[]", KVC_FORMAT, "\"weight_map\""},
        {"null", KVC_FORMAT, "\"weight_map\""},
    };
    make_folder();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        weights *w;
        kvc_error err = {0};
        const char *path = write_index(bad[i].map);
        assert_failed(weights_open(&w, path, &err), bad[i].status, &err, bad[i].fragment);
        ck_assert_ptr_null(w);
    }
    remove_folder();
}
END_TEST

START_TEST(open__refuses_a_tensor_in_two_shards)
{
    make_folder();
    make_shard("s2.safetensors", (const char *const[]){"a", "b"}, 2);
    weights *w;
    kvc_error err = {0};
    assert_failed(weights_open(&w, write_index(GOOD_MAP), &err), KVC_FORMAT, &err, "'a' is in ");
    remove_folder();
}
END_TEST

CHECK_MAIN("io_weights_index", open__joins_shards, open__prefers_the_single_file, open__refuses_wrong_indexes,
           open__refuses_a_tensor_in_two_shards)
