/* SPDX-License-Identifier: MIT
 *
 * Drivers that go and come while links carry messages: nothing is lost, the peer is told, and the
 * questions about drivers are answered. Real threads, cables in memory.
 */
#include "hosts.h"
#include "link_network.h"
#include "unit.h"
#include <kernel/phy.h>

#define SWAPS 5u

struct joined {
    struct memory_cable *cables[2];
    struct network_node *nodes[2];
    uint32_t cable_count;
};

static struct joined joined_create(const enum boot_link_kind *kinds, uint32_t count)
{
    struct joined joined = {
        .nodes = {network_node_create(1, TEST_INCARNATION(1)),
                  network_node_create(2, TEST_INCARNATION(1))},
        .cable_count = count,
    };

    for (uint32_t i = 0; i < count; i++) {
        joined.cables[i] = memory_cable_create(i, kinds[i], 1 + i);
        network_plug(joined.nodes[0], joined.cables[i], 0, 2);
        network_plug(joined.nodes[1], joined.cables[i], 1, 1);
        memory_cable_splice(joined.cables[i]);
    }
    network_start(joined.nodes[0]);
    network_start(joined.nodes[1]);
    for (uint32_t i = 0; i < count; i++) {
        REQUIRE(network_wait_up(joined.nodes[0], i));
        REQUIRE(network_wait_up(joined.nodes[1], i));
    }
    return joined;
}

static void joined_destroy(struct joined *joined)
{
    network_node_destroy(joined->nodes[0]);
    network_node_destroy(joined->nodes[1]);
    for (uint32_t i = 0; i < joined->cable_count; i++)
        memory_cable_destroy(joined->cables[i]);
}

static uintptr_t driver_of(const char *kind)
{
    return (uintptr_t)memory_find_phy(kind);
}

static uint32_t links_of(struct network_node *node, const char *kind)
{
    return link_manager_driver_links(node->host, driver_of(kind), sizeof(struct phy_operations));
}

static int release(struct network_node *node, const char *kind)
{
    return link_manager_release_driver(node->host, driver_of(kind), sizeof(struct phy_operations),
                                       clock_now_ns() + NETWORK_PATIENCE_NS);
}

/* The only link: messages wait meanwhile, and come in order. */
static void swap_under_traffic(enum boot_link_kind kind, const char *name)
{
    struct joined joined = joined_create(&kind, 1);
    struct network_stream stream;
    struct link_statistics statistics;

    network_stream_start(&stream, joined.nodes[0], joined.nodes[1], 3000, 64);
    for (uint32_t i = 0; i < SWAPS; i++) {
        network_stream_wait(&stream, 500 * i + 100);
        EXPECT_EQUAL(links_of(joined.nodes[0], name), 1);
        EXPECT_EQUAL(release(joined.nodes[0], name), ERROR_NONE);
        EXPECT_EQUAL(links_of(joined.nodes[0], name), 0);
        EXPECT(network_wait_down(joined.nodes[0], 0));
        EXPECT(network_wait_down(joined.nodes[1], 0));
        EXPECT_EQUAL(link_manager_statistics(joined.nodes[0]->host, 0, &statistics),
                     ERROR_NOT_FOUND);
        link_manager_find_drivers(joined.nodes[0]->host);
        EXPECT(network_wait_up(joined.nodes[0], 0));
        EXPECT(network_wait_up(joined.nodes[1], 0));
    }
    network_stream_finish(&stream);
    EXPECT_EQUAL(network_count(joined.nodes[0], FACT_LINK, LINK_REASON_DRIVER_STOPPED), SWAPS);
    EXPECT_EQUAL(network_count(joined.nodes[0], FACT_NODE_DEAD, FACT_ANY), 0);
    EXPECT_EQUAL(network_count(joined.nodes[1], FACT_NODE_DEAD, FACT_ANY), 0);
    joined_destroy(&joined);
}

static void a_driver_of_rings_is_swapped_under_traffic(void)
{
    swap_under_traffic(BOOT_LINK_IVSHMEM, "ivshmem");
}

static void a_driver_of_streams_is_swapped_under_traffic(void)
{
    swap_under_traffic(BOOT_LINK_VIRTIO_SERIAL, "virtio-serial");
}

static void the_other_link_of_the_pair_carries_on(void)
{
    static const enum boot_link_kind kinds[] = {BOOT_LINK_IVSHMEM, BOOT_LINK_VIRTIO_SERIAL};
    struct joined joined = joined_create(kinds, 2);
    struct network_stream stream;

    EXPECT_EQUAL(release(joined.nodes[0], "ivshmem"), ERROR_NONE);
    EXPECT_EQUAL(links_of(joined.nodes[0], "virtio-serial"), 1);
    network_stream_start(&stream, joined.nodes[0], joined.nodes[1], 500, 64);
    network_stream_wait(&stream, 200); /* although that driver is gone */
    EXPECT(!link_manager_is_up(joined.nodes[0]->host, 0));
    link_manager_find_drivers(joined.nodes[0]->host);
    EXPECT(network_wait_up(joined.nodes[0], 0));
    network_stream_finish(&stream);
    joined_destroy(&joined);
}

static void drivers_are_not_asked_about_where_no_link_manager_runs(void)
{
    struct network_node *node = network_node_create(1, TEST_INCARNATION(1));

    EXPECT_EQUAL(links_of(node, "ivshmem"), 0);
    EXPECT_EQUAL(release(node, "ivshmem"), ERROR_DOWN);
    link_manager_find_drivers(node->host);
    network_node_destroy(node);
}

static void a_driver_that_is_not_there_holds_nothing_up(void)
{
    static const enum boot_link_kind kinds[] = {BOOT_LINK_IVSHMEM};
    struct joined joined = joined_create(kinds, 1);

    EXPECT_EQUAL(release(joined.nodes[0], "virtio-serial"), ERROR_NONE);
    EXPECT(link_manager_is_up(joined.nodes[0]->host, 0));
    joined_destroy(&joined);
}

static const struct unit_test link_driver_tests[] = {
    {"a driver of rings is swapped under traffic", a_driver_of_rings_is_swapped_under_traffic},
    {"a driver of streams is swapped under traffic", a_driver_of_streams_is_swapped_under_traffic},
    {"the other link of the pair carries on", the_other_link_of_the_pair_carries_on},
    {"drivers are not asked about where no link manager runs",
     drivers_are_not_asked_about_where_no_link_manager_runs},
    {"a driver that is not there holds nothing up", a_driver_that_is_not_there_holds_nothing_up},
};
UNIT_SUITE("link_drivers", link_driver_tests);
