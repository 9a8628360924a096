/* SPDX-License-Identifier: MIT
 *
 * Fibers: kernel/thread.h and fiber.h. Stacks are one block of the process, used again by the next
 * life; a step costs two changes of stack and no system call.
 *
 * Invariants: exactly one context runs. A fiber is in the ready list, or waits (for a lock, a
 * condition, an event, an end, a deadline), or runs, or is free. Lists of waiters go through
 * `waiter_next`, and a fiber is in one of them at most. All fibers of a life die together, and
 * with them the arena that their locks lie in, so a crash unlinks nothing.
 */
#include "fiber.h"
#include "context_switch.h"
#include "sanitize.h"

#include <kernel/error.h>
#include <kernel/panic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum fiber_state {
    FIBER_FREE,
    FIBER_READY,
    FIBER_RUNNING,
    FIBER_WAITING,
    FIBER_ENDED, /* not joined yet */
};

struct thread {
    void *context;
    void *stack;
    struct fiber_sanitizer sanitizer;
    struct mach_host *host;
    struct server *owner;
    void (*entry)(void *argument);
    void *argument;
    struct thread **waiting_in; /* the list that it waits in; null: none */
    struct thread *waiter_next;
    struct thread *joiner;
    uint64_t deadline_ns; /* world time */
    uint32_t group;
    uint32_t index;
    uint8_t state; /* enum fiber_state */
    bool timed_out;
    bool is_detached;
};

struct group {
    uint64_t clock_offset_ns; /* node clock minus world time, modulo 2^64 */
    bool is_frozen;
};

static struct world {
    struct fiber_settings settings;
    uint64_t now_ns;
    uint64_t random;
    uint64_t steps;
    uint64_t trace;
    uint64_t next_deadline_ns; /* nobody waits for an earlier one */
    uint32_t preempt_in;
    bool is_held;
    struct thread *current; /* null: the scheduler context */
    void *scheduler_context;
    struct fiber_sanitizer scheduler_sanitizer;
    uint32_t used; /* fibers[used] and above were never used in this world */
    uint32_t ready_count;
    struct thread *ready[FIBERS_MAXIMUM];
    struct thread fibers[FIBERS_MAXIMUM];
    struct group groups[FIBER_GROUPS];
} world;

/* Owner of a lock that the scheduler context holds. */
static struct thread scheduler_thread;

static _Alignas(64) uint8_t stacks[FIBERS_MAXIMUM][FIBER_STACK_BYTES];

/* --- The world
 * ------------------------------------------------------------------------------------ */

/* splitmix64 (S. Vigna). */
uint64_t fiber_random(void)
{
    uint64_t value = world.random += 0x9e3779b97f4a7c15ull;

    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9ull;
    value = (value ^ value >> 27) * 0x94d049bb133111ebull;
    return value ^ value >> 31;
}

/* One in `n` on average. */
static bool is_chosen(uint32_t n)
{
    return n != 0 && (uint32_t)fiber_random() % n == 0;
}

/* How many acquisitions until the next that gives way: 1 to 2n - 1. */
static uint32_t preemption_distance(void)
{
    uint32_t n = world.settings.preempt_one_in;

    return n == 0 ? 0 : 1u + (uint32_t)fiber_random() % (2u * n - 1u);
}

void fiber_world_open(const struct fiber_settings *settings)
{
    for (uint32_t i = 0; i < world.used; i++) {
        world.fibers[i] = (struct thread){.state = FIBER_FREE};
    }
    memset(world.groups, 0, sizeof(world.groups));
    world.settings = *settings;
    world.now_ns = 0;
    world.random = settings->seed;
    world.steps = 0;
    world.trace = 0;
    world.next_deadline_ns = DEADLINE_NEVER;
    world.current = NULL;
    world.used = 0;
    world.ready_count = 0;
    world.is_held = false;
    world.preempt_in = preemption_distance();
}

uint64_t fiber_now_ns(void)
{
    return world.now_ns;
}

uint64_t fiber_steps(void)
{
    return world.steps;
}

uint64_t fiber_trace(void)
{
    return world.trace;
}

/* --- Ready and waiting
 * ---------------------------------------------------------------------------- */

static void make_ready(struct thread *fiber)
{
    fiber->state = FIBER_READY;
    fiber->deadline_ns = DEADLINE_NEVER;
    world.ready[world.ready_count++] = fiber;
}

static void list_append(struct thread **list, struct thread *fiber)
{
    while (*list != NULL) {
        list = &(*list)->waiter_next;
    }
    fiber->waiter_next = NULL;
    *list = fiber;
}

static void list_remove(struct thread **list, struct thread *fiber)
{
    while (*list != fiber) {
        list = &(*list)->waiter_next;
    }
    *list = fiber->waiter_next;
}

/* Out of what it waits in, and ready. */
static void wake(struct thread *fiber, bool timed_out)
{
    if (fiber->waiting_in != NULL) {
        list_remove(fiber->waiting_in, fiber);
        fiber->waiting_in = NULL;
    }
    fiber->timed_out = timed_out;
    make_ready(fiber);
}

/* One of those that wait in a list. */
static void wake_one(struct thread **list)
{
    struct thread *fiber = *list;
    uint32_t count = 0;

    if (fiber == NULL) {
        return;
    }
    if (world.settings.random_order) {
        for (struct thread *each = fiber; each != NULL; each = each->waiter_next) {
            count++;
        }
        for (uint32_t skip = count > 1 ? (uint32_t)fiber_random() % count : 0; skip != 0; skip--) {
            fiber = fiber->waiter_next;
        }
    }
    wake(fiber, false);
}

static void to_scheduler(void)
{
    struct thread *fiber = world.current;

    sanitizer_leave(&fiber->sanitizer, &world.scheduler_sanitizer,
                    fiber->state == FIBER_FREE || fiber->state == FIBER_ENDED);
    context_switch(&fiber->context, world.scheduler_context);
    sanitizer_arrive(&fiber->sanitizer, &world.scheduler_sanitizer);
}

/* Wait in `list` (null: in none) until somebody wakes this fiber or until a world time. */
static bool wait_in(struct thread **list, uint64_t deadline_ns)
{
    struct thread *fiber = world.current;

    panic_unless(fiber != NULL);
    fiber->state = FIBER_WAITING;
    fiber->waiting_in = list;
    fiber->timed_out = false;
    fiber->deadline_ns = deadline_ns;
    if (list != NULL) {
        list_append(list, fiber);
    }
    if (deadline_ns < world.next_deadline_ns) {
        world.next_deadline_ns = deadline_ns;
    }
    to_scheduler();
    return !fiber->timed_out;
}

static void give_way(void)
{
    make_ready(world.current);
    to_scheduler();
}

/* --- Time
 * ----------------------------------------------------------------------------------------- */

static struct group *current_group(void)
{
    return &world.groups[world.current->group];
}

uint64_t clock_now_ns(void)
{
    if (world.current == NULL) {
        return world.now_ns;
    }
    world.now_ns += world.settings.clock_cost_ns;
    return world.now_ns + current_group()->clock_offset_ns;
}

/* Of a deadline by the node's clock. */
static uint64_t world_time(uint64_t node_ns)
{
    uint64_t offset_ns = current_group()->clock_offset_ns;

    if (node_ns == DEADLINE_NEVER) {
        return DEADLINE_NEVER;
    }
    return node_ns > world.now_ns + offset_ns ? node_ns - offset_ns : world.now_ns;
}

/* Compute the earliest deadline anew. */
static void find_next_deadline(void)
{
    uint64_t earliest_ns = DEADLINE_NEVER;

    for (uint32_t i = 0; i < world.used; i++) {
        const struct thread *fiber = &world.fibers[i];

        if (fiber->state == FIBER_WAITING && fiber->deadline_ns < earliest_ns) {
            earliest_ns = fiber->deadline_ns;
        }
    }
    world.next_deadline_ns = earliest_ns;
}

void fiber_advance(uint64_t now_ns)
{
    if (now_ns > world.now_ns) {
        world.now_ns = now_ns;
    }
    if (world.now_ns < world.next_deadline_ns) {
        return;
    }
    for (uint32_t i = 0; i < world.used; i++) {
        struct thread *fiber = &world.fibers[i];

        if (fiber->state == FIBER_WAITING && fiber->deadline_ns <= world.now_ns) {
            wake(fiber, true);
        }
    }
    find_next_deadline();
}

/* A deadline of one that was woken meanwhile, or is frozen, costs its caller a look at nothing. */
uint64_t fiber_deadline_ns(void)
{
    find_next_deadline();
    return world.next_deadline_ns;
}

/* --- Running
 * -------------------------------------------------------------------------------------- */

static bool is_eligible(const struct thread *fiber)
{
    return !world.groups[fiber->group].is_frozen;
}

bool fiber_any_ready(void)
{
    for (uint32_t i = 0; i < world.ready_count; i++) {
        if (is_eligible(world.ready[i])) {
            return true;
        }
    }
    return false;
}

/* Null: none is ready that may run. */
static struct thread *take_ready(void)
{
    uint32_t count = world.ready_count;
    uint32_t first = 0;

    if (count > 1 && world.settings.random_order) {
        first = (uint32_t)fiber_random() % count;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = first + i < count ? first + i : first + i - count;
        struct thread *fiber = world.ready[at];

        if (is_eligible(fiber)) {
            world.ready_count--;
            memmove(&world.ready[at], &world.ready[at + 1],
                    (world.ready_count - at) * sizeof(world.ready[0]));
            return fiber;
        }
    }
    return NULL;
}

bool fiber_step(void)
{
    struct thread *fiber = take_ready();

    if (fiber == NULL) {
        return false;
    }
    world.steps++;
    world.now_ns += world.settings.switch_cost_ns;
    world.trace =
        (world.trace ^ world.now_ns ^ (uint64_t)fiber->index << 56) * 0x9e3779b97f4a7c15ull + 1;
    fiber->state = FIBER_RUNNING;
    world.current = fiber;
    sanitizer_leave(&world.scheduler_sanitizer, &fiber->sanitizer, false);
    context_switch(&world.scheduler_context, fiber->context);
    sanitizer_arrive(&world.scheduler_sanitizer, NULL);
    world.current = NULL;
    return true;
}

/* --- Threads
 * -------------------------------------------------------------------------------------- */

static void fiber_main(void)
{
    struct thread *fiber = world.current;

    sanitizer_arrive(&fiber->sanitizer, &world.scheduler_sanitizer);
    fiber->entry(fiber->argument);
    if (fiber->is_detached) {
        fiber->state = FIBER_FREE;
    } else {
        fiber->state = FIBER_ENDED;
        if (fiber->joiner != NULL) {
            wake(fiber->joiner, false);
        }
    }
    to_scheduler();
    abort(); /* nobody switches to a fiber that ended */
}

static struct thread *find_free(void)
{
    for (uint32_t i = 0; i < world.used; i++) {
        if (world.fibers[i].state == FIBER_FREE) {
            return &world.fibers[i];
        }
    }
    return world.used < FIBERS_MAXIMUM ? &world.fibers[world.used++] : NULL;
}

static struct thread *make_fiber(uint32_t group, struct mach_host *host,
                                 void (*entry)(void *argument), void *argument)
{
    struct thread *fiber = find_free();
    uint32_t index;

    if (fiber == NULL) {
        return NULL;
    }
    index = (uint32_t)(fiber - world.fibers);
    *fiber = (struct thread){.stack = stacks[index],
                             .host = host,
                             .entry = entry,
                             .argument = argument,
                             .group = group,
                             .index = index};
    sanitizer_prepare(&fiber->sanitizer, fiber->stack, FIBER_STACK_BYTES);
    fiber->context = context_prepare(stacks[index] + FIBER_STACK_BYTES, fiber_main);
    make_ready(fiber);
    return fiber;
}

int fiber_start(uint32_t group, void (*entry)(void *argument), void *argument)
{
    struct thread *fiber = make_fiber(group, NULL, entry, argument);

    if (fiber == NULL) {
        return ERROR_NO_MEMORY;
    }
    fiber->is_detached = true;
    return ERROR_NONE;
}

int thread_create(struct mach_host *host, const char *name, void (*entry)(void *), void *argument,
                  struct thread **out)
{
    struct thread *creator = world.current;
    struct thread *fiber;

    (void)name;
    panic_unless(creator != NULL);
    fiber = make_fiber(creator->group, host != NULL ? host : creator->host, entry, argument);
    if (fiber == NULL) {
        return ERROR_NO_MEMORY;
    }
    fiber->owner = creator->owner;
    fiber->is_detached = out == NULL;
    if (out != NULL) {
        *out = fiber;
    }
    return ERROR_NONE;
}

void thread_join(struct thread *thread)
{
    while (thread->state != FIBER_ENDED) {
        thread->joiner = world.current;
        (void)wait_in(NULL, DEADLINE_NEVER);
    }
    thread->state = FIBER_FREE;
}

void thread_yield(void)
{
    give_way();
}

/* Of this node: what other nodes do takes none of its time. */
bool thread_runs_alone(void)
{
    return false;
}

bool thread_others_runnable(void)
{
    return thread_others_runnable_but(NULL);
}

bool thread_others_runnable_but(const struct thread *other)
{
    for (uint32_t i = 0; i < world.ready_count; i++) {
        if (world.ready[i]->group == world.current->group && world.ready[i] != other) {
            return true;
        }
    }
    return false;
}

struct mach_host *thread_current_host(void)
{
    return world.current != NULL ? world.current->host : NULL;
}

void thread_set_host(struct mach_host *host)
{
    panic_unless(world.current != NULL);
    world.current->host = host;
}

struct server *thread_owner(void)
{
    return world.current != NULL ? world.current->owner : NULL;
}

void thread_set_owner(struct server *owner)
{
    panic_unless(world.current != NULL);
    world.current->owner = owner;
}

/* The simulator loads no servers. */
uint32_t thread_owned_count(const struct server *owner)
{
    (void)owner;
    return 0;
}

bool thread_end_owned(const struct server *owner, struct thread *joined)
{
    (void)owner;
    (void)joined;
    return false;
}

void thread_set_code_check(bool (*is_code_of)(const struct server *owner, uintptr_t address))
{
    (void)is_code_of;
}

/* --- Groups
 * --------------------------------------------------------------------------------------- */

void fiber_group_open(uint32_t group, uint64_t node_now_ns)
{
    world.groups[group] = (struct group){.clock_offset_ns = node_now_ns - world.now_ns};
}

void fiber_group_kill(uint32_t group)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < world.ready_count; i++) {
        if (world.ready[i]->group != group) {
            world.ready[kept++] = world.ready[i];
        }
    }
    world.ready_count = kept;
    for (uint32_t i = 0; i < world.used; i++) {
        if (world.fibers[i].group == group) {
            world.fibers[i].state = FIBER_FREE;
        }
    }
    world.groups[group].is_frozen = false;
}

void fiber_group_freeze(uint32_t group, bool is_frozen)
{
    world.groups[group].is_frozen = is_frozen;
}

uint64_t fiber_group_clock_ns(uint32_t group)
{
    return world.now_ns + world.groups[group].clock_offset_ns;
}

void fiber_hold(bool is_held)
{
    world.is_held = is_held;
}

uint32_t fiber_current_group(void)
{
    return world.current != NULL ? world.current->group : FIBER_GROUPS;
}

uint32_t fiber_group_size(uint32_t group)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < world.used; i++) {
        count += world.fibers[i].state != FIBER_FREE && world.fibers[i].group == group;
    }
    return count;
}

/* --- Locks, conditions, events
 * -------------------------------------------------------------------- */

void lock_init(struct lock *lock)
{
    *lock = (struct lock){0};
}

void lock_acquire(struct lock *lock)
{
    struct thread *self = world.current != NULL ? world.current : &scheduler_thread;

    if (lock->owner == self) {
        panic("lock acquired twice by one thread");
    }
    if (self == &scheduler_thread) {
        panic_unless(lock->owner == NULL);
        lock->owner = self;
        return;
    }
    if (!world.is_held && world.preempt_in != 0 && --world.preempt_in == 0) {
        world.preempt_in = preemption_distance();
        give_way();
    }
    while (lock->owner != NULL) {
        (void)wait_in(&lock->waiters, DEADLINE_NEVER);
    }
    lock->owner = self;
}

void lock_release(struct lock *lock)
{
    struct thread *self = world.current != NULL ? world.current : &scheduler_thread;

    if (lock->owner != self) {
        panic("lock released by a thread that does not hold it");
    }
    lock->owner = NULL;
    wake_one(&lock->waiters);
}

void condition_init(struct condition *condition)
{
    *condition = (struct condition){0};
}

bool condition_wait(struct condition *condition, struct lock *lock, uint64_t deadline_ns)
{
    bool in_time = true;

    lock_release(lock);
    if (is_chosen(world.settings.spurious_one_in)) {
        give_way();
    } else {
        in_time = wait_in(&condition->waiters, world_time(deadline_ns));
    }
    lock_acquire(lock);
    return in_time;
}

void condition_signal(struct condition *condition)
{
    wake_one(&condition->waiters);
}

void condition_broadcast(struct condition *condition)
{
    while (condition->waiters != NULL) {
        wake(condition->waiters, false);
    }
}

void event_init(struct event *event)
{
    *event = (struct event){0};
}

void event_signal(struct event *event)
{
    if (event->signalled != 0) {
        return;
    }
    event->signalled = 1;
    wake_one(&event->waiter);
}

bool event_poll(struct event *event)
{
    bool signalled = event->signalled != 0;

    event->signalled = 0;
    return signalled;
}

bool event_wait(struct event *event, uint64_t deadline_ns)
{
    if (event_poll(event)) {
        return true;
    }
    panic_unless(event->waiter == NULL);
    (void)wait_in(&event->waiter, world_time(deadline_ns));
    return event_poll(event);
}

/* --- The end of a node
 * ---------------------------------------------------------------------------- */

/* The fiber stays where it is, for whoever looks at its stack. */
void fiber_panic(const char *text)
{
    if (world.current == NULL || world.settings.panicked == NULL) {
        fprintf(stderr, "%s\n", text);
        abort();
    }
    world.settings.panicked(world.settings.context, world.current->group, text);
    for (;;) {
        (void)wait_in(NULL, DEADLINE_NEVER);
    }
}
