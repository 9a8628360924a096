/* SPDX-License-Identifier: MIT
 *
 * Nodes with link managers, in one process, for tests: each has a host, real threads, cables in
 * memory and an account of everything that it was told. A *crash* is what a killed machine looks
 * like to the others: carrier lost, nothing said.
 */
#ifndef LINK_NETWORK_H
#define LINK_NETWORK_H

#include "link_memory_phy.h"
#include <kernel/host.h>
#include <kernel/ipc.h>
#include <kernel/link_manager.h>
#include <kernel/mach_node_link.h>
#include <kernel/node.h>
#include <pthread.h>

#define NETWORK_LINKS_MAXIMUM 4u
#define NETWORK_TRANSITS_MAXIMUM 2u
#define NETWORK_KEEPALIVE_NS 20000000ull
#define NETWORK_LINK_DOWN_NS 1000000000ull
#define NETWORK_DEAD_NS 30000000000ull /* a busy machine kills nobody */
#define NETWORK_MORTAL_LINK_DOWN_NS 150000000ull
#define NETWORK_MORTAL_DEAD_NS 300000000ull
#define NETWORK_PATIENCE_NS 20000000000ull /* after which a test has failed */

enum network_fact_kind {
    FACT_NODE_UP,     /* peer, incarnation */
    FACT_NODE_DEAD,   /* peer, incarnation, detail: enum node_death_cause */
    FACT_LINK,        /* link, peer; detail: enum link_reason; bits: 1 rx, 2 tx */
    FACT_REFUSED,     /* by us; link, peer, incarnation, detail: enum link_refusal */
    FACT_WAS_REFUSED, /* ours; link, peer, incarnation, detail */
    FACT_DROP,        /* link; detail: enum link_drop */
    FACT_STALE,       /* incarnation: we were declared dead */
    FACT_KIND_COUNT,
};

struct network_fact {
    enum network_fact_kind kind;
    uint32_t link;
    uint32_t peer;
    uint32_t detail;
    uint32_t bits;
    uint64_t incarnation;
};

struct network_node {
    struct mach_host *host;
    void *arena;
    uint32_t node_id;
    uint64_t incarnation;
    struct boot_link links[NETWORK_LINKS_MAXIMUM];
    uint32_t link_count;
    struct boot_transit transits[NETWORK_TRANSITS_MAXIMUM];
    uint32_t transit_count;
    uint64_t poll_ns;
    uint32_t message_max; /* that it receives */
    struct node_observer observer;
    pthread_mutex_t lock; /* of the facts */
    pthread_cond_t changed;
    struct network_fact facts[4096]; /* the first ones; counts go on */
    size_t fact_count;
};

/* A node without links, not running. A mortal one is for tests of silence: all nodes of a test are,
 * or none. */
struct network_node *network_node_create(uint32_t node_id, uint64_t incarnation);
struct network_node *network_mortal_create(uint32_t node_id, uint64_t incarnation);
void network_node_destroy(struct network_node *node); /* stopped first if it runs */

/* Plug end `end` of a cable in; the next link of the node, leading to node `peer`. */
void network_plug(struct network_node *node, struct memory_cable *cable, int end, uint32_t peer);

/* A route to `peer` that starts over link `via`; the next link of the node. */
void network_route(struct network_node *node, uint32_t via, uint32_t peer, uint16_t route);

/* Pass a route on between node `first`, which link `first_link` leads to, and node `second`. */
void network_transit(struct network_node *node, uint16_t route, uint16_t first, uint8_t first_link,
                     uint16_t second, uint8_t second_link);

void network_start(struct network_node *node);
void network_stop(struct network_node *node); /* in order: the peers are told */

/* What the link manager of a node has of a living peer. */
mnl_node_info_t network_handle(struct network_node *node, uint32_t peer);

/* Wait for a fact from index `from` on; true if it came in time, `found` (may be null) is its
 * index. A field that is FACT_ANY is not compared. */
#define FACT_ANY UINT32_MAX
bool network_wait(struct network_node *node, size_t from, enum network_fact_kind kind,
                  uint32_t peer, uint32_t detail, size_t *found);
size_t network_count(struct network_node *node, enum network_fact_kind kind, uint32_t detail);
size_t network_now(struct network_node *node); /* index of the next fact */

/* Wait until both directions of a link are up, until they are not. */
bool network_wait_up(struct network_node *node, uint32_t link);
bool network_wait_down(struct network_node *node, uint32_t link);

/* Do nothing for so long, while the nodes go on. */
void network_pause_ms(uint32_t ms);

/* Traffic: `count` numbered messages of `body_bytes` from one node's thread to the kernel port of
 * another, which checks that they come once and in order. */
struct network_stream {
    struct network_node *source;
    struct network_node *sink;
    uint64_t count;
    size_t body_bytes;
    struct port *port; /* at the sink */
    pthread_t sender;
    pthread_t receiver;
    uint64_t received; /* atomic, as all below */
    uint64_t wrong;
    uint64_t settled;
    uint64_t failed;
    uint64_t unknown;
    bool must_stop;
};

void network_stream_start(struct network_stream *stream, struct network_node *source,
                          struct network_node *sink, uint64_t count, size_t body_bytes);
/* until so many arrived */
void network_stream_wait(struct network_stream *stream, uint64_t received);
void network_stream_finish(struct network_stream *stream); /* all sent, settled and checked */
/* the sink died: the sender ends, outcomes are counted */
void network_stream_abandon(struct network_stream *stream);

#endif
