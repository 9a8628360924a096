/* SPDX-License-Identifier: MIT
 *
 * Rights that come sooner than the news of them, and news that come later than the port. Each of these
 * orders was found by the random programs of test_rights_random.c. And ports that outlive their makers.
 */
#include "core/kmsg.h"
#include "core/node.h"
#include "core/port.h"
#include "mesh.h"
#include "unit.h"

static struct port *new_port(struct mesh *mesh, unsigned which)
{
    struct port *port;

    REQUIRE(port_create(mesh->hosts[which], &port) == 0);
    return port;
}

/* The next message at `port` says that a send-once right died, and there is no other. */
static void expect_one_death(struct mesh *mesh, struct port *port)
{
    struct kmsg *kmsg;

    mesh_settle(mesh);
    REQUIRE(mach_msg_receive(port, &kmsg, 0) == MACH_MSG_SUCCESS);
    EXPECT_EQUAL(kmsg_id(kmsg), NOTIFY_SEND_ONCE);
    kmsg_free(kmsg);
    mesh_settle(mesh);
    EXPECT(!test_receive(port, 0));
}

/* Nobody has a right to the port any more. */
static void end_unused(struct mesh *mesh, struct port *port)
{
    mesh_settle(mesh);
    EXPECT(!port_has_senders(port));
    EXPECT_EQUAL(port->given.send + port->given.once + port->once, 0);
    port_destroy(port);
    mesh_destroy(mesh);
}

/* Node 1 got the right from node 0 and gives it to its home before it could say that it had it. */
static void a_send_once_right_may_come_home_before_its_holder_was_heard_of(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = new_port(&mesh, 2), *other = new_port(&mesh, 2);
    struct port *once = mesh_give_right(&mesh, 2, port, PORT_MAKE_SEND_ONCE, 0);
    struct port *busy = mesh_give(&mesh, 2, other, 1);

    mesh.cut[2][1] = true;
    port_release(busy); /* what it tells of that is on its way, so it tells nothing else */
    EXPECT(mesh_move_one(&mesh, 1, 2));
    once = mesh_give_right(&mesh, 0, once, PORT_MOVE_SEND_ONCE, 1);
    REQUIRE(once != NULL);
    once = mesh_give_right(&mesh, 1, once, PORT_MOVE_SEND_ONCE, 2);
    EXPECT(once == port);
    mesh.cut[2][1] = false;
    mesh_settle(&mesh);
    if (once != NULL)
        port_release_right(once, PORT_SEND_ONCE);
    expect_one_death(&mesh, port);
    port_destroy(other);
    end_unused(&mesh, port);
}

/* The port moves while a right that node 1 passed on is on its way to node 2, who will ask the home
 * that the port had. */
static void a_right_that_was_passed_on_finds_a_port_that_moved(enum port_transfer make,
                                                               enum port_disposition right)
{
    struct mesh mesh = mesh_create(4);
    struct port *port = new_port(&mesh, 0), *moved, *passed;

    passed = mesh_give_right(&mesh, 0, port, make, 1);
    mesh.cut[1][2] = true;
    mesh_send_right(&mesh, 1, passed,
                    right == PORT_SEND_ONCE ? PORT_MOVE_SEND_ONCE : PORT_MOVE_SEND, 2);
    moved = mesh_give_right(&mesh, 0, port, PORT_MOVE_RECEIVE, 3);
    mesh.cut[1][2] = false;
    mesh_settle(&mesh);
    passed = mesh_take_right(&mesh, 2, right);
    REQUIRE(passed != NULL);
    mesh_settle(&mesh);
    EXPECT(!port_is_dead(passed));
    EXPECT(port_has_senders(moved) == (right == PORT_SEND));
    port_release_right(passed, right);
    if (right == PORT_SEND_ONCE)
        expect_one_death(&mesh, moved);
    end_unused(&mesh, moved);
}

static void a_send_right_that_was_passed_on_finds_a_port_that_moved(void)
{
    a_right_that_was_passed_on_finds_a_port_that_moved(PORT_MAKE_SEND, PORT_SEND);
}

static void a_send_once_right_that_was_passed_on_finds_a_port_that_moved(void)
{
    a_right_that_was_passed_on_finds_a_port_that_moved(PORT_MAKE_SEND_ONCE, PORT_SEND_ONCE);
}

/* The same, and the port goes to node 2 first and from there to node 1. */
static void a_right_on_its_way_finds_a_port_that_came_to_its_sender(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = new_port(&mesh, 0), *moved, *passed;

    passed = mesh_give_right(&mesh, 0, port, PORT_MAKE_SEND_ONCE, 1);
    mesh.cut[1][2] = true;
    mesh_send_right(&mesh, 1, passed, PORT_MOVE_SEND_ONCE, 2);
    moved = mesh_give_right(&mesh, 0, port, PORT_MOVE_RECEIVE, 2);
    moved = mesh_give_right(&mesh, 2, moved, PORT_MOVE_RECEIVE, 1);
    mesh.cut[1][2] = false;
    mesh_settle(&mesh);
    passed = mesh_take_right(&mesh, 2, PORT_SEND_ONCE);
    REQUIRE(passed != NULL);
    mesh_settle(&mesh);
    EXPECT(!port_is_dead(passed));
    port_release_right(passed, PORT_SEND_ONCE);
    expect_one_death(&mesh, moved);
    end_unused(&mesh, moved);
}

/* Node 1 has a right from node 0 when the port comes to it, and one is on its way to node 0, who will ask
 * node 2. Node 0 may let go of node 2 only when that knows that it has to stay. */
static void a_former_home_is_asked_to_stay_before_others_let_go_of_it(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = new_port(&mesh, 2), *moved, *passed;

    passed = mesh_give_right(&mesh, 2, port, PORT_MAKE_SEND, 0);
    mesh.cut[1][2] = true;
    passed = mesh_give_right(&mesh, 0, passed, PORT_MOVE_SEND, 1);
    mesh_send_right(&mesh, 1, passed, PORT_MOVE_SEND, 0);
    mesh_send_right(&mesh, 2, port, PORT_MOVE_RECEIVE, 1);
    mesh_settle(&mesh);
    moved = mesh_take_right(&mesh, 1, PORT_RECEIVE);
    mesh_headers(&mesh, 1, 2);
    mesh_settle(&mesh);
    passed = mesh_take_right(&mesh, 0, PORT_SEND);
    REQUIRE(passed != NULL);
    mesh_settle(&mesh);
    mesh.cut[1][2] = false;
    mesh_settle(&mesh);
    EXPECT(!port_is_dead(passed));
    EXPECT_EQUAL(test_send(passed, 5), MACH_MSG_SUCCESS);
    mesh_settle(&mesh);
    EXPECT(test_receive(moved, 5));
    port_release(passed);
    end_unused(&mesh, moved);
}

/* The receive right of a port and the send-once right to it that is there, in one message. */
static void send_both(struct mesh *mesh, unsigned from, struct port *port, unsigned to)
{
    struct message_item items[] = {
        {.type = MESSAGE_PORT, .transfer = PORT_MOVE_RECEIVE, .port = port},
        {.type = MESSAGE_PORT, .transfer = PORT_MOVE_SEND_ONCE, .port = port},
    };
    struct port *door = port_from_name(mesh->hosts[from], port_name(mesh_door(mesh, to)));
    struct kmsg *kmsg;

    REQUIRE(kmsg_create(mesh->hosts[from], 0, items, 2, &kmsg) == 0);
    REQUIRE(mach_msg_send(kmsg, door, NULL, PORT_NONE, 0) == MACH_MSG_SUCCESS);
    port_release(door);
}

static struct port *take_both(struct mesh *mesh, unsigned at)
{
    enum port_disposition right;
    struct kmsg *kmsg;
    struct port *port;

    REQUIRE(mach_msg_receive(mesh_door(mesh, at), &kmsg, 0) == MACH_MSG_SUCCESS);
    port = kmsg_take_port(kmsg, 0, 0, &right);
    EXPECT_EQUAL(right, PORT_RECEIVE);
    EXPECT(kmsg_take_port(kmsg, 1, 0, &right) == port);
    EXPECT_EQUAL(right, PORT_SEND_ONCE);
    kmsg_free(kmsg);
    return port;
}

/* A port leaves node 0, who has nothing to do with it any more, and comes back before all that node 0
 * had to tell of it was told: nothing of that is that it is elsewhere. */
static void a_port_that_comes_back_is_not_told_to_be_elsewhere(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = new_port(&mesh, 0), *there;
    struct kmsg *kmsg = test_message(mesh.hosts[0], 1);

    EXPECT_EQUAL(mach_msg_send(kmsg, port, port, PORT_SEND_ONCE, 0), MACH_MSG_SUCCESS);
    mesh_send_right(&mesh, 0, port, PORT_MOVE_RECEIVE, 2);
    EXPECT(mesh_move_one(&mesh, 0, 2));
    there = mesh_take_right(&mesh, 2, PORT_RECEIVE);
    mesh_headers(&mesh, 2, 0);
    EXPECT(mesh_move_one(&mesh, 0, 2)); /* it has a send-once right on account */
    EXPECT(mesh_move_one(&mesh, 0, 2)); /* and its message brings it */
    REQUIRE(mach_msg_receive(there, &kmsg, 0) == MACH_MSG_SUCCESS);
    EXPECT(kmsg_take_reply_port(kmsg) == there);
    kmsg_free(kmsg);
    send_both(&mesh, 2, there, 0);
    while (mesh_move_one(&mesh, 2, 0))
        continue;
    port = take_both(&mesh, 0);
    mesh_settle(&mesh);
    EXPECT(!test_receive(port, 0));
    port_release_right(port, PORT_SEND_ONCE);
    expect_one_death(&mesh, port);
    end_unused(&mesh, port);
}

/* The port goes from node 0 to node 1 and from there to node 2, whose message to it is lost on its way to
 * node 1, and sent again when node 1 knows nothing of the port any more. */
static void a_message_to_a_home_that_forgot_a_port_is_received_where_it_was_sent(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = new_port(&mesh, 0), *right = mesh_give(&mesh, 0, port, 2), *moved;

    mesh.cut[2][1] = true;
    moved = mesh_give_right(&mesh, 0, port, PORT_MOVE_RECEIVE, 1);
    EXPECT_EQUAL(test_send(right, 5), MACH_MSG_SUCCESS);
    for (unsigned i = 0; i < 2; i++) { /* that it has a right, and the message */
        mnl_msg_t lost = mnl_msg_try_to_node(mesh.nodes[2][1], 0);

        REQUIRE(lost != MNL_MSG_NULL);
        mnl_msg_complete(mesh.nodes[2][1], lost, 0);
    }
    mesh_send_right(&mesh, 1, moved, PORT_MOVE_RECEIVE, 2);
    mesh_settle(&mesh);
    moved = mesh_take_right(&mesh, 2, PORT_RECEIVE);
    EXPECT_EQUAL(moved->kind, PORT_PREPRINCIPAL);
    mesh_headers(&mesh, 2, 1);
    mesh_settle(&mesh);
    mesh.cut[2][1] = false;
    mnl_flow_resume(mesh.nodes[2][1], mnl_flow_next(mesh.nodes[1][2]));
    mesh_settle(&mesh);
    EXPECT(test_receive(moved, 5));
    port_release(right);
    end_unused(&mesh, moved);
}

/* The port comes to node 0, who has a message to it under way, goes on to node 1, and dies there. Node 0
 * hears of the death while it waits for that message. */
static void a_port_that_went_on_and_died_is_dead_where_it_came_from(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = new_port(&mesh, 2), *notify = new_port(&mesh, 0), *right, *moved;
    struct kmsg *kmsg;

    right = mesh_give_right(&mesh, 2, port, PORT_MAKE_SEND, 0);
    mesh_send_right(&mesh, 2, port, PORT_MOVE_RECEIVE, 0);
    EXPECT(mesh_move_one(&mesh, 2, 0));
    mesh.cut[2][0] = true;
    EXPECT_EQUAL(test_send(right, 5), MACH_MSG_SUCCESS);
    EXPECT(mesh_move_one(&mesh, 0, 2));
    moved = mesh_take_right(&mesh, 0, PORT_RECEIVE);
    EXPECT_EQUAL(moved->kind, PORT_PREPRINCIPAL);
    EXPECT_EQUAL(port_notify_dead(right, notify), 0);
    port_destroy(mesh_give_right(&mesh, 0, moved, PORT_MOVE_RECEIVE, 1));
    mesh_settle(&mesh);
    EXPECT(!port_is_dead(right));
    mesh.cut[2][0] = false;
    mesh_settle(&mesh);
    EXPECT(port_is_dead(right));
    REQUIRE(mach_msg_receive(notify, &kmsg, 0) == MACH_MSG_SUCCESS);
    EXPECT_EQUAL(kmsg_id(kmsg), NOTIFY_DEAD_NAME);
    kmsg_free(kmsg);
    port_release(right);
    port_destroy(notify);
    mesh_destroy(&mesh);
}

/* Node 0 made the port, which moved before that life of it ended. */
static void a_port_outlives_its_maker_and_comes_to_its_next_life(void)
{
    struct mesh mesh = mesh_create(3);
    struct port *port = new_port(&mesh, 0), *moved, *right, *back;
    uint64_t name = port_name(port);

    moved = mesh_give_right(&mesh, 0, port, PORT_MOVE_RECEIVE, 1);
    mesh_kill(&mesh, 0);
    right = mesh_give_right(&mesh, 1, moved, PORT_MAKE_SEND, 0);
    REQUIRE(right != NULL);
    EXPECT_EQUAL(test_send(right, 5), MACH_MSG_SUCCESS);
    mesh_settle(&mesh);
    EXPECT(test_receive(moved, 5));
    back = mesh_give_right(&mesh, 1, moved, PORT_MOVE_RECEIVE, 0);
    EXPECT(back == right);
    EXPECT_EQUAL(back->name, name);
    port_release(right);
    right = mesh_give_right(&mesh, 0, back, PORT_MAKE_SEND, 2);
    REQUIRE(right != NULL);
    EXPECT_EQUAL(test_send(right, 6), MACH_MSG_SUCCESS);
    mesh_settle(&mesh);
    EXPECT(test_receive(back, 6));
    port_release(right);
    end_unused(&mesh, back);
}

static const struct unit_test news_tests[] = {
    {"a send-once right may come home before its holder was heard of",
     a_send_once_right_may_come_home_before_its_holder_was_heard_of},
    {"a send right that was passed on finds a port that moved",
     a_send_right_that_was_passed_on_finds_a_port_that_moved},
    {"a send-once right that was passed on finds a port that moved",
     a_send_once_right_that_was_passed_on_finds_a_port_that_moved},
    {"a right on its way finds a port that came to its sender",
     a_right_on_its_way_finds_a_port_that_came_to_its_sender},
    {"a former home is asked to stay before others let go of it",
     a_former_home_is_asked_to_stay_before_others_let_go_of_it},
    {"a port that comes back is not told to be elsewhere",
     a_port_that_comes_back_is_not_told_to_be_elsewhere},
    {"a message to a home that forgot a port is received where it was sent",
     a_message_to_a_home_that_forgot_a_port_is_received_where_it_was_sent},
    {"a port that went on and died is dead where it came from",
     a_port_that_went_on_and_died_is_dead_where_it_came_from},
    {"a port outlives its maker and comes to its next life",
     a_port_outlives_its_maker_and_comes_to_its_next_life},
};
UNIT_SUITE("news of rights", news_tests);
