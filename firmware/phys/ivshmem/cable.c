/* SPDX-License-Identifier: MIT
 *
 * Reading the cable page; see cable.h. The host changes ring, doorbell and flags only while carrier
 * is 0, so a record whose generation and carrier (1) are the same before and after the copy is
 * whole.
 */
#include "cable.h"

#define READ_ATTEMPTS 4u /* then the direction counts as down until the next look */

int cable_find_end(uint8_t *region, uint32_t ivshmem_id, struct cable_end **end)
{
    struct cable_page *page = (struct cable_page *)__builtin_assume_aligned(region, 4096);

    if (shared_load64_acquire(&page->magic) != CABLE_MAGIC ||
        shared_load32(&page->version) != CABLE_VERSION ||
        shared_load32(&page->region_size) != CABLE_REGION_SIZE)
        return ERROR_UNSUPPORTED;
    for (uint32_t i = 0; i < CABLE_END_COUNT; i++) {
        if (shared_load32(&page->ends[i].ivshmem_id) == ivshmem_id) {
            *end = &page->ends[i];
            return 0;
        }
    }
    return ERROR_NOT_FOUND;
}

void cable_view_open(struct cable_view *view, uint8_t *region, const struct cable_end *end,
                     const struct cable_direction *direction, uint32_t frame_maximum)
{
    *view = (struct cable_view){
        .region = region,
        .shared = direction,
        .end_flags = &end->flags,
        .record_maximum = ring_record_span(frame_maximum),
    };
}

static bool ring_is_possible(uint32_t offset, uint32_t size, uint32_t record_maximum)
{
    if (offset < CABLE_RING_CONTROL_SIZE || offset % CABLE_RING_CONTROL_SIZE != 0)
        return false;
    if ((size & (size - 1)) != 0 || size < 2 * record_maximum + CABLE_RING_RESERVE)
        return false;
    return (uint64_t)offset + CABLE_RING_CONTROL_SIZE + size <= CABLE_REGION_SIZE;
}

/* Copy the record once. False: it changed meanwhile. */
static bool read_once(struct cable_view *view, uint32_t *ring_offset, uint32_t *ring_size)
{
    const struct cable_direction *shared = view->shared;

    view->generation = shared_load32_acquire(&shared->generation);
    view->carrier = shared_load32_acquire(&shared->carrier);
    *ring_offset = shared_load32(&shared->ring_offset);
    *ring_size = shared_load32(&shared->ring_size);
    view->doorbell = shared_load32(&shared->doorbell);
    view->checked = (shared_load32(view->end_flags) & CABLE_END_CHECKED) != 0;
    shared_fence_acquire();
    return !cable_view_changed(view);
}

int cable_view_read(struct cable_view *view)
{
    uint32_t ring_offset = 0;
    uint32_t ring_size = 0;
    bool stable = false;

    view->usable = false;
    for (uint32_t i = 0; i < READ_ATTEMPTS && !stable; i++)
        stable = read_once(view, &ring_offset, &ring_size);
    if (!stable || view->carrier == 0)
        return 0;
    if (view->carrier != 1 || !ring_is_possible(ring_offset, ring_size, view->record_maximum))
        return ERROR_GARBAGE;
    view->ring.control = (struct cable_ring_control *)__builtin_assume_aligned(
        view->region + ring_offset, CABLE_RING_CONTROL_SIZE);
    view->ring.data = view->region + ring_offset + CABLE_RING_CONTROL_SIZE;
    view->ring.size = ring_size;
    view->usable = true;
    return 0;
}
