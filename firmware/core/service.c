/* SPDX-License-Identifier: MIT
 *
 * Answers of services: sending a message to a reply port without waiting for it.
 */
#include <kernel/service.h>
#include <kernel/string.h>

/* Takes over both. */
static void answer_send(struct kmsg *answer, struct port *reply)
{
    mach_msg_return_t result = mach_msg_send(answer, reply, NULL, PORT_NONE, 0);

    if (result == MACH_SEND_TIMED_OUT) {
        /* A client with many requests under way and one reply port. Raising the limit here keeps
         * the usual case free of it; what is queued stays bounded, and is its own loss. */
        port_set_limit(reply, PORT_LIMIT_MAXIMUM);
        result = mach_msg_send(answer, reply, NULL, PORT_NONE, 0);
    }
    if (result != MACH_MSG_SUCCESS) {
        kmsg_free(answer);
    }
    port_release(reply);
}

void service_echo(struct kmsg *request)
{
    struct port *reply = kmsg_take_reply_port(request);

    if (reply == NULL) {
        kmsg_free(request);
        return;
    }
    kmsg_set_id(request, kmsg_id(request) + SERVICE_REPLY_OFFSET);
    answer_send(request, reply);
}

int service_promise_make(struct mach_host *host, struct kmsg *request, size_t len_bytes,
                         struct service_promise *promise)
{
    if (kmsg_reply_disposition(request) == PORT_NONE) {
        return ERROR_INVALID;
    }
    struct kmsg *answer = kmsg_allocate(host, len_bytes);
    if (answer == NULL) {
        return ERROR_NO_MEMORY;
    }
    kmsg_set_id(answer, kmsg_id(request) + SERVICE_REPLY_OFFSET);
    *promise = (struct service_promise){.answer = answer, .reply = kmsg_take_reply_port(request)};
    kmsg_free(request);
    return ERROR_NONE;
}

void service_promise_keep(struct service_promise *promise, const void *body)
{
    struct service_promise kept = *promise;

    *promise = (struct service_promise){.answer = NULL, .reply = NULL};
    memcpy(kmsg_body(kept.answer), body, kmsg_body_size(kept.answer));
    answer_send(kept.answer, kept.reply);
}

void service_answer(struct mach_host *host, struct kmsg *request, const void *body,
                    size_t len_bytes)
{
    struct service_promise promise;

    if (kmsg_set_body_size(request, len_bytes) == ERROR_NONE) {
        memcpy(kmsg_body(request), body, len_bytes);
        service_echo(request);
    } else if (service_promise_make(host, request, len_bytes, &promise) == ERROR_NONE) {
        service_promise_keep(&promise, body);
    } else {
        kmsg_free(request);
    }
}

void service_answer_with(struct kmsg *request, struct kmsg *answer)
{
    struct port *reply = kmsg_take_reply_port(request);

    if (reply != NULL) {
        answer_send(answer, reply);
    } else {
        kmsg_free(answer);
    }
    kmsg_free(request);
}

void service_answer_status(struct mach_host *host, struct kmsg *request, int status)
{
    struct service_status body = service_status_of(status);

    service_answer(host, request, &body, sizeof(body));
}

bool service_read(struct kmsg *message, void *request, size_t len_bytes)
{
    if (kmsg_body_size(message) != len_bytes) {
        return false;
    }
    memcpy(request, kmsg_body(message), len_bytes);
    return true;
}
