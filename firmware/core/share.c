/* SPDX-License-Identifier: MIT
 *
 * Accounts of rights; see share.h. Nothing here knows messages: flipc_rights.c tells what is to be
 * told, rights.c gives and takes what messages carry.
 */
#include "share.h"
#include "heap.h"
#include "node.h"
#include "port.h"
#include <kernel/panic.h>

/* --- Spares ----------------------------------------------------------------------------------- */

_Static_assert(offsetof(struct share, of_port) == 0, "heap_free_list() frees shares by it");

void share_spares_init(struct share_spares *spares)
{
    list_init(&spares->shares);
    spares->count = 0;
}

bool share_spares_fill(struct mach_host *host, struct share_spares *spares, uint32_t count)
{
    while (spares->count < count) {
        struct share *share = heap_allocate(host, sizeof(*share));

        if (share == NULL)
            return false;
        list_append(&spares->shares, &share->of_port);
        spares->count++;
    }
    return true;
}

void share_spares_free(struct mach_host *host, struct share_spares *spares)
{
    if (spares->count != 0)
        heap_free_list(host, &spares->shares);
}

static struct share *spare_take(struct share_spares *spares)
{
    struct share *share = LIST_CONTAINER(spares->shares.next, struct share, of_port);

    panic_unless(spares->count != 0);
    spares->count--;
    list_remove(&share->of_port);
    *share = (struct share){.node = NULL};
    return share;
}

/* --- Finding and making ----------------------------------------------------------------------- */

static inline struct share *share_of_port(struct list *link)
{
    return LIST_CONTAINER(link, struct share, of_port);
}

static inline struct share *share_of_node(struct list *link)
{
    return LIST_CONTAINER(link, struct share, of_node);
}

struct share *share_find_other(const struct port *port, const struct node *node)
{
    for (struct list *link = port->shares.next; link != &port->shares; link = link->next) {
        if (share_of_port(link)->node == node)
            return share_of_port(link);
    }
    return NULL;
}

/* Of a spare, which is zero, or of a port's own share, in which nothing was left when it ended
 * but these two flags. */
static void share_begin(struct share *share, struct node *node, uint64_t name)
{
    share->node = node;
    share->name = name;
    share->adding = share->passed = false;
    list_init(&share->of_port);
    list_init(&share->notice);
    list_append(&node->shares, &share->of_node);
}

struct share *share_open(struct port *port, struct node *node, struct share_spares *spares)
{
    struct share *share = share_find(port, node);

    if (share != NULL)
        return share;
    share = port->first.node == NULL ? &port->first : spare_take(spares);
    share_begin(share, node, port->name);
    share->port = port;
    share->embedded = share == &port->first;
    list_append(&port->shares, &share->of_port);
    return share;
}

void share_tell_unknown(struct node *node, uint64_t name, struct share_spares *spares)
{
    struct share *share = spare_take(spares);

    share_begin(share, node, name);
    share->tell_dead = true;
    share_tell(share);
}

/* --- Telling ---------------------------------------------------------------------------------- */

/* Usually nothing of all this is set: one test at the end is faster than many. */
static inline bool share_has_news(const struct share *share)
{
    uint32_t drop_send = share->homeward == 0 ? share->drop.send : 0;

    return (share->add.send | share->add.once | drop_send | share->drop.once | share->dead_once |
            share->tell_dead | share->tell_moved | share->tell_stay | share->tell_go) != 0;
}

void share_tell(struct share *share)
{
    if (share->batched || !list_is_empty(&share->notice))
        return;
    list_append(&share->node->flow.notices, &share->notice);
    share->node->flow.notice_count++;
    node_kick(share->node);
}

static inline bool share_has_rights(const struct share *share)
{
    return (share->given.send | share->given.once | share->held.send | share->held.once |
            share->taken.send | share->taken.once | share->away | share->homeward) != 0;
}

static inline bool share_is_empty(const struct share *share)
{
    return !share_has_rights(share) && !share->batched && !share->keeps && !share->kept &&
           !share_has_news(share);
}

static void set_refused(struct share *share, bool refused)
{
    if (share->port == NULL || share->refused == refused)
        return;
    share->refused = refused;
    share->port->refusals += refused ? 1 : -1;
}

/* It tells nothing any more. */
static void notice_forget(struct share *share)
{
    if (list_is_empty(&share->notice))
        return;
    if (!share->batched)
        share->node->flow.notice_count--;
    list_remove(&share->notice);
}

static void share_end(struct share *share, struct deferred *deferred)
{
    struct port *port = share->port;

    set_refused(share, false);
    list_remove(&share->of_port);
    list_remove(&share->of_node);
    notice_forget(share);
    if (!share->embedded) {
        deferred_use(deferred);
        share->next_free = deferred->shares;
        deferred->shares = share;
        return;
    }
    share->node = NULL;
    if (port->references == 0)
        port_defer_free(port, deferred);
}

/* That of a dead port stays as long as the port: a message that brings it may still be on its way,
 * and its receiver has to be told then. */
static bool share_is_needed(const struct share *share)
{
    const struct port *port = share->port;

    return port != NULL && (port->home == share || (port->dead && port->references != 0));
}

/* That of a principal's own costs nothing, and the next call will want it again. */
static bool share_is_at_hand(const struct share *share)
{
    return share->embedded && share->port->kind == PORT_PRINCIPAL && !share->port->dead &&
           share->port->references != 0;
}

void share_settle(struct share *share, struct deferred *deferred)
{
    if (share_has_news(share))
        share_tell(share);
    else if (share_is_empty(share) && !share_is_needed(share) && !share_is_at_hand(share))
        share_end(share, deferred);
}

/* --- Order ------------------------------------------------------------------------------------ */

/* Without an account nobody can have a counted right to the port, and there is no order to keep. */
void share_refuse(struct port *port, const struct node *node)
{
    struct share *share = share_find(port, node);

    if (share != NULL)
        set_refused(share, true);
}

bool share_accepts(struct port *port, const struct node *node, bool resumed)
{
    struct share *share = port->refusals == 0 ? NULL : share_find(port, node);

    if (share == NULL || !share->refused)
        return true;
    set_refused(share, !resumed);
    return resumed;
}

/* --- Giving ----------------------------------------------------------------------------------- */

static void given_before(struct port *port)
{
    if (port->kind == PORT_PROXY && !port_is_needed(port))
        port_reference(port);
}

static void given_after(struct port *port, struct deferred *deferred)
{
    if (port_is_needed(port))
        return;
    if (port->kind == PORT_PROXY)
        port_unreference(port, deferred);
    else
        port_out_of_use(port);
}

uint32_t share_give_send(struct share *share, uint32_t count)
{
    if (count == 0 || count > RIGHTS_COUNT_MAXIMUM - share->port->given.send)
        return 0;
    given_before(share->port);
    share->given.send += count;
    share->port->given.send += count;
    return count;
}

uint32_t share_give_once(struct share *share, uint32_t count)
{
    if (count == 0 || count > RIGHTS_ONCE_MAXIMUM - share->given.once)
        return 0;
    given_before(share->port);
    share->given.once += count;
    share->port->given.once += count;
    return count;
}

/* Ask once for each, and do not ask what was not told yet. */
void share_keep(struct share *share, bool keep)
{
    if (share->keeps == keep)
        return;
    share->keeps = keep;
    if (keep ? share->tell_go : share->tell_stay)
        share->tell_go = share->tell_stay = false;
    else if (keep)
        share->tell_stay = true;
    else
        share->tell_go = true;
}

/* The former homes of a port need not be there any more: those for whom they were are gone, or have
 * accounts of their own. */
static void forget_former(struct port *port, struct deferred *deferred)
{
    struct list *link, *next;

    for (link = port->shares.next; link != &port->shares; link = link->next) {
        if (share_of_port(link)->passed)
            return;
    }
    for (link = port->shares.next; link != &port->shares; link = next) {
        struct share *share = share_of_port(link);

        next = link->next;
        if (!share->keeps)
            continue;
        share_keep(share, false);
        share_settle(share, deferred);
    }
    flipc_rights_told(port, deferred);
}

/* A node that was asked to stay has a send right as long as it does. */
static void returned(struct share *share, struct deferred *deferred)
{
    if (!share->passed || share->given.once != 0 || share->given.send > (share->keeps ? 1 : 0))
        return;
    share->passed = false;
    forget_former(share->port, deferred);
}

void share_stay(struct share *share, bool stay, struct deferred *deferred)
{
    if (share->kept == stay)
        return;
    if (stay)
        given_before(share->port);
    share->kept = stay;
    share->port->kept += stay ? 1 : -1;
    if (!stay)
        given_after(share->port, deferred);
}

uint32_t share_return_send(struct share *share, uint32_t count, struct deferred *deferred)
{
    if (count > share->given.send)
        count = share->given.send;
    if (count == 0)
        return 0;
    share->given.send -= count;
    share->port->given.send -= count;
    returned(share, deferred);
    given_after(share->port, deferred);
    return count;
}

uint32_t share_return_once(struct share *share, uint32_t count, struct deferred *deferred)
{
    if (count > share->given.once)
        count = share->given.once;
    if (count == 0)
        return 0;
    share->given.once -= count;
    share->port->given.once -= count;
    returned(share, deferred);
    given_after(share->port, deferred);
    return count;
}

uint32_t share_once_died(struct share *share, uint32_t count, struct deferred *deferred)
{
    struct port *port = share->port;

    port_reference(port); /* the last right may have been one of these */
    count = share_return_once(share, count, deferred);
    if (port_is_here(port))
        port->once += count; /* for a moment: they die here */
    port_once_died(port, count, deferred);
    port_unreference(port, deferred);
    return count;
}

void share_send_arrived(struct port *port, const struct node *node, struct deferred *deferred)
{
    struct share *home = share_find(port, node);

    if (home == NULL || home->homeward == 0)
        return;
    home->homeward--;
    share_settle(home, deferred);
}

void share_once_arrived(struct port *port, const struct node *node, struct deferred *deferred)
{
    struct share *home = share_find(port, node);

    if (home == NULL)
        return;
    share_once_back(home);
    share_settle(home, deferred);
}

/* --- Ends ------------------------------------------------------------------------------------- */

/* What we have is given back; what was not added yet is added before that. */
static void share_release_held(struct share *share)
{
    share->drop.send += share->held.send + share->taken.send;
    share->drop.once += share->taken.once;
    share->dead_once += share->held.once;
    share->held = share->taken = (struct right_counts){0};
    share_keep(share, false);
}

bool share_is_over(const struct port *port)
{
    return port->shares.next == &port->first.of_port &&
           port->shares.previous == &port->first.of_port && list_is_empty(&port->first.notice) &&
           share_is_empty(&port->first);
}

/* What is left is told, or forgotten. True: nothing is left. */
COLD static bool shares_end(struct port *port, struct deferred *deferred)
{
    struct list *link, *next;

    for (link = port->shares.next; link != &port->shares; link = next) {
        struct share *share = share_of_port(link);

        next = link->next;
        share->tell_moved = false; /* the port may be back by then, as another */
        share_release_held(share);
        if (share_has_news(share))
            share_tell(share);
        list_remove(&share->of_port);
        if (share->embedded)
            continue;
        share->port = NULL;
        share_settle(share, deferred);
    }
    if (port->first.node == NULL)
        return true;
    if (!share_is_empty(&port->first))
        return false;
    list_remove(&port->first.of_node);
    notice_forget(&port->first);
    port->first.node = NULL;
    return true;
}

bool share_port_ended(struct port *port, struct deferred *deferred)
{
    port->home = NULL;
    if (!share_is_over(port))
        return shares_end(port, deferred);
    list_remove(&port->first.of_node);
    port->first.node = NULL;
    return true;
}

void share_port_died(struct port *port, struct deferred *deferred)
{
    struct list *link, *next;
    bool gave = port_is_needed(port);

    port->given = (struct right_counts){0};
    port->kept = 0;
    port->home = NULL;
    for (link = port->shares.next; link != &port->shares; link = next) {
        struct share *share = share_of_port(link);

        next = link->next;
        if (share_gives(share))
            share->tell_dead = true;
        share->given = (struct right_counts){0};
        share->tell_moved = share->kept = false;
        share_release_held(share);
        share_settle(share, deferred);
    }
    if (gave && port->kind == PORT_PROXY)
        port_unreference(port, deferred);
    else if (gave)
        port_out_of_use(port);
}

/* What the dead node had of our port, or of one whose home has us on its account for it. */
static void share_take_back(struct share *share, struct deferred *deferred)
{
    struct port *port = share->port;

    if (port == NULL)
        return;
    port_reference(port); /* the last right may have been the dead node's */
    share_return_send(share, share->given.send, deferred);
    (void)share_once_died(share, share->given.once, deferred);
    share_stay(share, false, deferred);
    share->held = share->taken = share->add = share->drop = (struct right_counts){0};
    share->dead_once = 0;
    share->tell_dead = share->tell_moved = false;
    notice_forget(share);
    share->batched = false;
    share->tell_stay = share->tell_go = share->keeps = share->passed = false;
    share->away = share->homeward = 0;
    if (port->home == share)
        port->home = NULL;
    share_end(share, deferred);
    flipc_rights_told(port, deferred);
    port_unreference(port, deferred);
}

void share_node_died(struct node *node, struct deferred *deferred)
{
    while (!list_is_empty(&node->shares)) {
        struct share *share = share_of_node(node->shares.next);

        panic_unless(share->node == node && (share->port != NULL || !share->embedded));
        if (share->port != NULL && share->port->references != 0)
            share_take_back(share, deferred);
        else
            share_end(share, deferred);
    }
}
