/* SPDX-License-Identifier: MIT
 *
 * Threads of kernel servers: stopping one that hogs the CPU, and taking them out. Part of the
 * scheduler of a guest; not in the host build.
 *
 * Threads here take turns by themselves, so a server that never waits keeps everybody else from
 * running. A *hog* is a server's thread that a timer interrupt finds at work SCHEDULER_HOG_NS after another
 * one did, with no wait between. It is stopped where it is, if that is its server's own code: in the
 * kernel's, which it may have called, something may be half done. From then on it runs only when
 * nobody else wants to, and is stopped again at each interrupt that brings work, until it waits.
 *
 * A thread that does not run is at a place where the kernel is whole: it waits, has yielded, or was
 * stopped in its server's code. So it can be taken out there, without running again.
 */
#include "sched_private.h"

#define RETRY_NS 1000000ull /* a hog was in the kernel's code: look again soon */

/* --- Stopping --------------------------------------------------------------------------------- */

/* Let the timer fire by then, never later than it is armed for already. What fires early is armed anew
 * by whoever attends to it. */
static void look_again(const struct scheduler *scheduler, uint64_t at_ns)
{
    if (scheduler->timer_fired || at_ns < scheduler->armed_ns)
        arch_timer_arm(at_ns);
}

/* Something for others to do makes itself known by `attention` or stands in the run queue. */
bool scheduler_must_preempt(struct scheduler *scheduler, uintptr_t address)
{
    struct thread *self = scheduler->current;
    uint64_t now_ns;

    if (self == NULL || self->owner == NULL || self->waiting || self->ended ||
        scheduler->is_code_of == NULL || (!scheduler->attention && scheduler->run_first == NULL))
        return false;
    now_ns = clock_now_ns();
    if (!self->is_hog) {
        if (scheduler->suspect != self) {
            scheduler->suspect = self;
            scheduler->suspect_since_ns = now_ns;
        }
        if (now_ns < scheduler->suspect_since_ns + SCHEDULER_HOG_NS) {
            look_again(scheduler, scheduler->suspect_since_ns + SCHEDULER_HOG_NS);
            return false;
        }
    }
    if (!scheduler->is_code_of(self->owner, address)) {
        look_again(scheduler, now_ns + RETRY_NS);
        return false;
    }
    self->resume_pc = address;
    self->is_hog = true;
    return true;
}

uintptr_t scheduler_preempted(void)
{
    struct scheduler *scheduler = scheduler_current();
    struct thread *self = scheduler->current;

    self->run_next = NULL;
    if (scheduler->hog_first == NULL)
        scheduler->hog_first = self;
    else
        scheduler->hog_last->run_next = self;
    scheduler->hog_last = self;
    scheduler_next(scheduler);
    return self->resume_pc;
}

struct thread *scheduler_take_hog(struct scheduler *scheduler)
{
    struct thread *thread = scheduler->hog_first;

    if (thread != NULL)
        scheduler->hog_first = thread->run_next;
    return thread;
}

void thread_set_code_check(bool (*is_code_of)(const struct server *owner, uintptr_t address))
{
    scheduler_current()->is_code_of = is_code_of;
}

/* --- Whose they are --------------------------------------------------------------------------- */

void scheduler_own(struct scheduler *scheduler, struct thread *thread)
{
    if (thread->owner == NULL)
        return;
    thread->owned_next = scheduler->owned_first;
    scheduler->owned_first = thread;
    scheduler_arm(scheduler, DEADLINE_NEVER, clock_now_ns());
}

void scheduler_disown(struct scheduler *scheduler, struct thread *thread)
{
    struct thread **link = &scheduler->owned_first;

    if (thread->owner == NULL)
        return;
    while (*link != thread)
        link = &(*link)->owned_next;
    *link = thread->owned_next;
    thread->owner = NULL;
}

uint32_t thread_owned_count(const struct server *owner)
{
    uint32_t count = 0;

    for (const struct thread *thread = scheduler_current()->owned_first; thread != NULL;
         thread = thread->owned_next)
        count += thread->owner == owner && !thread->ended;
    return count;
}

/* --- Taking them out -------------------------------------------------------------------------- */

/* Out of a queue linked by run_next, if it is in it. */
static void queue_remove(struct thread **first, struct thread **last, const struct thread *thread)
{
    struct thread *previous = NULL;

    for (struct thread *entry = *first; entry != NULL; entry = entry->run_next) {
        if (entry == thread) {
            if (previous != NULL)
                previous->run_next = entry->run_next;
            else
                *first = entry->run_next;
            if (*last == entry)
                *last = previous;
            return;
        }
        previous = entry;
    }
}

/* Interrupts that posted it have been attended to: with it in no event, none posts it again. */
static void take_out(struct scheduler *scheduler, struct thread *thread)
{
    if (thread->event != NULL)
        thread->event->waiter = NULL;
    thread->event = NULL;
    scheduler_attend(scheduler);
    if (thread->condition != NULL)
        condition_unlink(thread->condition, thread);
    if (thread->deadline_queued)
        deadline_remove(scheduler, thread);
    queue_remove(&scheduler->run_first, &scheduler->run_last, thread);
    queue_remove(&scheduler->hog_first, &scheduler->hog_last, thread);
    thread->waiting = false;
    thread->ended = true;
}

/* They may wait for each other's ends: first all are taken out, then their memory goes. Who ended by
 * itself and whom nobody joins is the scheduler's already. */
bool thread_end_owned(const struct server *owner, struct thread *joined)
{
    struct scheduler *scheduler = scheduler_current();
    struct thread *next;

    panic_unless(owner != NULL && scheduler->current->owner != owner);
    for (struct thread *thread = scheduler->owned_first; thread != NULL;
         thread = thread->owned_next) {
        if (thread->owner != owner || thread->ended)
            continue;
        take_out(scheduler, thread);
        thread->detached = false;
    }
    scheduler->suspect = NULL;
    for (struct thread *thread = scheduler->owned_first; thread != NULL; thread = next) {
        next = thread->owned_next;
        if (thread->owner != owner || thread->detached)
            continue;
        if (thread == joined)
            event_signal(&thread->end);
        else
            scheduler_free_thread(thread);
    }
    return true;
}
