/* SPDX-License-Identifier: MIT
 *
 * What a cable does to the frames in it. Each frame that suffers is a receipt: it is counted under
 * its fault's kind, and a fault that touched no frame did not happen.
 */
#include "arch/sim/fiber.h"
#include "network.h"

#include <string.h>

static bool strikes(const struct sim_damage *damage, uint32_t kind)
{
    uint32_t rate = damage->rates[kind];

    if (rate == 0 || fiber_random() % 1000u >= rate) {
        return false;
    }
    sim.result->fired[kind]++;
    return true;
}

/* A few bits, anywhere; or a whole field of the header. */
static void corrupt(struct sim_frame *frame)
{
    uint32_t flips = 1u + (uint32_t)fiber_random() % 3u;

    while (flips-- != 0) {
        uint64_t value = fiber_random();
        uint32_t range = (value & 1u) != 0 ? FRAME_HEADER_SIZE : frame->length;

        frame->bytes[(value >> 8) % range] ^= (uint8_t)(1u << (value >> 1) % 8u);
    }
}

static void truncate(struct sim_frame *frame)
{
    frame->length =
        FRAME_HEADER_SIZE + (uint32_t)(fiber_random() % (frame->length - FRAME_HEADER_SIZE + 1u));
}

/* Bytes that nobody sent; half of them begin like a frame. */
static void fill_with_junk(struct sim_frame *frame)
{
    uint64_t value = fiber_random();

    frame->length = FRAME_HEADER_SIZE + (uint32_t)(value % 128u);
    for (uint32_t i = 0; i < frame->length; i += 8) {
        uint64_t word = fiber_random();

        memcpy(frame->bytes + i, &word, sizeof(word));
    }
    if ((value >> 32 & 1u) != 0) {
        struct frame_header *header = (struct frame_header *)(void *)frame->bytes;

        header->magic = le16_of(FRAME_MAGIC);
        header->version = FRAME_VERSION;
    }
}

static uint16_t copy_of(const struct sim_frame *frame)
{
    uint16_t copy = frame_take();

    if (copy != FRAME_NONE) {
        struct sim_frame *to = frame_at(copy);

        to->arrival_ns = frame->arrival_ns;
        to->length = frame->length;
        to->is_of_cable = false;
        memcpy(to->bytes, frame->bytes, frame->length);
    }
    return copy;
}

/* The same bytes once more, some time after. */
static void send_again_later(struct sim_direction *direction, const struct sim_frame *frame)
{
    uint16_t copy = copy_of(frame);

    if (copy == FRAME_NONE) {
        return;
    }
    frame_at(copy)->arrival_ns += fiber_random() % (direction->damage.stale_ns + 1u);
    queue_insert(direction, copy);
}

/* Into the queue, in order but where the cable says otherwise. */
static void put(struct sim_direction *direction, uint16_t index)
{
    const struct sim_damage *damage = &direction->damage;
    struct sim_frame *frame = frame_at(index);

    if (direction->count != 0 && strikes(damage, SIM_FAULT_REORDER)) {
        queue_insert_before_last(direction, index);
        return;
    }
    queue_insert(direction, index);
    if (strikes(damage, SIM_FAULT_DUPLICATE)) {
        uint16_t copy = copy_of(frame);

        if (copy != FRAME_NONE) {
            queue_insert(direction, copy);
        }
    }
    if (strikes(damage, SIM_FAULT_STALE)) {
        send_again_later(direction, frame);
    }
    if (strikes(damage, SIM_FAULT_JUNK)) {
        uint16_t junk = frame_take();

        if (junk != FRAME_NONE) {
            frame_at(junk)->arrival_ns = direction->last_arrival_ns;
            frame_at(junk)->is_of_cable = false;
            fill_with_junk(frame_at(junk));
            queue_insert(direction, junk);
        }
    }
}

static uint64_t arrival_of(uint32_t link, struct sim_direction *direction, uint64_t now_ns)
{
    const struct sim_damage *damage = &direction->damage;
    uint64_t arrival_ns = now_ns + sim.settings->links[link].latency_ns + damage->delay_ns;

    if (damage->jitter_ns != 0) {
        arrival_ns += fiber_random() % damage->jitter_ns;
    }
    sim.result->fired[SIM_FAULT_DELAY] += damage->delay_ns != 0;
    sim.result->fired[SIM_FAULT_JITTER] += damage->jitter_ns != 0;
    sim.result->fired[SIM_FAULT_JAM] += damage->jams != 0;
    if (arrival_ns < direction->last_arrival_ns) {
        arrival_ns = direction->last_arrival_ns;
    }
    direction->last_arrival_ns = arrival_ns;
    return arrival_ns;
}

void damage_send(uint32_t link, uint32_t from, const void *header, const void *payload,
                 size_t payload_bytes, uint64_t now_ns)
{
    struct sim_direction *direction = &sim_cables[link].directions[from];
    const struct sim_damage *damage = &direction->damage;
    struct sim_frame *frame;
    uint16_t index;

    if (damage->mutes != 0) {
        sim.result->fired[SIM_FAULT_MUTE]++;
        return;
    }
    if (strikes(damage, SIM_FAULT_LOSS)) {
        return;
    }
    index = frame_take();
    if (index == FRAME_NONE) {
        return; /* the pool is for all; a stream may lose frames, a ring is bounded below it */
    }
    frame = frame_at(index);
    frame->is_of_cable = false;
    frame->length = (uint32_t)(FRAME_HEADER_SIZE + payload_bytes);
    frame->arrival_ns = arrival_of(link, direction, now_ns);
    memcpy(frame->bytes, header, FRAME_HEADER_SIZE);
    if (payload_bytes != 0) {
        memcpy(frame->bytes + FRAME_HEADER_SIZE, payload, payload_bytes);
    }
    if (strikes(damage, SIM_FAULT_CORRUPT)) {
        corrupt(frame);
    }
    if (payload_bytes != 0 && strikes(damage, SIM_FAULT_TRUNCATE)) {
        truncate(frame);
    }
    put(direction, index);
}
