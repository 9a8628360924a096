/* SPDX-License-Identifier: MIT
 *
 * Frames of the link protocol, version 1. Specified, field by field, in docs/spec/link.md.
 *
 * The structs are the wire form on a little-endian machine; a big-endian one converts. Rule for
 * FRAME_VERSION: raised when the header changes; the protocol above it is negotiated in training.
 */
#ifndef ABI_FRAME_H
#define ABI_FRAME_H

#include <stdint.h>

#define FRAME_MAGIC 0x4e4du
#define FRAME_VERSION 1u
#define FRAME_HEADER_SIZE 64u
#define FRAME_CONSTANT_SIZE 32u  /* bytes 0..31: the same in every frame of an epoch */
#define FRAME_CABLE_NODE 0xffffu /* src_node of CABLE frames */
#define FRAME_MTU_MINIMUM 256u
#define FRAME_MTU_MAXIMUM 65536u

enum frame_type {
    FRAME_TRAIN = 1,
    FRAME_DATA = 2,
    FRAME_ACK = 3,
    FRAME_NAK = 4,
    FRAME_REFUSE = 5,
    FRAME_CABLE = 6,
    FRAME_DOWN = 7,
};

#define FRAME_FLAG_FIRST 1u
#define FRAME_FLAG_LAST 2u
#define FRAME_FLAG_CONFIRMED 4u

struct frame_header {
    uint16_t magic;
    uint8_t version;
    uint8_t reserved0;
    uint16_t src_node;
    uint16_t dst_node;
    uint64_t src_incarnation;
    uint64_t dst_incarnation;
    uint32_t src_epoch;
    uint32_t dst_epoch;
    uint8_t type;
    uint8_t flags;
    uint16_t reserved1;
    uint32_t length;
    uint32_t seq;
    uint32_t ack;
    uint32_t flipc_ack;
    uint32_t flipc_credit;
    uint32_t payload_crc;
    uint32_t header_crc;
};

#define TRAIN_FLAG_PAYLOAD_CRC 1u
#define TRAIN_FLAG_REPLAY 2u

struct train_record {
    uint32_t version_min;
    uint32_t version_max;
    uint8_t byte_order;
    uint8_t data_model;
    uint16_t flags;
    uint32_t mtu;
    uint32_t message_max;
    uint32_t nodes_max;
    uint32_t window;
    uint32_t reserved;
    uint64_t keepalive_ns;
    uint64_t link_down_after_ns;
    uint64_t dead_after_ns;
    uint64_t ack_delay_ns;
    uint32_t ack_count;
    uint32_t flipc_next;
    uint64_t clock_ns;
    uint64_t echo_clock_ns;
    uint64_t echo_received_ns;
    uint64_t capabilities;
};

struct refuse_record {
    uint32_t reason; /* enum link_refusal */
    uint32_t reserved;
    uint64_t incarnation;
};

#define CABLE_DIRECTION_TX 1u
#define CABLE_DIRECTION_RX 2u

struct cable_record_frame {
    uint32_t direction; /* CABLE_DIRECTION_*, of the receiving end */
    uint32_t carrier;
    uint32_t generation;
    uint32_t flags; /* bit 0: bytes may change on the way */
};

enum link_refusal {
    LINK_REFUSAL_VERSION = 1,
    LINK_REFUSAL_CONSTANTS = 2,
    LINK_REFUSAL_STALE = 3,
    LINK_REFUSAL_DUPLICATE_ID = 4,
    LINK_REFUSAL_WRONG_PEER = 5,
    LINK_REFUSAL_PARAMETERS = 6,
    LINK_REFUSAL_INCARNATION = 7,
};

enum link_reason {
    LINK_REASON_NONE = 0,
    LINK_REASON_CARRIER = 1,
    LINK_REASON_TRAINED = 2,
    LINK_REASON_RETRAIN = 3,
    LINK_REASON_SILENT = 4,
    LINK_REASON_GAP = 5,
    LINK_REASON_REPLAY_EXHAUSTED = 6,
    LINK_REASON_GARBAGE = 7,
    LINK_REASON_DRIVER_STOPPED = 8,
    LINK_REASON_PEER_LOST_US = 9,
    LINK_REASON_NODE_DEAD = 10,
    LINK_REASON_REFUSED = 11,
    LINK_REASON_PEER_CLOSED = 12,
};

enum link_drop {
    LINK_DROP_BAD_HEADER = 1,
    LINK_DROP_BAD_LENGTH = 2,
    LINK_DROP_BAD_PAYLOAD = 3,
    LINK_DROP_BAD_TYPE = 4,
    LINK_DROP_WRONG_NODE = 5,
    LINK_DROP_WRONG_PEER = 6,
    LINK_DROP_STALE_DESTINATION = 7,
    LINK_DROP_STALE_SOURCE = 8,
    LINK_DROP_DUPLICATE = 9,
    LINK_DROP_OUT_OF_ORDER = 10,
    LINK_DROP_BAD_FRAGMENT = 11,
    LINK_DROP_BAD_ACK = 12,
    LINK_DROP_NO_MEMORY = 13,
    LINK_DROP_RESYNC = 14,
    LINK_DROP_BAD_RING = 15,
    LINK_DROP_NOT_TRAINED = 16,
    LINK_DROP_BAD_RECORD = 17,
    LINK_DROP_COUNT = 18, /* size of counter tables */
};

enum node_death_cause {
    NODE_DEATH_HOST = 1,        /* node 0 said so */
    NODE_DEATH_INCARNATION = 2, /* a larger incarnation trained */
    NODE_DEATH_SILENCE = 3,     /* dead_after_ns without a link */
    NODE_DEATH_DRIVER = 4,      /* its link driver ended it: mnl_terminate() */
};

_Static_assert(sizeof(struct frame_header) == FRAME_HEADER_SIZE, "frame header");
_Static_assert(__builtin_offsetof(struct frame_header, type) == FRAME_CONSTANT_SIZE,
               "constant part");
_Static_assert(__builtin_offsetof(struct frame_header, header_crc) == 60, "header CRC is last");
_Static_assert(sizeof(struct train_record) == 104, "training record");
_Static_assert(sizeof(struct refuse_record) == 16, "refuse record");
_Static_assert(sizeof(struct cable_record_frame) == 16, "cable record");

#endif
