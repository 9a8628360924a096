/* SPDX-License-Identifier: MIT
 *
 * struct node: one incarnation of another node as this kernel knows it, and the table of them.
 * Private to core; guarded by the IPC lock.
 *
 * A node begins with its mnl_node_info, so a driver's handle is the node. The driver may write the
 * info at any time; what the kernel relies on (id, incarnation) is kept behind it. When the node
 * dies everything that referred to it is cut loose, so only its handle keeps it: until it is
 * released, or, for a driver that never releases any, until its successor's successor is
 * instantiated (node.c, reap_antecedents()).
 */
#ifndef CORE_NODE_H
#define CORE_NODE_H

#include "flow.h"
#include "list.h"
#include <kernel/mach_node_link.h>
#include <kernel/node.h>
#include <kernel/thread.h>

#define NODES_LIMIT 65535u /* ids are 16 bits in names and frames; 0xffff is a cable's */

enum node_state {
    NODE_INSTANTIATED = 0, /* a handle, in no table */
    NODE_REGISTERED = 1,
    NODE_DEAD = 2,
};

/* The life of a handle: what each call answers in each state (a KERN_ code without its prefix), and
 * the state that a success leads to. docs/mach-node-link.md is made from this table.
 *
 *       call             instantiated  registered  dead       leads to */
#define NODE_LIFE(CALL)                                                                            \
    CALL(SET_INCARNATION, SUCCESS, FAILURE, NODE_DOWN, INSTANTIATED)                               \
    CALL(SET_FLOW, SUCCESS, FAILURE, NODE_DOWN, INSTANTIATED)                                      \
    CALL(SET_MESSAGE_MAX, SUCCESS, FAILURE, NODE_DOWN, INSTANTIATED)                               \
    CALL(REGISTER, SUCCESS, FAILURE, NODE_DOWN, REGISTERED)                                        \
    CALL(SET_LINK_STATE, SUCCESS, SUCCESS, NODE_DOWN, SAME)                                        \
    CALL(SET_LINK_DOWN, SUCCESS, SUCCESS, NODE_DOWN, SAME)                                         \
    CALL(SUSPEND, FAILURE, SUCCESS, NODE_DOWN, REGISTERED)                                         \
    CALL(RESUME, FAILURE, SUCCESS, NODE_DOWN, REGISTERED)                                          \
    CALL(MSG_FROM_NODE, FAILURE, SUCCESS, NODE_DOWN, REGISTERED)                                   \
    CALL(MSG_TO_NODE, FAILURE, SUCCESS, NODE_DOWN, REGISTERED)                                     \
    CALL(DETACH, FAILURE, SUCCESS, NODE_DOWN, SAME)                                                \
    CALL(TERMINATE, SUCCESS, SUCCESS, NODE_DOWN, DEAD)

/* What happens only while which link bits are up, in the same form. */
#define NODE_GATES(GATE)                                                                           \
    GATE(MSG_TO_NODE, TX)                                                                          \
    GATE(MSG_FROM_NODE, RX)                                                                        \
    GATE(PUBLISH, UP)

#define CALL(call, instantiated, registered, dead, next) NODE_CALL_##call,
enum node_call { NODE_LIFE(CALL) };
#undef CALL

#define GATE(what, bits) NODE_GATE_##what = MNL_LINK_##bits,
enum node_gate { NODE_GATES(GATE) }; /* MNL_LINK_* bits */
#undef GATE

struct node {
    struct mnl_node_info info;
    struct mach_host *host;
    struct list handle; /* in the table's list of all handles */
    uint64_t incarnation;
    uint32_t id;
    uint32_t message_max; /* bytes of the largest mnl message that it receives, header included */
    uint8_t state;        /* enum node_state */
    uint8_t link;         /* MNL_LINK_* bits that are up */
    bool told_up;
    bool kicked; /* (published) the link was told that there is something to fetch, and has not seen
                    it all yet */
    bool knows_incarnation; /* the driver told it; else it is a number of our own */
    bool flow_in_headers;   /* acks and credit travel in frame headers; else only in ACK messages */
    bool is_detached;       /* it lives, but has no driver: its handle is nobody's */
    struct server *owner;   /* the kernel server that drives it; null: the link manager */
    bool bootstrap_up;      /* it has a bootstrap port */
    uint8_t untold;         /* notices that it has to be told (node_notice.c) */
    struct mnl_transmitter transmitter; /* transmit() is null: none */
    bool is_suspended;
    bool is_leaving; /* mnl_node_release() has it */
    uint32_t fetchers_waiting;
    uint32_t fetched_count; /* messages that the driver has fetched and not completed */
    struct condition fetch; /* something to fetch, or the end */
    struct list proxies;    /* port.member */
    struct port *spare;     /* an ended proxy, to be the next one; null: none */
    uint32_t names;         /* the upper half of the names that this life makes */
    struct list shares;     /* share.of_node */
    struct flow flow;
};

struct node_slot {
    struct node *live;         /* registered; null: none */
    uint64_t dead_incarnation; /* the largest declared dead; 0: none */
    uint32_t closing;          /* deaths that are being told: nobody may register yet */
};

struct node_counters {
    uint64_t sent;
    uint64_t settled;
    uint64_t failed;
    uint64_t unknown;
    uint64_t received;
    uint64_t refused;
    uint64_t moved; /* came back because their port had moved, to be sent after it */
    uint64_t duplicates;
    uint64_t deaths;
    uint64_t dropped; /* arrived for a node that is dead, not registered or not listening, or broke
                         the rules */
};

struct node_table {
    struct node_observer *observers;
    struct list handles; /* node.handle */
    struct node_counters counters;
    struct port *bootstrap; /* with a reference; null: none */
    uint32_t spare_count;   /* nodes that have a spare */
    uint32_t slot_count;
    struct node_slot slots[];
};

static inline struct node *node_of_handle(mnl_node_info_t handle)
{
    return (struct node *)(void *)handle;
}

/* Does the state of a node allow this call? KERN_SUCCESS, or what the call answers: on a handle that
 * was taken from its driver, what it answers of the dead. */
kern_return_t node_allows(const struct node *node, enum node_call call);

/* Registered nodes that a server drives through mnl_*() calls of its own. */
uint32_t node_driver_lives(struct mach_host *host, const struct server *driver);

/* Take a server's nodes from it (mnl_detach()). `is_gone`: its threads are no more, so what they had
 * fetched is nobody's, and what they had only instantiated ends. */
COLD void node_detach_driver(struct mach_host *host, const struct server *driver, bool is_gone);

int node_table_open(struct mach_host *host) MUST_CHECK;

/* The slot of an id; null: out of range, or the local id. */
struct node_slot *node_slot_of(struct mach_host *host, uint32_t node_id);

/* The registered, living node of an id; null: none. */
struct node *node_live(struct mach_host *host, uint32_t node_id);

/* The living node that a name of another node can belong to; null: none. */
struct node *node_of_name(struct mach_host *host, uint64_t name);

static inline bool node_is_kicked(const struct node *node)
{
    return __atomic_load_n(&node->kicked, __ATOMIC_RELAXED);
}

static inline void node_set_kicked(struct node *node, bool kicked)
{
    __atomic_store_n(&node->kicked, kicked, __ATOMIC_RELAXED);
}

/* Does the node take messages of this size? */
static inline bool kmsg_fits(const struct kmsg *kmsg, const struct node *node)
{
    return le32_load(kmsg->mach.size) <= node->message_max - sizeof(struct mnl_msg);
}

/* Tell the link that there is something to fetch. Cheap when it knows. */
void node_kick(struct node *node);

/* A registered node that both directions reach is up: true for the caller who has to tell, once. */
bool node_becomes_up(struct node *node);

/* Tell the observers; without the lock. */
COLD void node_tell_up(struct mach_host *host, uint32_t node_id, uint64_t incarnation);
COLD void node_tell_dead(struct mach_host *host, uint32_t node_id, uint64_t incarnation,
                         enum node_death_cause cause);

/* End a node that is not dead: everything that mnl_terminate() promises but telling. */
COLD void node_end(struct node *node, struct deferred *deferred);

/* A DEATH message of node 0 arrived; without the lock. */
COLD void node_death_received(struct mach_host *host, const struct node_death_body *death);

#endif
