/* SPDX-License-Identifier: MIT
 *
 * The contract of kernel/mach_node_link.h: every return code, the life of a node, and its death.
 */
#include "core/node.h"
#include "hosts.h"
#include "unit.h"
#include <string.h>

/* --- Instantiate and register ----------------------------------------------------------------- */

static void only_ids_of_other_nodes_are_instantiated(void)
{
    struct mach_host *host = test_host_create(1, 1);
    mnl_node_info_t node, second;

    EXPECT(mnl_instantiate(1, 0) == MNL_NODE_NULL);
    EXPECT(mnl_instantiate(-1, 0) == MNL_NODE_NULL);
    EXPECT(mnl_instantiate(64, 0) == MNL_NODE_NULL);
    node = mnl_instantiate(0, 0);
    second = mnl_instantiate(0, 0);
    REQUIRE(node != MNL_NODE_NULL && second != MNL_NODE_NULL);
    EXPECT(node != second && node->node_id == 0);
    EXPECT_EQUAL(test_statistics(host).nodes, 2);
    thread_set_host(NULL);
    EXPECT(mnl_instantiate(2, 0) == MNL_NODE_NULL);
    EXPECT(mnl_msg_alloc(10, 0) == MNL_MSG_NULL);
    mnl_node_release(node, 0);
    mnl_node_release(second, 0);
    mnl_node_release(MNL_NODE_NULL, 0);
    EXPECT_EQUAL(test_statistics(host).nodes, 0);
    test_host_destroy(host);
}

static void register_checks_the_info_and_leaves_the_node_as_it_was(void)
{
    struct mach_host *host = test_host_create(1, 1);
    mnl_node_info_t node = test_node_instantiate(2);
    struct mnl_node_info good = *node;
    struct mnl_node_info bad[] = {good, good, good, good, good, good, good};

    bad[0].node_id = 3;
    bad[1].datamodel = 0;
    bad[2].byteorder = MNL_BYTEORDER_UNKNOWN;
    bad[3].proto_vers_min = 0;
    bad[4].proto_vers_max = 0;
    bad[5].proto_vers_min = bad[5].proto_vers_max = 7;
    bad[6].node_id = 1;
    EXPECT_EQUAL(mnl_register(MNL_NODE_NULL, 0), KERN_INVALID_ARGUMENT);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        *node = bad[i];
        EXPECT_EQUAL(mnl_register(node, 0), KERN_INVALID_ARGUMENT);
        EXPECT_EQUAL(node_incarnation(host, 2), 0);
    }
    *node = good;
    node->proto_vers_max = 9;
    EXPECT_EQUAL(mnl_register(node, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_register(node, 0), KERN_FAILURE);
    mnl_node_release(node, 0);
    test_host_destroy(host);
}

/* One wire form: what a peer is like is kept for the receiver of its bodies, and refuses nobody. */
static void peers_of_every_byte_order_and_data_model_register(void)
{
    static const uint8_t orders[] = {MNL_BYTEORDER_LITTLE, MNL_BYTEORDER_BIG};
    static const uint8_t models[] = {MNL_DATAMODEL_ILP32, MNL_DATAMODEL_LP64};

    for (unsigned i = 0; i < 4; i++) {
        struct mach_host *host = test_host_create(1, 1);
        mnl_node_info_t node = test_node_instantiate(2);

        node->byteorder = orders[i / 2];
        node->datamodel = models[i % 2];
        EXPECT_EQUAL(mnl_register(node, 0), KERN_SUCCESS);
        EXPECT(node->byteorder == orders[i / 2] && node->datamodel == models[i % 2]);
        mnl_node_release(node, 0);
        test_host_destroy(host);
    }
}

static void a_second_life_waits_for_the_end_of_the_first(void)
{
    struct mach_host *host = test_host_create(1, 1);
    mnl_node_info_t first = test_node_instantiate(2), second = test_node_instantiate(2);

    EXPECT_EQUAL(mnl_register(first, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_register(second, 0), KERN_FAILURE);
    EXPECT_EQUAL(node_incarnation(host, 2), 1);
    EXPECT_EQUAL(mnl_terminate(first, 0), KERN_SUCCESS);
    EXPECT_EQUAL(node_incarnation(host, 2), 0);
    EXPECT_EQUAL(mnl_register(second, 0), KERN_SUCCESS);
    EXPECT_EQUAL(node_incarnation(host, 2), 2);
    EXPECT_EQUAL(mnl_register(first, 0), KERN_NODE_DOWN);
    mnl_node_release(first, 0);
    EXPECT_EQUAL(node_incarnation(host, 2), 2);
    mnl_node_release(second, 0);
    test_host_destroy(host);
}

static void a_stale_incarnation_is_refused(void)
{
    struct mach_host *host = test_host_create(1, 1);
    mnl_node_info_t node = test_node_instantiate(2), late = test_node_instantiate(2);

    EXPECT_EQUAL(mnl_set_incarnation(MNL_NODE_NULL, 1, 0), KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(mnl_set_incarnation(node, 0, 0), KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(mnl_set_incarnation(late, 7, 0), KERN_SUCCESS);
    EXPECT_EQUAL(node_declare_dead(host, 2, 7, NODE_DEATH_HOST), 0);
    EXPECT(node_is_declared_dead(host, 2, 7));
    EXPECT(node_is_declared_dead(host, 2, 6));
    EXPECT(!node_is_declared_dead(host, 2, 8));
    EXPECT(!node_is_declared_dead(host, 3, 1));
    EXPECT(!node_is_declared_dead(host, 64, 1));
    EXPECT_EQUAL(mnl_set_incarnation(node, 7, 0), KERN_NODE_DOWN);
    EXPECT_EQUAL(mnl_set_incarnation(node, 6, 0), KERN_NODE_DOWN);
    EXPECT_EQUAL(mnl_set_incarnation(node, 8, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_register(late, 0), KERN_NODE_DOWN);
    EXPECT_EQUAL(mnl_register(node, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_set_incarnation(node, 9, 0), KERN_FAILURE);
    EXPECT_EQUAL(mnl_terminate(node, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_set_incarnation(node, 9, 0), KERN_NODE_DOWN);
    mnl_node_release(node, 0);
    mnl_node_release(late, 0);
    test_host_destroy(host);
}

/* --- Link bits -------------------------------------------------------------------------------- */

static void a_message_limit_is_given_before_registration(void)
{
    struct mach_host *host = test_host_create(1, 1);
    mnl_node_info_t node = test_node_instantiate(2);
    struct port *port;

    EXPECT_EQUAL(mnl_set_message_max(MNL_NODE_NULL, 1000, 0), KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(mnl_set_message_max(node, 55, 0), KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(mnl_set_message_max(node, 56, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_set_message_max(node, 100, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_register(node, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_set_message_max(node, 200, 0), KERN_FAILURE);
    port = port_from_name(host, NAME_WELL_KNOWN(2, NAME_SERIAL_KERNEL));
    REQUIRE(port != NULL);
    EXPECT_EQUAL(port_body_maximum(port), 44);
    EXPECT_EQUAL(mnl_terminate(node, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_set_message_max(node, 200, 0), KERN_NODE_DOWN);
    EXPECT_EQUAL(port_body_maximum(port), 0);
    port_release(port);
    mnl_node_release(node, 0);
    test_host_destroy(host);
}

static void link_bits_rise_one_by_one_and_fall(void)
{
    struct mach_host *host = test_host_create(1, 1);
    mnl_node_info_t node = test_node_instantiate(2);

    EXPECT_EQUAL(mnl_set_link_state(MNL_NODE_NULL, MNL_LINK_RX, 0), KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(mnl_set_link_state(node, MNL_LINK_DOWN, 0), KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(mnl_set_link_state(node, 5, 0), KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(mnl_set_link_state(node, -1, 0), KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(mnl_set_link_state(node, MNL_LINK_RX, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_set_link_state(node, MNL_LINK_RX, 0), KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(mnl_set_link_state(node, MNL_LINK_UP, 0), KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(mnl_set_link_state(node, MNL_LINK_TX, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_set_link_down(node, MNL_LINK_DOWN, 0), KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(mnl_set_link_down(node, 4, 0), KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(mnl_set_link_down(MNL_NODE_NULL, MNL_LINK_RX, 0), KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(mnl_set_link_down(node, MNL_LINK_RX, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_set_link_down(node, MNL_LINK_UP, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_set_link_state(node, MNL_LINK_UP, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_terminate(node, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_set_link_state(node, MNL_LINK_UP, 0), KERN_NODE_DOWN);
    EXPECT_EQUAL(mnl_set_link_down(node, MNL_LINK_UP, 0), KERN_NODE_DOWN);
    EXPECT_EQUAL(mnl_terminate(node, 0), KERN_NODE_DOWN);
    EXPECT_EQUAL(mnl_terminate(MNL_NODE_NULL, 0), KERN_INVALID_ARGUMENT);
    mnl_node_release(node, 0);
    test_host_destroy(host);
}

static void nothing_is_fetched_or_delivered_before_its_bit_is_up(void)
{
    struct mach_host *host = test_host_create(1, 1);
    mnl_node_info_t node = test_node_instantiate(2);
    struct port *proxy;
    struct mnl_msg msg = {
        .sub = MNL_SUB_FLIPC, .cmd = 9, .flags = MNL_FLAG_SEQUENCED, .node_id = 2};
    mnl_msg_t fetched;

    EXPECT(mnl_msg_to_node(node, 0) == MNL_MSG_NULL);
    EXPECT_EQUAL(mnl_msg_from_node_bounded(node, &msg, sizeof(msg), 0), KERN_FAILURE);
    EXPECT_EQUAL(mnl_register(node, 0), KERN_SUCCESS);
    proxy = port_from_name(host, NAME_WELL_KNOWN(2, 1));
    EXPECT_EQUAL(test_send(proxy, 1), MACH_MSG_SUCCESS);
    EXPECT(mnl_msg_try_to_node(node, 0) == MNL_MSG_NULL);
    EXPECT_EQUAL(mnl_msg_from_node_bounded(node, &msg, sizeof(msg), 0), KERN_FAILURE);
    EXPECT_EQUAL(mnl_set_link_state(node, MNL_LINK_RX, 0), KERN_SUCCESS);
    EXPECT(mnl_msg_try_to_node(node, 0) == MNL_MSG_NULL);
    EXPECT_EQUAL(mnl_msg_from_node_bounded(node, &msg, sizeof(msg), 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_set_link_state(node, MNL_LINK_TX, 0), KERN_SUCCESS);
    fetched = mnl_msg_to_node(node, 0);
    EXPECT(fetched != MNL_MSG_NULL);
    mnl_msg_complete(node, fetched, 0);
    EXPECT_EQUAL(mnl_terminate(node, 0), KERN_SUCCESS);
    EXPECT(mnl_msg_to_node(node, 0) == MNL_MSG_NULL);
    EXPECT_EQUAL(mnl_msg_from_node_bounded(node, &msg, sizeof(msg), 0), KERN_NODE_DOWN);
    mnl_msg_complete(node, MNL_MSG_NULL, 0);
    port_release(proxy);
    mnl_node_release(node, 0);
    test_host_destroy(host);
}

/* --- Buffers ---------------------------------------------------------------------------------- */

static void buffers_have_a_clean_header_and_may_be_any_size_up_to_the_largest(void)
{
    struct mach_host *host = test_host_create(1, 1);
    static const struct mnl_msg clean = {.size = 100};
    mnl_msg_t msg = mnl_msg_alloc(100, 0);

    REQUIRE(msg != MNL_MSG_NULL);
    EXPECT(memcmp(msg, &clean, sizeof(clean)) == 0);
    memset(msg, 0xff, sizeof(*msg) + 100);
    mnl_msg_free(msg, 0);
    msg = mnl_msg_alloc(0, 0);
    EXPECT(msg != MNL_MSG_NULL);
    mnl_msg_free(msg, 0);
    msg = mnl_msg_alloc(32 + (int)MESSAGE_BODY_MAXIMUM, 0);
    EXPECT(msg != MNL_MSG_NULL);
    mnl_msg_free(msg, 0);
    EXPECT(mnl_msg_alloc(33 + (int)MESSAGE_BODY_MAXIMUM, 0) == MNL_MSG_NULL);
    EXPECT(mnl_msg_alloc(-1, 0) == MNL_MSG_NULL);
    EXPECT(mnl_msg_alloc(INT32_MIN, 0) == MNL_MSG_NULL);
    mnl_msg_free(MNL_MSG_NULL, 0);
    EXPECT_EQUAL(test_statistics(host).messages, 0);
    test_host_destroy(host);
}

/* --- The table that the documentation is made from -------------------------------------------- */

static kern_return_t call_node(mnl_node_info_t node, enum node_call call)
{
    struct mnl_msg msg = {
        .sub = MNL_SUB_FLIPC, .cmd = 9, .flags = MNL_FLAG_SEQUENCED, .node_id = 2};

    switch (call) {
    case NODE_CALL_SET_INCARNATION:
        return mnl_set_incarnation(node, 9, 0);
    case NODE_CALL_SET_MESSAGE_MAX:
        return mnl_set_message_max(node, 1000, 0);
    case NODE_CALL_REGISTER:
        return mnl_register(node, 0);
    case NODE_CALL_SET_LINK_STATE:
        (void)mnl_set_link_down(node, MNL_LINK_UP, 0);
        return mnl_set_link_state(node, MNL_LINK_UP, 0);
    case NODE_CALL_SET_LINK_DOWN:
        return mnl_set_link_down(node, MNL_LINK_UP, 0);
    case NODE_CALL_SUSPEND:
        return mnl_suspend(node, 0);
    case NODE_CALL_RESUME:
        (void)mnl_suspend(node, 0);
        return mnl_resume(node, 0);
    case NODE_CALL_MSG_FROM_NODE:
        (void)mnl_set_link_state(node, MNL_LINK_UP, 0);
        return mnl_msg_from_node_bounded(node, &msg, sizeof(msg), 0);
    case NODE_CALL_MSG_TO_NODE: /* answers null; which of the codes it stands for is told apart by
                                   the table alone */
        return node_allows(node_of_handle(node), call);
    case NODE_CALL_SET_FLOW:
        (void)mnl_set_incarnation(node, 9, 0);
        return mnl_set_flow(node, MNL_FLOW_IN_MESSAGES, 0);
    case NODE_CALL_DETACH:
        return mnl_detach(node, 0);
    case NODE_CALL_TERMINATE:
        return mnl_terminate(node, 0);
    }
    return KERN_INVALID_ARGUMENT;
}

#define CALL(call, instantiated, registered, dead, next) NODE_CALL_##call,
static const enum node_call calls[] = {NODE_LIFE(CALL)};
#undef CALL

static int state_after(enum node_call call, int state)
{
#define CALL(name, instantiated, registered, dead, next) NODE_##next,
    enum { NODE_SAME = -1 };
    static const int states[] = {NODE_LIFE(CALL)};
#undef CALL

    return states[call] == NODE_SAME ? state : states[call];
}

/* Every call in every state of a fresh node: answers as the table says, and leads where it says. */
static void every_call_answers_as_the_table_says(void)
{
    for (unsigned i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        for (int state = NODE_INSTANTIATED; state <= NODE_DEAD; state++) {
            struct mach_host *host = test_host_create(1, 1);
            mnl_node_info_t node = test_node_instantiate(2);
            kern_return_t expected;

            if (state != NODE_INSTANTIATED)
                REQUIRE(mnl_register(node, 0) == KERN_SUCCESS);
            if (state == NODE_DEAD)
                REQUIRE(mnl_terminate(node, 0) == KERN_SUCCESS);
            expected = node_allows(node_of_handle(node), calls[i]);
            EXPECT_EQUAL(call_node(node, calls[i]), expected);
            EXPECT_EQUAL(node_of_handle(node)->state,
                         expected == KERN_SUCCESS ? state_after(calls[i], state) : state);
            if (!mnl_is_detached(node)) /* else it is the kernel's, and goes with the host */
                mnl_node_release(node, 0);
            test_host_destroy(host);
        }
    }
}

static const struct unit_test mnl_tests[] = {
    {"only ids of other nodes are instantiated", only_ids_of_other_nodes_are_instantiated},
    {"register checks the info and leaves the node as it was",
     register_checks_the_info_and_leaves_the_node_as_it_was},
    {"peers of every byte order and data model register",
     peers_of_every_byte_order_and_data_model_register},
    {"a second life waits for the end of the first", a_second_life_waits_for_the_end_of_the_first},
    {"a stale incarnation is refused", a_stale_incarnation_is_refused},
    {"a message limit is given before registration", a_message_limit_is_given_before_registration},
    {"link bits rise one by one and fall", link_bits_rise_one_by_one_and_fall},
    {"nothing is fetched or delivered before its bit is up",
     nothing_is_fetched_or_delivered_before_its_bit_is_up},
    {"every call answers as the table says", every_call_answers_as_the_table_says},
    {"buffers have a clean header and may be any size up to the largest",
     buffers_have_a_clean_header_and_may_be_any_size_up_to_the_largest},
};
UNIT_SUITE("mnl", mnl_tests);
