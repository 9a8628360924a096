/* SPDX-License-Identifier: MIT
 *
 * The ring of docs/spec/cable.md, producing and consuming end. See ring.h for the words and
 * invariants, kernel/shared.h for why the loads and stores are ordered as they are.
 *
 * head and tail count bytes modulo 2^32 and never lie more than `size` apart. A record never wraps:
 * when it does not fit before the end of the ring, a marker skips to offset 0. Offsets are
 * multiples of 8, so a marker always fits.
 */
#include "ring.h"

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

/* The old session ends before head goes back to 0: a consumer that sees the new head can then no
 * longer take it for the old session's. */
void ring_producer_start(struct ring_producer *producer, const struct ring_memory *memory,
                         uint32_t session, uint32_t generation)
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
    shared_store32(&control->generation, generation);
    shared_store32_release(&control->session, session);
}

bool ring_producer_is_announced(const struct ring_producer *producer, uint32_t generation)
{
    const struct cable_ring_control *control = producer->memory.control;

    return shared_load32(&control->session) == producer->session &&
           shared_load32(&control->generation) == generation;
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

int ring_producer_find_room(struct ring_producer *producer, uint32_t needed)
{
    int error = refresh_tail(producer);

    if (error != 0)
        return error;
    producer->wants = free_bytes(producer) < needed ? needed : 0;
    return producer->wants != 0 ? ERROR_FULL : 0;
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
                        uint32_t generation, uint32_t length_minimum, uint32_t length_maximum)
{
    *consumer = (struct ring_consumer){
        .memory = *memory,
        .generation = generation,
        .length_minimum = length_minimum,
        .length_maximum = length_maximum,
        .armed = awake(shared_load32(&memory->control->armed)),
    };
}

bool ring_consumer_session_matters(const struct ring_consumer *consumer, uint32_t session)
{
    if (consumer->session != 0)
        return true;
    return session != 0 && session != consumer->refused &&
           shared_load32(&consumer->memory.control->generation) == consumer->generation;
}

/* The producer's session if it may be followed, else 0. It is read again behind its generation, so
 * that both belong together. */
static uint32_t session_to_follow(const struct ring_consumer *consumer)
{
    const struct cable_ring_control *control = consumer->memory.control;
    uint32_t session = shared_load32_acquire(&control->session);
    uint32_t generation = shared_load32_acquire(&control->generation);

    if (session == consumer->refused || generation != consumer->generation ||
        shared_load32(&control->session) != session)
        return 0;
    return session;
}

/* session_seen is ours alone, so it tells what a former life of this end, or a former driver,
 * followed. (A peer that writes there can only make its own frames garbage.) */
static bool was_followed(const struct cable_ring_control *control, uint32_t session)
{
    uint32_t seen = shared_load32(&control->session_seen);

    return seen == session || seen == CABLE_SESSION_LEFT(session);
}

/* The producer learns that nobody follows; whoever follows next, what was followed. */
static void leave(struct ring_consumer *consumer)
{
    if (consumer->session != 0)
        shared_store32_release(&consumer->memory.control->session_seen,
                               CABLE_SESSION_LEFT(consumer->session));
    consumer->session = 0;
    consumer->span = 0;
}

bool ring_consumer_follow(struct ring_consumer *consumer)
{
    struct cable_ring_control *control = consumer->memory.control;
    uint32_t session = session_to_follow(consumer);
    uint32_t tail = 0;

    if (session == 0) {
        /* Or a producer whose words somebody else changed would think itself followed for ever. */
        leave(consumer);
        return false;
    }
    consumer->span = 0;
    if (was_followed(control, session))
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
    leave(consumer);
}

int ring_consumer_find(struct ring_consumer *consumer, uint32_t *length)
{
    uint32_t contiguous = ring_contiguous(&consumer->memory, consumer->tail);
    int found = consumer->head != consumer->tail ? 1 : ring_consumer_look(consumer);

    if (found <= 0)
        return found;
    *length = shared_load32(&ring_record_at(&consumer->memory, consumer->tail)->length);
    if (*length != CABLE_RECORD_WRAP)
        return 1;
    /* At offset 0 a marker would skip the whole ring. Nobody writes that. */
    if (contiguous == consumer->memory.size || contiguous > consumer->head - consumer->tail)
        return ERROR_GARBAGE;
    consumer->tail += contiguous;
    found = consumer->head != consumer->tail ? 1 : ring_consumer_look(consumer);
    if (found > 0)
        *length = shared_load32(&ring_record_at(&consumer->memory, consumer->tail)->length);
    return found;
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
    struct cable_ring_control *control = consumer->memory.control;

    consumer->armed = asleep(consumer->armed);
    shared_store32(&control->armed, consumer->armed);
    if (consumer->session != 0 && shared_load32(&control->session_seen) != consumer->session)
        shared_store32_release(&control->session_seen, consumer->session);
}

void ring_consumer_disarm(struct ring_consumer *consumer)
{
    consumer->armed = awake(consumer->armed);
    shared_store32(&consumer->memory.control->armed, consumer->armed);
}
