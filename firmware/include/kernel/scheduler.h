/* SPDX-License-Identifier: MIT
 *
 * The scheduler of a guest, behind kernel/thread.h: cooperative threads on one CPU.
 *
 * Not for drivers or servers: they use kernel/thread.h. The machine layer starts it and tells it of
 * timer interrupts; the fields are public only so that the machine layer can allocate it.
 */
#ifndef KERNEL_SCHEDULER_H
#define KERNEL_SCHEDULER_H

#include <kernel/thread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define THREAD_NAME_SIZE 16u
#define THREAD_STACK_PAGES 8u /* one unmapped guard page lies below */

struct thread {
    uintptr_t stack_pointer;
    struct thread *run_next;
    bool waiting; /* on `event` or `condition`; not running and not in the run queue */
    bool timed_out;
    bool deadline_queued;
    bool ended;
    bool detached; /* nobody joins: the scheduler frees it */

    struct event *event;
    struct condition *condition;
    struct thread *waiter_next;
    struct thread *waiter_previous;

    uint64_t deadline_ns;
    struct thread *deadline_next;
    struct thread *deadline_previous;

    volatile bool wake_posted; /* in the list of threads that interrupts want woken */
    struct thread *wake_next;

    struct mach_host *host;
    struct server *owner;      /* null: the kernel */
    struct thread *owned_next; /* of the list of all threads that have an owner */
    bool is_hog;         /* was stopped between two instructions, runs when nobody else wants to */
    uintptr_t resume_pc; /* where it was stopped */
    void (*entry)(void *argument);
    void *argument;
    struct event end;
    void *pages; /* guard page and stack */
    char name[THREAD_NAME_SIZE];
};

struct scheduler {
    struct thread *current;
    struct thread *run_first;
    struct thread *run_last;
    struct thread *deadline_first; /* earliest first */
    uint64_t armed_ns;             /* what the timer will fire for; DEADLINE_NEVER: nothing */
    bool idle_polls;
    struct thread *owned_first; /* threads that work for a server, linked by owned_next */
    struct thread *hog_first;   /* linked by run_next */
    struct thread *hog_last;
    /* Does an address lie in the code of this server? From interrupts. Null: there are no servers. */
    bool (*is_code_of)(const struct server *owner, uintptr_t address);
    struct thread *ended_first; /* detached threads to free, linked by run_next */

    /* Written by interrupt handlers. */
    volatile uint32_t attention; /* one of the two below has something for us */
    volatile uint32_t timer_fired;
    struct thread *volatile wake_posted_first;
    volatile bool in_interrupt;
    struct thread *volatile suspect; /* ran at the last timer interrupt, and has not waited since */
    uint64_t suspect_since_ns;

    uint64_t idle_count; /* times that the CPU halted */
};

/* Leave the boot stack: run entry(argument) as the first thread, named "main". */
_Noreturn void scheduler_start(struct scheduler *scheduler, void (*entry)(void *), void *argument);

/* Poll instead of halting when no thread is runnable. */
void scheduler_set_idle_polls(struct scheduler *scheduler, bool polls);

/* From the timer's interrupt handler. */
void scheduler_timer_interrupt(struct scheduler *scheduler);

/* At the end of an interrupt, masked, with the address that it returns to. True: the running thread is
 * to be stopped there: return to code that saves every register and calls scheduler_preempted(), in
 * place of `address`. It is a server's, in that server's own code, and keeps others waiting. */
bool scheduler_must_preempt(struct scheduler *scheduler, uintptr_t address);

/* The thread's half of it, interrupts open: others run, perhaps for ever. Returns where it was. */
uintptr_t scheduler_preempted(void);

/* Where arch_context_prepare() lets a new thread begin. */
_Noreturn void scheduler_thread_main(void);

#endif
