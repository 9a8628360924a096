/* SPDX-License-Identifier: MIT
 *
 * The sending end of streams: one thread a stream, as many messages under way as its window.
 *
 * A message is put into the account before it is handed to the kernel, and leaves "in flight" in
 * its completion, which may come in any thread, before the send has returned even. A stream ends
 * when it was stopped, reached its count, or its peer died; its thread then waits until nothing is
 * in flight, so every message has an outcome, closes the ledger, answers a STOP, and ends. CLOSE
 * joins it. Completions refer to the stream, and it is not freed before the last.
 *
 * Time is read when a message is due at an interval and when the last one in flight is settled,
 * never otherwise.
 */
#include "content.h"
#include "traffic.h"

#include <abi/flipc.h>
#include <kernel/node.h>

#define STREAM_RETRY_NS                                                                            \
    10000000ull /* no memory for a message, or its queue is full: look again, and at `ended` */

struct traffic_source {
    struct traffic *traffic;
    struct traffic_source *next;
    struct traffic_account account;
    struct traffic_start_request plan;
    struct port *destination; /* null once finished */
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

struct traffic_account *traffic_source_account(struct traffic_source *source)
{
    return &source->account;
}

struct traffic_source *traffic_source_next(struct traffic_source *source)
{
    return source->next;
}

/* Durations come from requests: one too long is for ever. */
static uint64_t deadline_after(uint64_t from_ns, uint64_t duration_ns)
{
    return duration_ns < DEADLINE_NEVER - from_ns ? from_ns + duration_ns : DEADLINE_NEVER;
}

/* --- Outcomes --------------------------------------------------------------------------------- */

/* Caller holds the lock. */
static void account_outcome(struct blackbox_ledger *ledger, enum message_outcome outcome)
{
    ledger_begin(ledger);
    switch (outcome) {
    case MESSAGE_SETTLED:
        ledger->acked++;
        break;
    case MESSAGE_FAILED:
        ledger->failed++;
        break;
    case MESSAGE_UNKNOWN:
        ledger->unknown++;
        break;
    }
    ledger_end(ledger);
}

/* The completion of every message of a stream. */
static void message_settled(void *context, enum message_outcome outcome)
{
    struct traffic_source *source = context;
    struct traffic *traffic = source->traffic;
    bool dead = outcome == MESSAGE_UNKNOWN ||
                (outcome == MESSAGE_FAILED && port_is_dead(source->destination));

    lock_acquire(&traffic->lock);
    account_outcome(source->account.ledger, outcome);
    source->peer_dead |= dead;
    if (--source->in_flight == 0) {
        source->last_settled_ns = clock_now_ns();
    }
    condition_signal(&source->wake);
    traffic_moved(traffic);
    lock_release(&traffic->lock);
}

/* --- Sending ---------------------------------------------------------------------------------- */

/* Caller holds the lock. */
static bool ended(const struct traffic_source *source)
{
    return source->stopped || source->peer_dead ||
           (source->plan.count != 0 && source->account.ledger->sent == source->plan.count);
}

/* Caller holds the lock. */
static void wait_due(struct traffic_source *source)
{
    uint64_t now_ns = clock_now_ns();

    while (!ended(source) && now_ns < source->due_ns) {
        (void)condition_wait(&source->wake, &source->traffic->lock, source->due_ns);
        now_ns = clock_now_ns();
    }
    /* A stream that was held up does not catch up: its rate is a limit. The first is never late. */
    if (now_ns - source->due_ns >= source->plan.interval_ns) {
        source->due_ns = now_ns;
    }
    source->due_ns = deadline_after(source->due_ns, source->plan.interval_ns);
}

/* Wait for room and for the time, then put the message with this hash into the account. False: the
 * stream has ended. */
static bool slot_take(struct traffic_source *source, uint64_t hash)
{
    struct traffic *traffic = source->traffic;
    struct blackbox_ledger *ledger = source->account.ledger;

    lock_acquire(&traffic->lock);
    while (!ended(source) && source->in_flight >= source->plan.window) {
        (void)condition_wait(&source->wake, &traffic->lock, DEADLINE_NEVER);
    }
    if (source->plan.interval_ns != 0) {
        wait_due(source);
    }
    bool take = !ended(source);
    if (take) {
        if (ledger->sent == 0) {
            source->first_sent_ns = clock_now_ns();
        }
        ledger_begin(ledger);
        ledger->sent++;
        ledger->next_sequence++;
        ledger->running_hash = traffic_hash_add(ledger->running_hash, hash);
        ledger_end(ledger);
        source->in_flight++;
        traffic_moved(traffic);
    }
    lock_release(&traffic->lock);
    return take;
}

static bool is_ended(struct traffic_source *source)
{
    lock_acquire(&source->traffic->lock);
    bool is = ended(source);
    lock_release(&source->traffic->lock);
    return is;
}

/* Wait for a while, or until something about the stream changes. */
static void retry_wait(struct traffic_source *source)
{
    uint64_t deadline_ns = clock_now_ns() + STREAM_RETRY_NS;

    lock_acquire(&source->traffic->lock);
    (void)condition_wait(&source->wake, &source->traffic->lock, deadline_ns);
    lock_release(&source->traffic->lock);
}

/* The next message with its content; waits while there is no memory. Null: the stream ended
 * meanwhile. */
static struct kmsg *message_prepare(struct traffic_source *source, uint64_t *hash)
{
    struct kmsg *message = kmsg_allocate(source->traffic->host, source->plan.size_bytes);

    while (message == NULL && !is_ended(source)) {
        retry_wait(source);
        message = kmsg_allocate(source->traffic->host, source->plan.size_bytes);
    }
    if (message == NULL) {
        return NULL;
    }
    const struct traffic_header header = {
        .check = source->plan.check,
        .stream_id = source->plan.stream_id,
        /* Changed by this thread only, so read without the lock. */
        .sequence = source->account.ledger->next_sequence,
        .source_incarnation = source->traffic->host->incarnation,
        .seed = source->plan.seed,
    };
    *hash = traffic_content_write(kmsg_body(message), source->plan.size_bytes, &header);
    kmsg_set_id(message, TRAFFIC_DATA);
    kmsg_set_completion(message, message_settled, source);
    return message;
}

/* Hand a message that is in the account to the kernel. */
static void message_send(struct traffic_source *source, struct kmsg *message)
{
    mach_msg_return_t result = mach_msg_send(message, source->destination, NULL, PORT_NONE, 0);

    /* The queue is at its limit: other streams go to the same port. */
    while (result == MACH_SEND_TIMED_OUT && !is_ended(source)) {
        result = mach_msg_send(message, source->destination, NULL, PORT_NONE,
                               clock_now_ns() + STREAM_RETRY_NS);
    }
    if (result != MACH_MSG_SUCCESS) {
        kmsg_free(message);
        message_settled(source, MESSAGE_FAILED);
    }
}

/* --- The end ---------------------------------------------------------------------------------- */

static struct traffic_stop_reply stop_reply(const struct traffic_source *source)
{
    const struct blackbox_ledger *ledger = source->account.ledger;
    bool sent = ledger->sent != 0 && source->last_settled_ns > source->first_sent_ns;

    return (struct traffic_stop_reply){
        .status.status = source->in_flight == 0 ? ERROR_NONE : ERROR_TIMED_OUT,
        .ledger = *ledger,
        .elapsed_ns = sent ? source->last_settled_ns - source->first_sent_ns : 0,
    };
}

/* Answer the STOP that waits. Caller holds the lock, which is released meanwhile. */
static void stop_answer(struct traffic_source *source)
{
    struct traffic_stop_reply reply = stop_reply(source);
    struct service_promise promise = source->stop_promise;

    source->stop_promise = (struct service_promise){.answer = NULL};
    lock_release(&source->traffic->lock);
    service_promise_keep(&promise, &reply);
    lock_acquire(&source->traffic->lock);
}

/* Wait until every message has an outcome; a STOP whose timeout passes first is answered then.
 * Caller holds the lock. */
static void drain(struct traffic_source *source)
{
    while (source->in_flight != 0) {
        bool asked = source->stop_promise.answer != NULL;
        uint64_t deadline_ns = asked ? source->stop_deadline_ns : DEADLINE_NEVER;
        if (!condition_wait(&source->wake, &source->traffic->lock, deadline_ns) &&
            source->stop_promise.answer != NULL && source->in_flight != 0) {
            stop_answer(source);
        }
    }
}

static void source_finish(struct traffic_source *source)
{
    struct traffic *traffic = source->traffic;
    struct blackbox_ledger *ledger = source->account.ledger;

    lock_acquire(&traffic->lock);
    drain(source);
    ledger_begin(ledger);
    ledger->closed = 1;
    ledger_end(ledger);
    source->finished = true;
    traffic_digest_write(traffic, &source->account);
    if (source->stop_promise.answer != NULL) {
        stop_answer(source);
    }
    struct port *destination = source->destination;
    source->destination = NULL;
    lock_release(&traffic->lock);
    port_release(destination);
}

static void source_main(void *argument)
{
    struct traffic_source *source = argument;
    uint64_t hash;
    struct kmsg *message = message_prepare(source, &hash);

    while (message != NULL && slot_take(source, hash)) {
        message_send(source, message);
        message = message_prepare(source, &hash);
    }
    kmsg_free(message);
    source_finish(source);
}

/* --- Requests, in the serving thread ---------------------------------------------------------- */

/* Only the serving thread changes the list, so it looks without the lock. */
static struct traffic_source *source_find(struct traffic *traffic, uint64_t stream_id)
{
    struct traffic_source *source = traffic->sources;

    while (source != NULL && source->plan.stream_id != stream_id) {
        source = source->next;
    }
    return source;
}

static bool plan_is_valid(const struct traffic_start_request *plan)
{
    return (plan->stream_id & TRAFFIC_SINK_BIT) == 0 &&
           plan->size_bytes >= sizeof(struct traffic_header) &&
           plan->size_bytes <= MESSAGE_BODY_MAXIMUM && plan->window >= 1 &&
           plan->window <= TRAFFIC_WINDOW_MAXIMUM && plan->check <= TRAFFIC_CHECK_CONTENT;
}

static void ledger_open(struct traffic_source *source)
{
    struct blackbox_ledger *ledger = source->account.ledger;
    struct mach_host *host = source->traffic->host;
    uint32_t peer = NAME_NODE(source->plan.destination);

    ledger_begin(ledger);
    ledger->role = BLACKBOX_LEDGER_SOURCE;
    ledger->stream_id = source->plan.stream_id;
    ledger->peer = peer;
    ledger->size_bytes = source->plan.size_bytes;
    ledger->peer_incarnation =
        peer == host->node_id ? host->incarnation : node_incarnation(host, peer);
    ledger_end(ledger);
}

/* Obtain what a stream needs; what was obtained stays in `source` also when the rest fails. */
static int source_open(struct traffic_source *source)
{
    struct mach_host *host = source->traffic->host;

    source->destination = port_from_name(host, source->plan.destination);
    if (source->destination == NULL) {
        return ERROR_NOT_FOUND;
    }
    source->account.ledger = blackbox_ledger_allocate(host);
    if (source->account.ledger == NULL) {
        return ERROR_FULL;
    }
    /* A message stays in its queue until it is settled: the window is the stream's, not the
     * queue's. */
    port_set_limit(source->destination, PORT_LIMIT_MAXIMUM);
    ledger_open(source);
    return ERROR_NONE;
}

static void source_free(struct traffic_source *source)
{
    struct mach_host *host = source->traffic->host;

    if (source->thread != NULL) {
        thread_join(source->thread);
    }
    if (source->destination != NULL) {
        port_release(source->destination);
    }
    blackbox_ledger_free(host, source->account.ledger);
    heap_free(host, source);
}

static void source_link(struct traffic_source *source)
{
    struct traffic *traffic = source->traffic;

    lock_acquire(&traffic->lock);
    source->next = traffic->sources;
    traffic->sources = source;
    traffic_digest_write(traffic, &source->account);
    lock_release(&traffic->lock);
}

static void source_unlink(struct traffic_source *source)
{
    struct traffic *traffic = source->traffic;

    lock_acquire(&traffic->lock);
    struct traffic_source **link = &traffic->sources;
    while (*link != source) {
        link = &(*link)->next;
    }
    *link = source->next;
    lock_release(&traffic->lock);
}

int traffic_source_start(struct traffic *traffic, const struct traffic_start_request *request)
{
    if (!plan_is_valid(request)) {
        return ERROR_INVALID;
    }
    if (source_find(traffic, request->stream_id) != NULL) {
        return ERROR_EXISTS;
    }
    struct traffic_source *source = heap_allocate(traffic->host, sizeof(*source));
    if (source == NULL) {
        return ERROR_NO_MEMORY;
    }
    *source = (struct traffic_source){.traffic = traffic, .plan = *request};
    condition_init(&source->wake);
    int error = source_open(source);
    if (error != ERROR_NONE) {
        source_free(source);
        return error;
    }
    source_link(source);
    error = thread_create(traffic->host, "source", source_main, source, &source->thread);
    if (error != ERROR_NONE) {
        source->thread = NULL;
        source_unlink(source);
        source_free(source);
    }
    return error;
}

static bool is_finished(struct traffic_source *source)
{
    lock_acquire(&source->traffic->lock);
    bool finished = source->finished;
    lock_release(&source->traffic->lock);
    return finished;
}

/* Let the stream's thread answer. False: it has finished, the caller answers. */
static bool stop_hand_over(struct traffic_source *source, struct service_promise *promise,
                           uint64_t timeout_ns)
{
    struct traffic *traffic = source->traffic;
    uint64_t now_ns = clock_now_ns();

    lock_acquire(&traffic->lock);
    bool running = !source->finished;
    if (running) {
        source->stop_promise = *promise;
        source->stop_deadline_ns = deadline_after(now_ns, timeout_ns);
        source->stopped = true;
        condition_signal(&source->wake);
    }
    lock_release(&traffic->lock);
    return running;
}

/* A STOP waits already; one is answered at a time. */
static bool is_being_stopped(struct traffic_source *source)
{
    lock_acquire(&source->traffic->lock);
    bool is = source->stop_promise.answer != NULL;
    lock_release(&source->traffic->lock);
    return is;
}

static int stop_check(struct traffic_source *source)
{
    if (source == NULL) {
        return ERROR_NOT_FOUND;
    }
    return is_being_stopped(source) ? ERROR_EXISTS : ERROR_NONE;
}

void traffic_source_stop(struct traffic *traffic, struct kmsg *message)
{
    struct traffic_stop_request request;

    if (!service_read(message, &request, sizeof(request))) {
        service_answer_status(traffic->host, message, ERROR_INVALID);
        return;
    }
    struct traffic_source *source = source_find(traffic, request.stream_id);
    struct service_promise promise;
    int error = stop_check(source);
    if (error == ERROR_NONE) {
        error = service_promise_make(traffic->host, message, sizeof(struct traffic_stop_reply),
                                     &promise);
    }
    if (error != ERROR_NONE) {
        service_answer_status(traffic->host, message, error);
        return;
    }
    if (!stop_hand_over(source, &promise, request.timeout_ns)) {
        struct traffic_stop_reply reply = stop_reply(source);
        service_promise_keep(&promise, &reply);
    }
}

int traffic_source_close(struct traffic *traffic, uint64_t stream_id)
{
    struct traffic_source *source = source_find(traffic, stream_id);

    if (source == NULL) {
        return ERROR_NOT_FOUND;
    }
    if (!is_finished(source)) {
        return ERROR_EXISTS;
    }
    source_unlink(source);
    source_free(source);
    return ERROR_NONE;
}

static void source_stop_now(struct traffic_source *source)
{
    lock_acquire(&source->traffic->lock);
    source->stopped = true;
    condition_signal(&source->wake);
    lock_release(&source->traffic->lock);
}

void traffic_source_destroy_all(struct traffic *traffic)
{
    for (struct traffic_source *source = traffic->sources; source != NULL; source = source->next) {
        source_stop_now(source);
    }
    while (traffic->sources != NULL) {
        struct traffic_source *source = traffic->sources;
        traffic->sources = source->next;
        source_free(source);
    }
}
