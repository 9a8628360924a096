/* SPDX-License-Identifier: MIT
 *
 * Notifications; see notify.h. The message of a request is allocated with the request, so that what
 * was promised can be told when memory is short. A notification needs no place in the queue.
 */
#include "notify.h"
#include "kmsg.h"
#include "node.h"
#include "port.h"
#include <kernel/string.h>

struct port_request {
    struct port_request *next;
    struct port *notify; /* with a reference */
    struct kmsg *kmsg;   /* this is its body */
    uint32_t id;         /* enum notify_id */
};

static struct port_request *request_of(struct kmsg *kmsg)
{
    return (struct port_request *)(void *)kmsg->body;
}

/* Takes over the message. */
static void notification_send(struct port *to, struct kmsg *kmsg, struct deferred *deferred)
{
    if (to->dead) {
        kmsg_end(kmsg, (enum message_outcome)0, deferred);
    } else {
        kmsg->mach.bits = le32_of(MACH_BITS(PORT_SEND, PORT_NONE));
        if (to->kind == PORT_PROXY)
            flipc_queue(to, kmsg, NULL);
        else
            port_deliver(to, kmsg);
    }
}

/* A request's reference to the port it tells is no send right. */
static void notify_release(struct port *notify, struct deferred *deferred)
{
    notify->holds--;
    port_unreference(notify, deferred);
}

static void request_answer(struct port *port, struct port_request *request,
                           struct deferred *deferred)
{
    struct notify_body body = {.name = le64_of(port->name)};
    struct port *to = request->notify;
    struct kmsg *kmsg = request->kmsg;

    kmsg->mach.id = le32_of(request->id);
    kmsg->mach.size = le32_of((uint32_t)(sizeof(kmsg->mach) + sizeof(body)));
    memcpy(kmsg->body, &body, sizeof(body));
    notification_send(to, kmsg, deferred);
    notify_release(to, deferred);
}

/* Answer the requests for `id`, all of them that there are. */
static void requests_answer(struct port *port, uint32_t id, struct deferred *deferred)
{
    struct port_request **place = &port->requests;

    while (*place != NULL) {
        struct port_request *request = *place;

        if (request->id != id) {
            place = &request->next;
            continue;
        }
        *place = request->next;
        request_answer(port, request, deferred);
    }
}

void notify_dead(struct port *port, struct deferred *deferred)
{
    requests_answer(port, NOTIFY_DEAD_NAME, deferred);
}

void notify_requests_forget(struct port *port, struct deferred *deferred)
{
    while (port->requests != NULL) {
        struct port_request *request = port->requests;
        struct port *notify = request->notify;

        port->requests = request->next;
        kmsg_end(request->kmsg, (enum message_outcome)0, deferred);
        notify_release(notify, deferred);
    }
}

/* --- Senders ---------------------------------------------------------------------------------- */

static bool has_senders(const struct port *port)
{
    return port->given.send != 0 || port->references != port->holds + port->once;
}

bool port_has_senders(struct port *port)
{
    bool senders;

    ipc_lock(port->host);
    senders = port_is_here(port) && !port->dead && has_senders(port);
    ipc_unlock(port->host);
    return senders;
}

static bool request_exists(const struct port *port, uint32_t id)
{
    const struct port_request *request = port->requests;

    while (request != NULL && request->id != id)
        request = request->next;
    return request != NULL;
}

/* Is its lack of senders something to tell? While the receive right is on its way to another node, who
 * may have it already, the senders there are not counted here any more. */
static bool is_without_senders(const struct port *port)
{
    return !port->dead && port_is_here(port) && !port->departed && !has_senders(port);
}

/* The requests are answered when the lock is released: to answer may end another port, and this one
 * is being counted. */
void port_check_senders(struct port *port, struct deferred *deferred)
{
    if (port->requests != NULL && is_without_senders(port) &&
        request_exists(port, NOTIFY_NO_SENDERS))
        port_defer_work(port, PORT_WORK_NOTIFY, deferred);
}

/* --- Requests --------------------------------------------------------------------------------- */

static int request_add(struct port *port, struct port *notify, uint32_t id,
                       struct deferred *deferred)
{
    struct kmsg *kmsg = kmsg_allocate(port->host, sizeof(struct port_request));
    int error = 0;

    if (kmsg == NULL)
        return ERROR_NO_MEMORY;
    *request_of(kmsg) = (struct port_request){.notify = notify, .kmsg = kmsg, .id = id};
    ipc_lock(port->host);
    if (id == NOTIFY_NO_SENDERS && (port->dead || !port_is_here(port))) {
        error = ERROR_INVALID;
    } else if (id == NOTIFY_NO_SENDERS && request_exists(port, id)) {
        error = ERROR_EXISTS;
    } else {
        port_reference(notify);
        notify->holds++;
        request_of(kmsg)->next = port->requests;
        port->requests = request_of(kmsg);
        if (port->dead)
            notify_dead(port, deferred);
        else
            port_check_senders(port, deferred);
    }
    ipc_unlock(port->host);
    if (error != 0)
        kmsg_free(kmsg);
    return error;
}

static int port_notify(struct port *port, struct port *notify, uint32_t id)
{
    struct deferred deferred;
    int error;

    deferred_init(&deferred);
    error = request_add(port, notify, id, &deferred);
    deferred_run(port->host, &deferred);
    return error;
}

int port_notify_no_senders(struct port *port, struct port *notify)
{
    return port_notify(port, notify, NOTIFY_NO_SENDERS);
}

int port_notify_dead(struct port *port, struct port *notify)
{
    return port_notify(port, notify, NOTIFY_DEAD_NAME);
}

/* --- Work ------------------------------------------------------------------------------------- */

static void tell_no_senders(struct port *port, struct deferred *deferred)
{
    ipc_lock(port->host);
    if (is_without_senders(port))
        requests_answer(port, NOTIFY_NO_SENDERS, deferred);
    ipc_unlock(port->host);
}

/* One notice a port waits to be received, however many deaths there are to tell: they cost a peer one
 * word, and us no memory. */
static bool owes_death_notice(const struct port *port)
{
    return port->once_died != 0 && port->death_notice == NULL && !port->dead;
}

static void tell_once_died(struct port *port, struct deferred *deferred)
{
    struct kmsg *kmsg;
    bool owes;

    ipc_lock(port->host);
    owes = owes_death_notice(port);
    ipc_unlock(port->host);
    kmsg = owes ? kmsg_allocate(port->host, 0) : NULL;
    if (kmsg == NULL)
        return; /* told with the next that dies */
    kmsg->mach.id = le32_of(NOTIFY_SEND_ONCE);
    ipc_lock(port->host);
    if (owes_death_notice(port)) {
        port->once_died--;
        port->death_notice = kmsg;
        notification_send(port, kmsg, deferred);
        kmsg = NULL;
    }
    ipc_unlock(port->host);
    kmsg_free(kmsg);
}

void notify_received(struct port *port, struct deferred *deferred)
{
    port->death_notice = NULL;
    if (port->once_died != 0)
        port_defer_work(port, PORT_WORK_NOTIFY, deferred);
}

void notify_work(struct port *port, struct deferred *deferred)
{
    tell_once_died(port, deferred);
    tell_no_senders(port, deferred);
}
