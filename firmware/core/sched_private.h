/* SPDX-License-Identifier: MIT
 *
 * What the files of the guest's scheduler share: its queues. Private to core/sched*.c.
 */
#ifndef CORE_SCHED_PRIVATE_H
#define CORE_SCHED_PRIVATE_H

#include <arch/machine.h>
#include <arch/port.h>

#define COMPILER_BARRIER() __atomic_signal_fence(__ATOMIC_SEQ_CST)

static inline struct scheduler *scheduler_current(void)
{
    return &machine()->scheduler;
}

static inline void run_queue_append(struct scheduler *scheduler, struct thread *thread)
{
    thread->run_next = NULL;
    if (scheduler->run_first == NULL)
        scheduler->run_first = thread;
    else
        scheduler->run_last->run_next = thread;
    scheduler->run_last = thread;
}

static inline void deadline_remove(struct scheduler *scheduler, struct thread *thread)
{
    if (thread->deadline_previous != NULL)
        thread->deadline_previous->deadline_next = thread->deadline_next;
    else
        scheduler->deadline_first = thread->deadline_next;
    if (thread->deadline_next != NULL)
        thread->deadline_next->deadline_previous = thread->deadline_previous;
    thread->deadline_queued = false;
}

static inline void condition_unlink(struct condition *condition, struct thread *thread)
{
    if (thread->waiter_previous != NULL)
        thread->waiter_previous->waiter_next = thread->waiter_next;
    else
        condition->first_waiter = thread->waiter_next;
    if (thread->waiter_next != NULL)
        thread->waiter_next->waiter_previous = thread->waiter_previous;
    else
        condition->last_waiter = thread->waiter_previous;
    thread->condition = NULL;
}

/* Take in what interrupts left. */
void scheduler_attend(struct scheduler *scheduler);

/* Run the next runnable thread; the caller has put itself into a queue, or waits, or has ended. */
void scheduler_next(struct scheduler *scheduler);

/* A hog that is to run since nobody else wants to; null: there is none. */
struct thread *scheduler_take_hog(struct scheduler *scheduler);

/* A server's thread that keeps the CPU for longer may be stopped. */
#define SCHEDULER_HOG_NS 100000000ull

/* Arm the timer for a deadline or earlier, unless it is. */
void scheduler_arm(struct scheduler *scheduler, uint64_t deadline_ns, uint64_t now_ns);

/* Enter a thread among those that have an owner, if it has. */
void scheduler_own(struct scheduler *scheduler, struct thread *thread);

/* Its owner, if it has one, is not asked about it any more. */
void scheduler_disown(struct scheduler *scheduler, struct thread *thread);

/* Free a thread that has ended and that nobody refers to. */
void scheduler_free_thread(struct thread *thread);

#endif
