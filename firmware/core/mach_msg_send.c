/* SPDX-License-Identifier: MIT
 *
 * mach_msg_send() and what else sends a message. It takes the IPC lock once, unless it has to wait or
 * to allocate. Receiving is in mach_msg_receive.c.
 *
 * Whoever waits looks at what it waits for again after every wake-up, and before it believes that
 * its deadline passed: a signal that reached it together with the deadline is not lost.
 */
#include "kmsg.h"
#include "node.h"
#include "port.h"
#include "rights.h"

/* A receive right may wait behind this many others before it is refused: what is in a queue cannot be
 * received before the right to that queue is. */
#define TRANSIT_DEPTH_MAXIMUM 16u

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
    return port->kind == PORT_PROXY && !port->dead && !kmsg_fits(kmsg, port->node);
}

/* A send-once right has its place in the port's queue, not in what may wait for a node that does not
 * listen. */
static bool may_wait(const struct port *port)
{
    return port->kind != PORT_PROXY || port->dead || flipc_has_room(port->node);
}

static bool has_once(const struct port *port)
{
    return port_is_here(port) ? port->once != 0 : port->home->held.once != 0;
}

struct sending {
    struct kmsg *kmsg;
    struct port *remote;
    struct port *local;
    enum port_disposition disposition; /* of `local` */
    bool once;                         /* the right to `remote` is a send-once right */
    bool moves;                        /* the right to `local` is the caller's own */
    struct node *node;                 /* whose transmitter is to be given it; null: nobody's */
    uint64_t deadline_ns;
    struct share_spares spares;
    struct deferred deferred;
};

/* Could the message wait in the queue of a port whose receive right it carries? */
static bool is_circular(const struct kmsg *kmsg, const struct port *remote)
{
    for (uint32_t i = 0; i < kmsg->rights->count; i++) {
        const struct kmsg_right *right = &kmsg->rights->right[i];
        const struct port *port = remote;
        uint32_t depth = 0;

        if (right->disposition != PORT_RECEIVE)
            continue;
        while (port != NULL && port != right->port && ++depth <= TRANSIT_DEPTH_MAXIMUM)
            port = port->transit;
        if (port != NULL)
            return true;
    }
    return false;
}

static mach_msg_return_t check_sending(const struct sending *sending)
{
    const struct port *remote = sending->remote, *local = sending->local;

    if (sending->once && !has_once(remote))
        return MACH_SEND_INVALID_RIGHT;
    if (sending->once && !may_wait(remote))
        return MACH_SEND_NO_BUFFER;
    if (local != NULL && !local->dead && sending->disposition == PORT_SEND_ONCE &&
        !port_is_here(local) && !has_once(local))
        return MACH_SEND_INVALID_RIGHT;
    if (sending->kmsg->rights != NULL && is_circular(sending->kmsg, remote))
        return MACH_SEND_INVALID_RIGHT;
    return MACH_MSG_SUCCESS;
}

/* Everything that may wait or fail. With the lock, which may be released meanwhile. */
static mach_msg_return_t prepare_sending(struct sending *sending)
{
    struct port *remote = sending->remote;
    struct mach_host *host = remote->host;

    for (;;) {
        mach_msg_return_t result = MACH_MSG_SUCCESS;
        uint32_t needs;
        bool filled;

        if (!sending->once)
            result = wait_for_room(remote, sending->deadline_ns);
        else if (remote->dead)
            result = MACH_SEND_INVALID_DEST;
        if (result == MACH_MSG_SUCCESS && is_too_large(remote, sending->kmsg))
            result = MACH_SEND_TOO_LARGE;
        if (result == MACH_MSG_SUCCESS)
            result = check_sending(sending);
        if (result != MACH_MSG_SUCCESS || remote->kind != PORT_PROXY)
            return result;
        needs = rights_give_needs(sending->kmsg, sending->local, remote->node);
        if (needs <= sending->spares.count)
            return MACH_MSG_SUCCESS;
        ipc_unlock(host);
        filled = share_spares_fill(host, &sending->spares, needs);
        ipc_lock(host);
        if (!filled)
            return MACH_SEND_NO_BUFFER;
    }
}

/* The reply right as the wire form and the receiver see it. A dead reply port is none. */
static void attach_reply(struct kmsg *kmsg, struct port *local, enum port_disposition disposition)
{
    uint32_t complex = kmsg_bits(kmsg) & MACH_BITS_COMPLEX;

    kmsg->local = NULL;
    if (local == NULL || local->dead) {
        kmsg->mach.bits = le32_of(complex | MACH_BITS(PORT_SEND, PORT_NONE));
        return;
    }
    if (disposition != PORT_SEND_ONCE)
        disposition = PORT_SEND;
    if (disposition == PORT_SEND)
        port_reference(local);
    else if (port_is_here(local))
        port_make_once(local);
    kmsg->local = local;
    kmsg->mach.bits = le32_of(complex | MACH_BITS(PORT_SEND, disposition));
}

static void stamp(struct kmsg *kmsg, const struct mach_host *host)
{
    kmsg->source_sender = kmsg->sender;
    kmsg->sender = 0;
    kmsg->source_node = host->node_id;
    kmsg->source_incarnation = host->incarnation;
}

/* Only a node that counts it sees what kind of right it was: here it is used up now. */
static void use_once(struct kmsg *kmsg, struct port *remote)
{
    if (port_is_here(remote)) {
        remote->once--;
        return;
    }
    share_once_leaves(remote->home);
    kmsg_set_remote_right(kmsg, PORT_SEND_ONCE);
}

static void deliver_here(struct port *remote, struct kmsg *kmsg)
{
    if (kmsg->rights != NULL) {
        for (uint32_t i = 0; i < kmsg->rights->count; i++) {
            if (kmsg->rights->right[i].disposition == PORT_RECEIVE &&
                kmsg->rights->right[i].port != NULL)
                kmsg->rights->right[i].port->transit = remote;
        }
    }
    port_deliver(remote, kmsg);
}

/* The message got a right of its own; the caller's goes. A send-once right of another node's port
 * moved already. */
static void give_up_own(struct sending *sending)
{
    struct port *local = sending->local;

    if (!local->dead && sending->disposition == PORT_SEND_ONCE) {
        if (!port_is_here(local))
            return;
        local->once--;
    }
    port_unreference(local, &sending->deferred);
}

static void send_locked(struct sending *sending)
{
    struct kmsg *kmsg = sending->kmsg;
    struct port *remote = sending->remote;

    if (kmsg->local != NULL) /* of a received message that is sent on, if nobody took it */
        port_right_die(kmsg->local, kmsg_reply_disposition(kmsg), &sending->deferred);
    attach_reply(kmsg, sending->local, sending->disposition);
    if (sending->moves && sending->local != NULL)
        give_up_own(sending);
    stamp(kmsg, remote->host);
    if (sending->once)
        use_once(kmsg, remote);
    if (remote->kind == PORT_PROXY)
        sending->node = flipc_send(remote, kmsg, &sending->spares) ? remote->node : NULL;
    else
        deliver_here(remote, kmsg);
    if (sending->once)
        port_unreference(remote, &sending->deferred);
}

/* The transmitter had no room. */
COLD static void take_back(struct node *node, struct kmsg *kmsg)
{
    struct deferred deferred;

    deferred_init(&deferred);
    ipc_lock(node->host);
    flipc_untake(node, kmsg, &deferred);
    ipc_unlock(node->host);
    deferred_run(node->host, &deferred);
}

/* Give a message that was fetched for it to the node's transmitter. Without the lock. */
static inline void transmit(struct node *node, struct kmsg *kmsg)
{
    if (node != NULL && !node->transmitter.transmit(node->transmitter.context, msg_of_kmsg(kmsg)))
        take_back(node, kmsg);
}

COLD static mach_msg_return_t send(struct sending *sending)
{
    struct mach_host *host = sending->remote->host;
    mach_msg_return_t result;

    share_spares_init(&sending->spares);
    deferred_init(&sending->deferred);
    ipc_lock(host);
    result = prepare_sending(sending);
    if (result == MACH_MSG_SUCCESS)
        send_locked(sending);
    ipc_unlock(host);
    transmit(sending->node, sending->kmsg);
    share_spares_free(host, &sending->spares);
    deferred_run(host, &sending->deferred);
    return result;
}

/* The usual case needs no memory, waits for nothing and ends nothing: the reply right, if there is
 * one, is to a port of this node, and no right needs an account that is not there. */
static bool is_simple(const struct kmsg *kmsg, const struct port *remote, const struct port *local)
{
    if (kmsg->local != NULL || remote->dead || is_too_large(remote, kmsg) ||
        (kmsg->rights != NULL &&
         (port_is_here(remote) || !rights_need_nothing(kmsg, remote->node))))
        return false;
    return local == NULL || (port_is_here(local) && !local->dead &&
                             (port_is_here(remote) || !share_needs_spare(local, remote->node)));
}

static void send_simple(struct kmsg *kmsg, struct port *remote, struct port *local,
                        enum port_disposition disposition)
{
    attach_reply(kmsg, local, disposition);
    stamp(kmsg, remote->host);
}

/* Send the message off. Returns whose transmitter is to be given it, null: nobody's. */
static struct node *dispatch(struct port *remote, struct kmsg *kmsg)
{
    if (remote->kind == PORT_PROXY)
        return flipc_send(remote, kmsg, NULL) ? remote->node : NULL;
    port_deliver(remote, kmsg);
    return NULL;
}

mach_msg_return_t mach_msg_send(struct kmsg *kmsg, struct port *remote, struct port *local,
                                enum port_disposition disposition, uint64_t deadline_ns)
{
    struct mach_host *host = remote->host;
    struct node *node;

    ipc_lock(host);
    if (is_simple(kmsg, remote, local) && has_room(remote)) {
        send_simple(kmsg, remote, local, disposition);
        node = dispatch(remote, kmsg);
        ipc_unlock(host);
        transmit(node, kmsg);
        return MACH_MSG_SUCCESS;
    }
    ipc_unlock(host);
    return send(&(struct sending){.kmsg = kmsg,
                                  .remote = remote,
                                  .local = local,
                                  .disposition = disposition,
                                  .deadline_ns = deadline_ns});
}

mach_msg_return_t mach_msg_send_once(struct kmsg *kmsg, struct port *remote, struct port *local,
                                     enum port_disposition disposition)
{
    struct mach_host *host = remote->host;
    struct node *node;

    ipc_lock(host);
    if (is_simple(kmsg, remote, local) && has_once(remote) && may_wait(remote) &&
        remote->requests == NULL) {
        send_simple(kmsg, remote, local, disposition);
        use_once(kmsg, remote);
        node = dispatch(remote, kmsg);
        remote->references--; /* never the last: the message has one, or the receive right */
        ipc_unlock(host);
        transmit(node, kmsg);
        return MACH_MSG_SUCCESS;
    }
    ipc_unlock(host);
    return send(&(struct sending){
        .kmsg = kmsg, .remote = remote, .local = local, .disposition = disposition, .once = true});
}

mach_msg_return_t mach_msg_forward(struct kmsg *kmsg, struct port *remote, struct port *reply,
                                   enum port_disposition right)
{
    return send(&(struct sending){
        .kmsg = kmsg, .remote = remote, .local = reply, .disposition = right, .moves = true});
}

mach_msg_return_t mach_msg_reply(struct kmsg *kmsg, struct port *reply, enum port_disposition right)
{
    mach_msg_return_t result;

    if (right == PORT_SEND_ONCE) {
        result = mach_msg_send_once(kmsg, reply, NULL, PORT_NONE);
        if (result != MACH_MSG_SUCCESS)
            port_release_right(reply, PORT_SEND_ONCE);
        return result;
    }
    result = mach_msg_send(kmsg, reply, NULL, PORT_NONE, 0);
    port_release(reply);
    return result;
}
