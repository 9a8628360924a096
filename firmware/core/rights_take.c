/* SPDX-License-Identifier: MIT
 *
 * Rights that arrive in messages, when these are received: what the names mean, and whose the rights are
 * from then on. What can be told before, from the bytes, was checked by rights_check.c.
 */
#include "migrate.h"
#include "name_table.h"
#include "node.h"
#include "port.h"
#include "rights.h"
#include "rights_slots.h"

/* --- Supplies --------------------------------------------------------------------------------- */

/* Memory for what is made under the lock. */
struct supplies {
    struct port *ports; /* by port.name_next */
    uint32_t port_count;
    struct share_spares shares;
};

struct needs {
    uint32_t ports;
    uint32_t shares;
};

static void supplies_free(struct mach_host *host, struct supplies *supplies)
{
    while (supplies->ports != NULL) {
        struct port *port = supplies->ports;

        supplies->ports = port->name_next;
        heap_free(host, port);
    }
    share_spares_free(host, &supplies->shares);
}

static bool supplies_fill(struct mach_host *host, struct supplies *supplies,
                          const struct needs *needs)
{
    while (supplies->port_count < needs->ports) {
        struct port *port = port_allocate(host, PORT_PROXY, host->constants.window);

        if (port == NULL)
            return false;
        port->name_next = supplies->ports;
        supplies->ports = port;
        supplies->port_count++;
    }
    return share_spares_fill(host, &supplies->shares, needs->shares);
}

static struct port *supplies_port(struct supplies *supplies)
{
    struct port *port = supplies->ports;

    supplies->ports = port->name_next;
    supplies->port_count--;
    port->name_next = NULL;
    return port;
}

/* --- Take ------------------------------------------------------------------------------------- */

/* Who gave the rights of a message. */
struct giver {
    struct mach_host *host;
    struct node *node;
    uint32_t node_id;
};

/* The slot's port, if it is known, is left in it for take_slot(). */
static void count_needs(const struct giver *giver, const struct rights_slot *slot,
                        struct needs *needs)
{
    uint32_t home = rights_slot_home(slot, giver->node_id);
    struct port *port;

    *slot->port = NULL;
    if (rights_slot_name(slot) == NAME_NULL)
        return;
    port = *slot->port = name_lookup(giver->host, rights_slot_name(slot));
    if (slot->disposition == PORT_RECEIVE)
        needs->shares += 2;
    if (port == NULL && (slot->disposition == PORT_RECEIVE || home != giver->host->node_id)) {
        needs->ports++;
        if (home != giver->node_id)
            needs->shares++;
    } else if (port != NULL && home != giver->host->node_id && port->first.node != NULL &&
               port->first.node != giver->node) {
        needs->shares++; /* also if there is one: another right of the message may end it */
    }
}

static struct needs message_needs(const struct giver *giver, struct kmsg *kmsg)
{
    struct needs needs = {0};
    uint32_t count = rights_slot_count(kmsg);

    for (uint32_t i = 0; i < count; i++) {
        struct rights_slot slot = rights_slot(kmsg, i);

        count_needs(giver, &slot, &needs);
    }
    return needs;
}

static void count_right(struct right_counts *counts, enum port_disposition disposition)
{
    if (disposition == PORT_SEND)
        counts->send++;
    else
        counts->once++;
}

/* A right to a port that is here. False: the giver cannot have had it. */
static bool take_to_here(const struct giver *giver, struct port *port,
                         const struct rights_slot *slot, struct supplies *supplies,
                         struct deferred *deferred)
{
    bool returned = rights_slot_home(slot, giver->node_id) == giver->host->node_id;
    struct share *share;

    if (returned && slot->disposition == PORT_SEND_ONCE) {
        share = share_find(port, giver->node);
        if (share == NULL || share_return_once(share, 1, deferred) == 0)
            return false;
        share_settle(share, deferred);
    } else if (!returned) {
        /* The giver thought it elsewhere, and has it on its own account. */
        share = share_open(port, giver->node, &supplies->shares);
        count_right(&share->drop, slot->disposition);
        share_tell(share);
    }
    port_reference(port);
    if (slot->disposition == PORT_SEND_ONCE)
        port->once++;
    return true;
}

/* A right to a port that is at another node: on its account, or to be put there. */
static bool take_to_proxy(const struct giver *giver, struct port *port,
                          const struct rights_slot *slot, struct supplies *supplies,
                          struct deferred *deferred)
{
    uint32_t home = rights_slot_home(slot, giver->node_id);
    struct share *share;

    if (home == giver->host->node_id) { /* ours to answer for, as long as the giver had it */
        if (slot->disposition != PORT_SEND_ONCE) {
            port_reference(port);
            return true;
        }
        share = share_find(port, giver->node);
        port_reference(port);
        if (share == NULL || share_return_once(share, 1, deferred) == 0) {
            port_unreference(port, deferred);
            return false;
        }
        share_settle(share, deferred);
        return true;
    }
    port_reference(port);
    count_right(&port->home->held, slot->disposition);
    if (port->node == giver->node && home == giver->node_id)
        return true;
    count_right(&port->home->add, slot->disposition);
    share_tell(port->home);
    share = share_open(port, giver->node, &supplies->shares);
    count_right(&share->taken, slot->disposition);
    return true;
}

/* The right's port, with a reference; null: dead. */
static struct port *take_one(const struct giver *giver, const struct rights_slot *slot,
                             struct port *port, struct supplies *supplies,
                             struct deferred *deferred)
{
    bool took;

    if (port == NULL) {
        struct node *node = node_live(giver->host, rights_slot_home(slot, giver->node_id));

        if (node == NULL)
            return NULL;
        port = supplies_port(supplies);
        port_become_proxy(port, node, rights_slot_name(slot));
        took = take_to_proxy(giver, port, slot, supplies, deferred);
        port->references--; /* that of its making */
    } else if (port_is_here(port)) {
        took = take_to_here(giver, port, slot, supplies, deferred);
    } else {
        took = take_to_proxy(giver, port, slot, supplies, deferred);
    }
    if (took)
        return port;
    giver->host->nodes->counters.dropped++;
    return NULL;
}

/* The port that count_needs() found, unless it ended with a right of the same message: its memory is
 * still there, since the lock was not released. Or one that such a right made known. */
static inline struct port *slot_port(const struct giver *giver, const struct rights_slot *slot)
{
    uint64_t name = rights_slot_name(slot);
    struct port *port = *slot->port;

    if (port != NULL && port->name == name && port->references != 0 && !port->dead)
        return port;
    return name_lookup(giver->host, name);
}

static void take_slot(const struct giver *giver, struct rights_slot *slot,
                      struct supplies *supplies, struct deferred *deferred)
{
    struct port *port;

    if (rights_slot_name(slot) == NAME_NULL)
        return;
    port = slot_port(giver, slot);
    *slot->port = NULL;
    if (slot->disposition != PORT_RECEIVE) {
        *slot->port = take_one(giver, slot, port, supplies, deferred);
        return;
    }
    panic_unless(slot->count != NULL);
    if (port != NULL && port->departed) {
        migrate_back(port, le32_load(*slot->count), giver->node, &supplies->shares, deferred);
        *slot->port = port;
        return;
    }
    if (port != NULL && port_is_here(port)) {
        giver->host->nodes->counters.dropped++; /* the same right twice */
        return;
    }
    if (port == NULL)
        port = supplies_port(supplies);
    migrate_take(port, rights_slot_name(slot), le32_load(*slot->count), giver->node,
                 &supplies->shares, deferred);
    *slot->port = port;
}

bool rights_use_once(struct port *port, const struct node *node, struct deferred *deferred)
{
    struct share *share = share_find(port, node);

    if (share == NULL || share_return_once(share, 1, deferred) == 0)
        return false;
    share_settle(share, deferred);
    return true;
}

/* Was the message sent with a right that its source had? */
static bool may_send(struct port *port, struct kmsg *kmsg, struct deferred *deferred)
{
    return !kmsg_was_sent_once(kmsg) || rights_use_once(port, kmsg->source, deferred);
}

void rights_use_once_of(const struct kmsg *kmsg, const struct node *node, struct deferred *deferred)
{
    struct port *port;

    if (kmsg->rights_state != KMSG_RIGHTS_WIRE || !kmsg_was_sent_once(kmsg))
        return;
    port = name_lookup(node->host, le64_load(kmsg->mach.remote));
    if (port != NULL && port_is_here(port))
        (void)rights_use_once(port, node, deferred);
}

static bool is_supplied(const struct supplies *supplies, const struct needs *needs)
{
    return supplies->port_count >= needs->ports && supplies->shares.count >= needs->shares;
}

/* Have what the message needs; false: no memory, or its source died while the lock was released to
 * allocate. */
static bool supply(const struct giver *giver, struct kmsg *kmsg, struct supplies *supplies)
{
    struct needs needs = message_needs(giver, kmsg);

    while (!is_supplied(supplies, &needs)) {
        bool filled;

        ipc_unlock(giver->host);
        filled = supplies_fill(giver->host, supplies, &needs);
        ipc_lock(giver->host);
        if (!filled || kmsg->source == NULL)
            return false;
        needs = message_needs(giver, kmsg);
    }
    return true;
}

static int take_names(struct port *port, struct kmsg *kmsg, struct supplies *supplies,
                      struct deferred *deferred)
{
    struct giver giver = {.host = port->host, .node = kmsg->source, .node_id = kmsg->source_node};
    uint32_t count = rights_slot_count(kmsg);

    if (!supply(&giver, kmsg, supplies))
        return FLIPC_NAK_NO_RESOURCES;
    if (!may_send(port, kmsg, deferred))
        return FLIPC_NAK_NO_RIGHT;
    for (uint32_t i = 0; i < count; i++) {
        struct rights_slot slot = rights_slot(kmsg, i);

        take_slot(&giver, &slot, supplies, deferred);
    }
    if (kmsg->local == NULL)
        kmsg_set_local_right(kmsg, PORT_NONE);
    return 0;
}

/* Take whatever there is. */
COLD static int take_any(struct port *port, struct kmsg *kmsg, struct deferred *deferred)
{
    struct supplies supplies = {.ports = NULL};
    int reason;

    share_spares_init(&supplies.shares);
    reason = take_names(port, kmsg, &supplies, deferred);
    if (supplies.ports != NULL || supplies.shares.count != 0) {
        ipc_unlock(port->host);
        supplies_free(port->host, &supplies);
        ipc_lock(port->host);
    }
    return reason;
}

/* --- Take what is usual ----------------------------------------------------------------------- */

/* Is every right to a port of the source's that is known here? Then they need nothing, and taking one
 * ends no other. Leaves the ports in the slots. */
static bool find_known(struct kmsg *kmsg)
{
    const struct node *source = kmsg->source;
    uint32_t count = rights_slot_count(kmsg);

    for (uint32_t i = rights_first(kmsg); i < count; i++) {
        struct rights_slot slot = rights_slot(kmsg, i);
        struct port *port = name_lookup(kmsg->host, rights_slot_name(&slot));

        if (port == NULL || port->kind != PORT_PROXY || port->node != source ||
            le16_load(*slot.home) != 0 || slot.disposition == PORT_RECEIVE)
            return false;
        *slot.port = port;
    }
    return true;
}

static void take_known(struct kmsg *kmsg)
{
    uint32_t count = rights_slot_count(kmsg);

    for (uint32_t i = rights_first(kmsg); i < count; i++) {
        struct port *port = rights_port(kmsg, i);

        port_reference(port);
        count_right(&port->home->held, rights_disposition(kmsg, i));
    }
}

/* Does it bring a reply right to a port of its source's that is not known here, and no others? */
static bool brings_new_reply(const struct kmsg *kmsg)
{
    return kmsg->rights == NULL && le16_load(kmsg->mach.local_home) == 0 &&
           !kmsg_was_sent_once(kmsg) &&
           name_lookup(kmsg->host, le64_load(kmsg->mach.local)) == NULL;
}

/* The reply right becomes one to `port`, with a reference that is there. */
static inline void reply_through(struct kmsg *kmsg, struct port *port)
{
    count_right(&port->home->held, kmsg_reply_disposition(kmsg));
    kmsg->local = port;
}

/* As rights_take(). */
COLD static int take_new_reply(struct port *to, struct kmsg *kmsg, struct deferred *deferred)
{
    struct mach_host *host = kmsg->host;
    uint64_t name = le64_load(kmsg->mach.local);
    struct port *spare, *port;

    ipc_unlock(host);
    spare = port_allocate(host, PORT_PROXY, host->constants.window);
    ipc_lock(host);
    if (spare == NULL)
        return FLIPC_NAK_NO_RESOURCES;
    port = name_lookup(host, name);
    if (kmsg->source == NULL || port != NULL) {
        port_defer_free(spare, deferred);
        return kmsg->source == NULL ? FLIPC_NAK_NO_RESOURCES : take_any(to, kmsg, deferred);
    }
    port_become_proxy(spare, kmsg->source, name);
    reply_through(kmsg, spare);
    return 0;
}

/* The answer to a call: it brings nothing, and uses the send-once right that its source had on the
 * port's own account. */
static bool take_answer(struct port *port, const struct kmsg *kmsg)
{
    if (port->first.node != kmsg->source || port->first.given.once == 0 || port->first.passed)
        return false;
    port->first.given.once--;
    port->given.once--;
    if (!port_is_needed(port))
        port_out_of_use(port);
    return true;
}

/* A request with a reply port of its source's: known if the answer before was not settled yet. */
static bool take_request(struct kmsg *kmsg)
{
    uint64_t name = le64_load(kmsg->mach.local);
    struct port *port;

    if (le16_load(kmsg->mach.local_home) != 0 || kmsg_was_sent_once(kmsg))
        return false;
    port = name_lookup(kmsg->host, name);
    if (port == NULL)
        port = port_spare_take(kmsg->source, name);
    else if (port->kind == PORT_PROXY && port->node == kmsg->source)
        port_reference(port);
    else
        port = NULL;
    if (port != NULL)
        reply_through(kmsg, port);
    return port != NULL;
}

bool rights_take_of_call(struct port *port, struct kmsg *kmsg)
{
    bool took;

    if (kmsg->source == NULL || kmsg->rights != NULL || port->kind != PORT_PRINCIPAL)
        return false;
    if (le64_load(kmsg->mach.local) != NAME_NULL)
        took = take_request(kmsg);
    else
        took = kmsg_was_sent_once(kmsg) && take_answer(port, kmsg);
    if (took)
        kmsg->rights_state = KMSG_RIGHTS_OURS;
    return took;
}

int rights_take(struct port *port, struct kmsg *kmsg, struct deferred *deferred)
{
    int reason = 0;

    if (find_known(kmsg)) { /* or it brings none */
        if (!may_send(port, kmsg, deferred))
            return FLIPC_NAK_NO_RIGHT;
        take_known(kmsg);
    } else if (brings_new_reply(kmsg)) {
        reason = take_new_reply(port, kmsg, deferred);
    } else {
        reason = take_any(port, kmsg, deferred);
    }
    if (reason == 0)
        kmsg->rights_state = KMSG_RIGHTS_OURS;
    return reason;
}
