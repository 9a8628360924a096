/* SPDX-License-Identifier: MIT
 *
 * The complete types behind kernel/thread.h in the simulator: fibers. Their fields belong to
 * arch/sim/fiber_lock.c. A waiting fiber is linked through its own record, so nothing here needs
 * memory and a node that crashes leaves nothing behind.
 */
#ifndef ARCH_THREAD_TYPES_H
#define ARCH_THREAD_TYPES_H

#include <stdint.h>

struct thread;

struct lock {
    struct thread *owner;
    struct thread *waiters;
};

struct condition {
    struct thread *waiters;
};

struct event {
    struct thread *waiter;
    uint32_t signalled;
};

#endif
