/* SPDX-License-Identifier: MIT
 *
 * Kernel server `traffic`: its beginning and end, and the requests that are not DATA
 * (docs/spec/flipc.md, section 4).
 *
 * The serving thread handles DATA and requests in the order of arrival, so a LEDGER that follows
 * the last message of a stream tells of that message. Whose thread it is, and whose port: of the
 * loader's making (traffic_module.c), or the server's own where it is linked in (traffic_record.c).
 */
#include "traffic.h"

#include <kernel/string.h>

/* The account of one end of a stream; null: there is none. Of several sinks (incarnations), the
 * last one used. */
static struct traffic_account *account_find(struct traffic *traffic, uint64_t stream_id,
                                            uint32_t role)
{
    if (role == BLACKBOX_LEDGER_SOURCE) {
        for (struct traffic_source *source = traffic->sources; source != NULL;
             source = traffic_source_next(source)) {
            struct traffic_account *account = traffic_source_account(source);
            if (le64_load(account->ledger->stream_id) == stream_id) {
                return account;
            }
        }
    }
    if (role == BLACKBOX_LEDGER_SINK) {
        for (struct traffic_sink *sink = traffic->sinks; sink != NULL;
             sink = traffic_sink_next(sink)) {
            struct traffic_account *account = traffic_sink_account(sink);
            if (le64_load(account->ledger->stream_id) == stream_id) {
                return account;
            }
        }
    }
    return NULL;
}

static void start_answer(struct traffic *traffic, struct kmsg *message)
{
    struct traffic_start_request request;
    int status = ERROR_INVALID;

    if (service_read(message, &request, sizeof(request))) {
        status = traffic_source_start(traffic, &request);
    }
    service_answer_status(traffic->host, message, status);
}

static void ledger_answer(struct traffic *traffic, struct kmsg *message)
{
    struct traffic_ledger_request request;

    if (!service_read(message, &request, sizeof(request))) {
        service_answer_status(traffic->host, message, ERROR_INVALID);
        return;
    }
    struct traffic_account *account =
        account_find(traffic, le64_load(request.stream_id), le32_load(request.role));
    if (account == NULL) {
        service_answer_status(traffic->host, message, ERROR_NOT_FOUND);
        return;
    }
    struct traffic_ledger_reply reply = {.status = service_status_of(ERROR_NONE)};
    lock_acquire(&traffic->lock);
    reply.ledger = *account->ledger;
    lock_release(&traffic->lock);
    service_answer(traffic->host, message, &reply, sizeof(reply));
}

static int close_role(struct traffic *traffic, const struct traffic_ledger_request *request)
{
    switch (le32_load(request->role)) {
    case BLACKBOX_LEDGER_SOURCE:
        return traffic_source_close(traffic, le64_load(request->stream_id));
    case BLACKBOX_LEDGER_SINK:
        return traffic_sink_close(traffic, le64_load(request->stream_id));
    default:
        return ERROR_INVALID;
    }
}

static void close_answer(struct traffic *traffic, struct kmsg *message)
{
    struct traffic_ledger_request request;
    int status = ERROR_INVALID;

    if (service_read(message, &request, sizeof(request))) {
        status = close_role(traffic, &request);
    }
    service_answer_status(traffic->host, message, status);
}

void traffic_handle(struct traffic *traffic, struct kmsg *message)
{
    switch (kmsg_id(message)) {
    case TRAFFIC_DATA:
        traffic_sink_receive(traffic, message);
        break;
    case TRAFFIC_START:
        start_answer(traffic, message);
        break;
    case TRAFFIC_STOP:
        traffic_source_stop(traffic, message);
        break;
    case TRAFFIC_LEDGER:
        ledger_answer(traffic, message);
        break;
    case TRAFFIC_CLOSE:
        close_answer(traffic, message);
        break;
    default:
        service_answer_status(traffic->host, message, ERROR_INVALID);
        break;
    }
}

int traffic_open(struct traffic *traffic, struct mach_host *host)
{
    *traffic = (struct traffic){.host = host};
    lock_init(&traffic->lock);
    condition_init(&traffic->digest_wake);
    return thread_create(host, "digest", traffic_digest_main, traffic, &traffic->digest_thread);
}

static void digests_stop(struct traffic *traffic)
{
    lock_acquire(&traffic->lock);
    traffic->stopping = true;
    condition_signal(&traffic->digest_wake);
    lock_release(&traffic->lock);
    thread_join(traffic->digest_thread);
}

void traffic_close(struct traffic *traffic)
{
    if (traffic->digest_thread != NULL) {
        digests_stop(traffic);
        traffic->digest_thread = NULL;
    }
    traffic_source_destroy_all(traffic);
    traffic_sink_destroy_all(traffic);
}
