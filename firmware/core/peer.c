/* SPDX-License-Identifier: MIT
 *
 * The node at the far end of one or more links: which of its lives is registered, which directions
 * the node layer may use, which link its messages take, and when it is dead. docs/spec/link.md,
 * sections 3.2 and 4.
 *
 * Messages of one peer take one link at a time, so they never overtake each other. When that link
 * goes down, or a preferred one came up and the old one holds nothing any more, FLIPC starts over
 * at the first message that the peer may lack; what it has already, it drops as duplicates.
 */
#include "link_manager_private.h"

#include <kernel/panic.h>

/* --- Death ------------------------------------------------------------------------------------ */

/* Forget the dead life: its links first, which give back what they hold, then the handle. */
static void forget(struct peer *peer, const struct managed_link *except)
{
    mnl_node_info_t node = peer->node;
    uint64_t now_ns = link_manager_now_ns(peer->manager);

    for (uint32_t i = 0; i < peer->link_count; i++) {
        struct managed_link *link = peer->links[i];

        if (link != except) {
            link_peer_died(&link->link, peer->incarnation, now_ns);
            link->is_touched = true;
        }
    }
    peer->node = MNL_NODE_NULL;
    peer->incarnation = 0;
    peer->link_bits = 0;
    peer->active = NULL;
    peer->flow_known = false;
    peer->is_flow_due = false;
    mnl_node_release(node, 0);
}

/* `except`: the link on whose behalf this happens; it enters its new life by itself. */
void peer_die(struct peer *peer, enum node_death_cause cause, const struct managed_link *except)
{
    peer_take_flow(peer);
    /* ERROR_EXISTS: somebody else was first, and the node is as dead. */
    (void)node_declare_dead(peer->manager->host, peer->node_id, peer->incarnation, cause);
    forget(peer, except);
}

void peer_bury(struct peer *peer)
{
    if (peer->node != MNL_NODE_NULL &&
        node_is_declared_dead(peer->manager->host, peer->node_id, peer->incarnation)) {
        forget(peer, NULL);
    }
}

void peer_release(struct peer *peer)
{
    mnl_node_release(peer->node, 0);
    peer->node = MNL_NODE_NULL;
}

/* --- Admission -------------------------------------------------------------------------------- */

/* Another link that has the registered life on it, and on which no other life claims to be there.
 */
static const struct managed_link *living_link(const struct peer *peer,
                                              const struct managed_link *claimed)
{
    for (uint32_t i = 0; i < peer->link_count; i++) {
        const struct managed_link *link = peer->links[i];

        if (link != claimed && link_rx_is_up(&link->link) &&
            link->link.peer_incarnation == peer->incarnation && link->claim_incarnation == 0) {
            return link;
        }
    }
    return NULL;
}

/* Two lives claim one id. Whoever still speaks well after the claim is alive, and the claim is a
 * second node; what was on its way before then proves nothing, hence the half keep-alive. */
static int settle_claim(struct peer *peer, struct managed_link *link, uint64_t incarnation)
{
    uint64_t now_ns = link_manager_now_ns(peer->manager);
    uint64_t grace_ns = peer->manager->host->constants.keepalive_ns / 2;
    const struct managed_link *living;

    if (link->claim_incarnation != incarnation) {
        link->claim_incarnation = incarnation;
        link->claim_ns = now_ns;
    }
    living = living_link(peer, link);
    if (living == NULL) {
        return LINK_ADMIT_ACCEPT;
    }
    if (living->link.rx_heard_ns <= link->claim_ns + grace_ns) {
        return LINK_ADMIT_HOLD;
    }
    link->claim_incarnation = 0;
    return LINK_REFUSAL_DUPLICATE_ID;
}

int peer_admit(struct peer *peer, struct managed_link *link, uint64_t incarnation,
               const struct train_record *record)
{
    int verdict;

    if (node_is_declared_dead(peer->manager->host, peer->node_id, incarnation)) {
        return LINK_REFUSAL_STALE;
    }
    if (peer->node == MNL_NODE_NULL) {
        return LINK_ADMIT_ACCEPT;
    }
    if (peer->incarnation == incarnation) {
        return le32_load(record->message_max) < peer->message_max ? LINK_REFUSAL_PARAMETERS
                                                                  : LINK_ADMIT_ACCEPT;
    }
    verdict = settle_claim(peer, link, incarnation);
    if (verdict == LINK_ADMIT_ACCEPT && incarnation < peer->incarnation) {
        return LINK_REFUSAL_STALE;
    }
    return verdict;
}

/* --- Registration ----------------------------------------------------------------------------- */

/* The smallest limit that this life gave on any link: a message may take each of them. */
static uint32_t message_limit(const struct peer *peer, uint64_t incarnation)
{
    uint32_t limit = UINT32_MAX;

    for (uint32_t i = 0; i < peer->link_count; i++) {
        const struct link *link = &peer->links[i]->link;

        if (link->peer_incarnation == incarnation &&
            le32_load(link->peer_record.message_max) != 0 &&
            le32_load(link->peer_record.message_max) < limit) {
            limit = le32_load(link->peer_record.message_max);
        }
    }
    return limit;
}

static mnl_node_info_t register_life(struct peer *peer, uint64_t incarnation,
                                     const struct train_record *record)
{
    mnl_node_info_t node = mnl_instantiate((mach_node_id_t)peer->node_id, 0);

    if (node == MNL_NODE_NULL) {
        return MNL_NODE_NULL;
    }
    node->datamodel = record->data_model;
    node->byteorder = record->byte_order;
    node->proto_vers_min = le32_load(record->version_min);
    node->proto_vers_max = le32_load(record->version_max);
    link_stand_in_offer(peer, node);
    if (mnl_set_incarnation(node, incarnation, 0) != KERN_SUCCESS ||
        mnl_set_message_max(node, message_limit(peer, incarnation), 0) != KERN_SUCCESS ||
        mnl_register(node, 0) != KERN_SUCCESS) {
        mnl_node_release(node, 0);
        return MNL_NODE_NULL;
    }
    return node;
}

void peer_begin_life(struct peer *peer, const struct managed_link *link)
{
    uint64_t incarnation = link->link.peer_incarnation;

    if (peer->node != MNL_NODE_NULL && peer->incarnation == incarnation) {
        return;
    }
    if (peer->node != MNL_NODE_NULL) {
        peer_die(peer, NODE_DEATH_INCARNATION, link);
    }
    peer->node = register_life(peer, incarnation, &link->link.peer_record);
    if (peer->node != MNL_NODE_NULL) {
        peer->incarnation = incarnation;
        peer->message_max = message_limit(peer, incarnation);
        peer->silent_since_ns = link_manager_now_ns(peer->manager);
    }
}

/* --- Directions ------------------------------------------------------------------------------- */

static bool is_usable(const struct peer *peer, const struct managed_link *link)
{
    return link_tx_is_up(&link->link) && link->link.peer_incarnation == peer->incarnation;
}

static struct managed_link *preferred_link(const struct peer *peer)
{
    for (uint32_t i = 0; i < peer->link_count; i++) {
        if (is_usable(peer, peer->links[i])) {
            return peer->links[i];
        }
    }
    return NULL;
}

/* The first message that the peer may lack, as far as the link's last record and the acks tell. */
static uint32_t resume_point(const struct peer *peer, const struct link *link)
{
    uint32_t next = link->peer_flipc_next;

    if (peer->flow_known && (!link->peer_knows_us || (int32_t)(peer->flow_ack - next) > 0)) {
        next = peer->flow_ack;
    }
    return next;
}

/* From now on DATA takes this link. */
static void take_link(struct peer *peer, struct managed_link *link)
{
    peer->active = link;
    if (link != NULL) {
        mnl_flow_resume(peer->node, resume_point(peer, &link->link));
    }
}

static void set_bits(struct peer *peer, int bits)
{
    int raised = bits & ~peer->link_bits;
    int lowered = peer->link_bits & ~bits;

    /* Both answers can only be that somebody declared the node dead: peer_bury() sees to that. */
    if (lowered != 0) {
        (void)mnl_set_link_down(peer->node, lowered, 0);
    }
    if (raised != 0) {
        (void)mnl_set_link_state(peer->node, raised, 0);
    }
    if ((lowered & (int)MNL_LINK_RX) != 0) {
        peer->silent_since_ns = link_manager_now_ns(peer->manager);
    }
    peer->link_bits = bits;
}

void peer_refresh(struct peer *peer)
{
    int bits = 0;

    if (peer->node == MNL_NODE_NULL) {
        return;
    }
    for (uint32_t i = 0; i < peer->link_count; i++) {
        const struct link *link = &peer->links[i]->link;

        if (link->peer_incarnation == peer->incarnation) {
            bits |= (link_rx_is_up(link) ? (int)MNL_LINK_RX : 0) |
                    (link_tx_is_up(link) ? (int)MNL_LINK_TX : 0);
        }
    }
    set_bits(peer, bits);
    if (peer->active == NULL || !is_usable(peer, peer->active)) {
        take_link(peer, preferred_link(peer));
    }
}

/* --- Messages --------------------------------------------------------------------------------- */

/* A better link is up: stop feeding the one in use, and change over when it holds nothing. */
static bool is_changing_over(struct peer *peer)
{
    struct managed_link *better;

    if (peer->links[0] == peer->active) {
        return false;
    }
    better = preferred_link(peer);
    if (better == peer->active) {
        return false;
    }
    if (link_holds_messages(&peer->active->link)) {
        return true;
    }
    take_link(peer, better);
    return false;
}

void peer_send(struct peer *peer, mnl_msg_t message, size_t budget_bytes)
{
    uint32_t total_bytes = (uint32_t)sizeof(*message) + mnl_msg_payload_bytes(message);
    int status = link_send(&peer->active->link, message, total_bytes, budget_bytes,
                           link_manager_now_ns(peer->manager));

    /* A link that is ready takes what the peer receives, and the node layer sends no more. */
    panic_unless(status == ERROR_NONE);
}

void peer_pump(struct peer *peer)
{
    size_t budget_bytes = LINK_MANAGER_BUDGET_BYTES;
    struct managed_link *link;

    if (peer->active == NULL || !mnl_has_to_node(peer->node) || is_changing_over(peer)) {
        return;
    }
    link = peer->active;
    while (budget_bytes != 0 && mnl_has_to_node(peer->node) && link_is_ready(&link->link)) {
        mnl_msg_t message = mnl_msg_try_to_node(peer->node, 0);
        size_t total_bytes;

        if (message == MNL_MSG_NULL) {
            return;
        }
        total_bytes = sizeof(*message) + mnl_msg_payload_bytes(message);
        peer_send(peer, message, budget_bytes);
        budget_bytes -= total_bytes < budget_bytes ? total_bytes : budget_bytes;
    }
}

void peer_take_flow(struct peer *peer)
{
    if (peer->is_flow_due) {
        peer->is_flow_due = false;
        mnl_flow_peer(peer->node, peer->told_ack, peer->told_credit);
    }
}

/* --- Time ------------------------------------------------------------------------------------- */

/* A link that hears a life which could not be registered: there was no memory. */
static const struct managed_link *unregistered_link(const struct peer *peer)
{
    for (uint32_t i = 0; i < peer->link_count; i++) {
        if (link_rx_is_up(&peer->links[i]->link)) {
            return peer->links[i];
        }
    }
    return NULL;
}

uint64_t peer_deadline_ns(const struct peer *peer)
{
    if (peer->node == MNL_NODE_NULL) {
        return unregistered_link(peer) != NULL ? peer->silent_since_ns + LINK_TRAIN_INTERVAL_NS
                                               : DEADLINE_NEVER;
    }
    if (peer->node_id == 0 || (peer->link_bits & (int)MNL_LINK_RX) != 0) {
        return DEADLINE_NEVER;
    }
    return peer->silent_since_ns + peer->manager->host->constants.dead_after_ns;
}

void peer_tick(struct peer *peer, uint64_t now_ns)
{
    if (now_ns < peer_deadline_ns(peer)) {
        return;
    }
    if (peer->node != MNL_NODE_NULL && !mnl_is_suspended(peer->node)) {
        peer_die(peer, NODE_DEATH_SILENCE, NULL);
        return;
    }
    peer->silent_since_ns = now_ns; /* a peer that sleeps is given as long again */
    if (peer->node != MNL_NODE_NULL) {
        return;
    }
    peer_begin_life(peer, unregistered_link(peer));
    peer_refresh(peer);
}
