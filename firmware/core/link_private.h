/* SPDX-License-Identifier: MIT
 *
 * What the files of the link protocol share: link.c (state and deadlines), link_transmit.c (frames
 * out), link_train.c (training and refusals), link_receive.c (frames in), link_replay.c
 * (unacknowledged DATA). Nobody else includes it.
 */
#ifndef CORE_LINK_PRIVATE_H
#define CORE_LINK_PRIVATE_H

#include "link_owner.h"

#include <abi/flipc.h>
#include <kernel/frame.h>
#include <kernel/link.h>
#include <kernel/mach_node_link.h>
#include <kernel/phy.h>

/* The header and as much of the payload as a record needs, copied out of reach of the other side.
 */
struct link_frame {
    struct frame_header header;
    const uint8_t *payload; /* where it arrived; the other side may still write there */
};

/* link.c */
COLD void link_drop(struct link *link, enum link_drop reason);
/* Enter a state; what the old one held is given back, and the owner hears of it if a direction came
 * up or went down. */
COLD void link_change(struct link *link, enum link_reason reason, bool rx_up,
                      enum link_direction_state tx_state);
COLD void link_close_receive(struct link *link, enum link_reason reason, uint64_t now_ns);
COLD void link_enter_training(struct link *link, enum link_reason reason, uint64_t now_ns);
COLD void link_start_epoch(struct link *link, uint64_t now_ns);
COLD void
link_forget_life(struct link *link); /* all that was learned from the peer's incarnation */
COLD void link_refresh_constants(struct link *link);
uint16_t link_own_flags(const struct link *link); /* TRAIN_FLAG_* */
bool link_negotiated_crc(const struct link *link);
bool link_negotiated_replay(const struct link *link);

/* link_transmit.c: 0, ERROR_FULL or ERROR_DOWN */
int link_send_frame(struct link *link, enum frame_type type, uint8_t flags, uint32_t seq,
                    const void *payload, uint32_t payload_bytes, uint64_t now_ns);
int link_send_data(struct link *link, const struct mnl_msg *message, const struct link_slot *piece,
                   uint32_t seq, uint64_t now_ns);
APART void link_send_ack(struct link *link,
                         uint64_t now_ns);       /* now, or as soon as the PHY has room */
COLD void link_drop_outgoing(struct link *link); /* give back all messages held */

/* link_train.c */
COLD void link_send_train(struct link *link, uint64_t now_ns);
COLD void link_take_train(struct link *link, const struct frame_header *header,
                          const struct train_record *record, uint64_t now_ns);
COLD void link_take_refuse(struct link *link, const struct frame_header *header,
                           const struct refuse_record *record);
COLD void link_refuse(struct link *link, const struct frame_header *header,
                      enum link_refusal reason);

/* link_receive.c */
COLD void link_drop_assembly(struct link *link);
/* The peer hears our epoch: up if training, and `ack` counts. */
void link_confirmed(struct link *link, uint32_t ack, uint64_t now_ns);
void link_take_flow(struct link *link, const struct frame_header *header);

/* link_replay.c */
bool link_window_has_room(const struct link *link, uint32_t len_bytes);
void link_window_add(
    struct link *link,
    const struct link_slot *slot); /* the frame tx_seq, which becomes the next number */
COLD void link_window_drop(struct link *link);
void link_take_ack(struct link *link, uint32_t ack, uint64_t now_ns);
COLD void link_replay(struct link *link, uint64_t now_ns);
int link_replay_pump(struct link *link, size_t *budget_bytes, uint64_t now_ns);
uint64_t link_replay_deadline_ns(const struct link *link);

static inline bool link_is_down(const struct link *link)
{
    return link->tx_state == LINK_DIRECTION_DOWN;
}

#endif
