#include <math.h>
#include "check_main.h"
#include "io_files.h"
#include "kvc/codec.h"
#include "sha256.h"
#include "weights.h"

/* A safetensors file with this header and n_data bytes of data, which follow `data` (NULL: zeros). */
static const char *make_file(const char *header, const void *data, size_t n_data)
{
    const char *path = scratch_path("w.safetensors");
    size_t n = strlen(header);
    uint8_t *bytes = calloc(1, 8 + n + n_data + 1);
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)((uint64_t)n >> 8 * i);
    memcpy(bytes + 8, header, n);
    if (data) memcpy(bytes + 8 + n, data, n_data);
    write_bytes(path, bytes, 8 + n + n_data);
    free(bytes);
    return path;
}

static void refuse(const char *header, size_t n_data, const char *fragment)
{
    weights *w;
    kvc_error err = {0};
    const char *path = make_file(header, NULL, n_data);
    assert_failed(weights_open(&w, path, &err), KVC_FORMAT, &err, fragment);
    ck_assert_msg(strncmp(err.message, path, strlen(path)) == 0, "'%s' does not name the file", err.message);
    ck_assert_ptr_null(w);
    unlink(path);
}

static weights *open_good(const char *path)
{
    weights *w;
    kvc_error err = {0};
    ck_assert_msg(weights_open(&w, path, &err) == KVC_OK, "%s", err.message);
    return w;
}

#define T(name, dtype, shape, begin, end)                                                                            \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" #begin "," #end "]}"

START_TEST(open__refuses_wrong_headers)
{
    static const struct {
        const char *header;
        size_t n_data;
        const char *fragment;
    } bad[] = {
        {"[]", 0, "no JSON object"},
        {"{\"a\":1}", 0, "'a': is no object"},
        {"{\"a\":{}}", 0, "'a': \"shape\" is no list"},
        {"{" T("a", "F32", "1.5", 0, 4) "}", 4, "'a': \"shape\""},
        {"{" T("a", "F32", "-1", 0, 4) "}", 4, "'a': \"shape\""},
        {"{" T("a", "F32", "1", -4, 0) "}", 4, "'a': \"data_offsets\""},
        {"{" T("a", "F32", "1", 4, 0) "}", 4, "'a': \"data_offsets\""},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 8, "'a': \"data_offsets\""},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "'a': \"data_offsets\""},
        {"{\"a\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "'a': \"dtype\" is no string"},
        {"{" T("a", "F32", "2", 0, 4) "}", 4, "'a': 4 bytes do not fit 2 values of F32"},
        {"{" T("a", "F4", "3", 0, 1) "}", 1, "'a': 1 bytes do not fit 3 values of F4"},
        {"{" T("a", "F32", "4611686018427387904", 0, 0) "}", 0, "'a': 0 bytes do not fit"},
        {"{" T("a", "F32", "4294967296,4294967296", 0, 4) "}", 4, "'a': \"shape\" is too large"},
        {"{" T("a", "F32", "99999999999999999999", 0, 4) "}", 4, "too big integer"},
        {"{" T("a", "F32", "2", 0, 8) "}", 7, "'a': data ends at byte 8 of 7 (is the file truncated?)"},
        {"{" T("a", "F32", "1", 0, 4) "}", 5, "ends at byte 4 of the data, which has 5"},
        {"{" T("a", "F32", "1", 4, 8) "}", 8, "'a': hole: data starts at byte 4, expected 0"},
        {"{" T("a", "F32", "1", 0, 4) "," T("b", "F32", "1", 8, 12) "}", 12, "'b': hole"},
        {"{" T("a", "F32", "2", 0, 8) "," T("b", "F32", "2", 4, 12) "}", 12, "'b': overlap"},
        {"{" T("a", "F32", "1", 0, 4) "," T("b", "F32", "1", 0, 4) "}", 4, "overlap"},
        {"{" T("a", "F32", "1", 0, 4) "," T("a", "F32", "1", 4, 8) "}", 8, "duplicate object key"},
        {"{\"__metadata__\":[]}", 0, "__metadata__"},
        {"{\"__metadata__\":{\"n\":1}}", 0, "__metadata__"},
        {"{" T("a\\nb", "F32", "1", 0, 4) "}", 4, "control characters"},
        {"{" T("a", "F32", "1", 0, 4) "} x", 4, "header:1:"},
        {"{\"a\":", 0, "header:1:"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) refuse(bad[i].header, bad[i].n_data, bad[i].fragment);
}
END_TEST

START_TEST(open__refuses_a_header_nested_deep)
{
    size_t depth = 100000;
    char *header = malloc(depth + 6);
    memcpy(header, "{\"a\":", 5);
    memset(header + 5, '[', depth);
    header[5 + depth] = '\0';
    refuse(header, 0, "depth");
    free(header);
}
END_TEST

static void refuse_bytes(const void *bytes, size_t n, kvc_status expected, const char *fragment)
{
    weights *w;
    kvc_error err = {0};
    const char *path = scratch_path("raw.safetensors");
    write_bytes(path, bytes, n);
    assert_failed(weights_open(&w, path, &err), expected, &err, fragment);
    unlink(path);
}

START_TEST(open__refuses_wrong_lengths_and_kinds)
{
    refuse_bytes("", 0, KVC_INPUT, "is empty");
    refuse_bytes("\2\0\0", 3, KVC_FORMAT, "3 bytes");
    refuse_bytes("\1\0\100\6\0\0\0\0{}", 10, KVC_FORMAT, "104857601 bytes"); /* 100 MiB + 1 */
    refuse_bytes("\0\0\100\6\0\0\0\0{}", 10, KVC_FORMAT, "truncated");       /* 100 MiB */
    refuse_bytes("\377\377\377\377\377\377\377\377{}", 10, KVC_FORMAT, "18446744073709551615 bytes");
    refuse_bytes("GGUF\3\0\0\0", 8, KVC_UNSUPPORTED, "kvcalib import");
}
END_TEST

START_TEST(open__refuses_what_is_no_file)
{
    weights *w;
    kvc_error err = {0};
    const char *path = scratch_path("special");
    assert_failed(weights_open(&w, path, &err), KVC_INPUT, &err, "No such file");
    ck_assert_int_eq(mkfifo(path, 0666), 0);
    assert_failed(weights_open(&w, path, &err), KVC_INPUT, &err, "no regular file");
    unlink(path);
    mkdir(path, 0777);
    assert_failed(weights_open(&w, path, &err), KVC_INPUT, &err, "model.safetensors.index.json");
    rmdir(path);
    assert_failed(weights_open(&w, "/dev/null", &err), KVC_INPUT, &err, "no regular file");
}
END_TEST

static const char small[] = "{" T("a", "F32", "2", 0, 8) "," T("b", "F16", "1,2", 8, 12) "}   ";

START_TEST(open__refuses_every_truncation)
{
    char *bytes = NULL;
    const char *path = make_file(small, NULL, 12), *cut = scratch_path("cut");
    size_t n = 8 + strlen(small) + 12;
    bytes = malloc(n);
    FILE *f = fopen(path, "rb");
    ck_assert_uint_eq(fread(bytes, 1, n, f), n);
    fclose(f);
    for (size_t length = 0; length < n; length++) {
        weights *w;
        kvc_error err = {0};
        write_bytes(cut, bytes, length);
        kvc_status status = weights_open(&w, cut, &err);
        ck_assert_msg(status == KVC_FORMAT || (length == 0 && status == KVC_INPUT), "%zu bytes: %d", length, status);
        ck_assert(strstr(err.message, cut) && !strchr(err.message, '\n'));
    }
    weights_close(open_good(path));
    free(bytes);
    unlink(path);
    unlink(cut);
}
END_TEST

START_TEST(get__returns_views_of_the_data)
{
    const float a[] = {1, -2};
    uint8_t data[12];
    memcpy(data, a, 8);
    memcpy(data + 8, "\x00\x3c\x00\xc0", 4);
    const char *path = make_file(small, data, sizeof data);
    weights *w = open_good(path);
    const tensor *t;
    float values[2];
    ck_assert_uint_eq(weights_count(w), 2);
    ck_assert_str_eq(weights_at(w, 0)->name, "a");
    ck_assert_str_eq(weights_at(w, 1)->name, "b");
    ck_assert_uint_eq(weights_bytes(w), 8 + strlen(small) + 12);
    ck_assert_int_eq(weights_get(w, "a", 2, 0, &t, NULL), KVC_OK);
    ck_assert_ptr_eq(t, weights_find(w, "a"));
    ck_assert_mem_eq(t->data, a, 8);
    ck_assert_int_eq(weights_get(w, "b", 1, 2, &t, NULL), KVC_OK);
    weights_release(w, t); /* its pages come back when read */
    ck_assert_int_eq(weights_read(w, t, 0, 2, values, NULL), KVC_OK);
    ck_assert(values[0] == 1 && values[1] == -2);
    ck_assert_int_eq(weights_read(w, t, 1, 1, values, NULL), KVC_OK);
    ck_assert(values[0] == -2);
    weights_close(w);
    unlink(path);
}
END_TEST

START_TEST(get__names_what_is_wrong)
{
    const char *path = make_file("{" T("a", "F32", "2,3", 0, 24) "," T("i", "I64", "1", 24, 32) "," T(
                                     "z", "F99", "1", 32, 33) "," T("r", "F32", "1,1,1,1,1", 33, 37) "}",
                                 NULL, 37);
    weights *w = open_good(path);
    const tensor *t;
    float value;
    kvc_error err = {0};
    assert_failed(weights_get(w, "b", 2, 3, &t, &err), KVC_FORMAT, &err, "has no tensor 'b'");
    ck_assert_ptr_null(t);
    assert_failed(weights_get(w, "a", 3, 2, &t, &err), KVC_FORMAT, &err, "'a' has shape [2, 3], expected [3, 2]");
    assert_failed(weights_get(w, "a", 6, 0, &t, &err), KVC_FORMAT, &err, "expected [6]");
    static const char *const foreign[] = {"i", "z", "r"};
    for (int i = 0; i < 3; i++) {
        const char *why = i < 2 ? "a dtype other than" : "more than 4 dimensions";
        assert_failed(weights_get(w, foreign[i], 1, 0, &t, &err), KVC_FORMAT, &err, why);
        assert_failed(weights_read(w, weights_find(w, foreign[i]), 0, 1, &value, &err), KVC_FORMAT, &err, why);
    }
    weights_close(w);
    unlink(path);
}
END_TEST

/* Every fp16 and every bf16 value, from an odd address, in runs that end inside a vector. */
START_TEST(read__converts_every_16_bit_value)
{
    enum { N = 65536 };
    char header[256];
    for (kvc_dtype dtype = KVC_F16; dtype <= KVC_BF16; dtype++) {
        uint16_t *bits = malloc(2 * N);
        size_t n = 0;
        for (uint32_t h = 0; h < N; h++)
            if ((h & 0x7fff) < (dtype == KVC_F16 ? 0x7c00 : 0x7f80)) bits[n++] = (uint16_t)h;
        snprintf(header, sizeof header, "{\"x\":{\"dtype\":\"%s\",\"shape\":[%zu],\"data_offsets\":[0,%zu]}}",
                 dtype == KVC_F16 ? "F16" : "BF16", n, 2 * n);
        size_t odd = strlen(header);
        if (odd % 2 == 0) memcpy(header + odd, " ", 2);
        const char *path = make_file(header, bits, 2 * n);
        weights *w = open_good(path);
        float *values = malloc(4 * n);
        const tensor *t = weights_at(w, 0);
        ck_assert_uint_eq((uintptr_t)t->data % 2, 1);
        for (size_t at = 0, run = 1; at < n; at += run, run = run * 3 + 1)
            ck_assert_int_eq(weights_read(w, t, at, n - at < run ? n - at : run, values + at, NULL), KVC_OK);
        for (size_t i = 0; i < n; i++) {
            uint32_t wide = (uint32_t)bits[i] << 16;
            float expected = kvc_fp16_to_float(bits[i]);
            if (dtype == KVC_BF16) memcpy(&expected, &wide, 4);
            ck_assert_msg(!memcmp(&values[i], &expected, 4), "%04x: %a, expected %a", bits[i], values[i], expected);
        }
        free(values);
        free(bits);
        weights_close(w);
        unlink(path);
    }
}
END_TEST

START_TEST(read__names_the_first_value_that_is_not_finite)
{
    enum { N = 20000, AT = 9001 };
    static const struct {
        kvc_dtype dtype;
        const char *name;
        uint32_t one, bad;
    } cases[] = {{KVC_F32, "F32", 0x3f800000, 0x7fc00000}, {KVC_F32, "F32", 0x3f800000, 0xff800000},
                 {KVC_F16, "F16", 0x3c00, 0x7e00},         {KVC_F16, "F16", 0x3c00, 0xfc00},
                 {KVC_BF16, "BF16", 0x3f80, 0x7fc1},       {KVC_BF16, "BF16", 0x3f80, 0xff80}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        size_t size = cases[c].dtype == KVC_F32 ? 4 : 2;
        char header[128];
        uint8_t *data = malloc(N * size);
        for (size_t i = 0; i < N; i++)
            memcpy(data + i * size, i == AT || i == AT + 1 ? &cases[c].bad : &cases[c].one, size);
        snprintf(header, sizeof header, "{\"x\":{\"dtype\":\"%s\",\"shape\":[%d],\"data_offsets\":[0,%zu]}}",
                 cases[c].name, N, N * size);
        const char *path = make_file(header, data, N * size);
        weights *w = open_good(path);
        float *values = malloc(4 * N);
        kvc_error err = {0};
        assert_failed(weights_read(w, weights_at(w, 0), 0, N, values, &err), KVC_NONFINITE, &err,
                      "'x': value 9001 is");
        assert_failed(weights_read(w, weights_at(w, 0), 9000, 5, values, &err), KVC_NONFINITE, &err, "value 9001 is");
        ck_assert_int_eq(weights_read(w, weights_at(w, 0), AT + 2, N - AT - 2, values, &err), KVC_OK);
        free(values);
        free(data);
        weights_close(w);
        unlink(path);
    }
}
END_TEST

START_TEST(writer__round_trips)
{
    const char *path = scratch_path("written.safetensors");
    const tensor list[] = {{.name = "second", .dtype = KVC_F32, .rank = 1, .shape = {3}},
                           {.name = "fir\"st", .dtype = KVC_F16, .rank = 2, .shape = {2, 2}}};
    const float second[] = {1, 2, 3};
    const uint16_t first[] = {0x3c00, 0x4000, 0x4200, 0x4400};
    weights_writer *writer;
    uint8_t hash[32], expected[32];
    ck_assert_int_eq(weights_create(&writer, path, list, 2, NULL), KVC_OK);
    ck_assert_int_eq(weights_write(writer, second, 4, NULL), KVC_OK);
    ck_assert_int_eq(weights_write(writer, second + 1, 8, NULL), KVC_OK);
    ck_assert_int_eq(weights_write(writer, first, 8, NULL), KVC_OK);
    ck_assert_int_eq(weights_finish(writer, NULL), KVC_OK);
    weights *w = open_good(path);
    const tensor *t;
    ck_assert_int_eq(weights_get(w, "second", 3, 0, &t, NULL), KVC_OK);
    ck_assert_mem_eq(t->data, second, sizeof second);
    ck_assert_uint_eq((uintptr_t)t->data % 8, 0);
    ck_assert_int_eq(weights_get(w, "fir\"st", 2, 2, &t, NULL), KVC_OK);
    ck_assert_mem_eq(t->data, first, sizeof first);
    ck_assert_int_eq(weights_sha256(w, hash, NULL), KVC_OK);
    ck_assert_int_eq(sha256_file(path, expected, NULL), KVC_OK);
    ck_assert_mem_eq(hash, expected, 32);
    weights_close(w);
    unlink(path);
}
END_TEST

START_TEST(writer__refuses_other_amounts_than_declared)
{
    const char *path = scratch_path("short.safetensors");
    const tensor list[] = {{.name = "a", .dtype = KVC_F32, .rank = 1, .shape = {1}},
                           {.name = "a", .dtype = KVC_F32, .rank = 1, .shape = {1}}};
    weights_writer *writer;
    kvc_error err = {0};
    ck_assert_int_eq(weights_create(&writer, path, list, 1, NULL), KVC_OK);
    assert_failed(weights_write(writer, "12345678", 8, &err), KVC_INVALID, &err, "more data");
    assert_failed(weights_finish(writer, &err), KVC_INVALID, &err, "0 bytes of data, 4");
    ck_assert_int_ne(access(path, F_OK), 0);
    assert_failed(weights_create(&writer, path, list, 2, &err), KVC_INVALID, &err, "inconsistent");
    ck_assert_ptr_null(writer);
    weights_abandon(NULL);
    weights_close(NULL);
}
END_TEST

CHECK_MAIN("io_weights", open__refuses_wrong_headers, open__refuses_a_header_nested_deep,
           open__refuses_wrong_lengths_and_kinds, open__refuses_what_is_no_file, open__refuses_every_truncation,
           get__returns_views_of_the_data, get__names_what_is_wrong, read__converts_every_16_bit_value,
           read__names_the_first_value_that_is_not_finite, writer__round_trips,
           writer__refuses_other_amounts_than_declared)
