/* SPDX-License-Identifier: MIT
 *
 * A shared-memory cable used bare: the same rings as the PHY driver's, without frames, link
 * protocol or doorbells. What the benchmark compares a message with. Both ends poll; nothing
 * sleeps.
 *
 * One thread a raw link. Every function that waits ends at its deadline, and yields now and then.
 */
#ifndef SERVERS_RAW_RING_RAW_LINK_H
#define SERVERS_RAW_RING_RAW_LINK_H

#include <abi/services.h>
#include <kernel/error.h>
#include <phys/ivshmem/cable.h>
#include <phys/ivshmem/device.h>
#include <phys/ivshmem/ring.h>
#include <stdbool.h>
#include <stdint.h>

struct raw_link {
    struct ivshmem_device device;
    struct cable_view tx_view;
    struct cable_view rx_view;
    struct ring_producer tx;
    struct ring_consumer rx;
    bool tx_open; /* a session is begun, followed or not */
    bool rx_open; /* the ring is known, a session followed or not */
    uint32_t session_base;
    uint32_t session_count;
    le64 *buffer; /* private memory records are copied from and to, RAW_SIZE_MAXIMUM bytes */
};

struct raw_run {
    uint32_t size_bytes;
    uint64_t count;
    uint64_t deadline_ns;
};

struct raw_result {
    uint64_t total_ns;
    uint64_t min_ns;
    uint64_t max_ns;
};

/* Open the cable in `slot` as the life `incarnation`. `buffer` is RAW_SIZE_MAXIMUM bytes, the
 * caller's. Returns 0 or what ivshmem_device_open() returns. */
int raw_link_open(struct raw_link *link, unsigned slot, uint64_t incarnation,
                  le64 *buffer) MUST_CHECK;

/* End what was begun with the other end; raw_link_wait() begins anew, in new sessions. */
void raw_link_restart(struct raw_link *link);
void raw_link_close(struct raw_link *link);

/* Wait until both directions are in step with the other end. Returns 0 or ERROR_TIMED_OUT. */
int raw_link_wait(struct raw_link *link, uint64_t deadline_ns) MUST_CHECK;

/* The measurements of abi/services.h, in the role given. The link is in step. Returns 0,
 * ERROR_TIMED_OUT, ERROR_DOWN (carrier or session changed) or ERROR_GARBAGE (a record that makes no
 * sense). After an error restart the link. */
int raw_pingpong(struct raw_link *link, enum raw_role role, const struct raw_run *run,
                 struct raw_result *result) MUST_CHECK;
int raw_stream(struct raw_link *link, enum raw_role role, const struct raw_run *run,
               struct raw_result *result) MUST_CHECK;

#endif
