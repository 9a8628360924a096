/* SPDX-License-Identifier: MIT
 *
 * Replay: the DATA frames that the peer has not acknowledged, and go-back-N over them. Sequence
 * numbers count modulo 2^32, slot = number mod 64. Frames tx_base .. tx_seq-1 are out; those from
 * replay_next on have to go out again. A message is given back when the ack covers its last piece.
 * Without replay tx_base only remembers the ack. docs/spec/link.md, section 3.5.
 */
#include "link_private.h"

#define SLOT_MASK (LINK_REPLAY_FRAMES_MAXIMUM - 1u)

bool link_window_has_room(const struct link *link, uint32_t len_bytes)
{
    uint32_t out = link->tx_seq - link->tx_base;

    if (!link->tx_replay || out == 0) {
        return true;
    }
    return out < LINK_REPLAY_FRAMES_MAXIMUM &&
           link->replay_bytes + len_bytes <= LINK_REPLAY_BYTES_MAXIMUM;
}

void link_window_add(struct link *link, const struct link_slot *slot)
{
    link->slots[link->tx_seq & SLOT_MASK] = *slot;
    link->replay_bytes += slot->length;
    link->tx_seq++;
    link->replay_next = link->tx_seq;
}

/* Take the oldest frame out; its message goes back with its last piece. */
static void settle_oldest(struct link *link)
{
    struct link_slot *slot = &link->slots[link->tx_base & SLOT_MASK];

    link->replay_bytes -= slot->length;
    link->tx_base++;
    if ((slot->flags & FRAME_FLAG_LAST) != 0) {
        LINK_OWNER(link, complete)(link->context, slot->message);
    }
}

void link_window_drop(struct link *link)
{
    while (link->tx_replay && link->tx_base != link->tx_seq) {
        settle_oldest(link);
    }
    link->tx_replay = false;
    link->tx_seq = 0; /* numbers start again with the next epoch */
    link->tx_base = 0;
    link->replay_next = 0;
    link->replay_bytes = 0;
    link->replay_tries = 0;
}

void link_take_ack(struct link *link, uint32_t ack, uint64_t now_ns)
{
    uint32_t advance = ack - link->tx_base;

    if (advance > link->tx_seq - link->tx_base) {
        if (link->tx_base - ack > LINK_REPLAY_FRAMES_MAXIMUM) {
            link_drop(link, LINK_DROP_BAD_ACK);
        }
        return;
    }
    if (!link->tx_replay) {
        link->tx_base = ack;
        return;
    }
    if (advance == 0) {
        return;
    }
    link->replay_tries = 0;
    link->replay_progress_ns = now_ns;
    if (link->replay_next - link->tx_base < advance) {
        link->replay_next = ack;
    }
    while (link->tx_base != ack) {
        settle_oldest(link);
    }
}

void link_replay(struct link *link, uint64_t now_ns)
{
    size_t budget_bytes = LINK_REPLAY_BYTES_MAXIMUM;

    if (link->tx_base == link->tx_seq) {
        return;
    }
    if (link->replay_tries == LINK_REPLAY_TRIES_MAXIMUM) {
        link_enter_training(link, LINK_REASON_REPLAY_EXHAUSTED, now_ns);
        return;
    }
    link->replay_tries++;
    link->statistics.replays++;
    link->replay_next = link->tx_base;
    link->replay_progress_ns = now_ns;
    (void)link_replay_pump(link, &budget_bytes, now_ns);
}

int link_replay_pump(struct link *link, size_t *budget_bytes, uint64_t now_ns)
{
    while (link->replay_next != link->tx_seq) {
        struct link_slot *slot = &link->slots[link->replay_next & SLOT_MASK];
        int status;

        if (*budget_bytes == 0) {
            return ERROR_FULL;
        }
        status = link_send_data(link, slot->message, slot, link->replay_next, now_ns);
        if (status != ERROR_NONE) {
            return status;
        }
        slot->sent_ns = now_ns;
        *budget_bytes -= slot->length < *budget_bytes ? slot->length : *budget_bytes;
        link->replay_next++;
    }
    return ERROR_NONE;
}

static uint64_t replay_timeout_ns(const struct link *link)
{
    uint64_t round_trip_ns = link->statistics.round_trip_ns;
    uint64_t timeout_ns = LINK_REPLAY_TIMEOUT_UNKNOWN_NS;

    if (round_trip_ns != 0) {
        timeout_ns = round_trip_ns > LINK_REPLAY_TIMEOUT_MAXIMUM_NS ? LINK_REPLAY_TIMEOUT_MAXIMUM_NS
                                                                    : 4 * round_trip_ns;
    }
    if (timeout_ns < LINK_REPLAY_TIMEOUT_MINIMUM_NS) {
        timeout_ns = LINK_REPLAY_TIMEOUT_MINIMUM_NS;
    }
    timeout_ns <<= link->replay_tries;
    return timeout_ns < LINK_REPLAY_TIMEOUT_MAXIMUM_NS ? timeout_ns
                                                       : LINK_REPLAY_TIMEOUT_MAXIMUM_NS;
}

/* Progress of the ack puts it off: a stream that moves, however slowly, needs no replay. */
uint64_t link_replay_deadline_ns(const struct link *link)
{
    uint64_t since_ns;

    if (!link->tx_replay || link->tx_base == link->tx_seq) {
        return DEADLINE_NEVER;
    }
    since_ns = link->slots[link->tx_base & SLOT_MASK].sent_ns;
    if (link->replay_progress_ns > since_ns) {
        since_ns = link->replay_progress_ns;
    }
    return since_ns + replay_timeout_ns(link);
}
