/* SPDX-License-Identifier: MIT
 *
 * Threads, locks, conditions and events of a guest: the cooperative side of kernel/thread.h. Not in
 * the host build.
 *
 * One CPU, no preemption. The run queue, the deadline queue and every wait queue are touched by
 * threads only, so nothing here masks interrupts (under emulation that costs more than the work
 * itself). An interrupt handler writes three things: an event's flag, the list of posted wake-ups,
 * and `attention`. A thread that looks for work sees `attention` and moves posted threads to the
 * run queue.
 *
 * - event_wait() names itself as waiter before it looks at the flag the last time, event_signal()
 * sets the flag before it looks for a waiter: one of them sees the other. On one CPU the order
 * needs compiler barriers only.
 * - The timer is armed for the earliest deadline or earlier. A deadline that goes away leaves it
 * armed: re-arming costs more than an interrupt too many, and deadlines that move ahead with every
 * message then cost one interrupt a period.
 * - Since no lock is held across a wait, a lock that is taken when it is acquired is a bug: it
 * panics.
 */
#include "sched_private.h"

#include <kernel/panic.h>
#include <kernel/string.h>

/* --- Queues ----------------------------------------------------------------------------------- */

static void timer_arm(struct scheduler *scheduler, uint64_t deadline_ns)
{
    scheduler->armed_ns = deadline_ns;
    arch_timer_arm(deadline_ns);
}

/* For a deadline, if there is one, and where servers have threads within the time that one may keep
 * the CPU. */
void scheduler_arm(struct scheduler *scheduler, uint64_t deadline_ns, uint64_t now_ns)
{
    if (scheduler->owned_first != NULL && now_ns + SCHEDULER_HOG_NS < deadline_ns)
        deadline_ns = now_ns + SCHEDULER_HOG_NS;
    if (deadline_ns < scheduler->armed_ns)
        timer_arm(scheduler, deadline_ns);
}

APART static void deadline_insert(struct scheduler *scheduler, struct thread *thread,
                                  uint64_t deadline_ns)
{
    struct thread *previous = NULL;
    struct thread *next = scheduler->deadline_first;

    while (next != NULL && next->deadline_ns <= deadline_ns) {
        previous = next;
        next = next->deadline_next;
    }
    thread->deadline_ns = deadline_ns;
    thread->deadline_previous = previous;
    thread->deadline_next = next;
    thread->deadline_queued = true;
    if (next != NULL)
        next->deadline_previous = thread;
    if (previous != NULL)
        previous->deadline_next = thread;
    else
        scheduler->deadline_first = thread;
    if (deadline_ns < scheduler->armed_ns)
        timer_arm(scheduler, deadline_ns);
}

/* --- Switching -------------------------------------------------------------------------------- */

static inline void make_runnable(struct scheduler *scheduler, struct thread *thread)
{
    thread->waiting = false;
    if (thread->deadline_queued)
        deadline_remove(scheduler, thread);
    run_queue_append(scheduler, thread);
}

static void expire_deadlines(struct scheduler *scheduler)
{
    struct thread *thread;
    uint64_t now_ns;

    scheduler->armed_ns = DEADLINE_NEVER;
    if (scheduler->deadline_first == NULL && scheduler->owned_first == NULL)
        return;
    now_ns = clock_now_ns();
    while ((thread = scheduler->deadline_first) != NULL && thread->deadline_ns <= now_ns) {
        if (thread->condition != NULL)
            condition_unlink(thread->condition, thread);
        thread->timed_out = true;
        make_runnable(scheduler, thread);
    }
    scheduler_arm(scheduler, thread != NULL ? thread->deadline_ns : DEADLINE_NEVER, now_ns);
}

/* Take in what interrupts left. A posted thread may have been woken by a thread meanwhile, or wait
 * for something else. */
APART void scheduler_attend(struct scheduler *scheduler)
{
    struct thread *thread, *next;

    scheduler->attention = 0;
    COMPILER_BARRIER();
    if (scheduler->timer_fired) {
        scheduler->timer_fired = 0;
        expire_deadlines(scheduler);
    }
    thread = __atomic_exchange_n(&scheduler->wake_posted_first, NULL, __ATOMIC_ACQ_REL);
    for (; thread != NULL; thread = next) {
        next = thread->wake_next;
        thread->wake_posted = false;
        COMPILER_BARRIER();
        if (thread->waiting && thread->event != NULL && thread->event->signalled)
            make_runnable(scheduler, thread);
    }
}

/* Interrupts stay masked between the last look and the halt, so a wake-up cannot slip in between.
 */
static void idle(struct scheduler *scheduler)
{
    if (scheduler->idle_polls) {
        while (!scheduler->attention)
            arch_relax();
        return;
    }
    arch_interrupts_disable();
    if (!scheduler->attention) {
        scheduler->idle_count++;
        arch_wait_for_interrupt();
    }
    arch_interrupts_enable();
}

APART void scheduler_next(struct scheduler *scheduler)
{
    struct thread *self = scheduler->current;
    struct thread *next;

    for (;;) {
        if (scheduler->attention)
            scheduler_attend(scheduler);
        next = scheduler->run_first;
        if (next != NULL) {
            scheduler->run_first = next->run_next;
            break;
        }
        next = scheduler_take_hog(scheduler);
        if (next != NULL)
            break;
        idle(scheduler);
    }
    scheduler->suspect = NULL; /* interrupts of an idle CPU found it waiting, not at work */
    if (next != self) {
        scheduler->current = next;
        arch_context_switch(&self->stack_pointer, next->stack_pointer);
    }
}

static void wait(struct scheduler *scheduler, struct thread *self, uint64_t deadline_ns)
{
    self->waiting = true;
    self->is_hog = false;
    self->timed_out = false;
    if (deadline_ns != DEADLINE_NEVER)
        deadline_insert(scheduler, self, deadline_ns);
    scheduler_next(scheduler);
}

void thread_yield(void)
{
    struct scheduler *scheduler = scheduler_current();

    if (!scheduler->attention && scheduler->run_first == NULL)
        return;
    run_queue_append(scheduler, scheduler->current);
    scheduler_next(scheduler);
}

bool thread_runs_alone(void)
{
    return true;
}

bool thread_others_runnable(void)
{
    struct scheduler *scheduler = scheduler_current();

    if (scheduler->attention)
        scheduler_attend(scheduler);
    return scheduler->run_first != NULL;
}

bool thread_others_runnable_but(const struct thread *other)
{
    struct scheduler *scheduler = scheduler_current();
    const struct thread *first;

    if (scheduler->attention)
        scheduler_attend(scheduler);
    first = scheduler->run_first;
    return first != NULL && (first != other || first->run_next != NULL);
}

/* --- Locks and conditions --------------------------------------------------------------------- */

void lock_init(struct lock *lock)
{
    lock->held = false;
}

void lock_acquire(struct lock *lock)
{
    if (lock->held)
        panic("thread %s acquires a lock that is held", scheduler_current()->current->name);
    lock->held = true;
}

void lock_release(struct lock *lock)
{
    lock->held = false;
}

void condition_init(struct condition *condition)
{
    condition->first_waiter = NULL;
    condition->last_waiter = NULL;
}

bool condition_wait(struct condition *condition, struct lock *lock, uint64_t deadline_ns)
{
    struct scheduler *scheduler = scheduler_current();
    struct thread *self = scheduler->current;

    lock_release(lock);
    self->condition = condition;
    self->waiter_next = NULL;
    self->waiter_previous = condition->last_waiter;
    if (condition->last_waiter != NULL)
        condition->last_waiter->waiter_next = self;
    else
        condition->first_waiter = self;
    condition->last_waiter = self;
    wait(scheduler, self, deadline_ns);
    lock_acquire(lock);
    return !self->timed_out;
}

void condition_signal(struct condition *condition)
{
    struct thread *thread = condition->first_waiter;

    if (thread == NULL)
        return;
    condition_unlink(condition, thread);
    make_runnable(scheduler_current(), thread);
}

void condition_broadcast(struct condition *condition)
{
    while (condition->first_waiter != NULL)
        condition_signal(condition);
}

/* --- Events ----------------------------------------------------------------------------------- */

void event_init(struct event *event)
{
    event->signalled = 0;
    event->waiter = NULL;
}

static void post_wake(struct scheduler *scheduler, struct thread *thread)
{
    if (thread->wake_posted)
        return;
    thread->wake_posted = true;
    thread->wake_next = scheduler->wake_posted_first;
    scheduler->wake_posted_first = thread;
    scheduler->attention = 1;
}

void event_signal(struct event *event)
{
    struct scheduler *scheduler = scheduler_current();
    struct thread *waiter;

    if (event->signalled)
        return;
    event->signalled = 1;
    COMPILER_BARRIER();
    waiter = event->waiter;
    if (waiter == NULL)
        return;
    if (scheduler->in_interrupt)
        post_wake(scheduler, waiter);
    else if (waiter->waiting)
        make_runnable(scheduler, waiter);
}

bool event_poll(struct event *event)
{
    if (!event->signalled)
        return false;
    event->signalled = 0;
    COMPILER_BARRIER();
    return true;
}

bool event_wait(struct event *event, uint64_t deadline_ns)
{
    struct scheduler *scheduler = scheduler_current();
    struct thread *self = scheduler->current;
    bool signalled;

    if (event_poll(event))
        return true;
    if (event->waiter != NULL)
        panic("threads %s and %s wait for one event", event->waiter->name, self->name);
    self->event = event;
    event->waiter = self;
    self->timed_out = false;
    do {
        COMPILER_BARRIER();
        if (!event->signalled)
            wait(scheduler, self, deadline_ns);
        signalled = event_poll(event);
    } while (!signalled && !self->timed_out);
    event->waiter = NULL;
    self->event = NULL;
    return signalled;
}

/* --- Life of a thread ------------------------------------------------------------------------- */

/* The thread's record lies at the top of its stack pages, above the stack; the first page is the
 * guard. */
static struct thread *thread_allocate(void)
{
    const size_t page_count = THREAD_STACK_PAGES + 1;
    uint8_t *pages = page_allocate(page_count);
    struct thread *thread;

    if (pages == NULL)
        return NULL;
    if (arch_mmu_map((uintptr_t)pages, ARCH_PAGE_SIZE, ARCH_MMU_NONE) != ERROR_NONE) {
        page_free(pages, page_count);
        return NULL;
    }
    thread = (struct thread *)(void *)(pages + page_count * ARCH_PAGE_SIZE -
                                       ((sizeof(struct thread) + 15u) & ~(size_t)15u));
    memset(thread, 0, sizeof(*thread));
    thread->pages = pages;
    thread->stack_pointer = arch_context_prepare((uintptr_t)thread);
    return thread;
}

void scheduler_free_thread(struct thread *thread)
{
    uint8_t *pages = thread->pages;

    scheduler_disown(scheduler_current(), thread);
    panic_unless(arch_mmu_map((uintptr_t)pages, ARCH_PAGE_SIZE, ARCH_MMU_DATA) == ERROR_NONE);
    page_free(pages, THREAD_STACK_PAGES + 1);
}

static void free_ended_threads(struct scheduler *scheduler)
{
    struct thread *thread;

    while ((thread = scheduler->ended_first) != NULL) {
        scheduler->ended_first = thread->run_next;
        scheduler_free_thread(thread);
    }
}

static void thread_name_set(struct thread *thread, const char *name)
{
    size_t length = 0;

    while (length + 1 < THREAD_NAME_SIZE && name[length] != '\0')
        length++;
    memcpy(thread->name, name, length);
    thread->name[length] = '\0';
}

int thread_create(struct mach_host *host, const char *name, void (*entry)(void *), void *argument,
                  struct thread **out)
{
    struct scheduler *scheduler = scheduler_current();
    struct thread *thread;

    free_ended_threads(scheduler);
    thread = thread_allocate();
    if (thread == NULL)
        return ERROR_NO_MEMORY;
    thread_name_set(thread, name);
    thread->host = host != NULL ? host : scheduler->current->host;
    thread->owner = scheduler->current->owner;
    thread->entry = entry;
    thread->argument = argument;
    thread->detached = out == NULL;
    event_init(&thread->end);
    scheduler_own(scheduler, thread);
    run_queue_append(scheduler, thread);
    if (out != NULL)
        *out = thread;
    return ERROR_NONE;
}

_Noreturn void scheduler_thread_main(void)
{
    struct scheduler *scheduler = scheduler_current();
    struct thread *self = scheduler->current;

    arch_interrupts_enable();
    self->entry(self->argument);
    self->ended = true;
    if (self->detached) {
        self->run_next = scheduler->ended_first;
        scheduler->ended_first = self;
    } else {
        event_signal(&self->end);
    }
    scheduler_next(scheduler);
    panic("thread %s runs after its end", self->name);
}

/* The last schedule() of an ended thread took it out of the list of posted wake-ups. */
void thread_join(struct thread *thread)
{
    panic_unless(!thread->detached && thread != scheduler_current()->current);
    while (!thread->ended)
        event_wait(&thread->end, DEADLINE_NEVER);
    panic_unless(!thread->wake_posted);
    scheduler_free_thread(thread);
}

struct mach_host *thread_current_host(void)
{
    return scheduler_current()->current->host;
}

void thread_set_host(struct mach_host *host)
{
    scheduler_current()->current->host = host;
}

struct server *thread_owner(void)
{
    return scheduler_current()->current->owner;
}

void thread_set_owner(struct server *owner)
{
    struct scheduler *scheduler = scheduler_current();

    scheduler_disown(scheduler, scheduler->current);
    scheduler->current->owner = owner;
    scheduler_own(scheduler, scheduler->current);
}

/* --- For the machine layer -------------------------------------------------------------------- */

void scheduler_timer_interrupt(struct scheduler *scheduler)
{
    scheduler->timer_fired = 1;
    scheduler->attention = 1;
}

void scheduler_set_idle_polls(struct scheduler *scheduler, bool polls)
{
    scheduler->idle_polls = polls;
}

_Noreturn void scheduler_start(struct scheduler *scheduler, void (*entry)(void *), void *argument)
{
    struct thread *thread = thread_allocate();
    uintptr_t boot_stack_pointer;

    if (thread == NULL)
        panic("no memory for the first thread");
    thread_name_set(thread, "main");
    thread->entry = entry;
    thread->argument = argument;
    thread->detached = true;
    scheduler->armed_ns = DEADLINE_NEVER;
    scheduler->current = thread;
    arch_context_switch(&boot_stack_pointer, thread->stack_pointer);
    __builtin_unreachable();
}
