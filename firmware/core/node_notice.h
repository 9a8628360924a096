/* SPDX-License-Identifier: MIT
 *
 * NODE messages: what nodes tell each other about themselves (docs/spec/flipc.md, section 3.4).
 * Private to core; with the IPC lock held, except where noted.
 *
 * There is one message a node for all notices, used again when the last one was settled, so telling
 * needs no memory and cannot fail. A notice says how things are when it is written: of a bootstrap
 * port that came and went in between, nothing is told.
 */
#ifndef CORE_NODE_NOTICE_H
#define CORE_NODE_NOTICE_H

#include "node.h"

/* What flow.notice is; without the lock. Null: no memory. */
struct kmsg *node_notice_allocate(struct mach_host *host);

/* Is there something to tell, and the message free? */
static inline bool node_notice_is_due(const struct node *node)
{
    return node->untold != 0 && !node->flow.notice_busy && node->flow.notice->held == 0;
}

/* Write the next notice, which is due. */
struct kmsg *node_notice_take(struct node *node);

/* The peer has it. */
void node_notice_settled(struct node *node);

/* The node came up: greet it, if there is a bootstrap port here. */
void node_notice_up(struct node *node);

/* Is this a sound NODE message of that node, other than DEATH? */
bool node_notice_is_sound(const struct node *node, const struct wire_mnl_header *header,
                          const void *payload);

/* Do what it says; without the lock. The message's header and payload are as they arrived. */
void node_notice_received(struct mach_host *host, uint32_t node_id, uint64_t incarnation,
                          uint8_t command);

/* A node died whose bootstrap port was known; without the lock. */
void node_bootstrap_gone(struct mach_host *host, uint32_t node_id);

#endif
