/* SPDX-License-Identifier: MIT
 *
 * Bodies of the messages that kernel services understand. Specified in docs/spec/flipc.md,
 * section 4.
 */
#ifndef ABI_SERVICES_H
#define ABI_SERVICES_H

#include "blackbox.h"
#include "frame.h"
#include <stdint.h>

#define SERVICE_REPLY_OFFSET 100

enum kernel_request {
    KERNEL_ECHO = 2000,
    KERNEL_PING = 2001,
    KERNEL_STATISTICS = 2002,
    KERNEL_LOOKUP = 2003,
    KERNEL_PANIC = 2004,
    KERNEL_HANG = 2005,
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

struct service_status {
    int32_t status; /* 0 or a negative enum error */
    uint32_t reserved;
};

struct ping_request {
    uint32_t node_id;
    uint32_t count;
    uint32_t size_bytes;
    uint32_t reserved;
    uint64_t timeout_ns;
};

struct ping_reply {
    struct service_status status;
    uint32_t answered;
    uint32_t reserved;
    uint64_t total_ns;
    uint64_t min_ns;
    uint64_t max_ns;
};

#define STATISTICS_NODE 0u
#define STATISTICS_LINK 1u

struct statistics_request {
    uint32_t kind;
    uint32_t index;
};

struct node_statistics {
    uint64_t uptime_ns;
    uint64_t heap_used_bytes;
    uint64_t heap_peak_bytes;
    uint64_t heap_size_bytes;
    uint64_t ports;
    uint64_t messages; /* kmsgs allocated now */
    uint64_t names;    /* entries of the name table */
    uint64_t nodes;    /* incarnations alive or still referenced */
    uint64_t sent;     /* FLIPC messages given a sequence number */
    uint64_t settled;
    uint64_t failed;
    uint64_t unknown;
    uint64_t received;
    uint64_t refused;
    uint64_t duplicates; /* FLIPC duplicates dropped after a resend */
    uint64_t deaths;     /* incarnations declared dead */
};

struct link_statistics {
    uint32_t peer;
    uint32_t state; /* bit 0 rx up, bit 1 tx up */
    uint32_t epoch;
    uint32_t peer_epoch;
    uint64_t trained;
    uint64_t tx_frames;
    uint64_t tx_data_frames;
    uint64_t tx_bytes;
    uint64_t rx_frames;
    uint64_t rx_data_frames;
    uint64_t rx_bytes;
    uint64_t replays;
    uint64_t naks;
    uint64_t round_trip_ns; /* of the last training; 0 unknown */
    uint64_t drops[LINK_DROP_COUNT];
};

struct lookup_request {
    char name[32];
};

struct lookup_reply {
    struct service_status status;
    uint64_t port_name;
};

#define TRAFFIC_MAGIC 0x46525448u
#define TRAFFIC_CHECK_HEADER 0u
#define TRAFFIC_CHECK_CONTENT 1u

struct traffic_header {
    uint32_t magic;
    uint32_t check;
    uint64_t stream_id;
    uint64_t sequence;
    uint64_t source_incarnation;
    uint64_t seed;
    uint64_t hash;
};

struct traffic_start_request {
    uint64_t stream_id;
    uint64_t destination;
    uint32_t size_bytes;
    uint32_t window;
    uint64_t count;
    uint64_t interval_ns;
    uint64_t seed;
    uint32_t check;
    uint32_t reserved;
};

struct traffic_stop_request {
    uint64_t stream_id;
    uint64_t timeout_ns;
};

struct traffic_stop_reply {
    struct service_status status;
    struct blackbox_ledger ledger;
    uint64_t elapsed_ns;
};

struct traffic_ledger_request {
    uint64_t stream_id;
    uint32_t role; /* enum blackbox_ledger_role */
    uint32_t reserved;
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
    uint32_t link_index; /* of a link with use:raw */
    uint32_t role;       /* enum raw_role */
    uint32_t size_bytes; /* of each record, RAW_SIZE_MINIMUM .. RAW_SIZE_MAXIMUM */
    uint32_t reserved;
    uint64_t count; /* records (RAW_STREAM) or round trips (RAW_PINGPONG), at least 1 */
    uint64_t timeout_ns;
};

struct raw_reply {
    struct service_status status;
    uint64_t total_ns; /* from the first record to the last */
    uint64_t min_ns;   /* per round trip, means of 16 in a row; 0 for RAW_STREAM */
    uint64_t max_ns;
};

_Static_assert(sizeof(struct raw_request) == 32, "raw request");
_Static_assert(sizeof(struct raw_reply) == 32, "raw reply");
_Static_assert(sizeof(struct ping_reply) == 40, "ping reply");
_Static_assert(sizeof(struct node_statistics) == 128, "node statistics");
_Static_assert(sizeof(struct link_statistics) == 96 + 8 * LINK_DROP_COUNT, "link statistics");
_Static_assert(sizeof(struct traffic_header) == 48, "traffic header");
_Static_assert(sizeof(struct traffic_start_request) == 56, "start request");

#endif
