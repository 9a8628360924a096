/* SPDX-License-Identifier: MIT
 *
 * Time: the clock that a fiber reads, and the deadlines that fibers wait for. World time goes on by
 * what steps and looks at the clock cost, and by fiber_advance().
 */
#include "fiber_private.h"

#include <stddef.h>

static struct group *current_group(void)
{
    return &fiber_world.groups[fiber_world.current->group];
}

uint64_t clock_now_ns(void)
{
    if (fiber_world.current == NULL) {
        return fiber_world.now_ns;
    }
    fiber_world.now_ns += fiber_world.settings.clock_cost_ns;
    return fiber_world.now_ns + current_group()->clock_offset_ns;
}

uint64_t fiber_world_time(uint64_t node_ns)
{
    uint64_t offset_ns = current_group()->clock_offset_ns;

    if (node_ns == DEADLINE_NEVER) {
        return DEADLINE_NEVER;
    }
    return node_ns > fiber_world.now_ns + offset_ns ? node_ns - offset_ns : fiber_world.now_ns;
}

/* Compute the earliest deadline anew. */
static void find_next_deadline(void)
{
    uint64_t earliest_ns = DEADLINE_NEVER;

    for (uint32_t i = 0; i < fiber_world.used; i++) {
        const struct thread *fiber = &fiber_world.fibers[i];

        if (fiber->state == FIBER_WAITING && fiber->deadline_ns < earliest_ns) {
            earliest_ns = fiber->deadline_ns;
        }
    }
    fiber_world.next_deadline_ns = earliest_ns;
}

void fiber_advance(uint64_t now_ns)
{
    if (now_ns > fiber_world.now_ns) {
        fiber_world.now_ns = now_ns;
    }
    if (fiber_world.now_ns < fiber_world.next_deadline_ns) {
        return;
    }
    for (uint32_t i = 0; i < fiber_world.used; i++) {
        struct thread *fiber = &fiber_world.fibers[i];

        if (fiber->state == FIBER_WAITING && fiber->deadline_ns <= fiber_world.now_ns) {
            fiber_wake(fiber, true);
        }
    }
    find_next_deadline();
}

/* A deadline of one that was woken meanwhile, or is frozen, costs its caller a look at nothing. */
uint64_t fiber_deadline_ns(void)
{
    find_next_deadline();
    return fiber_world.next_deadline_ns;
}
