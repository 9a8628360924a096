/* SPDX-License-Identifier: MIT
 *
 * What the machine layer costs: lines "FIGURE <name> <value> <unit>", the best of a few runs. Not
 * judged.
 */
#include "selftest.h"
#include <kernel/arch.h>
#include <kernel/console.h>
#include <kernel/crc32c.h>
#include <kernel/string.h>
#include <kernel/thread.h>

#define RUNS 5u
#define ROUNDS 20000u
#define COPY_SIZE 65536u

static void report(const char *name, uint64_t best_ns, uint64_t divisor)
{
    uint64_t picoseconds = best_ns * 1000 / divisor;

    console_printf("FIGURE %s %llu.%03llu ns\n", name, (unsigned long long)(picoseconds / 1000),
                   (unsigned long long)(picoseconds % 1000));
}

struct partner {
    struct event to, from;
    struct lock lock;
    struct condition condition;
    unsigned turn;
    bool stop;
};

static void answer_events(void *argument)
{
    struct partner *partner = argument;

    while (!partner->stop) {
        event_wait(&partner->to, DEADLINE_NEVER);
        event_signal(&partner->from);
    }
}

static void answer_conditions(void *argument)
{
    struct partner *partner = argument;

    lock_acquire(&partner->lock);
    while (!partner->stop) {
        while (partner->turn == 0 && !partner->stop)
            condition_wait(&partner->condition, &partner->lock, DEADLINE_NEVER);
        partner->turn = 0;
        condition_signal(&partner->condition);
    }
    lock_release(&partner->lock);
}

static void yield_on(void *argument)
{
    struct partner *partner = argument;

    while (!partner->stop)
        thread_yield();
}

static void rounds_yield(struct partner *partner)
{
    (void)partner;
    for (unsigned i = 0; i < ROUNDS; i++)
        thread_yield();
}

static void rounds_event(struct partner *partner)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        event_signal(&partner->to);
        event_wait(&partner->from, DEADLINE_NEVER);
    }
}

static void rounds_event_deadline(struct partner *partner)
{
    uint64_t deadline_ns = clock_now_ns() + 1000000000;

    for (unsigned i = 0; i < ROUNDS; i++) {
        event_signal(&partner->to);
        event_wait(&partner->from, deadline_ns + i);
    }
}

static void rounds_condition(struct partner *partner)
{
    lock_acquire(&partner->lock);
    for (unsigned i = 0; i < ROUNDS; i++) {
        partner->turn = 1;
        condition_signal(&partner->condition);
        while (partner->turn == 1)
            condition_wait(&partner->condition, &partner->lock, DEADLINE_NEVER);
    }
    lock_release(&partner->lock);
}

static void rounds_clock(struct partner *partner)
{
    (void)partner;
    for (unsigned i = 0; i < ROUNDS; i++)
        clock_now_ns();
}

static void rounds_lock(struct partner *partner)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        lock_acquire(&partner->lock);
        lock_release(&partner->lock);
    }
}

static uint64_t best_of(void (*rounds)(struct partner *), struct partner *partner)
{
    uint64_t best_ns = UINT64_MAX;

    for (unsigned i = 0; i < RUNS; i++) {
        uint64_t start_ns = clock_now_ns();
        uint64_t span_ns;

        rounds(partner);
        span_ns = clock_now_ns() - start_ns;
        if (span_ns < best_ns)
            best_ns = span_ns;
    }
    return best_ns;
}

static void with_partner(struct selftest *test, const char *name, void (*entry)(void *),
                         void (*rounds)(struct partner *))
{
    struct partner partner = {.stop = false};
    struct thread *thread;

    event_init(&partner.to);
    event_init(&partner.from);
    lock_init(&partner.lock);
    condition_init(&partner.condition);
    CHECK(test, thread_create(NULL, "partner", entry, &partner, &thread) == 0);
    thread_yield();
    report(name, best_of(rounds, &partner), ROUNDS);
    partner.stop = true;
    event_signal(&partner.to);
    lock_acquire(&partner.lock);
    condition_broadcast(&partner.condition);
    lock_release(&partner.lock);
    thread_join(thread);
}

static void bytes_figures(void)
{
    uint8_t *start;
    size_t size;
    uint64_t copy_ns = UINT64_MAX, unaligned_ns = UINT64_MAX, fill_ns = UINT64_MAX;
    uint64_t crc_ns = UINT64_MAX, compare_ns = UINT64_MAX;

    arch_memory_range(&start, &size);
    for (unsigned i = 0; i < 20; i++) {
        uint64_t t0 = clock_now_ns();
        memcpy(start, start + 2 * COPY_SIZE, COPY_SIZE);
        uint64_t t1 = clock_now_ns();
        memcpy(start + 1, start + 2 * COPY_SIZE + 4, COPY_SIZE);
        uint64_t t2 = clock_now_ns();
        memset(start, (int)i, 2 * COPY_SIZE);
        uint64_t t3 = clock_now_ns();
        __asm__ volatile("" ::"r"(crc32c(0, start, COPY_SIZE)));
        uint64_t t4 = clock_now_ns();
        __asm__ volatile("" ::"r"(memcmp(start, start + COPY_SIZE, COPY_SIZE)));
        uint64_t t5 = clock_now_ns();

        copy_ns = t1 - t0 < copy_ns ? t1 - t0 : copy_ns;
        unaligned_ns = t2 - t1 < unaligned_ns ? t2 - t1 : unaligned_ns;
        fill_ns = t3 - t2 < fill_ns ? t3 - t2 : fill_ns;
        crc_ns = t4 - t3 < crc_ns ? t4 - t3 : crc_ns;
        compare_ns = t5 - t4 < compare_ns ? t5 - t4 : compare_ns;
    }
    report("memcpy_per_byte", copy_ns, COPY_SIZE);
    report("memcpy_unaligned_per_byte", unaligned_ns, COPY_SIZE);
    report("memset_per_byte", fill_ns, 2 * COPY_SIZE);
    report("memcmp_per_byte", compare_ns, COPY_SIZE);
    report("crc32c_per_byte", crc_ns, COPY_SIZE);
}

static void figures_case(struct selftest *test)
{
    struct partner alone = {.stop = false};

    lock_init(&alone.lock);
    report("clock_read", best_of(rounds_clock, &alone), ROUNDS);
    report("lock_pair", best_of(rounds_lock, &alone), ROUNDS);
    report("yield_alone", best_of(rounds_yield, &alone), ROUNDS);
    with_partner(test, "yield_two_switches", yield_on, rounds_yield);
    with_partner(test, "event_two_switches", answer_events, rounds_event);
    with_partner(test, "event_deadline_two_switches", answer_events, rounds_event_deadline);
    with_partner(test, "condition_two_switches", answer_conditions, rounds_condition);
    bytes_figures();
}

const struct selftest_case selftest_figure_cases[] = {
    {"figures", figures_case},
    {NULL, NULL},
};
