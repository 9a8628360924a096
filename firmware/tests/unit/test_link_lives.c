/* SPDX-License-Identifier: MIT
 *
 * Lives and deaths of nodes as their links tell them: each is told exactly once, on both sides, and
 * to no other life. Real threads.
 */
#include "hosts.h"
#include "two_nodes.h"
#include "unit.h"

static void a_restart_is_one_death_and_one_new_life(void)
{
    struct two two = two_create(BOOT_LINK_IVSHMEM);
    struct network_stream stream;

    two_start(&two);
    for (uint64_t life = 2; life <= 5; life++) {
        size_t from = network_now(two.nodes[0]), dead, up;

        network_stream_start(&stream, two.nodes[0], two.nodes[1], UINT64_MAX, 64);
        network_stream_wait(&stream, 100);
        memory_cable_cut(two.cable);
        network_stream_abandon(&stream);
        network_node_destroy(two.nodes[1]);
        two.nodes[1] = network_node_create(2, TEST_INCARNATION(life));
        network_plug(two.nodes[1], two.cable, 1, 1);
        memory_cable_splice(two.cable);
        network_start(two.nodes[1]);
        REQUIRE(network_wait(two.nodes[0], from, FACT_NODE_DEAD, 2, NODE_DEATH_INCARNATION, &dead));
        REQUIRE(network_wait(two.nodes[0], from, FACT_NODE_UP, 2, FACT_ANY, &up));
        EXPECT_EQUAL(two.nodes[0]->facts[dead].incarnation, TEST_INCARNATION(life - 1));
        EXPECT_EQUAL(two.nodes[0]->facts[up].incarnation, TEST_INCARNATION(life));
        EXPECT(dead < up);
        REQUIRE(network_wait_up(two.nodes[1], 0));
        REQUIRE(network_wait_up(two.nodes[0], 0));
    }
    EXPECT_EQUAL(network_count(two.nodes[0], FACT_NODE_DEAD, FACT_ANY), 4);
    network_stream_start(&stream, two.nodes[0], two.nodes[1], 1000, 64);
    network_stream_finish(&stream);
    two_destroy(&two);
}

static void silence_is_death_and_the_dead_are_told(void)
{
    struct two two = two_mortals(BOOT_LINK_IVSHMEM);
    size_t dead;

    two_start(&two);
    memory_cable_mute(two.cable, 1, true);
    REQUIRE(network_wait(two.nodes[0], 0, FACT_NODE_DEAD, 2, NODE_DEATH_SILENCE, &dead));
    EXPECT_EQUAL(two.nodes[0]->facts[dead].incarnation, TEST_INCARNATION(1));
    EXPECT(network_count(two.nodes[0], FACT_LINK, LINK_REASON_SILENT) >= 1);
    memory_cable_mute(two.cable, 1, false);
    EXPECT(network_wait(two.nodes[1], 0, FACT_STALE, FACT_ANY, FACT_ANY, NULL));
    EXPECT(network_wait(two.nodes[0], dead, FACT_REFUSED, 2, LINK_REFUSAL_STALE, NULL));
    EXPECT_EQUAL(node_incarnation(two.nodes[0]->host, 2), 0);
    EXPECT_EQUAL(network_count(two.nodes[0], FACT_NODE_DEAD, FACT_ANY), 1);
    two_destroy(&two);
}

/* A peer that its driver says sleeps is silent for good reason. Both say so, or a busy machine
 * would make the other one's silence a death. */
static void the_silence_of_a_suspended_peer_is_no_death(void)
{
    struct two two = two_mortals(BOOT_LINK_IVSHMEM);
    struct network_stream stream;
    mnl_node_info_t handle, back;

    two_start(&two);
    handle = network_handle(two.nodes[0], 2);
    back = network_handle(two.nodes[1], 1);
    EXPECT_EQUAL(mnl_suspend(handle, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_suspend(back, 0), KERN_SUCCESS);
    memory_cable_mute(two.cable, 1, true);
    REQUIRE(network_wait(two.nodes[0], 0, FACT_LINK, 2, LINK_REASON_SILENT, NULL));
    network_pause_ms(3 * NETWORK_MORTAL_DEAD_NS / 1000000);
    EXPECT_EQUAL(network_count(two.nodes[0], FACT_NODE_DEAD, FACT_ANY), 0);
    memory_cable_mute(two.cable, 1, false);
    REQUIRE(network_wait_up(two.nodes[0], 0));
    REQUIRE(network_wait_up(two.nodes[1], 0));
    EXPECT_EQUAL(mnl_resume(handle, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_resume(back, 0), KERN_SUCCESS);
    network_stream_start(&stream, two.nodes[0], two.nodes[1], 100, 64);
    network_stream_finish(&stream);
    two_destroy(&two);
}

static void node_0_is_never_declared_dead_by_silence(void)
{
    struct two two = two_of(BOOT_LINK_VIRTIO_SERIAL, network_mortal_create(0, TEST_INCARNATION(1)),
                            network_mortal_create(1, TEST_INCARNATION(1)));

    two_start(&two);
    memory_cable_cut(two.cable);
    EXPECT(network_wait(two.nodes[0], 0, FACT_NODE_DEAD, 1, NODE_DEATH_SILENCE, NULL));
    network_pause_ms(2 * NETWORK_KEEPALIVE_NS / 1000000);
    EXPECT_EQUAL(network_count(two.nodes[1], FACT_NODE_DEAD, FACT_ANY), 0);
    two_destroy(&two);
}

static void a_death_declared_elsewhere_takes_the_links_down(void)
{
    struct two two = two_create(BOOT_LINK_IVSHMEM);

    two_start(&two);
    EXPECT_EQUAL(node_declare_dead(two.nodes[0]->host, 2, TEST_INCARNATION(1), NODE_DEATH_HOST), 0);
    EXPECT(network_wait(two.nodes[0], 0, FACT_LINK, 2, LINK_REASON_NODE_DEAD, NULL));
    EXPECT(network_wait(two.nodes[1], 0, FACT_STALE, FACT_ANY, FACT_ANY, NULL));
    EXPECT_EQUAL(network_count(two.nodes[0], FACT_NODE_DEAD, FACT_ANY), 1);
    two_destroy(&two);
}

static void a_second_node_with_a_taken_id_is_parked(void)
{
    struct two two = two_create(BOOT_LINK_IVSHMEM);
    struct memory_cable *second = memory_cable_create(1, BOOT_LINK_IVSHMEM, 2);
    struct network_node *twin = network_node_create(2, TEST_INCARNATION(7));
    size_t refused;

    network_plug(two.nodes[0], second, 0, 2);
    network_plug(twin, second, 1, 1);
    two_start(&two);
    memory_cable_splice(second);
    network_start(twin);
    REQUIRE(network_wait(twin, 0, FACT_WAS_REFUSED, 1, LINK_REFUSAL_DUPLICATE_ID, &refused));
    EXPECT_EQUAL(twin->facts[refused].incarnation, TEST_INCARNATION(7));
    EXPECT(network_wait(two.nodes[0], 0, FACT_REFUSED, 2, LINK_REFUSAL_DUPLICATE_ID, NULL));
    EXPECT_EQUAL(node_incarnation(two.nodes[0]->host, 2), TEST_INCARNATION(1));
    EXPECT_EQUAL(network_count(two.nodes[0], FACT_NODE_DEAD, FACT_ANY), 0);
    EXPECT(link_manager_is_up(two.nodes[0]->host, 0));
    EXPECT(!link_manager_is_up(two.nodes[0]->host, 1));
    network_node_destroy(twin);
    two_destroy(&two);
    memory_cable_destroy(second);
}

static void a_restart_over_two_links_waits_for_no_timeout(void)
{
    struct two two = two_create(BOOT_LINK_IVSHMEM);
    struct memory_cable *second = memory_cable_create(1, BOOT_LINK_VIRTIO_SERIAL, 2);
    uint64_t start_ns;

    for (int i = 0; i < 2; i++)
        network_plug(two.nodes[i], second, i, (uint32_t)(2 - i));
    memory_cable_splice(second);
    two_start(&two);
    REQUIRE(network_wait_up(two.nodes[0], 1));
    /* A reset, not a power cut: the cables keep their carrier, nobody says DOWN. */
    memory_cable_mute(two.cable, 1, true);
    memory_cable_mute(second, 1, true);
    network_node_destroy(two.nodes[1]);
    memory_cable_mute(two.cable, 1, false);
    memory_cable_mute(second, 1, false);
    two.nodes[1] = network_node_create(2, TEST_INCARNATION(1) + 1);
    network_plug(two.nodes[1], two.cable, 1, 1);
    network_plug(two.nodes[1], second, 1, 1);
    start_ns = clock_now_ns();
    network_start(two.nodes[1]);
    REQUIRE(network_wait_up(two.nodes[1], 0));
    REQUIRE(network_wait_up(two.nodes[1], 1));
    EXPECT(clock_now_ns() - start_ns < NETWORK_LINK_DOWN_NS);
    EXPECT_EQUAL(network_count(two.nodes[0], FACT_REFUSED, FACT_ANY), 0);
    EXPECT_EQUAL(network_count(two.nodes[0], FACT_NODE_DEAD, NODE_DEATH_INCARNATION), 1);
    EXPECT_EQUAL(node_incarnation(two.nodes[0]->host, 2), TEST_INCARNATION(1) + 1);
    two_destroy(&two);
    memory_cable_destroy(second);
}

static const struct unit_test link_life_tests[] = {
    {"a restart is one death and one new life", a_restart_is_one_death_and_one_new_life},
    {"silence is death, and the dead are told", silence_is_death_and_the_dead_are_told},
    {"the silence of a suspended peer is no death", the_silence_of_a_suspended_peer_is_no_death},
    {"node 0 is never declared dead by silence", node_0_is_never_declared_dead_by_silence},
    {"a death declared elsewhere takes the links down",
     a_death_declared_elsewhere_takes_the_links_down},
    {"a second node with a taken id is parked", a_second_node_with_a_taken_id_is_parked},
    {"a restart over two links waits for no timeout",
     a_restart_over_two_links_waits_for_no_timeout},
};
UNIT_SUITE("link_lives", link_life_tests);
