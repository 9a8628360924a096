/* SPDX-License-Identifier: MIT
 *
 * Threads, locks, conditions and events.
 */
#include "selftest.h"
#include <arch/machine.h>
#include <kernel/arch.h>
#include <kernel/string.h>
#include <kernel/thread.h>

#define MS 1000000ull

/* Who ran when: a short text that threads append to. */
struct trace {
    char text[32];
    size_t length;
};

static void trace_add(struct trace *trace, char mark)
{
    if (trace->length + 1 < sizeof(trace->text))
        trace->text[trace->length++] = mark;
    trace->text[trace->length] = '\0';
}

struct worker {
    struct trace *trace;
    char mark;
    struct lock *lock;
    struct condition *condition;
    struct event *event;
    uint64_t deadline_ns;
    bool result;
};

static void yield_twice(void *argument)
{
    const struct worker *worker = argument;

    trace_add(worker->trace, worker->mark);
    thread_yield();
    trace_add(worker->trace, worker->mark);
}

/* Threads run in the order they became runnable, and a yield lets all others run. */
static void thread_order_case(struct selftest *test)
{
    struct trace trace = {.length = 0};
    struct worker workers[2] = {{.trace = &trace, .mark = 'a'}, {.trace = &trace, .mark = 'b'}};
    struct thread *threads[2];

    for (unsigned i = 0; i < 2; i++)
        CHECK(test, thread_create(NULL, "order", yield_twice, &workers[i], &threads[i]) == 0);
    CHECK(test, thread_others_runnable());
    trace_add(&trace, 'm');
    thread_yield();
    trace_add(&trace, 'm');
    for (unsigned i = 0; i < 2; i++)
        thread_join(threads[i]);
    CHECK(test, strcmp(trace.text, "mabmab") == 0);
    CHECK(test, !thread_others_runnable());
}

static void do_nothing(void *argument)
{
    (void)argument;
}

/* What a thread took it gives back, whether somebody joins it or not. */
static void thread_memory_case(struct selftest *test)
{
    void *before = page_allocate(1);
    void *after;

    page_free(before, 1);
    for (unsigned i = 0; i < 1000; i++) {
        struct thread *thread;

        CHECK(test, thread_create(NULL, "joined", do_nothing, NULL, &thread) == 0);
        thread_join(thread);
        CHECK(test, thread_create(NULL, "detached", do_nothing, NULL, NULL) == 0);
        thread_yield();
    }
    struct thread *last;
    CHECK(test, thread_create(NULL, "last", do_nothing, NULL, &last) == 0);
    thread_join(last);
    after = page_allocate(1);
    page_free(after, 1);
    CHECK(test, before == after);
}

static void fill_up(void *argument)
{
    event_wait(argument, DEADLINE_NEVER);
}

/* When no stack is left thread_create() says so and nothing else breaks. */
static void thread_exhaustion_case(struct selftest *test)
{
    struct event events[256];
    struct thread *threads[256];
    unsigned count = 0;
    int error = 0;

    while (count < 256) {
        event_init(&events[count]);
        error = thread_create(NULL, "many", fill_up, &events[count], &threads[count]);
        if (error != 0)
            break;
        count++;
    }
    CHECK(test, error == ERROR_NO_MEMORY && count >= 64);
    thread_yield();
    for (unsigned i = 0; i < count; i++)
        event_signal(&events[i]);
    for (unsigned i = 0; i < count; i++)
        thread_join(threads[i]);
    CHECK(test, thread_create(NULL, "again", do_nothing, NULL, &threads[0]) == 0);
    thread_join(threads[0]);
}

static void wait_condition(void *argument)
{
    struct worker *worker = argument;

    lock_acquire(worker->lock);
    worker->result = condition_wait(worker->condition, worker->lock, worker->deadline_ns);
    trace_add(worker->trace, worker->mark);
    lock_release(worker->lock);
}

static void workers_start(struct worker *workers, struct thread **threads, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (thread_create(NULL, "worker", wait_condition, &workers[i], &threads[i]) != 0)
            threads[i] = NULL;
    thread_yield();
}

/* Waiters wake in the order they came; a broadcast wakes the rest; a deadline takes its waiter out
 * of the middle, and is far enough away for all to wait by then. */
static void condition_case(struct selftest *test)
{
    struct trace trace = {.length = 0};
    struct lock lock;
    struct condition condition;
    struct worker workers[4];
    struct thread *threads[4];
    uint64_t now_ns = clock_now_ns();

    lock_init(&lock);
    condition_init(&condition);
    for (unsigned i = 0; i < 4; i++)
        workers[i] = (struct worker){.trace = &trace,
                                     .mark = (char)('a' + i),
                                     .lock = &lock,
                                     .condition = &condition,
                                     .deadline_ns = i == 1 ? now_ns + 50 * MS : DEADLINE_NEVER};
    workers_start(workers, threads, 4);
    lock_acquire(&lock);
    condition_signal(&condition);
    lock_release(&lock);
    thread_join(threads[0]);
    thread_join(threads[1]);
    lock_acquire(&lock);
    condition_broadcast(&condition);
    lock_release(&lock);
    thread_join(threads[2]);
    thread_join(threads[3]);
    CHECK(test, strcmp(trace.text, "abcd") == 0);
    CHECK(test, workers[0].result && !workers[1].result && workers[2].result && workers[3].result);
    CHECK(test, clock_now_ns() >= now_ns + 50 * MS);
}

static void wait_event(void *argument)
{
    struct worker *worker = argument;

    worker->result = event_wait(worker->event, worker->deadline_ns);
    trace_add(worker->trace, worker->mark);
}

/* A signal before the wait is kept, many are one, and a waiter gets one from another thread. */
static void event_case(struct selftest *test)
{
    struct trace trace = {.length = 0};
    struct event event;
    struct worker worker = {
        .trace = &trace, .mark = 'e', .event = &event, .deadline_ns = clock_now_ns() + 10000 * MS};
    struct thread *thread;

    event_init(&event);
    CHECK(test, !event_poll(&event));
    event_signal(&event);
    event_signal(&event);
    CHECK(test, event_wait(&event, DEADLINE_NEVER));
    CHECK(test, !event_poll(&event));
    CHECK(test, !event_wait(&event, clock_now_ns() + MS));
    CHECK(test, thread_create(NULL, "event", wait_event, &worker, &thread) == 0);
    thread_yield();
    event_signal(&event);
    CHECK(test, trace.length == 0);
    thread_join(thread);
    CHECK(test, trace.length == 1 && worker.result);
    CHECK(test, !event_poll(&event));
}

static void host_inherit(void *argument)
{
    struct mach_host **seen = argument;

    *seen = thread_current_host();
}

/* A host is a name here: it is never looked into. */
static void thread_host_case(struct selftest *test)
{
    struct mach_host *first = (struct mach_host *)(void *)test;
    struct mach_host *second = (struct mach_host *)(void *)&first;
    struct mach_host *seen = NULL;
    struct thread *thread;

    CHECK(test, thread_current_host() == NULL);
    thread_set_host(first);
    CHECK(test, thread_create(NULL, "heir", host_inherit, &seen, &thread) == 0);
    thread_join(thread);
    CHECK(test, seen == first);
    CHECK(test, thread_create(second, "other", host_inherit, &seen, &thread) == 0);
    thread_join(thread);
    CHECK(test, seen == second && thread_current_host() == first);
    thread_set_host(NULL);
}

/* --- Threads of a server ---------------------------------------------------------------------- */

static struct server *const some_server = (struct server *)(void *)16;

/* What a server's threads may be at when they are taken out. */
static void wait_for_ever(void *argument)
{
    (void)event_wait(argument, DEADLINE_NEVER);
}

static void wait_for_long(void *argument)
{
    struct worker *worker = argument;

    lock_acquire(worker->lock);
    (void)condition_wait(worker->condition, worker->lock, clock_now_ns() + 3600 * 1000 * MS);
    lock_release(worker->lock);
}

static void yield_for_ever(void *argument)
{
    (void)argument;
    for (;;)
        thread_yield();
}

static void owned_threads_case(struct selftest *test)
{
    struct lock lock;
    struct condition condition;
    struct event event;
    struct worker worker = {.lock = &lock, .condition = &condition};
    struct thread *joined, *other;

    lock_init(&lock);
    condition_init(&condition);
    event_init(&event);
    thread_set_owner(some_server);
    CHECK(test, thread_owned_count(some_server) == 1);
    CHECK(test, thread_create(NULL, "event", wait_for_ever, &event, &joined) == 0);
    CHECK(test, thread_create(NULL, "condition", wait_for_long, &worker, &other) == 0);
    CHECK(test, thread_create(NULL, "yield", yield_for_ever, NULL, NULL) == 0);
    thread_set_owner(NULL);
    thread_yield();
    CHECK(test, thread_owned_count(some_server) == 3);
    CHECK(test, thread_others_runnable());
    CHECK(test, thread_end_owned(some_server, joined));
    CHECK(test, thread_owned_count(some_server) == 0);
    thread_join(joined);
    CHECK(test, !thread_others_runnable());
    /* Nothing refers to them: others wait where they did. */
    event_signal(&event);
    CHECK(test, event_wait(&event, DEADLINE_NEVER));
    condition_broadcast(&condition);
    CHECK(test, !thread_others_runnable());
}

#define SERVER_CODE ((uintptr_t)16) /* where its thread is, for all that the scheduler knows */

static bool is_some_server_s_code(const struct server *owner, uintptr_t address)
{
    return owner == some_server && address == SERVER_CODE;
}

/* Would an interrupt that brings work stop this thread now? */
static bool would_be_stopped(void)
{
    struct scheduler *scheduler = &machine()->scheduler;
    bool stopped;

    arch_interrupts_disable();
    scheduler->attention = 1;
    stopped = scheduler_must_preempt(scheduler, SERVER_CODE);
    scheduler->current->is_hog = false;
    arch_interrupts_enable();
    return stopped;
}

static void compute_for(uint64_t time_ns)
{
    uint64_t end_ns = clock_now_ns() + time_ns;

    while (clock_now_ns() < end_ns)
        arch_relax();
}

/* Only time without a wait counts, also where nobody else ran meanwhile. */
static void hog_case(struct selftest *test)
{
    struct event never;

    event_init(&never);
    thread_set_code_check(is_some_server_s_code);
    CHECK(test, !would_be_stopped()); /* the kernel's own never is */
    thread_set_owner(some_server);
    CHECK(test, !would_be_stopped());
    compute_for(150 * MS);
    CHECK(test, would_be_stopped());
    CHECK(test, !event_wait(&never, clock_now_ns() + 50 * MS));
    CHECK(test, !would_be_stopped());
    CHECK(test, !event_wait(&never, clock_now_ns() + 150 * MS));
    CHECK(test, !would_be_stopped());
    thread_set_owner(NULL);
    thread_set_code_check(NULL);
}

const struct selftest_case selftest_thread_cases[] = {
    {"thread_order", thread_order_case},
    {"thread_memory", thread_memory_case},
    {"thread_exhaustion", thread_exhaustion_case},
    {"condition", condition_case},
    {"event", event_case},
    {"thread_host", thread_host_case},
    {"owned_threads", owned_threads_case},
    {"hog", hog_case},
    {NULL, NULL},
};
