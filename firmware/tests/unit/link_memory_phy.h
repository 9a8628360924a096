/* SPDX-License-Identifier: MIT
 *
 * A cable in memory with a PHY at each end, for tests of the link manager. Two kinds behave as the
 * real ones do: "ivshmem" is lossless and tells its carrier by itself, "virtio-serial" is a stream
 * whose cable speaks by CABLE frames. A stream may lose, repeat, swap and damage frames; both may
 * be cut, spliced and muted, one direction at a time.
 *
 * A boot link finds its end by its slot. Everything may be called from any thread.
 */
#ifndef LINK_MEMORY_PHY_H
#define LINK_MEMORY_PHY_H

#include <kernel/boot.h>
#include <kernel/phy.h>
#include <stdbool.h>
#include <stdint.h>

#define MEMORY_CABLES_MAXIMUM 8u
#define MEMORY_RING_BYTES 65536u

/* In 1/1000 of the frames of both directions. */
struct memory_faults {
    uint32_t loss;
    uint32_t duplicate;
    uint32_t swap;
    uint32_t damage;
};

struct memory_cable;

/* A cable without carrier. Its ends are the slots 2 * `index` and 2 * `index` + 1. */
struct memory_cable *memory_cable_create(uint32_t index, enum boot_link_kind kind, uint64_t seed);
void memory_cable_destroy(struct memory_cable *cable); /* both ends are stopped */

/* Carrier of the direction that end `from` sends on; a splice is a new generation, a cut loses what
 * is on its way. */
void memory_cable_set(struct memory_cable *cable, int from, bool up);
void memory_cable_splice(struct memory_cable *cable);
void memory_cable_cut(struct memory_cable *cable);

/* Frames sent by end `from` vanish while the carrier stays. */
void memory_cable_mute(struct memory_cable *cable, int from, bool is_mute);
void memory_cable_fault(struct memory_cable *cable, struct memory_faults faults);

/* Something that nobody sent arrives at end `to`. */
void memory_cable_inject(struct memory_cable *cable, int to, const void *bytes, size_t length);

uint32_t memory_cable_slot(const struct memory_cable *cable, int end);
enum boot_link_kind memory_cable_kind(const struct memory_cable *cable);

const struct phy_operations *memory_find_phy(const char *kind);

#endif
