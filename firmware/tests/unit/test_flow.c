/* SPDX-License-Identifier: MIT
 *
 * FLIPC between two hosts, message by message: what docs/spec/flipc.md section 3 promises, each
 * promise a test.
 */
#include "core/heap.h"
#include "core/node.h"
#include "hosts.h"
#include "unit.h"
#include <string.h>

/* End 1 has a principal under the kernel's well-known name, end 0 a proxy for it. */
struct talk {
    struct pair pair;
    struct port *principal;
    struct port *proxy;
};

static struct talk talk_create(void)
{
    struct talk talk = {.pair = pair_create()};

    REQUIRE(port_create(talk.pair.hosts[1], &talk.principal) == 0);
    REQUIRE(port_publish(talk.principal, TEST_KERNEL_PORT(talk.pair.hosts[1])) == 0);
    talk.proxy = port_from_name(talk.pair.hosts[0], TEST_KERNEL_PORT(talk.pair.hosts[1]));
    REQUIRE(talk.proxy != NULL);
    return talk;
}

/* Nothing may be left but what every host has. */
static void talk_destroy(struct talk *talk)
{
    port_release(talk->proxy);
    if (talk->principal != NULL)
        port_destroy(talk->principal);
    pair_settle(&talk->pair);
    for (int i = 0; i < 2; i++) {
        struct node_statistics statistics = test_statistics(talk->pair.hosts[i]);

        EXPECT_EQUAL(statistics.messages, 0);
        EXPECT_EQUAL(statistics.ports, 0);
        EXPECT_EQUAL(statistics.names, 0);
        /* What was never transmitted may have failed, too. */
        EXPECT(statistics.sent <= statistics.settled + statistics.failed + statistics.unknown);
    }
    pair_destroy(&talk->pair);
}

/* --- Settlement ------------------------------------------------------------------------------- */

static void a_message_is_settled_once_when_it_is_received_and_not_before(void)
{
    struct talk talk = talk_create();
    struct outcomes outcomes = {0};

    EXPECT_EQUAL(test_send_counted(talk.proxy, 7, &outcomes), MACH_MSG_SUCCESS);
    pair_settle(&talk.pair);
    EXPECT_EQUAL(outcomes.settled, 0);
    EXPECT_EQUAL(mnl_flow_ack(talk.pair.nodes[1]), 0);
    EXPECT_EQUAL(mnl_flow_next(talk.pair.nodes[1]), 1);
    EXPECT(test_receive(talk.principal, 7));
    EXPECT_EQUAL(outcomes.settled, 0);
    pair_settle(&talk.pair);
    EXPECT_EQUAL(outcomes.settled, 1);
    EXPECT_EQUAL(mnl_flow_ack(talk.pair.nodes[1]), 1);
    pair_settle(&talk.pair);
    EXPECT_EQUAL(outcomes.settled + outcomes.failed + outcomes.unknown, 1);
    talk_destroy(&talk);
}

static void the_message_arrives_as_it_was_sent(void)
{
    struct talk talk = talk_create();
    struct kmsg *kmsg = kmsg_allocate(talk.pair.hosts[0], 1000), *received;
    uint8_t *body = kmsg_body(kmsg);

    for (size_t i = 0; i < 1000; i++)
        body[i] = (uint8_t)(i * 7);
    REQUIRE(kmsg_set_body_size(kmsg, 999) == 0);
    kmsg_set_id(kmsg, -5);
    EXPECT_EQUAL(mach_msg_send(kmsg, talk.proxy, NULL, PORT_NONE, 0), MACH_MSG_SUCCESS);
    pair_settle(&talk.pair);
    REQUIRE(mach_msg_receive(talk.principal, &received, 0) == MACH_MSG_SUCCESS);
    EXPECT_EQUAL(kmsg_body_size(received), 999);
    EXPECT(kmsg_id(received) == -5);
    EXPECT_EQUAL(kmsg_source_node(received), 1);
    EXPECT_EQUAL(kmsg_source_incarnation(received), TEST_INCARNATION(1));
    body = kmsg_body(received);
    for (size_t i = 0; i < 999; i++)
        REQUIRE(body[i] == (uint8_t)(i * 7));
    kmsg_free(received);
    talk_destroy(&talk);
}

static void the_wire_form_is_the_specified_one(void)
{
    static const uint8_t expected[] = {
        2,    1,    0, 1, 1,    0, 0, 0, /* sub, cmd, qos, flags, node id */
        2,    0,    0, 0, 0,    0, 2, 0, /* object: node 2, tag 0, serial 2 */
        0,    0,    0, 0, 40,   0, 0, 0, /* sequence number, size */
        0x11, 0x12, 0, 0, 40,   0, 0, 0, /* bits, size */
        2,    0,    0, 0, 0,    0, 2, 0, /* remote */
        1,    0,    0, 0, 2,    1, 1, 0, /* local: node 1, tag 0x102, serial 1 */
        0,    0,    0, 0, 0x64, 0, 0, 0, /* voucher, id */
        8,    7,    6, 5, 4,    3, 2, 1, /* body */
    };
    struct talk talk = talk_create();
    struct kmsg *kmsg = test_message(talk.pair.hosts[0], 0x0102030405060708);
    struct port *reply;
    mnl_msg_t msg;

    REQUIRE(port_create(talk.pair.hosts[0], &reply) == 0);
    kmsg_set_id(kmsg, 0x64);
    EXPECT_EQUAL(mach_msg_send(kmsg, talk.proxy, reply, PORT_SEND_ONCE, 0), MACH_MSG_SUCCESS);
    msg = pair_fetch(&talk.pair, 0);
    REQUIRE(msg != MNL_MSG_NULL);
    EXPECT_EQUAL(msg->size + sizeof(*msg), sizeof(expected));
    EXPECT(memcmp(msg, expected, sizeof(expected)) == 0);
    EXPECT_EQUAL(pair_deliver(&talk.pair, 1, pair_copy(&talk.pair, 1, msg)), KERN_SUCCESS);
    mnl_msg_complete(talk.pair.nodes[0], msg, 0);
    EXPECT(test_receive(talk.principal, 0x0102030405060708));
    port_destroy(reply);
    talk_destroy(&talk);
}

static void messages_to_a_port_keep_their_order_while_ports_take_turns(void)
{
    struct talk talk = talk_create();
    struct port *other, *other_proxy;
    static const uint64_t turns[] = {0, 100, 1, 101, 2, 102};

    REQUIRE(port_create(talk.pair.hosts[1], &other) == 0);
    other_proxy = port_from_name(talk.pair.hosts[0], port_name(other));
    REQUIRE(other_proxy != NULL);
    for (uint64_t i = 0; i < 3; i++)
        EXPECT_EQUAL(test_send(talk.proxy, i), MACH_MSG_SUCCESS);
    for (uint64_t i = 100; i < 103; i++)
        EXPECT_EQUAL(test_send(other_proxy, i), MACH_MSG_SUCCESS);
    for (size_t i = 0; i < 6; i++) {
        EXPECT(pair_move_one(&talk.pair, 0));
        EXPECT(test_receive(turns[i] < 100 ? talk.principal : other, turns[i]));
    }
    pair_settle(&talk.pair);
    port_release(other_proxy);
    port_destroy(other);
    talk_destroy(&talk);
}

/* --- Repetition and loss ---------------------------------------------------------------------- */

static void what_a_cut_swallowed_is_sent_again_and_nothing_twice(void)
{
    struct talk talk = talk_create();
    struct outcomes outcomes = {0};

    for (uint64_t i = 0; i < 6; i++)
        EXPECT_EQUAL(test_send_counted(talk.proxy, i, &outcomes), MACH_MSG_SUCCESS);
    EXPECT(pair_move_one(&talk.pair, 0));
    EXPECT(pair_move_one(&talk.pair, 0));
    for (int i = 0; i < 3; i++) { /* fetched, and lost with the link */
        mnl_msg_t msg = pair_fetch(&talk.pair, 0);

        REQUIRE(msg != MNL_MSG_NULL);
        mnl_msg_complete(talk.pair.nodes[0], msg, 0);
    }
    EXPECT_EQUAL(mnl_set_link_down(talk.pair.nodes[0], MNL_LINK_TX, 0), KERN_SUCCESS);
    EXPECT(pair_fetch(&talk.pair, 0) == MNL_MSG_NULL);
    EXPECT_EQUAL(mnl_set_link_state(talk.pair.nodes[0], MNL_LINK_TX, 0), KERN_SUCCESS);
    mnl_flow_resume(talk.pair.nodes[0], mnl_flow_next(talk.pair.nodes[1]));
    pair_settle(&talk.pair);
    for (uint64_t i = 0; i < 6; i++)
        EXPECT(test_receive(talk.principal, i));
    EXPECT_EQUAL(test_statistics(talk.pair.hosts[1]).duplicates, 0);
    pair_settle(&talk.pair);
    EXPECT_EQUAL(outcomes.settled, 6);
    talk_destroy(&talk);
}

static void a_resume_that_knows_nothing_repeats_and_the_receiver_drops_the_duplicates(void)
{
    struct talk talk = talk_create();
    struct outcomes outcomes = {0};

    for (uint64_t i = 0; i < 4; i++)
        EXPECT_EQUAL(test_send_counted(talk.proxy, i, &outcomes), MACH_MSG_SUCCESS);
    pair_settle(&talk.pair);
    mnl_flow_resume(talk.pair.nodes[0], 0);
    EXPECT_EQUAL(mnl_flow_ack_deadline_ns(talk.pair.nodes[1]), DEADLINE_NEVER);
    EXPECT(pair_move_one(&talk.pair, 0));
    EXPECT_EQUAL(mnl_flow_ack_deadline_ns(talk.pair.nodes[1]), 0);
    pair_settle(&talk.pair);
    EXPECT_EQUAL(test_statistics(talk.pair.hosts[1]).duplicates, 4);
    for (uint64_t i = 0; i < 4; i++)
        EXPECT(test_receive(talk.principal, i));
    EXPECT(!test_receive(talk.principal, 4));
    pair_settle(&talk.pair);
    EXPECT_EQUAL(outcomes.settled, 4);
    talk_destroy(&talk);
}

static void a_resume_beyond_what_was_sent_starts_at_the_first_outstanding(void)
{
    struct talk talk = talk_create();

    EXPECT_EQUAL(test_send(talk.proxy, 0), MACH_MSG_SUCCESS);
    mnl_msg_complete(talk.pair.nodes[0], pair_fetch(&talk.pair, 0), 0);
    mnl_flow_resume(talk.pair.nodes[0], 1000);
    pair_settle(&talk.pair);
    EXPECT(test_receive(talk.principal, 0));
    talk_destroy(&talk);
}

static void a_message_that_was_settled_while_the_link_held_it_is_freed_by_the_link(void)
{
    struct talk talk = talk_create();
    struct outcomes outcomes = {0};
    mnl_msg_t msg, again;

    EXPECT_EQUAL(test_send_counted(talk.proxy, 0, &outcomes), MACH_MSG_SUCCESS);
    msg = pair_fetch(&talk.pair, 0);
    EXPECT_EQUAL(pair_deliver(&talk.pair, 1, pair_copy(&talk.pair, 1, msg)), KERN_SUCCESS);
    mnl_flow_resume(talk.pair.nodes[0], 0);
    again = pair_fetch(&talk.pair, 0);
    EXPECT(again == msg);
    EXPECT(test_receive(talk.principal, 0));
    pair_headers(&talk.pair, 1);
    EXPECT_EQUAL(outcomes.settled, 1);
    EXPECT_EQUAL(test_statistics(talk.pair.hosts[0]).messages, 1);
    mnl_msg_complete(talk.pair.nodes[0], msg, 0);
    EXPECT_EQUAL(test_statistics(talk.pair.hosts[0]).messages, 1);
    mnl_msg_complete(talk.pair.nodes[0], again, 0);
    EXPECT_EQUAL(test_statistics(talk.pair.hosts[0]).messages, 0);
    EXPECT_EQUAL(outcomes.settled, 1);
    talk_destroy(&talk);
}

/* Both ends as after so many messages, all settled. */
static void continue_at(struct talk *talk, uint32_t sequence)
{
    struct flow *source = &node_of_handle(talk->pair.nodes[0])->flow;
    struct flow *sink = &node_of_handle(talk->pair.nodes[1])->flow;

    source->next_sequence = source->peer_ack = sequence;
    source->peer_credit = sequence + TEST_WINDOW;
    sink->next_expected = sink->ack = sink->ack_read = sequence;
    sink->credit = sink->credit_read = sequence + TEST_WINDOW;
}

static void sequence_numbers_wrap(void)
{
    struct talk talk = talk_create();
    struct outcomes outcomes = {0};

    continue_at(&talk, UINT32_MAX - 40);
    for (uint64_t i = 0; i < 50; i++)
        EXPECT_EQUAL(test_send_counted(talk.proxy, i, &outcomes), MACH_MSG_SUCCESS);
    for (unsigned i = 0; i < 45; i++)
        EXPECT(pair_move_one(&talk.pair, 0));
    mnl_flow_resume(talk.pair.nodes[0], UINT32_MAX - 2); /* it says that 38 arrived */
    pair_settle(&talk.pair);
    EXPECT_EQUAL(test_statistics(talk.pair.hosts[1]).duplicates, 7);
    for (uint64_t i = 0; i < 50; i++)
        EXPECT(test_receive(talk.principal, i));
    pair_settle(&talk.pair);
    EXPECT_EQUAL(outcomes.settled, 50);
    EXPECT_EQUAL(mnl_flow_next(talk.pair.nodes[1]), 9);
    EXPECT_EQUAL(mnl_flow_ack(talk.pair.nodes[1]), 9);
    EXPECT_EQUAL(mnl_flow_credit(talk.pair.nodes[1]), 9 + TEST_WINDOW);
    talk_destroy(&talk);
}

static void a_source_never_runs_so_far_ahead_that_numbers_become_ambiguous(void)
{
    struct talk talk = talk_create();
    struct flow *flow = &node_of_handle(talk.pair.nodes[0])->flow;
    mnl_msg_t msg;

    EXPECT_EQUAL(test_send(talk.proxy, 0), MACH_MSG_SUCCESS);
    mnl_msg_complete(talk.pair.nodes[0], pair_fetch(&talk.pair, 0), 0);
    flow->next_sequence = FLOW_SEQUENCE_SPAN - 1u; /* all in between settled past the first */
    flow->peer_credit = FLOW_SEQUENCE_SPAN + TEST_WINDOW;
    EXPECT_EQUAL(test_send(talk.proxy, 1), MACH_MSG_SUCCESS);
    EXPECT_EQUAL(test_send(talk.proxy, 2), MACH_MSG_SUCCESS);
    mnl_msg_complete(talk.pair.nodes[0], pair_fetch(&talk.pair, 0), 0);
    EXPECT(pair_fetch(&talk.pair, 0) == MNL_MSG_NULL);
    mnl_flow_peer(talk.pair.nodes[0], 1, FLOW_SEQUENCE_SPAN + TEST_WINDOW);
    msg = pair_fetch(&talk.pair, 0);
    EXPECT(msg != MNL_MSG_NULL);
    mnl_msg_complete(talk.pair.nodes[0], msg, 0);
    EXPECT_EQUAL(mnl_terminate(talk.pair.nodes[0], 0), KERN_SUCCESS);
    talk_destroy(&talk);
}

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

/* --- Refusal ---------------------------------------------------------------------------------- */

static void a_dead_destination_refuses_what_is_queued_and_what_comes(void)
{
    struct talk talk = talk_create();
    struct port *doomed, *doomed_proxy;
    struct outcomes outcomes = {0};

    REQUIRE(port_create(talk.pair.hosts[1], &doomed) == 0);
    doomed_proxy = port_from_name(talk.pair.hosts[0], port_name(doomed));
    for (uint64_t i = 0; i < 3; i++)
        EXPECT_EQUAL(test_send_counted(doomed_proxy, i, &outcomes), MACH_MSG_SUCCESS);
    pair_settle(&talk.pair);
    port_destroy(doomed);
    EXPECT_EQUAL(test_send_counted(doomed_proxy, 3, &outcomes), MACH_MSG_SUCCESS);
    pair_settle(&talk.pair);
    EXPECT_EQUAL(outcomes.failed, 4);
    EXPECT_EQUAL(outcomes.settled + outcomes.unknown, 0);
    EXPECT_EQUAL(test_statistics(talk.pair.hosts[1]).refused, 4);
    port_release(doomed_proxy);
    talk_destroy(&talk);
}

static void a_refused_message_holds_the_ack_until_its_refusal_is_settled(void)
{
    struct talk talk = talk_create();
    struct outcomes outcomes = {0}, later = {0};
    struct port *nobody = port_from_name(
        talk.pair.hosts[0], NAME_MAKE(2, NAME_TAG_OF_INCARNATION(TEST_INCARNATION(1)), 99));
    const struct flipc_nak_body *body;
    mnl_msg_t nak;

    EXPECT_EQUAL(test_send_counted(nobody, 0, &outcomes), MACH_MSG_SUCCESS);
    EXPECT_EQUAL(test_send_counted(talk.proxy, 1, &later), MACH_MSG_SUCCESS);
    EXPECT(pair_move_one(&talk.pair, 0));
    EXPECT(pair_move_one(&talk.pair, 0));
    EXPECT(test_receive(talk.principal, 1));
    EXPECT_EQUAL(mnl_flow_ack(talk.pair.nodes[1]), 0);
    nak = pair_fetch(&talk.pair, 1);
    REQUIRE(nak != MNL_MSG_NULL);
    body = MNL_MSG_PAYLOAD(nak);
    EXPECT_EQUAL(nak->cmd, FLIPC_NAK);
    EXPECT_EQUAL(nak->size, sizeof(*body));
    EXPECT_EQUAL(body->sequence, 0);
    EXPECT_EQUAL(body->reason, FLIPC_NAK_UNKNOWN_NAME);
    EXPECT(body->resend_to == -1);
    EXPECT_EQUAL(mnl_flow_ack(talk.pair.nodes[1]), 0);
    EXPECT_EQUAL(pair_deliver(&talk.pair, 0, pair_copy(&talk.pair, 0, nak)), KERN_SUCCESS);
    EXPECT_EQUAL(outcomes.failed, 1);
    mnl_msg_complete(talk.pair.nodes[1], nak, 0);
    EXPECT_EQUAL(mnl_flow_ack(talk.pair.nodes[1]), 0);
    pair_headers(&talk.pair, 0);
    EXPECT_EQUAL(mnl_flow_ack(talk.pair.nodes[1]), 2);
    pair_settle(&talk.pair);
    EXPECT_EQUAL(later.settled, 1);
    EXPECT_EQUAL(outcomes.settled + outcomes.unknown, 0);
    port_release(nobody);
    talk_destroy(&talk);
}

static void refusals_pass_when_the_credit_is_used_up(void)
{
    struct talk talk = talk_create();
    struct outcomes outcomes = {0};
    struct port *back, *back_proxy;
    struct port *nobody = port_from_name(
        talk.pair.hosts[0], NAME_MAKE(2, NAME_TAG_OF_INCARNATION(TEST_INCARNATION(1)), 99));

    REQUIRE(port_create(talk.pair.hosts[0], &back) == 0);
    back_proxy = port_from_name(talk.pair.hosts[1], port_name(back));
    port_set_limit(back_proxy, 200);
    for (uint64_t i = 0; i < TEST_WINDOW + 10; i++)
        EXPECT_EQUAL(test_send(back_proxy, i), MACH_MSG_SUCCESS);
    pair_settle(&talk.pair);
    EXPECT_EQUAL(mnl_flow_next(talk.pair.nodes[0]), TEST_WINDOW);
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < 40; i++)
            EXPECT_EQUAL(test_send_counted(nobody, i, &outcomes), MACH_MSG_SUCCESS);
        pair_settle(&talk.pair);
    }
    EXPECT_EQUAL(outcomes.failed, 120);
    for (uint64_t i = 0; i < TEST_WINDOW; i++)
        EXPECT(test_receive(back, i));
    pair_settle(&talk.pair);
    for (uint64_t i = TEST_WINDOW; i < TEST_WINDOW + 10; i++)
        EXPECT(test_receive(back, i));
    port_release(nobody);
    port_release(back_proxy);
    port_destroy(back);
    talk_destroy(&talk);
}

static void at_most_the_reserve_of_refusals_runs_beyond_the_credit(void)
{
    struct talk talk = talk_create();
    struct port *back, *back_proxy;
    struct port *nobody = port_from_name(
        talk.pair.hosts[0], NAME_MAKE(2, NAME_TAG_OF_INCARNATION(TEST_INCARNATION(1)), 99));
    unsigned refusals = 0;
    mnl_msg_t msg;

    REQUIRE(port_create(talk.pair.hosts[0], &back) == 0);
    back_proxy = port_from_name(talk.pair.hosts[1], port_name(back));
    for (uint64_t i = 0; i < TEST_WINDOW; i++)
        EXPECT_EQUAL(test_send(back_proxy, i), MACH_MSG_SUCCESS);
    while (pair_move_one(&talk.pair, 1))
        ;
    for (uint64_t i = 0; i < 40; i++)
        EXPECT_EQUAL(test_send(nobody, i), MACH_MSG_SUCCESS);
    while (pair_move_one(&talk.pair, 0))
        ;
    while ((msg = pair_fetch(&talk.pair, 1)) != MNL_MSG_NULL) {
        mnl_msg_complete(talk.pair.nodes[1], msg, 0);
        refusals++;
    }
    EXPECT_EQUAL(refusals, FLIPC_CONTROL_RESERVE);
    mnl_flow_resume(talk.pair.nodes[1], mnl_flow_next(talk.pair.nodes[0]));
    pair_settle(&talk.pair);
    for (uint64_t i = 0; i < TEST_WINDOW; i++)
        EXPECT(test_receive(back, i));
    pair_settle(&talk.pair);
    port_release(nobody);
    port_release(back_proxy);
    port_destroy(back);
    talk_destroy(&talk);
}

/* --- Reply ports ------------------------------------------------------------------------------ */

static void a_hundred_thousand_calls_leave_nothing_behind(void)
{
    struct talk talk = talk_create();
    struct port *client;
    struct heap_statistics before[2];
    struct kmsg *kmsg;

    REQUIRE(port_create(talk.pair.hosts[0], &client) == 0);
    EXPECT(port_name(client) != 0);
    for (int i = 0; i < 2; i++)
        before[i] = heap_statistics(talk.pair.hosts[i]);
    for (uint64_t i = 0; i < 100000; i++) {
        enum port_disposition disposition = i & 1 ? PORT_SEND : PORT_SEND_ONCE;
        struct port *reply;

        REQUIRE(mach_msg_send(test_message(talk.pair.hosts[0], i), talk.proxy, client, disposition,
                              0) == MACH_MSG_SUCCESS);
        REQUIRE(pair_move_one(&talk.pair, 0));
        REQUIRE(mach_msg_receive(talk.principal, &kmsg, 0) == MACH_MSG_SUCCESS);
        REQUIRE(kmsg_reply_disposition(kmsg) == disposition);
        reply = kmsg_take_reply_port(kmsg);
        REQUIRE(reply != NULL && port_name(reply) == port_name(client));
        REQUIRE(mach_msg_send(kmsg, reply, NULL, PORT_NONE, 0) == MACH_MSG_SUCCESS);
        port_release(reply);
        REQUIRE(pair_move_one(&talk.pair, 1));
        REQUIRE(test_receive(client, i));
    }
    pair_settle(&talk.pair);
    for (int i = 0; i < 2; i++)
        EXPECT_EQUAL(heap_statistics(talk.pair.hosts[i]).used_bytes, before[i].used_bytes);
    EXPECT_EQUAL(test_statistics(talk.pair.hosts[1]).ports, 1);
    port_destroy(client);
    talk_destroy(&talk);
}

static void a_reply_to_a_port_that_died_fails(void)
{
    struct talk talk = talk_create();
    struct outcomes outcomes = {0};
    struct port *client, *reply;
    struct kmsg *kmsg;

    REQUIRE(port_create(talk.pair.hosts[0], &client) == 0);
    EXPECT_EQUAL(
        mach_msg_send(test_message(talk.pair.hosts[0], 1), talk.proxy, client, PORT_SEND, 0),
        MACH_MSG_SUCCESS);
    pair_settle(&talk.pair);
    port_destroy(client);
    REQUIRE(mach_msg_receive(talk.principal, &kmsg, 0) == MACH_MSG_SUCCESS);
    reply = kmsg_take_reply_port(kmsg);
    kmsg_free(kmsg);
    EXPECT_EQUAL(test_send_counted(reply, 2, &outcomes), MACH_MSG_SUCCESS);
    pair_settle(&talk.pair);
    EXPECT_EQUAL(outcomes.failed, 1);
    port_release(reply);
    talk_destroy(&talk);
}

static void a_reply_port_of_the_receiver_itself_comes_back_as_the_principal(void)
{
    struct talk talk = talk_create();
    struct port *theirs, *proxy;
    struct kmsg *kmsg;

    REQUIRE(port_create(talk.pair.hosts[1], &theirs) == 0);
    proxy = port_from_name(talk.pair.hosts[0], port_name(theirs));
    EXPECT_EQUAL(
        mach_msg_send(test_message(talk.pair.hosts[0], 1), talk.proxy, proxy, PORT_SEND, 0),
        MACH_MSG_SUCCESS);
    port_release(proxy);
    pair_settle(&talk.pair);
    REQUIRE(mach_msg_receive(talk.principal, &kmsg, 0) == MACH_MSG_SUCCESS);
    proxy = kmsg_take_reply_port(kmsg);
    EXPECT(proxy == theirs);
    port_release(proxy);
    kmsg_free(kmsg);
    port_destroy(theirs);
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

static const struct unit_test flow_tests[] = {
    {"a message is settled once, when it is received and not before",
     a_message_is_settled_once_when_it_is_received_and_not_before},
    {"the message arrives as it was sent", the_message_arrives_as_it_was_sent},
    {"the wire form is the specified one", the_wire_form_is_the_specified_one},
    {"messages to a port keep their order while ports take turns",
     messages_to_a_port_keep_their_order_while_ports_take_turns},
    {"what a cut swallowed is sent again and nothing twice",
     what_a_cut_swallowed_is_sent_again_and_nothing_twice},
    {"a resume that knows nothing repeats and the receiver drops the duplicates",
     a_resume_that_knows_nothing_repeats_and_the_receiver_drops_the_duplicates},
    {"a resume beyond what was sent starts at the first outstanding",
     a_resume_beyond_what_was_sent_starts_at_the_first_outstanding},
    {"a message that was settled while the link held it is freed by the link",
     a_message_that_was_settled_while_the_link_held_it_is_freed_by_the_link},
    {"sequence numbers wrap", sequence_numbers_wrap},
    {"a source never runs so far ahead that numbers become ambiguous",
     a_source_never_runs_so_far_ahead_that_numbers_become_ambiguous},
    {"a source stops at the credit and goes on with more",
     a_source_stops_at_the_credit_and_goes_on_with_more},
    {"credit never falls, whatever the peer says", credit_never_falls_whatever_the_peer_says},
    {"a boastful peer is clamped by local policy", a_boastful_peer_is_clamped_by_local_policy},
    {"an ack of what was never sent is ignored and counted",
     an_ack_of_what_was_never_sent_is_ignored_and_counted},
    {"a stuck receiver does not stall others until the window is used up",
     a_stuck_receiver_does_not_stall_others_until_the_window_is_used_up},
    {"an ack is due after a while, or at once after many",
     an_ack_is_due_after_a_while_or_at_once_after_many},
    {"what is settled out of order is told by a snapshot",
     what_is_settled_out_of_order_is_told_by_a_snapshot},
    {"a snapshot lost with its link is made again", a_snapshot_lost_with_its_link_is_made_again},
    {"a dead destination refuses what is queued and what comes",
     a_dead_destination_refuses_what_is_queued_and_what_comes},
    {"a refused message holds the ack until its refusal is settled",
     a_refused_message_holds_the_ack_until_its_refusal_is_settled},
    {"refusals pass when the credit is used up", refusals_pass_when_the_credit_is_used_up},
    {"at most the reserve of refusals runs beyond the credit",
     at_most_the_reserve_of_refusals_runs_beyond_the_credit},
    {"a hundred thousand calls leave nothing behind",
     a_hundred_thousand_calls_leave_nothing_behind},
    {"a reply to a port that died fails", a_reply_to_a_port_that_died_fails},
    {"a reply port of the receiver itself comes back as the principal",
     a_reply_port_of_the_receiver_itself_comes_back_as_the_principal},
    {"the link is told once that there is work", the_link_is_told_once_that_there_is_work},
    {"a sender at the limit of a proxy waits for settlement",
     a_sender_at_the_limit_of_a_proxy_waits_for_settlement},
};
UNIT_SUITE("flow", flow_tests);
