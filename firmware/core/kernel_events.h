/* SPDX-License-Identifier: MIT
 *
 * From what the layers report to black-box events, and to the two facts that bring-up waits for.
 * Private to core.
 */
#ifndef CORE_KERNEL_EVENTS_H
#define CORE_KERNEL_EVENTS_H

#include <kernel/link_manager.h>
#include <kernel/node.h>
#include <kernel/thread.h>

#define MANAGEMENT_LINK 0u /* docs/spec/boot.md */

struct kernel_events {
    struct mach_host *host;
    struct node_observer nodes;
    struct event wake;  /* signalled when one of the two below becomes true */
    bool management_up; /* the management link has trained once, both directions */
    bool life_over;     /* this incarnation was declared dead */
};

/* Observe the host's nodes from now on. `events` lives as long as the host. */
void kernel_events_open(struct kernel_events *events, struct mach_host *host);

/* What to give to link_manager_start(). */
struct link_observer kernel_events_link_observer(struct kernel_events *events);

bool kernel_events_management_up(const struct kernel_events *events);
bool kernel_events_life_over(const struct kernel_events *events);

#endif
