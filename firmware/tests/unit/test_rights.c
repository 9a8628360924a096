/* SPDX-License-Identifier: MIT
 *
 * The accounts of send rights between a port's node and their holder: who has senders, and who is
 * told of a death. Tests are named by the rows of docs/spec/gaps.md that they hold up.
 */
#include "mesh.h"
#include "unit.h"

static void l3_the_last_right_of_another_node_is_told(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *port = mesh_port(&mesh, 0);
    struct port *first = mesh_give(&mesh, 0, port, 1), *second = mesh_give(&mesh, 0, port, 1);

    EXPECT(first == second);
    EXPECT_EQUAL(port_notify_no_senders(port, port), 0);
    EXPECT(port_notify_no_senders(port, port) == ERROR_EXISTS);
    port_release(first);
    mesh_settle(&mesh);
    EXPECT(port_has_senders(port));
    EXPECT(!test_notified(port, NOTIFY_NO_SENDERS));
    port_release(second);
    EXPECT(port_has_senders(port));
    mesh_settle(&mesh);
    EXPECT(!port_has_senders(port));
    EXPECT(test_notified(port, NOTIFY_NO_SENDERS));
    EXPECT(!test_notified(port, NOTIFY_NO_SENDERS));
    port_destroy(port);
    mesh_destroy(&mesh);
}

static void l3_local_rights_count_as_well(void)
{
    struct mesh mesh = mesh_create(1);
    struct port *port = mesh_port(&mesh, 0);

    port_retain(port);
    EXPECT_EQUAL(port_notify_no_senders(port, port), 0);
    mesh_send_right(&mesh, 0, port, PORT_MAKE_SEND, 0);
    port_release(port);
    EXPECT(!test_notified(port, NOTIFY_NO_SENDERS));
    EXPECT(mesh_take_right(&mesh, 0, PORT_SEND) == port);
    EXPECT(!test_notified(port, NOTIFY_NO_SENDERS));
    port_release(port);
    EXPECT(test_notified(port, NOTIFY_NO_SENDERS));
    EXPECT_EQUAL(port_notify_no_senders(port, mesh_door(&mesh, 0)), 0);
    EXPECT(test_notified(mesh_door(&mesh, 0), NOTIFY_NO_SENDERS));
    port_destroy(port);
    mesh_destroy(&mesh);
}

static void l3_a_dead_name_is_told_without_senders_too(void)
{
    struct mesh mesh = mesh_create(1);
    struct port *port = mesh_port(&mesh, 0), *notify = mesh_door(&mesh, 0);

    port_retain(port);
    EXPECT_EQUAL(port_notify_dead(port, notify), 0);
    port_release(port);
    EXPECT(!test_notified(notify, NOTIFY_DEAD_NAME));
    port_destroy(port);
    EXPECT(test_notified(notify, NOTIFY_DEAD_NAME));
    mesh_destroy(&mesh);
}

static void l3_a_right_on_its_way_counts(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *port = mesh_port(&mesh, 0), *proxy;

    mesh_send_right(&mesh, 0, port, PORT_MAKE_SEND, 1);
    EXPECT_EQUAL(port_notify_no_senders(port, port), 0);
    EXPECT(!test_notified(port, NOTIFY_NO_SENDERS));
    mesh_settle(&mesh);
    EXPECT(!test_notified(port, NOTIFY_NO_SENDERS));
    proxy = mesh_take_right(&mesh, 1, PORT_SEND);
    mesh_settle(&mesh);
    EXPECT(!test_notified(port, NOTIFY_NO_SENDERS));
    port_release(proxy);
    mesh_settle(&mesh);
    EXPECT(test_notified(port, NOTIFY_NO_SENDERS));
    port_destroy(port);
    mesh_destroy(&mesh);
}

static void l3_a_refused_right_comes_back(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *port = mesh_port(&mesh, 0), *doomed = mesh_port(&mesh, 1);
    struct port *there = port_from_name(mesh.hosts[0], port_name(doomed));
    struct message_item items[] = {test_port_item(port, PORT_MAKE_SEND),
                                   test_port_item(port, PORT_MAKE_SEND_ONCE)};
    struct kmsg *kmsg;

    EXPECT_EQUAL(port_notify_no_senders(port, mesh_door(&mesh, 0)), 0);
    EXPECT(test_notified(mesh_door(&mesh, 0), NOTIFY_NO_SENDERS));
    REQUIRE(kmsg_create(mesh.hosts[0], 0, items, 2, &kmsg) == 0);
    EXPECT_EQUAL(port_notify_no_senders(port, mesh_door(&mesh, 0)), 0);
    EXPECT_EQUAL(mach_msg_send(kmsg, there, NULL, PORT_NONE, 0), MACH_MSG_SUCCESS);
    mesh_settle(&mesh);
    EXPECT(port_has_senders(port));
    port_destroy(doomed);
    mesh_settle(&mesh);
    EXPECT(!port_has_senders(port));
    EXPECT(test_notified(mesh_door(&mesh, 0), NOTIFY_NO_SENDERS));
    EXPECT(test_notified(port, NOTIFY_SEND_ONCE));
    EXPECT(!test_notified(port, NOTIFY_SEND_ONCE));
    port_release(there);
    port_destroy(port);
    mesh_destroy(&mesh);
}

static void l3_the_death_of_a_node_gives_back_its_rights(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = mesh_port(&mesh, 0);
    struct port *other = mesh_give(&mesh, 0, port, 2);

    (void)mesh_give(&mesh, 0, port, 1);
    EXPECT_EQUAL(port_notify_no_senders(port, port), 0);
    mesh_send_right(&mesh, 0, port, PORT_MAKE_SEND_ONCE, 1);
    mesh_settle(&mesh);
    mesh_kill(&mesh, 1);
    EXPECT(test_notified(port, NOTIFY_SEND_ONCE));
    EXPECT(port_has_senders(port));
    port_release(other);
    mesh_settle(&mesh);
    EXPECT(test_notified(port, NOTIFY_NO_SENDERS));
    port_destroy(port);
    mesh_destroy(&mesh);
}

static void g7_the_death_of_a_port_is_told_to_its_holders(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *port = mesh_port(&mesh, 0), *proxy = mesh_give(&mesh, 0, port, 1);
    struct outcomes outcomes = {0};

    EXPECT_EQUAL(port_notify_dead(proxy, mesh_door(&mesh, 1)), 0);
    EXPECT_EQUAL(port_notify_dead(proxy, mesh_door(&mesh, 1)), 0);
    EXPECT_EQUAL(test_send_counted(proxy, 1, &outcomes), MACH_MSG_SUCCESS);
    port_destroy(port);
    mesh_settle(&mesh);
    EXPECT_EQUAL(outcomes.failed, 1);
    EXPECT(port_is_dead(proxy));
    EXPECT_EQUAL(test_send(proxy, 2), MACH_SEND_INVALID_DEST);
    EXPECT(test_notified(mesh_door(&mesh, 1), NOTIFY_DEAD_NAME));
    EXPECT(test_notified(mesh_door(&mesh, 1), NOTIFY_DEAD_NAME));
    EXPECT_EQUAL(port_notify_dead(proxy, mesh_door(&mesh, 1)), 0);
    EXPECT(test_notified(mesh_door(&mesh, 1), NOTIFY_DEAD_NAME));
    port_release(proxy);
    mesh_destroy(&mesh);
}

static void g7_a_port_that_dies_while_a_right_travels_is_dead_on_arrival(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *port = mesh_port(&mesh, 0), *proxy;

    mesh_send_right(&mesh, 0, port, PORT_MAKE_SEND, 1);
    EXPECT(mesh_move_one(&mesh, 0, 1));
    port_destroy(port);
    mesh_settle(&mesh); /* the word of its death comes before the right */
    proxy = mesh_take_right(&mesh, 1, PORT_SEND);
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
    struct port *port = mesh_port(&mesh, 0), *proxy = mesh_give(&mesh, 0, port, 1);

    EXPECT_EQUAL(port_notify_dead(proxy, mesh_door(&mesh, 1)), 0);
    mesh_kill(&mesh, 0);
    EXPECT(test_notified(mesh_door(&mesh, 1), NOTIFY_DEAD_NAME));
    port_release(proxy);
    mesh_destroy(&mesh);
}

static void g10_a_port_without_rights_elsewhere_is_local_again(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *ports[100];
    uint64_t names[2];

    for (unsigned i = 0; i < 100; i++) {
        ports[i] = mesh_port(&mesh, 0);
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

static const struct unit_test rights_tests[] = {
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
};
UNIT_SUITE("rights", rights_tests);
