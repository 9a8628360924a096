/* SPDX-License-Identifier: MIT
 *
 * Notifications: messages of the kernel about a port's rights (docs/spec/flipc.md, section 5).
 * Private to core; with the IPC lock held, except where noted.
 */
#ifndef CORE_NOTIFY_H
#define CORE_NOTIFY_H

#include "ipc_state.h"

struct port;

/* The requests about dead names are answered. */
void notify_dead(struct port *port, struct deferred *deferred);

/* The port ends: its requests are over. */
COLD void notify_requests_forget(struct port *port, struct deferred *deferred);

/* What port_once_died() and port_check_senders() found to tell; without the lock. A death that there
 * is no memory to tell of is told with the next. */
void notify_work(struct port *port, struct deferred *deferred);

/* port->death_notice was taken off the queue: the next may follow. */
COLD void notify_received(struct port *port, struct deferred *deferred);

#endif
