/* SPDX-License-Identifier: MIT
 *
 * The state of one end of a link: cable, directions, epochs, deadlines. Everything that changes the
 * state of a direction goes through link_change(), so the owner hears of each change once and
 * nothing stays held by a direction that is down. docs/spec/link.md, section 3.
 */
#include "link_private.h"

#include <kernel/string.h>

int link_initialize(struct link *link, const struct link_configuration *configuration,
                    const struct link_operations *operations, void *context)
{
    const struct link_configuration *c = configuration;

    if (c->incarnation == 0 || c->node_id == c->peer_id || c->node_id >= FRAME_CABLE_NODE ||
        c->peer_id >= FRAME_CABLE_NODE || c->mtu < FRAME_MTU_MINIMUM ||
        c->mtu > FRAME_MTU_MAXIMUM || c->message_max < LINK_MESSAGE_MAX_MINIMUM ||
        c->message_max > LINK_MESSAGE_MAX_MAXIMUM) {
        return ERROR_INVALID;
    }
    memset(link, 0, sizeof(*link));
#ifdef LINK_ONE_OWNER
    (void)operations;
#else
    link->operations = operations;
#endif
    link->context = context;
    link->configuration = *configuration;
    link->statistics.peer = configuration->peer_id;
    link_refresh_constants(link);
    return ERROR_NONE;
}

void link_drop(struct link *link, enum link_drop reason)
{
    link_count_drop(link, reason, 1);
}

void link_count_drop(struct link *link, enum link_drop reason, uint32_t count)
{
    link->statistics.drops[reason] += count;
    LINK_OWNER(link, dropped)(link->context, reason, count);
}

/* --- What both records together say about DATA ------------------------------------------------ */

uint16_t link_own_flags(const struct link *link)
{
    bool checked = link->tx_cable.checked || link->rx_cable.checked;
    uint16_t flags = 0;

    if (checked || link->configuration.wants_payload_crc) {
        flags |= TRAIN_FLAG_PAYLOAD_CRC;
    }
    if (checked || link->configuration.offers_replay) {
        flags |= TRAIN_FLAG_REPLAY;
    }
    return flags;
}

bool link_negotiated_crc(const struct link *link)
{
    return ((link_own_flags(link) | le16_load(link->peer_record.flags)) & TRAIN_FLAG_PAYLOAD_CRC) !=
           0;
}

bool link_negotiated_replay(const struct link *link)
{
    return (link_own_flags(link) & le16_load(link->peer_record.flags) & TRAIN_FLAG_REPLAY) != 0;
}

/* --- State ------------------------------------------------------------------------------------ */

void link_refresh_constants(struct link *link)
{
    const struct link_configuration *configuration = &link->configuration;
    struct frame_header *tx = &link->tx_header;
    struct frame_header *rx = &link->rx_constant;

    tx->magic = le16_of(FRAME_MAGIC);
    tx->version = FRAME_VERSION;
    tx->src_node = le16_of((uint16_t)configuration->node_id);
    tx->dst_node = le16_of((uint16_t)configuration->peer_id);
    tx->route = le16_of(configuration->route);
    tx->src_incarnation = le64_of(configuration->incarnation);
    tx->dst_incarnation = le64_of(link->peer_incarnation);
    tx->src_epoch = le32_of(link->tx_epoch);
    tx->dst_epoch = le32_of(link->rx_up ? link->peer_epoch : 0);
    link->tx_constant_crc = frame_constant_crc(tx);
    frame_crc_restart(&link->tx_crc, link->tx_constant_crc);

    rx->magic = le16_of(FRAME_MAGIC);
    rx->version = FRAME_VERSION;
    rx->src_node = tx->dst_node;
    rx->dst_node = tx->src_node;
    rx->src_incarnation = tx->dst_incarnation;
    rx->dst_incarnation = tx->src_incarnation;
    rx->src_epoch = tx->dst_epoch;
    rx->dst_epoch = tx->src_epoch;
    link->rx_constant_crc = frame_constant_crc(rx);
    frame_crc_restart(&link->rx_crc, link->rx_constant_crc);
    link->rx_constant_valid = link->rx_up && link->tx_state == LINK_DIRECTION_UP;
}

static void report(struct link *link, enum link_reason reason)
{
    struct link_event event = {
        .rx_up = link->rx_up,
        .tx_up = link->tx_state == LINK_DIRECTION_UP,
        .peer_knows_us = link->peer_knows_us,
        .epoch = link->tx_epoch,
        .peer_epoch = link->rx_up ? link->peer_epoch : 0,
        .peer_incarnation = link->peer_incarnation,
        .flipc_next = link->peer_flipc_next,
        .reason = reason,
    };

    LINK_OWNER(link, state)(link->context, &event);
}

void link_change(struct link *link, enum link_reason reason, bool rx_up,
                 enum link_direction_state tx_state)
{
    bool rx_was_up = link->rx_up;
    bool tx_was_up = link->tx_state == LINK_DIRECTION_UP;
    bool tx_is_up = tx_state == LINK_DIRECTION_UP;

    link->rx_up = rx_up;
    link->tx_state = tx_state;
    link_refresh_constants(link);
    if (rx_was_up && !rx_up) {
        link_drop_assembly(link);
        link->rx_owed = 0;
    }
    if (tx_was_up && !tx_is_up) {
        link_drop_outgoing(link);
    }
    if (rx_was_up != rx_up || tx_was_up != tx_is_up) {
        report(link, reason);
    }
}

/* The peer may have much to send again, so it is told at once. */
void link_close_receive(struct link *link, enum link_reason reason, uint64_t now_ns)
{
    if (!link->rx_up) {
        return;
    }
    link_change(link, reason, false, link->tx_state);
    if (link->tx_state == LINK_DIRECTION_UP) {
        link_send_ack(link, now_ns);
    }
}

void link_start_epoch(struct link *link, uint64_t now_ns)
{
    link->tx_epoch++;
    link->train_count = 0;
    link_refresh_constants(link);
    link_send_train(link, now_ns);
}

void link_enter_training(struct link *link, enum link_reason reason, uint64_t now_ns)
{
    link_change(link, reason, link->rx_up, LINK_DIRECTION_TRAINING);
    link_start_epoch(link, now_ns);
}

void link_forget_life(struct link *link)
{
    memset(&link->peer_record, 0, sizeof(link->peer_record));
    link->peer_knows_us = false;
    link->peer_flipc_next = 0;
    link->trained_epoch = 0;
    link->trained_seq = 0;
    link->echo_clock_ns = 0;
    link->echo_received_ns = 0;
    link->flow_heard = false;
    link->statistics.round_trip_ns = 0;
}

/* Our flags are others than those that this epoch's TRAINs told, or that the peer's epoch was opened
 * with: both would be read differently at the two ends. A direction of ours that is up keeps what
 * it has; the peer's next TRAIN compares. */
static void renegotiate(struct link *link, uint64_t now_ns)
{
    link_close_receive(link, LINK_REASON_CARRIER, now_ns);
    if (link->tx_state == LINK_DIRECTION_TRAINING) {
        link_start_epoch(link, now_ns);
    }
}

/* --- What the owner tells --------------------------------------------------------------------- */

void link_carrier(struct link *link, uint32_t direction, bool up, uint32_t generation, bool checked,
                  uint64_t now_ns)
{
    bool is_receive = direction == PHY_DIRECTION_RX;
    struct link_cable_state *cable = is_receive ? &link->rx_cable : &link->tx_cable;
    uint16_t flags_before = link_own_flags(link);

    if (cable->known && cable->up == up && cable->generation == generation &&
        cable->checked == checked) {
        return;
    }
    *cable = (struct link_cable_state){
        .up = up, .checked = checked, .known = true, .generation = generation};
    if (LINK_OWNER_HAS(link, carrier)) {
        LINK_OWNER(link, carrier)(link->context, direction, up, generation);
    }
    if (is_receive) {
        link_close_receive(link, LINK_REASON_CARRIER, now_ns);
    } else {
        link_change(link, LINK_REASON_CARRIER, link->rx_up, LINK_DIRECTION_DOWN);
    }
    if (link_own_flags(link) != flags_before) {
        renegotiate(link, now_ns);
    }
    link->parked = false;
    if (link->tx_cable.up && link_is_down(link)) {
        link_enter_training(link, LINK_REASON_CARRIER, now_ns);
    }
}

void link_peer_died(struct link *link, uint64_t incarnation, uint64_t now_ns)
{
    bool was_up = link->tx_state == LINK_DIRECTION_UP;

    if (incarnation > link->dead_incarnation) {
        link->dead_incarnation = incarnation;
    }
    if (link->peer_incarnation == 0 || link->peer_incarnation > incarnation) {
        return;
    }
    link_forget_life(link);
    link_change(link, LINK_REASON_NODE_DEAD, false,
                was_up ? LINK_DIRECTION_TRAINING : link->tx_state);
    link->peer_incarnation = 0;
    link_refresh_constants(link);
    if (was_up) {
        link_start_epoch(link, now_ns);
    }
}

void link_garbage(struct link *link, uint64_t now_ns)
{
    link_close_receive(link, LINK_REASON_GARBAGE, now_ns);
}

void link_close(struct link *link, uint64_t now_ns)
{
    if (!link_is_down(link)) {
        (void)link_send_frame(link, FRAME_DOWN, 0, link->tx_seq, NULL, 0, now_ns);
    }
    link->tx_cable.up = false;
    link->rx_cable.up = false;
    link_change(link, LINK_REASON_DRIVER_STOPPED, false, LINK_DIRECTION_DOWN);
}

void link_set_phy(struct link *link, uint32_t mtu, bool payload_crc, bool replay, bool lossless)
{
    link->configuration.mtu = mtu;
    link->configuration.wants_payload_crc = payload_crc || !lossless;
    link->configuration.offers_replay = replay || !lossless;
    link->configuration.cable_frames = !lossless && link->configuration.route == 0;
}

/* --- Deadlines -------------------------------------------------------------------------------- */

static uint64_t silent_at_ns(const struct link *link)
{
    return link->rx_heard_ns + link->configuration.constants.link_down_after_ns;
}

static uint64_t train_at_ns(const struct link *link)
{
    return link->train_wanted ? link->retry_ns : link->train_sent_ns + LINK_TRAIN_INTERVAL_NS;
}

/* When a frame has to go out that carries acks, or at least shows life. */
static uint64_t ack_at_ns(const struct link *link)
{
    const struct cluster_constants *constants = &link->configuration.constants;
    uint64_t at_ns = link->tx_sent_ns + constants->keepalive_ns;
    uint64_t flow_at_ns = DEADLINE_NEVER;

    if (link->ack_wanted) {
        return link->retry_ns;
    }
    if (link->rx_owed != 0 && link->rx_owed_ns + constants->ack_delay_ns < at_ns) {
        at_ns = link->rx_owed_ns + constants->ack_delay_ns;
    }
    if (link->peer_incarnation != 0) {
        flow_at_ns = LINK_OWNER(link, flow_deadline_ns)(link->context);
    }
    return flow_at_ns < at_ns ? flow_at_ns : at_ns;
}

void link_tick(struct link *link, uint64_t now_ns)
{
    if (link->tx_state == LINK_DIRECTION_TRAINING && now_ns >= train_at_ns(link)) {
        link_send_train(link, now_ns);
    }
    if (link->rx_up && now_ns >= silent_at_ns(link)) {
        link_close_receive(link, LINK_REASON_SILENT, now_ns);
    }
    if (link->tx_state == LINK_DIRECTION_UP && now_ns >= link_replay_deadline_ns(link)) {
        link_replay(link, now_ns);
    }
    if (link->tx_state == LINK_DIRECTION_UP && now_ns >= ack_at_ns(link)) {
        link_send_ack(link, now_ns);
    }
}

static uint64_t earlier(uint64_t left_ns, uint64_t right_ns)
{
    return left_ns < right_ns ? left_ns : right_ns;
}

uint64_t link_next_deadline_ns(const struct link *link)
{
    uint64_t deadline_ns = DEADLINE_NEVER;

    if (link->rx_up) {
        deadline_ns = silent_at_ns(link);
    }
    if (link->tx_state == LINK_DIRECTION_TRAINING) {
        deadline_ns = earlier(deadline_ns, train_at_ns(link));
    }
    if (link->tx_state == LINK_DIRECTION_UP) {
        deadline_ns = earlier(deadline_ns, ack_at_ns(link));
        deadline_ns = earlier(deadline_ns, link_replay_deadline_ns(link));
    }
    return deadline_ns;
}

void link_read_statistics(const struct link *link, struct link_statistics *statistics)
{
    *statistics = link->statistics;
    statistics->state = (link->rx_up ? 1u : 0u) | (link_tx_is_up(link) ? 2u : 0u);
    statistics->epoch = link->tx_epoch;
    statistics->peer_epoch = link->rx_up ? link->peer_epoch : 0;
}
