/* SPDX-License-Identifier: MIT
 *
 * The complete types behind kernel/thread.h on a guest: one CPU, cooperative threads. Their fields
 * belong to core/sched.c.
 */
#ifndef ARCH_THREAD_TYPES_H
#define ARCH_THREAD_TYPES_H

#include <stdbool.h>
#include <stdint.h>

struct thread;

struct lock {
    bool held; /* by whom, nobody asks: threads take turns, and a holder does not wait */
};

struct condition {
    struct thread *first_waiter;
    struct thread *last_waiter;
};

struct event {
    volatile uint32_t signalled;    /* set in any context, cleared by the waiter */
    struct thread *volatile waiter; /* null: nobody waits */
};

#endif
