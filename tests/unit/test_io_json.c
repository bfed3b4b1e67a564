#include "check_main.h"
#include "io_files.h"
#include "json.h"

static void refuse(const char *text, const char *fragment)
{
    json_t *value;
    kvc_error err = {0};
    kvc_status status = json_read_text(&value, text, strlen(text), "x.json", &err);
    assert_failed(status, KVC_FORMAT, &err, fragment);
    ck_assert_ptr_null(value);
}

START_TEST(read_text__names_source_and_line)
{
    refuse("{\n  \"a\": 1,\n  \"b\": }\n", "x.json:3:");
    refuse("", "x.json:");
    refuse("{\"a\": \"\n\"}", "x.json:1:"); /* the quoted input holds a line break */
}
END_TEST

START_TEST(read_text__refuses_duplicate_keys)
{
    refuse("{\"a\": 1, \"a\": 2}", "duplicate");
    refuse("{\"a\": {\"b\": 1, \"b\": 2}}", "duplicate");
}
END_TEST

START_TEST(read_text__refuses_what_is_no_json)
{
    refuse("{\"a\": 1} x", "end of file");
    refuse("{\"a\": \"\xff\"}", "0xff");
    refuse("{\"a\": \"\\u0000\"}", "\\u0000");
    refuse("{\"a\": 1e999}", "overflow");
}
END_TEST

START_TEST(read_text__refuses_depth_of_hundred_thousand)
{
    size_t depth = 100000;
    char *text = malloc(depth * 5 + 1);
    memset(text, '[', depth);
    text[depth] = '\0';
    refuse(text, "depth");
    for (size_t i = 0; i < depth; i++) memcpy(text + 5 * i, "{\"a\":", 5);
    text[5 * depth] = '\0';
    refuse(text, "depth");
    free(text);
}
END_TEST

START_TEST(read_file__limits_the_size)
{
    const char *path = scratch_path("limit.json");
    json_t *value;
    kvc_error err = {0};
    write_bytes(path, "{\"a\": [1]}", 10);
    ck_assert_int_eq(json_read_file(&value, path, 10, &err), KVC_OK);
    json_decref(value);
    assert_failed(json_read_file(&value, path, 9, &err), KVC_FORMAT, &err, "9 bytes");
    ck_assert_ptr_null(value);
    unlink(path);
    assert_failed(json_read_file(&value, path, 9, &err), KVC_INPUT, &err, "No such file");
}
END_TEST

START_TEST(canonical__sorts_keys_and_rounds)
{
    json_t *value;
    const char *text = "{\"b\": [1, 0.1, 1e-5, 2.0], \"a\": {\"z\": null, \"y\": true}}";
    ck_assert_int_eq(json_read_text(&value, text, strlen(text), "x", NULL), KVC_OK);
    char *canonical = json_canonical(value);
    ck_assert_str_eq(canonical, "{\"a\":{\"y\":true,\"z\":null},\"b\":[1,0.1,1e-5,2.0]}");
    free(canonical);
    json_decref(value);
}
END_TEST

CHECK_MAIN("io_json", read_text__names_source_and_line, read_text__refuses_duplicate_keys,
           read_text__refuses_what_is_no_json, read_text__refuses_depth_of_hundred_thousand,
           read_file__limits_the_size, canonical__sorts_keys_and_rounds)
