/* SPDX-License-Identifier: MIT
 *
 * The core plays the sequences of tests/data/vectors/flipc: what a node does as home of a port, as
 * holder of rights and when ports move, byte by byte. The Python implementation plays the same.
 * This is node 1; it has two ports, of which the second is told what happens, and knows nodes 2 and 3.
 */
#include "core/node.h"
#include "hosts.h"
#include "native.h"
#include "unit.h"
#include <stdlib.h>
#include <string.h>

#define NODES 4u /* by id: 2 and 3 are there */
#define HANDLES 16u
#define MESSAGE_ID 7
#define SERIAL_THERE 9u
#define TAG 0x0102u
#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

enum step_kind {
    STEP_IN,      /* a message of a node */
    STEP_OUT,     /* what has to be sent to a node by now, in order */
    STEP_SETTLED, /* a node has settled everything */
    STEP_RECEIVE, /* at a port, a message with this id; its rights are the next handles */
    STEP_NOTHING,
    STEP_DROP,
    STEP_NAME, /* a right by name to a port of a node: the next handle */
    STEP_SEND, /* to a handle; `transfer` 0: nothing, else made of handle `other` */
    STEP_DIE,
    STEP_ASK, /* to be told when a port has no senders */
};

struct step {
    enum step_kind kind;
    uint32_t number; /* node or handle */
    uint32_t other;
    uint32_t transfer; /* enum port_transfer */
    const char *hex;
};

struct sequence {
    const char *name;
    const struct step *steps;
    size_t count;
};

#include "flipc_sequences.inc"

struct handle {
    struct port *port; /* null: it is gone */
    enum port_disposition kind;
};

struct player {
    const char *name;
    struct mach_host *host;
    mnl_node_info_t nodes[NODES];
    uint32_t sent[NODES];
    struct handle handles[HANDLES];
    unsigned count;
};

#define EXPECT_STEP(player, actual, expected)                                                      \
    unit_expect_equal((actual), (expected), __FILE__, __LINE__, (player)->name)

static void add(struct player *player, struct port *port, enum port_disposition kind)
{
    REQUIRE(player->count < HANDLES);
    player->handles[player->count++] = (struct handle){.port = port, .kind = kind};
}

static void begin(struct player *player, const struct sequence *sequence)
{
    *player =
        (struct player){.name = sequence->name, .host = test_host_create(1, TEST_INCARNATION(1))};
    for (uint32_t id = 2; id < NODES; id++)
        player->nodes[id] = test_node_create(player->host, id, TEST_INCARNATION(1));
    for (unsigned i = 0; i < 2; i++) {
        struct port *port;

        REQUIRE(port_create(player->host, &port) == 0);
        (void)port_name(port);
        add(player, port, PORT_RECEIVE);
    }
}

static uint8_t digit(char letter)
{
    return (uint8_t)(letter <= '9' ? letter - '0' : letter - 'a' + 10);
}

static size_t bytes_of(const char *hex, uint8_t *bytes, size_t room)
{
    size_t count = strlen(hex) / 2;

    REQUIRE(count <= room);
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
    return count;
}

static void arrive(struct player *player, const struct step *step)
{
    _Alignas(8) uint8_t bytes[1024];
    size_t count = bytes_of(step->hex, bytes, sizeof(bytes));

    EXPECT_STEP(
        player,
        mnl_msg_from_node_bounded(player->nodes[step->number], (mnl_msg_t)(void *)bytes, count, 0),
        KERN_SUCCESS);
}

static void expect_sent(struct player *player, const struct step *step)
{
    uint8_t bytes[1024];
    size_t count = bytes_of(step->hex, bytes, sizeof(bytes));
    mnl_msg_t msg = mnl_msg_try_to_node(player->nodes[step->number], 0);

    EXPECT_STEP(player, msg != MNL_MSG_NULL, true);
    if (msg == MNL_MSG_NULL)
        return;
    EXPECT_STEP(player, sizeof(*msg) + msg->size, count);
    EXPECT_STEP(player, memcmp(msg, bytes, count), 0);
    player->sent[step->number]++;
    mnl_msg_complete(player->nodes[step->number], msg, 0);
}

static void expect_no_more(struct player *player)
{
    for (uint32_t id = 2; id < NODES; id++) {
        if (player->nodes[id] != NULL)
            EXPECT_STEP(player, mnl_msg_try_to_node(player->nodes[id], 0) == MNL_MSG_NULL, true);
    }
}

static void receive(struct player *player, const struct step *step)
{
    enum port_disposition kind;
    struct port *port;
    struct kmsg *kmsg;

    REQUIRE(mach_msg_receive(player->handles[step->number].port, &kmsg, 0) == MACH_MSG_SUCCESS);
    EXPECT_STEP(player, kmsg_id(kmsg), step->other);
    kind = kmsg_reply_disposition(kmsg);
    port = kmsg_take_reply_port(kmsg);
    if (port != NULL)
        add(player, port, kind);
    for (uint32_t i = 0; i < kmsg_part_count(kmsg); i++) {
        port = kmsg_take_port(kmsg, i, 0, &kind);
        if (port != NULL)
            add(player, port, kind);
    }
    kmsg_free(kmsg);
}

static struct kmsg *message(struct player *player, const struct step *step)
{
    struct handle *given = &player->handles[step->other];
    struct message_item item = {
        .type = MESSAGE_PORT, .port = given->port, .transfer = (enum port_transfer)step->transfer};
    struct kmsg *kmsg;

    if (step->transfer == 0) {
        kmsg = kmsg_allocate(player->host, 0);
        REQUIRE(kmsg != NULL);
    } else {
        REQUIRE(kmsg_create(player->host, 0, &item, 1, &kmsg) == 0);
        if (item.transfer == PORT_MOVE_RECEIVE || item.transfer == PORT_MOVE_SEND ||
            item.transfer == PORT_MOVE_SEND_ONCE)
            given->port = NULL;
    }
    kmsg_set_id(kmsg, MESSAGE_ID);
    return kmsg;
}

static void send(struct player *player, const struct step *step)
{
    struct handle *to = &player->handles[step->number];
    struct kmsg *kmsg = message(player, step);

    if (to->kind != PORT_SEND_ONCE) {
        REQUIRE(mach_msg_send(kmsg, to->port, NULL, PORT_NONE, 0) == MACH_MSG_SUCCESS);
        return;
    }
    REQUIRE(mach_msg_send_once(kmsg, to->port, NULL, PORT_NONE) == MACH_MSG_SUCCESS);
    to->port = NULL;
}

static void die(struct player *player, uint32_t id)
{
    mnl_node_release(player->nodes[id], 0);
    player->nodes[id] = NULL;
}

static void drop(struct player *player, unsigned index)
{
    struct handle *handle = &player->handles[index];

    port_release_right(handle->port, handle->kind);
    handle->port = NULL;
}

static void play_step(struct player *player, const struct step *step)
{
    struct handle *handle = &player->handles[step->number % HANDLES];
    struct kmsg *kmsg;

    switch (step->kind) {
    case STEP_IN:
        arrive(player, step);
        break;
    case STEP_OUT:
        expect_sent(player, step);
        break;
    case STEP_SETTLED:
        mnl_flow_peer(player->nodes[step->number], player->sent[step->number],
                      player->sent[step->number] + TEST_WINDOW);
        break;
    case STEP_RECEIVE:
        receive(player, step);
        break;
    case STEP_NOTHING:
        EXPECT_STEP(player, mach_msg_receive(handle->port, &kmsg, 0), MACH_RCV_TIMED_OUT);
        break;
    case STEP_DROP:
        drop(player, step->number);
        break;
    case STEP_NAME:
        add(player, port_from_name(player->host, NAME_MAKE(step->number, TAG, SERIAL_THERE)),
            PORT_SEND);
        break;
    case STEP_SEND:
        send(player, step);
        break;
    case STEP_DIE:
        die(player, step->number);
        break;
    case STEP_ASK:
        REQUIRE(port_notify_no_senders(handle->port, player->handles[1].port) == 0);
        break;
    }
}

static void end(struct player *player)
{
    struct node_statistics statistics;

    for (uint32_t id = 2; id < NODES; id++) {
        if (player->nodes[id] != NULL)
            die(player, id);
    }
    for (unsigned i = 0; i < player->count; i++) {
        if (player->handles[i].port != NULL)
            drop(player, i);
    }
    statistics = test_statistics(player->host);
    EXPECT_STEP(player, statistics.messages, 0);
    EXPECT_STEP(player, statistics.ports, 0);
    EXPECT_STEP(player, statistics.names, 0);
    test_host_destroy(player->host);
}

static void sequences_go_as_they_are_written(void)
{
    for (size_t i = 0; i < COUNT(sequences); i++) {
        struct player player;

        begin(&player, &sequences[i]);
        for (size_t k = 0; k < sequences[i].count; k++) {
            if (sequences[i].steps[k].kind != STEP_OUT)
                expect_no_more(&player);
            play_step(&player, &sequences[i].steps[k]);
        }
        expect_no_more(&player);
        end(&player);
    }
}

static const struct unit_test flipc_sequences_tests[] = {
    {"sequences go as they are written", sequences_go_as_they_are_written},
};
UNIT_SUITE("flipc sequences", flipc_sequences_tests);
