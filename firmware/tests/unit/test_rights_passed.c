/* SPDX-License-Identifier: MIT
 *
 * Rights that a node passes on, to ports that are not its own: three nodes. Tests are named by the
 * rows of docs/spec/gaps.md that they hold up.
 */
#include "core/port.h"
#include "mesh.h"
#include "unit.h"

static void g10_a_right_goes_from_hand_to_hand(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = mesh_port(&mesh, 0), *second, *third, *back;

    second = mesh_give(&mesh, 0, port, 1);
    third = mesh_give_right(&mesh, 1, second, PORT_MOVE_SEND, 2);
    EXPECT_EQUAL(port_notify_no_senders(port, port), 0);
    EXPECT_EQUAL(port->given.send, 1); /* the third's; the second has nothing left */
    EXPECT_EQUAL(test_send(third, 9), MACH_MSG_SUCCESS);
    mesh_settle(&mesh);
    EXPECT(test_receive(port, 9));
    back = mesh_give_right(&mesh, 2, third, PORT_COPY_SEND, 0);
    EXPECT(back == port);
    port_release(back);
    port_release(third);
    mesh_settle(&mesh);
    EXPECT(test_notified(port, NOTIFY_NO_SENDERS));
    port_destroy(port);
    mesh_destroy(&mesh);
}

/* The passer answers for the right until the third node is on the home's account. */
static void g10_a_right_that_was_passed_on_is_never_unaccounted_for(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = mesh_port(&mesh, 0), *second, *third;

    second = mesh_give(&mesh, 0, port, 1);
    EXPECT_EQUAL(port_notify_no_senders(port, port), 0);
    mesh.cut[2][0] = true; /* the third cannot tell the home */
    mesh_send_right(&mesh, 1, second, PORT_MOVE_SEND, 2);
    mesh_settle(&mesh);
    third = mesh_take_right(&mesh, 2, PORT_SEND);
    mesh_settle(&mesh);
    EXPECT(!test_notified(port, NOTIFY_NO_SENDERS));
    EXPECT_EQUAL(test_statistics(mesh.hosts[1]).ports, 2); /* and its door */
    mesh.cut[2][0] = false;
    mesh_settle(&mesh);
    EXPECT_EQUAL(test_statistics(mesh.hosts[1]).ports, 1);
    EXPECT(!test_notified(port, NOTIFY_NO_SENDERS));
    port_release(third);
    mesh_settle(&mesh);
    EXPECT(test_notified(port, NOTIFY_NO_SENDERS));
    port_destroy(port);
    mesh_destroy(&mesh);
}

static void g10_a_send_once_right_goes_from_hand_to_hand(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = mesh_port(&mesh, 0), *second, *third;

    second = mesh_give_right(&mesh, 0, port, PORT_MAKE_SEND_ONCE, 1);
    third = mesh_give_right(&mesh, 1, second, PORT_MOVE_SEND_ONCE, 2);
    EXPECT_EQUAL(port->given.once, 1);
    EXPECT_EQUAL(mach_msg_send_once(test_message(mesh.hosts[2], 6), third, NULL, PORT_NONE),
                 MACH_MSG_SUCCESS);
    mesh_settle(&mesh);
    EXPECT(test_receive(port, 6));
    EXPECT_EQUAL(port->given.once, 0);
    second = mesh_give_right(&mesh, 0, port, PORT_MAKE_SEND_ONCE, 1);
    third = mesh_give_right(&mesh, 1, second, PORT_MOVE_SEND_ONCE, 2);
    port_release_right(third, PORT_SEND_ONCE);
    mesh_settle(&mesh);
    EXPECT(test_notified(port, NOTIFY_SEND_ONCE));
    EXPECT(!test_notified(port, NOTIFY_SEND_ONCE));
    port_destroy(port);
    mesh_destroy(&mesh);
}

/* Used at once, before the home can know of it. */
static void g10_a_send_once_right_is_registered_before_it_is_used(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = mesh_port(&mesh, 0), *second, *third;

    second = mesh_give_right(&mesh, 0, port, PORT_MAKE_SEND_ONCE, 1);
    mesh_send_right(&mesh, 1, second, PORT_MOVE_SEND_ONCE, 2);
    mesh_settle(&mesh);
    third = mesh_take_right(&mesh, 2, PORT_SEND_ONCE);
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
    struct port *port = mesh_port(&mesh, 0), *second = mesh_give(&mesh, 0, port, 1);
    struct port *there = port_from_name(mesh.hosts[1], port_name(mesh_door(&mesh, 2)));
    struct message_item item = test_port_item(second, PORT_COPY_SEND);
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

static const struct unit_test rights_passed_tests[] = {
    {"G10: a right goes from hand to hand", g10_a_right_goes_from_hand_to_hand},
    {"G10: a right that was passed on is never unaccounted for",
     g10_a_right_that_was_passed_on_is_never_unaccounted_for},
    {"G10: a send-once right goes from hand to hand", g10_a_send_once_right_goes_from_hand_to_hand},
    {"G10: a send-once right is registered before it is used",
     g10_a_send_once_right_is_registered_before_it_is_used},
    {"G10: a right to a port out of reach is refused",
     g10_a_right_to_a_port_out_of_reach_is_refused},
};
UNIT_SUITE("rights_passed", rights_passed_tests);
