/* SPDX-License-Identifier: MIT
 *
 * FLIPC between two hosts, message by message: settlement, order, repetition. What
 * docs/spec/flipc.md section 3 promises, each promise a test.
 */
#include "core/node.h"
#include "hosts.h"
#include "unit.h"
#include <string.h>

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

/* It is there for whoever receives, here and there, and an answer that uses the message keeps it. */
static void quality_of_service_travels_with_the_message(void)
{
    struct talk talk = talk_create();
    struct kmsg *kmsg = test_message(talk.pair.hosts[0], 1), *plain;
    struct port *client, *reply;

    REQUIRE(port_create(talk.pair.hosts[0], &client) == 0);
    EXPECT_EQUAL(kmsg_qos(kmsg), 0);
    kmsg_set_qos(kmsg, 0xa5);
    EXPECT_EQUAL(mach_msg_send(kmsg, talk.proxy, client, PORT_SEND_ONCE, 0), MACH_MSG_SUCCESS);
    EXPECT_EQUAL(test_send(talk.proxy, 2), MACH_MSG_SUCCESS);
    pair_settle(&talk.pair);
    REQUIRE(mach_msg_receive(talk.principal, &kmsg, 0) == MACH_MSG_SUCCESS);
    EXPECT_EQUAL(kmsg_qos(kmsg), 0xa5);
    REQUIRE(mach_msg_receive(talk.principal, &plain, 0) == MACH_MSG_SUCCESS);
    EXPECT_EQUAL(kmsg_qos(plain), 0);
    kmsg_free(plain);
    reply = kmsg_take_reply_port(kmsg);
    EXPECT_EQUAL(mach_msg_reply(kmsg, reply, PORT_SEND_ONCE), MACH_MSG_SUCCESS);
    pair_settle(&talk.pair);
    REQUIRE(mach_msg_receive(client, &kmsg, 0) == MACH_MSG_SUCCESS);
    EXPECT_EQUAL(kmsg_qos(kmsg), 0xa5);
    kmsg_set_qos(kmsg, 1);
    EXPECT_EQUAL(mach_msg_send(kmsg, client, NULL, PORT_NONE, 0), MACH_MSG_SUCCESS);
    REQUIRE(mach_msg_receive(client, &kmsg, 0) == MACH_MSG_SUCCESS);
    EXPECT_EQUAL(kmsg_qos(kmsg), 1);
    kmsg_free(kmsg);
    port_destroy(client);
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

static void what_is_settled_between_resume_and_fetch_is_not_repeated(void)
{
    struct talk talk = talk_create();
    mnl_msg_t msg;

    for (uint64_t i = 0; i < 3; i++)
        EXPECT_EQUAL(test_send(talk.proxy, i), MACH_MSG_SUCCESS);
    pair_settle(&talk.pair);
    EXPECT(test_receive(talk.principal, 0));
    EXPECT(test_receive(talk.principal, 1));
    mnl_flow_resume(talk.pair.nodes[0], 0);
    pair_headers(&talk.pair, 1);
    msg = pair_fetch(&talk.pair, 0);
    REQUIRE(msg != MNL_MSG_NULL);
    EXPECT_EQUAL(msg->options, 2);
    mnl_msg_complete(talk.pair.nodes[0], msg, 0);
    EXPECT(pair_fetch(&talk.pair, 0) == MNL_MSG_NULL);
    EXPECT(test_receive(talk.principal, 2));
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

/* The peer settles what it never got. */
static bool transmit_nothing(void *context, mnl_msg_t msg)
{
    mnl_node_info_t node = context;

    mnl_flow_peer(node, msg->options + 1u, msg->options + 1u + TEST_WINDOW);
    return false;
}

static void a_message_that_was_settled_before_it_was_transmitted_is_at_its_end(void)
{
    struct talk talk = talk_create();
    struct outcomes outcomes = {0};
    mnl_node_info_t node = talk.pair.nodes[0];

    EXPECT_EQUAL(test_send(talk.proxy, 1), MACH_MSG_SUCCESS);
    pair_settle(&talk.pair);
    EXPECT(test_receive(talk.principal, 1));
    pair_settle(&talk.pair);
    node_of_handle(node)->transmitter =
        (struct mnl_transmitter){.transmit = transmit_nothing, .context = node};
    EXPECT_EQUAL(test_send_counted(talk.proxy, 2, &outcomes), MACH_MSG_SUCCESS);
    EXPECT_EQUAL(outcomes.settled, 1);
    EXPECT(pair_fetch(&talk.pair, 0) == MNL_MSG_NULL);
    node_of_handle(node)->transmitter.transmit = NULL;
    talk_destroy(&talk);
}

static const struct unit_test flow_tests[] = {
    {"a message is settled once, when it is received and not before",
     a_message_is_settled_once_when_it_is_received_and_not_before},
    {"the message arrives as it was sent", the_message_arrives_as_it_was_sent},
    {"quality of service travels with the message", quality_of_service_travels_with_the_message},
    {"the wire form is the specified one", the_wire_form_is_the_specified_one},
    {"messages to a port keep their order while ports take turns",
     messages_to_a_port_keep_their_order_while_ports_take_turns},
    {"what a cut swallowed is sent again and nothing twice",
     what_a_cut_swallowed_is_sent_again_and_nothing_twice},
    {"a resume that knows nothing repeats and the receiver drops the duplicates",
     a_resume_that_knows_nothing_repeats_and_the_receiver_drops_the_duplicates},
    {"a resume beyond what was sent starts at the first outstanding",
     a_resume_beyond_what_was_sent_starts_at_the_first_outstanding},
    {"what is settled between resume and fetch is not repeated",
     what_is_settled_between_resume_and_fetch_is_not_repeated},
    {"a message that was settled while the link held it is freed by the link",
     a_message_that_was_settled_while_the_link_held_it_is_freed_by_the_link},
    {"a message that was settled before it was transmitted is at its end",
     a_message_that_was_settled_before_it_was_transmitted_is_at_its_end},
    {"sequence numbers wrap", sequence_numbers_wrap},
    {"a source never runs so far ahead that numbers become ambiguous",
     a_source_never_runs_so_far_ahead_that_numbers_become_ambiguous},
};
UNIT_SUITE("flow", flow_tests);
