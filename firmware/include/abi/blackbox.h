/* SPDX-License-Identifier: MIT
 *
 * The black box: a fixed place in a node's RAM where the firmware records what happened. The
 * orchestrator owns the memory (a memfd) and reads it while the node lives and after it died, so a
 * killed sender's ledger is not lost. Specified in docs/spec/blackbox.md.
 *
 * One writer: the firmware. Readers are lock-free: an event is valid if its `sequence` equals the
 * expected one both before and after the copy; a ledger if its `version` is even and equal before
 * and after. All words little-endian. Rule for BLACKBOX_VERSION: raised when a field moves or
 * changes meaning.
 */
#ifndef ABI_BLACKBOX_H
#define ABI_BLACKBOX_H

#include <kernel/little_endian.h>
#include <stdint.h>

#define BLACKBOX_MAGIC 0x31584f42424c4e4dull /* "MNLBBOX1" */
#define BLACKBOX_VERSION 1u
#define BLACKBOX_EVENTS_OFFSET 0x1000u
#define BLACKBOX_EVENT_COUNT 4096u
#define BLACKBOX_LEDGERS_OFFSET 0x31000u
#define BLACKBOX_LEDGER_COUNT 64u
#define BLACKBOX_PANIC_MAXIMUM 1024u

enum blackbox_state {
    BLACKBOX_STATE_EMPTY = 0,
    BLACKBOX_STATE_BOOTING = 1,
    BLACKBOX_STATE_READY = 2,    /* every server started, management link trained once */
    BLACKBOX_STATE_PANICKED = 3, /* `panic` holds the text of the console's panic lines */
    BLACKBOX_STATE_STOPPED = 4,  /* orderly power-off */
};

struct blackbox_header {
    le64 magic;
    le32 version;
    le32 state; /* enum blackbox_state */
    le32 node_id;
    le32 reserved0;
    le64 incarnation;
    le64 event_head; /* events ever written; the newest has sequence event_head - 1 */
    le64 now_ns;     /* node clock when the box was last touched */
    le64 heap_used_bytes;
    le64 heap_peak_bytes;
    le64 heap_size_bytes;
    le64 reserved1[55];
    char panic[BLACKBOX_PANIC_MAXIMUM]; /* NUL-terminated */
    uint8_t reserved2[4096 - 512 - BLACKBOX_PANIC_MAXIMUM];
};

/* What the words of an event mean. `link` is the index of the link in the boot page (0xffff: none),
 * `peer` a node id.
 *
 * event           arg0                        arg1                      arg2
 * BOOT            boot count
 * READY           -
 * PANIC           program counter
 * LINK_STATE      bits: 1 rx up, 2 tx up      own epoch | peer's << 32  enum link_reason
 * NODE_UP         incarnation of the peer, now registered and reachable
 * NODE_DEAD       incarnation declared dead   enum node_death_cause
 * LINK_REFUSED    enum link_refusal           the claimed incarnation   1: by us, 2: of us
 * CARRIER         bits: 1 rx, 2 tx            generation
 * STREAM          stream id | role << 63      messages                  running hash
 *                 (role 1: sink)
 * LINK_DROP       enum link_drop              count so far; at most one a reason and 100 ms
 * STALE           incarnation: this node was told that it was declared dead
 * CREDIT          limit                       used: a credit invariant broke
 * MESSAGE         stream id                   sequence                  source incarnation
 *                 (only with trace = "messages")
 * STREAM_REFUSED  stream id or 0              count so far              source incarnation
 *                 (a traffic message without a ledger was dropped)
 */
enum blackbox_event_kind {
    BLACKBOX_EVENT_BOOT = 1,
    BLACKBOX_EVENT_READY = 2,
    BLACKBOX_EVENT_PANIC = 3,
    BLACKBOX_EVENT_LINK_STATE = 4,
    BLACKBOX_EVENT_NODE_UP = 5,
    BLACKBOX_EVENT_NODE_DEAD = 6,
    BLACKBOX_EVENT_LINK_REFUSED = 7,
    BLACKBOX_EVENT_CARRIER = 8,
    BLACKBOX_EVENT_STREAM = 9,
    BLACKBOX_EVENT_LINK_DROP = 10,
    BLACKBOX_EVENT_STALE = 11,
    BLACKBOX_EVENT_CREDIT = 12,
    BLACKBOX_EVENT_MESSAGE = 13,
    BLACKBOX_EVENT_STREAM_REFUSED = 14,
};

struct blackbox_event {
    le64 sequence; /* index of this event since boot; written last (release) */
    le64 time_ns;
    le16 kind;
    le16 link;
    le32 peer;
    le64 arg0;
    le64 arg1;
    le64 arg2;
};

enum blackbox_ledger_role {
    BLACKBOX_LEDGER_FREE = 0,
    BLACKBOX_LEDGER_SOURCE = 1,
    BLACKBOX_LEDGER_SINK = 2,
};

/* The account of one traffic stream at one of its ends. At a source: sent = acked + failed +
 * unknown + in flight. */
struct blackbox_ledger {
    le32 version; /* odd while being written */
    le32 role;    /* enum blackbox_ledger_role */
    le64 stream_id;
    le32 peer;       /* the other end's node id */
    le32 size_bytes; /* body size */
    le64 peer_incarnation;
    le64 next_sequence; /* source: next to send; sink: next expected */
    le64 running_hash;  /* over the messages 0 .. next_sequence-1 */
    le64 sent;
    le64 acked;
    le64 failed;  /* refused: the sender knows that they were not delivered */
    le64 unknown; /* peer died before the ack: delivered or not, nobody can say */
    le64 received;
    le64 duplicates;
    le64 gaps;    /* messages skipped */
    le64 corrupt; /* contents that nobody sent */
    le64 closed;  /* 1: the stream ended; the account is final */
    le64 reserved;
};

_Static_assert(sizeof(struct blackbox_header) == 4096, "header is one page");
_Static_assert(sizeof(struct blackbox_event) == 48, "event record");
_Static_assert(sizeof(struct blackbox_ledger) == 128, "ledger record");

#endif
