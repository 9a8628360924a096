/* SPDX-License-Identifier: MIT
 *
 * FLIPC, what a destination owes its source: `ack` and `credit`, when a frame must carry them, and
 * the ACK snapshot for what was settled out of order.
 *
 * No clock is read when a message is settled. The time from which ack_delay counts is taken when
 * the link first asks for the deadline, so a message that is answered within the link's turn costs
 * no clock at all.
 */
#include "node.h"
#include "port.h"

void flow_init(struct flow *flow, const struct cluster_constants *constants)
{
    *flow = (struct flow){.window = constants->window,
                          .ack_count = constants->ack_count,
                          .peer_credit = constants->window,
                          .credit = constants->window,
                          .credit_read = constants->window};
    list_init(&flow->outstanding);
    list_init(&flow->control);
    list_init(&flow->ready);
    list_init(&flow->notices);
    list_init(&flow->batch);
    list_init(&flow->unsettled);
    flow->resend = &flow->outstanding;
}

/* --- What is owed ----------------------------------------------------------------------------- */

static void snapshot_now(struct node *node)
{
    node->flow.snapshot_due = true;
    node_kick(node);
}

/* The link is woken when it first owes something, so that it knows its deadline, and when it must
 * not wait any longer. */
void flipc_owe(struct node *node, uint32_t count)
{
    struct flow *flow = &node->flow;
    uint32_t before = flow->owed;

    word_store(&flow->owed, before + count);
    if (before != 0 && (before >= flow->ack_count || before + count < flow->ack_count))
        return;
    if (node->flow_in_headers)
        event_signal(&node->host->link_event);
    else if (before + count >= flow->ack_count)
        snapshot_now(node);
    else if (node->fetchers_waiting != 0)
        condition_signal(&node->fetch);
}

/* Something above `ack` was settled, unless `ack` has just passed it. */
static void settled_apart(struct node *node)
{
    struct flow *flow = &node->flow;

    if (flow->next_expected - flow->ack == flow->unsettled_count) {
        word_store(&flow->apart, 0);
        flow->apart_since_ns = 0;
        return;
    }
    word_store(&flow->apart, flow->apart + 1u);
    if (flow->apart >= flow->ack_count)
        snapshot_now(node);
}

void flipc_settle(struct kmsg *kmsg)
{
    struct node *node = kmsg->source;
    struct flow *flow = &node->flow;

    kmsg->source = NULL;
    list_remove(&kmsg->flow);
    flow->unsettled_count--;
    word_store(&flow->credit, flow->credit + 1u);
    if (list_is_empty(&flow->unsettled))
        word_store(&flow->ack, flow->next_expected);
    else
        word_store(&flow->ack, kmsg_of_flow(flow->unsettled.next)->sequence_in);
    settled_apart(node);
    flipc_owe(node, 1);
}

void flipc_settle_control(struct node *node)
{
    struct flow *flow = &node->flow;

    word_store(&flow->next_expected, flow->next_expected + 1u);
    word_store(&flow->credit, flow->credit + 1u);
    if (list_is_empty(&flow->unsettled))
        word_store(&flow->ack, flow->next_expected);
    settled_apart(node);
    flipc_owe(node, 1);
}

/* --- When it is told -------------------------------------------------------------------------- */

static uint64_t deadline_from(uint64_t *since_ns, const struct node *node)
{
    if (*since_ns == 0)
        *since_ns = clock_now_ns();
    return *since_ns + node->host->constants.ack_delay_ns;
}

uint64_t flipc_ack_deadline_ns(struct node *node)
{
    struct flow *flow = &node->flow;
    uint64_t deadline_ns = DEADLINE_NEVER;

    if (word_load(&flow->owed) == 0 && word_load(&flow->apart) == 0)
        return DEADLINE_NEVER;
    ipc_lock(node->host);
    if (node->state != NODE_REGISTERED)
        deadline_ns = DEADLINE_NEVER;
    else if (flow->owed >= flow->ack_count)
        deadline_ns = 0;
    else if (flow->owed != 0)
        deadline_ns = deadline_from(&flow->owed_since_ns, node);
    if (flow->apart != 0 && !flow->snapshot_due && node->state == NODE_REGISTERED) {
        uint64_t apart_ns = deadline_from(&flow->apart_since_ns, node);

        if (apart_ns < deadline_ns)
            deadline_ns = apart_ns;
    }
    ipc_unlock(node->host);
    return deadline_ns;
}

/* Every settlement raises the credit by one, so the difference is what the frame did not tell: a
 * receiver may have settled more since the link read the words for it. */
static uint32_t still_owed(const struct flow *flow)
{
    uint32_t owed = flow->credit - word_load(&flow->credit_read);

    return owed == 0 && flow->ack != word_load(&flow->ack_read) ? 1 : owed;
}

void flipc_acknowledged(struct node *node, uint64_t now_ns)
{
    struct flow *flow = &node->flow;

    if (word_load(&flow->owed) == 0 && word_load(&flow->apart) == 0)
        return;
    ipc_lock(node->host);
    word_store(&flow->owed, still_owed(flow));
    flow->owed_since_ns = 0;
    if (flow->apart != 0 && flow->apart_since_ns != 0 &&
        now_ns >= flow->apart_since_ns + node->host->constants.ack_delay_ns)
        snapshot_now(node);
    ipc_unlock(node->host);
}

uint64_t flipc_snapshot_tick(struct node *node)
{
    struct flow *flow = &node->flow;
    uint64_t deadline_ns;

    if (node->flow_in_headers || flow->owed == 0 || flow->snapshot_due)
        return DEADLINE_NEVER;
    deadline_ns = deadline_from(&flow->owed_since_ns, node);
    if (clock_now_ns() < deadline_ns)
        return deadline_ns;
    flow->snapshot_due = true;
    return DEADLINE_NEVER;
}

/* --- The snapshot ----------------------------------------------------------------------------- */

mnl_msg_t flipc_snapshot_take(struct node *node)
{
    struct flow *flow = &node->flow;
    struct flow_snapshot *snapshot = &flow->snapshot;
    struct flipc_ack_body *body = (struct flipc_ack_body *)(void *)snapshot->body;
    uint32_t count = 0;

    for (struct list *link = flow->unsettled.next; link != &flow->unsettled; link = link->next)
        body->unsettled[count++] = le32_of(kmsg_of_flow(link)->sequence_in);
    body->next_expected = le32_of(flow->next_expected);
    body->credit = le32_of(flow->credit);
    body->count = le32_of(count);
    body->reserved = le32_of(0);
    snapshot->header = (struct wire_mnl_header){
        .sub = MNL_SUB_FLIPC,
        .cmd = FLIPC_ACK,
        .node_id = le32_of(node->host->node_id),
        .size = le32_of((uint32_t)(sizeof(*body) + count * sizeof(body->unsettled[0]))),
    };
    flow->snapshot_due = false;
    flow->snapshot_held = true;
    word_store(&flow->apart, 0);
    flow->apart_since_ns = 0;
    if (!node->flow_in_headers) {
        word_store(&flow->owed, 0);
        flow->owed_since_ns = 0;
    }
    return (mnl_msg_t)(void *)&snapshot->header;
}
