/* SPDX-License-Identifier: MIT
 *
 * Frames that nobody should have sent, to a running link manager: they harm no other link, and few
 * are told. What one link makes of hostile bytes is in test_link.c and the vectors.
 */
#include "hosts.h"
#include "native.h"
#include "two_nodes.h"
#include "unit.h"
#include <kernel/frame.h>
#include <stdlib.h>
#include <string.h>

/* Random bytes behind a header that is right, or not even that. */
static size_t make_garbage(uint8_t *bytes, size_t room, unsigned number)
{
    size_t length = FRAME_HEADER_SIZE + (size_t)rand() % (room - FRAME_HEADER_SIZE);
    struct frame_header header;

    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)rand();
    if (number % 3 == 0)
        return length;
    memcpy(&header, bytes, sizeof(header));
    STORE(header.magic, FRAME_MAGIC);
    header.version = FRAME_VERSION;
    STORE(header.src_node, 2);
    STORE(header.dst_node, 1);
    STORE(header.src_incarnation, TEST_INCARNATION(1));
    STORE(header.dst_incarnation, TEST_INCARNATION(1));
    STORE(header.src_epoch, (uint32_t)rand() % 4);
    STORE(header.dst_epoch, (uint32_t)rand() % 4);
    header.type = (uint8_t)(1 + rand() % 7);
    STORE(header.seq, (uint32_t)rand() % 64);
    STORE(header.length, (uint32_t)(length - FRAME_HEADER_SIZE));
    STORE(header.payload_crc, crc32c(0, bytes + FRAME_HEADER_SIZE, NATIVE(header.length)));
    STORE(header.header_crc, frame_header_crc(&header, frame_constant_crc(&header)));
    memcpy(bytes, &header, sizeof(header));
    return length;
}

static void garbage_stays_on_its_link(void)
{
    struct two two = two_create(BOOT_LINK_IVSHMEM);
    struct memory_cable *second = memory_cable_create(1, BOOT_LINK_IVSHMEM, 2);
    struct network_node *third = network_node_create(3, TEST_INCARNATION(1));
    struct network_stream disturbed, quiet;
    uint8_t bytes[600];
    size_t quiet_changes = 0;

    network_plug(two.nodes[0], second, 0, 3);
    network_plug(third, second, 1, 1);
    memory_cable_splice(second);
    network_start(third);
    two_start(&two);
    REQUIRE(network_wait_up(two.nodes[0], 1));
    REQUIRE(network_wait_up(third, 0));
    network_stream_start(&quiet, third, two.nodes[0], 2000, 64);
    srand(1);
    for (unsigned i = 0; i < 500; i++) {
        memory_cable_inject(two.cable, 0, bytes, make_garbage(bytes, sizeof(bytes), i));
        if (i % 20 == 0)
            network_pause_ms(1);
    }
    network_stream_finish(&quiet);
    for (size_t i = 0; i < network_now(two.nodes[0]); i++) {
        const struct network_fact *fact = &two.nodes[0]->facts[i];

        quiet_changes += fact->kind == FACT_LINK && fact->link == 1 && fact->bits != 3;
    }
    EXPECT(quiet_changes <= 1); /* on its way up */
    memory_cable_splice(two.cable);
    REQUIRE(network_wait_up(two.nodes[0], 0));
    REQUIRE(network_wait_up(two.nodes[1], 0));
    network_stream_start(&disturbed, two.nodes[1], two.nodes[0], 100, 64);
    network_stream_finish(&disturbed);
    network_node_destroy(third);
    two_destroy(&two);
    memory_cable_destroy(second);
}

/* A TRAIN of a node that the cable does not lead to. */
static void inject_stranger(struct memory_cable *cable, int to, uint32_t seq)
{
    uint8_t bytes[FRAME_HEADER_SIZE + sizeof(struct train_record)] = {0};
    struct frame_header header = {
        .magic = le16_of(FRAME_MAGIC),
        .version = FRAME_VERSION,
        .type = FRAME_TRAIN,
        .src_node = le16_of(9),
        .dst_node = le16_of(1),
        .src_incarnation = le64_of(TEST_INCARNATION(1)),
        .src_epoch = le32_of(1),
        .seq = le32_of(seq),
        .length = le32_of(sizeof(struct train_record)),
    };

    STORE(header.payload_crc, crc32c(0, bytes + FRAME_HEADER_SIZE, NATIVE(header.length)));
    STORE(header.header_crc, frame_header_crc(&header, frame_constant_crc(&header)));
    memcpy(bytes, &header, sizeof(header));
    memory_cable_inject(cable, to, bytes, sizeof(bytes));
}

static void a_flood_of_claims_is_told_a_few_times_a_second(void)
{
    struct two two = two_create(BOOT_LINK_IVSHMEM);
    struct link_statistics statistics = {0};
    size_t told, now;

    two_start(&two);
    for (uint32_t i = 0; i < 100; i++)
        inject_stranger(two.cable, 0, i);
    EXPECT(network_wait(two.nodes[0], 0, FACT_REFUSED, 2, LINK_REFUSAL_WRONG_PEER, NULL));
    while (statistics.drops[LINK_DROP_WRONG_PEER] < 100)
        REQUIRE(link_manager_statistics(two.nodes[0]->host, 0, &statistics) == ERROR_NONE);
    told = network_count(two.nodes[0], FACT_REFUSED, LINK_REFUSAL_WRONG_PEER);
    EXPECT(told >= 1 && told < 20);
    network_pause_ms(110);
    now = network_now(two.nodes[0]);
    inject_stranger(two.cable, 0, 100);
    EXPECT(network_wait(two.nodes[0], now, FACT_REFUSED, 2, LINK_REFUSAL_WRONG_PEER, NULL));
    two_destroy(&two);
}

static const struct unit_test link_garbage_tests[] = {
    {"garbage stays on its link", garbage_stays_on_its_link},
    {"a flood of claims is told a few times a second",
     a_flood_of_claims_is_told_a_few_times_a_second},
};
UNIT_SUITE("link_garbage", link_garbage_tests);
