/* SPDX-License-Identifier: MIT
 *
 * Rights in messages and their accounts between nodes. Tests are named by the rows of
 * docs/spec/gaps.md that they hold up.
 */
#include "core/ipc_state.h"
#include "core/port.h"
#include "mesh.h"
#include "unit.h"
#include <kernel/thread.h>
#include <stdlib.h>
#include <string.h>

static struct port *new_port(struct mesh *mesh, unsigned which)
{
    struct port *port;

    REQUIRE(port_create(mesh->hosts[which], &port) == 0);
    return port;
}

static struct message_item port_item(struct port *port, enum port_transfer transfer)
{
    return (struct message_item){.type = MESSAGE_PORT, .transfer = transfer, .port = port};
}

/* Send one port from host to host by its door, without moving anything. */
static void send_port(struct mesh *mesh, unsigned from, struct port *port,
                      enum port_transfer transfer, unsigned to)
{
    struct message_item item = port_item(port, transfer);
    struct port *there = port_from_name(mesh->hosts[from], port_name(mesh_door(mesh, to)));
    struct kmsg *kmsg;

    REQUIRE(there != NULL);
    REQUIRE(kmsg_create(mesh->hosts[from], 0, &item, 1, &kmsg) == 0);
    REQUIRE(mach_msg_send(kmsg, there, NULL, PORT_NONE, 0) == MACH_MSG_SUCCESS);
    port_release(there);
}

static struct port *receive_port(struct mesh *mesh, unsigned at, enum port_disposition *right)
{
    struct kmsg *kmsg;
    struct port *port;

    REQUIRE(mach_msg_receive(mesh_door(mesh, at), &kmsg, 0) == MACH_MSG_SUCCESS);
    REQUIRE(kmsg_part_count(kmsg) == 1);
    port = kmsg_take_port(kmsg, 0, 0, right);
    kmsg_free(kmsg);
    return port;
}

static struct port *pass(struct mesh *mesh, unsigned from, struct port *port,
                         enum port_transfer transfer, unsigned to, enum port_disposition expected)
{
    enum port_disposition right;
    struct port *there;

    send_port(mesh, from, port, transfer, to);
    mesh_settle(mesh);
    there = receive_port(mesh, to, &right);
    REQUIRE(there != NULL);
    EXPECT_EQUAL(right, expected);
    mesh_settle(mesh);
    return there;
}

/* A notification with this id, without waiting. */
static bool notified(struct port *port, int32_t id)
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

/* --- Parts of messages ------------------------------------------------------------------------ */

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
    struct port *ports[3] = {new_port(&mesh, 0), NULL, new_port(&mesh, 0)};
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
    struct port *port = new_port(&mesh, 0);
    struct port *to = port_from_name(mesh.hosts[0], port_name(mesh_door(&mesh, 1)));
    struct message_item items[] = {port_item(port, PORT_MAKE_SEND),
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
    struct port *port = new_port(&mesh, 0), *proxy = mesh_give(&mesh, 0, port, 1);
    struct port *many[MESSAGE_RIGHTS_MAXIMUM + 1] = {NULL};
    struct message_item item, pair[2];
    struct kmsg *kmsg;

    item = port_item(proxy, PORT_MAKE_SEND);
    EXPECT(kmsg_create(mesh.hosts[1], 0, &item, 1, &kmsg) == ERROR_INVALID && kmsg == NULL);
    item = port_item(proxy, PORT_MOVE_RECEIVE);
    EXPECT(kmsg_create(mesh.hosts[1], 0, &item, 1, &kmsg) == ERROR_INVALID);
    item = port_item(proxy, PORT_MOVE_SEND_ONCE);
    EXPECT(kmsg_create(mesh.hosts[1], 0, &item, 1, &kmsg) == ERROR_INVALID);
    item = port_item(mesh_door(&mesh, 0), PORT_MOVE_RECEIVE);
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
    pair[0] = pair[1] = port_item(port, PORT_MOVE_RECEIVE);
    EXPECT(kmsg_create(mesh.hosts[0], 0, pair, 2, &kmsg) == ERROR_INVALID);
    EXPECT_EQUAL(test_send(port, 3), MACH_MSG_SUCCESS);
    EXPECT(test_receive(port, 3));
    pair[0] = port_item(port, PORT_MAKE_SEND_ONCE);
    EXPECT(kmsg_create(mesh.hosts[0], 0, pair, 2, &kmsg) == 0);
    kmsg_free(kmsg); /* the port dies with its receive right */
    mesh_settle(&mesh);
    EXPECT(port_is_dead(proxy));
    port_release(proxy);
    mesh_destroy(&mesh);
}

/* --- Accounts --------------------------------------------------------------------------------- */

static void l3_the_last_right_of_another_node_is_told(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *port = new_port(&mesh, 0);
    struct port *first = mesh_give(&mesh, 0, port, 1), *second = mesh_give(&mesh, 0, port, 1);

    EXPECT(first == second);
    EXPECT_EQUAL(port_notify_no_senders(port, port), 0);
    EXPECT(port_notify_no_senders(port, port) == ERROR_EXISTS);
    port_release(first);
    mesh_settle(&mesh);
    EXPECT(port_has_senders(port));
    EXPECT(!notified(port, NOTIFY_NO_SENDERS));
    port_release(second);
    EXPECT(port_has_senders(port));
    mesh_settle(&mesh);
    EXPECT(!port_has_senders(port));
    EXPECT(notified(port, NOTIFY_NO_SENDERS));
    EXPECT(!notified(port, NOTIFY_NO_SENDERS));
    port_destroy(port);
    mesh_destroy(&mesh);
}

static void l3_local_rights_count_as_well(void)
{
    struct mesh mesh = mesh_create(1);
    struct port *port = new_port(&mesh, 0);
    enum port_disposition right;

    port_retain(port);
    EXPECT_EQUAL(port_notify_no_senders(port, port), 0);
    send_port(&mesh, 0, port, PORT_MAKE_SEND, 0);
    port_release(port);
    EXPECT(!notified(port, NOTIFY_NO_SENDERS));
    EXPECT(receive_port(&mesh, 0, &right) == port);
    EXPECT(!notified(port, NOTIFY_NO_SENDERS));
    port_release_right(port, right);
    EXPECT(notified(port, NOTIFY_NO_SENDERS));
    EXPECT_EQUAL(port_notify_no_senders(port, mesh_door(&mesh, 0)), 0);
    EXPECT(notified(mesh_door(&mesh, 0), NOTIFY_NO_SENDERS));
    port_destroy(port);
    mesh_destroy(&mesh);
}

static void l3_a_dead_name_is_told_without_senders_too(void)
{
    struct mesh mesh = mesh_create(1);
    struct port *port = new_port(&mesh, 0), *notify = mesh_door(&mesh, 0);

    port_retain(port);
    EXPECT_EQUAL(port_notify_dead(port, notify), 0);
    port_release(port);
    EXPECT(!notified(notify, NOTIFY_DEAD_NAME));
    port_destroy(port);
    EXPECT(notified(notify, NOTIFY_DEAD_NAME));
    mesh_destroy(&mesh);
}

static void l3_a_right_on_its_way_counts(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *port = new_port(&mesh, 0), *proxy;
    enum port_disposition right;

    send_port(&mesh, 0, port, PORT_MAKE_SEND, 1);
    EXPECT_EQUAL(port_notify_no_senders(port, port), 0);
    EXPECT(!notified(port, NOTIFY_NO_SENDERS));
    mesh_settle(&mesh);
    EXPECT(!notified(port, NOTIFY_NO_SENDERS));
    proxy = receive_port(&mesh, 1, &right);
    mesh_settle(&mesh);
    EXPECT(!notified(port, NOTIFY_NO_SENDERS));
    port_release(proxy);
    mesh_settle(&mesh);
    EXPECT(notified(port, NOTIFY_NO_SENDERS));
    port_destroy(port);
    mesh_destroy(&mesh);
}

static void l3_a_refused_right_comes_back(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *port = new_port(&mesh, 0), *doomed = new_port(&mesh, 1);
    struct port *there = port_from_name(mesh.hosts[0], port_name(doomed));
    struct message_item items[] = {port_item(port, PORT_MAKE_SEND),
                                   port_item(port, PORT_MAKE_SEND_ONCE)};
    struct kmsg *kmsg;

    EXPECT_EQUAL(port_notify_no_senders(port, mesh_door(&mesh, 0)), 0);
    EXPECT(notified(mesh_door(&mesh, 0), NOTIFY_NO_SENDERS));
    REQUIRE(kmsg_create(mesh.hosts[0], 0, items, 2, &kmsg) == 0);
    EXPECT_EQUAL(port_notify_no_senders(port, mesh_door(&mesh, 0)), 0);
    EXPECT_EQUAL(mach_msg_send(kmsg, there, NULL, PORT_NONE, 0), MACH_MSG_SUCCESS);
    mesh_settle(&mesh);
    EXPECT(port_has_senders(port));
    port_destroy(doomed);
    mesh_settle(&mesh);
    EXPECT(!port_has_senders(port));
    EXPECT(notified(mesh_door(&mesh, 0), NOTIFY_NO_SENDERS));
    EXPECT(notified(port, NOTIFY_SEND_ONCE));
    EXPECT(!notified(port, NOTIFY_SEND_ONCE));
    port_release(there);
    port_destroy(port);
    mesh_destroy(&mesh);
}

static void l3_the_death_of_a_node_gives_back_its_rights(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = new_port(&mesh, 0);
    struct port *other = mesh_give(&mesh, 0, port, 2);

    (void)mesh_give(&mesh, 0, port, 1);
    EXPECT_EQUAL(port_notify_no_senders(port, port), 0);
    send_port(&mesh, 0, port, PORT_MAKE_SEND_ONCE, 1);
    mesh_settle(&mesh);
    mesh_kill(&mesh, 1);
    EXPECT(notified(port, NOTIFY_SEND_ONCE));
    EXPECT(port_has_senders(port));
    port_release(other);
    mesh_settle(&mesh);
    EXPECT(notified(port, NOTIFY_NO_SENDERS));
    port_destroy(port);
    mesh_destroy(&mesh);
}

static void g7_the_death_of_a_port_is_told_to_its_holders(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *port = new_port(&mesh, 0), *proxy = mesh_give(&mesh, 0, port, 1);
    struct outcomes outcomes = {0};

    EXPECT_EQUAL(port_notify_dead(proxy, mesh_door(&mesh, 1)), 0);
    EXPECT_EQUAL(port_notify_dead(proxy, mesh_door(&mesh, 1)), 0);
    EXPECT_EQUAL(test_send_counted(proxy, 1, &outcomes), MACH_MSG_SUCCESS);
    port_destroy(port);
    mesh_settle(&mesh);
    EXPECT_EQUAL(outcomes.failed, 1);
    EXPECT(port_is_dead(proxy));
    EXPECT_EQUAL(test_send(proxy, 2), MACH_SEND_INVALID_DEST);
    EXPECT(notified(mesh_door(&mesh, 1), NOTIFY_DEAD_NAME));
    EXPECT(notified(mesh_door(&mesh, 1), NOTIFY_DEAD_NAME));
    EXPECT_EQUAL(port_notify_dead(proxy, mesh_door(&mesh, 1)), 0);
    EXPECT(notified(mesh_door(&mesh, 1), NOTIFY_DEAD_NAME));
    port_release(proxy);
    mesh_destroy(&mesh);
}

static void g7_a_port_that_dies_while_a_right_travels_is_dead_on_arrival(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *port = new_port(&mesh, 0), *proxy;
    enum port_disposition right;

    send_port(&mesh, 0, port, PORT_MAKE_SEND, 1);
    EXPECT(mesh_move_one(&mesh, 0, 1));
    port_destroy(port);
    mesh_settle(&mesh); /* the word of its death comes before the right */
    proxy = receive_port(&mesh, 1, &right);
    mesh_settle(&mesh);
    if (proxy != NULL) {
        EXPECT(port_is_dead(proxy));
        port_release(proxy);
    }
    mesh_destroy(&mesh);
}

static void g7_the_death_of_a_node_makes_its_ports_dead_names(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *port = new_port(&mesh, 0), *proxy = mesh_give(&mesh, 0, port, 1);

    EXPECT_EQUAL(port_notify_dead(proxy, mesh_door(&mesh, 1)), 0);
    mesh_kill(&mesh, 0);
    EXPECT(notified(mesh_door(&mesh, 1), NOTIFY_DEAD_NAME));
    port_release(proxy);
    mesh_destroy(&mesh);
}

static void g10_a_port_without_rights_elsewhere_is_local_again(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *ports[100];
    uint64_t names[2];

    for (unsigned i = 0; i < 100; i++) {
        ports[i] = new_port(&mesh, 0);
        port_release(mesh_give(&mesh, 0, ports[i], 1));
    }
    mesh_settle(&mesh);
    (void)mesh_door(&mesh, 0);
    names[1] = test_statistics(mesh.hosts[1]).names;
    names[0] = test_statistics(mesh.hosts[0]).names;
    EXPECT_EQUAL(names[1], 1); /* its door */
    EXPECT_EQUAL(names[0], 64 + 1);
    /* A name that was taken back is not given again. */
    names[1] = port_name(ports[0]);
    EXPECT_EQUAL(NAME_SERIAL(names[1]), 101);
    for (unsigned i = 0; i < 100; i++)
        port_destroy(ports[i]);
    mesh_destroy(&mesh);
}

/* --- Send-once rights ------------------------------------------------------------------------- */

static void l3_a_send_once_right_is_good_for_one_message(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *port = new_port(&mesh, 0);
    struct port *once = pass(&mesh, 0, port, PORT_MAKE_SEND_ONCE, 1, PORT_SEND_ONCE);
    struct kmsg *kmsg = test_message(mesh.hosts[1], 7);

    port_retain(once);
    EXPECT_EQUAL(mach_msg_send_once(kmsg, once, NULL, PORT_NONE), MACH_MSG_SUCCESS);
    kmsg = test_message(mesh.hosts[1], 8);
    EXPECT_EQUAL(mach_msg_send_once(kmsg, once, NULL, PORT_NONE), MACH_SEND_INVALID_RIGHT);
    kmsg_free(kmsg);
    mesh_settle(&mesh);
    EXPECT(test_receive(port, 7));
    EXPECT_EQUAL(port->given.once, 0);
    port_release(once);
    mesh_settle(&mesh);
    EXPECT(mach_msg_receive(port, &kmsg, 0) == MACH_RCV_TIMED_OUT);
    port_destroy(port);
    mesh_destroy(&mesh);
}

static void l3_a_forged_send_once_right_is_refused(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *port = new_port(&mesh, 0);
    struct port *once = pass(&mesh, 0, port, PORT_MAKE_SEND_ONCE, 1, PORT_SEND_ONCE);
    struct outcomes outcomes = {0};
    struct kmsg *kmsg;

    port_retain(once);
    for (unsigned i = 0; i < 3; i++) {
        once->home->held.once = 1; /* the node counts wrongly, or lies */
        kmsg = test_message(mesh.hosts[1], i);
        kmsg_set_completion(kmsg, outcomes_count, &outcomes);
        port_retain(once);
        EXPECT_EQUAL(mach_msg_send_once(kmsg, once, NULL, PORT_NONE), MACH_MSG_SUCCESS);
    }
    mesh_settle(&mesh);
    EXPECT(test_receive(port, 0));
    EXPECT_EQUAL(mach_msg_receive(port, &kmsg, 0), MACH_RCV_TIMED_OUT);
    mesh_settle(&mesh);
    EXPECT_EQUAL(outcomes.settled, 1);
    EXPECT_EQUAL(outcomes.failed, 2);
    port_release(once);
    port_release(once);
    mesh_settle(&mesh);
    port_destroy(port);
    mesh_destroy(&mesh);
}

static void receive_until_dead(void *argument)
{
    struct kmsg *kmsg;

    EXPECT_EQUAL(mach_msg_receive(argument, &kmsg, DEADLINE_NEVER), MACH_RCV_PORT_DIED);
}

static void await_receiver(struct mach_host *host, const struct port *port)
{
    bool waits = false;

    while (!waits) {
        thread_yield();
        ipc_lock(host);
        waits = port->receivers_waiting == 1;
        ipc_unlock(host);
    }
}

/* With more rights than have their place in the message itself, by a right that its sender has not. */
static void send_forged(struct mesh *mesh, struct port *once, struct outcomes *outcomes)
{
    struct port *ports[8] = {NULL};
    struct message_item item = {
        .type = MESSAGE_PORTS, .transfer = PORT_COPY_SEND, .ports = ports, .count = 8};
    struct kmsg *kmsg;

    once->home->held.once = 1;
    port_retain(once);
    REQUIRE(kmsg_create(mesh->hosts[1], 0, &item, 1, &kmsg) == 0);
    kmsg_set_completion(kmsg, outcomes_count, outcomes);
    REQUIRE(mach_msg_send_once(kmsg, once, NULL, PORT_NONE) == MACH_MSG_SUCCESS);
}

/* It may wait for ever for a message that is one. */
static void l3_what_a_waiting_receiver_refused_is_freed(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *port = new_port(&mesh, 0);
    struct port *once = pass(&mesh, 0, port, PORT_MAKE_SEND_ONCE, 1, PORT_SEND_ONCE);
    struct outcomes outcomes = {0};
    struct thread *receiver;
    size_t used_bytes;

    port_retain(once);
    EXPECT_EQUAL(mach_msg_send_once(test_message(mesh.hosts[1], 1), once, NULL, PORT_NONE),
                 MACH_MSG_SUCCESS);
    mesh_settle(&mesh);
    EXPECT(test_receive(port, 1));
    mesh_settle(&mesh);
    REQUIRE(thread_create(mesh.hosts[0], "receiver", receive_until_dead, port, &receiver) == 0);
    await_receiver(mesh.hosts[0], port);
    used_bytes = heap_statistics(mesh.hosts[0]).used_bytes;
    send_forged(&mesh, once, &outcomes);
    while (outcomes.failed == 0) {
        mesh_settle(&mesh);
        thread_yield();
    }
    await_receiver(mesh.hosts[0], port);
    mesh_settle(&mesh);
    EXPECT_EQUAL(heap_statistics(mesh.hosts[0]).used_bytes, used_bytes);
    port_destroy(port);
    thread_join(receiver);
    port_release(once);
    mesh_settle(&mesh);
    mesh_destroy(&mesh);
}

static void l3_a_send_once_right_that_dies_is_told(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *port = new_port(&mesh, 0);
    struct port *once = pass(&mesh, 0, port, PORT_MAKE_SEND_ONCE, 1, PORT_SEND_ONCE);
    struct message_item item = port_item(port, PORT_MAKE_SEND_ONCE);
    struct kmsg *kmsg;

    port_release_right(once, PORT_SEND_ONCE);
    mesh_settle(&mesh);
    EXPECT(notified(port, NOTIFY_SEND_ONCE));
    /* In a message that nobody receives; in one that nobody takes it out of. */
    REQUIRE(kmsg_create(mesh.hosts[0], 0, &item, 1, &kmsg) == 0);
    kmsg_free(kmsg);
    EXPECT(notified(port, NOTIFY_SEND_ONCE));
    send_port(&mesh, 0, port, PORT_MAKE_SEND_ONCE, 1);
    mesh_settle(&mesh);
    REQUIRE(mach_msg_receive(mesh_door(&mesh, 1), &kmsg, 0) == MACH_MSG_SUCCESS);
    kmsg_free(kmsg);
    mesh_settle(&mesh);
    EXPECT(notified(port, NOTIFY_SEND_ONCE));
    EXPECT(!notified(port, NOTIFY_SEND_ONCE));
    EXPECT_EQUAL(port->once + port->given.once, 0);
    port_destroy(port);
    mesh_destroy(&mesh);
}

static void expect_deaths(struct port *port, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        EXPECT(notified(port, NOTIFY_SEND_ONCE));
    EXPECT(!notified(port, NOTIFY_SEND_ONCE));
}

/* Whoever says that rights died, and has as many as he likes, fills nobody's memory. */
static void l3_deaths_of_send_once_rights_wait_for_room_in_the_queue(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *port = new_port(&mesh, 0), *once[8];

    port_set_limit(port, 3);
    for (unsigned i = 0; i < 8; i++)
        once[i] = pass(&mesh, 0, port, PORT_MAKE_SEND_ONCE, 1, PORT_SEND_ONCE);
    for (unsigned i = 0; i < 8; i++)
        port_release_right(once[i], PORT_SEND_ONCE);
    mesh_settle(&mesh);
    EXPECT_EQUAL(port_message_count(port), 1);
    expect_deaths(port, 8);
    port_destroy(port);
    mesh_destroy(&mesh);
}

static void l3_deaths_that_wait_move_with_their_port(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *port = new_port(&mesh, 0), *once[4], *moved;

    port_set_limit(port, 1);
    for (unsigned i = 0; i < 4; i++)
        once[i] = pass(&mesh, 0, port, PORT_MAKE_SEND_ONCE, 1, PORT_SEND_ONCE);
    for (unsigned i = 0; i < 4; i++)
        port_release_right(once[i], PORT_SEND_ONCE);
    mesh_settle(&mesh);
    moved = pass(&mesh, 0, port, PORT_MOVE_RECEIVE, 1, PORT_RECEIVE);
    mesh_settle(&mesh);
    for (unsigned i = 0; i < 4; i++) {
        EXPECT(notified(moved, NOTIFY_SEND_ONCE));
        mesh_settle(&mesh);
    }
    EXPECT(!notified(moved, NOTIFY_SEND_ONCE));
    port_destroy(moved);
    mesh_settle(&mesh);
    mesh_destroy(&mesh);
}

static void l3_a_send_once_right_comes_home(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *port = new_port(&mesh, 0);
    struct port *once = pass(&mesh, 0, port, PORT_MAKE_SEND_ONCE, 1, PORT_SEND_ONCE);
    struct port *back = pass(&mesh, 1, once, PORT_MOVE_SEND_ONCE, 0, PORT_SEND_ONCE);

    EXPECT(back == port);
    EXPECT_EQUAL(port->given.once, 0);
    EXPECT_EQUAL(port->once, 1);
    EXPECT_EQUAL(mach_msg_send_once(test_message(mesh.hosts[0], 5), back, NULL, PORT_NONE),
                 MACH_MSG_SUCCESS);
    EXPECT(test_receive(port, 5));
    port_destroy(port);
    mesh_destroy(&mesh);
}

/* --- Three nodes ------------------------------------------------------------------------------ */

static void g10_a_right_goes_from_hand_to_hand(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = new_port(&mesh, 0), *second, *third, *back;

    second = mesh_give(&mesh, 0, port, 1);
    third = pass(&mesh, 1, second, PORT_MOVE_SEND, 2, PORT_SEND);
    EXPECT_EQUAL(port_notify_no_senders(port, port), 0);
    EXPECT_EQUAL(port->given.send, 1); /* the third's; the second has nothing left */
    EXPECT_EQUAL(test_send(third, 9), MACH_MSG_SUCCESS);
    mesh_settle(&mesh);
    EXPECT(test_receive(port, 9));
    back = pass(&mesh, 2, third, PORT_COPY_SEND, 0, PORT_SEND);
    EXPECT(back == port);
    port_release(back);
    port_release(third);
    mesh_settle(&mesh);
    EXPECT(notified(port, NOTIFY_NO_SENDERS));
    port_destroy(port);
    mesh_destroy(&mesh);
}

/* The passer answers for the right until the third node is on the home's account. */
static void g10_a_right_that_was_passed_on_is_never_unaccounted_for(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = new_port(&mesh, 0), *second, *third;
    enum port_disposition right;

    second = mesh_give(&mesh, 0, port, 1);
    EXPECT_EQUAL(port_notify_no_senders(port, port), 0);
    mesh.cut[2][0] = true; /* the third cannot tell the home */
    send_port(&mesh, 1, second, PORT_MOVE_SEND, 2);
    mesh_settle(&mesh);
    third = receive_port(&mesh, 2, &right);
    mesh_settle(&mesh);
    EXPECT(!notified(port, NOTIFY_NO_SENDERS));
    EXPECT_EQUAL(test_statistics(mesh.hosts[1]).ports, 2); /* and its door */
    mesh.cut[2][0] = false;
    mesh_settle(&mesh);
    EXPECT_EQUAL(test_statistics(mesh.hosts[1]).ports, 1);
    EXPECT(!notified(port, NOTIFY_NO_SENDERS));
    port_release(third);
    mesh_settle(&mesh);
    EXPECT(notified(port, NOTIFY_NO_SENDERS));
    port_destroy(port);
    mesh_destroy(&mesh);
}

static void g10_a_send_once_right_goes_from_hand_to_hand(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = new_port(&mesh, 0), *second, *third;

    second = pass(&mesh, 0, port, PORT_MAKE_SEND_ONCE, 1, PORT_SEND_ONCE);
    third = pass(&mesh, 1, second, PORT_MOVE_SEND_ONCE, 2, PORT_SEND_ONCE);
    EXPECT_EQUAL(port->given.once, 1);
    EXPECT_EQUAL(mach_msg_send_once(test_message(mesh.hosts[2], 6), third, NULL, PORT_NONE),
                 MACH_MSG_SUCCESS);
    mesh_settle(&mesh);
    EXPECT(test_receive(port, 6));
    EXPECT_EQUAL(port->given.once, 0);
    second = pass(&mesh, 0, port, PORT_MAKE_SEND_ONCE, 1, PORT_SEND_ONCE);
    third = pass(&mesh, 1, second, PORT_MOVE_SEND_ONCE, 2, PORT_SEND_ONCE);
    port_release_right(third, PORT_SEND_ONCE);
    mesh_settle(&mesh);
    EXPECT(notified(port, NOTIFY_SEND_ONCE));
    EXPECT(!notified(port, NOTIFY_SEND_ONCE));
    port_destroy(port);
    mesh_destroy(&mesh);
}

/* Used at once, before the home can know of it. */
static void g10_a_send_once_right_is_registered_before_it_is_used(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = new_port(&mesh, 0), *second, *third;
    enum port_disposition right;

    second = pass(&mesh, 0, port, PORT_MAKE_SEND_ONCE, 1, PORT_SEND_ONCE);
    send_port(&mesh, 1, second, PORT_MOVE_SEND_ONCE, 2);
    mesh_settle(&mesh);
    third = receive_port(&mesh, 2, &right);
    EXPECT_EQUAL(mach_msg_send_once(test_message(mesh.hosts[2], 6), third, NULL, PORT_NONE),
                 MACH_MSG_SUCCESS);
    mesh_settle(&mesh);
    EXPECT(test_receive(port, 6));
    mesh_settle(&mesh);
    EXPECT_EQUAL(port->given.once, 0);
    port_destroy(port);
    mesh_destroy(&mesh);
}

static void g10_a_right_to_a_port_out_of_reach_is_refused(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = new_port(&mesh, 0), *second = mesh_give(&mesh, 0, port, 1);
    struct port *there = port_from_name(mesh.hosts[1], port_name(mesh_door(&mesh, 2)));
    struct message_item item = port_item(second, PORT_COPY_SEND);
    struct outcomes outcomes = {0};
    struct kmsg *kmsg;

    EXPECT_EQUAL(mnl_terminate(mesh.nodes[2][0], 0), KERN_SUCCESS);
    REQUIRE(kmsg_create(mesh.hosts[1], 0, &item, 1, &kmsg) == 0);
    kmsg_set_completion(kmsg, outcomes_count, &outcomes);
    EXPECT_EQUAL(mach_msg_send(kmsg, there, NULL, PORT_NONE, 0), MACH_MSG_SUCCESS);
    mesh.cut[2][0] = mesh.cut[0][2] = true;
    mesh_settle(&mesh);
    EXPECT_EQUAL(outcomes.failed, 1);
    EXPECT_EQUAL(test_send(second, 4), MACH_MSG_SUCCESS);
    mesh_settle(&mesh);
    EXPECT(test_receive(port, 4));
    port_release(there);
    port_release(second);
    mesh_settle(&mesh);
    port_destroy(port);
    mesh_destroy(&mesh);
}

static const struct unit_test rights_tests[] = {
    {"H11: parts of a message arrive on the same node",
     h11_parts_of_a_message_arrive_on_the_same_node},
    {"H11: parts of a message arrive on another node",
     h11_parts_of_a_message_arrive_on_another_node},
    {"H11: the wire form is the specified one", h11_the_wire_form_is_the_specified_one},
    {"H11: what cannot be sent is refused and nothing moved",
     h11_what_cannot_be_sent_is_refused_and_nothing_moved},
    {"L3: the last right of another node is told", l3_the_last_right_of_another_node_is_told},
    {"L3: local rights count as well", l3_local_rights_count_as_well},
    {"L3: a dead name is told without senders too", l3_a_dead_name_is_told_without_senders_too},
    {"L3: a right on its way counts", l3_a_right_on_its_way_counts},
    {"L3: a refused right comes back", l3_a_refused_right_comes_back},
    {"L3: the death of a node gives back its rights", l3_the_death_of_a_node_gives_back_its_rights},
    {"G7: the death of a port is told to its holders",
     g7_the_death_of_a_port_is_told_to_its_holders},
    {"G7: a port that dies while a right travels is dead on arrival",
     g7_a_port_that_dies_while_a_right_travels_is_dead_on_arrival},
    {"G7: the death of a node makes its ports dead names",
     g7_the_death_of_a_node_makes_its_ports_dead_names},
    {"G10: a port without rights elsewhere is local again",
     g10_a_port_without_rights_elsewhere_is_local_again},
    {"L3: a send-once right is good for one message", l3_a_send_once_right_is_good_for_one_message},
    {"L3: a forged send-once right is refused", l3_a_forged_send_once_right_is_refused},
    {"L3: what a waiting receiver refused is freed", l3_what_a_waiting_receiver_refused_is_freed},
    {"L3: a send-once right that dies is told", l3_a_send_once_right_that_dies_is_told},
    {"L3: deaths of send-once rights wait for room in the queue",
     l3_deaths_of_send_once_rights_wait_for_room_in_the_queue},
    {"L3: deaths that wait move with their port", l3_deaths_that_wait_move_with_their_port},
    {"L3: a send-once right comes home", l3_a_send_once_right_comes_home},
    {"G10: a right goes from hand to hand", g10_a_right_goes_from_hand_to_hand},
    {"G10: a right that was passed on is never unaccounted for",
     g10_a_right_that_was_passed_on_is_never_unaccounted_for},
    {"G10: a send-once right goes from hand to hand", g10_a_send_once_right_goes_from_hand_to_hand},
    {"G10: a send-once right is registered before it is used",
     g10_a_send_once_right_is_registered_before_it_is_used},
    {"G10: a right to a port out of reach is refused",
     g10_a_right_to_a_port_out_of_reach_is_refused},
};
UNIT_SUITE("rights", rights_tests);
