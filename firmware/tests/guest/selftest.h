/* SPDX-License-Identifier: MIT
 *
 * The self-test image of the machine layer: cases that run inside a guest.
 *
 * The boot page's `servers` key names the cases to run. Each prints "PASS <case>" or "FAIL <case>
 * <file>:<line> <expression>"; a last line "DONE passed=<n> failed=<n>" and the power-off follow.
 * Cases that end in a panic or a reset print "CASE <case>" first and are judged by
 * tests/guest/run.py, which also provides devices and compares with the host's clock.
 */
#ifndef TESTS_GUEST_SELFTEST_H
#define TESTS_GUEST_SELFTEST_H

#include <kernel/boot.h>
#include <stddef.h>

struct selftest {
    const struct boot_configuration *configuration;
    const char *name;
    unsigned failures; /* of this case */
};

struct selftest_case {
    const char *name;
    void (*run)(struct selftest *test);
};

/* Record a failure and leave the case unless the condition holds. */
#define CHECK(test, condition)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            selftest_fail(test, __FILE__, __LINE__, #condition);                                   \
            return;                                                                                \
        }                                                                                          \
    } while (0)

void selftest_fail(struct selftest *test, const char *file, int line, const char *expression);

/* Each table ends in a case without a name. */
extern const struct selftest_case selftest_memory_cases[];
extern const struct selftest_case selftest_text_cases[];
extern const struct selftest_case selftest_boot_cases[];
extern const struct selftest_case selftest_thread_cases[];
extern const struct selftest_case selftest_time_cases[];
extern const struct selftest_case selftest_device_cases[];
extern const struct selftest_case selftest_fatal_cases[];
extern const struct selftest_case selftest_figure_cases[];

#endif
