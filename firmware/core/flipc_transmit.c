/* SPDX-License-Identifier: MIT
 *
 * FLIPC, the source: proxies' messages get sequence numbers in turn, are given to the link, and
 * stay outstanding until the peer has settled them.
 *
 * What may be transmitted, in this order: an ACK snapshot that is due; what was transmitted before
 * on a link that failed; NAKs; new messages, one proxy after another. All of it is the link's only
 * while a link fetches; nothing here knows links.
 */
#include "name_table.h"
#include "node.h"
#include "port.h"
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

static void waits_no_more(struct node *node, const struct kmsg *kmsg)
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

/* Would a new message be what flipc_fetch() returns next, and is there somebody to ask to take it? */
static bool may_pass(const struct node *node)
{
    const struct flow *flow = &node->flow;

    return node->transmitter.transmit != NULL && may_transmit(node) && !node_is_kicked(node) &&
           list_is_empty(&flow->ready) && list_is_empty(&flow->control) &&
           flow->resend == &flow->outstanding && !flow->snapshot_due && may_send_message(flow);
}

bool flipc_send(struct port *proxy, struct kmsg *kmsg)
{
    struct node *node = proxy->node;

    uint64_t local = kmsg->local != NULL ? port_name_locked(kmsg->local) : NAME_NULL;

    kmsg->header = (struct wire_mnl_header){
        .sub = MNL_SUB_FLIPC,
        .cmd = FLIPC_IPC,
        .flags = MNL_FLAG_SEQUENCED,
        .node_id = le32_of(node->host->node_id),
        .object = le64_of(proxy->name),
        .size = kmsg->mach.size,
    };
    kmsg->mach.remote = kmsg->header.object;
    kmsg->mach.local = le64_of(local);
    kmsg->mach.voucher = le32_of(0);
    if (local == NAME_NULL)
        kmsg->mach.bits = le32_of(MACH_BITS(PORT_SEND, PORT_NONE));
    kmsg->remote = proxy;
    port_reference(proxy);
    proxy->count++;
    if (may_pass(node)) {
        number_message(&node->flow, kmsg);
        node->host->nodes->counters.sent++;
        node->fetched_count++;
        kmsg->held++;
        return true;
    }
    node->flow.waiting_bytes += cost_of(kmsg);
    list_append(&proxy->queue, &kmsg->queue);
    if (list_is_empty(&proxy->ready))
        list_append(&node->flow.ready, &proxy->ready);
    node_kick(node);
    return false;
}

/* It is the newest, so whatever else goes out again comes before it. */
void flipc_untake(struct node *node, struct kmsg *kmsg)
{
    struct flow *flow = &node->flow;

    kmsg->held--;
    node->fetched_count--;
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
    waits_no_more(node, kmsg);
    list_remove(&port->ready);
    if (!list_is_empty(&port->queue))
        list_append(&flow->ready, &port->ready);
    node->host->nodes->counters.sent++;
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
        flow->resend == &flow->outstanding && !flow->snapshot_due)
        node_set_kicked(node, false); /* that was all */
    return msg_of_kmsg(kmsg);
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
    if (--kmsg->held == 0 && kmsg->disposal == KMSG_ORPHAN)
        kmsg_defer(kmsg, (enum message_outcome)0, deferred);
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

/* The message is at its end; it is in no list. */
static void message_done(struct kmsg *kmsg, enum message_outcome outcome, struct deferred *deferred)
{
    struct port *proxy = kmsg->remote;

    count_outcome(kmsg->host, outcome);
    kmsg->remote = NULL;
    kmsg_defer(kmsg, outcome, deferred);
    port_room_made(proxy);
    port_unreference(proxy, deferred);
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
        message_done(kmsg, MESSAGE_SETTLED, deferred);
        return;
    }
    flipc_settle(kmsg);
    kmsg_defer(kmsg, (enum message_outcome)0, deferred);
}

static void kick_if_sendable(struct node *node)
{
    const struct flow *flow = &node->flow;

    if (!list_is_empty(&flow->ready) || !list_is_empty(&flow->control))
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
        message_done(kmsg, MESSAGE_FAILED, deferred);
        return true;
    }
    return false;
}

/* --- Death ------------------------------------------------------------------------------------ */

static void abandon_proxy(struct port *port, struct deferred *deferred)
{
    port_reference(port);
    name_remove(port->host, port);
    list_remove(&port->member);
    list_remove(&port->ready);
    port->dead = true;
    port_tell_death(port);
    port->node = NULL;
    while (!list_is_empty(&port->queue)) {
        struct kmsg *kmsg = kmsg_of_queue(port->queue.next);

        list_remove(&kmsg->queue);
        message_done(kmsg, MESSAGE_FAILED, deferred);
    }
    condition_broadcast(&port->senders); /* and with the node goes its account of what waits */
    port_unreference(port, deferred);
}

void flipc_abandon(struct node *node, struct deferred *deferred)
{
    struct flow *flow = &node->flow;

    while (!list_is_empty(&flow->unsettled)) {
        struct kmsg *kmsg = kmsg_of_flow(flow->unsettled.next);

        list_remove(&kmsg->flow);
        kmsg->source = NULL;
    }
    flow->resend = &flow->outstanding;
    list_splice(&flow->outstanding, &flow->control);
    while (!list_is_empty(&flow->outstanding)) {
        struct kmsg *kmsg = kmsg_of_queue(flow->outstanding.next);

        list_remove(&kmsg->queue);
        if (kmsg->remote != NULL)
            message_done(kmsg, MESSAGE_UNKNOWN, deferred);
        else
            kmsg_defer(kmsg, (enum message_outcome)0, deferred);
    }
    flow->outstanding_count = 0;
    flow->unsettled_count = 0;
    word_store(&flow->owed, 0);
    word_store(&flow->apart, 0);
    while (!list_is_empty(&node->proxies))
        abandon_proxy(port_of_member(node->proxies.next), deferred);
}
