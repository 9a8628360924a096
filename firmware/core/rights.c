/* SPDX-License-Identifier: MIT
 *
 * Rights that leave in messages; see rights.h. What arrives is in rights_check.c and rights_take.c.
 */
#include "rights.h"
#include "migrate.h"
#include "node.h"
#include "port.h"
#include "rights_slots.h"

/* Does the port need an account with `node` when a right to it goes there? Not one that is at home
 * there, nor none. */
static bool is_on_account(const struct port *port, const struct node *node)
{
    return port != NULL && !port->dead && (port_is_here(port) || port->node != node);
}

/* Several rights to one port are counted several times: a few spares too many. */
bool rights_need_nothing(const struct kmsg *kmsg, const struct node *node)
{
    uint32_t count = kmsg->rights == NULL ? 0 : kmsg->rights->count;

    for (uint32_t i = 0; i < count; i++) {
        const struct kmsg_right *right = &kmsg->rights->right[i];

        if (right->disposition == PORT_RECEIVE ||
            (right->port != NULL && share_needs_spare(right->port, node) &&
             is_on_account(right->port, node)))
            return false;
    }
    return true;
}

uint32_t rights_give_needs(const struct kmsg *kmsg, const struct port *local,
                           const struct node *node)
{
    uint32_t needs = is_on_account(local, node) && share_needs_spare(local, node) ? 1 : 0;

    if (kmsg->rights == NULL)
        return needs;
    for (uint32_t i = 0; i < kmsg->rights->count; i++) {
        const struct port *port = kmsg->rights->right[i].port;

        if (is_on_account(port, node) && share_needs_spare(port, node))
            needs++;
    }
    return needs;
}

/* --- Give ------------------------------------------------------------------------------------- */

/* Does the right go home from the account that the home has for it? A send-once right of which the home
 * has still to hear would come sooner than that word: it goes as one that we answer for. */
static bool goes_home(const struct port *port, enum port_disposition disposition,
                      const struct node *node)
{
    return !port_is_here(port) && port->node == node &&
           (disposition != PORT_SEND_ONCE || port->home->held.once > port->home->add.once);
}

/* False: the account is full. */
static bool give_one(const struct rights_slot *slot, struct node *node, struct share_spares *spares)
{
    enum port_disposition disposition = slot->disposition;
    struct port *port = *slot->port;
    struct share *share;

    if (goes_home(port, disposition, node)) {
        *slot->home = le16_of(WIRE_HOME(node->id));
        if (disposition == PORT_SEND_ONCE)
            share_once_leaves(port->home);
        else
            port->home->homeward++;
        return true;
    }
    if (disposition == PORT_RECEIVE) {
        *slot->departure = migrate_depart(port, node);
        return true;
    }
    share = share_open(port, node, spares);
    share->name = port->name;
    if (disposition == PORT_SEND ? share_give_send(share, 1) == 0 : share_give_once(share, 1) == 0)
        return false;
    if (!port_is_here(port) && port->node != node)
        *slot->home = le16_of(WIRE_HOME(port->node->id));
    if (port_is_here(port) && disposition == PORT_SEND_ONCE)
        port->once--;
    return true;
}

/* One more right to a port of which the node has some, or had. */
static inline bool is_usual(const struct port *port, enum port_disposition disposition,
                            const struct node *node)
{
    return disposition != PORT_RECEIVE && port != NULL && port->kind == PORT_PRINCIPAL &&
           !port->dead && port->first.node == node && port->name != NAME_NULL &&
           port->given.send < RIGHTS_COUNT_MAXIMUM && port->first.given.once < RIGHTS_ONCE_MAXIMUM;
}

static inline void give_usual(const struct rights_slot *slot)
{
    struct port *port = *slot->port;

    port->holds++;
    if (slot->disposition == PORT_SEND) {
        port->first.given.send++;
        port->given.send++;
    } else {
        port->once--;
        port->first.given.once++;
        port->given.once++;
    }
    port->first.name = port->name;
    *slot->name = le64_of(port->name);
    *slot->home = le16_of(0);
}

COLD static void give_unusual(struct rights_slot *slot, struct node *node,
                              struct share_spares *spares)
{
    struct port *port = *slot->port;

    *slot->name = le64_of(NAME_NULL);
    *slot->home = le16_of(0);
    if (port == NULL)
        return;
    if (slot->disposition != PORT_RECEIVE)
        port->holds++;
    if (port->dead || port_name_locked(port) == NAME_NULL || !give_one(slot, node, spares))
        return;
    *slot->name = le64_of(port->name);
    if (slot->disposition == PORT_RECEIVE)
        *slot->count = le32_of(port->limit);
}

static inline void give(struct kmsg *kmsg, uint32_t index, struct node *node,
                        struct share_spares *spares)
{
    struct rights_slot slot = rights_slot(kmsg, index);

    if (is_usual(*slot.port, slot.disposition, node))
        give_usual(&slot);
    else
        give_unusual(&slot, node, spares);
}

void rights_give(struct kmsg *kmsg, struct node *node, struct share_spares *spares)
{
    uint32_t count = rights_slot_count(kmsg);

    if (rights_first(kmsg) == 0)
        give(kmsg, 0, node, spares);
    for (uint32_t i = 1; i < count; i++)
        give(kmsg, i, node, spares);
    /* Of a message that came back and is sent again, the reply port may have died meanwhile. */
    if (le64_load(kmsg->mach.local) == NAME_NULL)
        kmsg_set_local_right(kmsg, PORT_NONE);
    kmsg->rights_state = KMSG_RIGHTS_GIVEN;
}

/* --- Leave ------------------------------------------------------------------------------------ */

static void forget_rights(struct kmsg *kmsg, struct deferred *deferred)
{
    kmsg->local = NULL;
    kmsg->rights_state = KMSG_RIGHTS_OURS;
    if (kmsg_rights_are_apart(kmsg)) {
        deferred_use(deferred);
        kmsg->rights->next = deferred->rights;
        deferred->rights = kmsg->rights;
    }
    kmsg->rights = NULL;
}

/* What the node was told of the port may have come before the right, so it is told again. */
COLD static void tell_fate(struct port *port, const struct node *node)
{
    struct share *share = share_find(port, node);

    if (share == NULL)
        return;
    if (port->dead)
        share->tell_dead = true;
    else if (share_gives(share))
        share->tell_moved = true;
    else
        return;
    share_tell(share);
}

/* Did the port die or move while its name was on its way? */
static inline void tell_again(struct port *port, const struct node *node)
{
    if (port->dead || !port_is_here(port))
        tell_fate(port, node);
}

/* The right arrived at `node`; if that was its home, there is one less on the way. */
static void arrived(const struct rights_slot *slot, const struct node *node,
                    struct deferred *deferred)
{
    if (le16_load(*slot->home) != WIRE_HOME(node->id))
        return;
    if (slot->disposition == PORT_SEND_ONCE)
        share_once_arrived(*slot->port, node, deferred);
    else
        share_send_arrived(*slot->port, node, deferred);
}

/* A right whose port is here and has others, and that did not go home: as leave_slot(). */
static inline bool leave_usual(const struct kmsg *kmsg, uint32_t index, struct port *port)
{
    if (rights_disposition(kmsg, index) == PORT_RECEIVE || rights_home(kmsg, index) != 0 ||
        port->dead || !port_is_here(port) || port->references == 1 || port->requests != NULL)
        return false;
    port->holds--;
    port->references--;
    return true;
}

COLD static void leave_slot(struct rights_slot *slot, struct node *node, struct deferred *deferred)
{
    struct port *port = *slot->port;

    if (slot->disposition == PORT_RECEIVE) {
        if (!migrate_is_gone(port, *slot->departure))
            return;
        /* Its reference is the right's, and goes with the end of the move. */
        if (node != NULL && rights_slot_name(slot) != NAME_NULL)
            migrate_arrived(port, node, deferred);
        else
            port_right_die(port, PORT_RECEIVE, deferred);
        return;
    }
    if (node != NULL && rights_slot_name(slot) != NAME_NULL)
        tell_again(port, node);
    if (node != NULL)
        arrived(slot, node, deferred);
    port->holds--;
    port_unreference(port, deferred);
}

static inline void leave(struct kmsg *kmsg, uint32_t index, struct node *node,
                         struct deferred *deferred)
{
    struct port *port = rights_port(kmsg, index);
    struct rights_slot slot;

    if (port == NULL || leave_usual(kmsg, index, port))
        return;
    slot = rights_slot(kmsg, index);
    leave_slot(&slot, node, deferred);
}

void rights_leave(struct kmsg *kmsg, struct node *node, struct deferred *deferred)
{
    uint32_t count = rights_slot_count(kmsg);

    leave(kmsg, 0, node, deferred);
    for (uint32_t i = 1; i < count; i++)
        leave(kmsg, i, node, deferred);
    forget_rights(kmsg, deferred);
}

/* --- Return ----------------------------------------------------------------------------------- */

/* A send-once right that went home, and came back. If the home is another by now, the former one
 * still answers for it. */
static void return_home(struct port *port, const struct node *node)
{
    struct share *former = share_find(port, node);

    if (former != NULL)
        share_once_back(former);
    if (port->dead || (!port_is_here(port) && port->home == NULL))
        return;
    if (port_is_here(port)) {
        port->once++;
        if (former != NULL)
            former->drop.once++;
        return;
    }
    port->home->held.once++;
    if (former == port->home)
        return;
    port->home->add.once++;
    share_tell(port->home);
    if (former != NULL)
        former->taken.once++;
}

/* False: it is not there any more; the node died with it, or the port did. */
static bool return_one(struct rights_slot *slot, struct node *node, struct deferred *deferred)
{
    struct port *port = *slot->port;
    struct share *share;

    if (slot->disposition == PORT_RECEIVE)
        port->departed = false;
    if (slot->disposition == PORT_RECEIVE || slot->disposition == PORT_NONE)
        return true;
    if (le16_load(*slot->home) == WIRE_HOME(node->id)) {
        if (slot->disposition == PORT_SEND_ONCE)
            return_home(port, node);
        else
            share_send_arrived(port, node, deferred);
        return true;
    }
    share = share_find(port, node);
    if (slot->disposition == PORT_SEND) {
        if (share != NULL)
            (void)share_return_send(share, 1, deferred);
        return true;
    }
    if (share == NULL || share_return_once(share, 1, deferred) == 0)
        return false;
    if (port_is_here(port))
        port->once++;
    return true;
}

void rights_return(struct kmsg *kmsg, struct node *node, struct deferred *deferred)
{
    uint32_t count = rights_slot_count(kmsg);

    for (uint32_t i = 0; i < count; i++) {
        struct rights_slot slot = rights_slot(kmsg, i);
        struct port *port = *slot.port;
        struct share *share;

        if (port == NULL)
            continue;
        if (slot.disposition == PORT_RECEIVE && !migrate_is_gone(port, *slot.departure)) {
            *slot.port = NULL;
            continue;
        }
        if (slot.disposition != PORT_RECEIVE)
            port->holds--;
        if (rights_slot_name(&slot) == NAME_NULL || !return_one(&slot, node, deferred)) {
            *slot.port = NULL;
            port_unreference(port, deferred);
            continue;
        }
        share = share_find(port, node);
        if (share != NULL)
            share_settle(share, deferred);
    }
    kmsg->rights_state = KMSG_RIGHTS_OURS;
}

/* --- Die -------------------------------------------------------------------------------------- */

void rights_die(struct kmsg *kmsg, struct deferred *deferred)
{
    uint32_t count = rights_slot_count(kmsg);

    for (uint32_t i = 0; i < count && kmsg->rights_state == KMSG_RIGHTS_OURS; i++) {
        struct port *port = rights_port(kmsg, i);

        if (port != NULL && rights_disposition(kmsg, i) == PORT_SEND)
            port_unreference(port, deferred);
        else if (port != NULL)
            port_right_die(port, rights_disposition(kmsg, i), deferred);
    }
    forget_rights(kmsg, deferred);
}
