/* SPDX-License-Identifier: MIT
 *
 * One link that mnl_ring drives: the peer at its far end, life after life, through the functions of
 * kernel/mach_node_link.h.
 */
#ifndef SERVERS_MNL_RING_MNL_LINK_H
#define SERVERS_MNL_RING_MNL_LINK_H

#include <kernel/boot.h>
#include <kernel/error.h>
#include <stdint.h>

struct mach_host;
struct mnl_link;

/* Drive the link `index` of the boot page from now on, by threads of its own. 0, ERROR_NO_MEMORY or
 * what channel_open() returns. */
int mnl_link_start(struct mach_host *host, uint32_t index, const struct boot_link *boot,
                   struct mnl_link **out) MUST_CHECK;

/* Give the link up: its threads have ended on return. The peer's life goes on, without a driver. */
void mnl_link_stop(struct mnl_link *link);

#endif
