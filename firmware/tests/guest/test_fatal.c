/* SPDX-License-Identifier: MIT
 *
 * Cases that end this life of the machine: one a boot, judged by run.py. Those that should panic
 * and do not, fail.
 */
#include "selftest.h"
#include <abi/boot.h>
#include <kernel/arch.h>
#include <kernel/console.h>
#include <kernel/little_endian.h>
#include <kernel/panic.h>
#include <kernel/string.h>
#include <kernel/thread.h>

#define WILD_ADDRESS 0xa5a5a000u /* within the page tables' reach, unmapped on every board */
#define BOOTS_WANTED 3u

/* Keep the panic's text where run.py reads it: in the black box's place, length first. */
static void record(void *context, const char *text, size_t len_bytes, uint64_t program_counter)
{
    le64 *box = context;

    box[0] = le64_of(len_bytes);
    box[1] = le64_of(program_counter);
    memcpy(box + 2, text, len_bytes);
}

static void begin(const struct selftest *test)
{
    panic_set_recorder(record, arch_ram_base() + BOOT_BLACKBOX_OFFSET);
    console_printf("CASE %s\n", test->name);
}

static void survived(struct selftest *test)
{
    selftest_fail(test, __FILE__, __LINE__, "the machine survived");
}

static void panic_case(struct selftest *test)
{
    begin(test);
    panic("spilled %d of %s", 7, "ten");
}

static void record_badly(void *context, const char *text, size_t len_bytes,
                         uint64_t program_counter)
{
    (void)text;
    (void)len_bytes;
    (void)program_counter;
    *(volatile uint32_t *)context = 1;
}

/* The recorder faults: one more line, and the machine is off all the same. */
static void panic_twice_case(struct selftest *test)
{
    begin(test);
    panic_set_recorder(record_badly, NULL);
    panic("first");
}

/* Each frame is used after the call, so it cannot become a loop; it ends only if the count wraps.
 */
__attribute__((noinline)) static unsigned overflow(volatile unsigned *count)
{
    volatile unsigned char frame[256];

    frame[0] = (unsigned char)++*count;
    return (*count == 0 ? 0 : overflow(count)) + frame[0];
}

static void guard_case(struct selftest *test)
{
    volatile unsigned count = 0;

    begin(test);
    if (test->failures == 0)
        overflow(&count);
    survived(test);
}

static void wild_read_case(struct selftest *test)
{
    begin(test);
    (void)*(volatile uint32_t *)WILD_ADDRESS;
    survived(test);
}

static void null_write_case(struct selftest *test)
{
    uint32_t *volatile nowhere = NULL;

    begin(test);
    *(volatile uint32_t *)nowhere = 1;
    survived(test);
}

static void text_write_case(struct selftest *test)
{
    begin(test);
    *(volatile uint32_t *)(uintptr_t)kernel_main = 0;
    survived(test);
}

static void const_write_case(struct selftest *test)
{
    static const uint32_t fixed[4] = {1, 2, 3, 4};
    uintptr_t address = (uintptr_t)fixed;

    begin(test);
    *(volatile uint32_t *)address = 0;
    survived(test);
}

static void execute_data_case(struct selftest *test)
{
    void (*function)(void) = (void (*)(void))(uintptr_t)(arch_ram_base() + BOOT_HEAP_OFFSET);

    begin(test);
    function();
    survived(test);
}

static void illegal_case(struct selftest *test)
{
    begin(test);
    __builtin_trap();
}

static void lock_case(struct selftest *test)
{
    struct lock lock;

    begin(test);
    lock_init(&lock);
    lock_acquire(&lock);
    lock_acquire(&lock);
    survived(test);
}

static void handler_overflow(void *argument)
{
    volatile unsigned count = 0;

    (void)argument;
    overflow(&count);
}

/* Not the first thread's stack but another's. */
static void thread_guard_case(struct selftest *test)
{
    struct thread *thread;

    begin(test);
    CHECK(test, thread_create(NULL, "deep", handler_overflow, NULL, &thread) == 0);
    thread_join(thread);
    survived(test);
}

/* RAM outside the image survives: the count and a word in the heap. */
static void reset_case(struct selftest *test)
{
    volatile uint32_t *word = (volatile uint32_t *)(void *)(arch_ram_base() + BOOT_HEAP_OFFSET);
    uint32_t count = test->configuration->boot_count;

    console_printf("MARK boot_count=%u\n", count);
    CHECK(test, count == 1 || *word == count - 1);
    *word = count;
    if (count < BOOTS_WANTED)
        arch_reset();
}

const struct selftest_case selftest_fatal_cases[] = {
    {"panic", panic_case},
    {"panic_twice", panic_twice_case},
    {"guard", guard_case},
    {"thread_guard", thread_guard_case},
    {"wild_read", wild_read_case},
    {"null_write", null_write_case},
    {"text_write", text_write_case},
    {"const_write", const_write_case},
    {"execute_data", execute_data_case},
    {"illegal", illegal_case},
    {"lock", lock_case},
    {"reset", reset_case},
    {NULL, NULL},
};
