/* SPDX-License-Identifier: MIT
 *
 * Messages that are refused, and reply ports: what they leave behind when all is done.
 */
#include "hosts.h"
#include "native.h"
#include "unit.h"

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
    EXPECT_EQUAL(NATIVE(body->sequence), 0);
    EXPECT_EQUAL(NATIVE(body->reason), FLIPC_NAK_UNKNOWN_NAME);
    EXPECT((int32_t)NATIVE(body->resend_to) == -1);
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
        REQUIRE(mach_msg_reply(kmsg, reply, disposition) == MACH_MSG_SUCCESS);
        pair_settle(&talk.pair);
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

static const struct unit_test refusal_tests[] = {
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
};
UNIT_SUITE("refusal", refusal_tests);
