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
#include "source.h"
#include "content.h"

/* No memory for a message, or its queue is full: look again, and whether the stream ended. */
#define STREAM_RETRY_NS 10000000ull

/* --- Outcomes --------------------------------------------------------------------------------- */

/* Caller holds the lock. */
static void account_outcome(struct blackbox_ledger *ledger, enum message_outcome outcome)
{
    ledger_begin(ledger);
    switch (outcome) {
    case MESSAGE_SETTLED:
        le64_add(&ledger->acked, 1);
        break;
    case MESSAGE_FAILED:
        le64_add(&ledger->failed, 1);
        break;
    case MESSAGE_UNKNOWN:
        le64_add(&ledger->unknown, 1);
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

/* Nothing more may be sent, not even what is in the account. Caller holds the lock. */
static bool given_up(const struct traffic_source *source)
{
    return source->stopped || source->peer_dead;
}

/* Caller holds the lock. */
static bool ended(const struct traffic_source *source)
{
    return given_up(source) || (source->plan.count != 0 &&
                                le64_load(source->account.ledger->sent) == source->plan.count);
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
    source->due_ns = source_deadline_after(source->due_ns, source->plan.interval_ns);
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
        if (le64_load(ledger->sent) == 0) {
            source->first_sent_ns = clock_now_ns();
        }
        ledger_begin(ledger);
        le64_add(&ledger->sent, 1);
        le64_add(&ledger->next_sequence, 1);
        ledger->running_hash = le64_of(traffic_hash_add(le64_load(ledger->running_hash), hash));
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

static bool is_given_up(struct traffic_source *source)
{
    lock_acquire(&source->traffic->lock);
    bool is = given_up(source);
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

/* Null: no memory. */
static struct kmsg *message_allocate(struct traffic_source *source)
{
    const struct stream_plan *plan = &source->plan;
    struct mach_host *host = source->traffic->host;
    struct kmsg *message;

    if (plan->rights == 0) {
        return kmsg_allocate(host, plan->size_bytes);
    }
    if (kmsg_create(host, plan->size_bytes, source->carried, plan->rights, &message) != 0) {
        return NULL;
    }
    return message;
}

/* The next message with its content; waits while there is no memory. Null: the stream ended
 * meanwhile. */
static struct kmsg *message_prepare(struct traffic_source *source, uint64_t *hash)
{
    struct kmsg *message = message_allocate(source);

    while (message == NULL && !is_ended(source)) {
        retry_wait(source);
        message = message_allocate(source);
    }
    if (message == NULL) {
        return NULL;
    }
    const struct traffic_header header = {
        .check = le32_of(source->plan.check),
        .stream_id = le64_of(source->plan.stream_id),
        /* Changed by this thread only, so read without the lock. */
        .sequence = source->account.ledger->next_sequence,
        .source_incarnation = le64_of(source->traffic->host->incarnation),
        .seed = le64_of(source->plan.seed),
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

    /* The queue is at its limit, by number or by bytes. The last one of a count waits like the
     * others. */
    while (result == MACH_SEND_TIMED_OUT && !is_given_up(source)) {
        result = mach_msg_send(message, source->destination, NULL, PORT_NONE,
                               clock_now_ns() + STREAM_RETRY_NS);
    }
    if (result != MACH_MSG_SUCCESS) {
        kmsg_free(message);
        message_settled(source, MESSAGE_FAILED);
    }
}

/* --- The end ---------------------------------------------------------------------------------- */

struct traffic_stop_reply source_stop_reply(const struct traffic_source *source)
{
    const struct blackbox_ledger *ledger = source->account.ledger;
    bool sent = le64_load(ledger->sent) != 0 && source->last_settled_ns > source->first_sent_ns;

    return (struct traffic_stop_reply){
        .status = service_status_of(source->in_flight == 0 ? ERROR_NONE : ERROR_TIMED_OUT),
        .ledger = *ledger,
        .elapsed_ns = le64_of(sent ? source->last_settled_ns - source->first_sent_ns : 0),
    };
}

/* Answer the STOP that waits. Caller holds the lock, which is released meanwhile. */
static void stop_answer(struct traffic_source *source)
{
    struct traffic_stop_reply reply = source_stop_reply(source);
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
    ledger->closed = le64_of(1);
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

void source_main(void *argument)
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
