/* SPDX-License-Identifier: MIT
 *
 * struct port and struct port_set. Private to core; everything here is guarded by the IPC lock and
 * called with it held, except where noted.
 *
 * A principal's `queue` holds what its owner will receive. A proxy's `queue` holds what was not
 * transmitted yet; `count` includes what was transmitted and is not settled, so the limit bounds
 * both. A message sent to a proxy has a reference to it until it is settled.
 */
#ifndef CORE_PORT_H
#define CORE_PORT_H

#include "ipc_state.h"
#include <kernel/ipc.h>

struct node;

enum port_kind {
    PORT_PRINCIPAL = 1, /* its receive right is here */
    PORT_PROXY = 2,     /* stands for a port of `node` */
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
    uint8_t kind; /* enum port_kind */
    bool dead;
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

/* Give a reference back; the last one ends the port. */
void port_unreference(struct port *port, struct deferred *deferred);

/* It is dead now: whoever watches looks. */
static inline void port_tell_death(struct port *port)
{
    if (port->death != NULL)
        event_signal(port->death);
}

/* The port's name, given now if it has none; 0: dead, or the node's serial numbers are used up. */
uint64_t port_name_locked(struct port *port);

/* One message less: whoever waits for room may have it. */
static inline void port_room_made(struct port *port)
{
    port->count--;
    if (port->senders_waiting != 0)
        condition_signal(&port->senders);
}

/* Put a message into a principal's queue, or take the oldest out (null: empty) and settle it with
 * its source. */
void port_enqueue(struct port *port, struct kmsg *kmsg);
struct kmsg *port_dequeue(struct port *port);

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
