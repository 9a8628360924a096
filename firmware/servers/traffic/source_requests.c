/* SPDX-License-Identifier: MIT
 *
 * Requests about sources: START, STOP, CLOSE, and the end of the server. All run in the serving
 * thread, which alone changes the list of sources.
 */
#include "source.h"

#include <abi/flipc.h>
#include <kernel/node.h>

struct traffic_account *traffic_source_account(struct traffic_source *source)
{
    return &source->account;
}

struct traffic_source *traffic_source_next(struct traffic_source *source)
{
    return source->next;
}

/* Only the serving thread changes the list, so it looks without the lock. */
static struct traffic_source *source_find(struct traffic *traffic, uint64_t stream_id)
{
    struct traffic_source *source = traffic->sources;

    while (source != NULL && source->plan.stream_id != stream_id) {
        source = source->next;
    }
    return source;
}

/* What a message has behind its headers: with rights, descriptors are before the body. */
static size_t content_bytes(const struct stream_plan *plan)
{
    if (plan->rights == 0) {
        return plan->size_bytes;
    }
    return sizeof(struct wire_complex) + plan->rights * sizeof(struct wire_descriptor) +
           ((plan->size_bytes + 7u) & ~7u);
}

static bool plan_is_valid(const struct stream_plan *plan)
{
    return plan->rights <= TRAFFIC_RIGHTS_MAXIMUM && content_bytes(plan) <= MESSAGE_BODY_MAXIMUM &&
           (plan->stream_id & TRAFFIC_SINK_BIT) == 0 &&
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
    ledger->role = le32_of(BLACKBOX_LEDGER_SOURCE);
    ledger->stream_id = le64_of(source->plan.stream_id);
    ledger->peer = le32_of(peer);
    ledger->size_bytes = le32_of(source->plan.size_bytes);
    ledger->peer_incarnation =
        le64_of(peer == host->node_id ? host->incarnation : node_incarnation(host, peer));
    ledger_end(ledger);
}

static int carried_open(struct traffic_source *source)
{
    int error = ERROR_NONE;

    for (uint32_t i = 0; i < source->plan.rights && error == ERROR_NONE; i++) {
        source->carried[i].type = MESSAGE_PORT;
        source->carried[i].transfer = PORT_MAKE_SEND;
        error = port_create(source->traffic->host, &source->carried[i].port);
    }
    return error;
}

static void carried_close(struct traffic_source *source)
{
    for (uint32_t i = 0; i < source->plan.rights; i++) {
        if (source->carried[i].port != NULL) {
            port_destroy(source->carried[i].port);
        }
    }
}

/* Obtain what a stream needs; what was obtained stays in `source` also when the rest fails. */
static int source_open(struct traffic_source *source)
{
    struct mach_host *host = source->traffic->host;

    source->destination = port_from_name(host, source->plan.destination);
    if (source->destination == NULL) {
        return ERROR_NOT_FOUND;
    }
    if (content_bytes(&source->plan) > port_body_maximum(source->destination)) {
        return ERROR_INVALID;
    }
    int error = carried_open(source);
    if (error != ERROR_NONE) {
        return error;
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
    carried_close(source);
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
    const struct stream_plan plan = {
        .stream_id = le64_load(request->stream_id),
        .destination = le64_load(request->destination),
        .size_bytes = le32_load(request->size_bytes),
        .window = le32_load(request->window),
        .count = le64_load(request->count),
        .interval_ns = le64_load(request->interval_ns),
        .seed = le64_load(request->seed),
        .check = le32_load(request->check),
        .rights = le32_load(request->rights),
    };

    if (!plan_is_valid(&plan)) {
        return ERROR_INVALID;
    }
    if (source_find(traffic, plan.stream_id) != NULL) {
        return ERROR_EXISTS;
    }
    struct traffic_source *source = heap_allocate(traffic->host, sizeof(*source));
    if (source == NULL) {
        return ERROR_NO_MEMORY;
    }
    *source = (struct traffic_source){.traffic = traffic, .plan = plan};
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
        source->stop_deadline_ns = source_deadline_after(now_ns, timeout_ns);
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
    struct traffic_source *source = source_find(traffic, le64_load(request.stream_id));
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
    if (!stop_hand_over(source, &promise, le64_load(request.timeout_ns))) {
        struct traffic_stop_reply reply = source_stop_reply(source);
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

void traffic_source_stop_all(struct traffic *traffic)
{
    for (struct traffic_source *source = traffic->sources; source != NULL; source = source->next) {
        source_stop_now(source);
    }
}

bool traffic_source_all_finished(struct traffic *traffic)
{
    for (struct traffic_source *source = traffic->sources; source != NULL; source = source->next) {
        if (!is_finished(source)) {
            return false;
        }
    }
    return true;
}

void traffic_source_destroy_all(struct traffic *traffic)
{
    traffic_source_stop_all(traffic);
    while (traffic->sources != NULL) {
        struct traffic_source *source = traffic->sources;
        traffic->sources = source->next;
        source_free(source);
    }
}
