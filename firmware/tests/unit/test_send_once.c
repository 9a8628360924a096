/* SPDX-License-Identifier: MIT
 *
 * Send-once rights: each ends in one message or in one notification, wherever it is. Tests are
 * named by the rows of docs/spec/gaps.md that they hold up.
 */
#include "core/ipc_state.h"
#include "core/port.h"
#include "mesh.h"
#include "unit.h"
#include <kernel/thread.h>

static void l3_a_send_once_right_is_good_for_one_message(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *port = mesh_port(&mesh, 0);
    struct port *once = mesh_give_right(&mesh, 0, port, PORT_MAKE_SEND_ONCE, 1);
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
    struct port *port = mesh_port(&mesh, 0);
    struct port *once = mesh_give_right(&mesh, 0, port, PORT_MAKE_SEND_ONCE, 1);
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

/* With more rights than have their place in the message itself, by a right that its sender has
 * not. */
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
    struct port *port = mesh_port(&mesh, 0);
    struct port *once = mesh_give_right(&mesh, 0, port, PORT_MAKE_SEND_ONCE, 1);
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
    struct port *port = mesh_port(&mesh, 0);
    struct port *once = mesh_give_right(&mesh, 0, port, PORT_MAKE_SEND_ONCE, 1);
    struct message_item item = test_port_item(port, PORT_MAKE_SEND_ONCE);
    struct kmsg *kmsg;

    port_release_right(once, PORT_SEND_ONCE);
    mesh_settle(&mesh);
    EXPECT(test_notified(port, NOTIFY_SEND_ONCE));
    /* In a message that nobody receives; in one that nobody takes it out of. */
    REQUIRE(kmsg_create(mesh.hosts[0], 0, &item, 1, &kmsg) == 0);
    kmsg_free(kmsg);
    EXPECT(test_notified(port, NOTIFY_SEND_ONCE));
    mesh_send_right(&mesh, 0, port, PORT_MAKE_SEND_ONCE, 1);
    mesh_settle(&mesh);
    REQUIRE(mach_msg_receive(mesh_door(&mesh, 1), &kmsg, 0) == MACH_MSG_SUCCESS);
    kmsg_free(kmsg);
    mesh_settle(&mesh);
    EXPECT(test_notified(port, NOTIFY_SEND_ONCE));
    EXPECT(!test_notified(port, NOTIFY_SEND_ONCE));
    EXPECT_EQUAL(port->once + port->given.once, 0);
    port_destroy(port);
    mesh_destroy(&mesh);
}

static void expect_deaths(struct port *port, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        EXPECT(test_notified(port, NOTIFY_SEND_ONCE));
    EXPECT(!test_notified(port, NOTIFY_SEND_ONCE));
}

/* Whoever says that rights died, and has as many as he likes, fills nobody's memory. */
static void l3_deaths_of_send_once_rights_wait_for_room_in_the_queue(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *port = mesh_port(&mesh, 0), *once[8];

    port_set_limit(port, 3);
    for (unsigned i = 0; i < 8; i++)
        once[i] = mesh_give_right(&mesh, 0, port, PORT_MAKE_SEND_ONCE, 1);
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
    struct port *port = mesh_port(&mesh, 0), *once[4], *moved;

    port_set_limit(port, 1);
    for (unsigned i = 0; i < 4; i++)
        once[i] = mesh_give_right(&mesh, 0, port, PORT_MAKE_SEND_ONCE, 1);
    for (unsigned i = 0; i < 4; i++)
        port_release_right(once[i], PORT_SEND_ONCE);
    mesh_settle(&mesh);
    moved = mesh_give_right(&mesh, 0, port, PORT_MOVE_RECEIVE, 1);
    mesh_settle(&mesh);
    for (unsigned i = 0; i < 4; i++) {
        EXPECT(test_notified(moved, NOTIFY_SEND_ONCE));
        mesh_settle(&mesh);
    }
    EXPECT(!test_notified(moved, NOTIFY_SEND_ONCE));
    port_destroy(moved);
    mesh_settle(&mesh);
    mesh_destroy(&mesh);
}

static void l3_a_send_once_right_comes_home(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *port = mesh_port(&mesh, 0);
    struct port *once = mesh_give_right(&mesh, 0, port, PORT_MAKE_SEND_ONCE, 1);
    struct port *back = mesh_give_right(&mesh, 1, once, PORT_MOVE_SEND_ONCE, 0);

    EXPECT(back == port);
    EXPECT_EQUAL(port->given.once, 0);
    EXPECT_EQUAL(port->once, 1);
    EXPECT_EQUAL(mach_msg_send_once(test_message(mesh.hosts[0], 5), back, NULL, PORT_NONE),
                 MACH_MSG_SUCCESS);
    EXPECT(test_receive(port, 5));
    port_destroy(port);
    mesh_destroy(&mesh);
}

static const struct unit_test send_once_tests[] = {
    {"L3: a send-once right is good for one message", l3_a_send_once_right_is_good_for_one_message},
    {"L3: a forged send-once right is refused", l3_a_forged_send_once_right_is_refused},
    {"L3: what a waiting receiver refused is freed", l3_what_a_waiting_receiver_refused_is_freed},
    {"L3: a send-once right that dies is told", l3_a_send_once_right_that_dies_is_told},
    {"L3: deaths of send-once rights wait for room in the queue",
     l3_deaths_of_send_once_rights_wait_for_room_in_the_queue},
    {"L3: deaths that wait move with their port", l3_deaths_that_wait_move_with_their_port},
    {"L3: a send-once right comes home", l3_a_send_once_right_comes_home},
};
UNIT_SUITE("send_once", send_once_tests);
