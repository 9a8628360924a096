/* SPDX-License-Identifier: MIT
 *
 * Frames in. The bytes may lie in memory that the other side writes: the header is copied once, a
 * payload is copied once into where it stays, and only copies are judged and used. What belongs to
 * a cable that was cut meanwhile is dropped after the copy (`confirm`).
 *
 * The fast path: while both directions are up, an acceptable frame starts with 32 known bytes; they
 * are compared as four words, and the header CRC costs 28 bytes. Everything else takes the slow
 * path through all checks in the order of docs/spec/link.md, section 3.1.
 */
#include "link_private.h"

#include <kernel/string.h>

void link_drop_assembly(struct link *link)
{
    if (link->assembly != NULL) {
        LINK_OWNER(link, release)(link->context, link->assembly);
        link->assembly = NULL;
    }
}

/* FLIPC state is cumulative: what was told once need not be told again. */
void link_take_flow(struct link *link, const struct frame_header *header)
{
    uint32_t ack = le32_load(header->flipc_ack);
    uint32_t credit = le32_load(header->flipc_credit);

    if (le64_load(header->dst_incarnation) != link->configuration.incarnation ||
        (link->flow_heard && ack == link->flipc_ack_heard && credit == link->flipc_credit_heard)) {
        return;
    }
    link->flow_heard = true;
    link->flipc_ack_heard = ack;
    link->flipc_credit_heard = credit;
    LINK_OWNER(link, flow_peer)(link->context, ack, credit);
}

void link_confirmed(struct link *link, uint32_t ack, uint64_t now_ns)
{
    if (link->tx_state == LINK_DIRECTION_TRAINING) {
        uint32_t peer_mtu = le32_load(link->peer_record.mtu);

        link->tx_checked = link_negotiated_crc(link);
        link->tx_replay = link_negotiated_replay(link);
        link->tx_mtu = peer_mtu < link->configuration.mtu ? peer_mtu : link->configuration.mtu;
        link->train_wanted = false;
        link->replay_progress_ns = now_ns;
        link->statistics.trained++;
        link_change(link, LINK_REASON_TRAINED, link->rx_up, LINK_DIRECTION_UP);
    }
    if (link->tx_state == LINK_DIRECTION_UP && ack != link->tx_base) {
        link_take_ack(link, ack, now_ns);
    }
}

/* --- DATA ------------------------------------------------------------------------------------- */

/* Something has to say that the frame arrived. */
static void owe_ack(struct link *link, uint64_t now_ns)
{
    if (link->rx_owed == 0) {
        link->rx_owed_ns = now_ns;
    }
    link->rx_owed++;
    if (link->rx_owed >= link->configuration.constants.ack_count &&
        link->tx_state == LINK_DIRECTION_UP) {
        link_send_ack(link, now_ns);
    }
}

COLD static void bad_fragment(struct link *link, uint64_t now_ns)
{
    link_drop(link, LINK_DROP_BAD_FRAGMENT);
    link_close_receive(link, LINK_REASON_GARBAGE, now_ns);
}

/* Size of the whole message that a first piece announces; 0: it cannot be. */
static uint32_t announced_bytes(const struct link *link, const struct link_frame *frame)
{
    struct wire_mnl_header message;
    uint32_t size;

    if (le32_load(frame->header.length) < sizeof(message)) {
        return 0;
    }
    memcpy(&message, frame->payload, sizeof(message));
    size = le32_load(message.size);
    if (size > link->configuration.message_max - sizeof(message)) {
        return 0;
    }
    return (uint32_t)sizeof(message) + size;
}

/* Find the buffer that the piece belongs into. 0; ERROR_GARBAGE: it fits nothing; ERROR_NO_MEMORY.
 */
static int place_piece(struct link *link, const struct link_frame *frame)
{
    uint32_t length = le32_load(frame->header.length);
    bool is_first = (frame->header.flags & FRAME_FLAG_FIRST) != 0;
    bool is_last = (frame->header.flags & FRAME_FLAG_LAST) != 0;
    uint32_t total = link->assembly_total;
    uint32_t before = link->assembly_bytes;

    if (is_first != (link->assembly == NULL)) {
        return ERROR_GARBAGE;
    }
    if (is_first) {
        total = announced_bytes(link, frame);
        before = 0;
    }
    if (length == 0 || length > total - before || is_last != (length == total - before)) {
        return ERROR_GARBAGE;
    }
    if (is_first) {
        link->assembly = LINK_OWNER(link, allocate)(link->context, total);
        link->assembly_total = total;
        link->assembly_bytes = 0;
    }
    return link->assembly != NULL ? ERROR_NONE : ERROR_NO_MEMORY;
}

/* A whole message is there. */
static void deliver(struct link *link, uint64_t now_ns)
{
    struct mnl_msg *message = link->assembly;

    link->assembly = NULL;
    switch (LINK_OWNER(link, deliver)(link->context, message, link->assembly_total)) {
    case LINK_DELIVERY_DONE:
        break;
    case LINK_DELIVERY_GARBAGE:
        link_close_receive(link, LINK_REASON_GARBAGE, now_ns);
        break;
    case LINK_DELIVERY_LOST:
        link_drop(link, LINK_DROP_NO_MEMORY);
        link_close_receive(link, LINK_REASON_GAP, now_ns);
        break;
    case LINK_DELIVERY_NODE_DEAD:
        link_close_receive(link, LINK_REASON_NODE_DEAD, now_ns);
        break;
    }
}

/* A piece that came in order and was copied, checked and confirmed. */
static void commit_piece(struct link *link, const struct frame_header *header, uint64_t now_ns)
{
    link->assembly_bytes += le32_load(header->length);
    link->rx_next++;
    link->rx_nak_sent = false;
    link->statistics.rx_data_frames++;
    if (link->assembly_bytes == link->assembly_total) {
        deliver(link, now_ns);
    }
    if (link->rx_up) {
        owe_ack(link, now_ns);
    }
}

/* With replay the frame comes again; without, its place stays empty. */
COLD static void no_room_for_piece(struct link *link, uint64_t now_ns)
{
    link_drop(link, LINK_DROP_NO_MEMORY);
    if (!link->rx_replay) {
        link_close_receive(link, LINK_REASON_GAP, now_ns);
    }
}

/* DATA with the number that is expected: into its buffer at once, so that only the copy is ever
 * judged. False: dropped before anything of the frame may count. */
static bool copy_piece(struct link *link, const struct link_frame *frame, int placed)
{
    const struct frame_header *header = &frame->header;
    bool is_covered = frame_payload_is_covered(header, link->rx_checked);
    uint32_t length = le32_load(header->length);
    uint32_t payload_crc = le32_load(header->payload_crc);
    uint8_t *target;

    if (placed != ERROR_NONE) {
        return !is_covered || crc32c(0, frame->payload, length) == payload_crc;
    }
    target = (uint8_t *)link->assembly + link->assembly_bytes;
    copy_inline(target, frame->payload, length);
    return !is_covered || crc32c(0, target, length) == payload_crc;
}

static void unplace_piece(struct link *link)
{
    if (link->assembly_bytes == 0) {
        link_drop_assembly(link);
    }
}

COLD static void out_of_order(struct link *link, const struct frame_header *header, uint64_t now_ns)
{
    uint32_t distance = le32_load(header->seq) - link->rx_next;

    if ((distance & 0x80000000u) != 0) {
        link_drop(link, LINK_DROP_DUPLICATE);
        owe_ack(link, now_ns);
        return;
    }
    link_drop(link, LINK_DROP_OUT_OF_ORDER);
    if (!link->rx_replay) {
        link_close_receive(link, LINK_REASON_GAP, now_ns);
    } else if (!link->rx_nak_sent && link->tx_state == LINK_DIRECTION_UP &&
               link_send_frame(link, FRAME_NAK, 0, link->tx_seq, NULL, 0, now_ns) == ERROR_NONE) {
        link->rx_nak_sent = true;
        link->statistics.naks++;
    }
}

/* --- Frames of a trained direction ------------------------------------------------------------ */

static bool is_heard_source(const struct link *link, const struct frame_header *header)
{
    return le64_load(header->src_incarnation) == link->peer_incarnation &&
           le32_load(header->src_epoch) == link->peer_epoch;
}

/* The peer says that it does not hear us. Heeded even while we do not hear the peer, or two deaf
 * ends would stay so. */
COLD static void heed_deafness(struct link *link, const struct frame_header *header,
                               uint64_t now_ns)
{
    if (le32_load(header->dst_epoch) == 0 && link->tx_state == LINK_DIRECTION_UP &&
        is_heard_source(link, header)) {
        link_enter_training(link, LINK_REASON_PEER_LOST_US, now_ns);
    }
}

/* What the header of every frame of the epoch tells, rules 7 and 8. */
static void take_header(struct link *link, const struct frame_header *header, uint64_t now_ns)
{
    link->rx_heard_ns = now_ns;
    link_take_flow(link, header);
    if (le64_load(header->dst_incarnation) == link->configuration.incarnation &&
        le32_load(header->dst_epoch) == link->tx_epoch) {
        link_confirmed(link, le32_load(header->ack), now_ns);
    } else {
        heed_deafness(link, header, now_ns);
    }
}

static void count_received(struct link *link, const struct frame_header *header)
{
    link->statistics.rx_frames++;
    link->statistics.rx_bytes += FRAME_HEADER_SIZE + le32_load(header->length);
}

static bool is_confirmed(bool (*confirm)(struct phy *), struct phy *phy)
{
    return confirm == NULL || confirm(phy);
}

/* DATA of the epoch heard is lost. Where nothing is replayed, nobody else will say so. */
static void without_replay_is_gap(struct link *link, uint64_t now_ns)
{
    if (!link->rx_replay) {
        link_close_receive(link, LINK_REASON_GAP, now_ns);
    }
}

static void take_data(struct link *link, const struct link_frame *frame,
                      bool (*confirm)(struct phy *), struct phy *phy, uint64_t now_ns)
{
    const struct frame_header *header = &frame->header;
    bool is_next = le32_load(header->seq) == link->rx_next;
    int placed = is_next ? place_piece(link, frame) : ERROR_FULL;
    bool is_intact = copy_piece(link, frame, placed);

    if (!is_confirmed(confirm, phy)) {
        unplace_piece(link);
        return;
    }
    if (!is_intact) {
        unplace_piece(link);
        link_drop(link, LINK_DROP_BAD_PAYLOAD);
        without_replay_is_gap(link, now_ns);
        return;
    }
    count_received(link, header);
    take_header(link, header, now_ns);
    if (!is_next) {
        out_of_order(link, header, now_ns);
    } else if (placed == ERROR_NONE) {
        commit_piece(link, header, now_ns);
    } else if (placed == ERROR_NO_MEMORY) {
        no_room_for_piece(link, now_ns);
    } else {
        bad_fragment(link, now_ns);
    }
}

COLD static void take_nak(struct link *link, const struct frame_header *header, uint64_t now_ns)
{
    if (le32_load(header->dst_epoch) == link->tx_epoch && link->tx_state == LINK_DIRECTION_UP &&
        link->tx_replay) {
        link_replay(link, now_ns);
    }
}

/* A pure ack says how many DATA frames were sent before it: are some of them missing at the end,
 * where no further DATA shows it? */
static void take_count(struct link *link, const struct frame_header *header, uint64_t now_ns)
{
    if (!link->rx_replay && link->rx_up && (int32_t)(le32_load(header->seq) - link->rx_next) > 0) {
        link_drop(link, LINK_DROP_OUT_OF_ORDER);
        link_close_receive(link, LINK_REASON_GAP, now_ns);
    }
}

/* ACK, NAK and DOWN of the epoch that is heard. */
static void take_plain(struct link *link, const struct frame_header *header, uint64_t now_ns)
{
    take_header(link, header, now_ns);
    if (header->type == FRAME_ACK) {
        take_count(link, header, now_ns);
    } else if (header->type == FRAME_NAK) {
        take_nak(link, header, now_ns);
    } else if (header->type == FRAME_DOWN) {
        link_close_receive(link, LINK_REASON_PEER_CLOSED, now_ns);
    }
}

/* --- The slow path ---------------------------------------------------------------------------- */

static void take_cable(struct link *link, const struct frame_header *header,
                       const struct cable_record_frame *record, uint64_t now_ns)
{
    uint32_t direction = le32_load(record->direction);

    if (!link->configuration.cable_frames || le16_load(header->src_node) != FRAME_CABLE_NODE) {
        link_drop(link, LINK_DROP_BAD_TYPE);
        return;
    }
    if (le32_load(header->length) < sizeof(*record) ||
        (direction != CABLE_DIRECTION_TX && direction != CABLE_DIRECTION_RX)) {
        link_drop(link, LINK_DROP_BAD_RECORD);
        return;
    }
    link_carrier(link, direction, le32_load(record->carrier) != 0, le32_load(record->generation),
                 (le32_load(record->flags) & 1u) != 0, now_ns);
}

/* Not the peer that the cable names: perhaps somebody with our own id. */
COLD static void take_stranger(struct link *link, const struct frame_header *header)
{
    link_drop(link, LINK_DROP_WRONG_PEER);
    if (header->type == FRAME_TRAIN) {
        link_refuse(link, header,
                    le16_load(header->src_node) == link->configuration.node_id
                        ? LINK_REFUSAL_DUPLICATE_ID
                        : LINK_REFUSAL_WRONG_PEER);
    }
}

/* Rules 2 to 5 of section 3.1: 0, or why the frame cannot be used. */
static uint32_t check_identity(const struct link *link, const struct frame_header *header)
{
    uint64_t incarnation = le64_load(header->dst_incarnation);

    if (header->type < FRAME_TRAIN || header->type > FRAME_DOWN) {
        return LINK_DROP_BAD_TYPE;
    }
    if (header->type == FRAME_CABLE) {
        return 0;
    }
    if (!link->rx_cable.up) {
        return LINK_DROP_NOT_TRAINED;
    }
    if (le16_load(header->dst_node) != link->configuration.node_id) {
        return LINK_DROP_WRONG_NODE;
    }
    if (header->type == FRAME_REFUSE ||
        le16_load(header->src_node) != link->configuration.peer_id) {
        return 0;
    }
    if (incarnation != 0 && incarnation != link->configuration.incarnation) {
        return LINK_DROP_STALE_DESTINATION;
    }
    return 0;
}

/* Rule 6, for a frame of the peer that is not TRAIN or REFUSE: 0, or why it cannot be used. */
static uint32_t check_source(const struct link *link, const struct frame_header *header)
{
    if (!link->rx_up) {
        return LINK_DROP_NOT_TRAINED;
    }
    return is_heard_source(link, header) ? 0 : LINK_DROP_STALE_SOURCE;
}

static bool is_from_peer(const struct link *link, const struct frame_header *header)
{
    return header->type == FRAME_CABLE || header->type == FRAME_REFUSE ||
           le16_load(header->src_node) == link->configuration.peer_id;
}

/* ACK, NAK or DOWN on the slow path, or DATA that is not of the epoch heard. */
static void take_other(struct link *link, const struct frame_header *header, uint64_t now_ns)
{
    uint32_t fault = check_source(link, header);

    if (fault == 0) {
        take_plain(link, header, now_ns);
        return;
    }
    heed_deafness(link, header, now_ns);
    link_drop(link, fault);
}

/* A frame with a record, or one that changes a state: its record is copied to where nobody else
 * writes. */
COLD static void take_record(struct link *link, const struct link_frame *frame,
                             bool (*confirm)(struct phy *), struct phy *phy, uint64_t now_ns)
{
    union {
        struct train_record train;
        struct refuse_record refuse;
        struct cable_record_frame cable;
    } record;
    const struct frame_header *header = &frame->header;
    size_t length = le32_load(header->length);
    size_t copied = length < sizeof(record) ? length : sizeof(record);
    uint32_t crc;
    uint32_t fault;

    memset(&record, 0, sizeof(record));
    memcpy(&record, frame->payload, copied);
    crc = crc32c(crc32c(0, &record, copied), frame->payload + copied, length - copied);
    if (!is_confirmed(confirm, phy)) {
        return;
    }
    if (crc != le32_load(header->payload_crc) &&
        frame_payload_is_covered(header, link->rx_checked)) {
        link_drop(link, LINK_DROP_BAD_PAYLOAD);
        return;
    }
    count_received(link, header);
    fault = check_identity(link, header);
    if (fault != 0) {
        link_drop(link, fault);
    } else if (!is_from_peer(link, header)) {
        take_stranger(link, header);
    } else if (header->type == FRAME_CABLE) {
        take_cable(link, header, &record.cable, now_ns);
    } else if (header->type == FRAME_REFUSE) {
        link_take_refuse(link, header, &record.refuse);
    } else if (header->type == FRAME_TRAIN) {
        link_take_train(link, header, &record.train, now_ns);
    } else {
        take_other(link, header, now_ns);
    }
}

/* Is the first half of the header the one that an acceptable frame has now? */
static bool is_expected_constant(const struct link *link, const struct frame_header *header)
{
    uint64_t ours[FRAME_CONSTANT_SIZE / sizeof(uint64_t)];
    uint64_t theirs[FRAME_CONSTANT_SIZE / sizeof(uint64_t)];

    memcpy(ours, &link->rx_constant, sizeof(ours));
    memcpy(theirs, header, sizeof(theirs));
    return link->rx_constant_valid && ((ours[0] ^ theirs[0]) | (ours[1] ^ theirs[1]) |
                                       (ours[2] ^ theirs[2]) | (ours[3] ^ theirs[3])) == 0;
}

/* A DATA or ACK frame as the epoch makes them, undamaged. False: it is something else, or damaged.
 */
static bool is_ordinary(struct link *link, const struct frame_header *header, size_t length)
{
    uint32_t payload_bytes = le32_load(header->length);

    return is_expected_constant(link, header) &&
           (header->type == FRAME_DATA || (header->type == FRAME_ACK && payload_bytes == 0 &&
                                           le32_load(header->payload_crc) == 0)) &&
           payload_bytes == length - FRAME_HEADER_SIZE &&
           payload_bytes <= link->configuration.mtu &&
           frame_crc_next(&link->rx_crc, header, link->rx_constant_crc) ==
               le32_load(header->header_crc);
}

/* The same for DATA, by all rules: a frame that does not start with the expected bytes but may be
 * used. */
static bool is_acceptable_data(const struct link *link, const struct frame_header *header)
{
    return header->type == FRAME_DATA && check_identity(link, header) == 0 &&
           is_from_peer(link, header) && check_source(link, header) == 0;
}

void link_receive(struct link *link, const uint8_t *bytes, size_t length,
                  bool (*confirm)(struct phy *), struct phy *phy, uint64_t now_ns)
{
    struct link_frame frame = {.payload = bytes + FRAME_HEADER_SIZE};
    uint32_t fault;

    if (length < FRAME_HEADER_SIZE) {
        link_drop(link, LINK_DROP_BAD_HEADER);
        return;
    }
    memcpy(&frame.header, bytes, FRAME_HEADER_SIZE);
    if (!is_ordinary(link, &frame.header, length)) {
        fault = frame_check_header(&frame.header, length, link->configuration.mtu);
        if (fault != 0) {
            link_drop(link, fault);
            return;
        }
        if (!is_acceptable_data(link, &frame.header)) {
            take_record(link, &frame, confirm, phy, now_ns);
            return;
        }
    }
    if (frame.header.type == FRAME_DATA) {
        take_data(link, &frame, confirm, phy, now_ns);
    } else if (is_confirmed(confirm, phy)) {
        count_received(link, &frame.header);
        take_plain(link, &frame.header, now_ns);
    }
}
