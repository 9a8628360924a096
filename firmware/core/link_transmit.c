/* SPDX-License-Identifier: MIT
 *
 * Frames out. The link keeps the header of the frame sent last: its first half stays as it is for
 * the epoch, every field of the other is set anew for the next. The payload goes to the PHY from
 * where it lies, so a message is copied once, into the PHY.
 *
 * Messages are cut here: one at a time, in order, never interleaved. What the PHY or the replay
 * window does not take stays in `sending` and goes on with link_pump().
 */
#include "link_private.h"

#include <kernel/string.h>

static void count_sent(struct link *link, uint32_t payload_bytes)
{
    link->statistics.tx_frames++;
    link->statistics.tx_bytes += FRAME_HEADER_SIZE + payload_bytes;
}

/* Complete link->tx_header and give it to the PHY; any frame that leaves carries every ack that is
 * owed. */
static int transmit(struct link *link, const void *payload, uint64_t now_ns)
{
    struct frame_header *header = &link->tx_header;
    uint32_t length = le32_load(header->length);
    uint32_t flipc_ack = 0;
    uint32_t flipc_credit = 0;
    int status;

    header->ack = le32_of(link->rx_up ? link->rx_next : 0);
    if (link->peer_incarnation != 0) {
        LINK_OWNER(link, flow_read)(link->context, &flipc_ack, &flipc_credit);
    }
    header->flipc_ack = le32_of(flipc_ack);
    header->flipc_credit = le32_of(flipc_credit);
    header->header_crc = le32_of(frame_crc_next(&link->tx_crc, header, link->tx_constant_crc));
    status = LINK_OWNER(link, transmit)(link->context, header, payload, length);
    if (status != ERROR_NONE) {
        return status;
    }
    link->ack_wanted = false;
    link->rx_owed = 0;
    link->tx_sent_ns = now_ns;
    if (link->peer_incarnation != 0) {
        LINK_OWNER(link, flow_sent)(link->context, now_ns);
    }
    count_sent(link, length);
    return ERROR_NONE;
}

int link_send_frame(struct link *link, enum frame_type type, uint8_t flags, uint32_t seq,
                    const void *payload, uint32_t payload_bytes, uint64_t now_ns)
{
    struct frame_header *header = &link->tx_header;

    if (!link->tx_cable.up) {
        return ERROR_DOWN;
    }
    header->type = (uint8_t)type;
    header->flags = flags;
    header->length = le32_of(payload_bytes);
    header->seq = le32_of(seq);
    header->payload_crc = le32_of(payload_bytes != 0 ? crc32c(0, payload, payload_bytes) : 0);
    return transmit(link, payload, now_ns);
}

int link_send_data(struct link *link, const struct mnl_msg *message, const struct link_slot *piece,
                   uint32_t seq, uint64_t now_ns)
{
    struct frame_header *header = &link->tx_header;
    const uint8_t *payload = (const uint8_t *)message + piece->offset;
    int status;

    header->type = FRAME_DATA;
    header->flags = piece->flags;
    header->length = le32_of(piece->length);
    header->seq = le32_of(seq);
    header->payload_crc = le32_of(link->tx_checked ? crc32c(0, payload, piece->length) : 0);
    status = transmit(link, payload, now_ns);
    if (status == ERROR_NONE) {
        link->statistics.tx_data_frames++;
    }
    return status;
}

void link_send_ack(struct link *link, uint64_t now_ns)
{
    int status = link_send_frame(link, FRAME_ACK, 0, link->tx_seq, NULL, 0, now_ns);

    link->ack_wanted = status != ERROR_NONE;
    link->retry_ns = now_ns + LINK_RETRY_INTERVAL_NS;
}

void link_acknowledge(struct link *link, uint64_t now_ns)
{
    if (link->tx_state == LINK_DIRECTION_UP) {
        link_send_ack(link, now_ns);
    }
}

/* The next piece of the message that is being cut. */
static struct link_slot next_piece(const struct link *link)
{
    uint32_t left = link->sending_total - link->sending_offset;
    struct link_slot piece = {
        .message = link->sending,
        .offset = link->sending_offset,
        .length = left <= link->tx_mtu ? left : link->tx_mtu,
    };

    piece.flags = (uint8_t)((piece.offset == 0 ? FRAME_FLAG_FIRST : 0u) |
                            (piece.length == left ? FRAME_FLAG_LAST : 0u));
    return piece;
}

/* The piece has left: keep it for replay, or forget it. */
static void piece_sent(struct link *link, struct link_slot *piece, uint64_t now_ns)
{
    bool is_last = (piece->flags & FRAME_FLAG_LAST) != 0;

    piece->sent_ns = now_ns;
    if (link->tx_replay) {
        link_window_add(link, piece);
    } else {
        link->tx_seq++;
        link->replay_next = link->tx_seq;
    }
    link->sending_offset += piece->length;
    if (is_last) {
        link->sending = NULL;
        if (!link->tx_replay) {
            LINK_OWNER(link, complete)(link->context, piece->message);
        }
    }
}

/* Go on with the message that is being cut. */
static void pump_message(struct link *link, size_t *budget_bytes, uint64_t now_ns)
{
    while (link->sending != NULL && *budget_bytes != 0) {
        struct link_slot piece = next_piece(link);

        if (!link_window_has_room(link, piece.length) ||
            link_send_data(link, link->sending, &piece, link->tx_seq, now_ns) != ERROR_NONE) {
            return;
        }
        *budget_bytes -= piece.length < *budget_bytes ? piece.length : *budget_bytes;
        piece_sent(link, &piece, now_ns);
    }
}

void link_pump(struct link *link, size_t budget_bytes, uint64_t now_ns)
{
    if (link->train_wanted && link->tx_state == LINK_DIRECTION_TRAINING) {
        link_send_train(link, now_ns);
    }
    if (link->tx_state != LINK_DIRECTION_UP) {
        return;
    }
    if (link->ack_wanted) {
        link_send_ack(link, now_ns);
    }
    if (link_replay_pump(link, &budget_bytes, now_ns) == ERROR_NONE) {
        pump_message(link, &budget_bytes, now_ns);
    }
}

bool link_is_ready(const struct link *link)
{
    return link->tx_state == LINK_DIRECTION_UP && link->sending == NULL &&
           link->replay_next == link->tx_seq && link_window_has_room(link, 0);
}

bool link_has_backlog(const struct link *link)
{
    if (link->tx_state != LINK_DIRECTION_UP) {
        return link->train_wanted;
    }
    return link->ack_wanted || link->replay_next != link->tx_seq ||
           (link->sending != NULL && link_window_has_room(link, next_piece(link).length));
}

bool link_holds_messages(const struct link *link)
{
    return link->sending != NULL || (link->tx_replay && link->tx_base != link->tx_seq);
}

/* The common case: a message that fits into one frame of a link that keeps nothing. */
static bool send_whole(struct link *link, struct mnl_msg *message, uint32_t total_bytes,
                       uint64_t now_ns)
{
    struct link_slot piece = {.length = total_bytes, .flags = FRAME_FLAG_FIRST | FRAME_FLAG_LAST};

    if (link->tx_replay || total_bytes > link->tx_mtu ||
        link_send_data(link, message, &piece, link->tx_seq, now_ns) != ERROR_NONE) {
        return false;
    }
    link->tx_seq++;
    link->replay_next = link->tx_seq;
    LINK_OWNER(link, complete)(link->context, message);
    return true;
}

int link_send(struct link *link, struct mnl_msg *message, uint32_t total_bytes, size_t budget_bytes,
              uint64_t now_ns)
{
    if (link->tx_state != LINK_DIRECTION_UP) {
        return ERROR_DOWN;
    }
    if (!link_is_ready(link)) {
        return ERROR_FULL;
    }
    if (total_bytes < sizeof(struct mnl_msg) ||
        total_bytes > le32_load(link->peer_record.message_max)) {
        return ERROR_INVALID;
    }
    if (send_whole(link, message, total_bytes, now_ns)) {
        return ERROR_NONE;
    }
    link->sending = message;
    link->sending_offset = 0;
    link->sending_total = total_bytes;
    pump_message(link, &budget_bytes, now_ns);
    return ERROR_NONE;
}

void link_drop_outgoing(struct link *link)
{
    struct mnl_msg *sending = link->sending;

    link->sending = NULL;
    link->ack_wanted = false;
    link_window_drop(link);
    if (sending != NULL) {
        LINK_OWNER(link, complete)(link->context, sending);
    }
}
