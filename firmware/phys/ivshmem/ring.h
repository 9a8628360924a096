/* SPDX-License-Identifier: MIT
 *
 * The two ends of one shared-memory ring (docs/spec/cable.md, abi/cable.h). Pure memory code: no
 * device, no doorbell, no clock, so it runs unchanged on a node and in a test. Not a PHY: who opens
 * a ring, and who is woken, is its owner's affair.
 *
 * Words. A *record* is one frame in the ring with its length before it. A *session* names one life
 * of the producer. A consumer *follows* a session from the moment it wrote it to session_seen.
 *
 * A *sleep word* (armed, space_wanted) is odd while its writer sleeps and goes up by one at each
 * change, so the other side rings once for each sleep, even across lives of the sleeper.
 *
 * Invariants. Each shared field has one writer. What decides what we do (head, tail, session)
 * stands in our own struct and is never read back from the ring; a word of the other side is loaded
 * once, checked, then used. `size` is a power of two, and two of the largest records and what is
 * kept free fit in it, so an empty ring takes any record.
 *
 * All functions: one thread a ring end; never wait; constant time but for copying.
 */
#ifndef PHYS_IVSHMEM_RING_H
#define PHYS_IVSHMEM_RING_H

#include <abi/cable.h>
#include <kernel/error.h>
#include <kernel/shared.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a ring lies. Both ends of it make one of these from the cable page, after checking it. */
struct ring_memory {
    struct cable_ring_control *control;
    uint8_t *data;
    uint32_t size; /* bytes of data, a power of two */
};

/* Ring bytes that a record of `length` bytes of frame takes. */
static inline uint32_t ring_record_span(uint32_t length)
{
    return (uint32_t)sizeof(struct cable_record) +
           ((length + CABLE_RECORD_ALIGN - 1) & ~(CABLE_RECORD_ALIGN - 1));
}

/* The record at byte count `count`, and the bytes from there to the end of the ring. */
static inline struct cable_record *ring_record_at(const struct ring_memory *memory, uint32_t count)
{
    uint8_t *address = memory->data + (count & (memory->size - 1));

    return (struct cable_record *)__builtin_assume_aligned(address, CABLE_RECORD_ALIGN);
}

static inline uint32_t ring_contiguous(const struct ring_memory *memory, uint32_t count)
{
    return memory->size - (count & (memory->size - 1));
}

/* --- Producer --------------------------------------------------------------------------------- */

struct ring_producer {
    struct ring_memory memory;
    uint32_t session;
    uint32_t head;      /* bytes produced, published or not */
    uint32_t published; /* what the control page says */
    uint32_t tail;      /* last tail of the consumer that was checked */
    uint32_t rung;      /* value of `armed` that a doorbell was rung for */
    uint32_t wants;     /* bytes the record needs that found no room; 0: none did */
    uint32_t asking;    /* what space_wanted says; odd: asking */
};

/* Begin session `session` (not 0, not used before on this ring) under generation `generation` of
 * the direction. Nothing may be written until the consumer follows it. The caller rings the
 * consumer's doorbell. */
void ring_producer_start(struct ring_producer *producer, const struct ring_memory *memory,
                         uint32_t session, uint32_t generation);

/* Do session and generation still stand where a consumer looks for them? What else could be wrong
 * with a session that nobody follows: a peer that writes everywhere. */
bool ring_producer_is_announced(const struct ring_producer *producer, uint32_t generation);

/* End the session: the consumer stops following. */
void ring_producer_stop(struct ring_producer *producer);

/* Does the consumer follow the session that was begun? Acquire: if so, its tail belongs to it. */
static inline bool ring_producer_followed(const struct ring_producer *producer)
{
    return shared_load32_acquire(&producer->memory.control->session_seen) == producer->session;
}

/* The way of reserve() when the room known of does not do: look at the consumer's tail. 0,
 * ERROR_FULL, ERROR_GARBAGE. */
int ring_producer_find_room(struct ring_producer *producer, uint32_t needed) MUST_CHECK;

/* Room for a frame of `length` bytes (not 0) that leaves `keep_free` bytes free: `*frame` is where
 * to put it. The record is the ring's after ring_producer_commit() with the same length; reserving
 * again without it replaces it. Returns 0, ERROR_FULL, or ERROR_GARBAGE (the tail makes no sense:
 * start a new session). */
MUST_CHECK static inline int ring_producer_reserve(struct ring_producer *producer, uint32_t length,
                                                   uint32_t keep_free, uint8_t **frame)
{
    uint32_t span = ring_record_span(length);
    uint32_t contiguous = ring_contiguous(&producer->memory, producer->head);
    uint32_t skipped = span > contiguous ? contiguous : 0;
    uint32_t needed = skipped + span + keep_free;

    if (producer->memory.size - (producer->head - producer->tail) < needed) {
        int error = ring_producer_find_room(producer, needed);

        if (error != 0)
            return error;
    }
    if (skipped != 0) {
        shared_store32(&ring_record_at(&producer->memory, producer->head)->length,
                       CABLE_RECORD_WRAP);
        producer->head += skipped;
    }
    *frame = (uint8_t *)(ring_record_at(&producer->memory, producer->head) + 1);
    return 0;
}

static inline void ring_producer_commit(struct ring_producer *producer, uint32_t length)
{
    struct cable_record *record = ring_record_at(&producer->memory, producer->head);

    shared_store32(&record->length, length);
    shared_store32(&record->reserved, 0);
    producer->head += ring_record_span(length);
}

/* Show the consumer what was committed. */
static inline void ring_producer_publish(struct ring_producer *producer)
{
    shared_store32_release(&producer->memory.control->head, producer->head);
    producer->published = producer->head;
}

/* After publishing: must the consumer's doorbell be rung? Says so once for each time the consumer
 * went to sleep. */
bool ring_producer_must_wake(struct ring_producer *producer);

/* Is there room again for the record that got ERROR_FULL? True too if the tail makes no sense: try,
 * and learn it. */
bool ring_producer_has_room(struct ring_producer *producer);

/* Before sleeping with a frame that found no room: ask for a doorbell. The caller fences, then
 * looks at ring_producer_has_room() once more. */
void ring_producer_ask_room(struct ring_producer *producer);
void ring_producer_awake(struct ring_producer *producer);

/* --- Consumer --------------------------------------------------------------------------------- */

struct ring_consumer {
    struct ring_memory memory;
    uint32_t length_minimum; /* of a frame, at least 1 */
    uint32_t length_maximum;
    uint32_t generation; /* of the direction: only sessions begun under it are followed */
    uint32_t session;    /* followed; 0: none */
    uint32_t refused;    /* session that sent garbage: never followed again; 0: none */
    uint32_t head;       /* last head of the producer that was checked */
    uint32_t tail;       /* bytes consumed, published or not */
    uint32_t published;  /* what the control page says */
    uint32_t span;       /* of the record that ring_consumer_next() handed out */
    uint32_t answered;   /* value of space_wanted that a doorbell was rung for */
    uint32_t armed;      /* what the control page says; odd: armed */
};

/* Open the consuming end for generation `generation` of the direction: follows nothing yet. Frames
 * are length_minimum .. length_maximum bytes. */
void ring_consumer_open(struct ring_consumer *consumer, const struct ring_memory *memory,
                        uint32_t generation, uint32_t length_minimum, uint32_t length_maximum);

/* Of a session that is not the one followed: is the one followed over, or may this one be followed?
 */
bool ring_consumer_session_matters(const struct ring_consumer *consumer, uint32_t session);

/* Has the producer ended the session followed, or begun one to follow? */
static inline bool ring_consumer_session_changed(const struct ring_consumer *consumer)
{
    uint32_t session = shared_load32_acquire(&consumer->memory.control->session);

    return session != consumer->session && ring_consumer_session_matters(consumer, session);
}

/* Follow the producer's present session, if it has one. Its earlier frames are lost if we followed
 * it in a former life. Returns true when it follows. The caller rings the producer's doorbell.
 */
bool ring_consumer_follow(struct ring_consumer *consumer);

/* Follow nothing, and refuse the session followed until now: it sent garbage. The caller rings the
 * producer's doorbell. */
void ring_consumer_refuse(struct ring_consumer *consumer);

/* Look at the producer's head once. 1: there is something; 0; ERROR_GARBAGE. */
static inline int ring_consumer_look(struct ring_consumer *consumer)
{
    uint32_t head = shared_load32_acquire(&consumer->memory.control->head);
    uint32_t available = head - consumer->tail;

    if (available > consumer->memory.size || available % CABLE_RECORD_ALIGN != 0)
        return ERROR_GARBAGE;
    consumer->head = head;
    return available != 0;
}

/* The way of ring_consumer_next() when the head known of does not do or a marker is in the way:
 * find the next record.
 * `*length` is its frame's, not checked. 1, 0 (none), ERROR_GARBAGE. */
COLD int ring_consumer_find(struct ring_consumer *consumer, uint32_t *length) MUST_CHECK;

/* The next frame, where it stands in the ring: the producer can still write it, so copy once, then
 * check. Returns 1, 0 (none), or ERROR_GARBAGE (the caller looks whether the session changed, else
 * refuses it). */
MUST_CHECK static inline int ring_consumer_next(struct ring_consumer *consumer,
                                                const uint8_t **frame, uint32_t *length)
{
    uint32_t available = consumer->head - consumer->tail;
    struct cable_record *record = ring_record_at(&consumer->memory, consumer->tail);
    uint32_t found_length = available != 0 ? shared_load32(&record->length) : CABLE_RECORD_WRAP;

    if (found_length == CABLE_RECORD_WRAP) {
        int found = ring_consumer_find(consumer, &found_length);

        if (found <= 0)
            return found;
        available = consumer->head - consumer->tail;
        record = ring_record_at(&consumer->memory, consumer->tail);
    }
    if (found_length - consumer->length_minimum >
        consumer->length_maximum - consumer->length_minimum)
        return ERROR_GARBAGE;
    consumer->span = ring_record_span(found_length);
    if (consumer->span > available ||
        consumer->span > ring_contiguous(&consumer->memory, consumer->tail))
        return ERROR_GARBAGE;
    *frame = (const uint8_t *)(record + 1);
    *length = found_length;
    return 1;
}

/* Step over the frame handed out last. */
static inline void ring_consumer_release(struct ring_consumer *consumer)
{
    consumer->tail += consumer->span;
    consumer->span = 0;
}

/* Give the room of released frames back. */
static inline void ring_consumer_publish(struct ring_consumer *consumer)
{
    shared_store32_release(&consumer->memory.control->tail, consumer->tail);
    consumer->published = consumer->tail;
}

/* Is everything consumed that the consumer has seen so far? */
static inline bool ring_consumer_is_drained(const struct ring_consumer *consumer)
{
    return consumer->head == consumer->tail;
}

/* Has the producer put something there that was not consumed? (Garbage counts.) */
static inline bool ring_consumer_has_more(const struct ring_consumer *consumer)
{
    return shared_load32_acquire(&consumer->memory.control->head) != consumer->tail;
}

/* Does the producer sleep for want of room? Says so once for each time. A plain load: the flag is a
 * level, so it is seen by a later call if not by this one, and before sleeping a full fence stands
 * in front. */
bool ring_consumer_must_wake(struct ring_consumer *consumer);

/* Before sleeping: ask for a doorbell. The caller fences, then looks once more. */
void ring_consumer_arm(struct ring_consumer *consumer);
void ring_consumer_disarm(struct ring_consumer *consumer);

#endif
