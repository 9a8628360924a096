/* SPDX-License-Identifier: MIT
 *
 * Cables that are cut, spliced, replaced and bad while messages pass over their links: all arrive,
 * once and in order. Real threads.
 */
#include "two_nodes.h"
#include "unit.h"

static void a_cut_delays_and_loses_nothing(enum boot_link_kind kind)
{
    struct two two = two_create(kind);
    struct network_stream there, back;

    two_start(&two);
    network_stream_start(&there, two.nodes[0], two.nodes[1], 3000, 300);
    network_stream_start(&back, two.nodes[1], two.nodes[0], 3000, 300);
    for (unsigned i = 1; i <= 10; i++) {
        network_stream_wait(&there, i * 200);
        memory_cable_cut(two.cable);
        REQUIRE(network_wait_down(two.nodes[0], 0));
        REQUIRE(network_wait_down(two.nodes[1], 0));
        memory_cable_splice(two.cable);
    }
    network_stream_finish(&there);
    network_stream_finish(&back);
    EXPECT_EQUAL(network_count(two.nodes[0], FACT_NODE_DEAD, FACT_ANY), 0);
    two_destroy(&two);
}

static void a_cut_ring_delays_and_loses_nothing(void)
{
    a_cut_delays_and_loses_nothing(BOOT_LINK_IVSHMEM);
}

static void a_cut_stream_delays_and_loses_nothing(void)
{
    a_cut_delays_and_loses_nothing(BOOT_LINK_VIRTIO_SERIAL);
}

static void one_direction_may_be_cut_alone(void)
{
    struct two two = two_create(BOOT_LINK_IVSHMEM);
    struct network_stream there, back;

    two_start(&two);
    network_stream_start(&there, two.nodes[0], two.nodes[1], 2000, 64);
    network_stream_start(&back, two.nodes[1], two.nodes[0], 2000, 64);
    for (int i = 0; i < 8; i++) {
        network_stream_wait(&there, (uint64_t)i * 200);
        memory_cable_set(two.cable, i % 2, false);
        REQUIRE(network_wait_down(two.nodes[1 - i % 2], 0));
        memory_cable_set(two.cable, i % 2, true);
        REQUIRE(network_wait_up(two.nodes[0], 0));
        REQUIRE(network_wait_up(two.nodes[1], 0));
    }
    network_stream_finish(&there);
    network_stream_finish(&back);
    two_destroy(&two);
}

static void a_new_generation_without_a_cut_retrains(void)
{
    struct two two = two_create(BOOT_LINK_IVSHMEM);
    struct network_stream stream;

    two_start(&two);
    network_stream_start(&stream, two.nodes[0], two.nodes[1], 2000, 64);
    for (unsigned i = 1; i <= 20; i++) {
        network_stream_wait(&stream, i * 50);
        memory_cable_splice(two.cable);
    }
    network_stream_finish(&stream);
    two_destroy(&two);
}

static void a_bad_stream_delivers_once_and_in_order(void)
{
    struct two two = two_create(BOOT_LINK_VIRTIO_SERIAL);
    struct network_stream there, back;

    two_start(&two);
    memory_cable_fault(two.cable, (struct memory_faults){20, 20, 20, 20});
    network_stream_start(&there, two.nodes[0], two.nodes[1], 400, 500);
    network_stream_start(&back, two.nodes[1], two.nodes[0], 100, 9000);
    network_stream_finish(&there);
    network_stream_finish(&back);
    two_destroy(&two);
}

static void traffic_moves_to_another_link_and_back(void)
{
    struct two two = two_create(BOOT_LINK_IVSHMEM);
    struct memory_cable *second = memory_cable_create(1, BOOT_LINK_VIRTIO_SERIAL, 2);
    struct network_stream stream;

    for (int i = 0; i < 2; i++)
        network_plug(two.nodes[i], second, i, (uint32_t)(2 - i));
    memory_cable_splice(second);
    two_start(&two);
    REQUIRE(network_wait_up(two.nodes[0], 1));
    network_stream_start(&stream, two.nodes[0], two.nodes[1], 4000, 64);
    for (unsigned i = 1; i <= 5; i++) {
        network_stream_wait(&stream, i * 600 - 400);
        memory_cable_cut(i % 2 == 0 ? second : two.cable);
        network_stream_wait(&stream, i * 600);
        memory_cable_splice(i % 2 == 0 ? second : two.cable);
        REQUIRE(network_wait_up(two.nodes[0], i % 2 == 0 ? 1 : 0));
    }
    network_stream_finish(&stream);
    EXPECT_EQUAL(network_count(two.nodes[0], FACT_NODE_DEAD, FACT_ANY), 0);
    network_node_destroy(two.nodes[0]);
    network_node_destroy(two.nodes[1]);
    memory_cable_destroy(two.cable);
    memory_cable_destroy(second);
}

static const struct unit_test link_cable_tests[] = {
    {"a cut ring delays and loses nothing", a_cut_ring_delays_and_loses_nothing},
    {"a cut stream delays and loses nothing", a_cut_stream_delays_and_loses_nothing},
    {"one direction may be cut alone", one_direction_may_be_cut_alone},
    {"a new generation without a cut retrains", a_new_generation_without_a_cut_retrains},
    {"a bad stream delivers once and in order", a_bad_stream_delivers_once_and_in_order},
    {"traffic moves to another link and back", traffic_moves_to_another_link_and_back},
};
UNIT_SUITE("link_cables", link_cable_tests);
