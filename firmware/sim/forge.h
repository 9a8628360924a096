/* SPDX-License-Identifier: MIT
 *
 * A hostile node's workshop: what forge.c (frames) and forge_message.c (messages in them) share.
 *
 * The node runs the real core, so its links train and its epochs are right; what lies is between it
 * and its cables. A forged frame has good checksums but for one in eight.
 */
#ifndef SIM_FORGE_H
#define SIM_FORGE_H

#include "arch/sim/fiber.h"
#include "network.h"

/* A frame in the making. */
struct forgery {
    struct frame_header header;
    uint8_t payload[SIM_MTU_MAXIMUM];
    uint32_t length; /* of the payload, whatever the header says */
};

_Static_assert(offsetof(struct forgery, payload) == FRAME_HEADER_SIZE, "as in a cable");

/* What a forger knows of the end that it lies to: the victim. */
struct forge_target {
    uint32_t node;     /* index of the victim */
    uint32_t forger;   /* index of the hostile node */
    uint32_t sequence; /* FLIPC number that the victim expects next, and */
    uint32_t sent;     /* the number that it will use next */
    bool is_known;     /* the victim has the forger registered */
};

/* A number that somebody might have forgotten to check: like `honest`, or at an end of the range. */
uint64_t forge_number(uint64_t honest);

static inline bool forge_one_in(uint32_t n)
{
    return (uint32_t)(fiber_random() >> 32) % n == 0;
}

static inline uint32_t forge_below(uint32_t n)
{
    return (uint32_t)(fiber_random() >> 32) % n;
}

/* Write an mnl message of any kind; its length is set, and it fits one frame. `index`: how many of
 * this volley came before it. */
void forge_message(struct forgery *forgery, const struct forge_target *target, uint32_t index);

/* The same for a request to the victim's service, flawless, that wants its answer at a port which
 * nobody has named before. */
void forge_request(struct forgery *forgery, const struct forge_target *target, uint32_t index);

#endif
