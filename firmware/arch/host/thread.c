/* SPDX-License-Identifier: MIT
 *
 * Threads, locks, conditions, events and the clock on pthreads. Not in any guest image.
 *
 * Locks are real mutexes, so the sanitizers see the core's locking as it is. Node time is
 * CLOCK_MONOTONIC from the first look at it on. A thread's host is thread-local; thread_set_host()
 * gives one to a thread that pthread_create() made elsewhere.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <kernel/error.h>
#include <kernel/panic.h>
#include <kernel/thread.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NS_PER_S 1000000000ull
#define THREAD_NAME_SIZE 16 /* pthread_setname_np(3) */

struct thread {
    pthread_t pthread;
    struct mach_host *host;
    struct server *owner;
    void (*entry)(void *argument);
    void *argument;
};

static _Thread_local struct mach_host *current_host;
static _Thread_local struct server *current_owner;
static pthread_once_t clock_once = PTHREAD_ONCE_INIT;
static uint64_t clock_base_ns;

/* --- Clock ------------------------------------------------------------------------------------ */

static uint64_t monotonic_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* One second behind, so that node time is never 0 and a deadline in the past can be written. */
static void clock_start(void)
{
    clock_base_ns = monotonic_ns() - NS_PER_S;
}

uint64_t clock_now_ns(void)
{
    pthread_once(&clock_once, clock_start);
    return monotonic_ns() - clock_base_ns;
}

static struct timespec absolute_time(uint64_t deadline_ns)
{
    uint64_t absolute_ns;
    struct timespec time;

    pthread_once(&clock_once, clock_start);
    if (__builtin_add_overflow(deadline_ns, clock_base_ns, &absolute_ns))
        absolute_ns = INT64_MAX;
    time.tv_sec = (time_t)(absolute_ns / NS_PER_S);
    time.tv_nsec = (long)(absolute_ns % NS_PER_S);
    return time;
}

/* --- Locks and conditions --------------------------------------------------------------------- */

void lock_init(struct lock *lock)
{
    pthread_mutexattr_t attributes;

    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&lock->mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

void lock_acquire(struct lock *lock)
{
    if (pthread_mutex_lock(&lock->mutex) != 0)
        panic("lock acquired twice by one thread");
}

void lock_release(struct lock *lock)
{
    if (pthread_mutex_unlock(&lock->mutex) != 0)
        panic("lock released by a thread that does not hold it");
}

static void condition_variable_init(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

static bool condition_variable_wait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                                    uint64_t deadline_ns)
{
    struct timespec until;

    if (deadline_ns == DEADLINE_NEVER) {
        pthread_cond_wait(condition, mutex);
        return true;
    }
    until = absolute_time(deadline_ns);
    return pthread_cond_timedwait(condition, mutex, &until) != ETIMEDOUT;
}

void condition_init(struct condition *condition)
{
    condition_variable_init(&condition->condition);
}

bool condition_wait(struct condition *condition, struct lock *lock, uint64_t deadline_ns)
{
    return condition_variable_wait(&condition->condition, &lock->mutex, deadline_ns);
}

void condition_signal(struct condition *condition)
{
    pthread_cond_signal(&condition->condition);
}

void condition_broadcast(struct condition *condition)
{
    pthread_cond_broadcast(&condition->condition);
}

/* --- Events ----------------------------------------------------------------------------------- */

void event_init(struct event *event)
{
    pthread_mutex_init(&event->mutex, NULL);
    condition_variable_init(&event->condition);
    event->signalled = 0;
}

/* The flag is set before the mutex is taken: a waiter has seen it, or is in the wait that the
 * signal ends. */
void event_signal(struct event *event)
{
    if (__atomic_exchange_n(&event->signalled, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    pthread_mutex_lock(&event->mutex);
    pthread_cond_signal(&event->condition);
    pthread_mutex_unlock(&event->mutex);
}

bool event_poll(struct event *event)
{
    return __atomic_exchange_n(&event->signalled, 0, __ATOMIC_ACQ_REL) != 0;
}

bool event_wait(struct event *event, uint64_t deadline_ns)
{
    bool signalled;

    if (event_poll(event))
        return true;
    pthread_mutex_lock(&event->mutex);
    while (!(signalled = event_poll(event))) {
        if (!condition_variable_wait(&event->condition, &event->mutex, deadline_ns)) {
            signalled = event_poll(event);
            break;
        }
    }
    pthread_mutex_unlock(&event->mutex);
    return signalled;
}

/* --- Threads ---------------------------------------------------------------------------------- */

static void *thread_main(void *argument)
{
    struct thread *thread = argument;

    current_host = thread->host;
    current_owner = thread->owner;
    thread->entry(thread->argument);
    return NULL;
}

int thread_create(struct mach_host *host, const char *name, void (*entry)(void *), void *argument,
                  struct thread **out)
{
    char short_name[THREAD_NAME_SIZE];
    struct thread *thread = malloc(sizeof(*thread));

    if (thread == NULL)
        return ERROR_NO_MEMORY;
    thread->host = host != NULL ? host : current_host;
    thread->owner = current_owner;
    thread->entry = entry;
    thread->argument = argument;
    if (pthread_create(&thread->pthread, NULL, thread_main, thread) != 0) {
        free(thread);
        return ERROR_NO_MEMORY;
    }
    snprintf(short_name, sizeof(short_name), "%s", name);
    pthread_setname_np(thread->pthread, short_name);
    if (out != NULL)
        *out = thread;
    else
        pthread_detach(thread->pthread);
    return 0;
}

void thread_join(struct thread *thread)
{
    pthread_join(thread->pthread, NULL);
    free(thread);
}

void thread_yield(void)
{
    sched_yield();
}

bool thread_runs_alone(void)
{
    return false;
}

bool thread_others_runnable(void)
{
    return false;
}

bool thread_others_runnable_but(const struct thread *other)
{
    (void)other;
    return false;
}

struct mach_host *thread_current_host(void)
{
    return current_host;
}

void thread_set_host(struct mach_host *host)
{
    current_host = host;
}

struct server *thread_owner(void)
{
    return current_owner;
}

void thread_set_owner(struct server *owner)
{
    current_owner = owner;
}

/* Nobody counts pthreads, and none is taken out: a server ends by its unload command here. */
uint32_t thread_owned_count(const struct server *owner)
{
    (void)owner;
    return 0;
}

bool thread_end_owned(const struct server *owner, struct thread *joined)
{
    (void)owner;
    (void)joined;
    return false;
}

void thread_set_code_check(bool (*is_code_of)(const struct server *owner, uintptr_t address))
{
    (void)is_code_of;
}
