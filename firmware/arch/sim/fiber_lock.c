/* SPDX-License-Identifier: MIT
 *
 * What fibers wait for: the locks, conditions and events of kernel/thread.h. Acquiring a lock is
 * where a fiber gives way unasked, as often as the seed says.
 */
#include "fiber_private.h"

#include <kernel/panic.h>
#include <stddef.h>

/* Owner of a lock that the scheduler context holds. */
static struct thread scheduler_thread;

void lock_init(struct lock *lock)
{
    *lock = (struct lock){0};
}

void lock_acquire(struct lock *lock)
{
    struct thread *self = fiber_world.current != NULL ? fiber_world.current : &scheduler_thread;

    if (lock->owner == self) {
        panic("lock acquired twice by one thread");
    }
    if (self == &scheduler_thread) {
        panic_unless(lock->owner == NULL);
        lock->owner = self;
        return;
    }
    if (!fiber_world.is_held && fiber_world.preempt_in != 0 && --fiber_world.preempt_in == 0) {
        fiber_world.preempt_in = fiber_preemption_distance();
        fiber_give_way();
    }
    while (lock->owner != NULL) {
        (void)fiber_wait_in(&lock->waiters, DEADLINE_NEVER);
    }
    lock->owner = self;
}

void lock_release(struct lock *lock)
{
    struct thread *self = fiber_world.current != NULL ? fiber_world.current : &scheduler_thread;

    if (lock->owner != self) {
        panic("lock released by a thread that does not hold it");
    }
    lock->owner = NULL;
    fiber_wake_one(&lock->waiters);
}

void condition_init(struct condition *condition)
{
    *condition = (struct condition){0};
}

bool condition_wait(struct condition *condition, struct lock *lock, uint64_t deadline_ns)
{
    bool in_time = true;

    lock_release(lock);
    if (fiber_is_chosen(fiber_world.settings.spurious_one_in)) {
        fiber_give_way();
    } else {
        in_time = fiber_wait_in(&condition->waiters, fiber_world_time(deadline_ns));
    }
    lock_acquire(lock);
    return in_time;
}

void condition_signal(struct condition *condition)
{
    fiber_wake_one(&condition->waiters);
}

void condition_broadcast(struct condition *condition)
{
    while (condition->waiters != NULL) {
        fiber_wake(condition->waiters, false);
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
    fiber_wake_one(&event->waiter);
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
    (void)fiber_wait_in(&event->waiter, fiber_world_time(deadline_ns));
    return event_poll(event);
}
