/* SPDX-License-Identifier: MIT
 *
 * Bodies of the messages that kernel services understand. Specified in docs/spec/flipc.md,
 * section 4.
 */
#ifndef ABI_SERVICES_H
#define ABI_SERVICES_H

#include "blackbox.h"
#include "frame.h"
#include <kernel/little_endian.h>
#include <stdint.h>

#define SERVICE_REPLY_OFFSET 100

enum kernel_request {
    KERNEL_ECHO = 2000,
    KERNEL_PING = 2001,
    KERNEL_STATISTICS = 2002,
    KERNEL_LOOKUP = 2003,
    KERNEL_PANIC = 2004,
    KERNEL_HANG = 2005,
    KERNEL_PING_PORT = 2006,
};

enum traffic_request {
    TRAFFIC_DATA = 2200,
    TRAFFIC_START = 2201,
    TRAFFIC_STOP = 2202,
    TRAFFIC_LEDGER = 2203,
    TRAFFIC_CLOSE = 2204,
};

enum raw_service {
    RAW_PINGPONG = 2300,
    RAW_STREAM = 2301,
};

enum node_request {
    NODE_REGISTER = 2700,
    NODE_UNREGISTER = 2701,
    NODE_LOOKUP = 2702,
};

/* A registration message, from the kernel to the bootstrap port. */
#define NODE_REGISTRATION_ID 0x45444f4e

enum node_registration {
    NODE_REGISTRATION_LOCAL = 0, /* this node */
    NODE_REGISTRATION_REMOTE =
        1,                      /* another: its reply right is one to that node's bootstrap port */
    NODE_REGISTRATION_GONE = 2, /* another: it died, or its bootstrap port did */
};

struct node_registration_body {
    le32 identifier; /* enum node_registration */
    le32 options;    /* 0 */
    le32 node_id;
    uint8_t data_model;
    uint8_t byte_order;
    uint8_t reserved[2];
};

#define SERVICE_NAME_SIZE 32u

/* With one send right, for REGISTER. */
struct node_service_request {
    char name[SERVICE_NAME_SIZE]; /* NUL-padded */
};

#define NODE_LOOKUP_ANY 0xffffffffu

struct node_lookup_request {
    char name[SERVICE_NAME_SIZE]; /* NUL-padded */
    le32 node_id;                 /* whose service, or NODE_LOOKUP_ANY */
    le32 origin; /* 0; between node servers: 1 + id of the node that was asked first */
};

enum fault_request {
    FAULT_LOG = 2600,
    FAULT_GIVE_UP = 2601,
    FAULT_HANG = 2602,
    FAULT_WRITE_NOWHERE = 2603,
    FAULT_WRITE_CODE = 2604,
    FAULT_RUN_DATA = 2605,
};

struct service_status {
    le32 status; /* 0 or a negative enum error */
    le32 reserved;
};

struct ping_request {
    le32 node_id;
    le32 count;
    le32 size_bytes;
    le32 reserved;
    le64 timeout_ns;
};

struct ping_port_request {
    le64 port_name;
    le32 count;
    le32 size_bytes;
    le64 timeout_ns;
};

struct ping_reply {
    struct service_status status;
    le32 answered;
    le32 reserved;
    le64 total_ns;
    le64 min_ns;
    le64 max_ns;
};

#define STATISTICS_NODE 0u
#define STATISTICS_LINK 1u

struct statistics_request {
    le32 kind;
    le32 index;
};

/* The wire forms of kernel/statistics.h. */
struct node_statistics_body {
    le64 uptime_ns;
    le64 heap_used_bytes;
    le64 heap_peak_bytes;
    le64 heap_size_bytes;
    le64 ports;
    le64 messages; /* kmsgs allocated now */
    le64 names;    /* entries of the name table */
    le64 nodes;    /* incarnations alive or still referenced */
    le64 sent;     /* FLIPC messages given a sequence number */
    le64 settled;
    le64 failed;
    le64 unknown;
    le64 received;
    le64 refused;
    le64 duplicates; /* FLIPC duplicates dropped after a resend */
    le64 deaths;     /* incarnations declared dead */
};

struct link_statistics_body {
    le32 peer;
    le32 state; /* bit 0 rx up, bit 1 tx up */
    le32 epoch;
    le32 peer_epoch;
    le64 trained;
    le64 tx_frames;
    le64 tx_data_frames;
    le64 tx_bytes;
    le64 rx_frames;
    le64 rx_data_frames;
    le64 rx_bytes;
    le64 replays;
    le64 naks;
    le64 round_trip_ns; /* of the last training; 0 unknown */
    le64 forwarded;     /* frames of routes that came by this link and were passed on */
    le64 drops[LINK_DROP_COUNT];
};

struct lookup_request {
    char name[32];
};

struct lookup_reply {
    struct service_status status;
    le64 port_name;
};

#define TRAFFIC_MAGIC 0x46525448u
#define TRAFFIC_CHECK_HEADER 0u
#define TRAFFIC_CHECK_CONTENT 1u
#define TRAFFIC_RIGHTS_MAXIMUM 4u

struct traffic_header {
    le32 magic;
    le32 check;
    le64 stream_id;
    le64 sequence;
    le64 source_incarnation;
    le64 seed;
    le64 hash;
};

struct traffic_start_request {
    le64 stream_id;
    le64 destination;
    le32 size_bytes;
    le32 window;
    le64 count;
    le64 interval_ns;
    le64 seed;
    le32 check;
    le32 rights;
};

struct traffic_stop_request {
    le64 stream_id;
    le64 timeout_ns;
};

struct traffic_stop_reply {
    struct service_status status;
    struct blackbox_ledger ledger;
    le64 elapsed_ns;
};

struct traffic_ledger_request {
    le64 stream_id;
    le32 role; /* enum blackbox_ledger_role */
    le32 reserved;
};

struct traffic_ledger_reply {
    struct service_status status;
    struct blackbox_ledger ledger;
};

enum raw_role {
    RAW_ROLE_ACTIVE = 0,  /* sends first (RAW_PINGPONG), produces (RAW_STREAM) */
    RAW_ROLE_PASSIVE = 1, /* answers, consumes */
};

#define RAW_SIZE_MINIMUM 8u
#define RAW_SIZE_MAXIMUM 65536u

struct raw_request {
    le32 link_index; /* of a link with use:raw */
    le32 role;       /* enum raw_role */
    le32 size_bytes; /* of each record, RAW_SIZE_MINIMUM .. RAW_SIZE_MAXIMUM */
    le32 reserved;
    le64 count; /* records (RAW_STREAM) or round trips (RAW_PINGPONG), at least 1 */
    le64 timeout_ns;
};

enum hostile_service {
    HOSTILE_GARBAGE = 2400,
};

/* Where server `hostile` writes; any of them together. */
enum hostile_part {
    HOSTILE_RECORDS = 1,  /* records that its driver never wrote */
    HOSTILE_PRODUCER = 2, /* the producer's words of its own ring */
    HOSTILE_CONSUMER = 4, /* the consumer's words of the ring that it reads */
    HOSTILE_PEER = 8,     /* the words that are the peer's to write */
};

#define HOSTILE_ALL 15u
#define HOSTILE_DURATION_MAXIMUM_NS 60000000000ull

struct hostile_request {
    le32 link_index; /* of a shared-memory link in use */
    le32 parts;      /* bits of enum hostile_part */
    le64 seed;
    le64 duration_ns; /* 1 .. HOSTILE_DURATION_MAXIMUM_NS */
    le64 interval_ns; /* between two writes, at least 1 */
};

struct hostile_reply {
    struct service_status status;
    le64 words; /* written */
};

struct raw_reply {
    struct service_status status;
    le64 total_ns; /* from the first record to the last */
    le64 min_ns;   /* per round trip, means of 16 in a row; 0 for RAW_STREAM */
    le64 max_ns;
};

_Static_assert(sizeof(struct hostile_request) == 32, "hostile request");
_Static_assert(sizeof(struct hostile_reply) == 16, "hostile reply");
_Static_assert(sizeof(struct raw_request) == 32, "raw request");
_Static_assert(sizeof(struct raw_reply) == 32, "raw reply");
_Static_assert(sizeof(struct ping_reply) == 40, "ping reply");
_Static_assert(sizeof(struct node_statistics_body) == 128, "node statistics");
_Static_assert(sizeof(struct link_statistics_body) == 104 + 8 * LINK_DROP_COUNT, "link statistics");
_Static_assert(sizeof(struct traffic_header) == 48, "traffic header");
_Static_assert(sizeof(struct traffic_start_request) == 56, "start request");

#endif
