/* SPDX-License-Identifier: MIT
 *
 * The clock, the timer and idling. run.py compares the marks with the host's clock and the
 * emulator's CPU time.
 */
#include "selftest.h"
#include <kernel/console.h>
#include <kernel/thread.h>

#define MS 1000000ull
#define LATE_MAXIMUM_NS (200 * MS) /* a busy host may take the CPU away for that long */

static void clock_case(struct selftest *test)
{
    uint64_t before_ns = clock_now_ns();
    uint64_t end_ns = before_ns + 300 * MS;

    console_printf("MARK clock_start\n");
    while (before_ns < end_ns) {
        uint64_t now_ns = clock_now_ns();

        CHECK(test, now_ns >= before_ns);
        before_ns = now_ns;
    }
    console_printf("MARK clock_end\n");
}

static void timer_case(struct selftest *test)
{
    static const uint64_t delays_ns[] = {0, 1, 1000, 100000, 3 * MS, 40 * MS};
    struct event event;

    event_init(&event);
    for (unsigned i = 0; i < sizeof(delays_ns) / sizeof(delays_ns[0]); i++) {
        uint64_t deadline_ns = clock_now_ns() + delays_ns[i];
        uint64_t now_ns;

        CHECK(test, !event_wait(&event, deadline_ns));
        now_ns = clock_now_ns();
        CHECK(test, now_ns >= deadline_ns);
        CHECK(test, now_ns < deadline_ns + LATE_MAXIMUM_NS);
    }
}

struct sleeper {
    uint64_t deadline_ns;
    uint64_t woken_ns;
};

static void sleep_until(void *argument)
{
    struct sleeper *sleeper = argument;
    struct event event;

    event_init(&event);
    event_wait(&event, sleeper->deadline_ns);
    sleeper->woken_ns = clock_now_ns();
}

/* Deadlines set in no order fire in order, also while another thread keeps the CPU busy by
 * yielding. */
static void deadlines_case(struct selftest *test)
{
    static const unsigned delays_ms[] = {90, 30, 150, 60, 120, 30};
    struct sleeper sleepers[6];
    struct thread *threads[6];
    uint64_t now_ns = clock_now_ns();

    for (unsigned i = 0; i < 6; i++) {
        sleepers[i] = (struct sleeper){.deadline_ns = now_ns + delays_ms[i] * MS};
        CHECK(test, thread_create(NULL, "sleeper", sleep_until, &sleepers[i], &threads[i]) == 0);
    }
    while (sleepers[2].woken_ns == 0 && clock_now_ns() < now_ns + LATE_MAXIMUM_NS)
        thread_yield();
    CHECK(test, sleepers[2].woken_ns != 0); /* the last one, without this thread ever waiting */
    for (unsigned i = 0; i < 6; i++)
        thread_join(threads[i]);
    for (unsigned i = 0; i < 6; i++) {
        CHECK(test, sleepers[i].woken_ns >= sleepers[i].deadline_ns);
        for (unsigned j = 0; j < 6; j++)
            if (sleepers[i].deadline_ns < sleepers[j].deadline_ns)
                CHECK(test, sleepers[i].woken_ns <= sleepers[j].woken_ns);
    }
}

static void idle_case(struct selftest *test)
{
    struct event event;

    event_init(&event);
    console_printf("MARK idle_start\n");
    CHECK(test, !event_wait(&event, clock_now_ns() + 1500 * MS));
    console_printf("MARK idle_end\n");
}

const struct selftest_case selftest_time_cases[] = {
    {"clock", clock_case}, {"timer", timer_case}, {"deadlines", deadlines_case},
    {"idle", idle_case},   {NULL, NULL},
};
