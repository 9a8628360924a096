/* SPDX-License-Identifier: MIT
 *
 * Training: TRAIN frames out and in, refusals out and in. A TRAIN is judged (record, then identity,
 * then the owner), and only one that passes changes anything. Only a transmit direction that is up
 * raises its epoch in answer to the peer, so two ends that reset at once cannot chase each other.
 * docs/spec/link.md, sections 2, 3.2, 3.3 and 3.7.
 */
#include "link_private.h"

#include <kernel/string.h>

/* The one version that this end speaks. */
static uint32_t own_version(const struct link *link)
{
    return link->configuration.version != 0 ? link->configuration.version : FRAME_VERSION;
}

void link_send_train(struct link *link, uint64_t now_ns)
{
    const struct link_configuration *configuration = &link->configuration;
    const struct cluster_constants *constants = &configuration->constants;
    uint32_t flipc_next =
        link->peer_incarnation != 0 ? LINK_OWNER(link, flow_next)(link->context) : 0;
    struct train_record record = {
        .version_min = le32_of(own_version(link)),
        .version_max = le32_of(own_version(link)),
        .byte_order = configuration->byte_order,
        .data_model = configuration->data_model,
        .flags = le16_of(link_own_flags(link)),
        .mtu = le32_of(configuration->mtu),
        .message_max = le32_of(configuration->message_max),
        .nodes_max = le32_of(constants->nodes_max),
        .window = le32_of(constants->window),
        .keepalive_ns = le64_of(constants->keepalive_ns),
        .link_down_after_ns = le64_of(constants->link_down_after_ns),
        .dead_after_ns = le64_of(constants->dead_after_ns),
        .ack_delay_ns = le64_of(constants->ack_delay_ns),
        .ack_count = le32_of(constants->ack_count),
        .flipc_next = le32_of(flipc_next),
        .clock_ns = le64_of(now_ns),
        .echo_clock_ns = le64_of(link->echo_clock_ns),
        .echo_received_ns = le64_of(link->echo_received_ns),
    };
    uint8_t flags = link->tx_state == LINK_DIRECTION_UP ? FRAME_FLAG_CONFIRMED : 0;
    int status;

    link->train_count++;
    link->train_sent_ns = now_ns;
    status = link_send_frame(link, FRAME_TRAIN, flags, link->train_count, &record, sizeof(record),
                             now_ns);
    link->train_wanted = status != ERROR_NONE;
    link->retry_ns = now_ns + LINK_RETRY_INTERVAL_NS;
}

/* --- Refusals --------------------------------------------------------------------------------- */

/* It goes to whoever sent the TRAIN, not to the peer we know, and counts as no frame of the
 * direction. */
void link_refuse(struct link *link, const struct frame_header *header, enum link_refusal reason)
{
    struct refuse_record record = {.reason = le32_of((uint32_t)reason),
                                   .incarnation = header->src_incarnation};
    struct frame_header answer = link->tx_header;

    LINK_OWNER(link, refused)(link->context, reason, le64_load(header->src_incarnation), true);
    if (!link->tx_cable.up) {
        return;
    }
    answer.dst_node = header->src_node;
    answer.dst_incarnation = header->src_incarnation;
    answer.dst_epoch = le32_of(0);
    answer.type = FRAME_REFUSE;
    answer.flags = 0;
    answer.length = le32_of(sizeof(record));
    answer.seq = le32_of(link->tx_seq);
    answer.ack = answer.flipc_ack = answer.flipc_credit = le32_of(0);
    answer.payload_crc = le32_of(crc32c(0, &record, sizeof(record)));
    answer.header_crc = le32_of(frame_header_crc(&answer, frame_constant_crc(&answer)));
    if (LINK_OWNER(link, transmit)(link->context, &answer, &record, sizeof(record)) == ERROR_NONE) {
        link->statistics.tx_frames++;
        link->statistics.tx_bytes += FRAME_HEADER_SIZE + sizeof(record);
    }
}

void link_take_refuse(struct link *link, const struct frame_header *header,
                      const struct refuse_record *record)
{
    uint32_t reason = le32_load(record->reason);
    uint64_t refused = le64_load(record->incarnation);
    uint64_t incarnation = le64_load(header->src_incarnation);

    if (le32_load(header->length) < sizeof(*record) || reason < LINK_REFUSAL_VERSION ||
        reason > LINK_REFUSAL_INCARNATION) {
        link_drop(link, LINK_DROP_BAD_RECORD);
        return;
    }
    if (refused != link->configuration.incarnation) {
        link_drop(link, LINK_DROP_STALE_DESTINATION);
        return;
    }
    if (link->parked || link_is_down(link)) {
        return;
    }
    link->parked = true;
    if (le16_load(header->src_node) == link->configuration.peer_id &&
        incarnation > link->newest_incarnation) {
        link->newest_incarnation = incarnation;
    }
    link_change(link, LINK_REASON_REFUSED, false, LINK_DIRECTION_DOWN);
    LINK_OWNER(link, refused)(link->context, (enum link_refusal)reason, refused, false);
}

/* --- Judging a TRAIN -------------------------------------------------------------------------- */

static bool constants_agree(const struct cluster_constants *ours, const struct train_record *record)
{
    return le32_load(record->nodes_max) == ours->nodes_max &&
           le32_load(record->window) == ours->window &&
           le64_load(record->keepalive_ns) == ours->keepalive_ns &&
           le64_load(record->link_down_after_ns) == ours->link_down_after_ns &&
           le64_load(record->dead_after_ns) == ours->dead_after_ns &&
           le64_load(record->ack_delay_ns) == ours->ack_delay_ns &&
           le32_load(record->ack_count) == ours->ack_count;
}

static bool parameters_are_good(const struct train_record *record)
{
    uint32_t mtu = le32_load(record->mtu);
    uint32_t message_max = le32_load(record->message_max);

    return mtu >= FRAME_MTU_MINIMUM && mtu <= FRAME_MTU_MAXIMUM &&
           message_max >= LINK_MESSAGE_MAX_MINIMUM && message_max <= LINK_MESSAGE_MAX_MAXIMUM &&
           (record->byte_order == MNL_BYTEORDER_LITTLE ||
            record->byte_order == MNL_BYTEORDER_BIG) &&
           (record->data_model == MNL_DATAMODEL_ILP32 || record->data_model == MNL_DATAMODEL_LP64);
}

/* The first objection to the claim, else what the owner says: LINK_ADMIT_* or an enum link_refusal.
 */
static int judge(struct link *link, const struct frame_header *header,
                 const struct train_record *record)
{
    uint64_t incarnation = le64_load(header->src_incarnation);

    if (le32_load(record->version_min) > own_version(link) ||
        le32_load(record->version_max) < own_version(link)) {
        return LINK_REFUSAL_VERSION;
    }
    if (!constants_agree(&link->configuration.constants, record)) {
        return LINK_REFUSAL_CONSTANTS;
    }
    if (!parameters_are_good(record)) {
        return LINK_REFUSAL_PARAMETERS;
    }
    if (incarnation == 0) {
        return LINK_REFUSAL_INCARNATION;
    }
    if (incarnation < link->newest_incarnation || incarnation <= link->dead_incarnation) {
        return LINK_REFUSAL_STALE;
    }
    if (incarnation == link->peer_incarnation &&
        le32_load(record->message_max) < le32_load(link->peer_record.message_max)) {
        return LINK_REFUSAL_PARAMETERS; /* longer messages may be under way */
    }
    return LINK_OWNER(link, admit)(link->context, incarnation, record);
}

/* --- Accepting a TRAIN ------------------------------------------------------------------------ */

/* The peer has another life: everything of the old one goes, and the owner hears of it first. */
static void begin_life(struct link *link, uint64_t incarnation)
{
    bool was_up = link->tx_state == LINK_DIRECTION_UP;

    link_forget_life(link);
    link_change(link, LINK_REASON_NODE_DEAD, false,
                was_up ? LINK_DIRECTION_TRAINING : link->tx_state);
    link->peer_incarnation = incarnation;
    link->newest_incarnation = incarnation;
    link_refresh_constants(link);
}

/* Does the sender know this life of ours? */
static bool is_for_us(const struct link *link, const struct frame_header *header)
{
    return le64_load(header->dst_incarnation) == link->configuration.incarnation;
}

static void note_record(struct link *link, const struct frame_header *header,
                        const struct train_record *record, uint64_t now_ns)
{
    uint64_t clock_ns = le64_load(record->clock_ns);
    uint64_t echo_clock_ns = le64_load(record->echo_clock_ns);
    uint64_t echo_received_ns = le64_load(record->echo_received_ns);
    uint64_t held_ns = clock_ns - echo_received_ns;
    uint64_t away_ns = now_ns - echo_clock_ns;

    link->peer_record = *record;
    link->echo_clock_ns = clock_ns;
    link->echo_received_ns = now_ns;
    if (!is_for_us(link, header)) {
        return;
    }
    link->peer_knows_us = true;
    link->peer_flipc_next = le32_load(record->flipc_next);
    /* A sample from before a long silence says nothing about now. */
    if (echo_clock_ns != 0 && echo_clock_ns < now_ns && echo_received_ns <= clock_ns &&
        held_ns < away_ns && away_ns < link->configuration.constants.link_down_after_ns) {
        link->statistics.round_trip_ns = away_ns - held_ns;
    }
}

/* Bring the receive direction up, unless DATA of this epoch may have been missed. */
static void open_receive(struct link *link, const struct frame_header *header,
                         const struct train_record *record, bool new_life, uint64_t now_ns)
{
    uint32_t epoch = le32_load(header->src_epoch);
    bool is_new_epoch = new_life || epoch != link->peer_epoch;

    link->rx_heard_ns = now_ns;
    if (!is_new_epoch && (link->rx_up || (header->flags & FRAME_FLAG_CONFIRMED) != 0)) {
        return;
    }
    if (link->rx_up) {
        link_change(link, LINK_REASON_RETRAIN, false, link->tx_state);
    }
    link->peer_epoch = epoch;
    link->rx_checked = link_negotiated_crc(link);
    link->rx_replay = link_negotiated_replay(link);
    link->rx_next = 0;
    link->rx_nak_sent = false;
    link->rx_owed = 0;
    LINK_OWNER(link, trained)(link->context, link->peer_incarnation, record, new_life);
    link_change(link, LINK_REASON_TRAINED, true, link->tx_state);
}

/* What the TRAIN says about our own direction. */
static void answer(struct link *link, const struct frame_header *header, bool lost_us,
                   uint64_t now_ns)
{
    uint32_t epoch = link->tx_epoch;
    uint32_t count = link->train_count;

    if (link_is_down(link)) {
        if (link->tx_cable.up) {
            link_enter_training(link, LINK_REASON_CARRIER, now_ns); /* it was parked */
        }
        return;
    }
    if (lost_us) {
        link_start_epoch(link, now_ns);
    } else if (is_for_us(link, header) && le32_load(header->dst_epoch) == link->tx_epoch) {
        link_confirmed(link, le32_load(header->ack), now_ns);
        if (link->tx_checked != link_negotiated_crc(link) ||
            link->tx_replay != link_negotiated_replay(link)) {
            link_enter_training(link, LINK_REASON_RETRAIN, now_ns);
        }
    } else if (link->tx_state == LINK_DIRECTION_UP) {
        link_enter_training(link, LINK_REASON_PEER_LOST_US, now_ns);
    }
    if ((header->flags & FRAME_FLAG_CONFIRMED) == 0 && epoch == link->tx_epoch &&
        count == link->train_count) {
        link_send_train(link, now_ns);
    }
}

static void accept_train(struct link *link, const struct frame_header *header,
                         const struct train_record *record, uint64_t now_ns)
{
    uint64_t incarnation = le64_load(header->src_incarnation);
    uint32_t epoch = le32_load(header->src_epoch);
    uint32_t seq = le32_load(header->seq);
    bool new_life = incarnation != link->peer_incarnation;
    bool lost_us = new_life && link->tx_state == LINK_DIRECTION_UP;

    if (new_life) {
        begin_life(link, incarnation);
    }
    if (epoch < link->trained_epoch || (epoch == link->trained_epoch && seq <= link->trained_seq)) {
        link_drop(link, LINK_DROP_DUPLICATE);
        return;
    }
    link->trained_epoch = epoch;
    link->trained_seq = seq;
    note_record(link, header, record, now_ns);
    open_receive(link, header, record, new_life, now_ns);
    link_take_flow(link, header);
    answer(link, header, lost_us, now_ns);
}

void link_take_train(struct link *link, const struct frame_header *header,
                     const struct train_record *record, uint64_t now_ns)
{
    int verdict;

    if (le32_load(header->length) < sizeof(*record) || le32_load(header->src_epoch) == 0) {
        link_drop(link, LINK_DROP_BAD_RECORD);
        return;
    }
    verdict = judge(link, header, record);
    if (verdict > 0) {
        link_refuse(link, header, (enum link_refusal)verdict);
        return;
    }
    if (link->parked && le64_load(header->src_incarnation) > link->newest_incarnation) {
        link->parked = false;
    }
    if (verdict == LINK_ADMIT_HOLD || link->parked) {
        link_drop(link, LINK_DROP_NOT_TRAINED);
        return;
    }
    accept_train(link, header, record, now_ns);
}
