/* SPDX-License-Identifier: MIT
 *
 * Lives that follow each other: what a restart leaves behind, who supersedes whom, and peers that
 * sleep.
 */
#include "hosts.h"
#include "unit.h"
#include <stdlib.h>

#define LIVES 10000u

static mnl_node_info_t new_node(mach_node_id_t nid)
{
    mnl_node_info_t node = mnl_instantiate(nid, 0);

    REQUIRE(node != MNL_NODE_NULL);
    node->datamodel = MNL_DATAMODEL_LP64;
    node->byteorder = MNL_BYTEORDER_LITTLE;
    node->proto_vers_min = 1;
    node->proto_vers_max = 1;
    return node;
}

/* Bytes of the heap in use. */
static uint64_t used_bytes(struct mach_host *host)
{
    return test_statistics(host).heap_used_bytes;
}

/* --- Flat memory ------------------------------------------------------------------------------ */

/* One whole life: registered, a message in flight, one never fetched, ended. */
static void live_and_die(struct mach_host *host, mnl_node_info_t node)
{
    struct outcomes outcomes = {0};
    struct port *proxy;
    mnl_msg_t fetched;

    REQUIRE(mnl_register(node, 0) == KERN_SUCCESS);
    REQUIRE(mnl_set_link_state(node, MNL_LINK_UP, 0) == KERN_SUCCESS);
    proxy = port_from_name(host, NAME_WELL_KNOWN(2, NAME_SERIAL_KERNEL));
    REQUIRE(proxy != NULL);
    EXPECT_EQUAL(test_send_counted(proxy, 1, &outcomes), MACH_MSG_SUCCESS);
    EXPECT_EQUAL(test_send_counted(proxy, 2, &outcomes), MACH_MSG_SUCCESS);
    fetched = mnl_msg_to_node(node, 0);
    EXPECT(fetched != MNL_MSG_NULL);
    EXPECT_EQUAL(mnl_terminate(node, 0), KERN_SUCCESS);
    mnl_msg_complete(node, fetched, 0);
    EXPECT(outcomes.unknown == 1 && outcomes.failed == 1 && outcomes.settled == 0);
    port_release(proxy);
}

static void ten_thousand_lives_leave_nothing(void)
{
    struct mach_host *host = test_host_create(1, 1);
    uint64_t before = used_bytes(host);

    for (uint32_t life = 1; life <= LIVES; life++) {
        mnl_node_info_t node = new_node(2);

        EXPECT_EQUAL(mnl_set_incarnation(node, life, 0), KERN_SUCCESS);
        live_and_die(host, node);
        mnl_node_release(node, 0);
    }
    EXPECT_EQUAL(used_bytes(host), before);
    EXPECT_EQUAL(test_statistics(host).deaths, LIVES);
    test_host_destroy(host);
}

/* A driver of the nine published functions never gives a handle back. */
static void ten_thousand_lives_of_a_published_driver_keep_one_antecedent(void)
{
    struct mach_host *host = test_host_create(1, 1);
    mnl_node_info_t before = MNL_NODE_NULL;
    uint64_t used = 0;

    for (uint32_t life = 1; life <= LIVES; life++) {
        mnl_node_info_t node = new_node(2);

        EXPECT_EQUAL(mnl_terminate(before, 0), life == 1 ? KERN_INVALID_ARGUMENT : KERN_NODE_DOWN);
        live_and_die(host, node);
        before = node;
        if (life == 4)
            used = used_bytes(host);
    }
    EXPECT_EQUAL(used_bytes(host), used);
    EXPECT_EQUAL(test_statistics(host).nodes, 2);
    test_host_destroy(host);
}

static void a_handle_with_a_fetched_message_is_kept(void)
{
    struct mach_host *host = test_host_create(1, 1);
    mnl_node_info_t first = new_node(2), later;
    struct port *proxy;
    mnl_msg_t fetched;

    REQUIRE(mnl_register(first, 0) == KERN_SUCCESS);
    REQUIRE(mnl_set_link_state(first, MNL_LINK_UP, 0) == KERN_SUCCESS);
    proxy = port_from_name(host, NAME_WELL_KNOWN(2, NAME_SERIAL_KERNEL));
    EXPECT_EQUAL(test_send(proxy, 1), MACH_MSG_SUCCESS);
    fetched = mnl_msg_to_node(first, 0);
    REQUIRE(fetched != MNL_MSG_NULL);
    EXPECT_EQUAL(mnl_terminate(first, 0), KERN_SUCCESS);
    for (int i = 0; i < 4; i++) {
        later = new_node(2);
        EXPECT_EQUAL(mnl_terminate(later, 0), KERN_SUCCESS);
    }
    EXPECT_EQUAL(mnl_terminate(first, 0), KERN_NODE_DOWN);
    mnl_msg_complete(first, fetched, 0);
    EXPECT_EQUAL(test_statistics(host).messages, 0);
    later = new_node(2);
    EXPECT_EQUAL(test_statistics(host).nodes, 2);
    mnl_node_release(later, 0);
    port_release(proxy);
    test_host_destroy(host);
}

/* Nothing of a life is received after its death. */
static void messages_of_the_dead_are_gone_and_not_acknowledged_to_the_next_life(void)
{
    struct talk talk = talk_create();
    mnl_node_info_t next;
    struct kmsg *kmsg;

    EXPECT_EQUAL(test_send(talk.proxy, 5), MACH_MSG_SUCCESS);
    EXPECT(pair_move_one(&talk.pair, 0));
    EXPECT_EQUAL(mnl_terminate(talk.pair.nodes[1], 0), KERN_SUCCESS);
    mnl_node_release(talk.pair.nodes[1], 0);
    next = test_node_create(talk.pair.hosts[1], 1, TEST_INCARNATION(2));
    EXPECT_EQUAL(mach_msg_receive(talk.principal, &kmsg, 0), MACH_RCV_TIMED_OUT);
    EXPECT_EQUAL(mnl_flow_ack(next), 0);
    EXPECT_EQUAL(mnl_flow_credit(next), TEST_WINDOW);
    EXPECT_EQUAL(mnl_flow_ack_deadline_ns(next), DEADLINE_NEVER);
    talk.pair.nodes[1] = next;
    port_release(talk.proxy);
    port_destroy(talk.principal);
    pair_destroy(&talk.pair);
}

/* --- Who supersedes whom ---------------------------------------------------------------------- */

struct order {
    uint64_t told[8]; /* negative (as two's complement): a death */
    unsigned count;
};

static void told_up(void *context, uint32_t node_id, uint64_t incarnation)
{
    struct order *order = context;

    EXPECT_EQUAL(node_id, 2);
    order->told[order->count++ % 8] = incarnation;
}

static void told_dead(void *context, uint32_t node_id, uint64_t incarnation,
                      enum node_death_cause cause)
{
    struct order *order = context;

    EXPECT_EQUAL(node_id, 2);
    EXPECT_EQUAL(cause, NODE_DEATH_INCARNATION);
    order->told[order->count++ % 8] = (uint64_t)-incarnation;
}

static void a_larger_incarnation_supersedes_after_the_death_of_the_older_was_told(void)
{
    struct mach_host *host = test_host_create(1, 1);
    struct order order = {0};
    struct node_observer observer = {.context = &order, .up = told_up, .dead = told_dead};
    mnl_node_info_t older, newer;

    node_observe(host, &observer);
    older = test_node_create(host, 2, 5);
    newer = new_node(2);
    EXPECT_EQUAL(mnl_set_incarnation(newer, 9, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_set_link_state(newer, MNL_LINK_UP, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_register(newer, 0), KERN_SUCCESS);
    EXPECT_EQUAL(node_incarnation(host, 2), 9);
    EXPECT_EQUAL(mnl_terminate(older, 0), KERN_NODE_DOWN);
    EXPECT_EQUAL(order.count, 3);
    EXPECT(order.told[0] == 5 && order.told[1] == (uint64_t)-5 && order.told[2] == 9);
    mnl_node_release(older, 0);
    node_declare_dead(host, 2, 9, NODE_DEATH_INCARNATION);
    mnl_node_release(newer, 0);
    test_host_destroy(host);
}

static void nothing_else_supersedes(void)
{
    struct mach_host *host = test_host_create(1, 1);
    mnl_node_info_t live = test_node_create(host, 2, 5), other = new_node(2);

    EXPECT_EQUAL(mnl_register(other, 0), KERN_FAILURE); /* a life that nobody can compare */
    EXPECT_EQUAL(mnl_set_incarnation(other, 4, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_register(other, 0), KERN_FAILURE); /* an older one */
    EXPECT_EQUAL(mnl_set_incarnation(other, 6, 0), KERN_SUCCESS);
    other->byteorder = MNL_BYTEORDER_UNKNOWN;
    EXPECT_EQUAL(mnl_register(other, 0), KERN_INVALID_ARGUMENT); /* one that cannot be registered */
    EXPECT_EQUAL(node_incarnation(host, 2), 5);
    EXPECT_EQUAL(mnl_register(live, 0), KERN_FAILURE);
    mnl_node_release(other, 0);
    mnl_node_release(live, 0);
    test_host_destroy(host);
}

/* --- Sleep ------------------------------------------------------------------------------------ */

static void a_suspended_peer_is_sent_nothing_and_loses_nothing(void)
{
    struct talk talk = talk_create();
    mnl_node_info_t node = talk.pair.nodes[0];
    struct outcomes outcomes = {0};
    uint64_t number = 0;

    EXPECT_EQUAL(mnl_suspend(node, 0), KERN_SUCCESS);
    EXPECT(mnl_is_suspended(node));
    while (test_send_counted(talk.proxy, number, &outcomes) == MACH_MSG_SUCCESS)
        number++;
    EXPECT_EQUAL(number, TEST_WINDOW); /* then senders wait */
    EXPECT(mnl_msg_try_to_node(node, 0) == MNL_MSG_NULL);
    EXPECT_EQUAL(mnl_resume(node, 0), KERN_SUCCESS);
    EXPECT(!mnl_is_suspended(node));
    for (uint64_t i = 0; i < number; i++) {
        EXPECT(pair_move_one(&talk.pair, 0));
        EXPECT(test_receive(talk.principal, i));
    }
    pair_settle(&talk.pair);
    EXPECT_EQUAL(outcomes.settled, number);
    talk_destroy(&talk);
}

static void a_suspended_peer_is_still_heard(void)
{
    struct talk talk = talk_create();

    EXPECT_EQUAL(mnl_suspend(talk.pair.nodes[1], 0), KERN_SUCCESS);
    EXPECT_EQUAL(test_send(talk.proxy, 1), MACH_MSG_SUCCESS);
    EXPECT(pair_move_one(&talk.pair, 0));
    EXPECT(test_receive(talk.principal, 1));
    EXPECT_EQUAL(mnl_resume(talk.pair.nodes[1], 0), KERN_SUCCESS);
    talk_destroy(&talk);
}

static void suspend_and_resume_answer_by_state(void)
{
    struct mach_host *host = test_host_create(1, 1);
    mnl_node_info_t node = new_node(2);

    EXPECT_EQUAL(mnl_suspend(MNL_NODE_NULL, 0), KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(mnl_resume(MNL_NODE_NULL, 0), KERN_INVALID_ARGUMENT);
    EXPECT(!mnl_is_suspended(MNL_NODE_NULL));
    EXPECT_EQUAL(mnl_suspend(node, 0), KERN_FAILURE);
    EXPECT_EQUAL(mnl_register(node, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_resume(node, 0), KERN_FAILURE);
    EXPECT_EQUAL(mnl_suspend(node, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_suspend(node, 0), KERN_FAILURE);
    EXPECT_EQUAL(mnl_terminate(node, 0), KERN_SUCCESS);
    EXPECT(!mnl_is_suspended(node));
    EXPECT_EQUAL(mnl_suspend(node, 0), KERN_NODE_DOWN);
    EXPECT_EQUAL(mnl_resume(node, 0), KERN_NODE_DOWN);
    mnl_node_release(node, 0);
    test_host_destroy(host);
}

/* --- Several fetchers ------------------------------------------------------------------------- */

static void each_message_is_fetched_once_whoever_asks(void)
{
    struct talk talk = talk_create();
    mnl_msg_t fetched[6];

    for (uint64_t i = 0; i < 6; i++)
        EXPECT_EQUAL(test_send(talk.proxy, i), MACH_MSG_SUCCESS);
    for (unsigned i = 0; i < 6; i++) { /* as six threads would, none having completed */
        fetched[i] = mnl_msg_to_node(talk.pair.nodes[0], 0);
        REQUIRE(fetched[i] != MNL_MSG_NULL);
        for (unsigned k = 0; k < i; k++)
            EXPECT(fetched[k] != fetched[i]);
    }
    EXPECT(mnl_msg_try_to_node(talk.pair.nodes[0], 0) == MNL_MSG_NULL);
    for (unsigned i = 0; i < 6; i++) {
        EXPECT_EQUAL(pair_deliver(&talk.pair, 1, pair_copy(&talk.pair, 1, fetched[i])),
                     KERN_SUCCESS);
        mnl_msg_complete(talk.pair.nodes[0], fetched[i], 0);
        EXPECT(test_receive(talk.principal, i));
    }
    talk_destroy(&talk);
}

/* --- Size of the cluster ---------------------------------------------------------------------- */

static void a_cluster_may_have_hundreds_of_nodes(void)
{
    static const uint32_t sizes[] = {2, 256, 1024};

    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct mach_host_configuration configuration = test_configuration(1, 1);
        struct mach_host *host = malloc(sizeof(*host));
        uint32_t last = sizes[i] == 2 ? 0 : sizes[i] - 1;
        mnl_node_info_t node;

        configuration.constants.nodes_max = sizes[i];
        configuration.arena = aligned_alloc(16, TEST_ARENA_BYTES);
        configuration.arena_bytes = TEST_ARENA_BYTES;
        REQUIRE(host != NULL && configuration.arena != NULL);
        REQUIRE(mach_host_initialize(host, &configuration) == 0);
        node = test_node_create(host, last, 7);
        EXPECT_EQUAL(node_incarnation(host, last), 7);
        EXPECT(mnl_instantiate((mach_node_id_t)sizes[i], 0) == MNL_NODE_NULL);
        mnl_node_release(node, 0);
        test_host_destroy(host);
    }
}

static const struct unit_test node_life_tests[] = {
    {"ten thousand lives leave nothing", ten_thousand_lives_leave_nothing},
    {"ten thousand lives of a published driver keep one antecedent",
     ten_thousand_lives_of_a_published_driver_keep_one_antecedent},
    {"a handle with a fetched message is kept", a_handle_with_a_fetched_message_is_kept},
    {"messages of the dead are gone and not acknowledged to the next life",
     messages_of_the_dead_are_gone_and_not_acknowledged_to_the_next_life},
    {"a larger incarnation supersedes after the death of the older was told",
     a_larger_incarnation_supersedes_after_the_death_of_the_older_was_told},
    {"nothing else supersedes", nothing_else_supersedes},
    {"a suspended peer is sent nothing and loses nothing",
     a_suspended_peer_is_sent_nothing_and_loses_nothing},
    {"a suspended peer is still heard", a_suspended_peer_is_still_heard},
    {"suspend and resume answer by state", suspend_and_resume_answer_by_state},
    {"each message is fetched once whoever asks", each_message_is_fetched_once_whoever_asks},
    {"a cluster may have hundreds of nodes", a_cluster_may_have_hundreds_of_nodes},
};
UNIT_SUITE("node_life", node_life_tests);
