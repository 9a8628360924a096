/* SPDX-License-Identifier: MIT
 *
 * kernel_main() of the self-test image: runs the cases that the boot page names.
 */
#include "selftest.h"
#include <kernel/console.h>
#include <kernel/string.h>

static const struct selftest_case *const tables[] = {
    selftest_boot_cases, selftest_memory_cases, selftest_text_cases,  selftest_thread_cases,
    selftest_time_cases, selftest_device_cases, selftest_fatal_cases, selftest_figure_cases,
};

void selftest_fail(struct selftest *test, const char *file, int line, const char *expression)
{
    console_printf("FAIL %s %s:%d %s\n", test->name, file, line, expression);
    test->failures++;
}

static const struct selftest_case *find(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
        for (const struct selftest_case *entry = tables[i]; entry->name != NULL; entry++)
            if (strlen(entry->name) == length && memcmp(entry->name, name, length) == 0)
                return entry;
    return NULL;
}

/* Returns whether the case passed. A name that does not exist is a failure. */
static bool run(const struct boot_configuration *configuration, const char *name, size_t length)
{
    const struct selftest_case *entry = find(name, length);
    struct selftest test = {.configuration = configuration};

    if (entry == NULL) {
        console_printf("FAIL %.*s no such case\n", (int)length, name);
        return false;
    }
    test.name = entry->name;
    entry->run(&test);
    if (test.failures == 0)
        console_printf("PASS %s\n", test.name);
    return test.failures == 0;
}

void kernel_main(const struct boot_configuration *configuration)
{
    const char *name = configuration->servers;
    unsigned passed = 0, failed = 0;

    while (*name != '\0') {
        size_t length = 0;

        while (name[length] != '\0' && name[length] != ' ')
            length++;
        if (length > 0 && run(configuration, name, length))
            passed++;
        else if (length > 0)
            failed++;
        name += length;
        if (*name == ' ')
            name++;
    }
    console_printf("DONE passed=%u failed=%u\n", passed, failed);
}
