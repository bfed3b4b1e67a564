/* io_files.h - scratch files for the tests of calib/io. */
#ifndef TESTS_UNIT_IO_FILES_H
#define TESTS_UNIT_IO_FILES_H
#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "kvc/kvc.h"

/* A path in this test's scratch folder; valid until the fourth call after this one. */
static inline const char *scratch_path(const char *name)
{
    static char paths[4][1024];
    static int next;
    char *path = paths[next++ % 4];
    const char *build = getenv("KVC_TEST_BUILD");
    snprintf(path, sizeof paths[0], "%s/io_scratch", build ? build : "/tmp");
    mkdir(path, 0777);
    snprintf(path + strlen(path), sizeof paths[0] - strlen(path), "/%s-%ld", name, (long)getpid());
    return path;
}

/* A path in tests/. */
static inline const char *data_path(const char *name)
{
    static char path[1024];
    const char *data = getenv("KVC_TEST_DATA");
    ck_assert_msg(data != NULL, "KVC_TEST_DATA is not set");
    snprintf(path, sizeof path, "%s/%s", data, name);
    return path;
}

static inline void write_bytes(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
}

/* The call failed so, with one line that holds `fragment`. */
static inline void assert_failed(kvc_status status, kvc_status expected, const kvc_error *err, const char *fragment)
{
    ck_assert_msg(status == expected, "status %d, expected %d: %s", status, expected, err->message);
    ck_assert_msg(strstr(err->message, fragment) != NULL, "'%s' lacks '%s'", err->message, fragment);
    ck_assert_ptr_null(strchr(err->message, '\n'));
}
#endif
