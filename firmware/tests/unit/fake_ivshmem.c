/* SPDX-License-Identifier: MIT
 *
 * A shared-memory cable without a machine; see fake_ivshmem.h. State is global because the driver's
 * device functions have no other way to it: one cable at a time, one thread.
 */
#include "fake_ivshmem.h"
#include "native.h"
#include "phys/ivshmem/cable.h"
#include "phys/ivshmem/device.h"
#include "unit.h"
#include <stdlib.h>

#define DOORBELL(end) (((end) + 1u) << 16)

struct fake_end {
    interrupt_handler handler;
    void *context;
    unsigned rings;
};

static struct fake_cable {
    uint8_t *region;
    struct fake_end ends[CABLE_END_COUNT];
} cable;

static void set_direction(struct cable_direction *shared, uint32_t carrier, unsigned ring,
                          unsigned woken_end)
{
    shared_store32_release(&shared->generation, NATIVE(shared->generation) + 1);
    shared_store32(&shared->ring_offset,
                   0x1000u + ring * (CABLE_RING_CONTROL_SIZE + CABLE_RING_DATA_SIZE));
    shared_store32(&shared->ring_size, CABLE_RING_DATA_SIZE);
    shared_store32(&shared->doorbell, DOORBELL(woken_end));
    shared_store32_release(&shared->carrier, carrier);
}

static void ring_end(unsigned end)
{
    cable.ends[end].rings++;
    if (cable.ends[end].handler != NULL)
        cable.ends[end].handler(cable.ends[end].context);
}

static void change(unsigned direction, uint32_t carrier)
{
    struct cable_page *page = fake_cable_page();

    set_direction(&page->ends[direction].tx, carrier, direction, 1 - direction);
    set_direction(&page->ends[1 - direction].rx, carrier, direction, direction);
    ring_end(0);
    ring_end(1);
}

void fake_cable_create(uint64_t seed)
{
    struct cable_page *page;

    cable = (struct fake_cable){.region = aligned_alloc(4096, CABLE_REGION_SIZE)};
    REQUIRE(cable.region != NULL);
    for (uint32_t i = 0; i < CABLE_REGION_SIZE; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        cable.region[i] = (uint8_t)(seed >> 56);
    }
    page = fake_cable_page();
    *page = (struct cable_page){
        .magic = le64_of(CABLE_MAGIC),
        .version = le32_of(CABLE_VERSION),
        .region_size = le32_of(CABLE_REGION_SIZE),
    };
    for (unsigned end = 0; end < CABLE_END_COUNT; end++) {
        STORE(page->ends[end].ivshmem_id, end + 1);
        change(end, 0);
    }
}

void fake_cable_destroy(void)
{
    free(cable.region);
    cable.region = NULL;
}

uint8_t *fake_cable_region(void)
{
    return cable.region;
}

struct cable_page *fake_cable_page(void)
{
    return (struct cable_page *)(void *)cable.region;
}

void fake_cable_cut(unsigned direction)
{
    change(direction, 0);
}

void fake_cable_splice(unsigned direction)
{
    change(direction, 1);
}

void fake_cable_set_checked(bool checked)
{
    for (unsigned end = 0; end < CABLE_END_COUNT; end++)
        shared_store32(&fake_cable_page()->ends[end].flags, checked ? CABLE_END_CHECKED : 0);
}

unsigned fake_cable_rings(unsigned end)
{
    return cable.ends[end].rings;
}

/* --- In place of phys/ivshmem/device.c -------------------------------------------------------- */

int ivshmem_device_open(struct ivshmem_device *device, unsigned slot, interrupt_handler handler,
                        void *context)
{
    *device = (struct ivshmem_device){.region = cable.region};
    if (slot >= CABLE_END_COUNT)
        return ERROR_NOT_FOUND;
    cable.ends[slot].handler = handler;
    cable.ends[slot].context = context;
    return cable_find_end(cable.region, slot + 1, &device->end);
}

void ivshmem_device_close(struct ivshmem_device *device)
{
    cable.ends[device->end - fake_cable_page()->ends].handler = NULL;
}

void ivshmem_device_ring(const struct ivshmem_device *device, uint32_t value)
{
    (void)device;
    for (unsigned end = 0; end < CABLE_END_COUNT; end++)
        if (value == DOORBELL(end))
            ring_end(end);
}
