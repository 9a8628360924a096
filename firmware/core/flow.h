/* SPDX-License-Identifier: MIT
 *
 * struct flow: the two sequenced streams between this incarnation and one other (docs/spec/flipc.md
 * section 3), and what FLIPC does with them. Private to core; guarded by the IPC lock and called
 * with it held, except where noted.
 *
 * Invariants
 * - outstanding: kmsg.queue, ascending by header.options, all below next_sequence; `resend` is
 *   the first of them to be transmitted again, or the list itself.
 * - unsettled: kmsg.flow, ascending by sequence_in, all below next_expected.
 * - ack = sequence_in of the first unsettled message, or next_expected; credit = next_expected -
 *   unsettled_count + window. Neither ever falls.
 * - A refused message is on `unsettled` as what it was, and on `control` or `outstanding` as the
 *   NAK that it became.
 *
 * The words marked (published) are also read without the lock, each on its own: they are stored and
 * loaded atomically.
 */
#ifndef CORE_FLOW_H
#define CORE_FLOW_H

#include "ipc_state.h"
#include "kmsg.h"
#include "share.h"
#include <abi/flipc.h>

struct node;
struct port;

/* How far a source may run ahead of what is settled, whatever the peer allows: so many messages
 * beyond its own window, and so many sequence numbers (out-of-order settlement moves on past a
 * stuck message, but serial arithmetic ends at 2^31). */
#define FLOW_OUTSTANDING_SLACK 64u
#define FLOW_SEQUENCE_SPAN (1u << 30)

/* Bytes, at most, that wait to be transmitted to one node, over all proxies: a peer that asks without
 * end and takes no answer costs no more. One message more may begin below it. */
#define FLOW_WAITING_MAXIMUM (256u * 1024u)

/* Accounts, at most, that have something to tell one node before messages from it that bring rights are
 * refused, and rights to names that nobody has are not answered: a peer that does not listen costs no
 * more. Each may be the last of a port that ended, so these are as many struct ports, about as much
 * again as FLOW_WAITING_MAXIMUM twice. */
#define FLOW_NOTICES_MAXIMUM 1024u

struct flow_snapshot {
    _Alignas(8) struct wire_mnl_header header;
    le32 body[sizeof(struct flipc_ack_body) / 4u + FLIPC_WINDOW_MAXIMUM];
};

struct flow {
    uint32_t window; /* of the cluster */
    uint32_t ack_count;

    /* To the peer. */
    uint32_t next_sequence;
    uint32_t peer_ack;    /* (published) as last told */
    uint32_t peer_credit; /* (published) as last told */
    uint32_t outstanding_count;
    struct list outstanding;
    struct list *resend;
    struct list control;  /* NAKs that have no sequence number yet */
    struct list ready;    /* port.ready: proxies with untransmitted messages, in turn */
    size_t waiting_bytes; /* of those messages */
    struct list notices;  /* share.notice: accounts with something to tell */
    uint32_t notice_count;
    struct list batch;   /* share.notice: those that `rights` tells of */
    struct kmsg *rights; /* the one RIGHTS message, sent again and again */
    bool rights_busy;    /* it is outstanding */
    struct kmsg
        *notice;      /* the one message for NODE notices (node_notice.c), used again and again */
    bool notice_busy; /* it is outstanding */

    /* From the peer. */
    uint32_t next_expected; /* (published) */
    uint32_t ack;           /* (published) */
    uint32_t credit;        /* (published) */
    uint32_t ack_read; /* (published) `ack` and `credit` as the link last read them for a frame */
    uint32_t credit_read; /* (published) */
    uint32_t unsettled_count;
    struct list unsettled;

    /* Acknowledgements that the peer has not been told. */
    uint32_t owed;           /* (published) settled since a frame left */
    uint32_t apart;          /* (published) settled above `ack`: only a snapshot tells them */
    uint64_t owed_since_ns;  /* when somebody first looked; 0: nobody has */
    uint64_t apart_since_ns; /* same */
    bool snapshot_due;
    bool snapshot_held; /* a link has it fetched */
    struct flow_snapshot snapshot;
};

static inline bool sequence_before(uint32_t left, uint32_t right)
{
    return (int32_t)(left - right) < 0;
}

static inline uint32_t word_load(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static inline void word_store(uint32_t *word, uint32_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

void flow_init(struct flow *flow, const struct cluster_constants *constants);

/* What flow.rights is; without the lock. Null: no memory. */
struct kmsg *flow_rights_allocate(struct mach_host *host);

/* --- Transmit (flipc_transmit.c) -------------------------------------------------------------- */

/* May a message to any port of that node be queued? */
bool flipc_has_room(const struct node *node);

/* Send a message to a living proxy; the port has room, and `spares` what rights_give_needs() asks for
 * (null: it carries no rights). True: it is fetched, and the caller gives it to the node's
 * transmitter; false: it is queued. */
bool flipc_send(struct port *proxy, struct kmsg *kmsg, struct share_spares *spares);

/* The same, but it is queued in any case. */
void flipc_queue(struct port *proxy, struct kmsg *kmsg, struct share_spares *spares);

/* The transmitter did not take what flipc_send() fetched for it: the next flipc_fetch() returns it,
 * unless it is at its end by now; the peer may say so of what it never got. */
COLD void flipc_untake(struct node *node, struct kmsg *kmsg, struct deferred *deferred);

/* A message that is in a proxy's queue waits for the node, or not any more. */
void flipc_waits(struct node *node, const struct kmsg *kmsg);
void flipc_waits_no_more(struct node *node, const struct kmsg *kmsg);

/* The proxy may transmit what it has queued, if there is nothing that has to go first. */
void flipc_make_ready(struct port *proxy);

/* The end of a message that was sent to a living node, or was going to be, and is in no list: its
 * rights are the node's when it was settled, died with it when not. */
void flipc_message_done(struct kmsg *kmsg, enum message_outcome outcome, struct deferred *deferred);

/* The next message for the link; null: nothing may be sent now. */
mnl_msg_t flipc_fetch(struct node *node);

/* The link is done with a fetched message. */
void flipc_complete(struct node *node, mnl_msg_t msg, struct deferred *deferred);

/* The peer settled everything below `ack`, and takes sequence numbers below `credit`. False:
 * impossible. */
bool flipc_peer_told(struct node *node, uint32_t ack, uint32_t credit, struct deferred *deferred);

/* An ACK snapshot or a NAK of `size_bytes` arrived in the payload of a message. False: malformed.
 */
COLD bool flipc_snapshot_received(struct node *node, const struct flipc_ack_body *body,
                                  uint32_t size_bytes, struct deferred *deferred);
COLD bool flipc_nak_received(struct node *node, const struct flipc_nak_body *body,
                             uint32_t size_bytes, struct deferred *deferred);

/* Transmit again from the first message that the peer, which expects `next_expected`, has not got.
 */
COLD void flipc_resume(struct node *node, uint32_t next_expected);

/* The peer is dead: every message is at its end, in both directions. */
COLD void flipc_abandon(struct node *node, struct deferred *deferred);

/* --- Receive (flipc_receive.c) ---------------------------------------------------------------- */

/* A message of `length_bytes` arrived in `kmsg`, which is taken over. Without the lock. Returns as
 * mnl_msg_take_from_node(). */
kern_return_t flipc_receive(struct node *node, struct kmsg *kmsg, size_t length_bytes);

/* Refuse an accepted message: it becomes its own NAK. `resend_to`: a node id for FLIPC_NAK_MOVED,
 * else -1. */
COLD void flipc_refuse(struct kmsg *kmsg, enum flipc_nak_reason reason, int32_t resend_to,
                       struct deferred *deferred);

/* --- Rights (flipc_rights.c) ------------------------------------------------------------------ */

/* Make the next RIGHTS message, if there is something to tell and the last one is over; else null.
 */
COLD struct kmsg *flipc_rights_take(struct node *node);

/* If those who answer from now on know, the port's home and its former homes that are to stay, those who
 * answered for our rights need not any more. */
void flipc_rights_told(struct port *port, struct deferred *deferred);

/* The peer has it. */
COLD void flipc_rights_settled(struct node *node, struct deferred *deferred);

/* Accounts that a RIGHTS message of `size_bytes` will need, -1: malformed. */
int flipc_rights_check(const struct flipc_rights_body *body, uint32_t size_bytes);

/* Do what it says; `spares` has what flipc_rights_check() asked for. */
COLD void flipc_rights_received(struct node *node, const struct flipc_rights_body *body,
                                struct share_spares *spares, struct deferred *deferred);

/* --- Acknowledge (flipc_ack.c) ---------------------------------------------------------------- */

/* A message of a living source is at its end here: taken by a receiver, or its NAK was settled. */
void flipc_settle(struct kmsg *kmsg);

/* A control message was accepted, which settles it. */
void flipc_settle_control(struct node *node);

/* `count` more things to acknowledge. */
void flipc_owe(struct node *node, uint32_t count);

/* Write the snapshot message. */
COLD mnl_msg_t flipc_snapshot_take(struct node *node);

/* Time by which a frame must leave, DEADLINE_NEVER for none, 0 for now; a frame left at `now_ns`.
 * Without the lock. */
uint64_t flipc_ack_deadline_ns(struct node *node);
void flipc_acknowledged(struct node *node, uint64_t now_ns);

/* For a link without frame headers of ours: make a snapshot due when its time has come. Returns the
 * time when to ask again, DEADLINE_NEVER: when something is settled. */
uint64_t flipc_snapshot_tick(struct node *node);

#endif
