/* SPDX-License-Identifier: MIT
 *
 * A life whose driver goes and whose next driver comes: what waits, waits on; what a driver that is
 * gone had fetched is sent by the next.
 */
#include "../../core/node.h"
#include "hosts.h"
#include "unit.h"

static struct server *const first_server = (struct server *)(void *)0x1000;
static struct server *const second_server = (struct server *)(void *)0x2000;

/* Node 2 as a server's driver brings it in: acknowledged by messages. */
static mnl_node_info_t drive(struct server *server, uint64_t incarnation)
{
    mnl_node_info_t node;

    thread_set_owner(server);
    node = test_node_instantiate(2);
    thread_set_owner(NULL);
    REQUIRE(mnl_set_flow(node, MNL_FLOW_IN_MESSAGES, 0) == KERN_INVALID_ARGUMENT);
    REQUIRE(mnl_set_incarnation(node, incarnation, 0) == KERN_SUCCESS);
    REQUIRE(mnl_set_flow(node, 3, 0) == KERN_INVALID_ARGUMENT);
    REQUIRE(mnl_set_flow(node, MNL_FLOW_IN_MESSAGES, 0) == KERN_SUCCESS);
    REQUIRE(mnl_register(node, 0) == KERN_SUCCESS);
    REQUIRE(mnl_set_link_state(node, MNL_LINK_UP, 0) == KERN_SUCCESS);
    return node;
}

static mnl_node_info_t attach(struct server *server, uint64_t incarnation)
{
    mnl_node_info_t node;

    thread_set_owner(server);
    node = mnl_attach(2, incarnation, 0);
    thread_set_owner(NULL);
    return node;
}

static void a_detached_handle_answers_as_dead(void)
{
    struct mach_host *host = test_host_create(1, 1);
    mnl_node_info_t node = drive(first_server, 5);

    EXPECT(!mnl_is_detached(node) && !mnl_is_detached(MNL_NODE_NULL));
    EXPECT_EQUAL(mnl_detach(MNL_NODE_NULL, 0), KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(mnl_detach(node, 0), KERN_SUCCESS);
    EXPECT(mnl_is_detached(node));
    EXPECT_EQUAL(mnl_detach(node, 0), KERN_NODE_DOWN);
    EXPECT_EQUAL(mnl_set_link_state(node, MNL_LINK_TX, 0), KERN_NODE_DOWN);
    EXPECT_EQUAL(mnl_terminate(node, 0), KERN_NODE_DOWN);
    EXPECT(mnl_msg_to_node(node, 0) == MNL_MSG_NULL); /* and does not wait */
    mnl_node_release(node, 0);
    EXPECT(node_incarnation(host, 2) == 5); /* the life goes on */
    test_host_destroy(host);
}

static void the_next_driver_sends_what_waits(void)
{
    struct mach_host *host = test_host_create(1, 1);
    mnl_node_info_t node = drive(first_server, 5);
    struct port *proxy = port_from_name(host, NAME_WELL_KNOWN(2, NAME_SERIAL_KERNEL));
    mnl_msg_t message;

    EXPECT_EQUAL(test_send(proxy, 1), MACH_MSG_SUCCESS);
    message = mnl_msg_to_node(node, 0);
    EXPECT(attach(second_server, 5) == MNL_NODE_NULL); /* it has a driver */
    EXPECT_EQUAL(node_driver_lives(host, first_server), 1);
    node_detach_driver(host, first_server, false);
    EXPECT_EQUAL(node_driver_lives(host, first_server), 0);
    EXPECT(attach(second_server, 5) == MNL_NODE_NULL); /* which still has a message */
    mnl_msg_complete(node, message, 0);
    EXPECT_EQUAL(test_send(proxy, 2), MACH_MSG_SUCCESS);
    EXPECT(attach(second_server, 6) == MNL_NODE_NULL); /* no such life */
    EXPECT(attach(second_server, 5) == node);
    EXPECT_EQUAL(node_driver_lives(host, second_server), 1);
    EXPECT(mnl_msg_try_to_node(node, 0) == MNL_MSG_NULL); /* TX is down */
    EXPECT_EQUAL(mnl_set_link_state(node, MNL_LINK_UP, 0), KERN_SUCCESS);
    mnl_flow_resume(node, 0);
    for (unsigned i = 0; i < 3; i++) { /* an acknowledgement that may be lost, then both */
        message = mnl_msg_try_to_node(node, 0);
        EXPECT(message != MNL_MSG_NULL);
        mnl_msg_complete(node, message, 0);
    }
    EXPECT(mnl_msg_try_to_node(node, 0) == MNL_MSG_NULL);
    port_release(proxy);
    mnl_node_release(node, 0);
    test_host_destroy(host);
}

static void what_a_killed_driver_had_is_sent_again(void)
{
    struct mach_host *host = test_host_create(1, 1);
    mnl_node_info_t node = drive(first_server, 5);
    struct port *proxy = port_from_name(host, NAME_WELL_KNOWN(2, NAME_SERIAL_KERNEL));
    struct outcomes outcomes = {0};
    mnl_node_info_t half_made;

    thread_set_owner(first_server);
    half_made = test_node_instantiate(3);
    thread_set_owner(NULL);
    EXPECT_EQUAL(test_send_counted(proxy, 1, &outcomes), MACH_MSG_SUCCESS);
    EXPECT(mnl_msg_to_node(node, 0) != MNL_MSG_NULL); /* and never given back */
    node_detach_driver(host, first_server, true);
    EXPECT_EQUAL(mnl_register(half_made, 0), KERN_NODE_DOWN);
    EXPECT(attach(second_server, 5) == node);
    EXPECT_EQUAL(mnl_set_link_state(node, MNL_LINK_UP, 0), KERN_SUCCESS);
    EXPECT_EQUAL(outcomes.failed + outcomes.unknown, 0);
    mnl_node_release(node, 0);
    EXPECT_EQUAL(outcomes.unknown, 1);
    EXPECT_EQUAL(test_statistics(host).messages, 0); /* it is nobody's any more */
    port_release(proxy);
    test_host_destroy(host);
}

static void a_life_may_end_without_a_driver(void)
{
    struct mach_host *host = test_host_create(1, 1);

    for (uint64_t incarnation = 5; incarnation < 50; incarnation++) {
        mnl_node_info_t node = drive(first_server, incarnation);

        EXPECT_EQUAL(mnl_detach(node, 0), KERN_SUCCESS);
        EXPECT_EQUAL(node_declare_dead(host, 2, incarnation, NODE_DEATH_SILENCE), 0);
        EXPECT(attach(first_server, incarnation) == MNL_NODE_NULL);
    }
    EXPECT(test_statistics(host).nodes <= 2); /* the last ones, not all */
    test_host_destroy(host);
}

static const struct unit_test node_driver_tests[] = {
    {"a detached handle answers as dead", a_detached_handle_answers_as_dead},
    {"the next driver sends what waits", the_next_driver_sends_what_waits},
    {"what a killed driver had is sent again", what_a_killed_driver_had_is_sent_again},
    {"a life may end without a driver", a_life_may_end_without_a_driver},
};
UNIT_SUITE("node_driver", node_driver_tests);
