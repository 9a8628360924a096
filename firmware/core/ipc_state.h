/* SPDX-License-Identifier: MIT
 *
 * What the message layer has one of per host: its lock, and the list of what must wait until the
 * lock is released. Private to core.
 *
 * The IPC lock guards ports, port sets, names, nodes and flows alike: docs/design/locking.md says
 * why there is one. With it held nothing is allocated, freed or called back; what has to be is put
 * into a struct deferred and done afterwards.
 */
#ifndef CORE_IPC_STATE_H
#define CORE_IPC_STATE_H

#include "list.h"
#include <kernel/host.h>
#include <kernel/ipc.h>

struct ipc_state {
    struct lock lock;
    struct list idle; /* port.idle: names to take back, the longest unused first */
    uint32_t idle_count;
    uint32_t doubted_count; /* messages in port.doubted */
};

static inline void ipc_lock(struct mach_host *host)
{
    lock_acquire(&host->ipc->lock);
}

static inline void ipc_unlock(struct mach_host *host)
{
    lock_release(&host->ipc->lock);
}

/* Work collected under the IPC lock. Most calls leave none: what is below `is_used` is set up by the
 * first that does, through deferred_use(). */
struct deferred {
    bool is_used;
    struct list messages;       /* by kmsg.queue: tell the outcome, then free */
    struct port *ports;         /* by port.name_next: free */
    struct share *shares;       /* by share.next_free: free */
    struct kmsg_rights *rights; /* by kmsg_rights.next: free */
    struct port *work;          /* by port.work_next: enum port_work; each with a reference */
};

static inline void deferred_init(struct deferred *deferred)
{
    deferred->is_used = false;
}

/* Before anything is put into it. */
static inline void deferred_use(struct deferred *deferred)
{
    if (deferred->is_used)
        return;
    deferred->is_used = true;
    list_init(&deferred->messages);
    deferred->ports = NULL;
    deferred->shares = NULL;
    deferred->rights = NULL;
    deferred->work = NULL;
}

static inline bool deferred_is_empty(const struct deferred *deferred)
{
    return !deferred->is_used;
}

/* deferred_run() where there is something to do. */
APART void deferred_finish(struct mach_host *host, struct deferred *deferred);

/* Do it all; the IPC lock is not held. */
static inline void deferred_run(struct mach_host *host, struct deferred *deferred)
{
    if (!deferred_is_empty(deferred))
        deferred_finish(host, deferred);
}

/* The last right is gone or the message is at its end: free it when the lock is released, telling
 * its sender `outcome` (0: nobody asks) first. In no queue any more. */
void kmsg_defer(struct kmsg *kmsg, enum message_outcome outcome, struct deferred *deferred);

#endif
