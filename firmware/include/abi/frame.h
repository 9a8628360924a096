/* SPDX-License-Identifier: MIT
 *
 * Frames of the link protocol, version 1. Specified, field by field, in docs/spec/link.md.
 *
 * The structs are the wire form on every machine. Rule for
 * FRAME_VERSION: raised when the header changes; the protocol above it is negotiated in training.
 */
#ifndef ABI_FRAME_H
#define ABI_FRAME_H

#include <kernel/little_endian.h>
#include <stdint.h>

#define FRAME_MAGIC 0x4e4du
#define FRAME_VERSION 1u
#define FRAME_HEADER_SIZE 64u
#define FRAME_CONSTANT_SIZE 32u  /* bytes 0..31: the same in every frame of an epoch */
#define FRAME_CABLE_NODE 0xffffu /* src_node of CABLE frames */
#define FRAME_MTU_MINIMUM 256u
#define FRAME_MTU_MAXIMUM 65536u
#define FRAME_ROUTE_MTU 4096u /* of a route: every cable of its path carries as much */

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
    le16 magic;
    uint8_t version;
    uint8_t reserved0;
    le16 src_node;
    le16 dst_node;
    le64 src_incarnation;
    le64 dst_incarnation;
    le32 src_epoch;
    le32 dst_epoch;
    uint8_t type;
    uint8_t flags;
    le16 route; /* 0: of the cable that it travels; else passed on by forwarders */
    le32 length;
    le32 seq;
    le32 ack;
    le32 flipc_ack;
    le32 flipc_credit;
    le32 payload_crc;
    le32 header_crc;
};

#define TRAIN_FLAG_PAYLOAD_CRC 1u
#define TRAIN_FLAG_REPLAY 2u

struct train_record {
    le32 version_min;
    le32 version_max;
    uint8_t byte_order;
    uint8_t data_model;
    le16 flags;
    le32 mtu;
    le32 message_max;
    le32 nodes_max;
    le32 window;
    le32 reserved;
    le64 keepalive_ns;
    le64 link_down_after_ns;
    le64 dead_after_ns;
    le64 ack_delay_ns;
    le32 ack_count;
    le32 flipc_next;
    le64 clock_ns;
    le64 echo_clock_ns;
    le64 echo_received_ns;
    le64 capabilities;
};

struct refuse_record {
    le32 reason; /* enum link_refusal */
    le32 reserved;
    le64 incarnation;
};

#define CABLE_DIRECTION_TX 1u
#define CABLE_DIRECTION_RX 2u

struct cable_record_frame {
    le32 direction; /* CABLE_DIRECTION_*, of the receiving end */
    le32 carrier;
    le32 generation;
    le32 flags; /* bit 0: bytes may change on the way */
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
    LINK_DROP_NOT_FORWARDED = 18,
    LINK_DROP_COUNT = 19, /* size of counter tables */
};

enum node_death_cause {
    NODE_DEATH_HOST = 1,        /* node 0 said so */
    NODE_DEATH_INCARNATION = 2, /* a larger incarnation trained */
    NODE_DEATH_SILENCE = 3,     /* dead_after_ns without a link */
    NODE_DEATH_DRIVER = 4,      /* its link driver ended it: mnl_terminate() */
    NODE_DEATH_LEFT = 5,        /* it said so itself */
};

_Static_assert(sizeof(struct frame_header) == FRAME_HEADER_SIZE, "frame header");
_Static_assert(__builtin_offsetof(struct frame_header, type) == FRAME_CONSTANT_SIZE,
               "constant part");
_Static_assert(__builtin_offsetof(struct frame_header, route) == 34, "route");
_Static_assert(__builtin_offsetof(struct frame_header, header_crc) == 60, "header CRC is last");
_Static_assert(sizeof(struct train_record) == 104, "training record");
_Static_assert(sizeof(struct refuse_record) == 16, "refuse record");
_Static_assert(sizeof(struct cable_record_frame) == 16, "cable record");

#endif
