/* SPDX-License-Identifier: MIT
 *
 * Hosts for unit tests; see hosts.h.
 */
#include "hosts.h"
#include "core/heap.h"
#include "core/port.h"
#include "unit.h"
#include <stdlib.h>
#include <string.h>

struct mach_host_configuration test_configuration(uint32_t node_id, uint64_t incarnation)
{
    return (struct mach_host_configuration){
        .node_id = node_id,
        .incarnation = incarnation,
        .seed = 1,
        .constants = {.nodes_max = 64,
                      .window = TEST_WINDOW,
                      .keepalive_ns = 100000000,
                      .link_down_after_ns = 1000000000,
                      .dead_after_ns = 3000000000,
                      .ack_delay_ns = TEST_ACK_DELAY_NS,
                      .ack_count = TEST_ACK_COUNT},
    };
}

struct mach_host *test_host_create(uint32_t node_id, uint64_t incarnation)
{
    struct mach_host_configuration configuration = test_configuration(node_id, incarnation);
    struct mach_host *host = malloc(sizeof(*host));

    configuration.arena = aligned_alloc(16, TEST_ARENA_BYTES);
    configuration.arena_bytes = TEST_ARENA_BYTES;
    REQUIRE(host != NULL && configuration.arena != NULL);
    REQUIRE(mach_host_initialize(host, &configuration) == 0);
    REQUIRE((void *)host->heap == configuration.arena);
    thread_set_host(host);
    return host;
}

void test_host_destroy(struct mach_host *host)
{
    void *arena = host->heap;

    heap_check(host);
    mach_host_destroy(host);
    thread_set_host(NULL);
    free(arena);
    free(host);
}

mnl_node_info_t test_node_instantiate(uint32_t node_id)
{
    mnl_node_info_t node = mnl_instantiate((mach_node_id_t)node_id, 0);

    REQUIRE(node != MNL_NODE_NULL);
    node->datamodel = MNL_DATAMODEL_LP64;
    node->byteorder = MNL_BYTEORDER_LITTLE;
    node->proto_vers_min = 1;
    node->proto_vers_max = 1;
    return node;
}

mnl_node_info_t test_node_create(struct mach_host *host, uint32_t node_id, uint64_t incarnation)
{
    mnl_node_info_t node;

    thread_set_host(host);
    node = mnl_instantiate((mach_node_id_t)node_id, 0);
    REQUIRE(node != MNL_NODE_NULL);
    node->datamodel = MNL_DATAMODEL_LP64;
    node->byteorder = MNL_BYTEORDER_LITTLE;
    node->proto_vers_min = 1;
    node->proto_vers_max = 1;
    REQUIRE(mnl_set_incarnation(node, incarnation, 0) == KERN_SUCCESS);
    REQUIRE(mnl_register(node, 0) == KERN_SUCCESS);
    REQUIRE(mnl_set_link_state(node, MNL_LINK_UP, 0) == KERN_SUCCESS);
    return node;
}

/* --- Pairs ------------------------------------------------------------------------------------ */

struct pair pair_create(void)
{
    struct pair pair;

    for (uint32_t i = 0; i < 2; i++)
        pair.hosts[i] = test_host_create(i + 1, TEST_INCARNATION(1));
    for (uint32_t i = 0; i < 2; i++)
        pair.nodes[i] = test_node_create(pair.hosts[i], 2 - i, TEST_INCARNATION(1));
    return pair;
}

void pair_destroy(struct pair *pair)
{
    for (int i = 0; i < 2; i++) {
        mnl_node_release(pair->nodes[i], 0);
        test_host_destroy(pair->hosts[i]);
    }
}

mnl_msg_t pair_fetch(struct pair *pair, int from)
{
    return mnl_msg_try_to_node(pair->nodes[from], 0);
}

mnl_msg_t pair_copy(struct pair *pair, int to, mnl_msg_t msg)
{
    mnl_msg_t copy;

    thread_set_host(pair->hosts[to]);
    copy = mnl_msg_alloc((int)msg->size, 0);
    REQUIRE(copy != MNL_MSG_NULL);
    memcpy(copy, msg, sizeof(*msg) + msg->size);
    return copy;
}

kern_return_t pair_deliver(struct pair *pair, int to, mnl_msg_t msg)
{
    pair_headers(pair, 1 - to);
    return mnl_msg_take_from_node(pair->nodes[to], msg, sizeof(*msg) + msg->size, 0);
}

bool pair_move_one(struct pair *pair, int from)
{
    mnl_msg_t msg = pair_fetch(pair, from);
    mnl_msg_t copy;

    if (msg == MNL_MSG_NULL)
        return false;
    copy = pair_copy(pair, 1 - from, msg);
    mnl_msg_complete(pair->nodes[from], msg, 0);
    EXPECT_EQUAL(pair_deliver(pair, 1 - from, copy), KERN_SUCCESS);
    return true;
}

void pair_headers(struct pair *pair, int from)
{
    mnl_flow_peer(pair->nodes[1 - from], mnl_flow_ack(pair->nodes[from]),
                  mnl_flow_credit(pair->nodes[from]));
    mnl_flow_acknowledged(pair->nodes[from], clock_now_ns());
}

void pair_settle(struct pair *pair)
{
    bool moved;

    do {
        moved = false;
        pair_headers(pair, 0);
        pair_headers(pair, 1);
        for (int from = 0; from < 2; from++) {
            while (pair_move_one(pair, from))
                moved = true;
        }
    } while (moved);
}

/* --- Messages --------------------------------------------------------------------------------- */

struct kmsg *test_message(struct mach_host *host, uint64_t number)
{
    struct kmsg *kmsg = kmsg_allocate(host, sizeof(number));

    REQUIRE(kmsg != NULL);
    memcpy(kmsg_body(kmsg), &number, sizeof(number));
    return kmsg;
}

mach_msg_return_t test_send_counted(struct port *port, uint64_t number, struct outcomes *outcomes)
{
    struct kmsg *kmsg = test_message(port->host, number);
    mach_msg_return_t result;

    if (outcomes != NULL)
        kmsg_set_completion(kmsg, outcomes_count, outcomes);
    result = mach_msg_send(kmsg, port, NULL, PORT_NONE, 0);
    if (result != MACH_MSG_SUCCESS)
        kmsg_free(kmsg);
    return result;
}

mach_msg_return_t test_send(struct port *port, uint64_t number)
{
    return test_send_counted(port, number, NULL);
}

uint64_t test_number(struct kmsg *kmsg)
{
    uint64_t number = 0;

    EXPECT_EQUAL(kmsg_body_size(kmsg), sizeof(number));
    memcpy(&number, kmsg_body(kmsg), sizeof(number));
    return number;
}

bool test_receive(struct port *port, uint64_t number)
{
    struct kmsg *kmsg;
    bool equal;

    if (mach_msg_receive(port, &kmsg, 0) != MACH_MSG_SUCCESS)
        return false;
    equal = test_number(kmsg) == number;
    kmsg_free(kmsg);
    return equal;
}

struct message_item test_port_item(struct port *port, enum port_transfer transfer)
{
    return (struct message_item){.type = MESSAGE_PORT, .transfer = transfer, .port = port};
}

bool test_notified(struct port *port, int32_t id)
{
    struct kmsg *kmsg;
    bool is_it;

    if (mach_msg_receive(port, &kmsg, 0) != MACH_MSG_SUCCESS)
        return false;
    is_it = kmsg_id(kmsg) == id;
    EXPECT(is_it);
    kmsg_free(kmsg);
    return is_it;
}

void outcomes_count(void *context, enum message_outcome outcome)
{
    struct outcomes *outcomes = context;

    if (outcome == MESSAGE_SETTLED)
        outcomes->settled++;
    else if (outcome == MESSAGE_FAILED)
        outcomes->failed++;
    else if (outcome == MESSAGE_UNKNOWN)
        outcomes->unknown++;
    else
        REQUIRE(false);
}

struct node_statistics test_statistics(struct mach_host *host)
{
    struct node_statistics statistics;

    node_statistics_read(host, &statistics);
    return statistics;
}

/* --- Talks ------------------------------------------------------------------------------------ */

struct talk talk_create(void)
{
    struct talk talk = {.pair = pair_create()};

    REQUIRE(port_create(talk.pair.hosts[1], &talk.principal) == 0);
    REQUIRE(port_publish(talk.principal, TEST_KERNEL_PORT(talk.pair.hosts[1])) == 0);
    talk.proxy = port_from_name(talk.pair.hosts[0], TEST_KERNEL_PORT(talk.pair.hosts[1]));
    REQUIRE(talk.proxy != NULL);
    return talk;
}

void talk_destroy(struct talk *talk)
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
