/* SPDX-License-Identifier: MIT
 *
 * The ivshmem PHY driver: two of them on one cable whose host side this file plays. Cuts, splices, restarts of either end with
 * whatever the memory holds, a hostile other end, and sleeping without a lost wake-up.
 */
#include "fake_ivshmem.h"
#include "phys/ivshmem/ring.h"
#include "unit.h"
#include <abi/frame.h>
#include <kernel/boot.h>
#include <kernel/host.h>
#include <kernel/kern_server.h>
#include <stdlib.h>
#include <string.h>

#define BUDGET 65536u
#define MESSAGES_MAXIMUM 4096u

struct phy_end {
    const struct phy_operations *operations;
    struct phy *phy;
    struct mach_host host;
    struct event wake;
    unsigned index;
    bool tx_up, rx_up, tx_checked;
    uint32_t tx_generation, rx_generation;
    unsigned flaps;    /* times a direction went down */
    uint64_t expected; /* next number */
    uint64_t received, unconfirmed, garbage;
    bool cut_in_frame; /* cut the direction while a frame is being copied */
    bool strict;       /* numbers come without gaps */
};

static void on_frame(void *context, const uint8_t *frame, size_t length,
                     bool (*confirm)(struct phy *), struct phy *phy)
{
    struct phy_end *end = context;
    struct frame_header header;

    REQUIRE(length >= FRAME_HEADER_SIZE);
    memcpy(&header, frame, sizeof(header));
    if (end->cut_in_frame) {
        end->cut_in_frame = false;
        fake_cable_cut(1 - end->index);
    }
    if (!confirm(phy)) {
        end->unconfirmed++;
        return;
    }
    EXPECT(end->rx_up);
    if (end->strict) {
        EXPECT_EQUAL(header.src_incarnation, end->expected);
        EXPECT_EQUAL(header.length, length - FRAME_HEADER_SIZE);
    }
    end->expected = header.src_incarnation + 1;
    end->received++;
}

static void on_carrier(void *context, uint32_t direction, bool up, uint32_t generation, bool checked)
{
    struct phy_end *end = context;
    bool *state = direction == PHY_DIRECTION_TX ? &end->tx_up : &end->rx_up;

    EXPECT(*state != up); /* only changes are told */
    *state = up;
    end->flaps += !up;
    if (direction == PHY_DIRECTION_TX) {
        end->tx_generation = generation;
        end->tx_checked = checked;
    } else {
        end->rx_generation = generation;
    }
}

static void on_drop(void *context, uint32_t reason, uint32_t count)
{
    struct phy_end *end = context;

    EXPECT_EQUAL(reason, LINK_DROP_BAD_RING);
    end->garbage += count;
}

/* The driver's heap. */
void *heap_allocate(struct mach_host *host, size_t bytes)
{
    (void)host;
    return malloc(bytes);
}

void heap_free(struct mach_host *host, void *block)
{
    (void)host;
    free(block);
}
