/* SPDX-License-Identifier: MIT
 *
 * How far a source may go, and when its link is told that it may.
 */
#include "hosts.h"
#include "unit.h"

/* --- Credit ----------------------------------------------------------------------------------- */

static void a_source_stops_at_the_credit_and_goes_on_with_more(void)
{
    struct talk talk = talk_create();

    port_set_limit(talk.proxy, 200);
    for (uint64_t i = 0; i < 100; i++)
        EXPECT_EQUAL(test_send(talk.proxy, i), MACH_MSG_SUCCESS);
    pair_settle(&talk.pair);
    EXPECT_EQUAL(mnl_flow_next(talk.pair.nodes[1]), TEST_WINDOW);
    EXPECT_EQUAL(mnl_flow_credit(talk.pair.nodes[1]), TEST_WINDOW);
    for (uint64_t i = 0; i < 10; i++)
        EXPECT(test_receive(talk.principal, i));
    EXPECT_EQUAL(mnl_flow_credit(talk.pair.nodes[1]), TEST_WINDOW + 10);
    pair_settle(&talk.pair);
    EXPECT_EQUAL(mnl_flow_next(talk.pair.nodes[1]), TEST_WINDOW + 10);
    for (uint64_t i = 10; i < 100; i++) {
        EXPECT(test_receive(talk.principal, i));
        pair_settle(&talk.pair);
    }
    talk_destroy(&talk);
}

static void credit_never_falls_whatever_the_peer_says(void)
{
    struct talk talk = talk_create();

    mnl_flow_peer(talk.pair.nodes[0], 0, 80);
    mnl_flow_peer(talk.pair.nodes[0], 0, 3);
    port_set_limit(talk.proxy, 200);
    for (uint64_t i = 0; i < 100; i++)
        EXPECT_EQUAL(test_send(talk.proxy, i), MACH_MSG_SUCCESS);
    for (unsigned i = 0; i < 80; i++) {
        mnl_msg_t msg = pair_fetch(&talk.pair, 0);

        EXPECT(msg != MNL_MSG_NULL);
        mnl_msg_complete(talk.pair.nodes[0], msg, 0);
    }
    EXPECT(pair_fetch(&talk.pair, 0) == MNL_MSG_NULL);
    EXPECT_EQUAL(mnl_terminate(talk.pair.nodes[0], 0), KERN_SUCCESS);
    talk_destroy(&talk);
}

static void a_boastful_peer_is_clamped_by_local_policy(void)
{
    struct talk talk = talk_create();
    unsigned fetched = 0;
    mnl_msg_t msg;

    mnl_flow_peer(talk.pair.nodes[0], 0, 1000000);
    port_set_limit(talk.proxy, 1000);
    for (uint64_t i = 0; i < 300; i++)
        EXPECT_EQUAL(test_send(talk.proxy, i), MACH_MSG_SUCCESS);
    while ((msg = pair_fetch(&talk.pair, 0)) != MNL_MSG_NULL) {
        mnl_msg_complete(talk.pair.nodes[0], msg, 0);
        fetched++;
    }
    EXPECT_EQUAL(fetched, TEST_WINDOW + 64);
    EXPECT_EQUAL(mnl_terminate(talk.pair.nodes[0], 0), KERN_SUCCESS);
    talk_destroy(&talk);
}

static void credit_from_the_other_half_of_the_numbers_stops_nobody(void)
{
    struct talk talk = talk_create();
    mnl_msg_t msg;

    mnl_flow_peer(talk.pair.nodes[0], 0, 0x7fffffffu);
    mnl_flow_peer(talk.pair.nodes[0], 0, 0xfffffffeu);
    EXPECT_EQUAL(test_send(talk.proxy, 1), MACH_MSG_SUCCESS);
    msg = pair_fetch(&talk.pair, 0);
    EXPECT(msg != MNL_MSG_NULL);
    mnl_msg_complete(talk.pair.nodes[0], msg, 0);
    EXPECT_EQUAL(mnl_terminate(talk.pair.nodes[0], 0), KERN_SUCCESS);
    talk_destroy(&talk);
}

static void an_ack_of_what_was_never_sent_is_ignored_and_counted(void)
{
    struct talk talk = talk_create();
    struct outcomes outcomes = {0};

    EXPECT_EQUAL(test_send_counted(talk.proxy, 0, &outcomes), MACH_MSG_SUCCESS);
    mnl_msg_complete(talk.pair.nodes[0], pair_fetch(&talk.pair, 0), 0);
    mnl_flow_peer(talk.pair.nodes[0], 2, TEST_WINDOW);
    EXPECT_EQUAL(outcomes.settled, 0);
    mnl_flow_peer(talk.pair.nodes[0], 1, TEST_WINDOW);
    EXPECT_EQUAL(outcomes.settled, 1);
    talk_destroy(&talk);
}

static void a_stuck_receiver_does_not_stall_others_until_the_window_is_used_up(void)
{
    struct talk talk = talk_create();
    struct port *stuck, *stuck_proxy;

    REQUIRE(port_create(talk.pair.hosts[1], &stuck) == 0);
    stuck_proxy = port_from_name(talk.pair.hosts[0], port_name(stuck));
    port_set_limit(stuck_proxy, 100);
    for (uint64_t i = 0; i < TEST_WINDOW - 1; i++)
        EXPECT_EQUAL(test_send(stuck_proxy, i), MACH_MSG_SUCCESS);
    pair_settle(&talk.pair);
    for (uint64_t i = 0; i < 1000; i++) {
        EXPECT_EQUAL(test_send(talk.proxy, i), MACH_MSG_SUCCESS);
        pair_settle(&talk.pair);
        REQUIRE(test_receive(talk.principal, i));
        pair_settle(&talk.pair);
    }
    EXPECT_EQUAL(mnl_flow_ack(talk.pair.nodes[1]), 0);
    /* One more for the stuck port, and the window is gone. */
    EXPECT_EQUAL(test_send(stuck_proxy, TEST_WINDOW - 1), MACH_MSG_SUCCESS);
    pair_settle(&talk.pair);
    EXPECT_EQUAL(test_send(talk.proxy, 1000), MACH_MSG_SUCCESS);
    pair_settle(&talk.pair);
    EXPECT(!test_receive(talk.principal, 1000));
    for (uint64_t i = 0; i < TEST_WINDOW; i++)
        EXPECT(test_receive(stuck, i));
    pair_settle(&talk.pair);
    EXPECT(test_receive(talk.principal, 1000));
    port_release(stuck_proxy);
    port_destroy(stuck);
    talk_destroy(&talk);
}

/* --- Waking the link -------------------------------------------------------------------------- */

static void the_link_is_told_once_that_there_is_work(void)
{
    struct talk talk = talk_create();
    struct event *events[2] = {&talk.pair.hosts[0]->link_event, &talk.pair.hosts[1]->link_event};

    pair_settle(&talk.pair);
    (void)event_poll(events[0]);
    (void)event_poll(events[1]);
    EXPECT_EQUAL(test_send(talk.proxy, 0), MACH_MSG_SUCCESS);
    EXPECT(event_poll(events[0]));
    EXPECT_EQUAL(test_send(talk.proxy, 1), MACH_MSG_SUCCESS);
    EXPECT(!event_poll(events[0]));
    pair_settle(&talk.pair);
    EXPECT_EQUAL(test_send(talk.proxy, 2), MACH_MSG_SUCCESS);
    EXPECT(event_poll(events[0]));
    /* And when an acknowledgement is owed. */
    EXPECT(!event_poll(events[1]));
    EXPECT(test_receive(talk.principal, 0));
    EXPECT(event_poll(events[1]));
    EXPECT(test_receive(talk.principal, 1));
    EXPECT(!event_poll(events[1]));
    pair_settle(&talk.pair);
    EXPECT(test_receive(talk.principal, 2));
    talk_destroy(&talk);
}

static void the_link_is_told_when_credit_arrives_for_what_waits(void)
{
    struct talk talk = talk_create();
    struct event *event = &talk.pair.hosts[0]->link_event;

    port_set_limit(talk.proxy, 100);
    for (uint64_t i = 0; i < TEST_WINDOW + 1; i++)
        EXPECT_EQUAL(test_send(talk.proxy, i), MACH_MSG_SUCCESS);
    pair_settle(&talk.pair);
    (void)event_poll(event);
    EXPECT(test_receive(talk.principal, 0));
    EXPECT(!event_poll(event));
    pair_headers(&talk.pair, 1);
    EXPECT(event_poll(event));
    pair_settle(&talk.pair);
    for (uint64_t i = 1; i < TEST_WINDOW + 1; i++)
        EXPECT(test_receive(talk.principal, i));
    talk_destroy(&talk);
}

static void a_sender_at_the_limit_of_a_proxy_waits_for_settlement(void)
{
    struct talk talk = talk_create();

    port_set_limit(talk.proxy, 2);
    EXPECT_EQUAL(test_send(talk.proxy, 0), MACH_MSG_SUCCESS);
    EXPECT_EQUAL(test_send(talk.proxy, 1), MACH_MSG_SUCCESS);
    pair_settle(&talk.pair);
    EXPECT_EQUAL(test_send(talk.proxy, 2), MACH_SEND_TIMED_OUT);
    EXPECT(test_receive(talk.principal, 0));
    EXPECT_EQUAL(test_send(talk.proxy, 2), MACH_SEND_TIMED_OUT);
    pair_headers(&talk.pair, 1);
    EXPECT_EQUAL(test_send(talk.proxy, 2), MACH_MSG_SUCCESS);
    pair_settle(&talk.pair);
    EXPECT(test_receive(talk.principal, 1));
    EXPECT(test_receive(talk.principal, 2));
    talk_destroy(&talk);
}

static const struct unit_test credit_tests[] = {
    {"a source stops at the credit and goes on with more",
     a_source_stops_at_the_credit_and_goes_on_with_more},
    {"credit never falls, whatever the peer says", credit_never_falls_whatever_the_peer_says},
    {"a boastful peer is clamped by local policy", a_boastful_peer_is_clamped_by_local_policy},
    {"credit from the other half of the numbers stops nobody",
     credit_from_the_other_half_of_the_numbers_stops_nobody},
    {"an ack of what was never sent is ignored and counted",
     an_ack_of_what_was_never_sent_is_ignored_and_counted},
    {"a stuck receiver does not stall others until the window is used up",
     a_stuck_receiver_does_not_stall_others_until_the_window_is_used_up},
    {"the link is told once that there is work", the_link_is_told_once_that_there_is_work},
    {"the link is told when credit arrives for what waits",
     the_link_is_told_when_credit_arrives_for_what_waits},
    {"a sender at the limit of a proxy waits for settlement",
     a_sender_at_the_limit_of_a_proxy_waits_for_settlement},
};
UNIT_SUITE("credit", credit_tests);
