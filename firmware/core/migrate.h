/* SPDX-License-Identifier: MIT
 *
 * Ports that move: their receive right goes from node to node in a message, their name and queue
 * with it (docs/spec/flipc.md, section 3.3). Private to core; with the IPC lock held, except where
 * noted.
 */
#ifndef CORE_MIGRATE_H
#define CORE_MIGRATE_H

#include "ipc_state.h"
#include "share.h"

struct node;
struct port;

/* The receive right goes into a message. */
void migrate_leave(struct port *port);

/* The message goes to `node`. Returns the number of this departure. */
uint16_t migrate_depart(struct port *port, const struct node *node);

/* A receiver on this node took it out again, or it came back unread. */
void migrate_stay(struct port *port, struct deferred *deferred);

/* Is what becomes of that departure of any interest? Not if the right has come back since. */
bool migrate_is_gone(const struct port *port, uint16_t departure);

/* `node` has received it: this port becomes a proxy. */
void migrate_arrived(struct port *port, const struct node *node, struct deferred *deferred);

/* `node` says that the port is dead. If that is where it went from here, and what became of the departure is
 * not known here yet, it is remembered until it is. */
COLD void migrate_died(struct port *port, const struct node *node);

/* The receive right of a port that has departed from here came back, from `giver`, before what
 * became of the departure was known. */
void migrate_back(struct port *port, uint32_t limit, struct node *giver,
                  struct share_spares *spares, struct deferred *deferred);

/* A receive right came from `giver`: `port`, a new one or the proxy of that name,
 * becomes its principal. */
void migrate_take(struct port *port, uint64_t name, uint32_t limit, struct node *giver,
                  struct share_spares *spares, struct deferred *deferred);

/* A proxy's home says that the port is at `node_id`. */
void migrate_moved(struct port *port, uint32_t node_id, struct deferred *deferred);

/* A message of ours came back, because the port is at `node_id`: it waits for its turn to go there.
 * It is in no list; its rights are its own again. */
void migrate_returned(struct port *port, struct kmsg *kmsg, const struct node *from,
                      uint32_t node_id, struct deferred *deferred);

/* No message is on its way any more. */
COLD void migrate_landed(struct port *port, struct deferred *deferred);

/* Go on with a move; without the lock. */
void migrate_work(struct port *port, struct deferred *deferred);

#endif
