/* check_main.h - one Check suite per file: list the cases, get a main().
 *     #include "check_main.h"
 *     START_TEST(config_open__rejects_truncated_header) { ... } END_TEST
 *     CHECK_MAIN("config", config_open__rejects_truncated_header, ...)
 * CHECK_MAIN_OF("cache", 4, ...) runs each case with _i = 0 .. 3. */
#ifndef TESTS_UNIT_CHECK_MAIN_H
#define TESTS_UNIT_CHECK_MAIN_H
#include <check.h>
#include <stdlib.h>

#define CHECK_MAIN(suite_name, ...) CHECK_MAIN_OF(suite_name, 1, __VA_ARGS__)
#define CHECK_MAIN_OF(suite_name, n_kinds, ...)                                                                      \
    int main(void)                                                                                                   \
    {                                                                                                                \
        const TTest *tests[] = {__VA_ARGS__};                                                                        \
        Suite *suite = suite_create(suite_name);                                                                     \
        TCase *group = tcase_create("all");                                                                          \
        tcase_set_timeout(group, 240);                                                                               \
        for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) tcase_add_loop_test(group, tests[i], 0, n_kinds);  \
        suite_add_tcase(suite, group);                                                                               \
        SRunner *runner = srunner_create(suite);                                                                     \
        srunner_run_all(runner, CK_NORMAL);                                                                          \
        int failed = srunner_ntests_failed(runner);                                                                  \
        srunner_free(runner);                                                                                        \
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;                                                                 \
    }
#endif
