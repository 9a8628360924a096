/* SPDX-License-Identifier: MIT
 *
 * Answers of services: sending a message to a reply port without waiting for it.
 */
#include <abi/flipc.h>
#include <kernel/kern_server.h>
#include <kernel/server_table.h>
#include <kernel/service.h>
#include <kernel/string.h>

/* Takes over both. A send-once right has its place in the queue; others may find it full: a client
 * with many requests under way and one reply port. Raising the limit here keeps the usual case free
 * of it; what is queued stays bounded, and is its own loss. */
static void answer_send(struct kmsg *answer, struct port *reply, enum port_disposition right)
{
    if (right != PORT_SEND_ONCE &&
        mach_msg_send(answer, reply, NULL, PORT_NONE, 0) == MACH_MSG_SUCCESS) {
        port_release(reply);
        return;
    }
    if (right != PORT_SEND_ONCE) {
        port_set_limit(reply, PORT_LIMIT_MAXIMUM);
    }
    if (mach_msg_reply(answer, reply, right) != MACH_MSG_SUCCESS) {
        kmsg_free(answer);
    }
}

void service_echo(struct kmsg *request)
{
    struct port *reply = kmsg_take_reply_port(request);

    if (reply == NULL) {
        kmsg_free(request);
        return;
    }
    kmsg_set_id(request, kmsg_id(request) + SERVICE_REPLY_OFFSET);
    answer_send(request, reply, kmsg_reply_disposition(request));
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
    *promise = (struct service_promise){.answer = answer,
                                        .reply = kmsg_take_reply_port(request),
                                        .right = kmsg_reply_disposition(request)};
    kmsg_free(request);
    return ERROR_NONE;
}

void service_promise_keep(struct service_promise *promise, const void *body)
{
    struct service_promise kept = *promise;

    *promise = (struct service_promise){.answer = NULL, .reply = NULL};
    memcpy(kmsg_body(kept.answer), body, kmsg_body_size(kept.answer));
    answer_send(kept.answer, kept.reply, kept.right);
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
    enum port_disposition right = kmsg_reply_disposition(request);
    struct port *reply = kmsg_take_reply_port(request);

    if (reply != NULL) {
        answer_send(answer, reply, right);
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

uint64_t service_port_name(struct mach_host *host, const char *name)
{
    uint64_t port_name = server_table_lookup(host, name);

    return port_name != NAME_NULL ? port_name : kern_server_service_name(host, name);
}
