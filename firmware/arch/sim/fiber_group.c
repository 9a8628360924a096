/* SPDX-License-Identifier: MIT
 *
 * The fibers of a node together: its lives, its hangs, its clock, and its end by a panic.
 */
#include "fiber_private.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

void fiber_group_open(uint32_t group, uint64_t node_now_ns)
{
    fiber_world.groups[group] = (struct group){.clock_offset_ns = node_now_ns - fiber_world.now_ns};
}

void fiber_group_kill(uint32_t group)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < fiber_world.ready_count; i++) {
        if (fiber_world.ready[i]->group != group) {
            fiber_world.ready[kept++] = fiber_world.ready[i];
        }
    }
    fiber_world.ready_count = kept;
    for (uint32_t i = 0; i < fiber_world.used; i++) {
        if (fiber_world.fibers[i].group == group) {
            fiber_world.fibers[i].state = FIBER_FREE;
        }
    }
    fiber_world.groups[group].is_frozen = false;
}

void fiber_group_freeze(uint32_t group, bool is_frozen)
{
    fiber_world.groups[group].is_frozen = is_frozen;
}

uint64_t fiber_group_clock_ns(uint32_t group)
{
    return fiber_world.now_ns + fiber_world.groups[group].clock_offset_ns;
}

uint32_t fiber_group_size(uint32_t group)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < fiber_world.used; i++) {
        count += fiber_world.fibers[i].state != FIBER_FREE && fiber_world.fibers[i].group == group;
    }
    return count;
}

/* The fiber stays where it is, for whoever looks at its stack. */
void fiber_panic(const char *text)
{
    if (fiber_world.current == NULL || fiber_world.settings.panicked == NULL) {
        fprintf(stderr, "%s\n", text);
        abort();
    }
    fiber_world.settings.panicked(fiber_world.settings.context, fiber_world.current->group, text);
    for (;;) {
        (void)fiber_wait_in(NULL, DEADLINE_NEVER);
    }
}
