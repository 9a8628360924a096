/* SPDX-License-Identifier: MIT
 *
 * What a message carries besides its body: bytes out of line, ports, lists of ports; on one node
 * and on the wire. Tests are named by the rows of docs/spec/gaps.md that they hold up.
 */
#include "mesh.h"
#include "unit.h"
#include <string.h>

static void expect_parts(struct kmsg *kmsg, struct port *const *ports)
{
    struct message_part part = kmsg_part(kmsg, 0);
    enum port_disposition right;

    EXPECT_EQUAL(kmsg_part_count(kmsg), 4);
    EXPECT_EQUAL(kmsg_body_size(kmsg), 5);
    EXPECT(memcmp(kmsg_body(kmsg), "hello", 5) == 0);
    EXPECT(part.type == MESSAGE_BYTES && part.count == 11);
    EXPECT(memcmp(part.bytes, "out of line", 11) == 0);
    part = kmsg_part(kmsg, 1);
    EXPECT(part.type == MESSAGE_PORT && part.disposition == PORT_SEND && part.count == 1);
    part = kmsg_part(kmsg, 2);
    EXPECT(part.type == MESSAGE_PORTS && part.disposition == PORT_SEND && part.count == 3);
    part = kmsg_part(kmsg, 3);
    EXPECT(part.type == MESSAGE_BYTES && part.count == 3 && memcmp(part.bytes, "end", 3) == 0);
    for (uint32_t i = 0; i < 3; i++) {
        struct port *port = kmsg_take_port(kmsg, 2, i, &right);

        EXPECT((port == NULL) == (ports[i] == NULL));
        EXPECT_EQUAL(right, port == NULL ? PORT_NONE : PORT_SEND);
        if (port == NULL)
            continue;
        EXPECT_EQUAL(test_send(port, 40 + i), MACH_MSG_SUCCESS);
        EXPECT(kmsg_take_port(kmsg, 2, i, &right) == NULL && right == PORT_NONE);
        port_release(port);
    }
}

static void send_parts(struct mesh *mesh, struct port *to, struct port *const *ports)
{
    struct message_item items[] = {
        {.type = MESSAGE_BYTES, .bytes = "out of line", .count = 11},
        {.type = MESSAGE_PORT, .transfer = PORT_MAKE_SEND, .port = ports[0]},
        {.type = MESSAGE_PORTS, .transfer = PORT_MAKE_SEND, .ports = ports, .count = 3},
        {.type = MESSAGE_BYTES, .bytes = "end", .count = 3},
    };
    struct kmsg *kmsg;

    REQUIRE(kmsg_create(mesh->hosts[0], 5, items, 4, &kmsg) == 0);
    memcpy(kmsg_body(kmsg), "hello", 5);
    EXPECT_EQUAL(mach_msg_send(kmsg, to, NULL, PORT_NONE, 0), MACH_MSG_SUCCESS);
}

static void parts_arrive(unsigned at)
{
    struct mesh mesh = mesh_create(2);
    struct port *door = mesh_door(&mesh, at);
    struct port *ports[3] = {mesh_port(&mesh, 0), NULL, mesh_port(&mesh, 0)};
    struct port *to = port_from_name(mesh.hosts[0], port_name(door));
    struct kmsg *kmsg;

    send_parts(&mesh, to, ports);
    port_release(to);
    mesh_settle(&mesh);
    REQUIRE(mach_msg_receive(door, &kmsg, 0) == MACH_MSG_SUCCESS);
    expect_parts(kmsg, ports);
    kmsg_free(kmsg);
    mesh_settle(&mesh);
    EXPECT(test_receive(ports[0], 40));
    EXPECT(test_receive(ports[2], 42));
    mesh_settle(&mesh);
    EXPECT(!port_has_senders(ports[0]) && !port_has_senders(ports[2]));
    port_destroy(ports[0]);
    port_destroy(ports[2]);
    mesh_destroy(&mesh);
}

static void h11_parts_of_a_message_arrive_on_the_same_node(void)
{
    parts_arrive(0);
}

static void h11_parts_of_a_message_arrive_on_another_node(void)
{
    parts_arrive(1);
}

static void h11_the_wire_form_is_the_specified_one(void)
{
    static const uint8_t expected[] = {
        0x11, 0,   0,   0x80, 96, 0, 0, 0, /* bits with complex, size */
        77,   0,   0,   0,    0,  0, 2, 0, /* remote: node 2, serial 77 */
        0,    0,   0,   0,    0,  0, 0, 0, /* local */
        0,    0,   0,   0,    5,  0, 0, 0, /* local home, sender, id */
        2,    0,   0,   0,    3,  0, 0, 0, /* descriptors, inline bytes */
        0,    17,  0,   0,    0,  0, 0, 0, /* port, send, home: the source */
        1,    0,   0,   0,    2,  1, 1, 0, /* its name */
        1,    0,   0,   0,    4,  0, 0, 0, /* bytes, 4 */
        0,    0,   0,   0,    0,  0, 0, 0, /* no name */
        'i',  'n', '!', 0,    0,  0, 0, 0, /* inline */
        'd',  'a', 't', 'a',  0,  0, 0, 0, /* out of line */
    };
    struct mesh mesh = mesh_create(2);
    struct port *port = mesh_port(&mesh, 0);
    struct port *to = port_from_name(mesh.hosts[0], port_name(mesh_door(&mesh, 1)));
    struct message_item items[] = {test_port_item(port, PORT_MAKE_SEND),
                                   {.type = MESSAGE_BYTES, .bytes = "data", .count = 4}};
    struct kmsg *kmsg;
    mnl_msg_t msg;

    REQUIRE(kmsg_create(mesh.hosts[0], 3, items, 2, &kmsg) == 0);
    memcpy(kmsg_body(kmsg), "in!", 3);
    kmsg_set_id(kmsg, 5);
    EXPECT_EQUAL(mach_msg_send(kmsg, to, NULL, PORT_NONE, 0), MACH_MSG_SUCCESS);
    msg = mnl_msg_try_to_node(mesh.nodes[0][1], 0);
    REQUIRE(msg != MNL_MSG_NULL);
    EXPECT_EQUAL(msg->size, 88);
    EXPECT_EQUAL(memcmp(MNL_MSG_PAYLOAD(msg), expected, 4), 0);
    EXPECT_EQUAL(memcmp((uint8_t *)MNL_MSG_PAYLOAD(msg) + 8, expected + 8, 80), 0);
    mnl_msg_complete(mesh.nodes[0][1], msg, 0);
    mnl_flow_resume(mesh.nodes[0][1], 0);
    mesh_settle(&mesh);
    REQUIRE(mach_msg_receive(mesh_door(&mesh, 1), &kmsg, 0) == MACH_MSG_SUCCESS);
    kmsg_free(kmsg);
    port_release(to);
    mesh_settle(&mesh);
    port_destroy(port);
    mesh_destroy(&mesh);
}

static void h11_what_cannot_be_sent_is_refused_and_nothing_moved(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *port = mesh_port(&mesh, 0), *proxy = mesh_give(&mesh, 0, port, 1);
    struct port *many[MESSAGE_RIGHTS_MAXIMUM + 1] = {NULL};
    struct message_item item, pair[2];
    struct kmsg *kmsg;

    item = test_port_item(proxy, PORT_MAKE_SEND);
    EXPECT(kmsg_create(mesh.hosts[1], 0, &item, 1, &kmsg) == ERROR_INVALID && kmsg == NULL);
    item = test_port_item(proxy, PORT_MOVE_RECEIVE);
    EXPECT(kmsg_create(mesh.hosts[1], 0, &item, 1, &kmsg) == ERROR_INVALID);
    item = test_port_item(proxy, PORT_MOVE_SEND_ONCE);
    EXPECT(kmsg_create(mesh.hosts[1], 0, &item, 1, &kmsg) == ERROR_INVALID);
    item = test_port_item(mesh_door(&mesh, 0), PORT_MOVE_RECEIVE);
    EXPECT(kmsg_create(mesh.hosts[0], 0, &item, 1, &kmsg) == ERROR_INVALID);
    item.transfer = (enum port_transfer)22;
    EXPECT(kmsg_create(mesh.hosts[0], 0, &item, 1, &kmsg) == ERROR_INVALID);
    EXPECT(kmsg_create(mesh.hosts[0], 0, &item, 0, &kmsg) == ERROR_INVALID);
    item = (struct message_item){
        .type = MESSAGE_PORTS, .transfer = PORT_COPY_SEND, .ports = many, .count = 257};
    EXPECT(kmsg_create(mesh.hosts[0], 0, &item, 1, &kmsg) == ERROR_INVALID);
    item = (struct message_item){.type = MESSAGE_BYTES, .count = MESSAGE_BODY_MAXIMUM};
    EXPECT(kmsg_create(mesh.hosts[0], 0, &item, 1, &kmsg) == ERROR_INVALID);
    /* The receive right twice: the first is put back. */
    pair[0] = pair[1] = test_port_item(port, PORT_MOVE_RECEIVE);
    EXPECT(kmsg_create(mesh.hosts[0], 0, pair, 2, &kmsg) == ERROR_INVALID);
    EXPECT_EQUAL(test_send(port, 3), MACH_MSG_SUCCESS);
    EXPECT(test_receive(port, 3));
    pair[0] = test_port_item(port, PORT_MAKE_SEND_ONCE);
    EXPECT(kmsg_create(mesh.hosts[0], 0, pair, 2, &kmsg) == 0);
    kmsg_free(kmsg); /* the port dies with its receive right */
    mesh_settle(&mesh);
    EXPECT(port_is_dead(proxy));
    port_release(proxy);
    mesh_destroy(&mesh);
}

static const struct unit_test parts_tests[] = {
    {"H11: parts of a message arrive on the same node",
     h11_parts_of_a_message_arrive_on_the_same_node},
    {"H11: parts of a message arrive on another node",
     h11_parts_of_a_message_arrive_on_another_node},
    {"H11: the wire form is the specified one", h11_the_wire_form_is_the_specified_one},
    {"H11: what cannot be sent is refused and nothing moved",
     h11_what_cannot_be_sent_is_refused_and_nothing_moved},
};
UNIT_SUITE("parts", parts_tests);
