/* SPDX-License-Identifier: MIT
 *
 * Cables and the frames in them: what network.c and damage.c share. A cable has two directions; a
 * direction is a queue of frames, each with the time of its arrival, and what is wrong with it.
 * Frames lie in a pool; the last one freed is used next, so a run stays within the cache.
 */
#ifndef SIM_NETWORK_H
#define SIM_NETWORK_H

#include "world.h"

#include <kernel/frame.h>
#include <kernel/phy.h>

#define SIM_MTU_MAXIMUM 1024u
#define SIM_FRAMES_MAXIMUM 2048u
#define SIM_QUEUE_FRAMES 48u  /* of a direction, with payload */
#define SIM_QUEUE_RESERVE 16u /* and as many without, or from the cable */
#define FRAME_NONE 0xffffu

struct sim_frame {
    uint64_t arrival_ns;
    uint32_t length;
    uint16_t next;
    bool is_of_cable; /* a CABLE frame: no fault touches it */
    _Alignas(8) uint8_t bytes[FRAME_HEADER_SIZE + SIM_MTU_MAXIMUM];
};

/* What is wrong with a direction; rates in permille. Zero is a sound one. */
struct sim_damage {
    uint32_t rates[SIM_KINDS]; /* by fault kind, those of frames */
    uint64_t delay_ns;
    uint64_t jitter_ns;
    uint64_t stale_ns;
    uint32_t jams; /* so many faults hold it up */
    uint32_t mutes;
    uint32_t fulls;
};

struct sim_direction {
    uint16_t head;
    uint16_t tail;
    uint32_t count;
    uint32_t cuts; /* so many faults cut it */
    uint32_t generation;
    uint64_t last_arrival_ns;
    bool carrier;
    bool is_space_wanted;
    struct sim_damage damage;
};

/* What an end knows of one direction. */
struct sim_reported {
    uint32_t generation;
    bool is_known;
    bool carrier;
    bool checked;
};

struct phy {
    uint32_t link;
    uint32_t end;
    bool is_started;
    bool is_agent; /* no core listens here (agent.c) */
    uint16_t held; /* the frame that is being handed over */
    uint32_t held_generation;
    uint64_t wake_ns; /* a wake-up is on the timeline for this time; SIM_NEVER: none */
    struct phy_client client;
    struct sim_reported tx;
    struct sim_reported rx;
};

struct sim_cable {
    struct sim_direction directions[2]; /* by the end that sends */
    struct phy ends[2];
    bool is_powered[2]; /* the end's machine runs, as far as the cable knows */
    uint32_t taps;      /* so many faults have it tapped */
    uint64_t disturbed_ns;
};
extern struct sim_cable sim_cables[SIM_LINKS_MAXIMUM];

uint16_t frame_take(void);
void frame_give(uint16_t frame);
struct sim_frame *frame_at(uint16_t frame);
void queue_insert(struct sim_direction *direction, uint16_t frame);
void queue_insert_before_last(struct sim_direction *direction, uint16_t frame);
void network_signal(struct phy *phy); /* somebody has to look */

/* The agent's end of a link, and what a link manager does with its own. */
struct phy *network_plug(uint32_t link, uint32_t node, const struct phy_client *client);
int network_send(struct phy *phy, const void *header, const void *payload, size_t payload_bytes);
void network_poll(struct phy *phy);
void network_schedule_wake(uint32_t link, uint32_t end);

/* A frame enters a direction: lost, changed, multiplied or queued as the direction's faults have
 * it. `now_ns` is world time. */
void damage_send(uint32_t link, uint32_t from, const void *header, const void *payload,
                 size_t payload_bytes, uint64_t now_ns);

#endif
