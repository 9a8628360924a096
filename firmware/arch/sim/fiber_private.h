/* SPDX-License-Identifier: MIT
 *
 * The world of the fibers, and what the files of the back end do to each other's: fiber.c (who
 * runs), fiber_thread.c (beginning and end of a fiber), fiber_lock.c (what they wait for),
 * fiber_time.c (until when), fiber_group.c (nodes). For nobody else.
 *
 * Invariants: exactly one context runs. A fiber is in the ready list, or waits (for a lock, a
 * condition, an event, an end, a deadline), or runs, or is free. Lists of waiters go through
 * `waiter_next`, and a fiber is in one of them at most. All fibers of a life die together, and with
 * them the arena that their locks lie in, so a crash unlinks nothing.
 */
#ifndef SIM_FIBER_PRIVATE_H
#define SIM_FIBER_PRIVATE_H

#include "fiber.h"
#include "sanitize.h"

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

struct fiber_world {
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
};

extern struct fiber_world fiber_world;

/* Switch from the running fiber, whose state says why, to the scheduler context. */
void fiber_to_scheduler(void);

/* The running fiber stays ready, and others may run first. */
void fiber_give_way(void);

/* Wait in `list` (null: in none) until somebody wakes this fiber or until a world time. False:
 * it was the time. */
bool fiber_wait_in(struct thread **list, uint64_t deadline_ns);

/* Put a fiber that is in no list behind those that are ready. */
void fiber_make_ready(struct thread *fiber);

/* Take a fiber out of what it waits in, and make it ready; one of those in a list, if there is
 * any. */
void fiber_wake(struct thread *fiber, bool timed_out);
void fiber_wake_one(struct thread **list);

/* The choices of the seed: one in `n` on average; how many acquisitions of a lock until the next
 * that gives way, 1 to 2n - 1. */
bool fiber_is_chosen(uint32_t n);
uint32_t fiber_preemption_distance(void);

/* World time of a deadline by the clock of the running fiber's node. */
uint64_t fiber_world_time(uint64_t node_ns);

#endif
