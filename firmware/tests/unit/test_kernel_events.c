/* SPDX-License-Identifier: MIT
 *
 * What the layers report becomes black-box events, and the two facts that bring-up waits for.
 */
#include "unit.h"
#include "whole_node.h"

#include <abi/frame.h>
#include <core/kernel_events.h>

#define ARENA_BYTES (1u << 20)

struct eventful_node {
    struct test_node node;
    struct kernel_events events;
    struct link_observer links;
};

static void eventful_open(struct eventful_node *eventful)
{
    test_node_open(&eventful->node, 1, 0x100000001, ARENA_BYTES, false);
    kernel_events_open(&eventful->events, &eventful->node.host);
    eventful->links = kernel_events_link_observer(&eventful->events);
}

static struct test_event newest(struct eventful_node *eventful, uint16_t kind)
{
    struct test_event event = {.kind = 0};

    EXPECT(test_node_count_events(&eventful->node, kind, &event) == 1);
    return event;
}

static void test_a_node_up_and_dead(void)
{
    struct eventful_node eventful;
    struct test_node other;
    struct test_cable cable;

    eventful_open(&eventful);
    test_node_open(&other, 2, 0x200000005, ARENA_BYTES, false);
    test_cable_open(&cable, &eventful.node, &other);
    struct test_event event = newest(&eventful, BLACKBOX_EVENT_NODE_UP);
    EXPECT(event.peer == 2 && event.arg0 == 0x200000005 && event.link == BLACKBOX_NO_LINK);
    EXPECT(node_declare_dead(&eventful.node.host, 2, 0x200000005, NODE_DEATH_SILENCE) == 0);
    event = newest(&eventful, BLACKBOX_EVENT_NODE_DEAD);
    EXPECT(event.peer == 2 && event.arg0 == 0x200000005);
    EXPECT(event.arg1 == NODE_DEATH_SILENCE);
    EXPECT(!kernel_events_life_over(&eventful.events));
    test_cable_close(&cable);
    test_node_close(&other);
    test_node_close(&eventful.node);
}

static void test_the_management_link_up_once_both_ways(void)
{
    struct eventful_node eventful;
    struct link_change change = {.link = 1,
                                 .peer = 2,
                                 .rx_up = true,
                                 .tx_up = true,
                                 .epoch = 3,
                                 .peer_epoch = 4,
                                 .reason = LINK_REASON_TRAINED};

    eventful_open(&eventful);
    eventful.links.state(eventful.links.context, &change);
    EXPECT(!kernel_events_management_up(&eventful.events));
    struct test_event event = newest(&eventful, BLACKBOX_EVENT_LINK_STATE);
    EXPECT(event.link == 1 && event.peer == 2);
    EXPECT(event.arg0 == 3 && event.arg1 == (4ull << 32 | 3) && event.arg2 == LINK_REASON_TRAINED);
    change.link = MANAGEMENT_LINK;
    change.tx_up = false;
    eventful.links.state(eventful.links.context, &change);
    EXPECT(!kernel_events_management_up(&eventful.events));
    EXPECT(!event_poll(&eventful.events.wake));
    change.tx_up = true;
    eventful.links.state(eventful.links.context, &change);
    EXPECT(kernel_events_management_up(&eventful.events));
    EXPECT(event_poll(&eventful.events.wake));
    test_node_close(&eventful.node);
}

static void test_carrier_refusal_and_drop(void)
{
    struct eventful_node eventful;

    eventful_open(&eventful);
    eventful.links.carrier(eventful.links.context, 2, 5, false, true, 9);
    struct test_event event = newest(&eventful, BLACKBOX_EVENT_CARRIER);
    EXPECT(event.link == 2 && event.peer == 5 && event.arg0 == 2 && event.arg1 == 9);
    eventful.links.refused(eventful.links.context, 2, 5, LINK_REFUSAL_CONSTANTS, 77, false);
    event = newest(&eventful, BLACKBOX_EVENT_LINK_REFUSED);
    EXPECT(event.arg0 == LINK_REFUSAL_CONSTANTS && event.arg1 == 77 && event.arg2 == 2);
    eventful.links.drop(eventful.links.context, 2, 5, LINK_DROP_RESYNC, 1234);
    event = newest(&eventful, BLACKBOX_EVENT_LINK_DROP);
    EXPECT(event.arg0 == LINK_DROP_RESYNC && event.arg1 == 1234);
    test_node_close(&eventful.node);
}

static void test_the_end_of_this_life_is_told_once(void)
{
    struct eventful_node eventful;

    eventful_open(&eventful);
    eventful.links.stale(eventful.links.context, 0x100000001);
    EXPECT(kernel_events_life_over(&eventful.events));
    EXPECT(event_poll(&eventful.events.wake));
    eventful.events.nodes.self_dead(eventful.events.nodes.context, 0x100000001, NODE_DEATH_HOST);
    EXPECT(newest(&eventful, BLACKBOX_EVENT_STALE).arg0 == 0x100000001);
    test_node_close(&eventful.node);
}

static const struct unit_test kernel_events_tests[] = {
    {"a node up and dead", test_a_node_up_and_dead},
    {"the management link up once both ways", test_the_management_link_up_once_both_ways},
    {"carrier, refusal and drop", test_carrier_refusal_and_drop},
    {"the end of this life is told once", test_the_end_of_this_life_is_told_once},
};
UNIT_SUITE("kernel_events", kernel_events_tests);
