/* SPDX-License-Identifier: MIT
 *
 * Passing on: where a frame of a route goes next (docs/spec/link.md, section 6). A pure decision
 * over the node's table of transits; who has PHYs to carry it out is core/link_route.c.
 *
 * A frame goes on by what its route's record says of the link by which it came, never by anything
 * else, and a record joins two links: so no frame visits a node twice, whatever it claims.
 */
#ifndef KERNEL_ROUTE_H
#define KERNEL_ROUTE_H

#include <abi/frame.h>
#include <kernel/boot.h>
#include <stddef.h>
#include <stdint.h>

/* Decide about a frame of `length` bytes whose header is a private copy and that came by link
 * `link`. Returns 0 with the index of the link by which it leaves in `*out`, or the enum link_drop
 * that fits: BAD_HEADER, BAD_LENGTH, WRONG_NODE (no such route here, or not by that link),
 * WRONG_PEER (not between the route's ends, in that direction). */
uint32_t route_next(const struct boot_transit *transits, uint32_t count, uint32_t link,
                    const struct frame_header *header, size_t length, uint32_t *out);

#endif
