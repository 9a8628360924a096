/* SPDX-License-Identifier: MIT
 *
 * Reading the cable page: ends are found, changes are seen, and a page that names impossible rings
 * gives no carrier.
 */
#include "fake_ivshmem.h"
#include "native.h"
#include "phys/ivshmem/cable.h"
#include "unit.h"
#include <stddef.h>

#define FRAME_MAXIMUM 16512u

static void an_end_is_found_by_its_id(void)
{
    struct cable_end *end;

    fake_cable_create(1);
    EXPECT_EQUAL(cable_find_end(fake_cable_region(), 2, &end), 0);
    EXPECT(end == &fake_cable_page()->ends[1]);
    EXPECT_EQUAL(cable_find_end(fake_cable_region(), 3, &end), (unsigned long long)ERROR_NOT_FOUND);
    le32_add(&fake_cable_page()->version, 1);
    EXPECT_EQUAL(cable_find_end(fake_cable_region(), 2, &end),
                 (unsigned long long)ERROR_UNSUPPORTED);
    fake_cable_destroy();
}

static struct cable_view open_tx(void)
{
    struct cable_end *end = &fake_cable_page()->ends[0];
    struct cable_view view;

    cable_view_open(&view, fake_cable_region(), end, &end->tx, FRAME_MAXIMUM);
    return view;
}

static void a_change_is_seen_until_it_is_read(void)
{
    struct cable_view view;

    fake_cable_create(2);
    view = open_tx();
    EXPECT(cable_view_changed(&view));
    EXPECT_EQUAL(cable_view_read(&view), 0);
    EXPECT(!view.usable);
    EXPECT(!cable_view_changed(&view));
    fake_cable_set_checked(true);
    fake_cable_splice(0);
    EXPECT(cable_view_changed(&view));
    EXPECT_EQUAL(cable_view_read(&view), 0);
    EXPECT(view.usable && view.checked);
    EXPECT_EQUAL(view.generation, 2);
    EXPECT(view.ring.data == fake_cable_region() + 0x2000);
    fake_cable_splice(1);
    EXPECT(!cable_view_changed(&view)); /* the other direction */
    /* Cut and spliced again before anybody looked: carrier reads 1, and still it is another
     * direction. */
    fake_cable_cut(0);
    fake_cable_splice(0);
    EXPECT(cable_view_changed(&view));
    fake_cable_destroy();
}

struct bad_ring {
    const char *what;
    uint32_t offset;
    uint32_t size;
    uint32_t carrier;
};

static void impossible_rings_give_no_carrier(void)
{
    static const struct bad_ring rings[] = {
        {"over the page", 0, CABLE_RING_DATA_SIZE, 1},
        {"unaligned", 0x1008, CABLE_RING_DATA_SIZE, 1},
        {"beyond the region", CABLE_REGION_SIZE - 0x1000, CABLE_RING_DATA_SIZE, 1},
        {"offset that overflows", 0xfffff000u, CABLE_RING_DATA_SIZE, 1},
        {"size no power of two", 0x1000, CABLE_RING_DATA_SIZE - 8, 1},
        {"size 0", 0x1000, 0, 1},
        {"size below two frames", 0x1000, 0x8000, 1},
        {"size of the region", 0x1000, CABLE_REGION_SIZE, 1},
        {"size that overflows", 0x1000, 0x80000000u, 1},
        {"carrier 2", 0x1000, CABLE_RING_DATA_SIZE, 2},
    };

    for (size_t i = 0; i < sizeof(rings) / sizeof(rings[0]); i++) {
        struct cable_direction *tx;
        struct cable_view view;

        fake_cable_create(3);
        fake_cable_splice(0);
        tx = &fake_cable_page()->ends[0].tx;
        STORE(tx->ring_offset, rings[i].offset);
        STORE(tx->ring_size, rings[i].size);
        STORE(tx->carrier, rings[i].carrier);
        view = open_tx();
        unit_expect(cable_view_read(&view) == ERROR_GARBAGE && !view.usable, __FILE__, __LINE__,
                    rings[i].what);
        EXPECT(!cable_view_changed(&view)); /* one complaint a change */
        fake_cable_destroy();
    }
}

static const struct unit_test tests[] = {
    {"an end is found by its id", an_end_is_found_by_its_id},
    {"a change is seen until it is read", a_change_is_seen_until_it_is_read},
    {"impossible rings give no carrier", impossible_rings_give_no_carrier},
};
UNIT_SUITE("cable page", tests);
