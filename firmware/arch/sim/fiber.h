/* SPDX-License-Identifier: MIT
 *
 * The simulator's back end of kernel/thread.h: cooperative fibers under a virtual clock, every
 * choice made by one seed.
 *
 * Words. A *group* is the fibers of one node: they are killed together (a crash) and frozen
 * together (a hang), and have one node clock. *World time* is the simulator's clock in nanoseconds;
 * a group's node clock is that plus its offset. The *scheduler context* is whoever calls
 * fiber_step(): the simulator, on the stack of the process.
 *
 * A fiber gives way where it waits, where it yields and, as often as the settings say, where it
 * acquires a lock; nowhere else. So what a caller does after a call that ended by releasing its
 * last lock belongs to that call: no other fiber runs in between.
 *
 * There is one world a process: kernel/thread.h has no room for another.
 */
#ifndef SIM_FIBER_H
#define SIM_FIBER_H

#include <kernel/thread.h>
#include <stdbool.h>
#include <stdint.h>

#define FIBER_GROUPS 8u
#define FIBERS_MAXIMUM 96u
#define FIBER_STACK_BYTES 32768u

struct fiber_settings {
    uint64_t seed;
    uint32_t preempt_one_in;  /* acquisitions of a lock that give way; 0: none */
    uint32_t spurious_one_in; /* waits on a condition that end without a signal; 0: none */
    bool random_order;        /* who runs next, who is woken first; else first come, first served */
    uint32_t switch_cost_ns;  /* world time that one step takes */
    uint32_t clock_cost_ns;   /* and one look at the clock */
    /* A fiber of `group` panicked; it never runs again. */
    void (*panicked)(void *context, uint32_t group, const char *text);
    void *context;
};

/* Begin a world at time 0 without fibers; what was there before is forgotten. */
void fiber_world_open(const struct fiber_settings *settings);

/* World time. */
uint64_t fiber_now_ns(void);

/* Time has come to be `now_ns`: whoever waited for a deadline until then is ready. */
void fiber_advance(uint64_t now_ns);

/* Run a ready fiber until it gives way. False: none is ready. Scheduler context. */
bool fiber_step(void);

/* The earliest world time for which a fiber waits that is not frozen. */
uint64_t fiber_deadline_ns(void);

/* Random numbers of the world, for everybody who simulates something in it. */
uint64_t fiber_random(void);

/* Number of switches since the world began, and a hash over who ran when. */
uint64_t fiber_steps(void);
uint64_t fiber_trace(void);

/* A new life of a group: its clock reads `node_now_ns` now. No fiber of it exists. */
void fiber_group_open(uint32_t group, uint64_t node_now_ns);
void fiber_group_kill(uint32_t group); /* its fibers are gone wherever they were; not from one */
void fiber_group_freeze(uint32_t group, bool is_frozen);
uint64_t fiber_group_clock_ns(uint32_t group);

/* Start the first fiber of a life; it starts others by thread_create(). 0 or ERROR_NO_MEMORY. */
int fiber_start(uint32_t group, void (*entry)(void *argument), void *argument);

/* While held, acquiring a lock gives way only if the lock is taken. The fiber must not wait
 * meanwhile. */
void fiber_hold(bool is_held);

/* The group of the running fiber; FIBER_GROUPS in the scheduler context. */
uint32_t fiber_current_group(void);

/* How many fibers the group has. */
uint32_t fiber_group_size(uint32_t group);

/* Is any fiber ready that is not frozen? */
bool fiber_any_ready(void);

/* The running fiber broke an invariant: tell settings.panicked and never run it again. In the
 * scheduler context: end the process. Does not return. */
void fiber_panic(const char *text);

#endif
