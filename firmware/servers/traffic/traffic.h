/* SPDX-License-Identifier: MIT
 *
 * Kernel server `traffic`: checked streams of messages between nodes. Private to this folder.
 *
 * Words. A *stream* has an id that the host chose, a *source* on one node and a *sink* on another
 * (or the same). Each end keeps its account in a ledger of the black box; a *digest* is an event
 * that tells a ledger's message count and running hash.
 *
 * Threads: one serves the port (requests and arriving DATA, traffic.c and sink.c), one per source
 * sends (source.c), one writes digests (digest.c). Completions arrive in whatever thread learns an
 * outcome.
 *
 * One lock guards everything that two of them touch. Nothing waits, allocates or sends while
 * holding it; a black-box event may be written under it. Only the serving thread adds and removes
 * streams.
 */
#ifndef TRAFFIC_TRAFFIC_H
#define TRAFFIC_TRAFFIC_H

#include <abi/services.h>
#include <kernel/blackbox.h>
#include <kernel/host.h>
#include <kernel/ipc.h>
#include <kernel/service.h>

#define TRAFFIC_DIGEST_PERIOD_NS 100000000ull /* docs/spec/blackbox.md */
#define TRAFFIC_WINDOW_MAXIMUM 64u
#define TRAFFIC_SINK_BIT (1ull << 63) /* of a stream id in a digest */

struct traffic_source;
struct traffic_sink;

struct traffic {
    struct mach_host *host;
    struct thread *digest_thread;
    struct lock lock;
    struct condition digest_wake;
    bool moving;   /* an account changed since the last tick: the digest thread ticks */
    bool stopping; /* the server is being unloaded */
    struct traffic_source *sources;
    struct traffic_sink *sinks; /* the last one used comes first */
    uint64_t refused;           /* DATA messages dropped for want of a ledger or of a stream */
    uint64_t refused_told;      /* how many of them an event has told */
    uint64_t refused_stream_id; /* of the last one; 0: it had none */
    uint64_t refused_incarnation;
    uint32_t refused_node;
};

/* A ledger and what its last digest said. */
struct traffic_account {
    struct blackbox_ledger *ledger;
    uint64_t digest_messages;
    uint64_t digest_hash;
};

/* --- traffic.c -------------------------------------------------------------------------------- */

/* Begin with no stream. 0 or the error of thread_create(); then close it all the same. */
int traffic_open(struct traffic *traffic, struct mach_host *host) MUST_CHECK;

/* A message for the server; takes it over. The serving thread. */
void traffic_handle(struct traffic *traffic, struct kmsg *message);

/* End every stream, wait until all is settled, free everything. The serving thread, or when it has
 * ended. */
void traffic_close(struct traffic *traffic);

/* --- digest.c --------------------------------------------------------------------------------- */

void traffic_digest_main(void *argument);

/* Tell an account now. Caller holds the lock. */
void traffic_digest_write(struct traffic *traffic, struct traffic_account *account);

/* An account changed: let the digest thread tick. Caller holds the lock. */
static inline void traffic_moved(struct traffic *traffic)
{
    if (!traffic->moving) {
        traffic->moving = true;
        condition_signal(&traffic->digest_wake);
    }
}

/* --- source.c --------------------------------------------------------------------------------- */

struct traffic_account *traffic_source_account(struct traffic_source *source);
struct traffic_source *traffic_source_next(struct traffic_source *source);

/* Begin a stream. 0, ERROR_INVALID (a field out of range), ERROR_EXISTS, ERROR_NOT_FOUND (no such
 * destination), ERROR_FULL (no ledger left) or ERROR_NO_MEMORY. */
int traffic_source_start(struct traffic *traffic,
                         const struct traffic_start_request *request) MUST_CHECK;

/* Answer a STOP now or when everything is settled; takes the message over. */
void traffic_source_stop(struct traffic *traffic, struct kmsg *message);

/* Free a stream that has ended, with its ledger. 0, ERROR_NOT_FOUND, or ERROR_EXISTS (it still
 * runs). */
int traffic_source_close(struct traffic *traffic, uint64_t stream_id) MUST_CHECK;

/* Begin the end of every stream. */
void traffic_source_stop_all(struct traffic *traffic);

/* Has every stream ended, and everything it sent been settled? */
bool traffic_source_all_finished(struct traffic *traffic);

/* End every stream, wait until all is settled, free everything. */
void traffic_source_destroy_all(struct traffic *traffic);

/* --- sink.c ----------------------------------------------------------------------------------- */

struct traffic_account *traffic_sink_account(struct traffic_sink *sink);
struct traffic_sink *traffic_sink_next(struct traffic_sink *sink);

/* A DATA message arrived; takes it over. */
void traffic_sink_receive(struct traffic *traffic, struct kmsg *message);

/* Free the ledgers of every incarnation that sent under this id. 0 or ERROR_NOT_FOUND. */
int traffic_sink_close(struct traffic *traffic, uint64_t stream_id) MUST_CHECK;
void traffic_sink_destroy_all(struct traffic *traffic);

#endif
