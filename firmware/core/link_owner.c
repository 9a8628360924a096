/* SPDX-License-Identifier: MIT
 *
 * Between a link, its PHY and the node layer: the callbacks of both, each a few lines. What
 * concerns all links of a peer is peer.c.
 */
#include "link_owner.h"
#include "link_manager_private.h"

static uint64_t now_of(struct managed_link *link)
{
    return link_manager_now_ns(link->manager);
}

/* --- From the PHY ----------------------------------------------------------------------------- */

static void phy_frame(void *context, const uint8_t *frame, size_t length,
                      bool (*confirm)(struct phy *), struct phy *phy)
{
    struct managed_link *link = context;

    link->manager->frames++;
    if (link->manager->has_routes && link_route_number(frame) != 0) {
        link = link_route_receive(link, frame, length, confirm, phy);
        if (link == NULL) {
            return;
        }
    }
    link->is_touched = true;
    link_receive(&link->link, frame, length, confirm, phy, now_of(link));
}

static void phy_carrier(void *context, uint32_t direction, bool up, uint32_t generation,
                        bool checked)
{
    struct managed_link *link = context;

    link->manager->frames++;
    link->is_touched = true;
    link_carrier(&link->link, direction, up, generation, checked, now_of(link));
}

static void phy_drop(void *context, uint32_t reason, uint32_t count)
{
    struct managed_link *link = context;

    if (reason != 0 && reason < LINK_DROP_COUNT) {
        link_count_drop(&link->link, (enum link_drop)reason, count);
    }
}

void link_owner_client(struct managed_link *link, struct phy_client *client)
{
    *client = (struct phy_client){
        .context = link,
        .wake = &link->manager->host->link_event,
        .frame = phy_frame,
        .carrier = phy_carrier,
        .drop = phy_drop,
        .watch = &link->watch,
        .sessions = &link->sessions,
    };
}

/* --- From the link ---------------------------------------------------------------------------- */

int link_owner_transmit(void *context, const struct frame_header *header, const void *payload,
                        size_t payload_bytes)
{
    struct managed_link *link = context;
    int status = link->phy_operations->send(link->phy, header, payload, payload_bytes);

    if (status == ERROR_NONE) {
        link->manager->frames++;
        link_must_flush(link);
    }
    link->is_touched = true;
    return status;
}

struct mnl_msg *link_owner_allocate(void *context, uint32_t total_bytes)
{
    (void)context;
    return mnl_msg_alloc((int)(total_bytes - sizeof(struct mnl_msg)), 0);
}

void link_owner_release(void *context, struct mnl_msg *message)
{
    (void)context;
    mnl_msg_free(message, 0);
}

enum link_delivery link_owner_deliver(void *context, struct mnl_msg *message, uint32_t total_bytes)
{
    struct managed_link *link = context;
    struct peer *peer = link->peer;

    if (peer->node == MNL_NODE_NULL || peer->incarnation != link->link.peer_incarnation) {
        mnl_msg_free(message, 0);
        return LINK_DELIVERY_LOST; /* not registered yet, for want of memory */
    }
    switch (mnl_msg_take_from_node(peer->node, message, total_bytes, 0)) {
    case KERN_SUCCESS:
        return LINK_DELIVERY_DONE;
    case KERN_INVALID_ARGUMENT:
        return LINK_DELIVERY_GARBAGE;
    case KERN_NODE_DOWN:
        return LINK_DELIVERY_NODE_DEAD;
    default:
        return LINK_DELIVERY_LOST;
    }
}

void link_owner_complete(void *context, struct mnl_msg *message)
{
    struct managed_link *link = context;

    mnl_msg_complete(link->peer->node, message, 0);
}

void link_owner_state(void *context, const struct link_event *event)
{
    struct managed_link *link = context;
    const struct link_observer *observer = &link->manager->observer;
    struct link_change change = {
        .link = link->index,
        .peer = link->peer->node_id,
        .peer_incarnation = event->peer_incarnation,
        .rx_up = event->rx_up,
        .tx_up = event->tx_up,
        .epoch = event->epoch,
        .peer_epoch = event->peer_epoch,
        .reason = event->reason,
    };
    uint32_t bits = (event->rx_up ? 1u : 0u) | (event->tx_up ? 2u : 0u);

    __atomic_store_n(&link->state_bits, bits, __ATOMIC_RELEASE);
    link->is_touched = true;
    peer_refresh(link->peer);
    if (link->manager->has_routes) {
        link_route_follow(link);
    }
    if (observer->state != NULL) {
        observer->state(observer->context, &change);
    }
}

void link_owner_trained(void *context, uint64_t incarnation, const struct train_record *record,
                        bool new_life)
{
    struct managed_link *link = context;

    (void)incarnation;
    (void)record;
    (void)new_life;
    link->claim_incarnation = 0;
    peer_begin_life(link->peer, link);
}

/* A peer decides how often this happens: the first of a kind is told at once, then a few a second.
 */
static bool is_report_due(struct managed_link *link, uint64_t *reported_ns)
{
    uint64_t now_ns = now_of(link);

    if (*reported_ns != 0 && now_ns - *reported_ns < LINK_MANAGER_REPORT_INTERVAL_NS) {
        return false;
    }
    *reported_ns = now_ns;
    return true;
}

void link_owner_refused(void *context, enum link_refusal reason, uint64_t incarnation, bool by_us)
{
    struct managed_link *link = context;
    const struct link_observer *observer = &link->manager->observer;

    if (observer->refused != NULL &&
        is_report_due(link, &link->refusal_reported_ns[by_us ? 1 : 0][reason])) {
        observer->refused(observer->context, link->index, link->peer->node_id, reason, incarnation,
                          by_us);
    }
    if (!by_us && reason == LINK_REFUSAL_STALE && observer->stale != NULL) {
        observer->stale(observer->context, incarnation);
    }
}

void link_owner_dropped(void *context, enum link_drop reason, uint32_t count)
{
    struct managed_link *link = context;
    const struct link_observer *observer = &link->manager->observer;

    (void)count;
    if (observer->drop != NULL && is_report_due(link, &link->drop_reported_ns[reason])) {
        observer->drop(observer->context, link->index, link->peer->node_id, reason,
                       link->link.statistics.drops[reason]);
    }
}

void link_owner_carrier(void *context, uint32_t direction, bool up, uint32_t generation)
{
    struct managed_link *link = context;
    const struct link_observer *observer = &link->manager->observer;

    (void)direction;
    (void)up;
    if (observer->carrier != NULL) {
        observer->carrier(observer->context, link->index, link->peer->node_id,
                          link->link.rx_cable.up, link->link.tx_cable.up, generation);
    }
}

int link_owner_admit(void *context, uint64_t incarnation, const struct train_record *record)
{
    struct managed_link *link = context;

    return peer_admit(link->peer, link, incarnation, record);
}

/* FLIPC state; a link that hears another life than the registered one has none to tell. */
static mnl_node_info_t flow_node(const struct managed_link *link)
{
    const struct peer *peer = link->peer;

    return peer->incarnation == link->link.peer_incarnation ? peer->node : MNL_NODE_NULL;
}

void link_owner_flow_read(void *context, uint32_t *ack, uint32_t *credit)
{
    mnl_node_info_t node = flow_node(context);

    if (node != MNL_NODE_NULL) {
        *ack = mnl_flow_ack(node);
        *credit = mnl_flow_credit(node);
    }
}

void link_owner_flow_sent(void *context, uint64_t now_ns)
{
    mnl_node_info_t node = flow_node(context);

    if (node != MNL_NODE_NULL) {
        mnl_flow_acknowledged(node, now_ns);
    }
}

/* What is settled can wait until what arrived with it is delivered and answered. */
void link_owner_flow_peer(void *context, uint32_t ack, uint32_t credit)
{
    struct managed_link *link = context;
    struct peer *peer = link->peer;
    mnl_node_info_t node = flow_node(link);

    if (node == MNL_NODE_NULL) {
        return;
    }
    if (!peer->flow_known || (int32_t)(ack - peer->flow_ack) > 0) {
        peer->flow_known = true;
        peer->flow_ack = ack;
    }
    peer->told_ack = ack;
    peer->told_credit = credit;
    peer->is_flow_due = true;
}

uint32_t link_owner_flow_next(void *context)
{
    mnl_node_info_t node = flow_node(context);

    return node != MNL_NODE_NULL ? mnl_flow_next(node) : 0;
}

uint64_t link_owner_flow_deadline_ns(void *context)
{
    mnl_node_info_t node = flow_node(context);

    return node != MNL_NODE_NULL ? mnl_flow_ack_deadline_ns(node) : DEADLINE_NEVER;
}

#ifndef LINK_ONE_OWNER
const struct link_operations link_owner_operations = {
    .transmit = link_owner_transmit,
    .allocate = link_owner_allocate,
    .release = link_owner_release,
    .deliver = link_owner_deliver,
    .complete = link_owner_complete,
    .state = link_owner_state,
    .trained = link_owner_trained,
    .refused = link_owner_refused,
    .dropped = link_owner_dropped,
    .carrier = link_owner_carrier,
    .admit = link_owner_admit,
    .flow_read = link_owner_flow_read,
    .flow_sent = link_owner_flow_sent,
    .flow_peer = link_owner_flow_peer,
    .flow_next = link_owner_flow_next,
    .flow_deadline_ns = link_owner_flow_deadline_ns,
};
#endif
