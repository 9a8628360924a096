/* SPDX-License-Identifier: MIT
 *
 * The contract of kernel/mach_node_link.h: every return code, the life of a node, and its death.
 */
#include "hosts.h"
#include "unit.h"
#include <string.h>

static void fill_info(mnl_node_info_t node)
{
    node->datamodel = MNL_DATAMODEL_LP64;
    node->byteorder = MNL_BYTEORDER_LITTLE;
    node->proto_vers_min = 1;
    node->proto_vers_max = 1;
}

static mnl_node_info_t new_node(mach_node_id_t nid)
{
    mnl_node_info_t node = mnl_instantiate(nid, 0);

    REQUIRE(node != MNL_NODE_NULL);
    fill_info(node);
    return node;
}

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
    mnl_node_info_t node = new_node(2);
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

static void a_second_life_waits_for_the_end_of_the_first(void)
{
    struct mach_host *host = test_host_create(1, 1);
    mnl_node_info_t first = new_node(2), second = new_node(2);

    EXPECT_EQUAL(mnl_set_incarnation(first, 10, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_set_incarnation(second, 11, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_register(first, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_register(second, 0), KERN_FAILURE);
    EXPECT_EQUAL(node_incarnation(host, 2), 10);
    EXPECT_EQUAL(mnl_terminate(first, 0), KERN_SUCCESS);
    EXPECT_EQUAL(node_incarnation(host, 2), 0);
    EXPECT_EQUAL(mnl_register(second, 0), KERN_SUCCESS);
    EXPECT_EQUAL(node_incarnation(host, 2), 11);
    EXPECT_EQUAL(mnl_register(first, 0), KERN_NODE_DOWN);
    mnl_node_release(first, 0);
    EXPECT_EQUAL(node_incarnation(host, 2), 11);
    mnl_node_release(second, 0);
    test_host_destroy(host);
}

static void a_stale_incarnation_is_refused(void)
{
    struct mach_host *host = test_host_create(1, 1);
    mnl_node_info_t node = new_node(2), late = new_node(2);

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

static void link_bits_rise_one_by_one_and_fall(void)
{
    struct mach_host *host = test_host_create(1, 1);
    mnl_node_info_t node = new_node(2);

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
    mnl_node_info_t node = new_node(2);
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

/* --- Observers and death ---------------------------------------------------------------------- */

struct notices {
    unsigned up, dead, self_dead;
    uint64_t last_up, last_dead;
    enum node_death_cause cause;
    bool dead_before_up;
};

static void note_up(void *context, uint32_t node_id, uint64_t incarnation)
{
    struct notices *notices = context;

    EXPECT_EQUAL(node_id, 2);
    notices->up++;
    notices->last_up = incarnation;
    notices->dead_before_up = notices->last_dead != 0;
}

static void note_dead(void *context, uint32_t node_id, uint64_t incarnation,
                      enum node_death_cause cause)
{
    struct notices *notices = context;

    if (node_id != 2)
        return;
    EXPECT(notices->last_dead < incarnation);
    notices->dead++;
    notices->last_dead = incarnation;
    notices->cause = cause;
}

static void note_self_dead(void *context, uint64_t incarnation, enum node_death_cause cause)
{
    struct notices *notices = context;

    (void)incarnation;
    notices->self_dead++;
    notices->cause = cause;
}

static struct node_observer observer_of(struct notices *notices)
{
    return (struct node_observer){
        .context = notices, .up = note_up, .dead = note_dead, .self_dead = note_self_dead};
}

static void a_node_is_told_up_once_when_both_directions_were(void)
{
    struct mach_host *host = test_host_create(1, 1);
    struct notices notices = {0}, second = {0};
    struct node_observer observers[] = {observer_of(&notices), observer_of(&second)};
    mnl_node_info_t node = new_node(2);

    node_observe(host, &observers[0]);
    node_observe(host, &observers[1]);
    EXPECT_EQUAL(mnl_set_incarnation(node, 42, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_set_link_state(node, MNL_LINK_UP, 0), KERN_SUCCESS);
    EXPECT_EQUAL(notices.up, 0);
    EXPECT_EQUAL(mnl_register(node, 0), KERN_SUCCESS);
    EXPECT_EQUAL(notices.up, 1);
    EXPECT_EQUAL(second.up, 1);
    EXPECT_EQUAL(notices.last_up, 42);
    EXPECT_EQUAL(mnl_set_link_down(node, MNL_LINK_UP, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_set_link_state(node, MNL_LINK_UP, 0), KERN_SUCCESS);
    EXPECT_EQUAL(notices.up, 1);
    mnl_node_release(node, 0);
    EXPECT_EQUAL(notices.dead, 1);
    EXPECT_EQUAL(notices.last_dead, 42);
    EXPECT_EQUAL(notices.cause, NODE_DEATH_DRIVER);
    test_host_destroy(host);
}

static void a_death_is_told_exactly_once_for_each_incarnation(void)
{
    struct mach_host *host = test_host_create(1, 1);
    struct notices notices = {0};
    struct node_observer observer = observer_of(&notices);
    mnl_node_info_t node;

    node_observe(host, &observer);
    node = test_node_create(host, 2, 5);
    EXPECT(node_declare_dead(host, 1, 5, NODE_DEATH_HOST) == ERROR_INVALID);
    EXPECT(node_declare_dead(host, 64, 5, NODE_DEATH_HOST) == ERROR_INVALID);
    EXPECT(node_declare_dead(host, 2, 0, NODE_DEATH_HOST) == ERROR_INVALID);
    EXPECT_EQUAL(node_declare_dead(host, 2, 5, NODE_DEATH_SILENCE), 0);
    EXPECT(node_declare_dead(host, 2, 5, NODE_DEATH_HOST) == ERROR_EXISTS);
    EXPECT(node_declare_dead(host, 2, 4, NODE_DEATH_HOST) == ERROR_EXISTS);
    EXPECT_EQUAL(mnl_terminate(node, 0), KERN_NODE_DOWN);
    mnl_node_release(node, 0);
    EXPECT_EQUAL(notices.dead, 1);
    EXPECT_EQUAL(notices.cause, NODE_DEATH_SILENCE);
    /* One that was never seen here, while an older one lives: both are over. */
    node = test_node_create(host, 2, 6);
    EXPECT(notices.dead_before_up);
    EXPECT_EQUAL(node_declare_dead(host, 2, 9, NODE_DEATH_HOST), 0);
    EXPECT_EQUAL(notices.dead, 3);
    EXPECT_EQUAL(notices.last_dead, 9);
    mnl_node_release(node, 0);
    EXPECT_EQUAL(notices.dead, 3);
    EXPECT_EQUAL(test_statistics(host).deaths, 3);
    /* An older one dying late does not touch the living. */
    node = test_node_create(host, 2, 12);
    EXPECT_EQUAL(node_declare_dead(host, 2, 10, NODE_DEATH_HOST), 0);
    EXPECT_EQUAL(node_incarnation(host, 2), 12);
    mnl_node_release(node, 0);
    test_host_destroy(host);
}

static mnl_msg_t death_message(uint32_t from, uint32_t sequence, struct node_death_body body)
{
    mnl_msg_t msg = mnl_msg_alloc(sizeof(body), 0);

    msg->sub = MNL_SUB_NODE;
    msg->cmd = NODE_DEATH;
    msg->flags = MNL_FLAG_SEQUENCED;
    msg->node_id = from;
    msg->options = sequence;
    memcpy(MNL_MSG_PAYLOAD(msg), &body, sizeof(body));
    return msg;
}

static void node_zero_alone_declares_others_dead_by_message(void)
{
    struct mach_host *host = test_host_create(1, 77);
    struct notices notices = {0};
    struct node_observer observer = observer_of(&notices);
    mnl_node_info_t master, other, victim;
    size_t length = sizeof(struct mnl_msg) + sizeof(struct node_death_body);
    struct node_death_body death = {.node_id = 2, .cause = NODE_DEATH_HOST, .incarnation = 5};

    master = test_node_create(host, 0, 1);
    other = test_node_create(host, 3, 1);
    victim = test_node_create(host, 2, 5);
    node_observe(host, &observer);
    EXPECT_EQUAL(mnl_msg_take_from_node(other, death_message(3, 0, death), length, 0),
                 KERN_SUCCESS);
    EXPECT_EQUAL(notices.dead, 0);
    EXPECT_EQUAL(mnl_msg_take_from_node(master, death_message(0, 0, death), length, 0),
                 KERN_SUCCESS);
    EXPECT_EQUAL(notices.dead, 1);
    EXPECT_EQUAL(notices.cause, NODE_DEATH_HOST);
    EXPECT(mnl_msg_try_to_node(victim, 0) == MNL_MSG_NULL);
    EXPECT_EQUAL(mnl_terminate(victim, 0), KERN_NODE_DOWN);
    /* Ourselves: this life, not another. */
    death = (struct node_death_body){.node_id = 1, .cause = NODE_DEATH_SILENCE, .incarnation = 76};
    EXPECT_EQUAL(mnl_msg_take_from_node(master, death_message(0, 1, death), length, 0),
                 KERN_SUCCESS);
    EXPECT_EQUAL(notices.self_dead, 0);
    death.incarnation = 77;
    EXPECT_EQUAL(mnl_msg_take_from_node(master, death_message(0, 2, death), length, 0),
                 KERN_SUCCESS);
    EXPECT_EQUAL(notices.self_dead, 1);
    EXPECT_EQUAL(notices.cause, NODE_DEATH_SILENCE);
    /* Nonsense: node 0 itself, an id out of range. */
    death.node_id = 0;
    EXPECT_EQUAL(mnl_msg_take_from_node(master, death_message(0, 3, death), length, 0),
                 KERN_SUCCESS);
    death.node_id = 5000;
    EXPECT_EQUAL(mnl_msg_take_from_node(master, death_message(0, 4, death), length, 0),
                 KERN_SUCCESS);
    EXPECT_EQUAL(node_incarnation(host, 0), 1);
    EXPECT_EQUAL(mnl_flow_next(master), 5);
    EXPECT_EQUAL(mnl_flow_ack(master), 5);
    mnl_node_release(master, 0);
    mnl_node_release(other, 0);
    mnl_node_release(victim, 0);
    test_host_destroy(host);
}

static void death_decides_every_outcome_at_once(void)
{
    struct pair pair = pair_create();
    struct port *principal, *proxy, *local;
    struct outcomes outcomes = {0};
    mnl_msg_t held;

    REQUIRE(port_create(pair.hosts[1], &principal) == 0);
    REQUIRE(port_publish(principal, TEST_KERNEL_PORT(pair.hosts[1])) == 0);
    proxy = port_from_name(pair.hosts[0], TEST_KERNEL_PORT(pair.hosts[1]));
    for (uint64_t i = 0; i < 5; i++)
        EXPECT_EQUAL(test_send_counted(proxy, i, &outcomes), MACH_MSG_SUCCESS);
    EXPECT(pair_move_one(&pair, 0));
    EXPECT(pair_move_one(&pair, 0));
    EXPECT(test_receive(principal, 0));
    pair_headers(&pair, 1);
    held = pair_fetch(&pair, 0);
    EXPECT_EQUAL(mnl_terminate(pair.nodes[0], 0), KERN_SUCCESS);
    EXPECT_EQUAL(outcomes.settled, 1);
    EXPECT_EQUAL(outcomes.unknown, 2);
    EXPECT_EQUAL(outcomes.failed, 2);
    EXPECT(port_is_dead(proxy));
    EXPECT_EQUAL(test_send(proxy, 9), MACH_SEND_INVALID_DEST);
    EXPECT_EQUAL(test_statistics(pair.hosts[0]).messages, 1);
    mnl_msg_complete(pair.nodes[0], held, 0);
    EXPECT_EQUAL(test_statistics(pair.hosts[0]).messages, 0);
    EXPECT_EQUAL(test_statistics(pair.hosts[0]).names, 0);
    /* What had arrived from the dead node is still received. */
    EXPECT_EQUAL(mnl_terminate(pair.nodes[1], 0), KERN_SUCCESS);
    EXPECT(test_receive(principal, 1));
    EXPECT_EQUAL(mnl_flow_ack_deadline_ns(pair.nodes[1]), DEADLINE_NEVER);
    /* A reply port that was a proxy of it stays refusable as long as somebody has it. */
    local = port_from_name(pair.hosts[0], TEST_KERNEL_PORT(pair.hosts[1]));
    EXPECT(local == NULL);
    port_release(proxy);
    EXPECT_EQUAL(test_statistics(pair.hosts[0]).ports, 0);
    port_destroy(principal);
    pair_destroy(&pair);
}

static void death_with_refusals_on_their_way_leaves_nothing(void)
{
    for (int stage = 0; stage < 3; stage++) {
        struct pair pair = pair_create();
        struct port *nobody = port_from_name(pair.hosts[0], NAME_WELL_KNOWN(2, 77));
        mnl_msg_t nak = MNL_MSG_NULL;

        EXPECT_EQUAL(test_send(nobody, 0), MACH_MSG_SUCCESS);
        EXPECT(pair_move_one(&pair, 0));
        if (stage > 0)
            nak = pair_fetch(&pair, 1);
        if (stage > 1)
            mnl_msg_complete(pair.nodes[1], nak, 0);
        EXPECT_EQUAL(mnl_terminate(pair.nodes[1], 0), KERN_SUCCESS);
        if (stage == 1)
            mnl_msg_complete(pair.nodes[1], nak, 0);
        EXPECT_EQUAL(test_statistics(pair.hosts[1]).messages, 0);
        port_release(nobody);
        pair_destroy(&pair);
    }
}

static const struct unit_test mnl_tests[] = {
    {"only ids of other nodes are instantiated", only_ids_of_other_nodes_are_instantiated},
    {"register checks the info and leaves the node as it was",
     register_checks_the_info_and_leaves_the_node_as_it_was},
    {"a second life waits for the end of the first", a_second_life_waits_for_the_end_of_the_first},
    {"a stale incarnation is refused", a_stale_incarnation_is_refused},
    {"link bits rise one by one and fall", link_bits_rise_one_by_one_and_fall},
    {"nothing is fetched or delivered before its bit is up",
     nothing_is_fetched_or_delivered_before_its_bit_is_up},
    {"buffers have a clean header and may be any size up to the largest",
     buffers_have_a_clean_header_and_may_be_any_size_up_to_the_largest},
    {"a node is told up once, when both directions were",
     a_node_is_told_up_once_when_both_directions_were},
    {"a death is told exactly once for each incarnation",
     a_death_is_told_exactly_once_for_each_incarnation},
    {"node 0 alone declares others dead by message",
     node_zero_alone_declares_others_dead_by_message},
    {"death decides every outcome at once", death_decides_every_outcome_at_once},
    {"death with refusals on their way leaves nothing",
     death_with_refusals_on_their_way_leaves_nothing},
};
UNIT_SUITE("mnl", mnl_tests);
