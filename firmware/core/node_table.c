/* SPDX-License-Identifier: MIT
 *
 * The node table: who is registered under each id, which incarnations are dead, who is told, and
 * the figures.
 *
 * A death is told exactly once for each incarnation, before anything newer of that id can be
 * registered: the slot stays closed while the observers are told, without the lock.
 */
#include "heap.h"
#include "name_table.h"
#include "node.h"
#include "node_notice.h"
#include <kernel/string.h>

int node_table_open(struct mach_host *host)
{
    uint32_t slots = host->constants.nodes_max;
    size_t size = sizeof(struct node_table) + slots * sizeof(struct node_slot);
    struct node_table *table = heap_allocate(host, size);

    if (table == NULL)
        return ERROR_NO_MEMORY;
    memset(table, 0, size);
    list_init(&table->handles);
    table->slot_count = slots;
    host->nodes = table;
    return 0;
}

struct node_slot *node_slot_of(struct mach_host *host, uint32_t node_id)
{
    struct node_table *table = host->nodes;

    if (node_id >= table->slot_count || node_id == host->node_id)
        return NULL;
    return &table->slots[node_id];
}

struct node *node_live(struct mach_host *host, uint32_t node_id)
{
    const struct node_slot *slot = node_slot_of(host, node_id);

    return slot == NULL ? NULL : slot->live;
}

/* A well-known name means the life that is registered now; an ordinary one belongs to one life. A
 * driver that never told the peer's incarnation has no tags to check: there a name lives as long as
 * its node. */
struct node *node_of_name(struct mach_host *host, uint64_t name)
{
    struct node *node = node_live(host, NAME_NODE(name));
    uint16_t tag = NAME_TAG(name);

    if (node == NULL)
        return NULL;
    if (tag != 0 && node->knows_incarnation && tag != NAME_TAG_OF_INCARNATION(node->incarnation))
        return NULL;
    return node;
}

/* --- Observers -------------------------------------------------------------------------------- */

void node_observe(struct mach_host *host, struct node_observer *observer)
{
    struct node_observer **place;

    ipc_lock(host);
    for (place = &host->nodes->observers; *place != NULL; place = &(*place)->next)
        ;
    observer->next = NULL;
    *place = observer;
    ipc_unlock(host);
}

void node_tell_up(struct mach_host *host, uint32_t node_id, uint64_t incarnation)
{
    for (struct node_observer *observer = host->nodes->observers; observer != NULL;
         observer = observer->next) {
        if (observer->up != NULL)
            observer->up(observer->context, node_id, incarnation);
    }
}

void node_tell_dead(struct mach_host *host, uint32_t node_id, uint64_t incarnation,
                    enum node_death_cause cause)
{
    for (struct node_observer *observer = host->nodes->observers; observer != NULL;
         observer = observer->next) {
        if (observer->dead != NULL)
            observer->dead(observer->context, node_id, incarnation, cause);
    }
}

static void tell_self_dead(struct mach_host *host, enum node_death_cause cause)
{
    for (struct node_observer *observer = host->nodes->observers; observer != NULL;
         observer = observer->next) {
        if (observer->self_dead != NULL)
            observer->self_dead(observer->context, host->incarnation, cause);
    }
}

/* --- Death ------------------------------------------------------------------------------------ */

int node_declare_dead(struct mach_host *host, uint32_t node_id, uint64_t incarnation,
                      enum node_death_cause cause)
{
    struct node_slot *slot = node_slot_of(host, node_id);
    bool had_bootstrap = false;
    uint64_t older = 0; /* an incarnation that lived here and must have died unnoticed */
    struct deferred deferred;

    if (slot == NULL || incarnation == 0)
        return ERROR_INVALID;
    deferred_init(&deferred);
    ipc_lock(host);
    if (incarnation <= slot->dead_incarnation) {
        ipc_unlock(host);
        return ERROR_EXISTS;
    }
    slot->dead_incarnation = incarnation;
    slot->closing++;
    host->nodes->counters.deaths++;
    if (slot->live != NULL && slot->live->incarnation <= incarnation) {
        if (slot->live->incarnation < incarnation) {
            older = slot->live->incarnation;
            host->nodes->counters.deaths++;
        }
        had_bootstrap = slot->live->bootstrap_up;
        node_end(slot->live, &deferred);
    }
    ipc_unlock(host);
    deferred_run(host, &deferred);
    if (older != 0)
        node_tell_dead(host, node_id, older, NODE_DEATH_INCARNATION);
    node_tell_dead(host, node_id, incarnation, cause);
    if (had_bootstrap)
        node_bootstrap_gone(host, node_id);
    ipc_lock(host);
    slot->closing--;
    ipc_unlock(host);
    return 0;
}

void node_death_received(struct mach_host *host, const struct node_death_body *death)
{
    enum node_death_cause cause = (enum node_death_cause)le32_load(death->cause);
    uint64_t incarnation = le64_load(death->incarnation);
    uint32_t node_id = le32_load(death->node_id);
    int error = 0;

    if (node_id == host->node_id) {
        if (incarnation == host->incarnation)
            tell_self_dead(host, cause);
        else
            error = ERROR_INVALID;
    } else if (node_id == 0) {
        error = ERROR_INVALID; /* it says so itself */
    } else {
        error = node_declare_dead(host, node_id, incarnation, cause);
    }
    if (error == ERROR_INVALID) {
        ipc_lock(host);
        host->nodes->counters.dropped++;
        ipc_unlock(host);
    }
}

bool node_is_declared_dead(struct mach_host *host, uint32_t node_id, uint64_t incarnation)
{
    struct node_slot *slot = node_slot_of(host, node_id);
    bool dead;

    if (slot == NULL)
        return false;
    ipc_lock(host);
    dead = incarnation <= slot->dead_incarnation;
    ipc_unlock(host);
    return dead;
}

uint64_t node_incarnation(struct mach_host *host, uint32_t node_id)
{
    struct node_slot *slot = node_slot_of(host, node_id);
    uint64_t incarnation = 0;

    if (slot == NULL)
        return 0;
    ipc_lock(host);
    if (slot->live != NULL)
        incarnation = slot->live->incarnation;
    ipc_unlock(host);
    return incarnation;
}

/* --- Figures ---------------------------------------------------------------------------------- */

void node_statistics_read(struct mach_host *host, struct node_statistics *statistics)
{
    struct heap_statistics heap = heap_statistics(host);
    struct node_counters counters;
    uint64_t names, ports;

    ipc_lock(host);
    counters = host->nodes->counters;
    names = name_count(host);
    ports = heap_count(host, HEAP_PORT) - host->nodes->spare_count;
    ipc_unlock(host);
    *statistics = (struct node_statistics){
        .uptime_ns = clock_now_ns(),
        .heap_used_bytes = heap.used_bytes,
        .heap_peak_bytes = heap.peak_bytes,
        .heap_size_bytes = heap.size_bytes,
        .ports = ports,
        .messages = heap_count(host, HEAP_KMSG),
        .names = names,
        .nodes = heap_count(host, HEAP_NODE),
        .sent = counters.sent,
        .settled = counters.settled,
        .failed = counters.failed,
        .unknown = counters.unknown,
        .received = counters.received,
        .refused = counters.refused,
        .duplicates = counters.duplicates,
        .deaths = counters.deaths,
    };
}
