/* SPDX-License-Identifier: MIT
 *
 * The core plays the vectors of tests/data/vectors/flipc: whole messages as they arrive, each the
 * first of its stream, and what has to become of them. The Python implementation plays the same.
 * The world is that of the vectors: this is node 1, the sender is node 2, and there is one port.
 */
#include "core/node.h"
#include "hosts.h"
#include "native.h"
#include "unit.h"
#include <stdlib.h>
#include <string.h>

#define SENDER 2u
#define DESTINATION 0x0001010200000001ull
#define THERE 0x0002010200000009ull /* a port of the sender */
#define MESSAGE_BYTES_MAXIMUM 8192u
#define TOLD_MAXIMUM 4

enum outcome {
    OUTCOME_NONE,
    OUTCOME_FAILED,
    OUTCOME_AGAIN, /* it is sent once more */
};

struct told {
    uint64_t name;
    uint32_t operation;
    uint32_t value;
};

struct flipc_vector {
    const char *name;
    const char *hex;
    uint32_t expected; /* what it is, depends on the table */
    int told_count;    /* accounts told afterwards, -1: any */
    struct told told[TOLD_MAXIMUM];
};

#include "flipc_vectors.inc"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define EXPECT_VECTOR(vector, actual, expected)                                                    \
    unit_expect_equal((actual), (expected), __FILE__, __LINE__, (vector)->name)

struct world {
    struct mach_host *host;
    mnl_node_info_t node;
    struct port *port;
    _Alignas(8) uint8_t bytes[MESSAGE_BYTES_MAXIMUM];
};

static struct world *world_create(void)
{
    struct world *world = calloc(1, sizeof(*world));

    REQUIRE(world != NULL);
    world->host = test_host_create(1, TEST_INCARNATION(1));
    world->node = test_node_create(world->host, SENDER, TEST_INCARNATION(1));
    REQUIRE(port_create(world->host, &world->port) == 0);
    REQUIRE(port_name(world->port) == DESTINATION);
    return world;
}

static void world_destroy(struct world *world, const struct flipc_vector *vector)
{
    struct node_statistics statistics;

    port_destroy(world->port);
    mnl_node_release(world->node, 0);
    statistics = test_statistics(world->host);
    EXPECT_VECTOR(vector, statistics.messages, 0);
    EXPECT_VECTOR(vector, statistics.ports, 0);
    EXPECT_VECTOR(vector, statistics.names, 0);
    test_host_destroy(world->host);
    free(world);
}

static uint8_t digit(char letter)
{
    return (uint8_t)(letter <= '9' ? letter - '0' : letter - 'a' + 10);
}

static void deliver(struct world *world, const struct flipc_vector *vector)
{
    size_t length_bytes = strlen(vector->hex) / 2;

    REQUIRE(length_bytes <= sizeof(world->bytes));
    for (size_t i = 0; i < length_bytes; i++)
        world->bytes[i] = (uint8_t)(digit(vector->hex[2 * i]) << 4 | digit(vector->hex[2 * i + 1]));
    EXPECT_VECTOR(
        vector,
        mnl_msg_from_node_bounded(world->node, (mnl_msg_t)(void *)world->bytes, length_bytes, 0),
        KERN_SUCCESS);
}

/* The reason of the NAK that is on its way; 0: nothing is. */
static uint32_t refusal(const struct world *world)
{
    mnl_msg_t msg = mnl_msg_try_to_node(world->node, 0);
    const struct flipc_nak_body *body;
    uint32_t reason;

    if (msg == MNL_MSG_NULL)
        return 0;
    REQUIRE(msg->sub == MNL_SUB_FLIPC && msg->cmd == FLIPC_NAK);
    body = MNL_MSG_PAYLOAD(msg);
    reason = NATIVE(body->reason);
    mnl_msg_complete(world->node, msg, 0);
    return reason;
}

static bool is_told(const struct flipc_vector *vector, const struct flipc_rights_entry *entry)
{
    for (int i = 0; i < vector->told_count; i++) {
        const struct told *told = &vector->told[i];

        if (NATIVE(entry->name) == told->name && NATIVE(entry->operation) == told->operation &&
            NATIVE(entry->value) == told->value)
            return true;
    }
    return false;
}

/* The accounts that are told are those of the vector, in any order; one message holds them all. */
static void expect_told(const struct world *world, const struct flipc_vector *vector)
{
    const struct flipc_rights_body *body;
    mnl_msg_t msg;

    if (vector->told_count < 0)
        return;
    msg = mnl_msg_try_to_node(world->node, 0);
    EXPECT_VECTOR(vector, msg != MNL_MSG_NULL, vector->told_count != 0);
    if (msg == MNL_MSG_NULL)
        return;
    EXPECT_VECTOR(vector, msg->cmd, FLIPC_RIGHTS);
    body = MNL_MSG_PAYLOAD(msg);
    EXPECT_VECTOR(vector, NATIVE(body->count), (unsigned)vector->told_count);
    for (uint32_t i = 0; i < NATIVE(body->count); i++)
        EXPECT_VECTOR(vector, is_told(vector, &body->entries[i]), true);
    mnl_msg_complete(world->node, msg, 0);
}

/* --- Complex messages ------------------------------------------------------------------------- */

/* A receiver that keeps nothing takes it; a message may be refused even then. */
static void play_complex(const struct flipc_vector *vector)
{
    struct world *world = world_create();
    struct kmsg *kmsg = NULL;
    uint32_t reason;

    deliver(world, vector);
    reason = refusal(world);
    if (reason == 0 && mach_msg_receive(world->port, &kmsg, 0) != MACH_MSG_SUCCESS)
        reason = refusal(world);
    else if (reason == 0)
        kmsg_free(kmsg);
    EXPECT_VECTOR(vector, reason, vector->expected);
    expect_told(world, vector);
    world_destroy(world, vector);
}

static void complex_messages_are_taken_or_refused(void)
{
    for (size_t i = 0; i < COUNT(complex_vectors); i++)
        play_complex(&complex_vectors[i]);
}

/* --- Accounts --------------------------------------------------------------------------------- */

static void accounts_are_kept_and_nonsense_is_counted(void)
{
    for (size_t i = 0; i < COUNT(rights_vectors); i++) {
        const struct flipc_vector *vector = &rights_vectors[i];
        struct world *world = world_create();
        uint64_t before = world->host->nodes->counters.dropped;

        deliver(world, vector);
        EXPECT_VECTOR(vector, world->host->nodes->counters.dropped - before, vector->expected);
        EXPECT_VECTOR(vector, mnl_flow_next(world->node), 1);
        EXPECT_VECTOR(vector, port_has_senders(world->port), false);
        expect_told(world, vector);
        world_destroy(world, vector);
    }
}

/* --- NODE messages ---------------------------------------------------------------------------- */

static void node_messages_are_taken_or_counted(void)
{
    for (size_t i = 0; i < COUNT(node_vectors); i++) {
        const struct flipc_vector *vector = &node_vectors[i];
        struct world *world = world_create();
        uint64_t before = world->host->nodes->counters.dropped;

        deliver(world, vector);
        EXPECT_VECTOR(vector, world->host->nodes->counters.dropped - before, vector->expected == 0);
        EXPECT_VECTOR(vector, node_incarnation(world->host, SENDER) != 0,
                      vector->expected != NODE_LEAVE);
        world_destroy(world, vector);
    }
}

/* --- Refusals --------------------------------------------------------------------------------- */

static bool is_sent_again(const struct world *world)
{
    mnl_msg_t msg = mnl_msg_try_to_node(world->node, 0);
    const struct wire_mach_header *mach;
    bool is_resumed;

    if (msg == MNL_MSG_NULL)
        return false;
    mach = MNL_MSG_PAYLOAD(msg);
    is_resumed = msg->cmd == FLIPC_IPC && (NATIVE(mach->bits) & MACH_BITS_RESUMED) != 0;
    mnl_msg_complete(world->node, msg, 0);
    return is_resumed;
}

static void play_nak(const struct flipc_vector *vector)
{
    struct world *world = world_create();
    struct port *proxy = port_from_name(world->host, THERE);
    struct outcomes outcomes = {0};
    mnl_msg_t msg;

    REQUIRE(proxy != NULL);
    REQUIRE(test_send_counted(proxy, 1, &outcomes) == MACH_MSG_SUCCESS);
    msg = mnl_msg_try_to_node(world->node, 0);
    REQUIRE(msg != MNL_MSG_NULL);
    mnl_msg_complete(world->node, msg, 0);
    deliver(world, vector);
    EXPECT_VECTOR(vector, outcomes.failed, vector->expected == OUTCOME_FAILED);
    EXPECT_VECTOR(vector, is_sent_again(world), vector->expected == OUTCOME_AGAIN);
    EXPECT_VECTOR(vector, outcomes.settled + outcomes.unknown, 0);
    port_release(proxy);
    world_destroy(world, vector);
}

static void refusals_end_a_message_or_send_it_again(void)
{
    for (size_t i = 0; i < COUNT(naks_vectors); i++)
        play_nak(&naks_vectors[i]);
}

static const struct unit_test flipc_vectors_tests[] = {
    {"complex messages are taken or refused", complex_messages_are_taken_or_refused},
    {"accounts are kept and nonsense is counted", accounts_are_kept_and_nonsense_is_counted},
    {"NODE messages are taken or counted", node_messages_are_taken_or_counted},
    {"refusals end a message or send it again", refusals_end_a_message_or_send_it_again},
};
UNIT_SUITE("flipc vectors", flipc_vectors_tests);
