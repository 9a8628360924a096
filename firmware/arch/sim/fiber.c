/* SPDX-License-Identifier: MIT
 *
 * The world of the fibers and its scheduler: who is ready, who waits, who runs next. A step costs
 * two changes of stack and no system call. What is behind kernel/thread.h is in fiber_thread.c,
 * fiber_lock.c and fiber_time.c.
 */
#include "fiber_private.h"

#include "context_switch.h"
#include <kernel/panic.h>
#include <string.h>

struct fiber_world fiber_world;

/* --- The world -------------------------------------------------------------------------------- */

/* splitmix64 (S. Vigna). */
uint64_t fiber_random(void)
{
    uint64_t value = fiber_world.random += 0x9e3779b97f4a7c15ull;

    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9ull;
    value = (value ^ value >> 27) * 0x94d049bb133111ebull;
    return value ^ value >> 31;
}

bool fiber_is_chosen(uint32_t n)
{
    return n != 0 && (uint32_t)fiber_random() % n == 0;
}

uint32_t fiber_preemption_distance(void)
{
    uint32_t n = fiber_world.settings.preempt_one_in;

    return n == 0 ? 0 : 1u + (uint32_t)fiber_random() % (2u * n - 1u);
}

void fiber_world_open(const struct fiber_settings *settings)
{
    for (uint32_t i = 0; i < fiber_world.used; i++) {
        fiber_world.fibers[i] = (struct thread){.state = FIBER_FREE};
    }
    memset(fiber_world.groups, 0, sizeof(fiber_world.groups));
    fiber_world.settings = *settings;
    fiber_world.now_ns = 0;
    fiber_world.random = settings->seed;
    fiber_world.steps = 0;
    fiber_world.trace = 0;
    fiber_world.next_deadline_ns = DEADLINE_NEVER;
    fiber_world.current = NULL;
    fiber_world.used = 0;
    fiber_world.ready_count = 0;
    fiber_world.is_held = false;
    fiber_world.preempt_in = fiber_preemption_distance();
}

uint64_t fiber_now_ns(void)
{
    return fiber_world.now_ns;
}

uint64_t fiber_steps(void)
{
    return fiber_world.steps;
}

uint64_t fiber_trace(void)
{
    return fiber_world.trace;
}

void fiber_hold(bool is_held)
{
    fiber_world.is_held = is_held;
}

uint32_t fiber_current_group(void)
{
    return fiber_world.current != NULL ? fiber_world.current->group : FIBER_GROUPS;
}

/* --- Ready and waiting ------------------------------------------------------------------------ */

void fiber_make_ready(struct thread *fiber)
{
    fiber->state = FIBER_READY;
    fiber->deadline_ns = DEADLINE_NEVER;
    fiber_world.ready[fiber_world.ready_count++] = fiber;
}

static void list_append(struct thread **list, struct thread *fiber)
{
    while (*list != NULL) {
        list = &(*list)->waiter_next;
    }
    fiber->waiter_next = NULL;
    *list = fiber;
}

static void list_remove(struct thread **list, struct thread *fiber)
{
    while (*list != fiber) {
        list = &(*list)->waiter_next;
    }
    *list = fiber->waiter_next;
}

void fiber_wake(struct thread *fiber, bool timed_out)
{
    if (fiber->waiting_in != NULL) {
        list_remove(fiber->waiting_in, fiber);
        fiber->waiting_in = NULL;
    }
    fiber->timed_out = timed_out;
    fiber_make_ready(fiber);
}

void fiber_wake_one(struct thread **list)
{
    struct thread *fiber = *list;
    uint32_t count = 0;

    if (fiber == NULL) {
        return;
    }
    if (fiber_world.settings.random_order) {
        for (struct thread *each = fiber; each != NULL; each = each->waiter_next) {
            count++;
        }
        for (uint32_t skip = count > 1 ? (uint32_t)fiber_random() % count : 0; skip != 0; skip--) {
            fiber = fiber->waiter_next;
        }
    }
    fiber_wake(fiber, false);
}

void fiber_to_scheduler(void)
{
    struct thread *fiber = fiber_world.current;

    sanitizer_leave(&fiber->sanitizer, &fiber_world.scheduler_sanitizer,
                    fiber->state == FIBER_FREE || fiber->state == FIBER_ENDED);
    context_switch(&fiber->context, fiber_world.scheduler_context);
    sanitizer_arrive(&fiber->sanitizer, &fiber_world.scheduler_sanitizer);
}

bool fiber_wait_in(struct thread **list, uint64_t deadline_ns)
{
    struct thread *fiber = fiber_world.current;

    panic_unless(fiber != NULL);
    fiber->state = FIBER_WAITING;
    fiber->waiting_in = list;
    fiber->timed_out = false;
    fiber->deadline_ns = deadline_ns;
    if (list != NULL) {
        list_append(list, fiber);
    }
    if (deadline_ns < fiber_world.next_deadline_ns) {
        fiber_world.next_deadline_ns = deadline_ns;
    }
    fiber_to_scheduler();
    return !fiber->timed_out;
}

void fiber_give_way(void)
{
    fiber_make_ready(fiber_world.current);
    fiber_to_scheduler();
}

/* --- Running ---------------------------------------------------------------------------------- */

static bool is_eligible(const struct thread *fiber)
{
    return !fiber_world.groups[fiber->group].is_frozen;
}

bool fiber_any_ready(void)
{
    for (uint32_t i = 0; i < fiber_world.ready_count; i++) {
        if (is_eligible(fiber_world.ready[i])) {
            return true;
        }
    }
    return false;
}

/* Null: none is ready that may run. */
static struct thread *take_ready(void)
{
    uint32_t count = fiber_world.ready_count;
    uint32_t first = 0;

    if (count > 1 && fiber_world.settings.random_order) {
        first = (uint32_t)fiber_random() % count;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = first + i < count ? first + i : first + i - count;
        struct thread *fiber = fiber_world.ready[at];

        if (is_eligible(fiber)) {
            fiber_world.ready_count--;
            memmove(&fiber_world.ready[at], &fiber_world.ready[at + 1],
                    (fiber_world.ready_count - at) * sizeof(fiber_world.ready[0]));
            return fiber;
        }
    }
    return NULL;
}

bool fiber_step(void)
{
    struct thread *fiber = take_ready();

    if (fiber == NULL) {
        return false;
    }
    fiber_world.steps++;
    fiber_world.now_ns += fiber_world.settings.switch_cost_ns;
    fiber_world.trace = (fiber_world.trace ^ fiber_world.now_ns ^ (uint64_t)fiber->index << 56) *
                            0x9e3779b97f4a7c15ull +
                        1;
    fiber->state = FIBER_RUNNING;
    fiber_world.current = fiber;
    sanitizer_leave(&fiber_world.scheduler_sanitizer, &fiber->sanitizer, false);
    context_switch(&fiber_world.scheduler_context, fiber->context);
    sanitizer_arrive(&fiber_world.scheduler_sanitizer, NULL);
    fiber_world.current = NULL;
    return true;
}
