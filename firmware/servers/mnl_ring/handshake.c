/* SPDX-License-Identifier: MIT
 *
 * The introductions of two drivers; see handshake.h.
 */
#include "handshake.h"

#include <kernel/mach_node_link.h>
#include <kernel/string.h>

void handshake_open(struct handshake *handshake, const struct ring_hello *self, uint32_t peer_id)
{
    *handshake = (struct handshake){.self = *self, .peer_id = peer_id};
    handshake->self.kind = le32_of(RING_HELLO);
    handshake->self.magic = le32_of(RING_MAGIC);
}

void handshake_set_tx(struct handshake *handshake, uint32_t session)
{
    handshake->tx_session = session;
    handshake->welcomed = false;
    handshake->hello_due = session != 0;
    handshake->welcome_due = session != 0 && handshake->heard;
}

void handshake_set_rx(struct handshake *handshake, uint32_t session)
{
    handshake->rx_session = session;
    handshake->heard = false;
    handshake->welcome_due = false;
}

static uint32_t kind_of(const void *record, size_t length)
{
    le32 kind;

    if (length < sizeof(kind))
        return 0;
    memcpy(&kind, record, sizeof(kind));
    return le32_load(kind);
}

int handshake_kind(const struct handshake *handshake, const void *record, size_t length)
{
    switch (kind_of(record, length)) {
    case RING_HELLO:
        return length == sizeof(struct ring_hello) && !handshake->heard ? RING_HELLO
                                                                        : ERROR_GARBAGE;
    case RING_WELCOME:
        return length == sizeof(struct ring_welcome) && handshake->heard ? RING_WELCOME
                                                                         : ERROR_GARBAGE;
    case RING_PIECE:
        return length > sizeof(struct ring_piece) && handshake->heard ? RING_PIECE : ERROR_GARBAGE;
    default:
        return ERROR_GARBAGE;
    }
}

uint64_t handshake_life(const struct handshake *handshake, const struct ring_hello *hello)
{
    if (le32_load(hello->magic) != RING_MAGIC || le32_load(hello->node_id) != handshake->peer_id ||
        le32_load(hello->version_min) > MNL_PROTOCOL_V1 ||
        le32_load(hello->version_max) < MNL_PROTOCOL_V1)
        return 0;
    return le64_load(hello->incarnation);
}

void handshake_accept(struct handshake *handshake, uint64_t incarnation)
{
    if (handshake->peer_incarnation != incarnation)
        handshake->welcomed = false;
    handshake->peer_incarnation = incarnation;
    handshake->heard = true;
    handshake->welcome_due = handshake->tx_session != 0;
}

bool handshake_welcomes(struct handshake *handshake, const struct ring_welcome *welcome)
{
    if (handshake->tx_session == 0 || le32_load(welcome->session) != handshake->tx_session ||
        le64_load(welcome->incarnation) != le64_load(handshake->self.incarnation))
        return false;
    handshake->welcomed = true;
    return true;
}

size_t handshake_due(const struct handshake *handshake, uint32_t next, void *record)
{
    if (handshake->hello_due) {
        memcpy(record, &handshake->self, sizeof(handshake->self));
        return sizeof(handshake->self);
    }
    if (handshake->welcome_due) {
        const struct ring_welcome welcome = {
            .kind = le32_of(RING_WELCOME),
            .session = le32_of(handshake->rx_session),
            .incarnation = le64_of(handshake->peer_incarnation),
            .next = le32_of(next),
        };
        memcpy(record, &welcome, sizeof(welcome));
        return sizeof(welcome);
    }
    return 0;
}

void handshake_sent(struct handshake *handshake, const void *record)
{
    if (kind_of(record, sizeof(le32)) == RING_HELLO)
        handshake->hello_due = false;
    else
        handshake->welcome_due = false;
}
