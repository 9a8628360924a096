/* SPDX-License-Identifier: MIT
 *
 * When a destination acknowledges, and how it tells what was settled out of order.
 */
#include "hosts.h"
#include "unit.h"

/* --- Acknowledgement -------------------------------------------------------------------------- */

static void an_ack_is_due_after_a_while_or_at_once_after_many(void)
{
    struct talk talk = talk_create();
    mnl_node_info_t node = talk.pair.nodes[1];
    uint64_t before_ns = clock_now_ns(), deadline_ns;

    for (uint64_t i = 0; i < TEST_ACK_COUNT; i++)
        EXPECT_EQUAL(test_send(talk.proxy, i), MACH_MSG_SUCCESS);
    pair_settle(&talk.pair);
    EXPECT_EQUAL(mnl_flow_ack_deadline_ns(node), DEADLINE_NEVER);
    EXPECT(test_receive(talk.principal, 0));
    deadline_ns = mnl_flow_ack_deadline_ns(node);
    EXPECT(deadline_ns >= before_ns + TEST_ACK_DELAY_NS);
    EXPECT(deadline_ns <= clock_now_ns() + TEST_ACK_DELAY_NS);
    EXPECT_EQUAL(mnl_flow_ack_deadline_ns(node), deadline_ns);
    for (uint64_t i = 1; i < TEST_ACK_COUNT; i++)
        EXPECT(test_receive(talk.principal, i));
    EXPECT_EQUAL(mnl_flow_ack_deadline_ns(node), 0);
    /* A frame made before the last of them tells all but one. */
    mnl_flow_acknowledged(node, clock_now_ns());
    EXPECT_EQUAL(mnl_flow_ack_deadline_ns(node), 0);
    pair_headers(&talk.pair, 1);
    EXPECT_EQUAL(mnl_flow_ack_deadline_ns(node), DEADLINE_NEVER);
    talk_destroy(&talk);
}

static void what_is_settled_out_of_order_is_told_by_a_snapshot(void)
{
    struct talk talk = talk_create();
    struct port *stuck, *stuck_proxy;
    struct outcomes outcomes = {0}, stuck_outcomes = {0};
    uint64_t now_ns = clock_now_ns();
    mnl_msg_t msg;

    REQUIRE(port_create(talk.pair.hosts[1], &stuck) == 0);
    stuck_proxy = port_from_name(talk.pair.hosts[0], port_name(stuck));
    EXPECT_EQUAL(test_send_counted(stuck_proxy, 0, &stuck_outcomes), MACH_MSG_SUCCESS);
    for (uint64_t i = 1; i < 4; i++)
        EXPECT_EQUAL(test_send_counted(talk.proxy, i, &outcomes), MACH_MSG_SUCCESS);
    pair_settle(&talk.pair);
    for (uint64_t i = 1; i < 4; i++)
        EXPECT(test_receive(talk.principal, i));
    /* The header cannot say it, and nobody is in a hurry yet. */
    EXPECT_EQUAL(mnl_flow_ack(talk.pair.nodes[1]), 0);
    EXPECT(mnl_flow_ack_deadline_ns(talk.pair.nodes[1]) != DEADLINE_NEVER);
    EXPECT(pair_fetch(&talk.pair, 1) == MNL_MSG_NULL);
    mnl_flow_acknowledged(talk.pair.nodes[1], now_ns);
    EXPECT(pair_fetch(&talk.pair, 1) == MNL_MSG_NULL);
    mnl_flow_acknowledged(talk.pair.nodes[1], clock_now_ns() + 2 * TEST_ACK_DELAY_NS);
    msg = pair_fetch(&talk.pair, 1);
    REQUIRE(msg != MNL_MSG_NULL);
    EXPECT_EQUAL(msg->cmd, FLIPC_ACK);
    EXPECT_EQUAL(msg->flags, 0);
    EXPECT_EQUAL(msg->size, 20);
    EXPECT_EQUAL(pair_deliver(&talk.pair, 0, pair_copy(&talk.pair, 0, msg)), KERN_SUCCESS);
    mnl_msg_complete(talk.pair.nodes[1], msg, 0);
    EXPECT_EQUAL(outcomes.settled, 3);
    EXPECT_EQUAL(stuck_outcomes.settled, 0);
    EXPECT_EQUAL(mnl_flow_ack_deadline_ns(talk.pair.nodes[1]), DEADLINE_NEVER);
    /* Sixteen settled apart make one at once. */
    for (uint64_t i = 0; i < TEST_ACK_COUNT; i++)
        EXPECT_EQUAL(test_send_counted(talk.proxy, i, &outcomes), MACH_MSG_SUCCESS);
    while (pair_move_one(&talk.pair, 0))
        ;
    for (uint64_t i = 0; i < TEST_ACK_COUNT; i++)
        EXPECT(test_receive(talk.principal, i));
    EXPECT(pair_move_one(&talk.pair, 1));
    EXPECT_EQUAL(outcomes.settled, 3 + TEST_ACK_COUNT);
    EXPECT(test_receive(stuck, 0));
    pair_settle(&talk.pair);
    EXPECT_EQUAL(stuck_outcomes.settled, 1);
    port_release(stuck_proxy);
    port_destroy(stuck);
    talk_destroy(&talk);
}

static void a_snapshot_lost_with_its_link_is_made_again(void)
{
    struct talk talk = talk_create();
    struct outcomes outcomes = {0};
    struct port *other, *other_proxy;

    REQUIRE(port_create(talk.pair.hosts[1], &other) == 0);
    other_proxy = port_from_name(talk.pair.hosts[0], port_name(other));
    EXPECT_EQUAL(test_send(talk.proxy, 0), MACH_MSG_SUCCESS);
    for (uint64_t i = 0; i < TEST_ACK_COUNT; i++)
        EXPECT_EQUAL(test_send_counted(other_proxy, i, &outcomes), MACH_MSG_SUCCESS);
    pair_settle(&talk.pair);
    for (uint64_t i = 0; i < TEST_ACK_COUNT; i++)
        EXPECT(test_receive(other, i));
    mnl_msg_complete(talk.pair.nodes[1], pair_fetch(&talk.pair, 1), 0);
    EXPECT(pair_fetch(&talk.pair, 1) == MNL_MSG_NULL);
    mnl_flow_resume(talk.pair.nodes[1], mnl_flow_next(talk.pair.nodes[0]));
    pair_settle(&talk.pair);
    EXPECT_EQUAL(outcomes.settled, TEST_ACK_COUNT);
    EXPECT(test_receive(talk.principal, 0));
    port_release(other_proxy);
    port_destroy(other);
    talk_destroy(&talk);
}

static const struct unit_test ack_tests[] = {
    {"an ack is due after a while, or at once after many",
     an_ack_is_due_after_a_while_or_at_once_after_many},
    {"what is settled out of order is told by a snapshot",
     what_is_settled_out_of_order_is_told_by_a_snapshot},
    {"a snapshot lost with its link is made again", a_snapshot_lost_with_its_link_is_made_again},
};
UNIT_SUITE("ack", ack_tests);
