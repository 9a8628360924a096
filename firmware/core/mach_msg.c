/* SPDX-License-Identifier: MIT
 *
 * mach_msg_send() and mach_msg_receive(): each takes the IPC lock once, unless it has to wait.
 *
 * Whoever waits looks at what it waits for again after every wake-up, and before it believes that
 * its deadline passed: a signal that reached it together with the deadline is not lost.
 */
#include "heap.h"
#include "kmsg.h"
#include "node.h"
#include "port.h"
#include <kernel/link_manager.h>
#include <kernel/panic.h>

/* --- Send ------------------------------------------------------------------------------------- */

/* A proxy shares what may wait for its node with all others of it. */
static bool has_room(const struct port *port)
{
    return port->count < port->limit && (port->kind != PORT_PROXY || flipc_has_room(port->node));
}

static mach_msg_return_t wait_for_room(struct port *port, uint64_t deadline_ns)
{
    bool in_time = deadline_ns != 0;

    for (;;) {
        if (port->dead)
            return MACH_SEND_INVALID_DEST;
        if (has_room(port))
            return MACH_MSG_SUCCESS;
        if (!in_time)
            return MACH_SEND_TIMED_OUT;
        port->senders_waiting++;
        in_time = condition_wait(&port->senders, &port->host->ipc->lock, deadline_ns);
        port->senders_waiting--;
    }
}

/* No waiting helps: the limit of a life never changes. Larger messages are for the node layer to
 * stop, since one that has a sequence number cannot be taken back. */
static bool is_too_large(const struct port *port, const struct kmsg *kmsg)
{
    return port->kind == PORT_PROXY && !port->dead &&
           le32_load(kmsg->mach.size) > port->node->message_max - sizeof(struct mnl_msg);
}

/* The reply right as the wire form and the receiver see it. A dead reply port is none. */
static void attach_reply(struct kmsg *kmsg, struct port *local, enum port_disposition disposition)
{
    if (local == NULL || local->dead) {
        kmsg->local = NULL;
        kmsg->mach.bits = le32_of(MACH_BITS(PORT_SEND, PORT_NONE));
        return;
    }
    port_reference(local);
    kmsg->local = local;
    if (disposition != PORT_SEND_ONCE)
        disposition = PORT_SEND;
    kmsg->mach.bits = le32_of(MACH_BITS(PORT_SEND, disposition));
}

/* Send the message off. Returns whose transmitter is to be given it, null: nobody's. */
static struct node *dispatch(struct port *remote, struct kmsg *kmsg)
{
    if (remote->kind == PORT_PROXY)
        return flipc_send(remote, kmsg) ? remote->node : NULL;
    port_enqueue(remote, kmsg);
    return NULL;
}

mach_msg_return_t mach_msg_send(struct kmsg *kmsg, struct port *remote, struct port *local,
                                enum port_disposition disposition, uint64_t deadline_ns)
{
    struct mach_host *host = remote->host;
    struct port *unused_right;
    struct node *node;
    mach_msg_return_t result;

    ipc_lock(host);
    result = is_too_large(remote, kmsg) ? MACH_SEND_TOO_LARGE : wait_for_room(remote, deadline_ns);
    if (result != MACH_MSG_SUCCESS) {
        ipc_unlock(host);
        return result;
    }
    unused_right = kmsg->local; /* of a received message that is sent on, if nobody took it */
    attach_reply(kmsg, local, disposition);
    kmsg->source_node = host->node_id;
    kmsg->source_incarnation = host->incarnation;
    node = dispatch(remote, kmsg);
    ipc_unlock(host);
    if (node != NULL && !node->transmitter.transmit(node->transmitter.context, msg_of_kmsg(kmsg))) {
        ipc_lock(host);
        flipc_untake(node, kmsg);
        ipc_unlock(host);
    }
    if (unused_right != NULL)
        port_release(unused_right);
    return MACH_MSG_SUCCESS;
}

/* --- Receive ---------------------------------------------------------------------------------- */

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

static mach_msg_return_t receive_locked(struct port *port, struct kmsg **kmsg, uint64_t deadline_ns)
{
    bool in_time = deadline_ns != 0;

    for (;;) {
        *kmsg = port_dequeue(port);
        if (*kmsg != NULL)
            return MACH_MSG_SUCCESS;
        if (port->dead)
            return MACH_RCV_PORT_DIED;
        if (!in_time)
            return MACH_RCV_TIMED_OUT;
        port->receivers_waiting++;
        in_time = condition_wait(&port->receivers, &port->host->ipc->lock, deadline_ns);
        port->receivers_waiting--;
    }
}

mach_msg_return_t mach_msg_receive(struct port *port, struct kmsg **kmsg, uint64_t deadline_ns)
{
    struct mach_host *host = port->host;
    struct kmsg *received;
    struct deferred deferred;
    mach_msg_return_t result;

    panic_unless(port->kind == PORT_PRINCIPAL);
    *kmsg = NULL;
    ipc_lock(host);
    received = port_dequeue(port);
    while (received == NULL && deadline_ns != 0 && poll_links(host))
        received = port_dequeue(port);
    if (received != NULL) {
        ipc_unlock(host);
        return hand_over(received, kmsg);
    }
    /* Another thread may destroy the port meanwhile: it stays until this one has seen that. */
    deferred_init(&deferred);
    port_reference(port);
    result = receive_locked(port, &received, deadline_ns);
    port_unreference(port, &deferred);
    ipc_unlock(host);
    deferred_run(host, &deferred);
    return result == MACH_MSG_SUCCESS ? hand_over(received, kmsg) : result;
}

static mach_msg_return_t receive_set_locked(struct port_set *set, struct kmsg **kmsg,
                                            void **context, uint64_t deadline_ns)
{
    bool in_time = deadline_ns != 0;

    for (;;) {
        if (set->dead)
            return MACH_RCV_PORT_CHANGED;
        if (!list_is_empty(&set->ready)) {
            struct port *port = port_of_ready(set->ready.next);

            *context = port->context;
            *kmsg = port_dequeue(port);
            return MACH_MSG_SUCCESS;
        }
        if (set->interrupted) {
            set->interrupted = false;
            return MACH_RCV_INTERRUPTED;
        }
        if (!in_time)
            return MACH_RCV_TIMED_OUT;
        set->receivers_waiting++;
        in_time = condition_wait(&set->receivers, &set->host->ipc->lock, deadline_ns);
        set->receivers_waiting--;
    }
}

mach_msg_return_t mach_msg_receive_member(struct port_set *set, struct kmsg **kmsg, void **context,
                                          uint64_t deadline_ns)
{
    struct mach_host *host = set->host;
    struct kmsg *received = NULL;
    mach_msg_return_t result;
    bool last;

    *kmsg = NULL;
    ipc_lock(host);
    set->references++;
    while (list_is_empty(&set->ready) && !set->dead && !set->interrupted && deadline_ns != 0 &&
           poll_links(host)) {
    }
    result = receive_set_locked(set, &received, context, deadline_ns);
    last = --set->references == 0;
    ipc_unlock(host);
    if (last)
        heap_free(host, set);
    return result == MACH_MSG_SUCCESS ? hand_over(received, kmsg) : result;
}

mach_msg_return_t mach_msg_receive_set(struct port_set *set, struct kmsg **kmsg,
                                       uint64_t deadline_ns)
{
    void *context;

    return mach_msg_receive_member(set, kmsg, &context, deadline_ns);
}
