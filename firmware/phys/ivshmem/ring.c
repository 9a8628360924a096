/* SPDX-License-Identifier: MIT
 *
 * The ring of docs/spec/cable.md, producing and consuming end. See ring.h for the words and invariants, kernel/shared.h
 * for why the loads and stores are ordered as they are.
 *
 * head and tail count bytes modulo 2^32 and never lie more than `size` apart. A record never wraps: when it does not fit
 * before the end of the ring, a marker skips to offset 0. Offsets are multiples of 8, so a marker always fits.
 */
#include "ring.h"

static struct cable_record *record_at(const struct ring_memory *memory, uint32_t count)
{
    uint8_t *address = memory->data + (count & (memory->size - 1));

    return (struct cable_record *)__builtin_assume_aligned(address, CABLE_RECORD_ALIGN);
}

static uint32_t contiguous_bytes(const struct ring_memory *memory, uint32_t count)
{
    return memory->size - (count & (memory->size - 1));
}

/* Sleep words; see ring.h. */
static bool is_asleep(uint32_t sleep_word)
{
    return sleep_word % 2 != 0;
}

static uint32_t asleep(uint32_t sleep_word)
{
    return sleep_word | 1;
}

static uint32_t awake(uint32_t sleep_word)
{
    return sleep_word + sleep_word % 2;
}

/* The old session ends before head goes back to 0: a consumer that sees the new head can then no longer take it for the old
 * session's. */
void ring_producer_start(struct ring_producer *producer, const struct ring_memory *memory,
                         uint32_t session)
{
    struct cable_ring_control *control = memory->control;

    *producer = (struct ring_producer){
        .memory = *memory,
        .session = session,
        .asking = awake(shared_load32(&control->space_wanted)),
    };
    shared_store32(&control->session, 0);
    shared_store32_release(&control->head, 0);
    shared_store32(&control->space_wanted, producer->asking);
    shared_store32_release(&control->session, session);
}

void ring_producer_stop(struct ring_producer *producer)
{
    shared_store32_release(&producer->memory.control->session, 0);
    producer->session = 0;
}

/* Take the consumer's tail over if it moved forward within what was published. */
static int refresh_tail(struct ring_producer *producer)
{
    uint32_t tail = shared_load32_acquire(&producer->memory.control->tail);

    if (tail - producer->tail > producer->published - producer->tail)
        return ERROR_GARBAGE;
    if (tail % CABLE_RECORD_ALIGN != 0)
        return ERROR_GARBAGE;
    producer->tail = tail;
    return 0;
}

static uint32_t free_bytes(const struct ring_producer *producer)
{
    return producer->memory.size - (producer->head - producer->tail);
}

int ring_producer_reserve(struct ring_producer *producer, uint32_t length, uint32_t keep_free,
                          uint8_t **frame)
{
    uint32_t span = ring_record_span(length);
    uint32_t contiguous = contiguous_bytes(&producer->memory, producer->head);
    uint32_t skipped = span > contiguous ? contiguous : 0;
    uint32_t needed = skipped + span + keep_free;

    if (free_bytes(producer) < needed) {
        int error = refresh_tail(producer);

        if (error != 0)
            return error;
        if (free_bytes(producer) < needed) {
            producer->wants = needed;
            return ERROR_FULL;
        }
    }
    producer->wants = 0;
    if (skipped != 0) {
        shared_store32(&record_at(&producer->memory, producer->head)->length, CABLE_RECORD_WRAP);
        producer->head += skipped;
    }
    *frame = (uint8_t *)(record_at(&producer->memory, producer->head) + 1);
    return 0;
}

void ring_producer_commit(struct ring_producer *producer, uint32_t length)
{
    struct cable_record *record = record_at(&producer->memory, producer->head);

    shared_store32(&record->length, length);
    shared_store32(&record->reserved, 0);
    producer->head += ring_record_span(length);
}

bool ring_producer_must_wake(struct ring_producer *producer)
{
    uint32_t armed;

    shared_fence_full();
    armed = shared_load32(&producer->memory.control->armed);
    if (!is_asleep(armed) || armed == producer->rung)
        return false;
    producer->rung = armed;
    return true;
}

bool ring_producer_has_room(struct ring_producer *producer)
{
    return producer->wants != 0 &&
           (refresh_tail(producer) != 0 || free_bytes(producer) >= producer->wants);
}

void ring_producer_ask_room(struct ring_producer *producer)
{
    if (producer->wants == 0)
        return;
    producer->asking = asleep(producer->asking);
    shared_store32(&producer->memory.control->space_wanted, producer->asking);
}

void ring_producer_awake(struct ring_producer *producer)
{
    producer->asking = awake(producer->asking);
    shared_store32(&producer->memory.control->space_wanted, producer->asking);
}

void ring_consumer_open(struct ring_consumer *consumer, const struct ring_memory *memory,
                        uint32_t length_minimum, uint32_t length_maximum)
{
    *consumer = (struct ring_consumer){
        .memory = *memory,
        .length_minimum = length_minimum,
        .length_maximum = length_maximum,
        .armed = awake(shared_load32(&memory->control->armed)),
    };
}

/* session_seen is ours alone, so it tells what a former life of this end followed. (A peer that writes there can only
 * make its own frames garbage.) */
bool ring_consumer_follow(struct ring_consumer *consumer)
{
    struct cable_ring_control *control = consumer->memory.control;
    uint32_t session = shared_load32_acquire(&control->session);
    uint32_t tail = 0;

    consumer->session = 0;
    consumer->span = 0;
    if (session == 0 || session == consumer->refused)
        return false;
    if (shared_load32(&control->session_seen) == session)
        tail = shared_load32_acquire(&control->head) & ~(CABLE_RECORD_ALIGN - 1);
    consumer->session = session;
    consumer->refused = 0;
    consumer->head = tail;
    consumer->tail = tail;
    consumer->published = tail;
    shared_store32(&control->tail, tail);
    shared_store32_release(&control->session_seen, session);
    return true;
}

void ring_consumer_refuse(struct ring_consumer *consumer)
{
    consumer->refused = consumer->session;
    consumer->session = 0;
    consumer->span = 0;
    shared_store32_release(&consumer->memory.control->session_seen, 0);
}

/* Look at the producer's head once. 1: there is something; 0; ERROR_GARBAGE. */
static int refresh_head(struct ring_consumer *consumer)
{
    uint32_t head = shared_load32_acquire(&consumer->memory.control->head);
    uint32_t available = head - consumer->tail;

    if (available > consumer->memory.size || available % CABLE_RECORD_ALIGN != 0)
        return ERROR_GARBAGE;
    consumer->head = head;
    return available != 0;
}

int ring_consumer_next(struct ring_consumer *consumer, const uint8_t **frame, uint32_t *length)
{
    for (;;) {
        struct cable_record *record = record_at(&consumer->memory, consumer->tail);
        uint32_t contiguous = contiguous_bytes(&consumer->memory, consumer->tail);
        uint32_t available = consumer->head - consumer->tail;
        uint32_t record_length;

        if (available == 0) {
            int found = refresh_head(consumer);

            if (found <= 0)
                return found;
            available = consumer->head - consumer->tail;
        }
        record_length = shared_load32(&record->length);
        if (record_length == CABLE_RECORD_WRAP) {
            /* At offset 0 it would skip the whole ring: never written, and it would let a peer keep us in this loop. */
            if (contiguous == consumer->memory.size || contiguous > available)
                return ERROR_GARBAGE;
            consumer->tail += contiguous;
            continue;
        }
        if (record_length - consumer->length_minimum >
            consumer->length_maximum - consumer->length_minimum)
            return ERROR_GARBAGE;
        consumer->span = ring_record_span(record_length);
        if (consumer->span > available || consumer->span > contiguous)
            return ERROR_GARBAGE;
        *frame = (const uint8_t *)(record + 1);
        *length = record_length;
        return 1;
    }
}

bool ring_consumer_must_wake(struct ring_consumer *consumer)
{
    uint32_t wanted = shared_load32(&consumer->memory.control->space_wanted);

    if (!is_asleep(wanted) || wanted == consumer->answered)
        return false;
    consumer->answered = wanted;
    return true;
}

void ring_consumer_arm(struct ring_consumer *consumer)
{
    consumer->armed = asleep(consumer->armed);
    shared_store32(&consumer->memory.control->armed, consumer->armed);
}

void ring_consumer_disarm(struct ring_consumer *consumer)
{
    consumer->armed = awake(consumer->armed);
    shared_store32(&consumer->memory.control->armed, consumer->armed);
}
