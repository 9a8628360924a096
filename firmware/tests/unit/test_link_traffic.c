/* SPDX-License-Identifier: MIT
 *
 * Links on real threads: they come up in any order, and carry messages of any size while nothing
 * happens to their cables.
 */
#include "hosts.h"
#include "two_nodes.h"
#include "unit.h"
#include <abi/flipc.h>
#include <kernel/mach_node_link.h>

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
        network_pause_ms(order * 3);
        network_start(second);
        if (order % 3 == 2)
            memory_cable_splice(two.cable);
        EXPECT(network_wait_up(first, 0));
        EXPECT(network_wait_up(second, 0));
        EXPECT(network_wait(first, 0, FACT_NODE_UP, second->node_id, FACT_ANY, NULL));
        EXPECT_EQUAL(node_incarnation(first->host, second->node_id), TEST_INCARNATION(1));
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
    network_pause_ms((uint32_t)(NETWORK_LINK_DOWN_NS / 1000000 + 200));
    EXPECT(link_manager_is_up(two.nodes[0]->host, 0));
    EXPECT_EQUAL(network_count(two.nodes[0], FACT_LINK, LINK_REASON_SILENT), 0);
    EXPECT_EQUAL(network_count(two.nodes[0], FACT_NODE_DEAD, FACT_ANY), 0);
    two_destroy(&two);
}

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

static const struct unit_test link_traffic_tests[] = {
    {"a link comes up from every start order", a_link_comes_up_from_every_start_order},
    {"messages pass both ways at once", messages_pass_both_ways_at_once},
    {"large messages are cut and put together", large_messages_are_cut_and_put_together},
    {"want of memory delays and loses nothing", want_of_memory_delays_and_loses_nothing},
    {"an idle link stays up", an_idle_link_stays_up},
    {"a message beyond the peer's limit is refused and harms nothing",
     a_message_beyond_the_peers_limit_is_refused_and_harms_nothing},
};
UNIT_SUITE("link_traffic", link_traffic_tests);
