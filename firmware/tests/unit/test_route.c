/* SPDX-License-Identifier: MIT
 *
 * Routes on real threads: a row of nodes 1 - 2 - 3, where 2 passes on what 1 and 3 say to each
 * other. The decision itself has vectors (tests/data/vectors/route).
 */
#include "hosts.h"
#include "link_network.h"
#include "unit.h"
#include <kernel/frame.h>
#include <kernel/phy.h>
#include <kernel/route.h>

#define LIFE(launch) TEST_INCARNATION(launch)
#define ROUTE 7u

/* Links of nodes 1 and 3: 0 the cable to node 2, 1 the route; of node 2: 0 to node 1, 1 to node 3.
 */
struct row {
    struct memory_cable *cables[2];
    struct network_node *nodes[3];
};

static struct network_node *end_create(struct row *row, int index, uint64_t incarnation)
{
    struct network_node *node = network_node_create((uint32_t)index + 1, incarnation);

    network_plug(node, row->cables[index / 2], index / 2, 2);
    network_route(node, 0, index == 0 ? 3 : 1, ROUTE);
    return node;
}

static struct network_node *middle_create(struct row *row, uint64_t incarnation)
{
    struct network_node *node = network_node_create(2, incarnation);

    network_plug(node, row->cables[0], 1, 1);
    network_plug(node, row->cables[1], 0, 3);
    network_transit(node, ROUTE, 1, 0, 3, 1);
    return node;
}

static struct row row_create(void)
{
    struct row row = {.cables = {memory_cable_create(0, BOOT_LINK_IVSHMEM, 1),
                                 memory_cable_create(1, BOOT_LINK_VIRTIO_SERIAL, 2)}};

    row.nodes[0] = end_create(&row, 0, LIFE(1));
    row.nodes[1] = middle_create(&row, LIFE(1));
    row.nodes[2] = end_create(&row, 2, LIFE(1));
    for (int i = 0; i < 2; i++)
        memory_cable_splice(row.cables[i]);
    for (int i = 0; i < 3; i++)
        network_start(row.nodes[i]);
    REQUIRE(network_wait_up(row.nodes[0], 1));
    REQUIRE(network_wait_up(row.nodes[2], 1));
    return row;
}

static void row_destroy(struct row *row)
{
    for (int i = 0; i < 3; i++)
        network_node_destroy(row->nodes[i]);
    for (int i = 0; i < 2; i++)
        memory_cable_destroy(row->cables[i]);
}

static uint64_t forwarded(struct network_node *node, uint32_t link)
{
    struct link_statistics statistics;

    REQUIRE(link_manager_statistics(node->host, link, &statistics) == ERROR_NONE);
    return statistics.forwarded;
}

/* --- End to end ------------------------------------------------------------------------------- */

static void two_nodes_talk_through_a_third(void)
{
    struct row row = row_create();
    struct network_stream there, back;

    network_stream_start(&there, row.nodes[0], row.nodes[2], 2000, 64);
    network_stream_start(&back, row.nodes[2], row.nodes[0], 300, 9000);
    network_stream_finish(&there);
    network_stream_finish(&back);
    EXPECT(forwarded(row.nodes[1], 0) > 2000);
    EXPECT(forwarded(row.nodes[1], 1) > 300);
    EXPECT_EQUAL(test_statistics(row.nodes[1]->host).received, 0); /* nothing was for it */
    row_destroy(&row);
}

static void a_cut_anywhere_on_the_path_delays_and_loses_nothing(void)
{
    struct row row = row_create();
    struct network_stream there, back;

    network_stream_start(&there, row.nodes[0], row.nodes[2], 3000, 64);
    network_stream_start(&back, row.nodes[2], row.nodes[0], 3000, 64);
    for (unsigned i = 0; i < 6; i++) {
        network_stream_wait(&there, i * 400 + 100);
        memory_cable_cut(row.cables[i % 2]);
        REQUIRE(network_wait_down(row.nodes[1], i % 2));
        memory_cable_splice(row.cables[i % 2]);
    }
    network_stream_finish(&there);
    network_stream_finish(&back);
    EXPECT_EQUAL(network_count(row.nodes[0], FACT_NODE_DEAD, FACT_ANY), 0);
    EXPECT_EQUAL(network_count(row.nodes[2], FACT_NODE_DEAD, FACT_ANY), 0);
    row_destroy(&row);
}

static void a_crash_of_the_forwarder_loses_nothing_of_the_others(void)
{
    struct row row = row_create();
    struct network_stream stream;

    network_stream_start(&stream, row.nodes[0], row.nodes[2], 3000, 64);
    for (uint64_t life = 2; life <= 4; life++) {
        network_stream_wait(&stream, life * 400);
        memory_cable_cut(row.cables[0]);
        memory_cable_cut(row.cables[1]);
        network_node_destroy(row.nodes[1]);
        row.nodes[1] = middle_create(&row, LIFE(life));
        memory_cable_splice(row.cables[0]);
        memory_cable_splice(row.cables[1]);
        network_start(row.nodes[1]);
    }
    network_stream_finish(&stream);
    EXPECT_EQUAL(network_count(row.nodes[0], FACT_NODE_DEAD, NODE_DEATH_INCARNATION), 3);
    row_destroy(&row);
}

static void a_restart_of_an_end_is_one_death_and_one_new_life(void)
{
    struct row row = row_create();
    struct network_stream stream;
    size_t from = network_now(row.nodes[0]), dead, up;

    network_stream_start(&stream, row.nodes[0], row.nodes[2], UINT64_MAX, 64);
    network_stream_wait(&stream, 100);
    memory_cable_cut(row.cables[1]);
    network_stream_abandon(&stream);
    network_node_destroy(row.nodes[2]);
    row.nodes[2] = end_create(&row, 2, LIFE(2));
    memory_cable_splice(row.cables[1]);
    network_start(row.nodes[2]);
    REQUIRE(network_wait(row.nodes[0], from, FACT_NODE_DEAD, 3, NODE_DEATH_INCARNATION, &dead));
    REQUIRE(network_wait(row.nodes[0], from, FACT_NODE_UP, 3, FACT_ANY, &up));
    EXPECT(dead < up);
    EXPECT_EQUAL(row.nodes[0]->facts[up].incarnation, LIFE(2));
    network_stream_start(&stream, row.nodes[0], row.nodes[2], 200, 64);
    network_stream_finish(&stream);
    row_destroy(&row);
}

static void a_route_goes_and_comes_with_the_driver_of_its_first_link(void)
{
    const struct phy_operations *driver = memory_find_phy("ivshmem");
    struct row row = row_create();
    struct mach_host *host = row.nodes[0]->host;
    struct network_stream stream;

    network_stream_start(&stream, row.nodes[0], row.nodes[2], 1000, 64);
    network_stream_wait(&stream, 100);
    for (int i = 0; i < 3; i++) {
        EXPECT_EQUAL(link_manager_release_driver(host, (uintptr_t)driver, sizeof(*driver),
                                                 clock_now_ns() + NETWORK_PATIENCE_NS),
                     ERROR_NONE);
        REQUIRE(network_wait_down(row.nodes[0], 1));
        link_manager_find_drivers(host);
        REQUIRE(network_wait_up(row.nodes[0], 1));
    }
    network_stream_finish(&stream);
    EXPECT_EQUAL(link_manager_release_driver(host, (uintptr_t)driver, sizeof(*driver),
                                             clock_now_ns() + NETWORK_PATIENCE_NS),
                 ERROR_NONE);
    row_destroy(&row); /* with a route whose first link has no driver */
}

/* A triangle: nodes 1 and 3 have a cable of their own, and the route is what is left without it. */
static void a_route_is_the_spare_of_a_cable(void)
{
    struct row row = {.cables = {memory_cable_create(0, BOOT_LINK_IVSHMEM, 1),
                                 memory_cable_create(1, BOOT_LINK_IVSHMEM, 2)}};
    struct memory_cable *direct = memory_cable_create(2, BOOT_LINK_IVSHMEM, 3);
    struct network_stream stream;
    uint64_t before;

    for (int i = 0; i < 3; i += 2) {
        row.nodes[i] = network_node_create((uint32_t)i + 1, LIFE(1));
        network_plug(row.nodes[i], row.cables[i / 2], i / 2, 2);
        network_plug(row.nodes[i], direct, i / 2, i == 0 ? 3 : 1);
        network_route(row.nodes[i], 0, i == 0 ? 3 : 1, ROUTE);
    }
    row.nodes[1] = middle_create(&row, LIFE(1));
    memory_cable_splice(row.cables[0]);
    memory_cable_splice(row.cables[1]);
    memory_cable_splice(direct);
    for (int i = 0; i < 3; i++)
        network_start(row.nodes[i]);
    for (uint32_t link = 1; link < 3; link++)
        REQUIRE(network_wait_up(row.nodes[0], link) && network_wait_up(row.nodes[2], link));
    network_stream_start(&stream, row.nodes[0], row.nodes[2], 3000, 64);
    network_stream_wait(&stream, 500);
    before = forwarded(row.nodes[1], 0);
    memory_cable_cut(direct);
    network_stream_wait(&stream, 1500);
    EXPECT(forwarded(row.nodes[1], 0) > before + 500);
    memory_cable_splice(direct);
    network_stream_finish(&stream);
    EXPECT_EQUAL(network_count(row.nodes[0], FACT_NODE_DEAD, FACT_ANY), 0);
    memory_cable_cut(direct);
    row_destroy(&row);
    memory_cable_destroy(direct);
}

/* --- What a forwarder refuses ----------------------------------------------------------------- */

static struct frame_header frame_of(uint16_t route, uint16_t from, uint16_t to)
{
    struct frame_header header = {.magic = le16_of(FRAME_MAGIC),
                                  .version = FRAME_VERSION,
                                  .src_node = le16_of(from),
                                  .dst_node = le16_of(to),
                                  .type = FRAME_ACK,
                                  .route = le16_of(route)};

    header.header_crc = le32_of(frame_header_crc(&header, frame_constant_crc(&header)));
    return header;
}

static uint64_t drops(struct network_node *node, uint32_t link, enum link_drop reason)
{
    struct link_statistics statistics;

    REQUIRE(link_manager_statistics(node->host, link, &statistics) == ERROR_NONE);
    return statistics.drops[reason];
}

static void wait_for_drop(struct network_node *node, uint32_t link, enum link_drop reason)
{
    EXPECT(network_wait(node, 0, FACT_DROP, FACT_ANY, reason, NULL));
    EXPECT_EQUAL(drops(node, link, reason), 1);
}

static void strangers_are_not_passed_on(void)
{
    struct row row = row_create();
    struct frame_header unknown = frame_of(ROUTE + 1, 1, 3), false_source = frame_of(ROUTE, 2, 3);
    struct network_stream stream;

    memory_cable_inject(row.cables[0], 1, &unknown, sizeof(unknown));
    wait_for_drop(row.nodes[1], 0, LINK_DROP_WRONG_NODE);
    memory_cable_inject(row.cables[0], 1, &false_source, sizeof(false_source));
    wait_for_drop(row.nodes[1], 0, LINK_DROP_WRONG_PEER);
    network_stream_start(&stream, row.nodes[0], row.nodes[2], 100, 64);
    network_stream_finish(&stream);
    row_destroy(&row);
}

/* Each record joins two links: the way out is never the way in, and a path of n nodes takes n - 1
 * decisions, whatever the frame says. */
static void no_record_leads_back(void)
{
    static const struct boot_transit transits[] = {
        {.route = 1, .ends = {1, 3}, .links = {0, 1}},
        {.route = 2, .ends = {1, 4}, .links = {0, 2}},
    };
    uint32_t out = 99;

    for (uint16_t route = 0; route < 4; route++) {
        for (uint32_t link = 0; link < 4; link++) {
            for (uint16_t from = 0; from < 5; from++) {
                struct frame_header header = frame_of(route, from, (uint16_t)(from ^ 2));

                if (route_next(transits, 2, link, &header, sizeof(header), &out) == 0)
                    EXPECT(out != link);
            }
        }
    }
}

static const struct unit_test route_tests[] = {
    {"two nodes talk through a third", two_nodes_talk_through_a_third},
    {"a cut anywhere on the path delays and loses nothing",
     a_cut_anywhere_on_the_path_delays_and_loses_nothing},
    {"a crash of the forwarder loses nothing of the others",
     a_crash_of_the_forwarder_loses_nothing_of_the_others},
    {"a restart of an end is one death and one new life",
     a_restart_of_an_end_is_one_death_and_one_new_life},
    {"a route goes and comes with the driver of its first link",
     a_route_goes_and_comes_with_the_driver_of_its_first_link},
    {"a route is the spare of a cable", a_route_is_the_spare_of_a_cable},
    {"strangers are not passed on", strangers_are_not_passed_on},
    {"no record leads back", no_record_leads_back},
};
UNIT_SUITE("route", route_tests);
