/* SPDX-License-Identifier: MIT
 *
 * The link manager's own life and what it answers: start, stop, statistics, a kick. What its links
 * carry and live through is in test_link_traffic.c, test_link_cables.c and test_link_lives.c.
 */
#include "hosts.h"
#include "two_nodes.h"
#include "unit.h"
#include <kernel/link.h>

static void stopping_tells_the_peer_and_frees_everything(void)
{
    struct two two = two_create(BOOT_LINK_IVSHMEM);
    struct mach_host *host = two.nodes[0]->host;
    struct link_manager_configuration none = {.message_max = 1u << 20};
    size_t used_bytes;

    two_start(&two);
    used_bytes = heap_statistics(host).used_bytes;
    network_stop(two.nodes[0]);
    EXPECT(network_wait_down(two.nodes[1], 0));
    EXPECT(network_wait(two.nodes[1], 0, FACT_LINK, 1, LINK_REASON_PEER_CLOSED, NULL));
    EXPECT(heap_statistics(host).used_bytes + sizeof(struct link) < used_bytes);
    EXPECT_EQUAL(link_manager_link_count(host), 0);
    EXPECT(!link_manager_is_up(host, 0));
    EXPECT_EQUAL(link_manager_start(host, &none), ERROR_EXISTS);
    two_destroy(&two);
}

static void a_start_without_memory_leaves_nothing(void)
{
    struct two two = two_create(BOOT_LINK_IVSHMEM);
    struct mach_host *host = two.nodes[0]->host;
    struct link_manager_configuration configuration = {
        .links = two.nodes[0]->links,
        .link_count = 1,
        .message_max = 1u << 20,
        .find_phy = memory_find_phy,
    };
    int status = ERROR_NO_MEMORY;
    uint64_t n = 0;

    while (status == ERROR_NO_MEMORY) {
        heap_fail_after(host, ++n, true);
        status = link_manager_start(host, &configuration);
        heap_fail_after(host, 0, false);
        REQUIRE(n < 100);
    }
    EXPECT(n > 3);
    EXPECT_EQUAL(status, ERROR_NONE);
    EXPECT_EQUAL(link_manager_start(host, &configuration), ERROR_EXISTS);
    two_destroy(&two);
}

static void a_missing_device_does_not_stop_the_others(void)
{
    struct two two = two_create(BOOT_LINK_IVSHMEM);
    struct mach_host *host = two.nodes[0]->host;
    struct boot_link links[3] = {
        {.slot = 2 * MEMORY_CABLES_MAXIMUM, .peer = 5},
        two.nodes[0]->links[0],
        {.use = BOOT_LINK_USE_RAW, .peer = 2},
    };
    struct link_manager_configuration configuration = {
        .links = links, .link_count = 3, .message_max = 1u << 20, .find_phy = memory_find_phy};
    struct link_statistics statistics;

    memory_cable_splice(two.cable);
    REQUIRE(link_manager_start(host, &configuration) == ERROR_NONE);
    network_start(two.nodes[1]);
    EXPECT_EQUAL(link_manager_failed(host), 1);
    EXPECT_EQUAL(link_manager_link_count(host), 3);
    EXPECT(network_wait_up(two.nodes[1], 0));
    EXPECT_EQUAL(link_manager_statistics(host, 0, &statistics), ERROR_NOT_FOUND);
    EXPECT_EQUAL(link_manager_statistics(host, 2, &statistics), ERROR_NOT_FOUND);
    EXPECT_EQUAL(link_manager_statistics(host, 3, &statistics), ERROR_NOT_FOUND);
    EXPECT_EQUAL(link_manager_statistics(host, 1, &statistics), ERROR_NONE);
    EXPECT_EQUAL(statistics.peer, 2);
    two_destroy(&two);
}

static void statistics_count_what_passed(void)
{
    struct two two = two_create(BOOT_LINK_IVSHMEM);
    struct network_stream stream;
    struct link_statistics sent, received;

    two_start(&two);
    network_stream_start(&stream, two.nodes[0], two.nodes[1], 500, 64);
    network_stream_finish(&stream);
    REQUIRE(link_manager_statistics(two.nodes[0]->host, 0, &sent) == ERROR_NONE);
    REQUIRE(link_manager_statistics(two.nodes[1]->host, 0, &received) == ERROR_NONE);
    EXPECT_EQUAL(sent.state, 3);
    EXPECT(sent.tx_data_frames >= 500);
    EXPECT_EQUAL(received.rx_data_frames, sent.tx_data_frames);
    EXPECT(sent.trained >= 1);
    EXPECT(received.rx_bytes >= 500 * (64 + 64));
    two_destroy(&two);
    EXPECT_EQUAL(received.peer_epoch, sent.epoch);
}

static void a_kick_sends_a_frame_to_node_0(void)
{
    struct two two = two_of(BOOT_LINK_IVSHMEM, network_node_create(0, TEST_INCARNATION(1)),
                            network_node_create(1, TEST_INCARNATION(1)));
    struct mach_host *host = two.nodes[1]->host;
    struct link_statistics before, after;

    two_start(&two);
    REQUIRE(link_manager_statistics(host, 0, &before) == ERROR_NONE);
    for (int i = 0; i < 100; i++) {
        link_manager_kick(host);
        REQUIRE(link_manager_statistics(host, 0, &after) == ERROR_NONE);
    }
    EXPECT(after.tx_frames >= before.tx_frames + 50);
    two_destroy(&two);
}

static const struct unit_test link_manager_tests[] = {
    {"stopping tells the peer and frees everything", stopping_tells_the_peer_and_frees_everything},
    {"a start without memory leaves nothing", a_start_without_memory_leaves_nothing},
    {"a missing device does not stop the others", a_missing_device_does_not_stop_the_others},
    {"statistics count what passed", statistics_count_what_passed},
    {"a kick sends a frame to node 0", a_kick_sends_a_frame_to_node_0},
};
UNIT_SUITE("link manager", link_manager_tests);
