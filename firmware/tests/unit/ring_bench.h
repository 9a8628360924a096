/* SPDX-License-Identifier: MIT
 *
 * A ring on the bench: memory, both ends, and frames whose content tells which they are. Shared by
 * the ring's tests.
 */
#ifndef RING_BENCH_H
#define RING_BENCH_H

#include "phys/ivshmem/ring.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_GENERATION 3u
#define BENCH_FRAME_MINIMUM 8u
#define BENCH_FRAME_MAXIMUM 1000u

struct ring_bench {
    struct ring_memory
        memory; /* its own heap block each, so that the address sanitizer sees the bounds */
    struct ring_producer producer;
    struct ring_consumer consumer;
    uint64_t random;
};

/* A ring of `size` data bytes, all of it random: nobody clears the memory of a cable. Neither end
 * is started. */
void ring_bench_create(struct ring_bench *bench, uint32_t size, uint64_t seed);
void ring_bench_destroy(struct ring_bench *bench);
uint64_t ring_bench_random(struct ring_bench *bench);

/* Both ends in step, in session `session`. */
void ring_bench_start(struct ring_bench *bench, uint32_t session);

/* Put frame `number` of `length` bytes into the ring (not published). What ring_producer_reserve()
 * returned. */
int ring_bench_write(struct ring_bench *bench, uint64_t number, uint32_t length,
                     uint32_t keep_free);

/* Take the next frame out and give its room back: its number, after checking every byte. False:
 * there is none. */
bool ring_bench_read(struct ring_bench *bench, uint64_t *number);

#endif
