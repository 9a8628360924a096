/* SPDX-License-Identifier: MIT
 *
 * struct port and struct port_set. Private to core; everything here is guarded by the IPC lock and
 * called with it held, except where noted.
 *
 * A principal's `queue` holds what its owner will receive. A proxy's `queue` holds what was not
 * transmitted yet; `count` includes what was transmitted and is not settled, so the limit bounds
 * both. A message sent to a proxy has a reference to it until it is settled.
 *
 * A receive right that moves changes the kind of a port in place (migrate.c): here from principal
 * to postprincipal while the message with the right is on its way, then to proxy; there from
 * nothing to principal, or from proxy to preprincipal until no message of its own to the former
 * home is on its way, then to principal.
 */
#ifndef CORE_PORT_H
#define CORE_PORT_H

#include "ipc_state.h"
#include "share.h"
#include <kernel/ipc.h>

struct node;

enum port_kind {
    PORT_PRINCIPAL = 1,     /* its receive right is here */
    PORT_PROXY = 2,         /* stands for a port of `node` */
    PORT_PREPRINCIPAL = 3,  /* principal; messages sent from here wait in `held` for their turn */
    PORT_POSTPRINCIPAL = 4, /* its receive right is in a message; what comes is queued */
};

/* Work for the port that needs memory, or the lock from its beginning; done by deferred_run(). */
enum port_work {
    PORT_WORK_NOTIFY = 1,  /* tell `once_died` deaths of send-once rights */
    PORT_WORK_DESTROY = 2, /* its receive right died in a message */
    PORT_WORK_MOVE = 4,    /* go on with a move */
};

struct port {
    struct mach_host *host;
    uint64_t name;          /* 0: none */
    struct port *name_next; /* chain of the name table */
    struct list queue;      /* kmsg.queue */
    struct list ready;      /* in the set's or the node's list of ports with messages */
    struct list member;     /* in the set's members or the node's proxies */
    struct port_set *set;   /* of a principal; null: none */
    void *context;          /* for whoever receives from the set */
    struct server *owner;   /* of a principal: the kernel server whose thread made it, or null */
    struct event *death;    /* signalled when the port dies; null: nobody watches */
    struct node *node;      /* of a living proxy */
    struct condition senders;
    struct condition receivers;
    uint32_t references; /* rights, and messages on their way to a proxy */
    uint32_t limit;
    uint32_t count;
    uint32_t senders_waiting;
    uint32_t receivers_waiting;
    uint32_t in_flight; /* of a proxy: transmitted and not settled */
    uint8_t kind;       /* enum port_kind */
    bool dead;
    bool pinned;  /* its name was asked for: it keeps it */
    uint8_t work; /* enum port_work */

    /* Rights. */
    uint32_t holds; /* of a principal: references that are no send rights, send-once rights apart */
    uint32_t once;  /* of a principal: send-once rights on this node */
    uint32_t once_died;        /* of a principal: to be told, after `death_notice` */
    struct kmsg *death_notice; /* that one died: waits here to be received; null: none */
    struct right_counts given; /* the sum over `shares` */
    struct list shares;        /* share.of_port */
    struct share *home;        /* of a proxy: with its node */
    struct share first;
    struct port_request *requests; /* notify.c */
    struct list idle;              /* of a principal that had a name and no use for it once */
    struct port *work_next;        /* deferred.work */
    bool work_queued;

    /* Moves. */
    struct list held;    /* kmsg.queue: messages that came back, and what was sent after them */
    struct list doubted; /* kmsg.queue: messages that bring a port which is elsewhere, as far as is
                             * known here, and what their sources sent after them */
    struct list *held_mark;    /* the first of `held` that did not come back, or `held` */
    struct port *transit;      /* the local port in whose queue the receive right waits */
    uint32_t move_to;          /* node id, while `moving` or `departed` */
    uint64_t move_incarnation; /* of that node */
    uint16_t departure;        /* how often the receive right was sent to another node */
    bool departed;     /* of a postprincipal: bound for `move_to`, which may have it already */
    bool died_there;   /* ... and which said that it is dead */
    bool moving;       /* of a proxy: bound for `move_to`; of a postprincipal: arrived there */
    bool lingers;      /* of a proxy: without rights, until its home has heard of those it had */
    bool resume;       /* of a proxy: the next message is the first after others came back */
    uint8_t moves;     /* since a message was settled last */
    uint16_t kept;     /* share.kept among `shares` */
    uint16_t refusals; /* share.refused among `shares` */
};

struct port_set {
    struct mach_host *host;
    struct list members; /* port.member */
    struct list ready;   /* port.ready: members with messages, in turn */
    struct condition receivers;
    struct event *event; /* signalled by each message; null: none */
    uint32_t references; /* the owner's, and one a waiting receiver */
    uint32_t receivers_waiting;
    bool interrupted; /* the next receiver returns at once */
    bool dead;
};

static inline struct port *port_of_ready(struct list *link)
{
    return LIST_CONTAINER(link, struct port, ready);
}

static inline struct port *port_of_member(struct list *link)
{
    return LIST_CONTAINER(link, struct port, member);
}

/* A port with one reference, in no table. Null: no memory. Called without the lock. */
struct port *port_allocate(struct mach_host *host, enum port_kind kind, uint32_t limit);

static inline void port_reference(struct port *port)
{
    port->references++;
}

/* Is the receive right on this node, in somebody's hands or in a message? */
static inline bool port_is_here(const struct port *port)
{
    return port->kind != PORT_PROXY;
}

/* The node where the receive right is, as far as this one knows. */
uint32_t port_home(const struct port *port);

/* Do other nodes have rights from this one, or need it to find the port? */
static inline bool port_is_needed(const struct port *port)
{
    return port->given.send != 0 || port->given.once != 0 || port->kept != 0;
}

/* A send-once right to a principal, with its reference. */
static inline void port_make_once(struct port *port)
{
    port_reference(port);
    port->once++;
}

/* port_unreference() where there is more to it: it was the last, or somebody asked to be told. */
APART void port_unreferenced(struct port *port, struct deferred *deferred);

/* Give a reference back; the last one ends the port. */
static inline void port_unreference(struct port *port, struct deferred *deferred)
{
    if (--port->references == 0 || port->requests != NULL)
        port_unreferenced(port, deferred);
}

/* The port's account with the node, null: none. Nearly every port has one account only. */
static inline struct share *share_find(struct port *port, const struct node *node)
{
    return port->first.node == node ? &port->first : share_find_other(port, node);
}

/* Would share_open() take a spare? */
static inline bool share_needs_spare(const struct port *port, const struct node *node)
{
    return port->first.node != NULL && port->first.node != node &&
           share_find_other(port, node) == NULL;
}

/* It is dead now: whoever watches looks. */
static inline void port_tell_death(struct port *port)
{
    if (port->death != NULL)
        event_signal(port->death);
}

/* The home has heard of all rights, or there is none any more. */
COLD void port_stop_lingering(struct port *port, struct deferred *deferred);

/* Free the memory of an ended port when the lock is released. */
void port_defer_free(struct port *port, struct deferred *deferred);

/* Do `work` for the port when the lock is released. */
COLD void port_defer_work(struct port *port, enum port_work work, struct deferred *deferred);

/* The receive right is gone; or the proxy's node, or its port. */
COLD void port_die(struct port *port, struct deferred *deferred);

/* As port_destroy(), which may be due to a right that died; without the lock. */
void port_destroy_deferred(struct port *port, struct deferred *deferred);

/* `count` send-once rights died unused: its owner is told, here or at the proxy's home. */
COLD void port_once_died(struct port *port, uint32_t count, struct deferred *deferred);

/* A right of any kind on this node dies, with its reference. */
void port_right_die(struct port *port, enum port_disposition right, struct deferred *deferred);

/* Send rights may have become fewer. */
COLD void port_check_senders(struct port *port, struct deferred *deferred);

/* The port's name, given now if it has none; 0: dead, or the node's serial numbers are used up. */
uint64_t port_name_locked(struct port *port);

/* No other node has rights to this principal any more: its name will be taken back some day, unless it
 * is needed by then, or kept for good. */
void port_out_of_use(struct port *port);
void port_in_use(struct port *port);

/* One message less: whoever waits for room may have it. */
static inline void port_room_made(struct port *port)
{
    port->count--;
    if (port->senders_waiting != 0)
        condition_signal(&port->senders);
}

/* Put a message into a principal's queue, or take the oldest out (null: empty). */
void port_enqueue(struct port *port, struct kmsg *kmsg);
struct kmsg *port_dequeue(struct port *port);

/* Take a message out from anywhere in a principal's queue. */
void port_withdraw(struct port *port, struct kmsg *kmsg);

/* A message from this node to a principal of this node: queued, or held while that is none yet. */
APART void port_deliver(struct port *port, struct kmsg *kmsg);

/* Make a proxy that ended the proxy of `name`; null: none is kept. */
struct port *port_spare_take(struct node *node, uint64_t name);

/* The node dies: the spare's account is what frees it. */
void port_spare_forget(struct node *node);

/* Make a new port the proxy of `name`, which is at `node`. */
void port_become_proxy(struct port *port, struct node *node, uint64_t name);

enum resolution {
    RESOLVED,              /* *port has a new reference */
    RESOLUTION_UNKNOWN,    /* no such port, and no living node that could have it */
    RESOLUTION_NEEDS_PORT, /* a proxy must be made: call again with one of port_allocate() in *spare
                            */
};

/* The port called `name`. A proxy is made of *spare, which is null then. */
enum resolution port_resolve(struct mach_host *host, uint64_t name, struct port **spare,
                             struct port **port);

#endif
