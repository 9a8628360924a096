/* SPDX-License-Identifier: MIT
 *
 * Answering requests: what the kernel service and the kernel servers share. A *request* is a
 * message with a reply port; its *answer* has the request's id + SERVICE_REPLY_OFFSET and goes to
 * that port (docs/spec/flipc.md, section 4).
 *
 * Every function here takes over the message it is given. None waits: an answer for which the reply
 * port has no room is dropped, because one client that does not receive must not stop a service.
 * Any thread.
 */
#ifndef KERNEL_SERVICE_H
#define KERNEL_SERVICE_H

#include <abi/services.h>
#include <kernel/ipc.h>

/* Send the message back as its own answer, body unchanged. The benchmark's hot path: nothing is
 * allocated or copied. */
void service_echo(struct kmsg *request);

/* Answer with `len_bytes` of `body`, which begins with a struct service_status. Reuses the request
 * if it has room, else allocates; without memory nothing is answered and the client's deadline
 * tells. */
void service_answer(struct mach_host *host, struct kmsg *request, const void *body,
                    size_t len_bytes);

/* Send `answer`, whose id and body are set, to the request's reply port; both are taken over. */
void service_answer_with(struct kmsg *request, struct kmsg *answer);

/* Answer with a status alone: 0 or a negative enum error. */
void service_answer_status(struct mach_host *host, struct kmsg *request, int status);

/* An answer prepared while the request is at hand and sent later. */
struct service_promise {
    struct kmsg *answer;
    struct port *reply;
    enum port_disposition right; /* to `reply` */
};

/* Make an answer of `len_bytes` ready and free the request. 0, or ERROR_NO_MEMORY or ERROR_INVALID
 * (no reply port); then the request stays the caller's. */
int service_promise_make(struct mach_host *host, struct kmsg *request, size_t len_bytes,
                         struct service_promise *promise) MUST_CHECK;

/* Send it with `body` of the promised length. The promise is empty afterwards. */
void service_promise_keep(struct service_promise *promise, const void *body);

/* The 64-bit name of the port of a service that the loader brought or the image has, as the kernel
 * answers a LOOKUP; 0: none. */
uint64_t service_port_name(struct mach_host *host, const char *name);

/* 0 or a negative enum error, as every answer begins. */
static inline struct service_status service_status_of(int status)
{
    return (struct service_status){.status = le32_of((uint32_t)status)};
}

/* Copy the body of a request into `*request` if it has exactly `len_bytes`; false: it has not,
 * nothing is copied. */
bool service_read(struct kmsg *message, void *request, size_t len_bytes);

#endif
