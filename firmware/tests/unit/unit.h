/* SPDX-License-Identifier: MIT
 *
 * Unit tests of the host build: const tables of tests, found by the runner wherever they are linked
 * from.
 *
 * A file defines a table and enters it with UNIT_SUITE. EXPECT records a failure and goes on;
 * REQUIRE ends the program, for what the rest of the test cannot do without. Both may be used from
 * any thread.
 */
#ifndef UNIT_H
#define UNIT_H

#include <stdbool.h>
#include <stddef.h>

struct unit_test {
    const char *name; /* what is promised, as words */
    void (*run)(void);
};

struct unit_suite {
    const char *name;
    const struct unit_test *tests;
    size_t test_count;
};

#define UNIT_SUITE(suite_name, table)                                                              \
    static const struct unit_suite table##_suite = {suite_name, table,                             \
                                                    sizeof(table) / sizeof((table)[0])};           \
    __attribute__((used,                                                                           \
                   section("unit_suites"))) static const struct unit_suite *const table##_entry =  \
        &table##_suite

#define EXPECT(condition) unit_expect((condition), __FILE__, __LINE__, #condition)
#define EXPECT_EQUAL(actual, expected)                                                             \
    unit_expect_equal((unsigned long long)(actual), (unsigned long long)(expected), __FILE__,      \
                      __LINE__, #actual " == " #expected)
#define REQUIRE(condition) unit_require((condition), __FILE__, __LINE__, #condition)

void unit_expect(bool holds, const char *file, int line, const char *text);
void unit_expect_equal(unsigned long long actual, unsigned long long expected, const char *file,
                       int line, const char *text);
void unit_require(bool holds, const char *file, int line, const char *text);

#endif
