/* SPDX-License-Identifier: MIT
 *
 * The runner of the unit tests: runs every table linked in, prints one line a test that fails and a
 * closing line, and exits with status 1 if there was one. Arguments: words, one of which "suite:
 * test" must contain; behind --only, whole titles "suite: test", all of which there must be; -v
 * names every test.
 */
#include "unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bounds of the section that UNIT_SUITE fills; the linker makes them. */
extern const struct unit_suite *const __start_unit_suites[];
extern const struct unit_suite *const __stop_unit_suites[];

static unsigned current_failures; /* atomic: tests have threads */

static void failed(const char *file, int line, const char *text)
{
    __atomic_add_fetch(&current_failures, 1, __ATOMIC_RELAXED);
    fprintf(stderr, "%s:%d: not true: %s\n", file, line, text);
}

void unit_expect(bool holds, const char *file, int line, const char *text)
{
    if (!holds)
        failed(file, line, text);
}

void unit_expect_equal(unsigned long long actual, unsigned long long expected, const char *file,
                       int line, const char *text)
{
    if (actual == expected)
        return;
    failed(file, line, text);
    fprintf(stderr, "    %llu (0x%llx) instead of %llu (0x%llx)\n", actual, actual, expected,
            expected);
}

void unit_require(bool holds, const char *file, int line, const char *text)
{
    if (holds)
        return;
    failed(file, line, text);
    exit(1);
}

static bool is_wanted(const char *title, int argc, char **argv)
{
    bool filtered = false, exact = false;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-v") == 0)
            continue;
        filtered = true;
        if (strcmp(argv[i], "--only") == 0)
            exact = true;
        else if (exact ? strcmp(title, argv[i]) == 0 : strstr(title, argv[i]) != NULL)
            return true;
    }
    return !filtered;
}

/* Titles behind --only; 0: any number of tests will do. */
static unsigned wanted_count(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--only") == 0)
            return (unsigned)(argc - i - 1);
    }
    return 0;
}

static bool is_verbose(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-v") == 0)
            return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    bool verbose = is_verbose(argc, argv);
    unsigned passed_count = 0, failed_count = 0;
    char title[256];

    for (const struct unit_suite *const *entry = __start_unit_suites; entry != __stop_unit_suites;
         entry++) {
        for (size_t i = 0; i < (*entry)->test_count; i++) {
            const struct unit_test *test = &(*entry)->tests[i];

            snprintf(title, sizeof(title), "%s: %s", (*entry)->name, test->name);
            if (!is_wanted(title, argc, argv))
                continue;
            if (verbose)
                printf("%s\n", title);
            __atomic_store_n(&current_failures, 0, __ATOMIC_RELAXED);
            test->run();
            if (__atomic_load_n(&current_failures, __ATOMIC_RELAXED) == 0) {
                passed_count++;
            } else {
                failed_count++;
                printf("FAILED %s\n", title);
            }
        }
    }
    printf("%u passed, %u failed\n", passed_count, failed_count);
    return failed_count != 0 || passed_count == 0 || passed_count < wanted_count(argc, argv);
}
