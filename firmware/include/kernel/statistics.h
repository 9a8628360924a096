/* SPDX-License-Identifier: MIT
 *
 * What a node and each of its links count, as the kernel itself handles it: native words. The form
 * in which an answer to STATISTICS carries them is in abi/services.h.
 */
#ifndef KERNEL_STATISTICS_H
#define KERNEL_STATISTICS_H

#include <abi/frame.h>
#include <stdint.h>

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
    uint64_t forwarded;     /* frames of routes that came by this link and were passed on */
    uint64_t drops[LINK_DROP_COUNT];
};

#endif
