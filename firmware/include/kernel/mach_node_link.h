/* SPDX-License-Identifier: MIT
 *
 * The mach node link (MNL) driver interface: what a link driver calls to bring a remote node up, to
 * hand over what arrived from it, and to fetch what is to be sent to it. A driver always calls
 * down; nothing here calls a driver.
 *
 * Words. A *node* is one kernel instance; its *id* is unique in the cluster; one life of it is an
 * *incarnation*. A node *handle* (mnl_node_info_t) is one incarnation as this kernel knows it.
 * *Register* makes it part of the node table; *terminate* ends it for ever. The two *link bits* say
 * which direction works: nothing is fetched before TX is up, delivered before RX is up, or
 * published before both. *Suspend* says that the peer sleeps: its messages wait.
 *
 * Two kinds of client use it. A driver written against the first nine functions alone is the sole
 * link of its peer. This kernel's own link manager is the other client; what it needs beyond them
 * is in the second part, under names of its own.
 *
 * Unless stated otherwise the functions may block and must not be called from an interrupt handler
 * or with a lock held. `flags` is reserved: pass 0.
 */
#ifndef KERNEL_MACH_NODE_LINK_H
#define KERNEL_MACH_NODE_LINK_H

#include <kernel/kern_return.h>
#include <kernel/little_endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int32_t mach_node_id_t;
typedef uint64_t mnl_name_t;

#define MNL_PROTOCOL_V1 1ul
#define MNL_LINK_DOWN 0ul
#define MNL_LINK_RX 1ul
#define MNL_LINK_TX 2ul
#define MNL_LINK_UP 3ul

#define MNL_DATAMODEL_ILP32 1
#define MNL_DATAMODEL_LP64 2
#define MNL_BYTEORDER_UNKNOWN 0
#define MNL_BYTEORDER_LITTLE 1
#define MNL_BYTEORDER_BIG 2

/* What this node says of itself. */
#define MNL_BYTEORDER_LOCAL                                                                        \
    (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? MNL_BYTEORDER_BIG : MNL_BYTEORDER_LITTLE)
#define MNL_DATAMODEL_LOCAL (__SIZEOF_POINTER__ == 8 ? MNL_DATAMODEL_LP64 : MNL_DATAMODEL_ILP32)

/* The part of a node that its driver fills in, and the driver's handle of it. Owned by the kernel.
 */
struct mnl_node_info {
    mach_node_id_t node_id; /* set by mnl_instantiate(); a driver does not change it */
    uint8_t datamodel;      /* MNL_DATAMODEL_*, of the peer */
    uint8_t byteorder;      /* MNL_BYTEORDER_*, of the peer */
    uint32_t proto_vers_min;
    uint32_t proto_vers_max;
} __attribute__((aligned(8)));
typedef struct mnl_node_info *mnl_node_info_t;
#define MNL_NODE_NULL ((mnl_node_info_t)0)

/* The header of a message between nodes; `size` bytes of payload follow it. Little-endian in memory
 * and on the wire, on a big-endian node too: mnl_msg_payload_bytes() reads the size. The kernel
 * itself uses struct wire_mnl_header of abi/flipc.h, whose words cannot be taken for native ones. */
struct mnl_msg {
    uint8_t sub; /* MNL_SUB_* of abi/flipc.h */
    uint8_t cmd;
    uint8_t qos;
    uint8_t flags;
    uint32_t node_id; /* the node that created the message */
    uint64_t object;
    uint32_t options; /* FLIPC sequence number if flags has MNL_FLAG_SEQUENCED */
    uint32_t size;
} __attribute__((packed));
typedef struct mnl_msg *mnl_msg_t;
#define MNL_MSG_NULL ((mnl_msg_t)0)
#define MNL_MSG_SIZE ((int)sizeof(struct mnl_msg))
#define MNL_MSG_PAYLOAD(msg) ((void *)((uint8_t *)(msg) + sizeof(struct mnl_msg)))

_Static_assert(sizeof(struct mnl_msg) == 24, "mnl header");

/* Bytes behind the header: `size` in this CPU's order. The message may stand at any address. */
static inline uint32_t mnl_msg_payload_bytes(const struct mnl_msg *msg)
{
    le32 size;

    __builtin_memcpy(&size, &msg->size, sizeof(size));
    return le32_load(size);
}
_Static_assert(sizeof(struct mnl_node_info) == 16, "node info");

/* --- The published interface ------------------------------------------------------------------ */

/* A message with `payload` bytes after its header; header zeroed, size set, payload not cleared.
 * Null: payload is negative or larger than the largest message, or no memory. Does not wait for
 * memory. */
mnl_msg_t mnl_msg_alloc(int payload, uint32_t flags);

/* Free a message of mnl_msg_alloc(). Null is allowed. The size field may have changed meanwhile. */
void mnl_msg_free(mnl_msg_t msg, uint32_t flags);

/* A handle for a new incarnation of node `nid`, in state instantiated: in no table, seen by nobody.
 * Null: `nid` is the local id or out of range, or no memory. Ended by mnl_terminate(). */
mnl_node_info_t mnl_instantiate(mach_node_id_t nid, uint32_t flags);

/* Make an instantiated node part of the node table. Before it, the driver fills in the info. If an
 * older incarnation of that id is alive, and both were told by mnl_set_incarnation(), the older one
 * is terminated first (NODE_DEATH_INCARNATION). Returns 0; 4: null, local or changed id, an info
 * field is 0, or the protocol ranges do not overlap (the node stays instantiated); 5: already
 * registered, or another incarnation of that id is alive (nothing changed); 6: no memory; 47: the
 * handle is dead. */
kern_return_t mnl_register(mnl_node_info_t node, uint32_t flags);

/* Raise link bits (MNL_LINK_RX, _TX or _UP) that are down. Returns 0; 4: null, no bit, a bit
 * outside the mask, or one that is up already; 47: dead. Allowed before registration. */
kern_return_t mnl_set_link_state(mnl_node_info_t node, int link, uint32_t flags);

/* The incarnation is over. Both directions are down, every proxy of the node is dead, blocked
 * senders return, fetchers get null, messages not settled end as failed or unknown. Returns 0; 4:
 * null; 47: already dead. The handle stays valid for calls that answer 47 or null until
 * mnl_node_release(); for a driver that does not know that function, until two further lives of the
 * id were instantiated and whatever it fetched is given back. */
kern_return_t mnl_terminate(mnl_node_info_t node, uint32_t flags);

/* Deliver a message that arrived; copied, the buffer stays the driver's. Trusts msg->size: prefer
 * mnl_msg_from_node_bounded(). Dropped and counted when the node is not registered, dead, or RX is
 * down. */
void mnl_msg_from_node(mnl_node_info_t node, mnl_msg_t msg, uint32_t flags);

/* The next message to transmit; waits for one. Null: the node is dead or not registered: shut the
 * link down. The message is the kernel's; give it back with mnl_msg_complete(). Meant for one
 * thread a node: several get each message once between them, but who sends first decides the order.
 */
mnl_msg_t mnl_msg_to_node(mnl_node_info_t node, uint32_t flags);

/* The driver is done with a message that it fetched: sent, or never to be sent. Null is ignored. */
void mnl_msg_complete(mnl_node_info_t node, mnl_msg_t msg, uint32_t flags);

/* --- Beyond the published interface ----------------------------------------------------------- */

/* As mnl_msg_from_node() for a buffer of `length` bytes. Returns 0; 4: not one whole well-formed
 * message; 5: not registered or RX down; 6: no memory (nothing was accepted: close the link); 47:
 * dead. */
kern_return_t mnl_msg_from_node_bounded(mnl_node_info_t node, mnl_msg_t msg, size_t length,
                                        uint32_t flags);

/* As mnl_msg_from_node_bounded(), but takes over a message of mnl_msg_alloc() whatever it returns:
 * nothing is copied. */
kern_return_t mnl_msg_take_from_node(mnl_node_info_t node, mnl_msg_t msg, size_t length,
                                     uint32_t flags);

/* As mnl_msg_to_node(), without waiting: null also when there is nothing to send now. */
mnl_msg_t mnl_msg_try_to_node(mnl_node_info_t node, uint32_t flags);

/* False: mnl_msg_try_to_node() would return null. Without a lock, so it may be late; what comes
 * after it is told by an event. */
bool mnl_has_to_node(mnl_node_info_t node);

/* Whom a thread that sends hands its message to, if nothing waits to be fetched before it. For
 * drivers where threads take turns (thread_runs_alone()). */
struct mnl_transmitter {
    /* As if mnl_msg_try_to_node() had returned the message to the driver. No lock is held. False: not
     * now; it is as if it had not been fetched. */
    bool (*transmit)(void *context, mnl_msg_t msg);
    void *context;
};

/* Before registration. `transmitter` is copied. */
void mnl_set_transmitter(mnl_node_info_t node, const struct mnl_transmitter *transmitter);

/* Lower link bits. 0; 4: null, no bit, or a bit outside the mask; 47: dead. Bits that are down
 * already stay down. */
kern_return_t mnl_set_link_down(mnl_node_info_t node, int link, uint32_t flags);

/* The peer goes to sleep: nothing is fetched until mnl_resume(), senders wait when their queue is
 * full, nothing is lost and silence is no death. Link bits, and what arrives, are as before. 0; 4:
 * null; 5: not registered, or suspended already (not suspended, for resume); 47: dead. */
kern_return_t mnl_suspend(mnl_node_info_t node, uint32_t flags);
kern_return_t mnl_resume(mnl_node_info_t node, uint32_t flags);
bool mnl_is_suspended(mnl_node_info_t node); /* false for null */

/* The peer's incarnation, before registration. 0; 4: null or zero; 5: registered; 47: dead, or not
 * newer than one declared dead. */
kern_return_t mnl_set_incarnation(mnl_node_info_t node, uint64_t incarnation, uint32_t flags);

/* The largest message that this life of the peer receives, in bytes with its mnl header, before
 * registration; it never changes. A larger one is refused to its sender (MACH_SEND_TOO_LARGE).
 * Default: no limit. 0; 4: null, or less than the headers; 5: registered; 47: dead. */
kern_return_t mnl_set_message_max(mnl_node_info_t node, uint32_t bytes, uint32_t flags);

/* How acknowledgements and credit of this life travel, before registration and after
 * mnl_set_incarnation(): in the headers of the driver's frames, by mnl_flow_*() (the default), or in
 * messages that mnl_msg_to_node() returns, for a driver that only carries messages. Both ends do the
 * same. 0; 4: null, no such way, or no incarnation was told; 5: registered; 47: dead. */
#define MNL_FLOW_IN_HEADERS 1
#define MNL_FLOW_IN_MESSAGES 2
kern_return_t mnl_set_flow(mnl_node_info_t node, int flow, uint32_t flags);

/* The driver goes, the life goes on: both directions are down, messages wait, whoever fetches gets
 * null, and every other call answers as if the node were dead. The handle is the kernel's again. The
 * kernel does the same to the nodes of a kernel server that is unloaded. 0; 4: null; 5: not
 * registered; 47: dead, or detached already. */
kern_return_t mnl_detach(mnl_node_info_t node, uint32_t flags);
bool mnl_is_detached(mnl_node_info_t node); /* false for null */

/* The handle of the life `incarnation` of node `nid`, which another driver left; all as it left it.
 * Null: it is not alive here, has a driver, or messages are still fetched. */
mnl_node_info_t mnl_attach(mach_node_id_t nid, uint64_t incarnation, uint32_t flags);

/* Give up the handle: no call may use it afterwards. The node itself lives as long as messages or
 * rights refer to it. A node that is not dead is terminated first. Null is ignored. */
void mnl_node_release(mnl_node_info_t node, uint32_t flags);

/* What every frame header to this peer carries, and what its headers tell. Cheap, never blocks. The
 * first two are read for a frame that is being made, by one thread a node: what they returned last
 * is what mnl_flow_acknowledged() speaks of. */
uint32_t mnl_flow_ack(mnl_node_info_t node);    /* lowest unsettled sequence number */
uint32_t mnl_flow_credit(mnl_node_info_t node); /* first sequence number the peer may not use */
uint32_t mnl_flow_next(mnl_node_info_t node);   /* next sequence number expected from the peer */
void mnl_flow_peer(mnl_node_info_t node, uint32_t flipc_ack, uint32_t flipc_credit);
/* Is an acknowledgement owed that no frame has carried? Returns the node-clock time by which it is
 * due, DEADLINE_NEVER for none. mnl_flow_acknowledged() tells that a frame with the mnl_flow_ack()
 * and _credit() last read left. */
uint64_t mnl_flow_ack_deadline_ns(mnl_node_info_t node);
void mnl_flow_acknowledged(mnl_node_info_t node, uint64_t now_ns);
/* The transmit direction is up again: start over at the first message the peer (which expects
 * flipc_next) has not got. */
void mnl_flow_resume(mnl_node_info_t node, uint32_t flipc_next);

#endif
