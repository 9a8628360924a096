/* SPDX-License-Identifier: MIT
 *
 * One end of a link: the state machine of docs/spec/link.md, sections 1 to 3. Frames, carrier
 * changes, messages and the time go in; frames, messages and state changes come out through
 * callbacks. It reads no clock, takes no lock, starts nothing and allocates only through its owner,
 * so the firmware, the simulator and the Python tests drive the same code.
 *
 * Words. *Receive direction*: peer to us; *transmit direction*: us to peer. A direction's *epoch*
 * is one stretch of its being up. *Closing* the receive direction means to stop hearing its epoch:
 * the peer reads dst_epoch 0 and trains anew.
 *
 * Invariants.
 * - A message given to link_send() that it took is given back by complete() exactly once.
 * - A buffer got from allocate() ends in exactly one deliver() or release().
 * - Nothing is sent without transmit carrier; no DATA outside UP.
 * - While both directions are up, `rx_constant` is what the first 32 bytes of every acceptable
 * frame are.
 *
 * Not thread-safe: one owner, one caller at a time. Callbacks must not call back into the same
 * link.
 */
#ifndef KERNEL_LINK_H
#define KERNEL_LINK_H

#include <abi/frame.h>
#include <kernel/error.h>
#include <kernel/frame.h>
#include <kernel/host.h>
#include <kernel/statistics.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mnl_msg;
struct phy;

#define LINK_TRAIN_INTERVAL_NS 20000000ull
#define LINK_RETRY_INTERVAL_NS 1000000ull /* of a TRAIN or an ack that a full PHY did not take */
#define LINK_REPLAY_FRAMES_MAXIMUM 64u    /* a power of two */
#define LINK_REPLAY_BYTES_MAXIMUM (256u * 1024u)
#define LINK_REPLAY_TRIES_MAXIMUM 4u
#define LINK_REPLAY_TIMEOUT_MINIMUM_NS 5000000ull
#define LINK_REPLAY_TIMEOUT_MAXIMUM_NS 500000000ull
#define LINK_REPLAY_TIMEOUT_UNKNOWN_NS 50000000ull /* while no round trip was measured */
#define LINK_MESSAGE_MAX_MINIMUM 256u
#define LINK_MESSAGE_MAX_MAXIMUM (1u << 24)

enum link_direction_state {
    LINK_DIRECTION_DOWN,
    LINK_DIRECTION_TRAINING,
    LINK_DIRECTION_UP,
};

/* What the owner answers to a claim: one of these, or the enum link_refusal to send. */
#define LINK_ADMIT_ACCEPT 0
#define LINK_ADMIT_HOLD (-1) /* no answer yet; the peer asks again */

/* What became of a message handed to deliver(). */
enum link_delivery {
    LINK_DELIVERY_DONE,      /* accepted, or a duplicate */
    LINK_DELIVERY_GARBAGE,   /* not a message: the direction closes (GARBAGE) */
    LINK_DELIVERY_LOST,      /* no memory, or not ready for it: the direction closes (GAP), the peer
                                sends it again */
    LINK_DELIVERY_NODE_DEAD, /* the peer's incarnation is over: the direction closes (NODE_DEAD) */
};

struct link_configuration {
    uint32_t node_id;
    uint32_t peer_id;
    uint64_t incarnation;
    struct cluster_constants constants;
    uint32_t
        mtu; /* largest payload of a frame in bytes, either way; FRAME_MTU_MINIMUM .. _MAXIMUM */
    uint32_t message_max; /* bytes of the largest mnl message this end receives, header included */
    bool wants_payload_crc; /* even where the cable does not require it */
    bool offers_replay;     /* even where the cable does not require it */
    uint16_t route;         /* what its frames say they are of; 0: of a cable */
    bool cable_frames;      /* the end of a stream whose cable speaks by CABLE frames */
    uint8_t byte_order;     /* MNL_BYTEORDER_* of this node */
    uint8_t data_model;     /* MNL_DATAMODEL_* of this node */
    uint32_t version;       /* the one it offers and accepts in training; 0: FRAME_VERSION */
};

struct link_event {
    bool rx_up;
    bool tx_up;
    bool peer_knows_us;  /* the peer's last record was addressed to this incarnation: `flipc_next`
                            means something */
    uint32_t epoch;      /* ours */
    uint32_t peer_epoch; /* heard now; 0: none */
    uint64_t peer_incarnation;
    uint32_t flipc_next; /* of the last such record */
    enum link_reason reason;
};

/* The owner's half. `context` is the one given to link_initialize(). */
struct link_operations {
    /* Hand a frame to the PHY: 0, ERROR_FULL (nothing went out; the owner calls link_pump() when
     * there is room) or ERROR_DOWN. Without payload it may use the room kept for acks. */
    int (*transmit)(void *context, const struct frame_header *header, const void *payload,
                    size_t payload_bytes);
    /* A buffer for a message of `total_bytes`, mnl header included; null: no memory. */
    struct mnl_msg *(*allocate)(void *context, uint32_t total_bytes);
    void (*release)(void *context, struct mnl_msg *message);
    enum link_delivery (*deliver)(void *context, struct mnl_msg *message,
                                  uint32_t total_bytes); /* takes it over */
    void (*complete)(void *context,
                     struct mnl_msg *message); /* of link_send(): sent, or given up */
    void (*state)(void *context, const struct link_event *event);
    /* The receive direction comes up with `incarnation`; state() follows. `new_life`: not the one
     * this link heard last. */
    void (*trained)(void *context, uint64_t incarnation, const struct train_record *record,
                    bool new_life);
    void (*refused)(void *context, enum link_refusal reason, uint64_t incarnation, bool by_us);
    void (*dropped)(void *context, enum link_drop reason, uint32_t count);
    void (*carrier)(void *context, uint32_t direction, bool up,
                    uint32_t generation); /* may be null */
    /* May this incarnation of the peer train? LINK_ADMIT_* or an enum link_refusal. Asked on each
     * TRAIN whose record is good. */
    int (*admit)(void *context, uint64_t incarnation, const struct train_record *record);
    /* FLIPC state of the pair behind the link. flow_sent(): what flow_read() gave last has left. */
    void (*flow_read)(void *context, uint32_t *ack, uint32_t *credit);
    void (*flow_sent)(void *context, uint64_t now_ns);
    void (*flow_peer)(void *context, uint32_t ack, uint32_t credit);
    uint32_t (*flow_next)(void *context);
    uint64_t (*flow_deadline_ns)(
        void *context); /* when an ack must have left; DEADLINE_NEVER: none is owed */
};

/* A DATA frame that the peer has not acknowledged. The piece stays in its message. */
struct link_slot {
    struct mnl_msg *message;
    uint32_t offset;
    uint32_t length;
    uint64_t sent_ns;
    uint8_t flags;
};

struct link_cable_state {
    bool up;
    bool checked; /* bytes may change on the way: payload CRC and replay are required */
    bool known;   /* the cable has said anything yet */
    uint32_t generation;
};

/* All of it is private to core/link*.c; complete here so that the owner can embed it. */
struct link {
    const struct link_operations *operations;
    void *context;
    struct link_configuration configuration;
    struct link_cable_state tx_cable;
    struct link_cable_state rx_cable;
    bool parked; /* refused: silent until the carrier changes or the peer has a new life */

    /* The life of the peer that this link talks to. */
    uint64_t peer_incarnation;   /* 0: none known */
    uint64_t newest_incarnation; /* ever accepted here */
    uint64_t dead_incarnation;   /* newest that the owner declared dead */
    struct train_record peer_record;
    bool peer_knows_us;       /* a record of it was addressed to this life of ours */
    uint32_t peer_flipc_next; /* and the last such one said this */
    uint32_t trained_epoch;   /* (epoch, seq) of the last TRAIN accepted of it */
    uint32_t trained_seq;
    uint64_t echo_clock_ns;
    uint64_t echo_received_ns;
    bool flow_heard; /* the two below are what flow_peer() was told last */
    uint32_t flipc_ack_heard;
    uint32_t flipc_credit_heard;

    /* Receive direction. */
    bool rx_up;
    bool rx_checked; /* negotiated when it came up, like rx_replay */
    bool rx_replay;
    bool rx_nak_sent;    /* for the gap at rx_next */
    uint32_t peer_epoch; /* heard last; it stays for comparison while the direction is down */
    uint32_t rx_next;    /* sequence number expected */
    uint32_t rx_owed;    /* DATA frames that no frame of ours acknowledged */
    uint64_t rx_owed_ns; /* since when */
    uint64_t rx_heard_ns;
    struct mnl_msg *assembly;
    uint32_t assembly_bytes;
    uint32_t assembly_total;

    /* Transmit direction. */
    enum link_direction_state tx_state;
    bool tx_checked; /* negotiated when it came up, like tx_replay */
    bool tx_replay;
    bool ack_wanted;   /* a pure ack has to leave as soon as the PHY takes it */
    bool train_wanted; /* so has a TRAIN */
    uint64_t retry_ns; /* when to try these two again if nobody says that there is room */
    uint32_t tx_epoch;
    uint32_t tx_seq;         /* of the next DATA frame */
    uint32_t tx_base;        /* oldest that the peer has not acknowledged */
    uint32_t tx_mtu;         /* largest payload for this peer */
    uint32_t train_count;    /* TRAIN frames sent in this epoch */
    uint64_t train_sent_ns;  /* the last one */
    uint64_t tx_sent_ns;     /* the last frame of any type but REFUSE */
    struct mnl_msg *sending; /* the message being cut, from sending_offset on; null: none */
    uint32_t sending_offset;
    uint32_t sending_total;

    /* With replay: the frames tx_base .. tx_seq-1 are in slots[seq % 64]. */
    uint32_t replay_next; /* first that has to go out again; tx_seq: none */
    uint32_t replay_bytes;
    uint32_t replay_tries;
    uint64_t replay_progress_ns; /* when `ack` moved last */
    struct link_slot slots[LINK_REPLAY_FRAMES_MAXIMUM];

    /* The header of the frame sent last, and the first half of those that come; the CRC states over
     * their first halves. rx_constant means something while both directions are up. */
    struct frame_header tx_header;
    struct frame_header rx_constant;
    uint32_t tx_constant_crc;
    uint32_t rx_constant_crc;
    struct frame_crc tx_crc;
    struct frame_crc rx_crc;
    bool rx_constant_valid;

    struct link_statistics statistics;
};

/* Both directions down, no carrier. The operations table outlives the link. ERROR_INVALID: a value
 * out of range. */
int link_initialize(struct link *link, const struct link_configuration *configuration,
                    const struct link_operations *operations, void *context) MUST_CHECK;

/* A direction (PHY_DIRECTION_*) of the cable changed. A generation not seen before is a cut and a
 * splice. */
void link_carrier(struct link *link, uint32_t direction, bool up, uint32_t generation, bool checked,
                  uint64_t now_ns);

/* A frame of `length` bytes stands at `frame`; the other side may be writing there. `confirm` (may
 * be null) is asked after it was copied and before it is used; false drops it. */
void link_receive(struct link *link, const uint8_t *frame, size_t length,
                  bool (*confirm)(struct phy *), struct phy *phy, uint64_t now_ns);

/* Send one whole mnl message of `total_bytes`. 0: taken, complete() follows; ERROR_DOWN: the
 * direction is not up; ERROR_FULL: busy with what it has, ask again after progress; ERROR_INVALID:
 * larger than the peer receives. Only 0 takes it. Sends as much as `budget_bytes` allows, at least
 * one frame; the rest by link_pump(). */
int link_send(struct link *link, struct mnl_msg *message, uint32_t total_bytes, size_t budget_bytes,
              uint64_t now_ns) MUST_CHECK;

/* Go on with replays and with a message begun, for about `budget_bytes`. The PHY may have room
 * again. */
void link_pump(struct link *link, size_t budget_bytes, uint64_t now_ns);

/* Would link_send() take a message? */
bool link_is_ready(const struct link *link);

/* Is something held back that link_pump() could send now, or only room of the PHY is missing for?
 */
bool link_has_backlog(const struct link *link);

/* Does the link hold a message that complete() has not given back? */
bool link_holds_messages(const struct link *link);

/* A pure ack that carries the flow state; nothing while the transmit direction is not up. */
void link_acknowledge(struct link *link, uint64_t now_ns);

/* Do what is due. */
void link_tick(struct link *link, uint64_t now_ns);
uint64_t link_next_deadline_ns(const struct link *link); /* DEADLINE_NEVER: none */

/* Incarnation `incarnation` of the peer, and all before it, was declared dead elsewhere: forget it,
 * refuse it from now on. */
void link_peer_died(struct link *link, uint64_t incarnation, uint64_t now_ns);

/* What the receive direction carried breaks the protocol above: close it, the peer trains anew. */
void link_garbage(struct link *link, uint64_t now_ns);

/* DOWN to the peer, both directions down, everything given back; silent until the carrier changes.
 */
void link_close(struct link *link, uint64_t now_ns);

/* Another PHY is under the link now, which is down: largest payload of its frames, whether DATA shall
 * be checked or replayed, and whether it is a lossless medium (no CABLE frames, no need of either). */
void link_set_phy(struct link *link, uint32_t mtu, bool payload_crc, bool replay, bool lossless);

/* Count bytes or records that the PHY threw away. */
void link_count_drop(struct link *link, enum link_drop reason, uint32_t count);

void link_read_statistics(const struct link *link, struct link_statistics *statistics);

/* For the owner. */
static inline bool link_tx_is_up(const struct link *link)
{
    return link->tx_state == LINK_DIRECTION_UP;
}
static inline bool link_rx_is_up(const struct link *link)
{
    return link->rx_up;
}
/* Does it keep frames until they are acknowledged? */
static inline bool link_replays(const struct link *link)
{
    return link->tx_replay;
}

#endif
