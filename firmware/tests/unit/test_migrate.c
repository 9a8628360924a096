/* SPDX-License-Identifier: MIT
 *
 * Receive rights that move between nodes. Tests are named by the rows of docs/spec/gaps.md that they
 * hold up.
 */
#include "core/kmsg.h"
#include "core/node.h"
#include "core/port.h"
#include "mesh.h"
#include "unit.h"
#include <string.h>

static void send_receive_right(struct mesh *mesh, unsigned from, struct port *port, unsigned to,
                               struct outcomes *outcomes)
{
    struct message_item item = test_port_item(port, PORT_MOVE_RECEIVE);
    struct port *there = port_from_name(mesh->hosts[from], port_name(mesh_door(mesh, to)));
    struct kmsg *kmsg;

    REQUIRE(there != NULL);
    REQUIRE(kmsg_create(mesh->hosts[from], 0, &item, 1, &kmsg) == 0);
    kmsg_set_completion(kmsg, outcomes_count, outcomes);
    REQUIRE(mach_msg_send(kmsg, there, NULL, PORT_NONE, 0) == MACH_MSG_SUCCESS);
    port_release(there);
}

static struct port *move(struct mesh *mesh, unsigned from, struct port *port, unsigned to)
{
    struct port *moved;

    mesh_send_right(mesh, from, port, PORT_MOVE_RECEIVE, to);
    mesh_settle(mesh);
    moved = mesh_take_right(mesh, to, PORT_RECEIVE);
    REQUIRE(moved != NULL);
    return moved;
}

static void send_numbers(struct port *port, uint64_t first, uint64_t end, struct outcomes *outcomes)
{
    for (uint64_t i = first; i < end; i++)
        EXPECT_EQUAL(test_send_counted(port, i, outcomes), MACH_MSG_SUCCESS);
}

static void receive_numbers(struct mesh *mesh, struct port *port, uint64_t first, uint64_t end)
{
    for (uint64_t i = first; i < end; i++) {
        mesh_settle(mesh);
        EXPECT(test_receive(port, i));
    }
    mesh_settle(mesh);
    EXPECT(!test_receive(port, 0));
}

static void m3_a_port_moves_with_its_name(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *port = mesh_port(&mesh, 0), *moved, *proxy;
    struct kmsg *kmsg;
    uint64_t name = port_name(port);

    port_retain(port);
    port_set_limit(port, 33);
    moved = move(&mesh, 0, port, 1);
    EXPECT_EQUAL(port_name(moved), name);
    EXPECT_EQUAL(moved->limit, 33);
    mesh_settle(&mesh);
    EXPECT_EQUAL(port->kind, PORT_PROXY);
    EXPECT_EQUAL(mach_msg_receive(port, &kmsg, 0), MACH_RCV_PORT_CHANGED);
    proxy = port_from_name(mesh.hosts[0], name);
    EXPECT(proxy == port);
    send_numbers(port, 0, 3, NULL);
    receive_numbers(&mesh, moved, 0, 3);
    EXPECT_EQUAL(port_notify_no_senders(moved, moved), 0);
    port_release(proxy);
    port_release(port);
    mesh_settle(&mesh);
    REQUIRE(mach_msg_receive(moved, &kmsg, 0) == MACH_MSG_SUCCESS);
    EXPECT_EQUAL(kmsg_id(kmsg), NOTIFY_NO_SENDERS);
    kmsg_free(kmsg);
    port_destroy(moved);
    mesh_destroy(&mesh);
}

/* A right to a port of node 1 waits at node 0 for its turn to node 1, while the port comes to node 0. */
static void m3_a_right_on_its_way_home_is_not_lost_when_the_port_moves(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *port = mesh_port(&mesh, 1), *target = mesh_port(&mesh, 1), *moved, *right;
    struct port *send = mesh_give(&mesh, 1, port, 0), *to = mesh_give(&mesh, 1, target, 0);
    struct message_item item = test_port_item(send, PORT_MOVE_SEND);
    enum port_disposition disposition;
    struct kmsg *kmsg;

    mesh.cut[0][1] = true;
    REQUIRE(kmsg_create(mesh.hosts[0], 0, &item, 1, &kmsg) == 0);
    EXPECT_EQUAL(mach_msg_send(kmsg, to, NULL, PORT_NONE, 0), MACH_MSG_SUCCESS);
    mesh_send_right(&mesh, 1, port, PORT_MOVE_RECEIVE, 0);
    mesh_settle(&mesh);
    moved = mesh_take_right(&mesh, 0, PORT_RECEIVE);
    mesh.cut[0][1] = false;
    mesh_settle(&mesh);
    REQUIRE(mach_msg_receive(target, &kmsg, 0) == MACH_MSG_SUCCESS);
    right = kmsg_take_port(kmsg, 0, 0, &disposition);
    EXPECT_EQUAL(disposition, PORT_SEND);
    REQUIRE(right != NULL);
    kmsg_free(kmsg);
    EXPECT_EQUAL(test_send(right, 5), MACH_MSG_SUCCESS);
    mesh_settle(&mesh);
    EXPECT(test_receive(moved, 5));
    EXPECT(port_has_senders(moved));
    port_release(right);
    mesh_settle(&mesh);
    EXPECT(!port_has_senders(moved));
    port_release(to);
    port_destroy(moved);
    port_destroy(target);
    mesh_destroy(&mesh);
}

static void m3_a_receive_right_moves_within_a_node(void)
{
    struct mesh mesh = mesh_create(1);
    struct port *port = mesh_port(&mesh, 0);
    struct message_item item = test_port_item(port, PORT_MOVE_RECEIVE);
    struct kmsg *kmsg;

    mesh_send_right(&mesh, 0, port, PORT_MOVE_RECEIVE, 0);
    EXPECT_EQUAL(test_send(port, 1), MACH_MSG_SUCCESS);
    EXPECT_EQUAL(mach_msg_receive(port, &kmsg, 0), MACH_RCV_PORT_CHANGED);
    EXPECT(mesh_take_right(&mesh, 0, PORT_RECEIVE) == port);
    EXPECT(test_receive(port, 1));
    /* A right in the queue that it is the right to would never be received. */
    REQUIRE(kmsg_create(mesh.hosts[0], 0, &item, 1, &kmsg) == 0);
    EXPECT_EQUAL(mach_msg_send(kmsg, port, NULL, PORT_NONE, 0), MACH_SEND_INVALID_RIGHT);
    kmsg_free(kmsg);
    mesh_destroy(&mesh);
}

static void m3_circles_of_receive_rights_are_refused(void)
{
    struct mesh mesh = mesh_create(1);
    struct port *first = mesh_port(&mesh, 0), *second = mesh_port(&mesh, 0);
    struct message_item item = test_port_item(first, PORT_MOVE_RECEIVE);
    struct kmsg *kmsg;

    REQUIRE(kmsg_create(mesh.hosts[0], 0, &item, 1, &kmsg) == 0);
    EXPECT_EQUAL(mach_msg_send(kmsg, second, NULL, PORT_NONE, 0), MACH_MSG_SUCCESS);
    item.port = second;
    REQUIRE(kmsg_create(mesh.hosts[0], 0, &item, 1, &kmsg) == 0);
    EXPECT_EQUAL(mach_msg_send(kmsg, first, NULL, PORT_NONE, 0), MACH_SEND_INVALID_RIGHT);
    kmsg_free(kmsg); /* with it the second, with that the first */
    mesh_destroy(&mesh);
}

static void m3_the_queue_moves_too(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = mesh_port(&mesh, 0), *moved, *third = mesh_give(&mesh, 0, port, 2);
    struct outcomes here = {0}, there = {0};

    port_set_limit(port, 100);
    port_retain(port);
    send_numbers(port, 0, 5, &here);
    send_numbers(third, 10, 15, &there);
    mesh_settle(&mesh);
    moved = move(&mesh, 0, port, 1);
    EXPECT_EQUAL(here.settled + there.settled, 0);
    send_numbers(port, 5, 8, &here);
    send_numbers(third, 15, 18, &there);
    for (uint64_t here_next = 0, there_next = 10; here_next < 8 || there_next < 18;) {
        struct kmsg *kmsg;
        uint64_t number;

        mesh_settle(&mesh);
        if (mach_msg_receive(moved, &kmsg, 0) != MACH_MSG_SUCCESS) {
            EXPECT(false);
            break;
        }
        number = test_number(kmsg);
        EXPECT_EQUAL(number, number < 10 ? here_next++ : there_next++);
        EXPECT_EQUAL(kmsg_source_node(kmsg), number < 10 ? 1 : 3);
        kmsg_free(kmsg);
    }
    mesh_settle(&mesh);
    EXPECT_EQUAL(here.settled, 8);
    EXPECT_EQUAL(there.settled, 8);
    EXPECT_EQUAL(third->node->id, 2);
    port_release(port);
    port_release(third);
    port_destroy(moved);
    mesh_destroy(&mesh);
}

/* Messages of ours are on their way to the former home when the port comes here. */
static void g8_a_port_that_comes_to_its_sender_waits_for_what_is_on_its_way(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *port = mesh_port(&mesh, 0), *moved, *proxy = mesh_give(&mesh, 0, port, 1);
    struct outcomes outcomes = {0};
    unsigned i;

    port_set_limit(port, 100);
    mesh_send_right(&mesh, 0, port, PORT_MOVE_RECEIVE, 1);
    send_numbers(proxy, 0, 10, &outcomes);
    for (i = 0; i < 4; i++)
        EXPECT(mesh_move_one(&mesh, 1, 0));
    mesh.cut[1][0] = true;
    mesh_settle(&mesh);
    moved = mesh_take_right(&mesh, 1, PORT_RECEIVE);
    EXPECT(moved == proxy);
    EXPECT_EQUAL(moved->kind, PORT_PREPRINCIPAL);
    send_numbers(moved, 10, 13, &outcomes);
    EXPECT(!test_receive(moved, 0));
    mesh.cut[1][0] = false;
    mesh_settle(&mesh);
    EXPECT_EQUAL(moved->kind, PORT_PRINCIPAL);
    receive_numbers(&mesh, moved, 0, 13);
    EXPECT_EQUAL(outcomes.settled, 13);
    port_release(proxy);
    port_destroy(moved);
    mesh_destroy(&mesh);
}

static void j1_a_message_to_a_former_home_is_sent_to_the_new_one(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = mesh_port(&mesh, 0), *moved, *third = mesh_give(&mesh, 0, port, 2);
    const struct flipc_nak_body *body;
    struct outcomes outcomes = {0};
    mnl_msg_t msg;

    moved = move(&mesh, 0, port, 1);
    mesh.cut[0][2] = true;
    mesh_settle(&mesh);
    send_numbers(third, 1, 2, &outcomes);
    EXPECT(mesh_move_one(&mesh, 2, 0));
    mesh_settle(&mesh);
    msg = mnl_msg_try_to_node(mesh.nodes[0][2], 0);
    REQUIRE(msg != MNL_MSG_NULL);
    body = MNL_MSG_PAYLOAD(msg);
    if (msg->cmd == FLIPC_NAK) {
        EXPECT_EQUAL(le32_load(body->reason), FLIPC_NAK_MOVED);
        EXPECT_EQUAL(le32_load(body->resend_to), 2);
    }
    mnl_msg_complete(mesh.nodes[0][2], msg, 0);
    mesh.cut[0][2] = false;
    mnl_flow_resume(mesh.nodes[0][2], mnl_flow_next(mesh.nodes[2][0]));
    mesh_settle(&mesh);
    EXPECT(test_receive(moved, 1));
    mesh_settle(&mesh);
    EXPECT_EQUAL(outcomes.settled, 1);
    EXPECT_EQUAL(outcomes.failed, 0);
    /* The former home has nothing to do with it any more. */
    EXPECT_EQUAL(test_statistics(mesh.hosts[0]).ports, 0);
    port_release(third);
    port_destroy(moved);
    mesh_destroy(&mesh);
}

/* Its reply port died while the message was at the former home. */
static void j1_a_message_without_its_reply_port_is_sent_to_the_new_home(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = mesh_port(&mesh, 0), *third = mesh_give(&mesh, 0, port, 2);
    struct port *reply = mesh_port(&mesh, 2), *moved;
    struct outcomes outcomes = {0};
    struct kmsg *kmsg = test_message(mesh.hosts[2], 1);

    kmsg_set_completion(kmsg, outcomes_count, &outcomes);
    EXPECT_EQUAL(mach_msg_send(kmsg, third, reply, PORT_SEND_ONCE, 0), MACH_MSG_SUCCESS);
    mesh_settle(&mesh);
    port_destroy(reply);
    moved = move(&mesh, 0, port, 1);
    mesh_settle(&mesh);
    EXPECT(test_receive(moved, 1));
    mesh_settle(&mesh);
    EXPECT_EQUAL(outcomes.settled, 1);
    port_release(third);
    port_destroy(moved);
    mesh_settle(&mesh);
    mesh_destroy(&mesh);
}

static void m3_a_message_with_rights_follows_the_port(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = mesh_port(&mesh, 0), *moved, *third = mesh_give(&mesh, 0, port, 2);
    struct port *reply = mesh_port(&mesh, 2), *carried = mesh_port(&mesh, 2), *got;
    struct message_item item = test_port_item(carried, PORT_MAKE_SEND);
    enum port_disposition right;
    struct kmsg *kmsg;

    REQUIRE(kmsg_create(mesh.hosts[2], 0, &item, 1, &kmsg) == 0);
    EXPECT_EQUAL(mach_msg_send(kmsg, third, reply, PORT_SEND_ONCE, 0), MACH_MSG_SUCCESS);
    mesh_settle(&mesh);
    moved = move(&mesh, 0, port, 1);
    mesh_settle(&mesh);
    REQUIRE(mach_msg_receive(moved, &kmsg, 0) == MACH_MSG_SUCCESS);
    got = kmsg_take_port(kmsg, 0, 0, &right);
    REQUIRE(got != NULL);
    EXPECT_EQUAL(mach_msg_reply(test_message(mesh.hosts[1], 4), kmsg_take_reply_port(kmsg),
                                kmsg_reply_disposition(kmsg)),
                 MACH_MSG_SUCCESS);
    kmsg_free(kmsg);
    EXPECT_EQUAL(test_send(got, 5), MACH_MSG_SUCCESS);
    mesh_settle(&mesh);
    EXPECT(test_receive(reply, 4));
    EXPECT(!test_receive(reply, 0)); /* no right was lost on the way */
    EXPECT(test_receive(carried, 5));
    port_release(got);
    mesh_settle(&mesh);
    EXPECT(!port_has_senders(carried));
    EXPECT_EQUAL(reply->given.once + reply->once, 0);
    port_release(third);
    port_destroy(reply);
    port_destroy(carried);
    port_destroy(moved);
    mesh_destroy(&mesh);
}

/* One used on its way after the port, one unused, one used after the move, one that dies. */
static void m3_send_once_rights_follow_the_port(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = mesh_port(&mesh, 0), *moved, *once[3];
    struct kmsg *kmsg;

    for (int i = 0; i < 3; i++)
        once[i] = mesh_give_right(&mesh, 0, port, PORT_MAKE_SEND_ONCE, 2);
    mesh.cut[2][0] = true;
    EXPECT_EQUAL(mach_msg_send_once(test_message(mesh.hosts[2], 1), once[0], NULL, PORT_NONE),
                 MACH_MSG_SUCCESS);
    moved = move(&mesh, 0, port, 1);
    mesh.cut[2][0] = false;
    mesh_settle(&mesh);
    EXPECT(test_receive(moved, 1));
    EXPECT_EQUAL(mach_msg_send_once(test_message(mesh.hosts[2], 2), once[1], NULL, PORT_NONE),
                 MACH_MSG_SUCCESS);
    mesh_settle(&mesh);
    EXPECT(test_receive(moved, 2));
    port_release_right(once[2], PORT_SEND_ONCE);
    mesh_settle(&mesh);
    REQUIRE(mach_msg_receive(moved, &kmsg, 0) == MACH_MSG_SUCCESS);
    EXPECT_EQUAL(kmsg_id(kmsg), NOTIFY_SEND_ONCE);
    kmsg_free(kmsg);
    EXPECT(!test_receive(moved, 0));
    EXPECT_EQUAL(moved->given.once, 0);
    EXPECT_EQUAL(test_statistics(mesh.hosts[0]).ports, 0);
    port_destroy(moved);
    mesh_destroy(&mesh);
}

/* The right was used, its message came back, and another is still on its way to the former home. */
static void m3_a_port_comes_to_its_sender_while_a_used_right_waits_to_follow(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = mesh_port(&mesh, 0), *second, *moved;
    struct port *once = mesh_give_right(&mesh, 0, port, PORT_MAKE_SEND_ONCE, 2),
                *third = mesh_give(&mesh, 0, port, 2);

    mesh.cut[2][0] = mesh.cut[0][2] = true;
    EXPECT_EQUAL(mach_msg_send_once(test_message(mesh.hosts[2], 1), once, NULL, PORT_NONE),
                 MACH_MSG_SUCCESS);
    EXPECT_EQUAL(test_send(third, 2), MACH_MSG_SUCCESS);
    second = move(&mesh, 0, port, 1);
    mesh.cut[2][0] = false;
    mesh_send_right(&mesh, 1, second, PORT_MOVE_RECEIVE, 2);
    mesh_settle(&mesh);
    mesh.cut[0][2] = false;
    EXPECT(mesh_move_one(&mesh, 0, 2));
    moved = mesh_take_right(&mesh, 2, PORT_RECEIVE);
    EXPECT_EQUAL(moved->kind, PORT_PREPRINCIPAL);
    receive_numbers(&mesh, moved, 1, 3);
    port_release(third);
    mesh_settle(&mesh);
    EXPECT(!port_has_senders(moved));
    EXPECT_EQUAL(moved->given.once + moved->once, 0);
    EXPECT_EQUAL(test_statistics(mesh.hosts[0]).ports, 0);
    port_destroy(moved);
    mesh_destroy(&mesh);
}

/* What it was told is settled when the sender has no rights any more, and another home. */
static void m3_a_former_home_is_told_of_rights_that_are_gone(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = mesh_port(&mesh, 0), *moved, *third = mesh_give(&mesh, 0, port, 2);
    struct port *second = mesh_give(&mesh, 0, port, 1);
    mnl_msg_t told;

    mesh.cut[2][0] = true;
    EXPECT(mesh_give(&mesh, 1, second, 2) == third);
    told = mnl_msg_try_to_node(mesh.nodes[2][0], 0);
    REQUIRE(told != MNL_MSG_NULL);
    EXPECT_EQUAL(told->cmd, FLIPC_RIGHTS);
    moved = move(&mesh, 0, port, 1);
    EXPECT(moved == second);
    mesh_settle(&mesh);
    EXPECT_EQUAL(third->node->id, 2);
    port_release(third);
    port_release(third);
    mesh_settle(&mesh);
    mnl_msg_complete(mesh.nodes[2][0], told, 0);
    mesh.cut[2][0] = false;
    mnl_flow_resume(mesh.nodes[2][0], mnl_flow_next(mesh.nodes[0][2]));
    mesh_settle(&mesh);
    EXPECT_EQUAL(test_statistics(mesh.hosts[2]).names, 1); /* the door's */
    port_release(second);
    mesh_settle(&mesh);
    EXPECT(!port_has_senders(moved));
    port_destroy(moved);
    mesh_destroy(&mesh);
}

static void m3_a_port_moves_on_and_comes_back(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = mesh_port(&mesh, 0), *sender = mesh_give(&mesh, 0, port, 2);
    struct outcomes outcomes = {0};
    uint64_t name = port_name(port);
    uint64_t number = 0;
    unsigned at = 0;

    for (unsigned round = 0; round < 30; round++) {
        unsigned next = (at + 1 + round % 2) % 3;

        send_numbers(sender, number, number + 2, &outcomes);
        if (round % 3 == 0)
            (void)mesh_move_one(&mesh, 2, at == 2 ? 0 : at);
        port = move(&mesh, at, port, next);
        EXPECT_EQUAL(port_name(port), name);
        at = next;
        receive_numbers(&mesh, port, number, number + 2);
        number += 2;
    }
    EXPECT_EQUAL(outcomes.settled, 60);
    port_release(sender);
    mesh_settle(&mesh);
    EXPECT(!port_has_senders(port));
    port_destroy(port);
    mesh_destroy(&mesh);
}

static void m3_a_port_whose_receiver_dies_on_the_way_is_dead(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = mesh_port(&mesh, 0), *third = mesh_give(&mesh, 0, port, 2);
    struct outcomes outcomes = {0}, carrier = {0};

    send_numbers(third, 0, 2, &outcomes);
    mesh_settle(&mesh);
    send_receive_right(&mesh, 0, port, 1, &carrier);
    mesh_settle(&mesh);
    mesh_kill(&mesh, 1);
    mesh_settle(&mesh);
    EXPECT_EQUAL(carrier.unknown, 1);
    EXPECT_EQUAL(outcomes.failed, 2);
    EXPECT(port_is_dead(third));
    port_release(third);
    mesh_destroy(&mesh);
}

static void m3_a_receive_right_that_is_refused_dies(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *port = mesh_port(&mesh, 0), *proxy = mesh_give(&mesh, 0, port, 1);
    struct port *doomed = mesh_port(&mesh, 1);
    struct port *there = port_from_name(mesh.hosts[0], port_name(doomed));
    struct message_item item = test_port_item(port, PORT_MOVE_RECEIVE);
    struct kmsg *kmsg;

    REQUIRE(kmsg_create(mesh.hosts[0], 0, &item, 1, &kmsg) == 0);
    EXPECT_EQUAL(mach_msg_send(kmsg, there, NULL, PORT_NONE, 0), MACH_MSG_SUCCESS);
    mesh_settle(&mesh);
    port_destroy(doomed);
    mesh_settle(&mesh);
    EXPECT(port_is_dead(proxy));
    port_release(proxy);
    port_release(there);
    mesh_destroy(&mesh);
}

static void m3_a_port_that_moves_out_of_reach_is_dead_there(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = mesh_port(&mesh, 0), *moved, *third = mesh_give(&mesh, 0, port, 2);
    struct outcomes outcomes = {0};

    EXPECT_EQUAL(mnl_terminate(mesh.nodes[2][1], 0), KERN_SUCCESS);
    mesh.cut[2][1] = mesh.cut[1][2] = true;
    moved = move(&mesh, 0, port, 1);
    send_numbers(third, 0, 1, &outcomes);
    mesh_settle(&mesh);
    EXPECT_EQUAL(outcomes.failed, 1);
    EXPECT(port_is_dead(third));
    EXPECT(!port_has_senders(moved));
    port_release(third);
    port_destroy(moved);
    mesh_destroy(&mesh);
}

/* The receiver knows the port at its first home, which cannot tell it that the port moved. */
static void m3_a_port_that_comes_sooner_than_the_news_waits_for_it(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = mesh_port(&mesh, 0), *second, *third = mesh_give(&mesh, 0, port, 2);
    struct port *door = port_from_name(mesh.hosts[1], port_name(mesh_door(&mesh, 2)));
    struct outcomes outcomes = {0};
    struct kmsg *kmsg;

    mesh.cut[0][2] = true;
    second = move(&mesh, 0, port, 1);
    send_receive_right(&mesh, 1, second, 2, &outcomes);
    send_numbers(door, 7, 9, &outcomes);
    mesh_settle(&mesh);
    EXPECT_EQUAL(mach_msg_receive(mesh_door(&mesh, 2), &kmsg, 0), MACH_RCV_TIMED_OUT);
    EXPECT_EQUAL(test_send(mesh_door(&mesh, 2), 5), MACH_MSG_SUCCESS); /* others do not wait */
    EXPECT(test_receive(mesh_door(&mesh, 2), 5));
    mesh.cut[0][2] = false;
    mesh_settle(&mesh);
    EXPECT(mesh_take_right(&mesh, 2, PORT_RECEIVE) == third);
    receive_numbers(&mesh, mesh_door(&mesh, 2), 7, 9);
    EXPECT_EQUAL(outcomes.settled, 3);
    EXPECT_EQUAL(test_send(third, 1), MACH_MSG_SUCCESS);
    EXPECT(test_receive(third, 1));
    port_release(door);
    port_destroy(third);
    port_release(third);
    mesh_settle(&mesh);
    mesh_destroy(&mesh);
}

/* Sends the receive right to a port of its own under the name of another. */
static void send_stolen(struct mesh *mesh, unsigned from, uint64_t name, unsigned to)
{
    struct message_item item = {
        .type = MESSAGE_PORT, .transfer = PORT_MOVE_RECEIVE, .port = mesh_port(mesh, from)};
    struct port *there = port_from_name(mesh->hosts[from], port_name(mesh_door(mesh, to)));
    struct kmsg *kmsg;

    REQUIRE(kmsg_create(mesh->hosts[from], 0, &item, 1, &kmsg) == 0);
    REQUIRE(mach_msg_send(kmsg, there, NULL, PORT_NONE, 0) == MACH_MSG_SUCCESS);
    kmsg_descriptors(kmsg)->name = le64_of(name);
    port_release(there);
}

static void m3_a_port_that_is_elsewhere_cannot_be_stolen(bool has_account)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = mesh_port(&mesh, 0), *second;
    struct kmsg *kmsg;

    second =
        has_account ? mesh_give(&mesh, 0, port, 1) : port_from_name(mesh.hosts[1], port_name(port));
    send_stolen(&mesh, 2, port_name(port), 1);
    mesh_settle(&mesh);
    EXPECT_EQUAL(mach_msg_receive(mesh_door(&mesh, 1), &kmsg, 0), MACH_RCV_TIMED_OUT);
    EXPECT_EQUAL(test_send(second, 6), MACH_MSG_SUCCESS);
    mesh_settle(&mesh);
    EXPECT(test_receive(port, 6));
    mesh_kill(&mesh, 2);
    EXPECT_EQUAL(mach_msg_receive(mesh_door(&mesh, 1), &kmsg, 0), MACH_RCV_TIMED_OUT);
    port_release(second);
    mesh_settle(&mesh);
    port_destroy(port);
    mesh_destroy(&mesh);
}

static void m3_a_port_known_by_account_cannot_be_stolen(void)
{
    m3_a_port_that_is_elsewhere_cannot_be_stolen(true);
}

static void m3_a_port_known_by_name_cannot_be_stolen(void)
{
    m3_a_port_that_is_elsewhere_cannot_be_stolen(false);
}

/* The only sender is the node that the port moves to, whose rights are its own from then on. It says
 * so before the move is settled: an older message waits there. */
static void m3_a_port_that_moves_is_not_without_senders_on_its_way(void)
{
    struct mesh mesh = mesh_create(2);
    struct port *port = mesh_port(&mesh, 0), *told = mesh_port(&mesh, 0), *there, *moved;
    struct port *older = mesh_port(&mesh, 1), *to_older;
    struct kmsg *kmsg;

    to_older = port_from_name(mesh.hosts[0], port_name(older));
    there = mesh_give(&mesh, 0, port, 1);
    EXPECT_EQUAL(port_notify_no_senders(port, told), 0);
    EXPECT_EQUAL(test_send(to_older, 1), MACH_MSG_SUCCESS);
    mesh_send_right(&mesh, 0, port, PORT_MOVE_RECEIVE, 1);
    EXPECT(mesh_move_one(&mesh, 0, 1) && mesh_move_one(&mesh, 0, 1));
    moved = mesh_take_right(&mesh, 1, PORT_RECEIVE);
    EXPECT(moved == there);
    EXPECT(mesh_move_one(&mesh, 1, 0));
    EXPECT_EQUAL(mach_msg_receive(told, &kmsg, 0), MACH_RCV_TIMED_OUT);
    EXPECT(test_receive(older, 1));
    mesh_settle(&mesh);
    EXPECT(port_has_senders(moved));
    EXPECT_EQUAL(mach_msg_receive(told, &kmsg, 0), MACH_RCV_TIMED_OUT);
    port_destroy(told);
    port_destroy(older);
    port_release(to_older);
    port_release(there);
    port_destroy(moved);
    mesh_settle(&mesh);
    mesh_destroy(&mesh);
}

static const struct unit_test migrate_tests[] = {
    {"M3: a port moves with its name", m3_a_port_moves_with_its_name},
    {"M3: a right on its way home is not lost when the port moves",
     m3_a_right_on_its_way_home_is_not_lost_when_the_port_moves},
    {"M3: a receive right moves within a node", m3_a_receive_right_moves_within_a_node},
    {"M3: circles of receive rights are refused", m3_circles_of_receive_rights_are_refused},
    {"M3: the queue moves too", m3_the_queue_moves_too},
    {"M3: a port that moves is not without senders on its way",
     m3_a_port_that_moves_is_not_without_senders_on_its_way},
    {"G8: a port that comes to its sender waits for what is on its way",
     g8_a_port_that_comes_to_its_sender_waits_for_what_is_on_its_way},
    {"J1: a message without its reply port is sent to the new home",
     j1_a_message_without_its_reply_port_is_sent_to_the_new_home},
    {"J1: a message to a former home is sent to the new one",
     j1_a_message_to_a_former_home_is_sent_to_the_new_one},
    {"M3: a message with rights follows the port", m3_a_message_with_rights_follows_the_port},
    {"M3: send-once rights follow the port", m3_send_once_rights_follow_the_port},
    {"M3: a port comes to its sender while a used right waits to follow",
     m3_a_port_comes_to_its_sender_while_a_used_right_waits_to_follow},
    {"M3: a former home is told of rights that are gone",
     m3_a_former_home_is_told_of_rights_that_are_gone},
    {"M3: a port moves on and comes back", m3_a_port_moves_on_and_comes_back},
    {"M3: a port whose receiver dies on the way is dead",
     m3_a_port_whose_receiver_dies_on_the_way_is_dead},
    {"M3: a port that comes sooner than the news waits for it",
     m3_a_port_that_comes_sooner_than_the_news_waits_for_it},
    {"M3: a port known by account cannot be stolen", m3_a_port_known_by_account_cannot_be_stolen},
    {"M3: a port known by name cannot be stolen", m3_a_port_known_by_name_cannot_be_stolen},
    {"M3: a receive right that is refused dies", m3_a_receive_right_that_is_refused_dies},
    {"M3: a port that moves out of reach is dead there",
     m3_a_port_that_moves_out_of_reach_is_dead_there},
};
UNIT_SUITE("migrate", migrate_tests);
