/* SPDX-License-Identifier: MIT
 *
 * The log of one loadable server: a ring of fixed records that anybody may add to, interrupt
 * handlers included, and one thread empties. Private to core.
 *
 * Invariant: a slot whose sequence equals its position is free for the writer of that position; one
 * whose sequence is the position + 1 is written and the reader's. So writers never wait for each
 * other: one that is interrupted only delays what the reader sees. A full ring keeps what it has;
 * what finds no room is counted.
 */
#ifndef CORE_SERVER_LOG_H
#define CORE_SERVER_LOG_H

#include <abi/server_messages.h>
#include <kernel/error.h>
#include <stdbool.h>
#include <stdint.h>

#define SERVER_LOG_SLOTS 512u /* a power of two */

struct mach_host;
struct server_log_ring;

struct server_log {
    struct server_log_ring *ring; /* null until the level is first raised from 0; then it stays */
    uint32_t level;               /* any context; 0: off */
    uint32_t lost;                /* entries that found no room, modulo 2^32 */
};

/* Set the level. 0, or ERROR_NO_MEMORY (the level is 0 then). One thread at a time. */
int server_log_set_level(struct server_log *log, struct mach_host *host, uint32_t level) MUST_CHECK;
/* Nobody adds any more: free the ring. The level is 0. */
void server_log_close(struct server_log *log, struct mach_host *host);

/* Is an entry of this level wanted? Any context. */
static inline bool server_log_wants(const struct server_log *log, uint32_t level)
{
    uint32_t threshold = __atomic_load_n(&log->level, __ATOMIC_ACQUIRE);

    return threshold != 0 && level >= threshold;
}

/* Any context. False: full, and counted. The level was asked. */
bool server_log_add(struct server_log *log, const struct server_log_entry *entry);

/* The reader's, one thread at a time. */
uint32_t server_log_count(const struct server_log *log); /* at least that many can be taken */
/* Take up to `count` of the oldest; returns how many. */
uint32_t server_log_take(struct server_log *log, struct server_log_entry *entries, uint32_t count);
void server_log_discard(struct server_log *log);

#endif
