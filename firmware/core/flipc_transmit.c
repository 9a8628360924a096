/* SPDX-License-Identifier: MIT
 *
 * FLIPC, the source: proxies' messages get sequence numbers in turn, are given to the link, and
 * stay outstanding until the peer has settled them.
 *
 * What may be transmitted, in this order: an ACK snapshot that is due; what was transmitted before
 * on a link that failed; NAKs; new messages, one proxy after another. All of it is the link's only
 * while a link fetches; nothing here knows links.
 */
#include "migrate.h"
#include "node.h"
#include "node_notice.h"
#include "port.h"
#include "rights.h"
#include <kernel/panic.h>

/* --- Room ------------------------------------------------------------------------------------- */

/* What a message that waits costs: its block, and perhaps a proxy that only it keeps. */
static size_t cost_of(const struct kmsg *kmsg)
{
    return sizeof(*kmsg) + sizeof(struct port) + le32_load(kmsg->header.size);
}

bool flipc_has_room(const struct node *node)
{
    return node->flow.waiting_bytes < FLOW_WAITING_MAXIMUM;
}

/* Senders wait at their proxies, whatever they wait for. */
static void wake_senders(struct node *node)
{
    for (struct list *link = node->proxies.next; link != &node->proxies; link = link->next) {
        struct port *proxy = port_of_member(link);

        if (proxy->senders_waiting != 0)
            condition_broadcast(&proxy->senders);
    }
}

void flipc_waits(struct node *node, const struct kmsg *kmsg)
{
    node->flow.waiting_bytes += cost_of(kmsg);
}

void flipc_waits_no_more(struct node *node, const struct kmsg *kmsg)
{
    bool was_full = !flipc_has_room(node);

    node->flow.waiting_bytes -= cost_of(kmsg);
    if (was_full && flipc_has_room(node))
        wake_senders(node);
}

/* --- Numbers ---------------------------------------------------------------------------------- */

/* The number under which an outstanding message was transmitted. */
static uint32_t sequence_of(struct list *queue)
{
    return le32_load(kmsg_of_queue(queue)->header.options);
}

static bool may_send_control(const struct flow *flow)
{
    return sequence_before(flow->next_sequence, flow->peer_credit + FLIPC_CONTROL_RESERVE);
}

static bool may_send_message(const struct flow *flow)
{
    if (!sequence_before(flow->next_sequence, flow->peer_credit))
        return false;
    if (list_is_empty(&flow->outstanding))
        return true;
    return flow->outstanding_count < flow->window + FLOW_OUTSTANDING_SLACK &&
           flow->next_sequence - sequence_of(flow->outstanding.next) < FLOW_SEQUENCE_SPAN;
}

/* It gets the next number and is outstanding from now on. */
static void number_message(struct flow *flow, struct kmsg *kmsg)
{
    kmsg->header.options = le32_of(flow->next_sequence++);
    list_append(&flow->outstanding, &kmsg->queue);
    flow->outstanding_count++;
}

static bool may_transmit(const struct node *node)
{
    return node->state == NODE_REGISTERED && (node->link & NODE_GATE_MSG_TO_NODE) != 0 &&
           !node->is_suspended;
}

/* --- In --------------------------------------------------------------------------------------- */

/* Nothing has to happen before the proxy's messages go out. A port that ended has no home. */
static bool proxy_may_transmit(const struct port *proxy)
{
    return proxy->kind == PORT_PROXY && !proxy->moving && proxy->home != NULL &&
           (proxy->home->add.once | proxy->home->add.send) == 0;
}

/* Would a new message be what flipc_fetch() returns next, and is there somebody to ask to take it? */
static bool may_pass(const struct node *node)
{
    const struct flow *flow = &node->flow;

    return node->transmitter.transmit != NULL && may_transmit(node) && !node_is_kicked(node) &&
           list_is_empty(&flow->ready) && list_is_empty(&flow->control) &&
           flow->resend == &flow->outstanding && !flow->snapshot_due && may_send_message(flow);
}

void flipc_make_ready(struct port *proxy)
{
    /* A right has to be on the home's account before it is used. */
    if (!proxy_may_transmit(proxy) || list_is_empty(&proxy->queue) || !list_is_empty(&proxy->ready))
        return;
    list_append(&proxy->node->flow.ready, &proxy->ready);
    node_kick(proxy->node);
}

static void write_headers(struct port *proxy, struct kmsg *kmsg, struct share_spares *spares)
{
    struct node *node = proxy->node;

    kmsg->header = (struct wire_mnl_header){
        .sub = MNL_SUB_FLIPC,
        .cmd = FLIPC_IPC,
        .qos = kmsg->header.qos,
        .flags = MNL_FLAG_SEQUENCED,
        .node_id = le32_of(node->host->node_id),
        .object = le64_of(proxy->name),
        .size = kmsg->mach.size,
    };
    kmsg->mach.remote = kmsg->header.object;
    kmsg->mach.local = le64_of(NAME_NULL);
    kmsg->mach.local_home = le16_of(0);
    kmsg->mach.sender = le16_of(kmsg->source_sender);
    if (kmsg->local != NULL || kmsg->rights != NULL)
        rights_give(kmsg, node, spares);
    else
        kmsg_set_local_right(kmsg, PORT_NONE);
    kmsg->remote = proxy;
    port_reference(proxy);
    proxy->holds++;
    proxy->count++;
}

static void enqueue(struct port *proxy, struct kmsg *kmsg)
{
    flipc_waits(proxy->node, kmsg);
    list_append(&proxy->queue, &kmsg->queue);
    flipc_make_ready(proxy);
}

void flipc_queue(struct port *proxy, struct kmsg *kmsg, struct share_spares *spares)
{
    write_headers(proxy, kmsg, spares);
    enqueue(proxy, kmsg);
}

/* It leaves its proxy's queue, or never enters it. */
static void begin_flight(struct port *proxy, struct kmsg *kmsg)
{
    proxy->in_flight++;
    if (proxy->resume) {
        kmsg_set_resumed(kmsg, true);
        proxy->resume = false;
    }
    proxy->host->nodes->counters.sent++;
}

bool flipc_send(struct port *proxy, struct kmsg *kmsg, struct share_spares *spares)
{
    struct node *node = proxy->node;

    write_headers(proxy, kmsg, spares);
    if (may_pass(node) && proxy_may_transmit(proxy) && list_is_empty(&proxy->queue)) {
        begin_flight(proxy, kmsg);
        number_message(&node->flow, kmsg);
        node->fetched_count++;
        kmsg->held++;
        return true;
    }
    enqueue(proxy, kmsg);
    return false;
}

/* It is the newest, so whatever else goes out again comes before it. */
void flipc_untake(struct node *node, struct kmsg *kmsg, struct deferred *deferred)
{
    struct flow *flow = &node->flow;

    node->fetched_count--;
    if (kmsg->disposal != KMSG_OWNED) {
        flipc_complete(node, msg_of_kmsg(kmsg), deferred);
        return;
    }
    kmsg->held--;
    if (flow->resend == &flow->outstanding)
        flow->resend = &kmsg->queue;
    node_kick(node);
}

/* --- Out -------------------------------------------------------------------------------------- */

static struct kmsg *take_untransmitted(struct node *node)
{
    struct flow *flow = &node->flow;
    struct port *port = port_of_ready(flow->ready.next);
    struct kmsg *kmsg = kmsg_of_queue(port->queue.next);

    list_remove(&kmsg->queue);
    flipc_waits_no_more(node, kmsg);
    list_remove(&port->ready);
    if (!list_is_empty(&port->queue))
        list_append(&flow->ready, &port->ready);
    begin_flight(port, kmsg);
    return kmsg;
}

static struct kmsg *take_new(struct node *node)
{
    struct flow *flow = &node->flow;
    struct kmsg *kmsg;

    if (!list_is_empty(&flow->control)) {
        if (!may_send_control(flow))
            return NULL;
        kmsg = kmsg_of_queue(flow->control.next);
        list_remove(&kmsg->queue);
    } else if (node_notice_is_due(node)) {
        if (!may_send_control(flow))
            return NULL;
        kmsg = node_notice_take(node);
    } else if (!list_is_empty(&flow->notices) && !flow->rights_busy && flow->rights->held == 0) {
        if (!may_send_control(flow))
            return NULL;
        kmsg = flipc_rights_take(node);
    } else {
        if (list_is_empty(&flow->ready) || !may_send_message(flow))
            return NULL;
        kmsg = take_untransmitted(node);
    }
    number_message(flow, kmsg);
    return kmsg;
}

mnl_msg_t flipc_fetch(struct node *node)
{
    struct flow *flow = &node->flow;
    struct kmsg *kmsg;

    if (!may_transmit(node)) {
        node_set_kicked(node, false);
        return MNL_MSG_NULL;
    }
    if (flow->snapshot_due && !flow->snapshot_held)
        return flipc_snapshot_take(node);
    if (flow->resend != &flow->outstanding) {
        kmsg = kmsg_of_queue(flow->resend);
        flow->resend = flow->resend->next;
    } else {
        kmsg = take_new(node);
    }
    if (kmsg == NULL) {
        node_set_kicked(node, false);
        return MNL_MSG_NULL;
    }
    kmsg->held++;
    panic_unless(kmsg->held != 0);
    if (list_is_empty(&flow->ready) && list_is_empty(&flow->control) &&
        list_is_empty(&flow->notices) && node->untold == 0 && flow->resend == &flow->outstanding &&
        !flow->snapshot_due)
        node_set_kicked(node, false); /* that was all */
    return msg_of_kmsg(kmsg);
}

/* One that was transmitted is so no longer. */
static void message_back(struct port *port, struct deferred *deferred)
{
    if (--port->in_flight == 0 && (port->moving || port->kind == PORT_PREPRINCIPAL))
        migrate_landed(port, deferred);
}

/* Until no link has it any more a message cannot be sent anew: it counts as on its way. */
static void message_returned(struct kmsg *kmsg, struct deferred *deferred)
{
    struct port *port = kmsg->remote;

    kmsg->disposal = kmsg->held != 0 ? KMSG_RETURNING : KMSG_OWNED;
    if (kmsg->held == 0)
        message_back(port, deferred);
}

/* The memory of an orphan is freed by way of `deferred`; there is nobody left to tell. */
void flipc_complete(struct node *node, mnl_msg_t msg, struct deferred *deferred)
{
    struct kmsg *kmsg = kmsg_of_msg(msg);

    if ((void *)msg == &node->flow.snapshot.header) {
        panic_unless(node->flow.snapshot_held);
        node->flow.snapshot_held = false;
        return;
    }
    panic_unless(kmsg->held != 0);
    if (kmsg == node->flow.rights || kmsg == node->flow.notice) {
        if (--kmsg->held == 0 && (node->untold != 0 || !list_is_empty(&node->flow.notices)))
            node_kick(node);
        return;
    }
    if (--kmsg->held != 0)
        return;
    if (kmsg->disposal == KMSG_ORPHAN)
        kmsg_defer(kmsg, (enum message_outcome)0, deferred);
    else if (kmsg->disposal == KMSG_RETURNING)
        message_returned(kmsg, deferred);
}

void flipc_resume(struct node *node, uint32_t next_expected)
{
    struct flow *flow = &node->flow;
    struct list *link = flow->outstanding.next;

    /* A peer that expects what we have not sent yet has lost its mind; what it has settled is told
     * by its acks. */
    if (!sequence_before(flow->next_sequence, next_expected)) {
        while (link != &flow->outstanding && sequence_before(sequence_of(link), next_expected))
            link = link->next;
    }
    flow->resend = link;
    /* A snapshot may have been lost with the link. */
    if (!node->flow_in_headers || flow->next_expected - flow->ack != flow->unsettled_count)
        flow->snapshot_due = true;
    node_kick(node);
}

/* --- Settled ---------------------------------------------------------------------------------- */

static void count_outcome(struct mach_host *host, enum message_outcome outcome)
{
    struct node_counters *counters = &host->nodes->counters;

    switch (outcome) {
    case MESSAGE_SETTLED:
        counters->settled++;
        break;
    case MESSAGE_FAILED:
        counters->failed++;
        break;
    case MESSAGE_UNKNOWN:
        counters->unknown++;
        break;
    }
}

/* The message is at its end; it is in no list. `node` lives, or is null. */
static void message_done(struct kmsg *kmsg, struct node *node, enum message_outcome outcome,
                         struct deferred *deferred)
{
    struct port *proxy = kmsg->remote;

    count_outcome(kmsg->host, outcome);
    if (kmsg->local != NULL || kmsg->rights != NULL) {
        if (outcome == MESSAGE_FAILED && node != NULL && kmsg->rights_state == KMSG_RIGHTS_GIVEN)
            rights_return(kmsg, node, deferred);
        if (kmsg->rights_state == KMSG_RIGHTS_GIVEN)
            rights_leave(kmsg, node, deferred);
        else
            rights_die(kmsg, deferred);
    }
    if (node != NULL && kmsg_was_sent_once(kmsg)) {
        if (proxy->home != NULL && proxy->home->node == node)
            share_once_back(proxy->home); /* it stays, whatever is left in it */
        else
            share_once_arrived(proxy, node, deferred);
    }
    kmsg->remote = NULL;
    kmsg_defer(kmsg, outcome, deferred);
    port_room_made(proxy);
    proxy->holds--;
    port_unreference(proxy, deferred);
}

void flipc_message_done(struct kmsg *kmsg, enum message_outcome outcome, struct deferred *deferred)
{
    message_done(kmsg, kmsg->remote->node, outcome, deferred);
}

static void outstanding_remove(struct flow *flow, struct kmsg *kmsg)
{
    if (flow->resend == &kmsg->queue)
        flow->resend = kmsg->queue.next;
    list_remove(&kmsg->queue);
    flow->outstanding_count--;
}

/* One outstanding message is settled by the peer; a NAK of ours settles the message that it
 * refused. */
static void outstanding_settled(struct node *node, struct kmsg *kmsg, struct deferred *deferred)
{
    outstanding_remove(&node->flow, kmsg);
    if (kmsg->remote != NULL) {
        kmsg->remote->moves = 0;
        message_back(kmsg->remote, deferred);
        message_done(kmsg, node, MESSAGE_SETTLED, deferred);
        return;
    }
    if (kmsg == node->flow.rights) {
        flipc_rights_settled(node, deferred);
        return;
    }
    if (kmsg == node->flow.notice) {
        node_notice_settled(node);
        return;
    }
    flipc_settle(kmsg);
    kmsg_defer(kmsg, (enum message_outcome)0, deferred);
}

static void kick_if_sendable(struct node *node)
{
    const struct flow *flow = &node->flow;

    if (!list_is_empty(&flow->ready) || !list_is_empty(&flow->control) ||
        !list_is_empty(&flow->notices))
        node_kick(node);
}

/* Distances are from the lowest outstanding number, so that what a confused peer says is at most
 * ignored. */
static uint32_t lowest_outstanding(const struct flow *flow)
{
    if (list_is_empty(&flow->outstanding))
        return flow->next_sequence;
    return sequence_of(flow->outstanding.next);
}

/* Credit beyond what may be outstanding is of no use; kept as it was told, half the numbers ahead, it
 * would in the end lie in the past. */
static void credit_told(struct flow *flow, uint32_t credit)
{
    uint32_t limit = flow->next_sequence + flow->window + FLOW_OUTSTANDING_SLACK;

    if (sequence_before(limit, credit))
        credit = limit;
    if (sequence_before(flow->peer_credit, credit))
        word_store(&flow->peer_credit, credit);
}

bool flipc_peer_told(struct node *node, uint32_t ack, uint32_t credit, struct deferred *deferred)
{
    struct flow *flow = &node->flow;
    uint32_t lowest = lowest_outstanding(flow);

    if (sequence_before(flow->next_sequence, ack))
        return false;
    word_store(&flow->peer_ack, ack);
    credit_told(flow, credit);
    if (sequence_before(lowest, ack)) {
        while (!list_is_empty(&flow->outstanding)) {
            struct kmsg *kmsg = kmsg_of_queue(flow->outstanding.next);

            if (!sequence_before(le32_load(kmsg->header.options), ack))
                break;
            outstanding_settled(node, kmsg, deferred);
        }
    }
    kick_if_sendable(node);
    return true;
}

static bool snapshot_is_sound(const struct flow *flow, const struct flipc_ack_body *body,
                              uint32_t size_bytes)
{
    uint32_t count, next_expected;

    if (size_bytes < sizeof(*body))
        return false;
    count = le32_load(body->count);
    next_expected = le32_load(body->next_expected);
    if (count > FLIPC_WINDOW_MAXIMUM ||
        size_bytes != sizeof(*body) + count * sizeof(body->unsettled[0]) ||
        sequence_before(flow->next_sequence, next_expected))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t above = i + 1u < count ? le32_load(body->unsettled[i + 1u]) : next_expected;

        if (!sequence_before(le32_load(body->unsettled[i]), above))
            return false;
    }
    return true;
}

bool flipc_snapshot_received(struct node *node, const struct flipc_ack_body *body,
                             uint32_t size_bytes, struct deferred *deferred)
{
    struct flow *flow = &node->flow;
    struct list *link, *next;
    uint32_t count, next_expected;
    uint32_t i = 0;

    if (!snapshot_is_sound(flow, body, size_bytes))
        return false;
    count = le32_load(body->count);
    next_expected = le32_load(body->next_expected);
    credit_told(flow, le32_load(body->credit));
    for (link = flow->outstanding.next; link != &flow->outstanding; link = next) {
        struct kmsg *kmsg = kmsg_of_queue(link);
        uint32_t sequence = le32_load(kmsg->header.options);

        next = link->next;
        if (!sequence_before(sequence, next_expected))
            break;
        while (i < count && sequence_before(le32_load(body->unsettled[i]), sequence))
            i++;
        if (i == count || le32_load(body->unsettled[i]) != sequence)
            outstanding_settled(node, kmsg, deferred);
    }
    kick_if_sendable(node);
    return true;
}

/* May a message that was refused be sent again, or received here? If the port is here by now, the node may
 * have had it between and know nothing of it any more. */
static bool may_follow(const struct port *port, const struct node *node,
                       const struct flipc_nak_body *body)
{
    uint32_t reason = le32_load(body->reason);
    bool has_moved = reason == FLIPC_NAK_MOVED && (int32_t)le32_load(body->resend_to) >= 0;

    if (port->dead)
        return false;
    if (port->kind == PORT_PROXY)
        return has_moved && port->node == node;
    return has_moved || reason == FLIPC_NAK_NOT_PRINCIPAL || reason == FLIPC_NAK_DEAD_PORT ||
           reason == FLIPC_NAK_UNKNOWN_NAME;
}

/* A message that did not find its port goes after it. */
static void refused(struct node *node, struct kmsg *kmsg, const struct flipc_nak_body *body,
                    struct deferred *deferred)
{
    struct port *port = kmsg->remote;

    if (!may_follow(port, node, body)) {
        message_back(port, deferred);
        message_done(kmsg, node, MESSAGE_FAILED, deferred);
        return;
    }
    node->host->nodes->counters.moved++;
    rights_return(kmsg, node, deferred);
    port_reference(port);
    migrate_returned(port, kmsg, node, le32_load(body->resend_to), deferred);
    if (!port->dead)
        message_returned(kmsg, deferred);
    port_unreference(port, deferred);
}

/* The peer keeps the refused number unsettled until this NAK is settled, so it is still outstanding
 * here. */
bool flipc_nak_received(struct node *node, const struct flipc_nak_body *body, uint32_t size_bytes,
                        struct deferred *deferred)
{
    struct flow *flow = &node->flow;

    if (size_bytes != sizeof(*body))
        return false;
    for (struct list *link = flow->outstanding.next; link != &flow->outstanding;
         link = link->next) {
        struct kmsg *kmsg = kmsg_of_queue(link);

        if (le32_load(kmsg->header.options) != le32_load(body->sequence))
            continue;
        if (kmsg->remote == NULL)
            return false; /* a NAK cannot be refused */
        outstanding_remove(flow, kmsg);
        refused(node, kmsg, body, deferred);
        return true;
    }
    return false;
}

/* --- Death ------------------------------------------------------------------------------------ */

/* Nothing of a life is received after its death was told: what waits in a queue is removed. A
 * receiver that is just taking it sees that it has no source any more; a refused message ends as the
 * NAK that it is. */
static void unsettled_drop(struct node *node, struct kmsg *kmsg, struct deferred *deferred)
{
    list_remove(&kmsg->flow);
    rights_doubt_no_more(kmsg);
    rights_use_once_of(kmsg, node, deferred);
    kmsg->source = NULL;
    if (kmsg->destination == NULL || list_is_empty(&kmsg->queue))
        return;
    port_withdraw(kmsg->destination, kmsg);
    kmsg_end(kmsg, (enum message_outcome)0, deferred);
}

void flipc_abandon(struct node *node, struct deferred *deferred)
{
    struct flow *flow = &node->flow;

    while (!list_is_empty(&flow->unsettled))
        unsettled_drop(node, kmsg_of_flow(flow->unsettled.next), deferred);
    flow->resend = &flow->outstanding;
    list_splice(&flow->outstanding, &flow->control);
    while (!list_is_empty(&flow->outstanding)) {
        struct kmsg *kmsg = kmsg_of_queue(flow->outstanding.next);

        list_remove(&kmsg->queue);
        if (kmsg->remote != NULL) {
            message_back(kmsg->remote, deferred);
            message_done(kmsg, NULL, MESSAGE_UNKNOWN, deferred);
        } else if (kmsg != flow->rights && kmsg != flow->notice) {
            kmsg_defer(kmsg, (enum message_outcome)0, deferred);
        }
    }
    flow->outstanding_count = 0;
    flow->unsettled_count = 0;
    word_store(&flow->owed, 0);
    word_store(&flow->apart, 0);
    port_spare_forget(node);
    share_node_died(node, deferred);
    while (!list_is_empty(&node->proxies))
        port_die(port_of_member(node->proxies.next), deferred);
}
