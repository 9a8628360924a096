/* SPDX-License-Identifier: MIT
 *
 * NODE messages, the node server and its directory, and who a message is from: on one node and
 * between two. Tests are named by the rows of docs/spec/gaps.md that they hold up.
 */
#include "core/node.h"
#include "core/node_notice.h"
#include "mesh.h"
#include "native.h"
#include "unit.h"
#include "whole_node.h"

#include <abi/flipc.h>
#include <abi/services.h>
#include <kernel/node.h>
#include <string.h>

#define ARENA_BYTES (4u << 20)

/* --- NODE messages, moved by hand ------------------------------------------------------------- */

static struct node_registration_body registration(struct port *port, bool *has_right)
{
    struct node_registration_body body = {.identifier = le32_of(~0u)};
    struct port *right;
    struct kmsg *kmsg;

    *has_right = false;
    if (mach_msg_receive(port, &kmsg, 0) != MACH_MSG_SUCCESS)
        return body;
    EXPECT_EQUAL(kmsg_id(kmsg), NODE_REGISTRATION_ID);
    EXPECT(kmsg_is_from_this_kernel(kmsg));
    EXPECT_EQUAL(kmsg_body_size(kmsg), sizeof(body));
    memcpy(&body, kmsg_body(kmsg), sizeof(body));
    right = kmsg_take_reply_port(kmsg);
    *has_right = right != NULL;
    if (right != NULL)
        port_release(right);
    kmsg_free(kmsg);
    return body;
}

static struct port *bootstrap(struct mesh *mesh, unsigned which)
{
    struct port *port;

    REQUIRE(port_create(mesh->hosts[which], &port) == 0);
    REQUIRE(node_set_bootstrap(mesh->hosts[which], port) == 0);
    return port;
}

static void expect_registration(struct port *port, enum node_registration identifier,
                                uint32_t node_id, bool with_right)
{
    bool has_right;
    struct node_registration_body body = registration(port, &has_right);

    EXPECT_EQUAL(le32_load(body.identifier), identifier);
    EXPECT_EQUAL(le32_load(body.node_id), node_id);
    EXPECT_EQUAL(has_right, with_right);
    EXPECT_EQUAL(body.reserved[0] + body.reserved[1] + le32_load(body.options), 0);
}

static void b10_nodes_learn_that_a_bootstrap_port_came_and_went(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *first = bootstrap(&mesh, 0), *second;
    struct kmsg *kmsg;

    expect_registration(first, NODE_REGISTRATION_LOCAL, 1, false);
    mesh_settle(&mesh);
    second = bootstrap(&mesh, 1);
    expect_registration(second, NODE_REGISTRATION_LOCAL, 2, false);
    expect_registration(second, NODE_REGISTRATION_REMOTE, 1, true);
    mesh_settle(&mesh);
    expect_registration(first, NODE_REGISTRATION_REMOTE, 2, true);
    EXPECT(mach_msg_receive(first, &kmsg, 0) == MACH_RCV_TIMED_OUT);
    node_clear_bootstrap(mesh.hosts[1]);
    port_destroy(second);
    mesh_settle(&mesh);
    expect_registration(first, NODE_REGISTRATION_GONE, 2, false);
    /* It comes again, and its node dies. */
    second = bootstrap(&mesh, 1);
    mesh_settle(&mesh);
    expect_registration(first, NODE_REGISTRATION_REMOTE, 2, true);
    mesh_kill(&mesh, 1);
    expect_registration(first, NODE_REGISTRATION_GONE, 2, false);
    mesh_settle(&mesh);
    node_clear_bootstrap(mesh.hosts[0]);
    port_destroy(first);
    mesh_destroy(&mesh);
}

static void m4_a_node_that_leaves_is_dead_to_the_others(void)
{
    struct mesh mesh = mesh_create(2);

    node_leave(mesh.hosts[0]);
    EXPECT(mesh_move_one(&mesh, 0, 1));
    EXPECT_EQUAL(node_incarnation(mesh.hosts[1], 1), 0);
    EXPECT(node_is_declared_dead(mesh.hosts[1], 1, TEST_INCARNATION(1)));
    EXPECT_EQUAL(node_incarnation(mesh.hosts[0], 2), TEST_INCARNATION(1));
    mnl_node_release(mesh.nodes[1][0], 0);
    EXPECT_EQUAL(node_declare_dead(mesh.hosts[0], 2, TEST_INCARNATION(1), NODE_DEATH_HOST), 0);
    mnl_node_release(mesh.nodes[0][1], 0);
    test_host_destroy(mesh.hosts[0]);
    test_host_destroy(mesh.hosts[1]);
}

/* A NODE message with these bytes, as node 1 would send it to node 2. */
static void deliver_node_message(struct mesh *mesh, uint32_t sequence, uint8_t command,
                                 const void *payload, size_t size_bytes)
{
    struct wire_mnl_header header = {.sub = MNL_SUB_NODE,
                                     .cmd = command,
                                     .flags = MNL_FLAG_SEQUENCED,
                                     .node_id = le32_of(1),
                                     .options = le32_of(sequence),
                                     .size = le32_of((uint32_t)size_bytes)};
    mnl_msg_t copy;

    thread_set_host(mesh->hosts[1]);
    copy = mnl_msg_alloc((int)size_bytes, 0);
    REQUIRE(copy != MNL_MSG_NULL);
    memcpy(copy, &header, sizeof(header));
    memcpy(MNL_MSG_PAYLOAD(copy), payload, size_bytes);
    EXPECT_EQUAL(mnl_msg_take_from_node(mesh->nodes[1][0], copy, sizeof(header) + size_bytes, 0),
                 KERN_SUCCESS);
}

static void m4_node_messages_that_cannot_be_are_dropped(void)
{
    struct mesh mesh = mesh_create(2);
    struct node_hello_body hello = {.incarnation = le64_of(TEST_INCARNATION(2)),
                                    .protocol_minimum = 1,
                                    .protocol_maximum = 1,
                                    .data_model = MNL_DATAMODEL_LOCAL,
                                    .byte_order = MNL_BYTEORDER_LOCAL};
    struct node_bootstrap_body other = {.name = le64_of(NAME_WELL_KNOWN(3, NAME_SERIAL_BOOTSTRAP))};
    struct node_leave_body leave = {.incarnation = le64_of(TEST_INCARNATION(2))};
    uint64_t dropped = mesh.hosts[1]->nodes->counters.dropped;
    uint32_t sequence = 0;

    deliver_node_message(&mesh, sequence++, NODE_HELLO, &hello, sizeof(hello)); /* another life */
    hello.incarnation = le64_of(TEST_INCARNATION(1));
    deliver_node_message(&mesh, sequence++, NODE_HELLO, &hello, sizeof(hello) - 1);
    hello.protocol_minimum = 2;
    deliver_node_message(&mesh, sequence++, NODE_HELLO, &hello, sizeof(hello));
    deliver_node_message(&mesh, sequence++, NODE_BOOTSTRAP_UP, &other, sizeof(other));
    deliver_node_message(&mesh, sequence++, NODE_BOOTSTRAP_DOWN, &other, 0);
    deliver_node_message(&mesh, sequence++, NODE_LEAVE, &leave, sizeof(leave));
    deliver_node_message(&mesh, sequence++, 99, &leave, sizeof(leave));
    EXPECT_EQUAL(mesh.hosts[1]->nodes->counters.dropped, dropped + sequence);
    EXPECT_EQUAL(node_incarnation(mesh.hosts[1], 1), TEST_INCARNATION(1));
    EXPECT_EQUAL(mnl_flow_next(mesh.nodes[1][0]), sequence);
    thread_set_host(mesh.hosts[0]);
    for (unsigned i = 0; i < 2; i++) {
        mnl_node_release(mesh.nodes[i][1 - i], 0);
        test_host_destroy(mesh.hosts[i]);
    }
}

/* --- Who a message is from -------------------------------------------------------------------- */

static void l1_the_sender_travels_and_is_never_this_kernel(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *there = port_from_name(mesh.hosts[0], port_name(mesh_door(&mesh, 1)));
    struct kmsg *kmsg;

    for (uint16_t sender = 0; sender < 300; sender = (uint16_t)(sender + 299)) {
        kmsg = kmsg_allocate(mesh.hosts[0], 0);
        kmsg_set_sender(kmsg, sender);
        EXPECT_EQUAL(mach_msg_send(kmsg, there, NULL, PORT_NONE, 0), MACH_MSG_SUCCESS);
        mesh_settle(&mesh);
        REQUIRE(mach_msg_receive(mesh_door(&mesh, 1), &kmsg, 0) == MACH_MSG_SUCCESS);
        EXPECT_EQUAL(kmsg_sender(kmsg), sender);
        EXPECT_EQUAL(kmsg_is_from_kernel(kmsg), sender == 0);
        EXPECT(!kmsg_is_from_this_kernel(kmsg));
        /* Sent on, it is this kernel's word. */
        EXPECT_EQUAL(mach_msg_send(kmsg, mesh_door(&mesh, 1), NULL, PORT_NONE, 0),
                     MACH_MSG_SUCCESS);
        REQUIRE(mach_msg_receive(mesh_door(&mesh, 1), &kmsg, 0) == MACH_MSG_SUCCESS);
        EXPECT(kmsg_is_from_this_kernel(kmsg));
        kmsg_free(kmsg);
    }
    port_release(there);
    mesh_destroy(&mesh);
}

static void l1_only_a_kernel_may_end_a_node(void)
{
    struct test_node node;
    struct port *port;
    struct kmsg *kmsg;
    uint8_t byte = 0;

    test_node_open(&node, 1, 0x100000001, ARENA_BYTES, false);
    port = port_from_name(&node.host, NAME_WELL_KNOWN(1, NAME_SERIAL_KERNEL));
    for (int32_t id = KERNEL_PANIC; id <= KERNEL_HANG; id++) {
        kmsg = kmsg_allocate(&node.host, 0);
        kmsg_set_id(kmsg, id);
        kmsg_set_sender(kmsg, 7);
        EXPECT_EQUAL(mach_msg_send(kmsg, port, NULL, PORT_NONE, 0), MACH_MSG_SUCCESS);
    }
    EXPECT(test_call(&node.host, port, KERNEL_ECHO, &byte, 1, &byte, 1) == 1);
    EXPECT_EQUAL(node.panics + node.hangs, 0);
    port_release(port);
    test_node_close(&node);
}

/* --- The directory ---------------------------------------------------------------------------- */

struct two_nodes {
    struct test_node nodes[2];
    struct test_cable cable;
    struct port *servers[2]; /* as node 1 sees them */
};

static bool knows_each_other(void *context)
{
    struct two_nodes *two = context;
    bool knows = true;

    for (unsigned i = 0; i < 2; i++) {
        struct mach_host *host = &two->nodes[i].host;

        ipc_lock(host);
        knows = knows && node_live(host, 2 - i) != NULL && node_live(host, 2 - i)->bootstrap_up;
        ipc_unlock(host);
    }
    return knows;
}

static void two_open(struct two_nodes *two)
{
    for (unsigned i = 0; i < 2; i++) {
        test_node_open(&two->nodes[i], i + 1, 0x100000001, ARENA_BYTES, false);
        EXPECT_EQUAL(kern_server_load(&two->nodes[i].host, "node"), 0);
    }
    EXPECT_EQUAL(kern_server_load(&two->nodes[1].host, "echo"), 0);
    test_cable_open(&two->cable, &two->nodes[0], &two->nodes[1]);
    EXPECT(test_wait(knows_each_other, two));
    for (unsigned i = 0; i < 2; i++)
        two->servers[i] =
            port_from_name(&two->nodes[0].host, NAME_WELL_KNOWN(i + 1, NAME_SERIAL_BOOTSTRAP));
}

static void two_close(struct two_nodes *two)
{
    for (unsigned i = 0; i < 2; i++)
        port_release(two->servers[i]);
    test_cable_close(&two->cable);
    test_node_close(&two->nodes[0]);
    test_node_close(&two->nodes[1]);
}

/* Ask `server` for a service; returns the status, and a right in *found. */
static int look_up(struct two_nodes *two, struct port *server, const char *name, uint32_t node_id,
                   struct port **found)
{
    struct node_lookup_request request = {.node_id = le32_of(node_id)};
    struct mach_host *host = &two->nodes[0].host;
    enum port_disposition right;
    struct service_status status;
    struct port *reply;
    struct kmsg *kmsg;

    strncpy(request.name, name, sizeof(request.name) - 1);
    *found = NULL;
    REQUIRE(port_create(host, &reply) == 0);
    kmsg = kmsg_allocate(host, sizeof(request));
    memcpy(kmsg_body(kmsg), &request, sizeof(request));
    kmsg_set_id(kmsg, NODE_LOOKUP);
    EXPECT_EQUAL(mach_msg_send(kmsg, server, reply, PORT_SEND_ONCE, 0), MACH_MSG_SUCCESS);
    REQUIRE(mach_msg_receive(reply, &kmsg, clock_now_ns() + TEST_CALL_NS) == MACH_MSG_SUCCESS);
    EXPECT_EQUAL(kmsg_id(kmsg), NODE_LOOKUP + SERVICE_REPLY_OFFSET);
    memcpy(&status, kmsg_body(kmsg), sizeof(status));
    if (kmsg_part_count(kmsg) == 1)
        *found = kmsg_take_port(kmsg, 0, 0, &right);
    kmsg_free(kmsg);
    port_destroy(reply);
    return (int)(int32_t)le32_load(status.status);
}

static void echo_once(struct two_nodes *two, struct port *port)
{
    uint32_t word = 0x12345678, back = 0;

    EXPECT(test_call(&two->nodes[0].host, port, KERNEL_ECHO, &word, sizeof(word), &back,
                     sizeof(back)) == sizeof(word));
    EXPECT_EQUAL(back, word);
}

static void m17_services_are_found_across_nodes(void)
{
    struct two_nodes two;
    struct port *found;

    two_open(&two);
    thread_set_host(&two.nodes[0].host);
    EXPECT_EQUAL(look_up(&two, two.servers[0], "echo", 1, &found), ERROR_NOT_FOUND);
    EXPECT_EQUAL(look_up(&two, two.servers[0], "echo", 9, &found), ERROR_NOT_FOUND);
    EXPECT_EQUAL(look_up(&two, two.servers[0], "nobody", NODE_LOOKUP_ANY, &found), ERROR_NOT_FOUND);
    for (unsigned i = 0; i < 3; i++) {
        static const uint32_t asked[] = {2, NODE_LOOKUP_ANY, 2};

        EXPECT_EQUAL(look_up(&two, two.servers[i == 2 ? 1 : 0], "echo", asked[i], &found), 0);
        REQUIRE(found != NULL);
        echo_once(&two, found);
        port_release(found);
    }
    two_close(&two);
}

static int register_service(struct two_nodes *two, struct port *server, const char *name,
                            struct port *service)
{
    struct node_service_request request = {.name = {0}};
    struct message_item item = {.type = MESSAGE_PORT, .transfer = PORT_MAKE_SEND, .port = service};
    struct mach_host *host = &two->nodes[0].host;
    struct service_status status;
    struct port *reply;
    struct kmsg *kmsg;

    strncpy(request.name, name, sizeof(request.name) - 1);
    REQUIRE(port_create(host, &reply) == 0);
    REQUIRE(kmsg_create(host, sizeof(request), &item, 1, &kmsg) == 0);
    memcpy(kmsg_body(kmsg), &request, sizeof(request));
    kmsg_set_id(kmsg, NODE_REGISTER);
    EXPECT_EQUAL(mach_msg_send(kmsg, server, reply, PORT_SEND_ONCE, 0), MACH_MSG_SUCCESS);
    REQUIRE(mach_msg_receive(reply, &kmsg, clock_now_ns() + TEST_CALL_NS) == MACH_MSG_SUCCESS);
    memcpy(&status, kmsg_body(kmsg), sizeof(status));
    kmsg_free(kmsg);
    port_destroy(reply);
    return (int)(int32_t)le32_load(status.status);
}

static void m17_the_directory_follows_the_services(void)
{
    struct node_service_request request = {.name = "mine"};
    struct two_nodes two;
    struct port *service, *found;

    two_open(&two);
    thread_set_host(&two.nodes[0].host);
    REQUIRE(port_create(&two.nodes[0].host, &service) == 0);
    EXPECT_EQUAL(register_service(&two, two.servers[0], "mine", service), 0);
    EXPECT_EQUAL(register_service(&two, two.servers[0], "mine", service), ERROR_EXISTS);
    EXPECT_EQUAL(register_service(&two, two.servers[0], "", service), ERROR_INVALID);
    EXPECT_EQUAL(register_service(&two, two.servers[1], "mine", service), ERROR_DENIED);
    EXPECT_EQUAL(look_up(&two, two.servers[0], "mine", 1, &found), 0);
    EXPECT(found == service);
    port_release(found);
    /* Asked elsewhere, the answer comes home. */
    EXPECT_EQUAL(look_up(&two, two.servers[1], "mine", NODE_LOOKUP_ANY, &found), 0);
    EXPECT(found == service);
    port_release(found);
    EXPECT_EQUAL(test_call_status(&two.nodes[0].host, two.servers[0], NODE_UNREGISTER, &request,
                                  sizeof(request)),
                 0);
    EXPECT_EQUAL(test_call_status(&two.nodes[0].host, two.servers[0], NODE_UNREGISTER, &request,
                                  sizeof(request)),
                 ERROR_NOT_FOUND);
    EXPECT_EQUAL(register_service(&two, two.servers[0], "mine", service), 0);
    port_destroy(service);
    EXPECT_EQUAL(look_up(&two, two.servers[0], "mine", 1, &found), ERROR_NOT_FOUND);
    two_close(&two);
}

static const struct unit_test node_server_tests[] = {
    {"B10: nodes learn that a bootstrap port came and went",
     b10_nodes_learn_that_a_bootstrap_port_came_and_went},
    {"M4: a node that leaves is dead to the others", m4_a_node_that_leaves_is_dead_to_the_others},
    {"M4: NODE messages that cannot be are dropped", m4_node_messages_that_cannot_be_are_dropped},
    {"L1: the sender travels and is never this kernel",
     l1_the_sender_travels_and_is_never_this_kernel},
    {"L1: only a kernel may end a node", l1_only_a_kernel_may_end_a_node},
    {"M17: services are found across nodes", m17_services_are_found_across_nodes},
    {"M17: the directory follows the services", m17_the_directory_follows_the_services},
};
UNIT_SUITE("node server", node_server_tests);
