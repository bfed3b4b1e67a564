/* test_io_yaml.c - the YAML tree: positions, what is refused, typed access. */
#include "check_main.h"
#include "yaml.h"
#include <stdio.h>
#include <string.h>

static kvc_error err;

static kvc_status parse(yaml_file *f, const char *text)
{
    err.message[0] = 0;
    return yaml_open_memory(f, text, strlen(text), "t.yaml", &err);
}

START_TEST(yaml_open__builds_a_tree_with_positions)
{
    yaml_file f;
    ck_assert_int_eq(parse(&f, "# c\na: 1\nb:\n  - x\n  - 'y z'\n  - {k: }\n"), KVC_OK);
    const yaml_value *b = yaml_get(f.root, "b");
    ck_assert_int_eq(f.root->kind, YAML_MAP);
    ck_assert_uint_eq(f.root->n, 2);
    ck_assert_uint_eq(f.root->key_lines[1], 3);
    ck_assert_uint_eq(f.root->key_columns[1], 1);
    ck_assert(b->kind == YAML_LIST && b->n == 3);
    ck_assert_str_eq(b->items[0].text, "x");
    ck_assert(b->items[0].plain && b->items[0].line == 4 && b->items[0].column == 5);
    ck_assert_str_eq(b->items[1].text, "y z");
    ck_assert(!b->items[1].plain);
    ck_assert_str_eq(yaml_get(&b->items[2], "k")->text, "");
    ck_assert_ptr_null(yaml_get(f.root, "c"));
    ck_assert_ptr_null(yaml_get(b, "x"));
    yaml_close(&f);
}
END_TEST

START_TEST(yaml_open__refuses_with_place)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "t.yaml: empty"},
        {"# only\n", "t.yaml: empty"},
        {"a: 1\n---\nb: 2\n", "t.yaml:2:1: a second document"},
        {"a: &x 1\n", "t.yaml:1:4: anchors"},
        {"a: 1\nb: *x\n", "t.yaml:2:4: aliases"},
        {"*x : 1\n", "t.yaml:1:1: aliases"},
        {"a: !!int 1\n", "t.yaml:1:4: tags"},
        {"&x a: 1\n", "t.yaml:1:1: anchors"},
        {"a: &x {b: 1}\n", "t.yaml:1:4: anchors"},
        {"a: !t [1]\n", "t.yaml:1:4: tags"},
        {"a: 1\nb: 2\na: 3\n", "t.yaml:3:1: key \"a\" again (first in line 1)"},
        {"? [a]\n: 1\n", "t.yaml:1:3: a key must be"},
        {"a: [1, 2\nb: 3\n", "t.yaml:2:"},
        {"a: \"x\\0y\"\n", "t.yaml:1:4: a text holds a NUL"},
        {"a: b: c\n", "t.yaml:1:5: "},
        {"[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", "t.yaml:1:17: nested more than 16 deep"},
        {"a: \xff\n", "t.yaml: byte 3: "},
        {"a: \"unfinished\n", "t.yaml:"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        yaml_file f;
        ck_assert_int_eq(parse(&f, cases[i].text), KVC_FORMAT);
        ck_assert_msg(!strncmp(err.message, cases[i].message, strlen(cases[i].message)), "\"%s\" gave \"%s\"",
                      cases[i].text, err.message);
        ck_assert_ptr_null(f.root);
    }
}
END_TEST

/* 16 levels are fine; depth far beyond costs no stack. */
START_TEST(yaml_open__bounds_depth_size_and_keys)
{
    yaml_file f;
    size_t n = YAML_MAX_BYTES + 1;
    char *text = malloc(n);
    ck_assert_int_eq(parse(&f, "[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]"), KVC_OK);
    yaml_close(&f);
    memset(text, '[', n);
    ck_assert_int_eq(yaml_open_memory(&f, text, n - 1, "deep", &err), KVC_FORMAT);
    memset(text, ' ', n);
    ck_assert_int_eq(yaml_open_memory(&f, text, n, "large", &err), KVC_FORMAT);
    ck_assert_ptr_nonnull(strstr(err.message, "larger than"));
    size_t at = 0;
    for (int i = 0; i < 4097; i++) at += (size_t)sprintf(text + at, "k%d: 1\n", i);
    ck_assert_int_eq(yaml_open_memory(&f, text, at, "keys", &err), KVC_FORMAT);
    ck_assert_str_eq(err.message, "keys:4097:1: more than 4096 keys in one map");
    free(text);
}
END_TEST

START_TEST(yaml_open__names_a_missing_file)
{
    yaml_file f;
    ck_assert_int_eq(yaml_open(&f, "/nowhere/plan.yaml", &err), KVC_INPUT);
    ck_assert_ptr_nonnull(strstr(err.message, "/nowhere/plan.yaml"));
    yaml_close(&f);
}
END_TEST

START_TEST(yaml_check_keys__suggests_the_nearest)
{
    static const char *const known[] = {"sinks", "window", "page", NULL};
    yaml_file f;
    ck_assert_int_eq(parse(&f, "sinks: 4\nwindwo: 64\n"), KVC_OK);
    ck_assert_int_eq(yaml_check_keys(&f, f.root, known, &err), KVC_FORMAT);
    ck_assert_str_eq(err.message, "t.yaml:2:1: unknown key \"windwo\"; did you mean \"window\"?");
    yaml_close(&f);
    ck_assert_int_eq(parse(&f, "{elephants: 4}"), KVC_OK);
    ck_assert_int_eq(yaml_check_keys(&f, f.root, known, &err), KVC_FORMAT);
    ck_assert_str_eq(err.message, "t.yaml:1:2: unknown key \"elephants\"");
    yaml_close(&f);
    ck_assert_int_eq(parse(&f, "page: 64\nsinks: 0\n"), KVC_OK);
    ck_assert_int_eq(yaml_check_keys(&f, f.root, known, &err), KVC_OK);
    yaml_close(&f);
    ck_assert_int_eq(parse(&f, "- page\n"), KVC_OK);
    ck_assert_int_eq(yaml_check_keys(&f, f.root, known, &err), KVC_FORMAT);
    yaml_close(&f);
}
END_TEST

START_TEST(yaml_to__accepts_exactly_its_kind)
{
    yaml_file f;
    uint64_t u = 0;
    double d = 0;
    bool b = false;
    ck_assert_int_eq(parse(&f, "[12, '12', -1, 1.5, 1e3, nan, 0x10, true, yes, 99999999999999999999, , [1], 1e999]"),
                     KVC_FORMAT); /* an empty entry in a flow list */
    ck_assert_int_eq(
        parse(&f, "[12, '12', -1, 1.5, 1e3, nan, 0x10, true, yes, 99999999999999999999, '', [1], 1e999]"), KVC_OK);
    /*                            12 '12' -1 1.5 1e3 nan 0x10 true yes 9.. '' [1] 1e999 */
    static const char u64_ok[] = "1  0    0  0   0   0   0    0    0   0   0  0   0";
    static const char real_ok[] = "1  0    1  1   1   0   0    0    0   0   0  0   0";
    static const char bool_ok[] = "0  0    0  0   0   0   0    1    0   0   0  0   0";
    const char *want[3] = {u64_ok, real_ok, bool_ok};
    for (size_t i = 0; i < f.root->n; i++) {
        const yaml_value *v = &f.root->items[i];
        kvc_status got[3] = {yaml_to_u64(&f, v, "x", 0, 100, &u, &err), yaml_to_double(&f, v, "x", -1, 1e4, &d, &err),
                             yaml_to_bool(&f, v, "x", &b, &err)};
        for (int k = 0; k < 3; k++) {
            want[k] += strspn(want[k], " ");
            ck_assert_msg((got[k] == KVC_OK) == (*want[k] == '1'), "entry %zu, kind %d", i, k);
            want[k]++;
        }
    }
    ck_assert(u == 12 && d == 1000 && b);
    ck_assert_int_eq(yaml_to_u64(&f, &f.root->items[0], "page", 13, 64, &u, &err), KVC_FORMAT);
    ck_assert_str_eq(err.message, "t.yaml:1:2: page: 12 is not between 13 and 64");
    yaml_close(&f);
}
END_TEST

START_TEST(yaml_fail__is_one_line)
{
    yaml_file f;
    uint64_t u;
    ck_assert_int_eq(parse(&f, "a: \"x\\n\\ty\\e\"\n"), KVC_OK);
    ck_assert_int_eq(yaml_to_u64(&f, &f.root->items[0], "a", 0, 1, &u, &err), KVC_FORMAT);
    ck_assert_str_eq(err.message, "t.yaml:1:4: a: expected a whole number, not \"x??y?\"");
    yaml_close(&f);
}
END_TEST

START_TEST(nearest_word__knows_near_from_far)
{
    static const char *const list[] = {"context", "seq_len", "seed", "sinks", NULL};
    char longest[200];
    ck_assert_str_eq(nearest_word("contxt", list), "context");
    ck_assert_str_eq(nearest_word("seqlen", list), "seq_len");
    ck_assert_str_eq(nearest_word("snik", list), "sinks");
    ck_assert_str_eq(nearest_word("sede", list), "seed");
    ck_assert_ptr_null(nearest_word("threads", list));
    ck_assert_ptr_null(nearest_word("", list));
    memset(longest, 's', sizeof longest);
    longest[sizeof longest - 1] = 0;
    ck_assert_ptr_null(nearest_word(longest, list));
}
END_TEST

CHECK_MAIN("yaml", yaml_open__builds_a_tree_with_positions, yaml_open__refuses_with_place,
           yaml_open__bounds_depth_size_and_keys, yaml_open__names_a_missing_file,
           yaml_check_keys__suggests_the_nearest, yaml_to__accepts_exactly_its_kind, yaml_fail__is_one_line,
           nearest_word__knows_near_from_far)
