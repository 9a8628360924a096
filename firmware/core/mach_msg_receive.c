/* SPDX-License-Identifier: MIT
 *
 * mach_msg_receive(), from a port or from a port set. A message that brings no rights, or no more than
 * a call does, is taken in the one piece of code that the short way has; any other apart from it. The
 * IPC lock is taken once, unless the receiver has to wait.
 *
 * Whoever waits looks at what it waits for again after every wake-up, and before it believes that its
 * deadline passed. Before it waits, a thread looks at the links itself.
 */
#include "heap.h"
#include "kmsg.h"
#include "migrate.h"
#include "node.h"
#include "notify.h"
#include "port.h"
#include "rights.h"
#include <kernel/link_manager.h>

static bool is_receivable(const struct port *port)
{
    return port->kind == PORT_PRINCIPAL || port->kind == PORT_PREPRINCIPAL;
}

/* The receive rights in a message of this node are somebody's again. */
static void receive_rights_arrived(const struct kmsg *kmsg, struct deferred *deferred)
{
    for (uint32_t i = 0; i < kmsg->rights->count; i++) {
        const struct kmsg_right *right = &kmsg->rights->right[i];

        if (right->disposition == PORT_RECEIVE && right->port != NULL &&
            right->port->kind == PORT_POSTPRINCIPAL)
            migrate_stay(right->port, deferred);
    }
}

/* The oldest message that is one: what turns out to be none is refused. For what take_plain() leaves.
 */
APART static struct kmsg *take_message(struct port *port, struct deferred *deferred)
{
    struct kmsg *kmsg;

    while ((kmsg = port_dequeue(port)) != NULL) {
        int reason = 0;

        if (kmsg == port->death_notice)
            notify_received(port, deferred);
        if (kmsg->rights_state == KMSG_RIGHTS_WIRE)
            reason = rights_take(port, kmsg, deferred);
        else if (kmsg->rights != NULL)
            receive_rights_arrived(kmsg, deferred);
        if (reason == 0) {
            if (kmsg->source != NULL)
                flipc_settle(kmsg);
            return kmsg;
        }
        if (kmsg->source != NULL)
            flipc_refuse(kmsg, (enum flipc_nak_reason)reason, -1, deferred);
        else
            kmsg_end(kmsg, (enum message_outcome)0, deferred);
    }
    return NULL;
}

/* The oldest message, if it brings no rights, or no more than a call does. */
static struct kmsg *take_plain(struct port *port)
{
    struct kmsg *first = kmsg_of_queue(port->queue.next);
    struct kmsg *kmsg;

    if (list_is_empty(&port->queue) || !is_receivable(port) || first->rights != NULL ||
        first == port->death_notice ||
        (first->rights_state == KMSG_RIGHTS_WIRE && !rights_take_of_call(port, first)))
        return NULL;
    kmsg = port_dequeue(port);
    if (kmsg->source != NULL)
        flipc_settle(kmsg);
    return kmsg;
}

/* A message of this node has no flow that settles it: it is settled here. */
static mach_msg_return_t hand_over(struct kmsg *kmsg, struct kmsg **out)
{
    message_completion completion = kmsg->completion;

    *out = kmsg;
    if (completion != NULL) {
        kmsg->completion = NULL;
        completion(kmsg->completion_context, MESSAGE_SETTLED);
    }
    return MACH_MSG_SUCCESS;
}

/* Before it waits, a thread may look for its message itself. True: something arrived. */
static bool poll_links(struct mach_host *host)
{
    bool has_arrived;

    if (!link_manager_may_stand_in(host))
        return false;
    ipc_unlock(host);
    has_arrived = link_manager_poll(host);
    ipc_lock(host);
    return has_arrived;
}

/* What a receiver found to be at its end does not wait with it. False: there is nothing; true: done,
 * and the lock was released meanwhile. */
static bool finish_before_waiting(struct mach_host *host, struct deferred *deferred)
{
    if (deferred_is_empty(deferred))
        return false;
    ipc_unlock(host);
    deferred_run(host, deferred);
    deferred_init(deferred);
    ipc_lock(host);
    return true;
}

APART static mach_msg_return_t receive_locked(struct port *port, struct kmsg **kmsg,
                                              uint64_t deadline_ns, struct deferred *deferred)
{
    bool in_time = deadline_ns != 0;

    for (;;) {
        if (!is_receivable(port) && !port->dead)
            return MACH_RCV_PORT_CHANGED;
        if (!list_is_empty(&port->queue)) {
            *kmsg = take_plain(port);
            if (*kmsg == NULL)
                *kmsg = take_message(port, deferred);
            if (*kmsg != NULL)
                return MACH_MSG_SUCCESS;
        }
        if (port->dead)
            return MACH_RCV_PORT_DIED;
        if (!in_time)
            return MACH_RCV_TIMED_OUT;
        if (finish_before_waiting(port->host, deferred))
            continue;
        port->receivers_waiting++;
        in_time = condition_wait(&port->receivers, &port->host->ipc->lock, deadline_ns);
        port->receivers_waiting--;
    }
}

/* Would a receiver have to wait? */
static bool has_nothing(const struct port *port)
{
    return list_is_empty(&port->queue) && !port->dead && is_receivable(port);
}

/* Another thread may destroy the port meanwhile: it stays until this one has seen that. */
mach_msg_return_t mach_msg_receive(struct port *port, struct kmsg **kmsg, uint64_t deadline_ns)
{
    struct mach_host *host = port->host;
    struct kmsg *received;
    struct deferred deferred;
    mach_msg_return_t result;

    *kmsg = NULL;
    ipc_lock(host);
    received = take_plain(port);
    while (received == NULL && deadline_ns != 0 && has_nothing(port) && poll_links(host))
        received = take_plain(port);
    if (received != NULL) {
        ipc_unlock(host);
        return hand_over(received, kmsg);
    }
    deferred_init(&deferred);
    port_reference(port);
    port->holds++;
    result = receive_locked(port, &received, deadline_ns, &deferred);
    port->holds--;
    port_unreference(port, &deferred);
    ipc_unlock(host);
    deferred_run(host, &deferred);
    return result == MACH_MSG_SUCCESS ? hand_over(received, kmsg) : result;
}

/* take_plain() of the member whose turn it is. */
static struct kmsg *take_plain_of_set(const struct port_set *set, void **context)
{
    struct port *port;

    if (list_is_empty(&set->ready))
        return NULL;
    port = port_of_ready(set->ready.next);
    *context = port->context;
    return take_plain(port);
}

/* take_message() of it; the port may come to its end with that. */
APART static struct kmsg *take_message_of_set(const struct port_set *set, void **context,
                                              struct deferred *deferred)
{
    struct port *port = port_of_ready(set->ready.next);
    struct kmsg *kmsg;

    *context = port->context;
    port_reference(port);
    port->holds++;
    kmsg = take_message(port, deferred);
    port->holds--;
    port_unreference(port, deferred);
    return kmsg;
}

static mach_msg_return_t receive_set_locked(struct port_set *set, struct kmsg **kmsg,
                                            void **context, uint64_t deadline_ns,
                                            struct deferred *deferred)
{
    bool in_time = deadline_ns != 0;

    for (;;) {
        if (set->dead)
            return MACH_RCV_PORT_CHANGED;
        if (!list_is_empty(&set->ready)) {
            *kmsg = take_plain_of_set(set, context);
            if (*kmsg == NULL)
                *kmsg = take_message_of_set(set, context, deferred);
            if (*kmsg != NULL)
                return MACH_MSG_SUCCESS;
            continue;
        }
        if (set->interrupted) {
            set->interrupted = false;
            return MACH_RCV_INTERRUPTED;
        }
        if (!in_time)
            return MACH_RCV_TIMED_OUT;
        if (finish_before_waiting(set->host, deferred))
            continue;
        set->receivers_waiting++;
        in_time = condition_wait(&set->receivers, &set->host->ipc->lock, deadline_ns);
        set->receivers_waiting--;
    }
}

static bool set_has_nothing(const struct port_set *set)
{
    return list_is_empty(&set->ready) && !set->dead && !set->interrupted;
}

/* Takes the lock and a reference over from its caller: another thread may destroy the set meanwhile,
 * and it stays until this one has seen that. */
APART static mach_msg_return_t wait_for_set(struct port_set *set, struct kmsg **kmsg,
                                            void **context, uint64_t deadline_ns)
{
    struct mach_host *host = set->host;
    struct kmsg *received = NULL;
    struct deferred deferred;
    mach_msg_return_t result;
    bool last;

    deferred_init(&deferred);
    result = receive_set_locked(set, &received, context, deadline_ns, &deferred);
    last = --set->references == 0;
    ipc_unlock(host);
    deferred_run(host, &deferred);
    if (last)
        heap_free(host, set);
    return result == MACH_MSG_SUCCESS ? hand_over(received, kmsg) : result;
}

mach_msg_return_t mach_msg_receive_member(struct port_set *set, struct kmsg **kmsg, void **context,
                                          uint64_t deadline_ns)
{
    struct mach_host *host = set->host;
    struct kmsg *received;

    *kmsg = NULL;
    ipc_lock(host);
    received = take_plain_of_set(set, context);
    if (received == NULL) {
        set->references++;
        while (received == NULL && deadline_ns != 0 && set_has_nothing(set) && poll_links(host))
            received = take_plain_of_set(set, context);
        if (received == NULL)
            return wait_for_set(set, kmsg, context, deadline_ns);
        set->references--; /* never the last: a set that was destroyed has no messages */
    }
    ipc_unlock(host);
    return hand_over(received, kmsg);
}

mach_msg_return_t mach_msg_receive_set(struct port_set *set, struct kmsg **kmsg,
                                       uint64_t deadline_ns)
{
    void *context;

    return mach_msg_receive_member(set, kmsg, &context, deadline_ns);
}
