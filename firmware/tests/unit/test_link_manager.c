/* SPDX-License-Identifier: MIT
 *
 * The link manager on real threads: nodes come up in any order, messages survive what happens to
 * cables, and a death is told exactly once. Two or three nodes in one process, cables in memory.
 */
#define _GNU_SOURCE /* nanosleep() */
#include "hosts.h"
#include "link_network.h"
#include "native.h"
#include "unit.h"
#include <kernel/frame.h>
#include <kernel/link.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LIFE(launch) TEST_INCARNATION(launch)

/* Two nodes, 1 and 2, and the cable between them. */
struct two {
    struct memory_cable *cable;
    struct network_node *nodes[2];
};

static struct two two_of(enum boot_link_kind kind, struct network_node *first,
                         struct network_node *second)
{
    struct two two = {.cable = memory_cable_create(0, kind, 1), .nodes = {first, second}};

    for (int i = 0; i < 2; i++)
        network_plug(two.nodes[i], two.cable, i, (uint32_t)(2 - i));
    return two;
}

static struct two two_create(enum boot_link_kind kind)
{
    return two_of(kind, network_node_create(1, LIFE(1)), network_node_create(2, LIFE(1)));
}

static struct two two_mortals(enum boot_link_kind kind)
{
    return two_of(kind, network_mortal_create(1, LIFE(1)), network_mortal_create(2, LIFE(1)));
}

static void two_start(struct two *two)
{
    memory_cable_splice(two->cable);
    network_start(two->nodes[0]);
    network_start(two->nodes[1]);
    REQUIRE(network_wait_up(two->nodes[0], 0));
    REQUIRE(network_wait_up(two->nodes[1], 0));
}

static void two_destroy(struct two *two)
{
    network_node_destroy(two->nodes[0]);
    network_node_destroy(two->nodes[1]);
    memory_cable_destroy(two->cable);
}

static void pause_ms(uint32_t ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    nanosleep(&pause, NULL);
}

/* --- Coming up -------------------------------------------------------------------------------- */

static void a_link_comes_up_from_every_start_order(void)
{
    for (unsigned order = 0; order < 6; order++) {
        struct two two = two_create(order % 2 == 0 ? BOOT_LINK_IVSHMEM : BOOT_LINK_VIRTIO_SERIAL);
        struct network_node *first = two.nodes[order / 3], *second = two.nodes[1 - order / 3];

        if (order % 3 == 0)
            memory_cable_splice(two.cable);
        network_start(first);
        if (order % 3 == 1)
            memory_cable_splice(two.cable);
        pause_ms(order * 3);
        network_start(second);
        if (order % 3 == 2)
            memory_cable_splice(two.cable);
        EXPECT(network_wait_up(first, 0));
        EXPECT(network_wait_up(second, 0));
        EXPECT(network_wait(first, 0, FACT_NODE_UP, second->node_id, FACT_ANY, NULL));
        EXPECT_EQUAL(node_incarnation(first->host, second->node_id), LIFE(1));
        two_destroy(&two);
    }
}

static void messages_pass_both_ways_at_once(void)
{
    struct two two = two_create(BOOT_LINK_IVSHMEM);
    struct network_stream there, back;

    two_start(&two);
    network_stream_start(&there, two.nodes[0], two.nodes[1], 5000, 64);
    network_stream_start(&back, two.nodes[1], two.nodes[0], 5000, 64);
    network_stream_finish(&there);
    network_stream_finish(&back);
    two_destroy(&two);
}

static void stream_passes(uint64_t count, size_t body_bytes)
{
    struct two two = two_create(BOOT_LINK_IVSHMEM);
    struct network_stream stream;

    two_start(&two);
    network_stream_start(&stream, two.nodes[0], two.nodes[1], count, body_bytes);
    network_stream_finish(&stream);
    two_destroy(&two);
}

static void large_messages_are_cut_and_put_together(void)
{
    stream_passes(200, 50000);
}

/* The window holds more than the receiver's memory: messages that find no room are sent again. */
static void want_of_memory_delays_and_loses_nothing(void)
{
    stream_passes(100, 400000);
}

static void an_idle_link_stays_up(void)
{
    struct two two = two_create(BOOT_LINK_IVSHMEM);

    two_start(&two);
    pause_ms((uint32_t)(NETWORK_LINK_DOWN_NS / 1000000 + 200));
    EXPECT(link_manager_is_up(two.nodes[0]->host, 0));
    EXPECT_EQUAL(network_count(two.nodes[0], FACT_LINK, LINK_REASON_SILENT), 0);
    EXPECT_EQUAL(network_count(two.nodes[0], FACT_NODE_DEAD, FACT_ANY), 0);
    two_destroy(&two);
}

/* --- Cables ----------------------------------------------------------------------------------- */

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

/* --- Life and death --------------------------------------------------------------------------- */

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
        two.nodes[1] = network_node_create(2, LIFE(life));
        network_plug(two.nodes[1], two.cable, 1, 1);
        memory_cable_splice(two.cable);
        network_start(two.nodes[1]);
        REQUIRE(network_wait(two.nodes[0], from, FACT_NODE_DEAD, 2, NODE_DEATH_INCARNATION, &dead));
        REQUIRE(network_wait(two.nodes[0], from, FACT_NODE_UP, 2, FACT_ANY, &up));
        EXPECT_EQUAL(two.nodes[0]->facts[dead].incarnation, LIFE(life - 1));
        EXPECT_EQUAL(two.nodes[0]->facts[up].incarnation, LIFE(life));
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
    EXPECT_EQUAL(two.nodes[0]->facts[dead].incarnation, LIFE(1));
    EXPECT(network_count(two.nodes[0], FACT_LINK, LINK_REASON_SILENT) >= 1);
    memory_cable_mute(two.cable, 1, false);
    EXPECT(network_wait(two.nodes[1], 0, FACT_STALE, FACT_ANY, FACT_ANY, NULL));
    EXPECT(network_wait(two.nodes[0], dead, FACT_REFUSED, 2, LINK_REFUSAL_STALE, NULL));
    EXPECT_EQUAL(node_incarnation(two.nodes[0]->host, 2), 0);
    EXPECT_EQUAL(network_count(two.nodes[0], FACT_NODE_DEAD, FACT_ANY), 1);
    two_destroy(&two);
}

/* A peer that its driver says sleeps is silent for good reason. Both say so, or a busy machine would
 * make the other one's silence a death. */
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
    pause_ms(3 * NETWORK_MORTAL_DEAD_NS / 1000000);
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
    struct memory_cable *cable = memory_cable_create(0, BOOT_LINK_VIRTIO_SERIAL, 1);
    struct network_node *zero = network_mortal_create(0, LIFE(1));
    struct network_node *one = network_mortal_create(1, LIFE(1));

    network_plug(zero, cable, 0, 1);
    network_plug(one, cable, 1, 0);
    memory_cable_splice(cable);
    network_start(zero);
    network_start(one);
    REQUIRE(network_wait_up(one, 0));
    memory_cable_cut(cable);
    EXPECT(network_wait(zero, 0, FACT_NODE_DEAD, 1, NODE_DEATH_SILENCE, NULL));
    pause_ms(2 * NETWORK_KEEPALIVE_NS / 1000000);
    EXPECT_EQUAL(network_count(one, FACT_NODE_DEAD, FACT_ANY), 0);
    network_node_destroy(zero);
    network_node_destroy(one);
    memory_cable_destroy(cable);
}

static void a_death_declared_elsewhere_takes_the_links_down(void)
{
    struct two two = two_create(BOOT_LINK_IVSHMEM);

    two_start(&two);
    EXPECT_EQUAL(node_declare_dead(two.nodes[0]->host, 2, LIFE(1), NODE_DEATH_HOST), 0);
    EXPECT(network_wait(two.nodes[0], 0, FACT_LINK, 2, LINK_REASON_NODE_DEAD, NULL));
    EXPECT(network_wait(two.nodes[1], 0, FACT_STALE, FACT_ANY, FACT_ANY, NULL));
    EXPECT_EQUAL(network_count(two.nodes[0], FACT_NODE_DEAD, FACT_ANY), 1);
    two_destroy(&two);
}

static void a_second_node_with_a_taken_id_is_parked(void)
{
    struct two two = two_create(BOOT_LINK_IVSHMEM);
    struct memory_cable *second = memory_cable_create(1, BOOT_LINK_IVSHMEM, 2);
    struct network_node *twin = network_node_create(2, LIFE(7));
    size_t refused;

    network_plug(two.nodes[0], second, 0, 2);
    network_plug(twin, second, 1, 1);
    two_start(&two);
    memory_cable_splice(second);
    network_start(twin);
    REQUIRE(network_wait(twin, 0, FACT_WAS_REFUSED, 1, LINK_REFUSAL_DUPLICATE_ID, &refused));
    EXPECT_EQUAL(twin->facts[refused].incarnation, LIFE(7));
    EXPECT(network_wait(two.nodes[0], 0, FACT_REFUSED, 2, LINK_REFUSAL_DUPLICATE_ID, NULL));
    EXPECT_EQUAL(node_incarnation(two.nodes[0]->host, 2), LIFE(1));
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
    two.nodes[1] = network_node_create(2, LIFE(1) + 1);
    network_plug(two.nodes[1], two.cable, 1, 1);
    network_plug(two.nodes[1], second, 1, 1);
    start_ns = clock_now_ns();
    network_start(two.nodes[1]);
    REQUIRE(network_wait_up(two.nodes[1], 0));
    REQUIRE(network_wait_up(two.nodes[1], 1));
    EXPECT(clock_now_ns() - start_ns < NETWORK_LINK_DOWN_NS);
    EXPECT_EQUAL(network_count(two.nodes[0], FACT_REFUSED, FACT_ANY), 0);
    EXPECT_EQUAL(network_count(two.nodes[0], FACT_NODE_DEAD, NODE_DEATH_INCARNATION), 1);
    EXPECT_EQUAL(node_incarnation(two.nodes[0]->host, 2), LIFE(1) + 1);
    two_destroy(&two);
    memory_cable_destroy(second);
}

/* --- Garbage ---------------------------------------------------------------------------------- */

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
    STORE(header.src_incarnation, LIFE(1));
    STORE(header.dst_incarnation, LIFE(1));
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
    struct network_node *third = network_node_create(3, LIFE(1));
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
            pause_ms(1);
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
        .src_incarnation = le64_of(LIFE(1)),
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
    pause_ms(110);
    now = network_now(two.nodes[0]);
    inject_stranger(two.cable, 0, 100);
    EXPECT(network_wait(two.nodes[0], now, FACT_REFUSED, 2, LINK_REFUSAL_WRONG_PEER, NULL));
    two_destroy(&two);
}

/* --- Message limits --------------------------------------------------------------------------- */

static void a_message_beyond_the_peers_limit_is_refused_and_harms_nothing(void)
{
    struct two two = two_create(BOOT_LINK_IVSHMEM);
    const size_t body_maximum = 4096 - sizeof(struct mnl_msg) - sizeof(struct wire_mach_header);
    struct network_stream stream;
    struct port *proxy;
    struct kmsg *kmsg;

    two.nodes[1]->message_max = 4096;
    two_start(&two);
    proxy = port_from_name(two.nodes[0]->host, NAME_WELL_KNOWN(2, NAME_SERIAL_KERNEL));
    kmsg = kmsg_allocate(two.nodes[0]->host, body_maximum + 1);
    REQUIRE(proxy != NULL && kmsg != NULL);
    EXPECT_EQUAL(port_body_maximum(proxy), body_maximum);
    EXPECT_EQUAL(mach_msg_send(kmsg, proxy, NULL, PORT_NONE, 0), MACH_SEND_TOO_LARGE);
    kmsg_free(kmsg);
    network_stream_start(&stream, two.nodes[0], two.nodes[1], 50, body_maximum);
    network_stream_finish(&stream);
    EXPECT_EQUAL(network_count(two.nodes[1], FACT_LINK, LINK_REASON_GARBAGE), 0);
    port_release(proxy);
    two_destroy(&two);
}

/* --- Starting, stopping, asking --------------------------------------------------------------- */

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
    struct memory_cable *cable = memory_cable_create(0, BOOT_LINK_IVSHMEM, 1);
    struct network_node *zero = network_node_create(0, LIFE(1));
    struct network_node *one = network_node_create(1, LIFE(1));
    struct link_statistics before, after;

    network_plug(zero, cable, 0, 1);
    network_plug(one, cable, 1, 0);
    memory_cable_splice(cable);
    network_start(zero);
    network_start(one);
    REQUIRE(network_wait_up(one, 0));
    REQUIRE(link_manager_statistics(one->host, 0, &before) == ERROR_NONE);
    for (int i = 0; i < 100; i++) {
        link_manager_kick(one->host);
        REQUIRE(link_manager_statistics(one->host, 0, &after) == ERROR_NONE);
    }
    EXPECT(after.tx_frames >= before.tx_frames + 50);
    network_node_destroy(zero);
    network_node_destroy(one);
    memory_cable_destroy(cable);
}

static const struct unit_test tests[] = {
    {"a link comes up from every start order", a_link_comes_up_from_every_start_order},
    {"messages pass both ways at once", messages_pass_both_ways_at_once},
    {"large messages are cut and put together", large_messages_are_cut_and_put_together},
    {"want of memory delays and loses nothing", want_of_memory_delays_and_loses_nothing},
    {"an idle link stays up", an_idle_link_stays_up},
    {"a cut ring delays and loses nothing", a_cut_ring_delays_and_loses_nothing},
    {"a cut stream delays and loses nothing", a_cut_stream_delays_and_loses_nothing},
    {"one direction may be cut alone", one_direction_may_be_cut_alone},
    {"a new generation without a cut retrains", a_new_generation_without_a_cut_retrains},
    {"a bad stream delivers once and in order", a_bad_stream_delivers_once_and_in_order},
    {"traffic moves to another link and back", traffic_moves_to_another_link_and_back},
    {"a restart is one death and one new life", a_restart_is_one_death_and_one_new_life},
    {"silence is death, and the dead are told", silence_is_death_and_the_dead_are_told},
    {"the silence of a suspended peer is no death", the_silence_of_a_suspended_peer_is_no_death},
    {"node 0 is never declared dead by silence", node_0_is_never_declared_dead_by_silence},
    {"a death declared elsewhere takes the links down",
     a_death_declared_elsewhere_takes_the_links_down},
    {"a second node with a taken id is parked", a_second_node_with_a_taken_id_is_parked},
    {"a restart over two links waits for no timeout",
     a_restart_over_two_links_waits_for_no_timeout},
    {"garbage stays on its link", garbage_stays_on_its_link},
    {"stopping tells the peer and frees everything", stopping_tells_the_peer_and_frees_everything},
    {"a start without memory leaves nothing", a_start_without_memory_leaves_nothing},
    {"a missing device does not stop the others", a_missing_device_does_not_stop_the_others},
    {"statistics count what passed", statistics_count_what_passed},
    {"a flood of claims is told a few times a second",
     a_flood_of_claims_is_told_a_few_times_a_second},
    {"a message beyond the peer's limit is refused and harms nothing",
     a_message_beyond_the_peers_limit_is_refused_and_harms_nothing},
    {"a kick sends a frame to node 0", a_kick_sends_a_frame_to_node_0},
};

UNIT_SUITE("link manager", tests);
