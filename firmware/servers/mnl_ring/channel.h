/* SPDX-License-Identifier: MIT
 *
 * The device of mnl_ring: a shared-memory cable (docs/spec/cable.md) with a ring in each direction,
 * used bare. It moves records and says which sessions stand; what records mean is the link's affair.
 *
 * Two threads use a channel, one that follows it and reads, one that writes: they take turns under
 * the link's lock. Nothing here waits.
 */
#ifndef SERVERS_MNL_RING_CHANNEL_H
#define SERVERS_MNL_RING_CHANNEL_H

#include <phys/ivshmem/cable.h>
#include <phys/ivshmem/device.h>

#define CHANNEL_RECORD_MAXIMUM (16384u + 64u) /* bytes */

struct channel {
    struct ivshmem_device device;
    struct cable_view tx_view;
    struct cable_view rx_view;
    struct ring_producer tx;
    struct ring_consumer rx;
    bool tx_is_open; /* a session was begun, followed or not */
    bool rx_is_open; /* there is a ring to read, a session followed or not */
    bool tx_is_broken;
    uint32_t session_base;
    uint32_t session_last;
    uint32_t tx_session; /* of ours that the other end follows; 0: none */
    uint32_t rx_session; /* of the other end's that we follow; 0: none */
};

/* Open the cable in PCI slot `slot` as the life `incarnation`; `handler(context)` runs at each
 * doorbell. 0, or what ivshmem_device_open() returns. */
int channel_open(struct channel *channel, unsigned slot, uint64_t incarnation,
                 interrupt_handler handler, void *context) MUST_CHECK;
/* The other end learns that nobody writes and nobody reads here. */
void channel_leave(struct channel *channel);
void channel_close(struct channel *channel);

/* Look at the cable and at both sessions: tx_session and rx_session are true then. */
void channel_follow(struct channel *channel);
/* The other end breaks the rules of what it writes: read nothing more of what it began. */
void channel_refuse(struct channel *channel);

/* Write a record of two parts. `is_control`: it may use the room that is kept for such. 0, ERROR_FULL
 * or ERROR_DOWN. */
int channel_put(struct channel *channel, const void *head, size_t head_bytes, const void *body,
                size_t body_bytes, bool is_control) MUST_CHECK;
/* True once when there is room again for what was told ERROR_FULL. */
bool channel_found_room(struct channel *channel);

/* The next record, where it lies: the other end can still write it. 1, 0 (none) or ERROR_GARBAGE. */
int channel_next(struct channel *channel, const uint8_t **record, uint32_t *length) MUST_CHECK;
/* After the record was copied: was it the session's still? Then it is stepped over. */
bool channel_take(struct channel *channel);

/* Before sleeping: ask for a doorbell. True: there is something to do after all. */
bool channel_arm(struct channel *channel);
void channel_disarm(struct channel *channel);

#endif
