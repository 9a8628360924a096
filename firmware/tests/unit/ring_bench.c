/* SPDX-License-Identifier: MIT
 *
 * A ring on the bench; see ring_bench.h. A frame is its number, then bytes that follow from number
 * and position.
 */
#include "ring_bench.h"
#include "unit.h"
#include <stdlib.h>
#include <string.h>

uint64_t ring_bench_random(struct ring_bench *bench)
{
    uint64_t x = bench->random;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    bench->random = x;
    return x;
}

void ring_bench_create(struct ring_bench *bench, uint32_t size, uint64_t seed)
{
    struct cable_ring_control *control = aligned_alloc(64, sizeof(*control));
    uint8_t *data = aligned_alloc(64, size);

    REQUIRE(control != NULL && data != NULL);
    memset(bench, 0, sizeof(*bench));
    bench->random = seed * 0x9e3779b97f4a7c15u + 1;
    for (size_t i = 0; i < sizeof(*control); i++)
        ((uint8_t *)control)[i] = (uint8_t)(ring_bench_random(bench) >> 32);
    for (uint32_t i = 0; i < size; i++)
        data[i] = (uint8_t)(ring_bench_random(bench) >> 32);
    bench->memory = (struct ring_memory){control, data, size};
}

void ring_bench_destroy(struct ring_bench *bench)
{
    free(bench->memory.control);
    free(bench->memory.data);
}

void ring_bench_start(struct ring_bench *bench, uint32_t session)
{
    ring_consumer_open(&bench->consumer, &bench->memory, BENCH_GENERATION, BENCH_FRAME_MINIMUM,
                       BENCH_FRAME_MAXIMUM);
    ring_producer_start(&bench->producer, &bench->memory, session, BENCH_GENERATION);
    REQUIRE(ring_consumer_session_changed(&bench->consumer));
    REQUIRE(ring_consumer_follow(&bench->consumer));
    REQUIRE(ring_producer_followed(&bench->producer));
}

static uint8_t content(uint64_t number, uint32_t position)
{
    return (uint8_t)(number * 31 + position);
}

int ring_bench_write(struct ring_bench *bench, uint64_t number, uint32_t length, uint32_t keep_free)
{
    uint8_t *frame;
    int error = ring_producer_reserve(&bench->producer, length, keep_free, &frame);

    if (error != 0)
        return error;
    memcpy(frame, &number, sizeof(number));
    for (uint32_t i = sizeof(number); i < length; i++)
        frame[i] = content(number, i);
    ring_producer_commit(&bench->producer, length);
    return 0;
}

bool ring_bench_read(struct ring_bench *bench, uint64_t *number)
{
    const uint8_t *frame;
    uint32_t length;
    int found = ring_consumer_next(&bench->consumer, &frame, &length);

    EXPECT(found >= 0);
    if (found <= 0)
        return false;
    memcpy(number, frame, sizeof(*number));
    for (uint32_t i = sizeof(*number); i < length; i++)
        if (frame[i] != content(*number, i))
            EXPECT(!"the frame is as it was written");
    ring_consumer_release(&bench->consumer);
    ring_consumer_publish(&bench->consumer);
    return true;
}
