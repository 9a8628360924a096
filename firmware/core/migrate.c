/* SPDX-License-Identifier: MIT
 *
 * Moving ports; see migrate.h.
 *
 * Order is kept by waiting: while a message of ours is on its way to a former home, nothing more is
 * sent to the port from here. It will be settled there or come back, in the order in which it was
 * sent; then all that came back goes to the new home, before what was sent since. A port that moves
 * faster than its messages makes them travel; after MOVES_MAXIMUM moves without one received it
 * counts as dead here, so that nodes that lie cannot keep a message going for ever.
 */
#include "migrate.h"
#include "kmsg.h"
#include "name_table.h"
#include "node.h"
#include "port.h"
#include "rights.h"
#include "rights_slots.h"

#define MOVES_MAXIMUM 16u

static uint32_t less(uint32_t from, uint32_t what)
{
    return from > what ? from - what : 0;
}

/* The account of the right that a message was sent with is closed: it is an ordinary message now. */
static void forget_once(struct kmsg *kmsg)
{
    kmsg_set_remote_right(kmsg, PORT_SEND);
}

/* --- Here ------------------------------------------------------------------------------------- */

void migrate_leave(struct port *port)
{
    port->kind = PORT_POSTPRINCIPAL;
    port_in_use(port);
    list_remove(&port->ready);
    list_remove(&port->member);
    port->set = NULL;
    condition_broadcast(&port->receivers);
}

uint16_t migrate_depart(struct port *port, const struct node *node)
{
    migrate_leave(port);
    port->departed = true;
    port->died_there = false;
    port->move_to = node->id;
    port->move_incarnation = node->incarnation;
    return ++port->departure;
}

void migrate_died(struct port *port, const struct node *node)
{
    if (port->departed && port->move_to == node->id && port->move_incarnation == node->incarnation)
        port->died_there = true;
}

bool migrate_is_gone(const struct port *port, uint16_t departure)
{
    return port->departed && port->departure == departure;
}

/* A message that came back to the node where the port is now: it is one of this node's. */
static void message_is_home(struct port *port, struct kmsg *kmsg, struct deferred *deferred)
{
    if (kmsg->remote == NULL)
        return;
    forget_once(kmsg);
    kmsg->remote = NULL;
    port->holds--;
    port_unreference(port, deferred);
}

/* What was sent after messages that are on their way waits for them. */
static void settle_kind(struct port *port, struct deferred *deferred)
{
    if (port->in_flight != 0) {
        port->kind = PORT_PREPRINCIPAL;
        return;
    }
    port->kind = PORT_PRINCIPAL;
    port->held_mark = &port->held;
    while (!list_is_empty(&port->held)) {
        struct kmsg *kmsg = kmsg_of_queue(port->held.next);

        list_remove(&kmsg->queue);
        message_is_home(port, kmsg, deferred);
        port->count--; /* counted already */
        port_enqueue(port, kmsg);
    }
    if (!port_is_needed(port))
        port_out_of_use(port);
}

void migrate_stay(struct port *port, struct deferred *deferred)
{
    port->transit = NULL;
    port->departed = false;
    settle_kind(port, deferred);
}

/* What waits here was never sent after the port, and nobody was told that it moved: it is as if it
 * had stayed. Only the node that it went to counts a send right of ours, and the node that it comes
 * from has one here. */
void migrate_back(struct port *port, uint32_t limit, struct node *giver,
                  struct share_spares *spares, struct deferred *deferred)
{
    struct node *node = node_live(port->host, port->move_to);

    if (node != NULL && node->incarnation == port->move_incarnation) {
        struct share *share = share_open(port, node, spares);

        share->name = port->name;
        share->drop.send++;
        share_tell(share);
    }
    port->moving = false;
    port->limit = limit;
    share_give_send(share_open(port, giver, spares), 1);
    migrate_stay(port, deferred);
    condition_broadcast(&port->senders);
}

/* Those to whom we passed rights on will put them on the account of the home that they know, which
 * may be the former one: it has to be there to tell them of us, or of the new one. Whoever keeps a right
 * for us in that way knows already where the port went. */
static void keep_former(struct port *port, struct share *former)
{
    bool any = false;

    for (struct list *link = port->shares.next; link != &port->shares; link = link->next) {
        struct share *share = LIST_CONTAINER(link, struct share, of_port);

        if (share != former && !share->keeps && share_gives(share))
            share->passed = true;
        any = any || (share != former && share->passed);
    }
    if (any)
        share_keep(former, true);
}

/* --- Away ------------------------------------------------------------------------------------- */

void migrate_arrived(struct port *port, const struct node *node, struct deferred *deferred)
{
    port->moving = true;
    port->move_to = node->id;
    port->move_incarnation = node->incarnation;
    if (port->in_flight == 0)
        port_defer_work(port, PORT_WORK_MOVE, deferred);
}

/* What is in a list of a port that is no longer here. */
static void forward_list(struct port *port, struct list *queue, struct share_spares *spares,
                         struct deferred *deferred)
{
    struct list messages;

    list_init(&messages);
    list_splice(&messages, queue);
    while (!list_is_empty(&messages)) {
        struct kmsg *kmsg = kmsg_of_queue(messages.next);

        list_remove(&kmsg->queue);
        if (kmsg->source != NULL) {
            flipc_refuse(kmsg, FLIPC_NAK_MOVED, (int32_t)port->node->id, deferred);
            continue;
        }
        message_is_home(port, kmsg, deferred);
        if (kmsg_fits(kmsg, port->node))
            flipc_queue(port, kmsg, spares);
        else
            kmsg_end(kmsg, MESSAGE_FAILED, deferred);
    }
}

/* The new home counts one send right of ours, so that it does not think itself alone before our
 * holders have told it of themselves; the send-once rights that we answer for are told now. */
static void become_proxy(struct port *port, struct node *node, struct share_spares *spares,
                         struct deferred *deferred)
{
    uint32_t once = port->once + port->given.once;

    port->moving = port->departed = false;
    port->resume = true;
    port->kind = PORT_PROXY;
    port->node = node;
    port->home = share_open(port, node, spares);
    port->home->name = port->name;
    port->home->held.send++;
    port->home->held.once += once;
    port->home->add.once += once + port->once_died;
    port->home->dead_once += port->once_died; /* the new home tells the owner */
    once += port->once_died;
    port->once = port->once_died = 0;
    port->death_notice = NULL;
    list_append(&node->proxies, &port->member);
    if (port_is_needed(port))
        port_reference(port);
    for (struct list *link = port->shares.next; link != &port->shares; link = link->next) {
        struct share *share = LIST_CONTAINER(link, struct share, of_port);

        share->tell_moved = share != port->home && share_gives(share);
        if (share->tell_moved)
            share_tell(share);
    }
    if (once != 0)
        share_tell(port->home);
    port->count = 0;
    forward_list(port, &port->queue, spares, deferred);
    port->held_mark = &port->held;
    forward_list(port, &port->held, spares, deferred);
    forward_list(port, &port->doubted, spares, deferred);
    condition_broadcast(&port->senders);
    port->holds--; /* the receive right's reference */
    port_unreference(port, deferred);
}

/* --- Back, or from elsewhere ------------------------------------------------------------------ */

/* What was sent from here and never left is local now. */
static void recall_queue(struct port *port, struct node *former, struct share *home,
                         struct deferred *deferred)
{
    while (!list_is_empty(&port->queue)) {
        struct kmsg *kmsg = kmsg_of_queue(port->queue.next);

        list_remove(&kmsg->queue);
        flipc_waits_no_more(former, kmsg);
        rights_return(kmsg, former, deferred);
        if (kmsg_was_sent_once(kmsg)) {
            share_once_back(home);
            home->drop.once++;
        }
        message_is_home(port, kmsg, deferred);
        list_append(&port->held, &kmsg->queue);
        if (port->held_mark == &port->held)
            port->held_mark = &kmsg->queue;
    }
}

/* What came back from the former home and was going to follow the port is here already: the send-once
 * rights that it was sent with need no account there any more. */
static void close_returned(const struct port *port, struct share *former)
{
    for (struct list *link = port->held.next; link != &port->held; link = link->next)
        former->drop.once += kmsg_was_sent_once(kmsg_of_queue(link)) ? 1 : 0;
}

static uint32_t least(uint32_t left, uint32_t right)
{
    return left < right ? left : right;
}

/* Rights that the former home was not told of, and that are gone: it never will be. Returns how many
 * send-once rights among them died, which somebody has to be told. */
static uint32_t forget_untold(struct share *former)
{
    uint32_t send = least(former->add.send, former->drop.send);
    uint32_t once = least(former->add.once, former->drop.once);
    uint32_t dead = least(former->add.once - once, former->dead_once);

    former->add.send -= send;
    former->drop.send -= send;
    former->add.once -= once + dead;
    former->drop.once -= once;
    former->dead_once -= dead;
    return dead;
}

/* The accounts of a proxy that becomes a principal: nobody has to answer for its rights any more. */
static void close_accounts(struct port *port, struct share *former, struct deferred *deferred)
{
    uint32_t dead;

    former->drop.send += former->held.send;
    former->drop.once += former->held.once;
    former->held = (struct right_counts){0};
    dead = forget_untold(former);
    port->once += dead; /* for a moment */
    port_once_died(port, dead, deferred);
    for (struct list *link = port->shares.next; link != &port->shares; link = link->next)
        LIST_CONTAINER(link, struct share, of_port)->tell_moved = false;
    keep_former(port, former);
    flipc_rights_told(port, deferred);
}

static void proxy_take(struct port *port, struct deferred *deferred)
{
    struct share *home = port->home;

    port->moving = false;
    list_remove(&port->member);
    list_remove(&port->ready);
    close_returned(port, home);
    recall_queue(port, port->node, home, deferred);
    port->kind = PORT_PREPRINCIPAL;
    port->once = less(home->held.once, port->given.once);
    port->home = NULL;
    port->node = NULL;
    close_accounts(port, home, deferred);
    if (port_is_needed(port))
        port_unreference(port, deferred);
    port_stop_lingering(port, deferred);
}

static void settle_accounts(struct port *port, struct deferred *deferred)
{
    struct list *link, *next;

    for (link = port->shares.next; link != &port->shares; link = next) {
        next = link->next;
        share_settle(LIST_CONTAINER(link, struct share, of_port), deferred);
    }
}

void migrate_take(struct port *port, uint64_t name, uint32_t limit, struct node *giver,
                  struct share_spares *spares, struct deferred *deferred)
{
    port->holds++;
    if (port->name == NAME_NULL) {
        port->kind = PORT_PRINCIPAL;
        port->name = name;
        name_insert(port->host, port);
    } else {
        port_reference(port);
        proxy_take(port, deferred);
    }
    port->limit = limit;
    share_give_send(share_open(port, giver, spares), 1);
    settle_kind(port, deferred);
    settle_accounts(port, deferred);
    condition_broadcast(&port->senders);
    rights_review(port->host);
}

/* --- Following -------------------------------------------------------------------------------- */

void migrate_moved(struct port *port, uint32_t node_id, struct deferred *deferred)
{
    const struct node *node = node_live(port->host, node_id);

    if (port->moving || port->dead)
        return;
    if (node == NULL || ++port->moves > MOVES_MAXIMUM) {
        port_die(port, deferred);
        return;
    }
    port->moving = true;
    port->move_to = node_id;
    port->move_incarnation = node->incarnation;
    list_remove(&port->ready);
    rights_review(port->host);
    if (port->in_flight == 0)
        port_defer_work(port, PORT_WORK_MOVE, deferred);
}

void migrate_returned(struct port *port, struct kmsg *kmsg, const struct node *from,
                      uint32_t node_id, struct deferred *deferred)
{
    struct share *former;

    list_append(port->held_mark, &kmsg->queue);
    kmsg_set_resumed(kmsg, false);
    former = kmsg_was_sent_once(kmsg) ? share_find(port, from) : NULL;
    if (former != NULL)
        share_once_back(former);
    if (port->kind == PORT_PROXY) {
        migrate_moved(port, node_id, deferred);
    } else if (former != NULL) {
        former->drop.once++;
        share_tell(former);
    }
}

void migrate_landed(struct port *port, struct deferred *deferred)
{
    if (port->dead)
        return;
    if (port->moving)
        port_defer_work(port, PORT_WORK_MOVE, deferred);
    else if (port->kind == PORT_PREPRINCIPAL)
        settle_kind(port, deferred);
}

/* Put what the former home has on its account on the new one's. The former one answers for it until
 * that is done, like anybody who passes a right on. */
static void change_home(struct port *port, struct node *node, struct share_spares *spares,
                        uint32_t once_in_messages)
{
    struct share *former = port->home;
    struct share *home = share_open(port, node, spares);
    struct right_counts held = former->held;
    struct right_counts untold;
    uint32_t dead;

    home->held.send += held.send;
    home->held.once += held.once;
    home->away += once_in_messages;
    held.once += once_in_messages;
    untold.send = least(held.send, former->add.send);
    untold.once = least(held.once, former->add.once);
    former->held = (struct right_counts){0};
    former->add.send -= untold.send;
    former->add.once -= untold.once;
    dead = forget_untold(former);
    former->taken.send += held.send - untold.send;
    former->taken.once += held.once - untold.once;
    home->add.send += held.send;
    home->add.once += held.once + dead;
    home->dead_once += dead;
    keep_former(port, former);
    port->home = home;
    port->node = node;
    list_remove(&port->member);
    list_append(&node->proxies, &port->member);
    if (held.send != 0 || held.once != 0 || dead != 0)
        share_tell(home);
}

/* A queued message goes to the new home with its rights, unless that takes none so large. */
static void send_after(struct port *port, struct kmsg *kmsg, struct share_spares *spares,
                       struct deferred *deferred)
{
    if (kmsg_fits(kmsg, port->node)) {
        rights_give(kmsg, port->node, spares);
        flipc_waits(port->node, kmsg);
        return;
    }
    list_remove(&kmsg->queue);
    if (kmsg_was_sent_once(kmsg)) {
        port->home->dead_once++;
        share_tell(port->home);
    }
    flipc_message_done(kmsg, MESSAGE_FAILED, deferred);
}

static void follow(struct port *port, struct node *node, struct share_spares *spares,
                   struct deferred *deferred)
{
    struct node *former = port->node;
    struct share *former_home = port->home;
    uint32_t once = 0;
    struct list *link, *next;

    port->moving = false;
    for (link = port->queue.next; link != &port->queue; link = link->next) {
        flipc_waits_no_more(former, kmsg_of_queue(link));
        rights_return(kmsg_of_queue(link), former, deferred);
        if (!kmsg_was_sent_once(kmsg_of_queue(link)))
            continue;
        share_once_back(former_home);
        once++;
    }
    for (link = port->held.next; link != &port->held; link = link->next)
        once += kmsg_was_sent_once(kmsg_of_queue(link)) ? 1 : 0;
    if (node != former)
        change_home(port, node, spares, once);
    else
        former_home->away += once; /* it moved away and back */
    port->resume = true;
    list_splice(&port->held, &port->queue);
    list_splice(&port->queue, &port->held);
    port->held_mark = &port->held;
    for (link = port->queue.next; link != &port->queue; link = next) {
        next = link->next;
        send_after(port, kmsg_of_queue(link), spares, deferred);
    }
    share_settle(former_home, deferred);
    flipc_rights_told(port, deferred);
    flipc_make_ready(port);
}

/* --- Work ------------------------------------------------------------------------------------- */

/* A port that moved away and back takes its messages' rights off the accounts that they go to again:
 * each may end one. */
static uint32_t list_needs(const struct list *queue, const struct node *node, bool is_back)
{
    uint32_t needs = 0;

    for (struct list *link = queue->next; link != queue; link = link->next) {
        const struct kmsg *kmsg = kmsg_of_queue(link);

        if (kmsg->rights_state != KMSG_RIGHTS_WIRE)
            needs += is_back ? rights_slot_count(kmsg) : rights_give_needs(kmsg, kmsg->local, node);
    }
    return needs;
}

static uint32_t move_needs(const struct port *port, const struct node *node)
{
    bool is_back = port->node == node;

    return (share_needs_spare(port, node) ? 1 : 0) + list_needs(&port->queue, node, is_back) +
           list_needs(&port->held, node, is_back);
}

static void give_up(struct port *port, struct deferred *deferred)
{
    bool owned = port_is_here(port);

    port_die(port, deferred);
    if (!owned)
        return;
    port->holds--;
    port_unreference(port, deferred);
}

/* Returns how many spares are wanted first, 0: done. */
static uint32_t move_locked(struct port *port, struct share_spares *spares, bool no_memory,
                            struct deferred *deferred)
{
    struct node *node = node_live(port->host, port->move_to);
    uint32_t needs;

    if (!port->moving || port->dead || port->in_flight != 0)
        return 0;
    if (node == NULL || node->incarnation != port->move_incarnation || no_memory ||
        (port->departed && port->died_there)) {
        give_up(port, deferred);
        return 0;
    }
    needs = move_needs(port, node);
    if (needs > spares->count)
        return needs;
    if (port->kind == PORT_PROXY)
        follow(port, node, spares, deferred);
    else
        become_proxy(port, node, spares, deferred);
    return 0;
}

void migrate_work(struct port *port, struct deferred *deferred)
{
    struct mach_host *host = port->host;
    struct share_spares spares;
    bool no_memory = false;
    uint32_t needs;

    share_spares_init(&spares);
    do {
        ipc_lock(host);
        needs = move_locked(port, &spares, no_memory, deferred);
        ipc_unlock(host);
        no_memory = !share_spares_fill(host, &spares, needs);
    } while (needs != 0);
    share_spares_free(host, &spares);
}
