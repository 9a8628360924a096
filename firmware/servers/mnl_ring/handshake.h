/* SPDX-License-Identifier: MIT
 *
 * How two mnl_ring drivers find each other: the records on their rings, and which direction works.
 * Pure: no ring, no node layer, no clock; it is told what happened and asked what to do.
 *
 * Words. A *session* is one life of a ring's writer (phys/ivshmem/ring.h). What was in the ring is
 * lost when a session ends, so each begins with introductions:
 *
 *   writer                                reader
 *   HELLO  who I am, which life      ->   registers that life, raises RX
 *   raises TX, resumes at `next`     <-   WELCOME  to that session: `next` is what I lack first
 *   PIECE  of messages               ->
 *
 * The two directions do this apart from each other, so either may be up alone. A WELCOME names the
 * session and the life that it answers: one that a former life left in a ring answers nobody.
 */
#ifndef SERVERS_MNL_RING_HANDSHAKE_H
#define SERVERS_MNL_RING_HANDSHAKE_H

#include <kernel/error.h>
#include <kernel/little_endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RING_MAGIC 0x474e5231u /* "1RNG" */

enum ring_kind {
    RING_HELLO = 1,
    RING_WELCOME = 2,
    RING_PIECE = 3,
};

struct ring_hello {
    le32 kind;
    le32 magic;
    le64 incarnation;
    le32 node_id;
    le32 message_max;
    le32 version_min; /* of the mnl protocol */
    le32 version_max;
    uint8_t datamodel;
    uint8_t byteorder;
    uint8_t reserved[6];
};

struct ring_welcome {
    le32 kind;
    le32 session; /* of the HELLO that this answers */
    le64 incarnation;
    le32 next; /* FLIPC sequence number expected next */
    le32 reserved;
};

/* Part of a message, `bytes` behind this; parts of a message come one after another. */
struct ring_piece {
    le32 kind;
    le32 total_bytes; /* of the message, its mnl header included */
    le32 offset;
    le32 reserved;
};

_Static_assert(sizeof(struct ring_hello) == 40, "hello");
_Static_assert(sizeof(struct ring_welcome) == 24, "welcome");
_Static_assert(sizeof(struct ring_piece) == 16, "piece");

struct handshake {
    struct ring_hello self;
    uint32_t peer_id;
    uint64_t peer_incarnation; /* the life that was accepted last */
    uint32_t tx_session;       /* of ours that the peer follows; 0: none */
    uint32_t rx_session;       /* of the peer's that we follow; 0: none */
    bool hello_due;
    bool welcome_due;
    bool heard;    /* the peer's HELLO of rx_session: what it sends can be delivered */
    bool welcomed; /* its WELCOME to tx_session: what we send will be */
};

/* `self` is complete but for kind and magic. */
void handshake_open(struct handshake *handshake, const struct ring_hello *self, uint32_t peer_id);

/* The session that the peer follows, or that we follow, is another one now; 0: none. */
void handshake_set_tx(struct handshake *handshake, uint32_t session);
void handshake_set_rx(struct handshake *handshake, uint32_t session);

/* What kind of record is this? ERROR_GARBAGE: none that may come now. The record is a private copy of
 * its first bytes, at least sizeof(struct ring_hello) of them if it has so many. */
int handshake_kind(const struct handshake *handshake, const void *record, size_t length);

/* Whose HELLO is it? The life's incarnation; 0: not the peer's, or one that this driver cannot talk
 * to. */
uint64_t handshake_life(const struct handshake *handshake, const struct ring_hello *hello);

/* The life that said HELLO is registered: what it sends may be delivered. Another life than the last
 * one has not welcomed us yet. */
void handshake_accept(struct handshake *handshake, uint64_t incarnation);

/* Does this WELCOME answer our session? Then TX may rise. */
bool handshake_welcomes(struct handshake *handshake, const struct ring_welcome *welcome);

/* The record to send next, if one is due: its length, else 0. `record` has room for a HELLO. `next`:
 * what a WELCOME says. Sent: handshake_sent() with the same record. */
size_t handshake_due(const struct handshake *handshake, uint32_t next, void *record);
void handshake_sent(struct handshake *handshake, const void *record);

#endif
