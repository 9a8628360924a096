/* SPDX-License-Identifier: MIT
 *
 * The node table as the rest of the kernel sees it: who lives, who is dead, who wants to be told.
 *
 * Link drivers use kernel/mach_node_link.h. An incarnation is *up* when it is registered and both
 * its link bits have been raised once; it is *dead* when it was declared dead, which is final: it
 * and every smaller incarnation of that id are refused from then on. Everything here may be called
 * from any thread of the host, with no lock held.
 */
#ifndef KERNEL_NODE_H
#define KERNEL_NODE_H

#include <abi/frame.h>
#include <kernel/error.h>
#include <kernel/statistics.h>
#include <stdbool.h>
#include <stdint.h>

struct mach_host;
struct port;

/* What an interested party is told, once for each incarnation, from the thread that learned it,
 * with no lock held. The functions may call everything of the node and message layers, must not
 * block for long, and may be null. An incarnation is told dead before a newer one of the same id is
 * told up. One that was never up here may be told dead. The record is the caller's and is kept; it
 * is linked by `next`, so it belongs to one host. */
struct node_observer {
    void *context;
    void (*up)(void *context, uint32_t node_id, uint64_t incarnation);
    void (*dead)(void *context, uint32_t node_id, uint64_t incarnation,
                 enum node_death_cause cause);
    /* Node 0 declared this node's own incarnation dead: it must take a new one. */
    void (*self_dead)(void *context, uint64_t incarnation, enum node_death_cause cause);
    struct node_observer *next;
};

/* Tell `observer` from now on. Observers are added while the host is brought up, before the first
 * link; there is no way to take one back but the end of the host. Told in the order in which they
 * were added. */
void node_observe(struct mach_host *host, struct node_observer *observer);

/* This incarnation of `node_id` is over, with everything that mnl_terminate() does if it is
 * registered here. Handles of it answer 47 or null from now on; their owner still releases them.
 * Returns 0; ERROR_EXISTS: it or a newer one was declared dead before; ERROR_INVALID: the local id,
 * an id out of range, or incarnation 0. */
int node_declare_dead(struct mach_host *host, uint32_t node_id, uint64_t incarnation,
                      enum node_death_cause cause);

/* Is this incarnation, or a newer one of that id, declared dead? False for an id out of range. */
bool node_is_declared_dead(struct mach_host *host, uint32_t node_id, uint64_t incarnation);

/* The registered, living incarnation of `node_id`; 0: none. */
uint64_t node_incarnation(struct mach_host *host, uint32_t node_id);

/* Make `port`, which has no name, this node's bootstrap port: the well-known name of serial 1, under
 * which the node server of every node is found. Every node is told, those that come up later too,
 * and the port gets a registration message (abi/services.h) for this node and for each other node
 * with a bootstrap port. 0, or port_publish()'s error. */
int node_set_bootstrap(struct mach_host *host, struct port *port) MUST_CHECK;

/* The node has no bootstrap port any more; before it is destroyed. Every node is told. */
void node_clear_bootstrap(struct mach_host *host);

/* Tell every node that this incarnation ends. Each declares it dead when it reads that. */
void node_leave(struct mach_host *host);

/* Fill in every field of the kernel's node statistics. */
void node_statistics_read(struct mach_host *host, struct node_statistics *statistics);

#endif
