/* SPDX-License-Identifier: MIT
 *
 * Beginning and end of fibers: the threads of kernel/thread.h. Stacks are one block of the process,
 * used again by the next life.
 */
#include "fiber_private.h"

#include "context_switch.h"
#include <kernel/error.h>
#include <kernel/panic.h>
#include <stddef.h>
#include <stdlib.h>

static _Alignas(64) uint8_t stacks[FIBERS_MAXIMUM][FIBER_STACK_BYTES];

static void fiber_main(void)
{
    struct thread *fiber = fiber_world.current;

    sanitizer_arrive(&fiber->sanitizer, &fiber_world.scheduler_sanitizer);
    fiber->entry(fiber->argument);
    if (fiber->is_detached) {
        fiber->state = FIBER_FREE;
    } else {
        fiber->state = FIBER_ENDED;
        if (fiber->joiner != NULL) {
            fiber_wake(fiber->joiner, false);
        }
    }
    fiber_to_scheduler();
    abort(); /* nobody switches to a fiber that ended */
}

static struct thread *find_free(void)
{
    for (uint32_t i = 0; i < fiber_world.used; i++) {
        if (fiber_world.fibers[i].state == FIBER_FREE) {
            return &fiber_world.fibers[i];
        }
    }
    return fiber_world.used < FIBERS_MAXIMUM ? &fiber_world.fibers[fiber_world.used++] : NULL;
}

static struct thread *make_fiber(uint32_t group, struct mach_host *host,
                                 void (*entry)(void *argument), void *argument)
{
    struct thread *fiber = find_free();
    uint32_t index;

    if (fiber == NULL) {
        return NULL;
    }
    index = (uint32_t)(fiber - fiber_world.fibers);
    *fiber = (struct thread){.stack = stacks[index],
                             .host = host,
                             .entry = entry,
                             .argument = argument,
                             .group = group,
                             .index = index};
    sanitizer_prepare(&fiber->sanitizer, fiber->stack, FIBER_STACK_BYTES);
    fiber->context = context_prepare(stacks[index] + FIBER_STACK_BYTES, fiber_main);
    fiber_make_ready(fiber);
    return fiber;
}

int fiber_start(uint32_t group, void (*entry)(void *argument), void *argument)
{
    struct thread *fiber = make_fiber(group, NULL, entry, argument);

    if (fiber == NULL) {
        return ERROR_NO_MEMORY;
    }
    fiber->is_detached = true;
    return ERROR_NONE;
}

int thread_create(struct mach_host *host, const char *name, void (*entry)(void *), void *argument,
                  struct thread **out)
{
    struct thread *creator = fiber_world.current;
    struct thread *fiber;

    (void)name;
    panic_unless(creator != NULL);
    fiber = make_fiber(creator->group, host != NULL ? host : creator->host, entry, argument);
    if (fiber == NULL) {
        return ERROR_NO_MEMORY;
    }
    fiber->owner = creator->owner;
    fiber->is_detached = out == NULL;
    if (out != NULL) {
        *out = fiber;
    }
    return ERROR_NONE;
}

void thread_join(struct thread *thread)
{
    while (thread->state != FIBER_ENDED) {
        thread->joiner = fiber_world.current;
        (void)fiber_wait_in(NULL, DEADLINE_NEVER);
    }
    thread->state = FIBER_FREE;
}

void thread_yield(void)
{
    fiber_give_way();
}

/* Of this node: what other nodes do takes none of its time. */
bool thread_runs_alone(void)
{
    return false;
}

bool thread_others_runnable(void)
{
    return thread_others_runnable_but(NULL);
}

bool thread_others_runnable_but(const struct thread *other)
{
    for (uint32_t i = 0; i < fiber_world.ready_count; i++) {
        if (fiber_world.ready[i]->group == fiber_world.current->group &&
            fiber_world.ready[i] != other) {
            return true;
        }
    }
    return false;
}

struct mach_host *thread_current_host(void)
{
    return fiber_world.current != NULL ? fiber_world.current->host : NULL;
}

void thread_set_host(struct mach_host *host)
{
    panic_unless(fiber_world.current != NULL);
    fiber_world.current->host = host;
}

struct server *thread_owner(void)
{
    return fiber_world.current != NULL ? fiber_world.current->owner : NULL;
}

void thread_set_owner(struct server *owner)
{
    panic_unless(fiber_world.current != NULL);
    fiber_world.current->owner = owner;
}

/* The simulator loads no servers. */
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
