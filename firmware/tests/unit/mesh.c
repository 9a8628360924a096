/* SPDX-License-Identifier: MIT
 *
 * Several hosts for unit tests; see mesh.h. The door of a host has the well-known serial DOOR_SERIAL.
 */
#include "mesh.h"
#include "core/name_table.h"
#include "core/port.h"
#include "unit.h"
#include <stdlib.h>
#include <string.h>

#define DOOR_SERIAL 77u

static void join(struct mesh *mesh, unsigned at, unsigned of)
{
    mesh->nodes[at][of] =
        test_node_create(mesh->hosts[at], of + 1, TEST_INCARNATION(mesh->lives[of]));
}

struct mesh mesh_create(unsigned count)
{
    struct mesh mesh = {.count = count};

    for (unsigned i = 0; i < count; i++) {
        mesh.lives[i] = 1;
        mesh.hosts[i] = test_host_create(i + 1, TEST_INCARNATION(1));
    }
    for (unsigned i = 0; i < count; i++) {
        for (unsigned k = 0; k < count; k++) {
            if (i != k)
                join(&mesh, i, k);
        }
    }
    return mesh;
}

struct port *mesh_port(struct mesh *mesh, unsigned which)
{
    struct port *port;

    REQUIRE(port_create(mesh->hosts[which], &port) == 0);
    return port;
}

struct port *mesh_door(struct mesh *mesh, unsigned which)
{
    uint64_t name = NAME_WELL_KNOWN(which + 1, DOOR_SERIAL);
    struct port *door = name_lookup(mesh->hosts[which], name);

    if (door == NULL) {
        REQUIRE(port_create(mesh->hosts[which], &door) == 0);
        REQUIRE(port_publish(door, name) == 0);
        port_set_limit(door, PORT_LIMIT_MAXIMUM);
    }
    return door;
}

void mesh_expect_empty(struct mesh *mesh, unsigned which)
{
    struct node_statistics statistics = test_statistics(mesh->hosts[which]);

    EXPECT_EQUAL(statistics.messages, 0);
    EXPECT_EQUAL(statistics.ports, 0);
    EXPECT_EQUAL(statistics.names, 0);
}

static void close_door(struct mesh *mesh, unsigned which)
{
    struct port *door = name_lookup(mesh->hosts[which], NAME_WELL_KNOWN(which + 1, DOOR_SERIAL));

    if (door != NULL)
        port_destroy(door);
}

void mesh_destroy(struct mesh *mesh)
{
    for (unsigned i = 0; i < mesh->count; i++)
        close_door(mesh, i);
    mesh_settle(mesh);
    for (unsigned i = 0; i < mesh->count; i++) {
        mesh_expect_empty(mesh, i);
        for (unsigned k = 0; k < mesh->count; k++) {
            if (i != k)
                mnl_node_release(mesh->nodes[i][k], 0);
        }
        EXPECT_EQUAL(test_statistics(mesh->hosts[i]).nodes, 0);
        test_host_destroy(mesh->hosts[i]);
    }
}

void mesh_headers(struct mesh *mesh, unsigned from, unsigned to)
{
    mnl_node_info_t out = mesh->nodes[from][to], in = mesh->nodes[to][from];

    thread_set_host(mesh->hosts[to]);
    mnl_flow_peer(in, mnl_flow_ack(out), mnl_flow_credit(out));
    /* Long enough for everything that waits a while to be told. */
    if (mnl_flow_ack_deadline_ns(out) != DEADLINE_NEVER)
        mnl_flow_acknowledged(out, clock_now_ns() + TEST_ACK_DELAY_NS);
}

bool mesh_move_one(struct mesh *mesh, unsigned from, unsigned to)
{
    mnl_node_info_t out = mesh->nodes[from][to];
    mnl_msg_t msg, copy;
    size_t length;

    if (mesh->cut[from][to])
        return false;
    msg = mnl_msg_try_to_node(out, 0);
    mesh_headers(mesh, from, to);
    if (msg == MNL_MSG_NULL)
        return false;
    length = sizeof(*msg) + msg->size;
    copy = mnl_msg_alloc((int)msg->size, 0);
    REQUIRE(copy != MNL_MSG_NULL);
    memcpy(copy, msg, length);
    mnl_msg_complete(out, msg, 0);
    EXPECT_EQUAL(mnl_msg_take_from_node(mesh->nodes[to][from], copy, length, 0), KERN_SUCCESS);
    mesh_headers(mesh, from, to);
    return true;
}

static void all_headers(struct mesh *mesh)
{
    for (unsigned from = 0; from < mesh->count; from++) {
        for (unsigned to = 0; to < mesh->count; to++) {
            if (from != to && !mesh->cut[from][to])
                mesh_headers(mesh, from, to);
        }
    }
}

void mesh_settle(struct mesh *mesh)
{
    bool moved;

    do {
        moved = false;
        all_headers(mesh);
        for (unsigned from = 0; from < mesh->count; from++) {
            for (unsigned to = 0; to < mesh->count; to++) {
                while (from != to && mesh_move_one(mesh, from, to))
                    moved = true;
            }
        }
    } while (moved);
}

void mesh_kill(struct mesh *mesh, unsigned which)
{
    for (unsigned i = 0; i < mesh->count; i++) {
        if (i == which)
            continue;
        EXPECT_EQUAL(node_declare_dead(mesh->hosts[i], which + 1,
                                       TEST_INCARNATION(mesh->lives[which]), NODE_DEATH_HOST),
                     0);
        mnl_node_release(mesh->nodes[i][which], 0);
    }
    test_host_destroy(mesh->hosts[which]);
    mesh->lives[which]++;
    mesh->hosts[which] = test_host_create(which + 1, TEST_INCARNATION(mesh->lives[which]));
    for (unsigned i = 0; i < mesh->count; i++) {
        if (i == which)
            continue;
        join(mesh, i, which);
        join(mesh, which, i);
    }
}

void mesh_send_right(struct mesh *mesh, unsigned from, struct port *port,
                     enum port_transfer transfer, unsigned to)
{
    struct message_item item = {.type = MESSAGE_PORT, .transfer = transfer, .port = port};
    struct port *door = port_from_name(mesh->hosts[from], port_name(mesh_door(mesh, to)));
    struct kmsg *kmsg;

    REQUIRE(door != NULL);
    REQUIRE(kmsg_create(mesh->hosts[from], 0, &item, 1, &kmsg) == 0);
    REQUIRE(mach_msg_send(kmsg, door, NULL, PORT_NONE, 0) == MACH_MSG_SUCCESS);
    port_release(door);
}

struct port *mesh_take_right(struct mesh *mesh, unsigned at, enum port_disposition right)
{
    enum port_disposition taken;
    struct kmsg *kmsg;
    struct port *port;

    REQUIRE(mach_msg_receive(mesh_door(mesh, at), &kmsg, 0) == MACH_MSG_SUCCESS);
    port = kmsg_take_port(kmsg, 0, 0, &taken);
    EXPECT(port == NULL || taken == right);
    kmsg_free(kmsg);
    return port;
}

static enum port_disposition right_of(enum port_transfer transfer)
{
    switch (transfer) {
    case PORT_MOVE_RECEIVE:
        return PORT_RECEIVE;
    case PORT_MOVE_SEND_ONCE:
    case PORT_MAKE_SEND_ONCE:
        return PORT_SEND_ONCE;
    default:
        return PORT_SEND;
    }
}

struct port *mesh_give_right(struct mesh *mesh, unsigned from, struct port *port,
                             enum port_transfer transfer, unsigned to)
{
    struct port *given;

    mesh_send_right(mesh, from, port, transfer, to);
    mesh_settle(mesh);
    given = mesh_take_right(mesh, to, right_of(transfer));
    mesh_settle(mesh);
    return given;
}

struct port *mesh_give(struct mesh *mesh, unsigned from, struct port *port, unsigned to)
{
    return mesh_give_right(mesh, from, port, PORT_COPY_SEND, to);
}
