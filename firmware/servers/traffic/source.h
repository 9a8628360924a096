/* SPDX-License-Identifier: MIT
 *
 * A source: the sending end of a stream. Shared by its thread (source.c) and the requests about it
 * (source_requests.c). Private to this folder.
 */
#ifndef TRAFFIC_SOURCE_H
#define TRAFFIC_SOURCE_H

#include "traffic.h"

/* What START asked for, in native words. */
struct stream_plan {
    uint64_t stream_id;
    uint64_t destination;
    uint64_t count;
    uint64_t interval_ns;
    uint64_t seed;
    uint32_t size_bytes;
    uint32_t window;
    uint32_t check;
    uint32_t rights; /* send rights in each message */
};

struct traffic_source {
    struct traffic *traffic;
    struct traffic_source *next;
    struct traffic_account account;
    struct stream_plan plan;
    struct port *destination;                            /* null once finished */
    struct message_item carried[TRAFFIC_RIGHTS_MAXIMUM]; /* to ports of the stream's own */
    struct thread *thread;
    struct condition wake; /* room in the window, or the end */
    uint32_t in_flight;
    bool stopped;   /* by STOP, or the server is being unloaded */
    bool peer_dead; /* nothing can arrive any more */
    bool finished;  /* the ledger is closed; the thread ends */
    uint64_t due_ns;
    uint64_t first_sent_ns;
    uint64_t last_settled_ns;
    uint64_t stop_deadline_ns;
    struct service_promise stop_promise; /* answer not null: a STOP waits */
};

/* Durations come from requests: one too long is for ever. */
static inline uint64_t source_deadline_after(uint64_t from_ns, uint64_t duration_ns)
{
    return duration_ns < DEADLINE_NEVER - from_ns ? from_ns + duration_ns : DEADLINE_NEVER;
}

/* The stream's thread; `argument` is the source. */
void source_main(void *argument);

/* The answer to a STOP as things stand. Caller holds the lock, or the stream has finished. */
struct traffic_stop_reply source_stop_reply(const struct traffic_source *source);

#endif
