/* SPDX-License-Identifier: MIT
 *
 * Threads, locks, conditions, events and the clock: what the portable core asks of the machine it
 * runs on.
 *
 * Two implementations stand behind this header. On a guest (one virtual CPU) threads are
 * cooperative: a thread runs until it waits or yields, interrupts only set flags and wake threads,
 * and a lock is a checked flag that costs nothing. On the host (arch/host) threads are pthreads and
 * locks are mutexes, so that the sanitizers see the real locking.
 *
 * Rules, the same for both:
 * - No lock is held across condition_wait() on another lock, event_wait(), thread_yield() or a heap
 * allocation.
 * - Lock order is documented in docs/design/locking.md.
 * - event_signal() is the only call of this header that an interrupt handler may make.
 *
 * arch/<cpu>/ provides <arch/thread_types.h> with the complete types struct lock, struct condition
 * and struct event.
 */
#ifndef KERNEL_THREAD_H
#define KERNEL_THREAD_H

#include <arch/thread_types.h>
#include <stdbool.h>
#include <stdint.h>

struct mach_host;
struct server;
struct thread;

#define DEADLINE_NEVER UINT64_MAX

/* Nanoseconds since this node booted, monotonic. Costs 60 to 245 ns under TCG: read it once per
 * batch. */
uint64_t clock_now_ns(void);

void lock_init(struct lock *lock);
void lock_acquire(struct lock *lock);
void lock_release(struct lock *lock);

void condition_init(struct condition *condition);

/* Release `lock`, wait for a signal or for `deadline_ns` (node clock; DEADLINE_NEVER: none),
 * acquire `lock` again. Returns false when the deadline passed first. May return true without a
 * signal: callers loop over their condition. */
bool condition_wait(struct condition *condition, struct lock *lock, uint64_t deadline_ns);
/* wake one waiter; its lock is held by the caller */
void condition_signal(struct condition *condition);
/* wake all; its lock is held by the caller */
void condition_broadcast(struct condition *condition);

/* An event is a sticky flag with at most one waiter: a signal before the wait is not lost, many
 * signals are one. */
void event_init(struct event *event);
/* any context, interrupts included; cheap when already signalled */
void event_signal(struct event *event);
/* consumes the flag; false: deadline passed */
bool event_wait(struct event *event, uint64_t deadline_ns);
bool event_poll(struct event *event); /* consumes the flag if set; never waits */

/* Start a thread named `name` (copied, 15 characters kept) that runs entry(argument); `host` null:
 * the creator's. Returns 0, or a negative error of kernel/error.h. Ends when entry returns. `out`
 * may be null. */
int thread_create(struct mach_host *host, const char *name, void (*entry)(void *), void *argument,
                  struct thread **out);
void thread_join(struct thread *thread); /* wait for its end and free it; at most one joiner */
void thread_yield(void);                 /* let every other runnable thread run once */
bool thread_others_runnable(void);       /* is anyone else ready to run? (pthreads: always false) */
/* the same, not counting `other` */
bool thread_others_runnable_but(const struct thread *other);
/* Does nobody else of this host run until the running thread waits or yields? */
bool thread_runs_alone(void);
struct mach_host *
thread_current_host(void); /* the host whose thread this is; the arch hook of the mnl_* face */

/* The kernel server that the running thread works for; null: the kernel itself. Its main thread has
 * it, and so has every thread that one of its threads creates. */
struct server *thread_owner(void);
void thread_set_owner(struct server *owner);

/* Threads that work for a server and have not ended. */
uint32_t thread_owned_count(const struct server *owner);
/* Take every thread of a server out, wherever it is: none of them runs again. Their stacks are freed,
 * what they held is lost. `joined`, null or one of them, is left ended for thread_join(). Not from one
 * of them. False: this machine cannot, and nothing happened (pthreads). */
bool thread_end_owned(const struct server *owner, struct thread *joined);
/* Let a server's thread that runs for long be stopped in its server's code, so that others run; the
 * default is not to. */
void thread_set_code_check(bool (*is_code_of)(const struct server *owner, uintptr_t address));

/* Make `host` the host of the running thread, and so of the threads that it creates without naming
 * one. The first thread has none until it calls this. */
void thread_set_host(struct mach_host *host);

#endif
