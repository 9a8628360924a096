/* SPDX-License-Identifier: MIT
 *
 * The cable page as one end reads it (docs/spec/cable.md, abi/cable.h). Pure memory code. Not the
 * host's side, which writes the page, and not the rings it names.
 *
 * The page is shared: whatever it says is copied once and checked. An end that is told nonsense has
 * no carrier.
 */
#ifndef PHYS_IVSHMEM_CABLE_H
#define PHYS_IVSHMEM_CABLE_H

#include "ring.h"
#include <abi/cable.h>
#include <kernel/error.h>
#include <stdbool.h>
#include <stdint.h>

/* One direction as it was last read. */
struct cable_view {
    uint8_t *region;
    const struct cable_direction *shared;
    const le32 *end_flags;
    uint32_t record_maximum; /* bytes of the largest frame the ring must take */
    uint32_t generation;
    uint32_t carrier; /* as read, so that a change is seen */
    bool usable;      /* carrier is 1 and the rest below is valid */
    bool checked;     /* bytes may change on the way */
    uint32_t doorbell;
    struct ring_memory ring;
};

/* The record of the end with this ivshmem id in a region of CABLE_REGION_SIZE bytes.
 * Returns 0, ERROR_UNSUPPORTED (another magic, version or size) or ERROR_NOT_FOUND (no such end).
 */
int cable_find_end(uint8_t *region, uint32_t ivshmem_id, struct cable_end **end) MUST_CHECK;

/* Watch a direction of `end` (its tx or rx), whose frames are at most frame_maximum bytes. Reads
 * nothing yet. */
void cable_view_open(struct cable_view *view, uint8_t *region, const struct cable_end *end,
                     const struct cable_direction *direction, uint32_t frame_maximum);

/* Read the direction. Returns 0, or ERROR_GARBAGE if there is carrier on a ring that cannot be: not
 * usable then. */
int cable_view_read(struct cable_view *view) MUST_CHECK;

/* Is the direction another one than was read? Two loads; call it after a copy with
 * shared_fence_acquire() in front. */
static inline bool cable_view_changed(const struct cable_view *view)
{
    return shared_load32_acquire(&view->shared->generation) != view->generation ||
           shared_load32_acquire(&view->shared->carrier) != view->carrier;
}

#endif
