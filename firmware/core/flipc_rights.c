/* SPDX-License-Identifier: MIT
 *
 * FLIPC, accounts of rights: what the shares of a node have to tell, a batch at a time, and what the
 * node tells of its own (docs/spec/flipc.md, section 3.2).
 *
 * There is one RIGHTS message a node and it is used again when the last was settled, so telling
 * needs no memory, costs one frame for many accounts, and keeps their order.
 */
#include "migrate.h"
#include "name_table.h"
#include "node.h"
#include "port.h"

#define ENTRIES_PER_SHARE 9u /* at most */

struct kmsg *flow_rights_allocate(struct mach_host *host)
{
    return kmsg_allocate_standing(host,
                                  sizeof(struct flipc_rights_body) +
                                      FLIPC_RIGHTS_MAXIMUM * sizeof(struct flipc_rights_entry));
}

/* --- Tell ------------------------------------------------------------------------------------- */

/* The entries of a message that is being written. */
struct telling {
    struct flipc_rights_entry *entries;
    uint32_t count;
};

static void put(struct telling *telling, const struct share *share, uint32_t operation,
                uint32_t value)
{
    if (value != 0)
        telling->entries[telling->count++] = (struct flipc_rights_entry){
            .name = le64_of(share->name), .operation = le32_of(operation), .value = le32_of(value)};
}

/* The order matters: what is added is there before it is dropped. */
static void put_share(struct telling *telling, struct share *share)
{
    const struct port *port = share->port;

    put(telling, share, RIGHTS_STAY, share->tell_stay ? 1 : 0);
    put(telling, share, RIGHTS_ADD_SEND, share->add.send);
    put(telling, share, RIGHTS_ADD_ONCE, share->add.once);
    put(telling, share, RIGHTS_DROP_SEND, share->homeward == 0 ? share->drop.send : 0);
    put(telling, share, RIGHTS_DROP_ONCE, share->drop.once);
    put(telling, share, RIGHTS_DEAD_ONCE, share->dead_once);
    put(telling, share, RIGHTS_PORT_DEAD, share->tell_dead ? 1 : 0);
    if (share->tell_moved && port != NULL && port->kind == PORT_PROXY && !port->dead)
        put(telling, share, RIGHTS_PORT_MOVED, WIRE_HOME(port->node->id));
    put(telling, share, RIGHTS_GO, share->tell_go ? 1 : 0);
    share->adding = (share->add.send | share->add.once) != 0 || share->tell_stay;
    share->add = (struct right_counts){0};
    share->drop = (struct right_counts){.send = share->homeward == 0 ? 0 : share->drop.send};
    share->dead_once = 0;
    share->tell_dead = share->tell_moved = share->tell_stay = share->tell_go = false;
}

struct kmsg *flipc_rights_take(struct node *node)
{
    struct flow *flow = &node->flow;
    struct kmsg *kmsg = flow->rights;
    struct flipc_rights_body *body = (struct flipc_rights_body *)(void *)&kmsg->mach;
    struct telling telling = {.entries = body->entries};

    if (flow->rights_busy || kmsg->held != 0)
        return NULL;
    while (!list_is_empty(&flow->notices) &&
           telling.count + ENTRIES_PER_SHARE <= FLIPC_RIGHTS_MAXIMUM) {
        struct share *share = LIST_CONTAINER(flow->notices.next, struct share, notice);

        list_remove(&share->notice);
        flow->notice_count--;
        list_append(&flow->batch, &share->notice);
        share->batched = true;
        put_share(&telling, share);
        if (share->adding && share->port != NULL)
            flipc_make_ready(share->port);
    }
    body->count = le32_of(telling.count);
    body->reserved = le32_of(0);
    kmsg->header = (struct wire_mnl_header){
        .sub = MNL_SUB_FLIPC,
        .cmd = FLIPC_RIGHTS,
        .flags = MNL_FLAG_SEQUENCED,
        .node_id = le32_of(node->host->node_id),
        .size = le32_of((uint32_t)(sizeof(*body) + telling.count * sizeof(body->entries[0]))),
    };
    flow->rights_busy = true;
    return kmsg;
}

/* Have those to hear of it who answer from now on: the home of our rights, and the former homes that are
 * to stay? Whoever answered before us may let go of the port's former home. */
static bool is_told(const struct port *port)
{
    if (port->home == NULL ? !port_is_here(port) || port->dead : share_is_adding(port->home))
        return false;
    for (struct list *link = port->shares.next; link != &port->shares; link = link->next) {
        const struct share *share = LIST_CONTAINER(link, struct share, of_port);

        if (share->tell_stay || (share->keeps && share->adding))
            return false;
    }
    return true;
}

void flipc_rights_told(struct port *port, struct deferred *deferred)
{
    if (!is_told(port))
        return;
    for (struct list *link = port->shares.next; link != &port->shares; link = link->next) {
        struct share *share = LIST_CONTAINER(link, struct share, of_port);

        if (share->taken.send == 0 && share->taken.once == 0)
            continue;
        share->drop.send += share->taken.send;
        share->drop.once += share->taken.once;
        share->taken = (struct right_counts){0};
        share_tell(share);
    }
    port_stop_lingering(port, deferred);
}

void flipc_rights_settled(struct node *node, struct deferred *deferred)
{
    struct flow *flow = &node->flow;

    flow->rights_busy = false;
    while (!list_is_empty(&flow->batch)) {
        struct share *share = LIST_CONTAINER(flow->batch.next, struct share, notice);
        struct port *port = share->port; /* it may have ended; then it has no home */
        bool added = share->adding;

        list_remove(&share->notice);
        share->batched = share->adding = false;
        share_settle(share, deferred);
        if (added && port != NULL)
            flipc_rights_told(port, deferred);
    }
    if (!list_is_empty(&flow->notices))
        node_kick(node);
}

/* --- Be told ---------------------------------------------------------------------------------- */

int flipc_rights_check(const struct flipc_rights_body *body, uint32_t size_bytes)
{
    uint32_t count;
    int spares = 0;

    if (size_bytes < sizeof(*body))
        return -1;
    count = le32_load(body->count);
    if (count > FLIPC_RIGHTS_MAXIMUM ||
        size_bytes != sizeof(*body) + count * sizeof(body->entries[0]))
        return -1;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t operation = le32_load(body->entries[i].operation);

        if (operation == RIGHTS_ADD_SEND || operation == RIGHTS_ADD_ONCE ||
            operation == RIGHTS_STAY)
            spares++;
    }
    return spares;
}

/* One entry, in native words. */
struct entry {
    uint64_t name;
    uint32_t operation;
    uint32_t value;
};

/* A holder that we did not know of. If the port went on, it has to know where to; if it went to the
 * holder itself, the holder will drop what it adds here. */
static bool add(struct node *node, struct port *port, const struct entry *entry,
                struct share_spares *spares)
{
    struct share *share;

    if (port == NULL) {
        if (node->flow.notice_count >= FLOW_NOTICES_MAXIMUM)
            return false;
        share_tell_unknown(node, entry->name, spares);
        return true;
    }
    share = share_open(port, node, spares);
    share->name = port->name;
    if (entry->operation == RIGHTS_ADD_SEND ? share_give_send(share, entry->value) == 0
                                            : share_give_once(share, entry->value) == 0)
        return false;
    if (port_is_here(port))
        return true;
    if (entry->operation == RIGHTS_ADD_ONCE) {
        port->home->held.once += entry->value;
        port->home->add.once += entry->value;
        share_tell(port->home);
    }
    share->tell_moved = true;
    share_tell(share);
    return true;
}

static bool drop(struct port *port, struct share *share, const struct entry *entry,
                 struct deferred *deferred)
{
    uint32_t count;

    if (entry->operation == RIGHTS_DROP_SEND)
        return share_return_send(share, entry->value, deferred) == entry->value;
    if (entry->operation == RIGHTS_DEAD_ONCE)
        return share_once_died(share, entry->value, deferred) == entry->value;
    port_reference(port);
    count = share_return_once(share, entry->value, deferred);
    if (!port_is_here(port) && port->home != NULL) {
        if (count > port->home->held.once)
            count = port->home->held.once;
        port->home->held.once -= count;
        port->home->drop.once += count;
        share_tell(port->home);
    }
    port_unreference(port, deferred);
    return count == entry->value;
}

static bool drop_if_given(struct node *node, struct port *port, const struct entry *entry,
                          struct deferred *deferred)
{
    struct share *share = port == NULL ? NULL : share_find(port, node);
    bool all;

    if (share == NULL)
        return port == NULL; /* dead meanwhile, and the node does not know it yet */
    port_reference(port);
    all = drop(port, share, entry, deferred);
    share_settle(share, deferred);
    port_unreference(port, deferred);
    return all;
}

static bool stay(struct node *node, struct port *port, struct share_spares *spares,
                 struct deferred *deferred)
{
    struct share *share;

    if (port == NULL)
        return true;
    share = share_open(port, node, spares);
    share->name = port->name;
    share_stay(share, true, deferred);
    return true;
}

static bool go(struct node *node, struct port *port, struct deferred *deferred)
{
    struct share *share = port == NULL ? NULL : share_find(port, node);

    if (share == NULL)
        return port == NULL;
    port_reference(port);
    share_stay(share, false, deferred);
    share_settle(share, deferred);
    port_unreference(port, deferred);
    return true;
}

static bool told_dead(struct port *port, const struct node *node, struct deferred *deferred)
{
    if (port != NULL && port_is_here(port))
        migrate_died(port, node);
    if (port == NULL || port_is_here(port) || port->node != node)
        return true;
    port->home->held = port->home->add = (struct right_counts){0};
    port_die(port, deferred);
    return true;
}

static bool told_moved(struct port *port, const struct node *node, uint32_t home,
                       struct deferred *deferred)
{
    if (port == NULL || port_is_here(port) || port->node != node)
        return true;
    migrate_moved(port, WIRE_HOME_NODE(home), deferred);
    return true;
}

/* False: it says what cannot be. */
static bool take_entry(struct node *node, const struct entry *entry, struct share_spares *spares,
                       struct deferred *deferred)
{
    struct port *port = name_lookup(node->host, entry->name);

    switch (entry->operation) {
    case RIGHTS_ADD_SEND:
    case RIGHTS_ADD_ONCE:
        return add(node, port, entry, spares);
    case RIGHTS_DROP_SEND:
    case RIGHTS_DROP_ONCE:
    case RIGHTS_DEAD_ONCE:
        return drop_if_given(node, port, entry, deferred);
    case RIGHTS_PORT_DEAD:
        return told_dead(port, node, deferred);
    case RIGHTS_PORT_MOVED:
        return told_moved(port, node, entry->value, deferred);
    case RIGHTS_STAY:
        return stay(node, port, spares, deferred);
    case RIGHTS_GO:
        return go(node, port, deferred);
    default:
        return false;
    }
}

void flipc_rights_received(struct node *node, const struct flipc_rights_body *body,
                           struct share_spares *spares, struct deferred *deferred)
{
    uint32_t count = le32_load(body->count);

    for (uint32_t i = 0; i < count; i++) {
        const struct flipc_rights_entry *told = &body->entries[i];
        struct entry entry = {.name = le64_load(told->name),
                              .operation = le32_load(told->operation),
                              .value = le32_load(told->value)};

        if (!take_entry(node, &entry, spares, deferred))
            node->host->nodes->counters.dropped++;
    }
}
