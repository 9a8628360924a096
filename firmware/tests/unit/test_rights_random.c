/* SPDX-License-Identifier: MIT
 *
 * Random programs over three nodes: rights of every kind are made, sent, passed on, used, dropped;
 * ports move; links are cut; nodes die. Whatever happens, messages to a port arrive in the order of
 * their sender and not twice; when nobody died, each arrives once, and each send-once right ends in
 * exactly one message or notification; and in the end nothing is left.
 */
#include "core/node.h"
#include "core/port.h"
#include "mesh.h"
#include "unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODES 3u
#define RIGHTS 1024u
#define STEPS 400u
#define STREAMS 4096u

struct right {
    struct port *port; /* null: a free place */
    enum port_disposition kind;
    unsigned at;
};

struct content {
    uint64_t number; /* per source life, ascending */
    uint64_t once;   /* sent with a send-once right */
};

/* Messages to one port from one life of a node. */
struct stream {
    uint64_t port;
    uint64_t source;
    uint64_t last;
};

struct program {
    struct mesh mesh;
    uint64_t random;
    bool deaths;
    struct right rights[RIGHTS];
    struct stream *streams;
    unsigned stream_count;
    uint64_t number;
    uint64_t received, once_made, once_ended;
    uint64_t sent[NODES]; /* by the present life of each node */
    struct outcomes outcomes[NODES];
};

static uint64_t roll(struct program *program, uint64_t sides)
{
    uint64_t value = program->random += 0x9e3779b97f4a7c15ull;

    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9ull;
    value = (value ^ value >> 27) * 0x94d049bb133111ebull;
    return (value ^ value >> 31) % sides;
}

/* --- Rights at hand --------------------------------------------------------------------------- */

static void keep(struct program *program, unsigned at, struct port *port,
                 enum port_disposition kind)
{
    for (unsigned i = 0; i < RIGHTS; i++) {
        if (program->rights[i].port == NULL) {
            program->rights[i] = (struct right){.port = port, .kind = kind, .at = at};
            return;
        }
    }
    port_release_right(port, kind);
}

/* One at this node; null: it has none. */
static struct right *pick(struct program *program, unsigned at)
{
    unsigned start = (unsigned)roll(program, RIGHTS);

    for (unsigned i = 0; i < RIGHTS; i++) {
        struct right *right = &program->rights[(start + i) % RIGHTS];

        if (right->port != NULL && right->at == at)
            return right;
    }
    return NULL;
}

/* --- Sending ---------------------------------------------------------------------------------- */

/* A way to put the right into a message; the place is free if it moves. Returns false for none. */
static bool make_item(struct program *program, struct right *right, bool may_move_port,
                      struct message_item *item)
{
    item->type = MESSAGE_PORT;
    item->port = right->port;
    if (right->kind == PORT_RECEIVE) {
        uint64_t what = roll(program, may_move_port ? 3 : 2);

        item->transfer = what == 0   ? PORT_MAKE_SEND
                         : what == 1 ? PORT_MAKE_SEND_ONCE
                                     : PORT_MOVE_RECEIVE;
    } else if (right->kind == PORT_SEND_ONCE) {
        item->transfer = PORT_MOVE_SEND_ONCE;
    } else {
        item->transfer = roll(program, 2) == 0 ? PORT_MOVE_SEND : PORT_COPY_SEND;
    }
    return true;
}

static struct kmsg *make_message(struct program *program, unsigned at, bool may_move_port,
                                 struct right *used)
{
    struct message_item items[4];
    unsigned count = 0;
    struct kmsg *kmsg;

    for (unsigned i = roll(program, 4); i > 0; i--) {
        struct right *right = pick(program, at);

        if (right == NULL || right == used)
            continue;
        (void)make_item(program, right, may_move_port, &items[count]);
        if (items[count].transfer == PORT_MAKE_SEND_ONCE)
            program->once_made++;
        if (items[count].transfer <= PORT_MOVE_SEND_ONCE)
            right->port = NULL;
        count++;
    }
    if (count == 0)
        return kmsg_allocate(program->mesh.hosts[at], sizeof(struct content));
    if (kmsg_create(program->mesh.hosts[at], sizeof(struct content), items, count, &kmsg) == 0)
        return kmsg;
    REQUIRE(false);
    return NULL;
}

static void fill(struct program *program, unsigned at, struct kmsg *kmsg, bool once)
{
    struct content content = {.number = ++program->number, .once = once};

    kmsg_set_id(kmsg, 1000);
    memcpy(kmsg_body(kmsg), &content, sizeof(content));
    kmsg_set_completion(kmsg, outcomes_count, &program->outcomes[at]);
}

static void take_rights(struct program *program, unsigned at, struct kmsg *kmsg, bool all)
{
    enum port_disposition right = kmsg_reply_disposition(kmsg);
    struct port *port = kmsg_take_reply_port(kmsg);

    if (port != NULL)
        keep(program, at, port, right);
    for (uint32_t i = 0; i < kmsg_part_count(kmsg); i++) {
        if (!all && roll(program, 8) == 0 && kmsg_part(kmsg, i).disposition != PORT_RECEIVE)
            continue; /* it dies with the message */
        port = kmsg_take_port(kmsg, i, 0, &right);
        if (port != NULL)
            keep(program, at, port, right);
    }
}

/* Everything is as before, but that the rights are in other places. */
static void not_sent(struct program *program, unsigned at, struct kmsg *kmsg)
{
    take_rights(program, at, kmsg, true);
    kmsg_set_completion(kmsg, NULL, NULL);
    kmsg_free(kmsg);
}

static void send_to_port(struct program *program, unsigned at)
{
    struct right *to = pick(program, at), *reply_right;
    struct port *reply = NULL;
    bool once;
    struct kmsg *kmsg;
    mach_msg_return_t result;

    if (to == NULL)
        return;
    once = to->kind == PORT_SEND_ONCE;
    kmsg = make_message(program, at, false, to);
    fill(program, at, kmsg, once);
    reply_right = roll(program, 2) == 0 ? pick(program, at) : NULL;
    if (reply_right != NULL && reply_right->kind == PORT_RECEIVE)
        reply = reply_right->port;
    result = once ? mach_msg_send_once(kmsg, to->port, reply, PORT_SEND_ONCE)
                  : mach_msg_send(kmsg, to->port, reply, PORT_SEND_ONCE, 0);
    if (result == MACH_MSG_SUCCESS) {
        program->sent[at]++;
        if (once)
            to->port = NULL;
        if (reply != NULL && !port_is_dead(reply))
            program->once_made++;
    } else {
        not_sent(program, at, kmsg);
    }
}

static void send_to_door(struct program *program, unsigned at)
{
    unsigned to = (unsigned)roll(program, NODES);
    struct port *door =
        port_from_name(program->mesh.hosts[at], port_name(mesh_door(&program->mesh, to)));
    struct kmsg *kmsg;

    if (door == NULL)
        return;
    kmsg = make_message(program, at, true, NULL);
    fill(program, at, kmsg, false);
    if (mach_msg_send(kmsg, door, NULL, PORT_NONE, 0) == MACH_MSG_SUCCESS)
        program->sent[at]++;
    else
        not_sent(program, at, kmsg);
    port_release(door);
}

/* --- Receiving -------------------------------------------------------------------------------- */

static void check_order(struct program *program, struct port *port, struct kmsg *kmsg,
                        uint64_t number)
{
    uint64_t source = kmsg_source_incarnation(kmsg) ^ (uint64_t)kmsg_source_node(kmsg) << 56;

    for (unsigned i = 0; i < program->stream_count; i++) {
        struct stream *stream = &program->streams[i];

        if (stream->port != port->name || stream->source != source)
            continue;
        EXPECT(stream->last < number);
        stream->last = number;
        return;
    }
    REQUIRE(program->stream_count < STREAMS);
    program->streams[program->stream_count++] =
        (struct stream){.port = port->name, .source = source, .last = number};
}

static bool receive(struct program *program, unsigned at, struct port *port)
{
    struct content content;
    struct kmsg *kmsg;

    if (mach_msg_receive(port, &kmsg, 0) != MACH_MSG_SUCCESS)
        return false;
    if (kmsg_id(kmsg) == NOTIFY_SEND_ONCE) {
        program->once_ended++;
        kmsg_free(kmsg);
        return true;
    }
    EXPECT_EQUAL(kmsg_id(kmsg), 1000);
    EXPECT_EQUAL(kmsg_body_size(kmsg), sizeof(content));
    memcpy(&content, kmsg_body(kmsg), sizeof(content));
    program->received++;
    program->once_ended += content.once;
    (void)port_name(port);
    check_order(program, port, kmsg, content.number);
    take_rights(program, at, kmsg, false);
    kmsg_free(kmsg);
    return true;
}

static void receive_some(struct program *program, unsigned at)
{
    struct right *right = pick(program, at);

    if (right != NULL && right->kind == PORT_RECEIVE && roll(program, 2) == 0)
        (void)receive(program, at, right->port);
    else
        (void)receive(program, at, mesh_door(&program->mesh, at));
}

/* --- Life ------------------------------------------------------------------------------------- */

static void new_port(struct program *program, unsigned at)
{
    struct port *port;

    REQUIRE(port_create(program->mesh.hosts[at], &port) == 0);
    port_set_limit(port, PORT_LIMIT_MAXIMUM);
    keep(program, at, port, PORT_RECEIVE);
}

static void drop_one(struct program *program, unsigned at)
{
    struct right *right = pick(program, at);
    struct port *port;

    if (right == NULL || (right->kind == PORT_RECEIVE && !program->deaths))
        return;
    port = right->port;
    right->port = NULL;
    port_release_right(port, right->kind);
}

static void toggle_cut(struct program *program)
{
    unsigned from = (unsigned)roll(program, NODES), to = (unsigned)roll(program, NODES);

    program->mesh.cut[from][to] = roll(program, 2) == 0;
}

static void kill_node(struct program *program, unsigned which)
{
    for (unsigned i = 0; i < RIGHTS; i++) {
        if (program->rights[i].at == which)
            program->rights[i].port = NULL;
    }
    program->sent[which] = 0;
    mesh_kill(&program->mesh, which);
    program->outcomes[which] = (struct outcomes){0};
}

static void step(struct program *program)
{
    unsigned at = (unsigned)roll(program, NODES);
    uint64_t what = roll(program, 100);

    if (what < 8)
        new_port(program, at);
    else if (what < 26)
        send_to_port(program, at);
    else if (what < 40)
        send_to_door(program, at);
    else if (what < 60)
        receive_some(program, at);
    else if (what < 66)
        drop_one(program, at);
    else if (what < 70)
        toggle_cut(program);
    else if (what < 71 && program->deaths)
        kill_node(program, at);
    else if (at != (unsigned)(what % NODES))
        (void)mesh_move_one(&program->mesh, at, (unsigned)(what % NODES));
}

/* Receive and take apart everything, until nothing moves. */
static void drain(struct program *program)
{
    bool moved;

    memset(program->mesh.cut, 0, sizeof(program->mesh.cut));
    do {
        moved = false;
        mesh_settle(&program->mesh);
        for (unsigned at = 0; at < NODES; at++) {
            while (receive(program, at, mesh_door(&program->mesh, at)))
                moved = true;
        }
        for (unsigned i = 0; i < RIGHTS; i++) {
            struct right *right = &program->rights[i];

            if (right->port != NULL && right->kind != PORT_RECEIVE) {
                struct port *port = right->port;

                right->port = NULL;
                port_release_right(port, right->kind);
                moved = true;
            }
            while (right->port != NULL && right->kind == PORT_RECEIVE &&
                   receive(program, right->at, right->port))
                moved = true;
        }
    } while (moved);
}

static void check_end(struct program *program)
{
    uint64_t sent = 0;

    for (unsigned i = 0; i < NODES; i++) {
        const struct outcomes *outcomes = &program->outcomes[i];

        EXPECT_EQUAL(outcomes->settled + outcomes->failed + outcomes->unknown, program->sent[i]);
        EXPECT(program->deaths || outcomes->settled == program->sent[i]);
        sent += program->sent[i];
    }
    if (program->deaths)
        return;
    EXPECT_EQUAL(program->received, sent);
    EXPECT_EQUAL(program->once_ended, program->once_made);
    for (unsigned i = 0; i < RIGHTS; i++) {
        struct port *port = program->rights[i].port;

        if (port == NULL)
            continue;
        EXPECT(!port_has_senders(port));
        EXPECT_EQUAL(port->given.send + port->given.once + port->once, 0);
    }
}

/* Returns how many messages came back from former homes. */
static uint64_t run(uint64_t seed, bool deaths)
{
    struct program program = {.random = seed, .deaths = deaths, .mesh = mesh_create(NODES)};
    uint64_t moved = 0;

    program.streams = calloc(STREAMS, sizeof(*program.streams));
    for (unsigned i = 0; i < STEPS; i++)
        step(&program);
    drain(&program);
    check_end(&program);
    for (unsigned i = 0; i < RIGHTS; i++) {
        if (program.rights[i].port != NULL)
            port_destroy(program.rights[i].port);
    }
    mesh_settle(&program.mesh);
    for (unsigned i = 0; i < NODES; i++)
        moved += program.mesh.hosts[i]->nodes->counters.moved;
    mesh_destroy(&program.mesh);
    free(program.streams);
    return moved;
}

static uint64_t seeds(uint64_t usual)
{
    const char *wanted = getenv("RIGHTS_SEEDS");

    return wanted == NULL ? usual : strtoull(wanted, NULL, 0);
}

static void run_seeds(bool deaths)
{
    const char *first = getenv("RIGHTS_FIRST");
    uint64_t begin = first == NULL ? 1 : strtoull(first, NULL, 0);
    uint64_t moved = 0;

    for (uint64_t seed = begin; seed < begin + seeds(400); seed++) {
        if (first != NULL)
            fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
        moved += run(seed * 0x10001, deaths);
    }
    EXPECT(first != NULL || moved > 0);
}

static void whatever_happens_every_message_and_right_is_accounted_for(void)
{
    run_seeds(false);
}

static void whoever_dies_nothing_is_left_behind(void)
{
    run_seeds(true);
}

static const struct unit_test random_tests[] = {
    {"whatever happens, every message and right is accounted for",
     whatever_happens_every_message_and_right_is_accounted_for},
    {"whoever dies, nothing is left behind", whoever_dies_nothing_is_left_behind},
};
UNIT_SUITE("random rights", random_tests);
