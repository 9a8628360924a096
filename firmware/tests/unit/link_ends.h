/* SPDX-License-Identifier: MIT
 *
 * Two ends of a link joined by hand: every frame waits until the test moves it, time is a number.
 * Counts buffers and messages, so a test can tell that each ended exactly once.
 */
#ifndef LINK_ENDS_H
#define LINK_ENDS_H

#include <kernel/link.h>
#include <kernel/mach_node_link.h>

#define ENDS_WIRE_FRAMES 512
#define ENDS_MTU 4096u
#define ENDS_MESSAGE_MAX (1u << 20)

struct end_frame {
    size_t length;
    uint8_t *bytes;
};

struct end {
    struct link link;
    uint64_t *now_ns;                        /* of both ends */
    struct end_frame wire[ENDS_WIRE_FRAMES]; /* sent, not yet moved; oldest first */
    size_t wire_count;
    size_t wire_room; /* frames that the PHY takes; those without payload may use 4 more */

    /* What the owner answers. */
    bool has_no_memory;
    enum link_delivery delivery;

    /* What the owner saw. */
    uint32_t allocated;
    uint32_t released;
    uint32_t delivered;
    uint32_t wrong; /* delivered messages that are not the next one in order */
    uint32_t completed;
    uint32_t sent; /* messages taken by link_send() */
    enum link_reason last_reason;
    uint32_t state_changes;
};

struct ends {
    uint64_t now_ns;
    struct end end[2];
};

/* Two ends without carrier. */
struct ends *ends_create(bool with_replay, bool with_crc);
/* closes both and checks that every buffer and message ended once */
void ends_destroy(struct ends *ends);

void ends_splice(struct ends *ends);
bool ends_move(struct ends *ends, int from); /* one frame to the other end; false: there is none */
void ends_drop(struct ends *ends, int from); /* the oldest */
void ends_settle(struct ends *ends);         /* all frames, until nothing is on its way */
/* time, with every deadline and all frames */
void ends_pass(struct ends *ends, uint64_t duration_ns);
void ends_train(struct ends *ends); /* splice and settle; both directions are up */

/* Give a numbered message of `total_bytes` (at least 32) to link_send(); the status it gave. */
int ends_send(struct ends *ends, int from, uint32_t total_bytes, size_t budget_bytes);

#endif
