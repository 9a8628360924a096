/* SPDX-License-Identifier: MIT
 *
 * Boot: from the boot area of RAM (docs/spec/boot.md) to the configuration that kernel_main()
 * starts from. The two functions that read the area are pure, so they are tested and fuzzed on the
 * host.
 */
#ifndef KERNEL_BOOT_H
#define KERNEL_BOOT_H

#include <abi/boot.h>
#include <kernel/error.h>
#include <stdbool.h>
#include <stdint.h>

#define BOOT_NAME_SIZE 32u /* names have at most 31 characters and end in NUL */
#define BOOT_LINKS_MAXIMUM 64u
#define BOOT_TRANSITS_MAXIMUM 256u
#define BOOT_SERVERS_SIZE 1024u

enum boot_link_kind {
    BOOT_LINK_IVSHMEM,
    BOOT_LINK_VIRTIO_SERIAL,
    BOOT_LINK_ROUTE, /* no cable of its own: a path over other nodes */
};

enum boot_link_use {
    BOOT_LINK_USE_LINK,   /* a link of the link manager */
    BOOT_LINK_USE_RAW,    /* left to the raw_ring server */
    BOOT_LINK_USE_DRIVER, /* left to the kernel server called `driver`, the sole link of its peer */
};

enum boot_idle {
    BOOT_IDLE_HALT,
    BOOT_IDLE_POLL,
};

enum boot_trace {
    BOOT_TRACE_DIGESTS,
    BOOT_TRACE_MESSAGES,
};

struct boot_link {
    char name[BOOT_NAME_SIZE];
    enum boot_link_kind kind;
    enum boot_link_use use;
    uint32_t slot;    /* PCI device number on bus 0, below 32 */
    uint32_t peer;    /* node id of the other end */
    uint32_t version; /* of the link protocol, to offer in training; 0: FRAME_VERSION */
    bool payload_crc;
    bool replay;
    uint32_t via;                /* of a route: index of the link over which it starts */
    uint32_t route;              /* its number; 0: not a route */
    char driver[BOOT_NAME_SIZE]; /* empty unless `use` says so */
};

/* A route that this node passes on: frames between two nodes that come by one of two links leave by
 * the other. */
struct boot_transit {
    uint16_t route;
    uint16_t ends[2]; /* node ids */
    uint8_t links[2]; /* indices of the links towards these */
};

struct boot_configuration {
    uint32_t node_id;
    char node_name[BOOT_NAME_SIZE];
    uint64_t incarnation; /* launch << 32 | boot count */
    uint32_t launch;
    uint32_t boot_count;
    uint64_t seed;
    uint32_t nodes_max;
    uint32_t window;
    uint64_t keepalive_ns;
    uint64_t link_down_after_ns;
    uint64_t dead_after_ns;
    uint64_t ack_delay_ns;
    uint32_t ack_count;
    enum boot_idle idle;
    uint64_t poll_ns;
    enum boot_trace trace;
    char servers[BOOT_SERVERS_SIZE]; /* names separated by one blank */
    uint32_t link_count;
    struct boot_link links[BOOT_LINKS_MAXIMUM]; /* in the order of link indices */
    uint32_t transit_count;
    struct boot_transit transits[BOOT_TRANSITS_MAXIMUM];
    uint32_t unknown_keys; /* keys and attributes of a newer orchestrator, ignored */
};

/* Parse a boot page. `page` is a private copy that nobody else writes. Fills everything of
 * `*configuration` except boot_count and incarnation. Returns 0, or ERROR_GARBAGE with `*reason`
 * saying which rule is broken. */
MUST_CHECK int boot_page_parse(const struct boot_page *page,
                               struct boot_configuration *configuration, const char **reason);

/* Raise the boot count kept in `record` and return the new count; an invalid record counts as 0. */
uint32_t boot_count_raise(struct boot_count *record);

/* What runs after the machine layer is up: the first thread, on a guest's own stack.
 * `configuration` lives for ever. When it returns the machine powers off. */
void kernel_main(const struct boot_configuration *configuration);

#endif
