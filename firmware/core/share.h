/* SPDX-License-Identifier: MIT
 *
 * struct share: the account of one port's rights between this node and one other. Private to core;
 * guarded by the IPC lock. docs/design/rights.md says why accounts are kept per node.
 *
 * The same record serves both ends of every relation. At the port's home it says what the other
 * node holds. At a holder it says what the home has on its account for us. At a node that passed a
 * right on to a third one it says what must be kept until the third has an account at the home, and
 * at the third, what it has to give back to the passer then.
 *
 * Invariants
 * - a port has at most one share with a node; both list it;
 * - port.given_send and given_once are the sums over its shares;
 * - a proxy with something given has one reference for that; a principal has none;
 * - a share with something to tell is in its node's `notices`, or in its `batch` and is entered
 *   again when that is settled.
 */
#ifndef CORE_SHARE_H
#define CORE_SHARE_H

#include "list.h"
#include <kernel/host.h>

struct deferred;
struct node;
struct port;

/* Rights of the two kinds that are counted. */
struct right_counts {
    uint32_t send;
    uint32_t once;
};

/* No count goes beyond it: what would is refused, or ignored and counted. */
#define RIGHTS_COUNT_MAXIMUM 0x7fffffffu
/* Of send-once rights in one account, since each that dies is told: as many as Mach lets a task have
 * references to a right (MACH_PORT_UREFS_MAX). */
#define RIGHTS_ONCE_MAXIMUM 0xffffu

struct share {
    struct list of_port;     /* port.shares */
    struct list of_node;     /* node.shares */
    struct list notice;      /* flow.notices or flow.batch */
    struct port *port;       /* null: it ended, and the node has still to be told */
    struct node *node;       /* null: an unused struct port.first */
    struct share *next_free; /* deferred.shares */
    uint64_t name;
    struct right_counts given; /* the node has them from us, we answer for them */
    struct right_counts held;  /* we have them, the node - the port's home - has our account */
    struct right_counts taken; /* we had them from the node, which answers for them until we have
                                  an account at the port's home */
    uint32_t away;             /* send-once rights on their way to the node, their home */
    uint32_t homeward;         /* send rights in messages to the node, their home: until those are
                                  settled none is dropped, or they would come to a port that ended */
    /* To tell the node. */
    struct right_counts add; /* of `held` */
    struct right_counts drop;
    uint32_t dead_once;
    bool tell_dead;
    bool tell_moved;
    bool tell_stay;
    bool tell_go;
    bool keeps;    /* the node was asked to stay as a former home */
    bool kept;     /* we were asked by it */
    bool batched;  /* in a message on its way */
    bool adding;   /* ... with additions */
    bool embedded; /* it is port->first */
    bool refused;  /* messages of the node came back as moved: it has to begin anew */
    bool passed;   /* of what is given, something was passed on when the port was elsewhere */
};

/* Ask the node, a former home of the port, to stay and tell where it is; or not any more. */
void share_keep(struct share *share, bool keep);

/* The node asks that of us. */
void share_stay(struct share *share, bool stay, struct deferred *deferred);

/* Has the node, the home, still to hear of rights that we had or have? */
static inline bool share_is_adding(const struct share *share)
{
    return share->adding || share->add.send != 0 || share->add.once != 0;
}

/* A message of the node to the port was refused as moved. From now on the order of its messages is
 * kept by refusing all of them, also when the port comes back, until the node begins anew. */
COLD void share_refuse(struct port *port, const struct node *node);

/* A message of the node to the port, which is here; `resumed`: it begins anew with it. May it be
 * delivered? */
bool share_accepts(struct port *port, const struct node *node, bool resumed);

/* Has the node something from us? */
static inline bool share_gives(const struct share *share)
{
    return share->given.send != 0 || share->given.once != 0;
}

/* Shares that were allocated without the lock, to be used with it. */
struct share_spares {
    struct list shares; /* share.of_port */
    uint32_t count;
};

void share_spares_init(struct share_spares *spares);
/* Have at least `count`; without the lock. False: no memory. */
bool share_spares_fill(struct mach_host *host, struct share_spares *spares, uint32_t count);
void share_spares_free(struct mach_host *host, struct share_spares *spares);

/* Of a port with several; share_find() and share_needs_spare() are in port.h. */
COLD struct share *share_find_other(const struct port *port, const struct node *node);

/* The share of a port with a living node, made now if need be: then of `port->first` if that is
 * free, else of a spare, which is there. */
struct share *share_open(struct port *port, struct node *node, struct share_spares *spares);

/* A share for a name that no port has, to tell the node that it is dead. */
void share_tell_unknown(struct node *node, uint64_t name, struct share_spares *spares);

/* Something to tell was entered: let the node have it soon. */
void share_tell(struct share *share);

/* Forget the share if nothing is left in it. */
void share_settle(struct share *share, struct deferred *deferred);

/* `count` rights more, or fewer, are given; fewer than there are: what there is. Returns how many it
 * was. A count that would grow too large stays as it is: 0. Who returns some has a reference to the port,
 * and looks for senders when that goes (port_unreference()). */
uint32_t share_give_send(struct share *share, uint32_t count);
uint32_t share_give_once(struct share *share, uint32_t count);
uint32_t share_return_send(struct share *share, uint32_t count, struct deferred *deferred);
uint32_t share_return_once(struct share *share, uint32_t count, struct deferred *deferred);

/* `count` given send-once rights died with the node or at it: returned, and the port's owner told. */
uint32_t share_once_died(struct share *share, uint32_t count, struct deferred *deferred);

/* A send-once right goes to its home, in a message or with the message that it is used for; it came
 * back; it is not on its way any more. Until then there is a share to enter it in. */
static inline void share_once_leaves(struct share *home)
{
    home->held.once--;
    home->away++;
}

static inline void share_once_back(struct share *home)
{
    if (home->away != 0)
        home->away--;
}

/* A send right that went home in a message to the node: the message is settled, or came back. */
COLD void share_send_arrived(struct port *port, const struct node *node, struct deferred *deferred);

COLD void share_once_arrived(struct port *port, const struct node *node, struct deferred *deferred);

/* Is the port's own account, with its home, the only one, and nothing in it? */
bool share_is_over(const struct port *port);

/* The port has ended: what we owe is told, the rest is forgotten. True: nothing is left that needs
 * port->first. */
bool share_port_ended(struct port *port, struct deferred *deferred);

/* The port is dead: its holders are told, all accounts are void. */
void share_port_died(struct port *port, struct deferred *deferred);

/* The node is dead: what it had comes back, what it answered for is gone. */
void share_node_died(struct node *node, struct deferred *deferred);

#endif
