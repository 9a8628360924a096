/* SPDX-License-Identifier: MIT
 *
 * See server_log.h. The ring is D. Vyukov's bounded queue with one consumer.
 */
#include "server_log.h"

#include <kernel/host.h>

struct server_log_slot {
    uint32_t sequence;
    struct server_log_entry entry;
};

struct server_log_ring {
    uint32_t head; /* next position to write; any context */
    uint32_t tail; /* next position to take; the reader's */
    struct server_log_slot slots[SERVER_LOG_SLOTS];
};

_Static_assert((SERVER_LOG_SLOTS & (SERVER_LOG_SLOTS - 1)) == 0, "ring index by mask");

static struct server_log_slot *slot_of(struct server_log_ring *ring, uint32_t position)
{
    return &ring->slots[position & (SERVER_LOG_SLOTS - 1)];
}

int server_log_set_level(struct server_log *log, struct mach_host *host, uint32_t level)
{
    if (level != 0 && log->ring == NULL) {
        struct server_log_ring *ring = heap_allocate(host, sizeof(*ring));
        if (ring == NULL) {
            return ERROR_NO_MEMORY;
        }
        ring->head = 0;
        ring->tail = 0;
        for (uint32_t i = 0; i < SERVER_LOG_SLOTS; i++) {
            ring->slots[i].sequence = i;
        }
        log->ring = ring;
    }
    /* Whoever sees a level sees the ring. */
    __atomic_store_n(&log->level, level, __ATOMIC_RELEASE);
    return ERROR_NONE;
}

void server_log_close(struct server_log *log, struct mach_host *host)
{
    heap_free(host, log->ring);
    *log = (struct server_log){.ring = NULL};
}

bool server_log_add(struct server_log *log, const struct server_log_entry *entry)
{
    struct server_log_ring *ring = log->ring;
    uint32_t position = __atomic_load_n(&ring->head, __ATOMIC_RELAXED);

    for (;;) {
        struct server_log_slot *slot = slot_of(ring, position);
        uint32_t sequence = __atomic_load_n(&slot->sequence, __ATOMIC_ACQUIRE);

        if (sequence == position) {
            if (__atomic_compare_exchange_n(&ring->head, &position, position + 1, true,
                                            __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
                slot->entry = *entry;
                __atomic_store_n(&slot->sequence, position + 1, __ATOMIC_RELEASE);
                return true;
            }
        } else if ((int32_t)(sequence - position) < 0) {
            __atomic_fetch_add(&log->lost, 1, __ATOMIC_RELAXED);
            return false;
        } else {
            position = __atomic_load_n(&ring->head, __ATOMIC_RELAXED);
        }
    }
}

static bool is_written(struct server_log_ring *ring, uint32_t position)
{
    return __atomic_load_n(&slot_of(ring, position)->sequence, __ATOMIC_ACQUIRE) == position + 1;
}

uint32_t server_log_count(const struct server_log *log)
{
    uint32_t count = 0;

    if (log->ring == NULL) {
        return 0;
    }
    while (count < SERVER_LOG_SLOTS && is_written(log->ring, log->ring->tail + count)) {
        count++;
    }
    return count;
}

uint32_t server_log_take(struct server_log *log, struct server_log_entry *entries, uint32_t count)
{
    struct server_log_ring *ring = log->ring;
    uint32_t taken = 0;

    while (ring != NULL && taken < count && is_written(ring, ring->tail)) {
        struct server_log_slot *slot = slot_of(ring, ring->tail);

        entries[taken++] = slot->entry;
        __atomic_store_n(&slot->sequence, ring->tail + SERVER_LOG_SLOTS, __ATOMIC_RELEASE);
        ring->tail++;
    }
    return taken;
}

void server_log_discard(struct server_log *log)
{
    struct server_log_entry entry;

    while (server_log_take(log, &entry, 1) != 0) {
    }
}
