/* SPDX-License-Identifier: MIT
 *
 * The end of an incarnation: who is told, in which order, and what becomes of its messages.
 */
#include "hosts.h"
#include "native.h"
#include "unit.h"
#include <string.h>

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
    mnl_node_info_t node = test_node_instantiate(2);

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

static void register_next_life(void *context, uint32_t node_id, uint64_t incarnation,
                               enum node_death_cause cause)
{
    mnl_node_info_t next = test_node_instantiate((mach_node_id_t)node_id);

    (void)cause;
    EXPECT_EQUAL(mnl_set_incarnation(next, incarnation + 1, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_register(next, 0), KERN_FAILURE);
    *(mnl_node_info_t *)context = next;
}

static void nobody_registers_before_the_death_of_the_old_life_is_told(void)
{
    struct mach_host *host = test_host_create(1, 1);
    mnl_node_info_t node = test_node_create(host, 2, 5), next = MNL_NODE_NULL;
    struct node_observer observer = {.context = &next, .dead = register_next_life};

    node_observe(host, &observer);
    EXPECT_EQUAL(mnl_terminate(node, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_register(next, 0), KERN_SUCCESS);
    observer.dead = NULL;
    mnl_node_release(node, 0);
    mnl_node_release(next, 0);
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
    struct node_death_body death = {
        .node_id = le32_of(2), .cause = le32_of(NODE_DEATH_HOST), .incarnation = le64_of(5)};

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
    death = (struct node_death_body){
        .node_id = le32_of(1), .cause = le32_of(NODE_DEATH_SILENCE), .incarnation = le64_of(76)};
    EXPECT_EQUAL(mnl_msg_take_from_node(master, death_message(0, 1, death), length, 0),
                 KERN_SUCCESS);
    EXPECT_EQUAL(notices.self_dead, 0);
    STORE(death.incarnation, 77);
    EXPECT_EQUAL(mnl_msg_take_from_node(master, death_message(0, 2, death), length, 0),
                 KERN_SUCCESS);
    EXPECT_EQUAL(notices.self_dead, 1);
    EXPECT_EQUAL(notices.cause, NODE_DEATH_SILENCE);
    /* Nonsense: node 0 itself, an id out of range. */
    STORE(death.node_id, 0);
    EXPECT_EQUAL(mnl_msg_take_from_node(master, death_message(0, 3, death), length, 0),
                 KERN_SUCCESS);
    STORE(death.node_id, 5000);
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
    /* Nothing of a dead node is received after its death was told. */
    EXPECT_EQUAL(mnl_terminate(pair.nodes[1], 0), KERN_SUCCESS);
    EXPECT(!test_receive(principal, 1));
    EXPECT_EQUAL(test_statistics(pair.hosts[1]).messages, 0);
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

static const struct unit_test death_tests[] = {
    {"a node is told up once, when both directions were",
     a_node_is_told_up_once_when_both_directions_were},
    {"a death is told exactly once for each incarnation",
     a_death_is_told_exactly_once_for_each_incarnation},
    {"nobody registers before the death of the old life is told",
     nobody_registers_before_the_death_of_the_old_life_is_told},
    {"node 0 alone declares others dead by message",
     node_zero_alone_declares_others_dead_by_message},
    {"death decides every outcome at once", death_decides_every_outcome_at_once},
    {"death with refusals on their way leaves nothing",
     death_with_refusals_on_their_way_leaves_nothing},
};
UNIT_SUITE("death", death_tests);
