/* SPDX-License-Identifier: MIT
 *
 * Bytes from a peer that means harm, or is broken: each is refused with a NAK, dropped and counted,
 * or closes the link, as docs/spec/flipc.md says, and nothing is left behind.
 */
#include "core/node.h"
#include "hosts.h"
#include "native.h"
#include "unit.h"
#include <string.h>

#define PEER 2u
#define ITS_TAG NAME_TAG_OF_INCARNATION(TEST_INCARNATION(1))

/* What one peer may cost that asks without end and takes nothing: what waits for it, what it is to be
 * told, and both windows of small messages. */
#define PEER_COST_MAXIMUM (1u << 20)

struct victim {
    struct mach_host *host;
    mnl_node_info_t node;
    struct port *port;
    uint64_t name;
};

struct wire_message {
    struct mnl_msg header;
    struct wire_mach_header mach;
    uint8_t body[64];
} __attribute__((packed));

static struct victim victim_create(void)
{
    struct victim victim = {.host = test_host_create(1, TEST_INCARNATION(1))};

    victim.node = test_node_create(victim.host, PEER, TEST_INCARNATION(1));
    REQUIRE(port_create(victim.host, &victim.port) == 0);
    victim.name = port_name(victim.port);
    return victim;
}

static void victim_destroy(struct victim *victim)
{
    struct node_statistics statistics;

    port_destroy(victim->port);
    mnl_node_release(victim->node, 0);
    statistics = test_statistics(victim->host);
    EXPECT_EQUAL(statistics.messages, 0);
    EXPECT_EQUAL(statistics.ports, 0);
    EXPECT_EQUAL(statistics.names, 0);
    EXPECT_EQUAL(statistics.nodes, 0);
    test_host_destroy(victim->host);
}

/* A message that is fine in every respect, the next in order. */
static struct wire_message good_message(const struct victim *victim)
{
    uint32_t size = sizeof(struct wire_mach_header) + 64;

    return (struct wire_message){
        .header = {.sub = MNL_SUB_FLIPC,
                   .cmd = FLIPC_IPC,
                   .flags = MNL_FLAG_SEQUENCED,
                   .node_id = PEER,
                   .object = victim->name,
                   .options = mnl_flow_next(victim->node),
                   .size = size},
        .mach = {.bits = le32_of(PORT_SEND),
                 .size = le32_of(size),
                 .remote = le64_of(victim->name)},
    };
}

static kern_return_t deliver(const struct victim *victim, struct wire_message *message)
{
    return mnl_msg_from_node_bounded(victim->node, &message->header,
                                     sizeof(message->header) + message->header.size, 0);
}

/* The reason of the NAK that is on its way; 0: there is none. */
static uint32_t refusal(const struct victim *victim)
{
    mnl_msg_t msg = mnl_msg_try_to_node(victim->node, 0);
    const struct flipc_nak_body *body;
    uint32_t reason;

    if (msg == MNL_MSG_NULL)
        return 0;
    REQUIRE(msg->cmd == FLIPC_NAK);
    body = MNL_MSG_PAYLOAD(msg);
    reason = NATIVE(body->reason);
    mnl_msg_complete(victim->node, msg, 0);
    return reason;
}

static void lengths_that_do_not_fit_close_the_link(void)
{
    struct victim victim = victim_create();
    struct wire_message message = good_message(&victim);
    mnl_msg_t msg;

    for (size_t length = 0; length < sizeof(message); length++)
        EXPECT_EQUAL(mnl_msg_from_node_bounded(victim.node, &message.header, length, 0),
                     KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(mnl_msg_from_node_bounded(victim.node, MNL_MSG_NULL, 24, 0),
                 KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(mnl_msg_from_node_bounded(MNL_NODE_NULL, &message.header, sizeof(message), 0),
                 KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(mnl_msg_from_node_bounded(victim.node, &message.header, SIZE_MAX, 0),
                 KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(mnl_msg_take_from_node(victim.node, MNL_MSG_NULL, 24, 0), KERN_INVALID_ARGUMENT);
    /* A size beyond the buffer that carries it. */
    for (uint32_t size = 9; size != 0; size <<= 1) {
        msg = mnl_msg_alloc(8, 0);
        memcpy(msg, &message.header, sizeof(*msg));
        msg->size = size;
        EXPECT_EQUAL(mnl_msg_take_from_node(victim.node, msg, sizeof(*msg) + (size_t)size, 0),
                     KERN_INVALID_ARGUMENT);
    }
    msg = mnl_msg_alloc(8, 0);
    EXPECT_EQUAL(mnl_msg_take_from_node(MNL_NODE_NULL, msg, 32, 0), KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(mnl_flow_next(victim.node), 0);
    victim_destroy(&victim);
}

static void headers_of_no_message_close_the_link(void)
{
    struct victim victim = victim_create();
    struct wire_message message;

    message = good_message(&victim);
    message.header.sub = 0;
    EXPECT_EQUAL(deliver(&victim, &message), KERN_INVALID_ARGUMENT);
    message = good_message(&victim);
    message.header.node_id = 3;
    EXPECT_EQUAL(deliver(&victim, &message), KERN_INVALID_ARGUMENT);
    message = good_message(&victim);
    message.header.flags = 0;
    EXPECT_EQUAL(deliver(&victim, &message), KERN_INVALID_ARGUMENT);
    message = good_message(&victim);
    message.header.flags = 3;
    EXPECT_EQUAL(deliver(&victim, &message), KERN_INVALID_ARGUMENT);
    message = good_message(&victim);
    message.header.cmd = FLIPC_ACK;
    EXPECT_EQUAL(deliver(&victim, &message), KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(mnl_flow_next(victim.node), 0);
    EXPECT_EQUAL(test_statistics(victim.host).received, 0);
    victim_destroy(&victim);
}

static void sequence_numbers_from_the_future_close_the_link(void)
{
    struct victim victim = victim_create();
    struct wire_message message = good_message(&victim);

    message.header.options = 1;
    EXPECT_EQUAL(deliver(&victim, &message), KERN_INVALID_ARGUMENT);
    message.header.options = 0x7fffffff;
    EXPECT_EQUAL(deliver(&victim, &message), KERN_INVALID_ARGUMENT);
    message.header.options = 0xffffffff; /* the past: dropped, an ack is due */
    EXPECT_EQUAL(deliver(&victim, &message), KERN_SUCCESS);
    EXPECT_EQUAL(test_statistics(victim.host).duplicates, 1);
    EXPECT_EQUAL(mnl_flow_next(victim.node), 0);
    victim_destroy(&victim);
}

static void messages_beyond_the_credit_close_the_link(void)
{
    struct victim victim = victim_create();
    struct wire_message message;

    for (unsigned i = 0; i < TEST_WINDOW; i++) {
        message = good_message(&victim);
        EXPECT_EQUAL(deliver(&victim, &message), KERN_SUCCESS);
    }
    message = good_message(&victim);
    EXPECT_EQUAL(deliver(&victim, &message), KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(mnl_flow_next(victim.node), TEST_WINDOW);
    EXPECT_EQUAL(mnl_flow_credit(victim.node), TEST_WINDOW);
    victim_destroy(&victim);
}

static void bad_mach_headers_are_refused(void)
{
    struct victim victim = victim_create();
    struct wire_message messages[12];

    for (size_t i = 0; i < 12; i++)
        messages[i] = good_message(&victim);
    le32_add(&messages[0].mach.size, 1);
    le64_add(&messages[1].mach.remote, 1);
    STORE(messages[2].mach.local_home, WIRE_HOME(PEER)); /* of no reply port */
    STORE(messages[3].mach.bits, 0);
    STORE(messages[4].mach.bits, 19);
    STORE(messages[5].mach.bits, 0x20000000u | PORT_SEND);
    STORE(messages[6].mach.bits, PORT_SEND | PORT_SEND << 8);   /* a reply right to nothing */
    STORE(messages[7].mach.local, NAME_MAKE(PEER, ITS_TAG, 1)); /* a name without a right */
    STORE(messages[8].mach.bits, PORT_SEND | 20u << 8);
    STORE(messages[8].mach.local, NAME_MAKE(PEER, ITS_TAG, 1));
    STORE(messages[9].mach.bits, PORT_SEND | PORT_SEND << 8); /* of a node that cannot be */
    STORE(messages[9].mach.local, NAME_MAKE(64, ITS_TAG, 1));
    STORE(messages[10].mach.bits, PORT_SEND | PORT_SEND << 8); /* of ours, and never given */
    STORE(messages[10].mach.local, NAME_MAKE(1, ITS_TAG, 1000));
    STORE(messages[11].mach.bits, PORT_SEND | PORT_SEND << 8); /* serial 0 */
    STORE(messages[11].mach.local, NAME_MAKE(PEER, ITS_TAG, 0));
    for (size_t i = 0; i < 12; i++) {
        messages[i].header.options = (uint32_t)i;
        EXPECT_EQUAL(deliver(&victim, &messages[i]), KERN_SUCCESS);
        EXPECT_EQUAL(refusal(&victim), FLIPC_NAK_BAD_MESSAGE);
    }
    EXPECT_EQUAL(test_statistics(victim.host).ports, 1);
    EXPECT_EQUAL(mnl_flow_ack(victim.node), 0);
    victim_destroy(&victim);
}

static void messages_smaller_than_a_mach_header_are_refused(void)
{
    struct victim victim = victim_create();

    for (uint32_t size = 0; size < sizeof(struct wire_mach_header); size++) {
        struct wire_message message = good_message(&victim);

        message.header.size = size;
        EXPECT_EQUAL(deliver(&victim, &message), KERN_SUCCESS);
        EXPECT_EQUAL(refusal(&victim), FLIPC_NAK_BAD_MESSAGE);
    }
    victim_destroy(&victim);
}

static void destinations_that_are_not_ours_are_refused_with_their_reason(void)
{
    struct victim victim = victim_create();
    struct port *dead;
    uint64_t dead_name;
    struct wire_message message;
    struct {
        uint64_t name;
        uint32_t reason;
    } cases[] = {
        {0, FLIPC_NAK_DEAD_PORT}, /* filled in below */
        {NAME_MAKE(1, ITS_TAG, 1000), FLIPC_NAK_UNKNOWN_NAME},
        {NAME_MAKE(1, ITS_TAG + 1, 1), FLIPC_NAK_DEAD_PORT}, /* of a past life */
        {NAME_WELL_KNOWN(1, NAME_SERIAL_BOOTSTRAP), FLIPC_NAK_UNKNOWN_NAME},
        {NAME_MAKE(PEER, ITS_TAG, 1), FLIPC_NAK_NOT_PRINCIPAL},
        {NAME_MAKE(9, 1, 1), FLIPC_NAK_NOT_PRINCIPAL},
        {NAME_NULL, FLIPC_NAK_NOT_PRINCIPAL},
    };

    REQUIRE(port_create(victim.host, &dead) == 0);
    dead_name = port_name(dead);
    port_destroy(dead);
    cases[0].name = dead_name;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        message = good_message(&victim);
        message.header.object = cases[i].name;
        STORE(message.mach.remote, cases[i].name);
        EXPECT_EQUAL(deliver(&victim, &message), KERN_SUCCESS);
        EXPECT_EQUAL(refusal(&victim), cases[i].reason);
    }
    victim_destroy(&victim);
}

static void unknown_commands_are_settled_and_do_nothing(void)
{
    struct victim victim = victim_create();
    static const uint8_t commands[][2] = {{1, 0},   {1, 1}, {1, 77},    {2, 0},
                                          {2, 200}, {3, 1}, {255, 255}, {2, FLIPC_NAK}};

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        struct wire_message message = good_message(&victim);

        message.header.sub = commands[i][0];
        message.header.cmd = commands[i][1];
        EXPECT_EQUAL(deliver(&victim, &message), KERN_SUCCESS);
    }
    EXPECT_EQUAL(mnl_flow_ack(victim.node), 8);
    EXPECT_EQUAL(mnl_flow_credit(victim.node), TEST_WINDOW + 8);
    EXPECT_EQUAL(refusal(&victim), 0);
    victim_destroy(&victim);
}

struct wire_ack {
    struct mnl_msg header;
    uint32_t words[4 + 300];
} __attribute__((packed));

static kern_return_t deliver_snapshot(const struct victim *victim, uint32_t next, uint32_t count,
                                      uint32_t size, uint32_t first, uint32_t step)
{
    struct wire_ack ack = {
        .header = {.sub = MNL_SUB_FLIPC, .cmd = FLIPC_ACK, .node_id = PEER, .size = size},
        .words = {next, TEST_WINDOW, count, 0}};

    for (uint32_t i = 0; i < 300; i++)
        ack.words[4 + i] = first + i * step;
    return mnl_msg_from_node_bounded(victim->node, &ack.header, sizeof(ack.header) + size, 0);
}

static void snapshots_that_make_no_sense_close_the_link(void)
{
    struct victim victim = victim_create();
    struct port *proxy = port_from_name(victim.host, NAME_WELL_KNOWN(PEER, 2));
    struct outcomes outcomes = {0};

    for (uint64_t i = 0; i < 10; i++) {
        EXPECT_EQUAL(test_send_counted(proxy, i, &outcomes), MACH_MSG_SUCCESS);
        mnl_msg_complete(victim.node, mnl_msg_try_to_node(victim.node, 0), 0);
    }
    for (uint32_t size = 0; size < 16; size++)
        EXPECT_EQUAL(deliver_snapshot(&victim, 5, 0, size, 0, 1), KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(deliver_snapshot(&victim, 5, 1, 16, 0, 1), KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(deliver_snapshot(&victim, 5, 0, 20, 0, 1), KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(deliver_snapshot(&victim, 5, 0x40000000, 16, 0, 1), KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(deliver_snapshot(&victim, 5, 257, 16 + 257 * 4, 0, 1), KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(deliver_snapshot(&victim, 11, 0, 16, 0, 1), KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(deliver_snapshot(&victim, 5, 2, 24, 3, 0), KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(deliver_snapshot(&victim, 5, 2, 24, 3, 0xffffffff), KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(deliver_snapshot(&victim, 5, 1, 20, 5, 1), KERN_INVALID_ARGUMENT);
    EXPECT_EQUAL(outcomes.settled, 0);
    EXPECT_EQUAL(deliver_snapshot(&victim, 5, 2, 24, 1, 2), KERN_SUCCESS); /* 1 and 3 are not */
    EXPECT_EQUAL(outcomes.settled, 3);
    EXPECT_EQUAL(deliver_snapshot(&victim, 5, 2, 24, 1, 2), KERN_SUCCESS); /* old news */
    EXPECT_EQUAL(outcomes.settled, 3);
    EXPECT_EQUAL(deliver_snapshot(&victim, 10, 0, 16, 0, 0), KERN_SUCCESS);
    EXPECT_EQUAL(outcomes.settled, 10);
    port_release(proxy);
    victim_destroy(&victim);
}

static void refusals_of_what_is_not_outstanding_do_nothing(void)
{
    struct victim victim = victim_create();
    struct port *proxy = port_from_name(victim.host, NAME_WELL_KNOWN(PEER, 2));
    struct outcomes outcomes = {0};
    struct wire_message message;
    struct flipc_nak_body nak = {.reason = le32_of(FLIPC_NAK_DEAD_PORT),
                                 .resend_to = le32_of((uint32_t)-1)};

    EXPECT_EQUAL(test_send_counted(proxy, 0, &outcomes), MACH_MSG_SUCCESS);
    EXPECT_EQUAL(test_send_counted(proxy, 1, &outcomes), MACH_MSG_SUCCESS);
    mnl_msg_complete(victim.node, mnl_msg_try_to_node(victim.node, 0), 0);
    for (uint32_t i = 0; i < 3; i++) {
        static const uint32_t sequences[] = {1, 0, 0}; /* not transmitted yet, right, repeated */

        message = good_message(&victim);
        STORE(nak.sequence, sequences[i]);
        message.header.cmd = FLIPC_NAK;
        message.header.size = sizeof(nak);
        memcpy(&message.mach, &nak, sizeof(nak));
        EXPECT_EQUAL(deliver(&victim, &message), KERN_SUCCESS);
        EXPECT_EQUAL(outcomes.failed, i == 0 ? 0 : 1);
    }
    port_release(proxy);
    victim_destroy(&victim);
}

/* Takes the next request and answers it without waiting, as a service does; true: there was room. */
static bool answer_one(const struct victim *victim)
{
    struct kmsg *request, *answer;
    struct port *reply;
    bool is_sent;

    if (mach_msg_receive(victim->port, &request, 0) != MACH_MSG_SUCCESS)
        return false; /* refused: it listens to nothing that it is told */
    reply = kmsg_take_reply_port(request);
    REQUIRE(reply != NULL);
    kmsg_free(request);
    answer = test_message(victim->host, 1);
    is_sent = mach_msg_reply(answer, reply, PORT_SEND_ONCE) == MACH_MSG_SUCCESS;
    if (!is_sent)
        kmsg_free(answer);
    return is_sent;
}

static void endless_questions_are_not_answered_endlessly(void)
{
    struct victim victim = victim_create();
    size_t used_bytes = heap_statistics(victim.host).used_bytes;
    unsigned answered = 0;

    for (uint32_t i = 0; i < 20000; i++) {
        struct wire_message message = good_message(&victim);

        STORE(message.mach.bits, PORT_SEND | PORT_SEND_ONCE << 8);
        STORE(message.mach.local, NAME_MAKE(PEER, ITS_TAG, i + 1u));
        if (deliver(&victim, &message) != KERN_SUCCESS)
            break; /* beyond its credit: refusals are not taken either */
        answered += answer_one(&victim);
    }
    EXPECT(answered >= TEST_WINDOW);
    EXPECT(answered < 2000);
    EXPECT(test_statistics(victim.host).messages <= answered + TEST_WINDOW);
    EXPECT(test_statistics(victim.host).ports <= answered + FLOW_NOTICES_MAXIMUM + 2);
    EXPECT(heap_statistics(victim.host).used_bytes - used_bytes < PEER_COST_MAXIMUM);
    victim_destroy(&victim);
}

/* Each is answered by the news that the port is dead, which it does not take either. */
static void endless_rights_to_nothing_are_not_answered_endlessly(void)
{
    struct victim victim = victim_create();
    const struct flow *flow = &node_of_handle(victim.node)->flow;
    uint64_t dropped = victim.host->nodes->counters.dropped;
    struct {
        struct mnl_msg header;
        le32 count;
        le32 reserved;
        struct flipc_rights_entry entries[FLIPC_RIGHTS_MAXIMUM];
    } message = {.header = {.sub = MNL_SUB_FLIPC,
                            .cmd = FLIPC_RIGHTS,
                            .flags = MNL_FLAG_SEQUENCED,
                            .node_id = PEER,
                            .size = sizeof(struct flipc_rights_body) + sizeof(message.entries)}};

    STORE(message.count, FLIPC_RIGHTS_MAXIMUM);
    for (uint32_t i = 0; i < 2u * FLOW_NOTICES_MAXIMUM / FLIPC_RIGHTS_MAXIMUM; i++) {
        for (uint32_t k = 0; k < FLIPC_RIGHTS_MAXIMUM; k++) {
            STORE(message.entries[k].name, NAME_MAKE(1, 1, i * FLIPC_RIGHTS_MAXIMUM + k + 1u));
            STORE(message.entries[k].operation, RIGHTS_ADD_SEND);
            STORE(message.entries[k].value, 1);
        }
        message.header.options = mnl_flow_next(victim.node);
        EXPECT_EQUAL(mnl_msg_from_node_bounded(victim.node, &message.header,
                                               sizeof(message.header) + message.header.size, 0),
                     KERN_SUCCESS);
    }
    EXPECT_EQUAL(flow->notice_count, FLOW_NOTICES_MAXIMUM);
    EXPECT_EQUAL(victim.host->nodes->counters.dropped - dropped, FLOW_NOTICES_MAXIMUM);
    victim_destroy(&victim);
}

/* `node` says that it has `value` rights to the port. */
static void add_rights(const struct victim *victim, mnl_node_info_t node, uint32_t node_id,
                       uint32_t operation, uint32_t value)
{
    struct {
        struct mnl_msg header;
        le32 count;
        le32 reserved;
        struct flipc_rights_entry entry;
    } message = {.header = {.sub = MNL_SUB_FLIPC,
                            .cmd = FLIPC_RIGHTS,
                            .flags = MNL_FLAG_SEQUENCED,
                            .node_id = node_id,
                            .options = mnl_flow_next(node),
                            .size = sizeof(message) - sizeof(message.header)},
                 .count = le32_of(1),
                 .entry = {.name = le64_of(victim->name),
                           .operation = le32_of(operation),
                           .value = le32_of(value)}};

    EXPECT_EQUAL(mnl_msg_from_node_bounded(node, &message.header, sizeof(message), 0),
                 KERN_SUCCESS);
}

/* Its last right is used by the very message that brings one to the same port. */
static void a_message_may_end_an_account_that_its_rights_need(void)
{
    struct victim victim = victim_create();
    mnl_node_info_t other = test_node_create(victim.host, 3, TEST_INCARNATION(1));
    struct wire_message message;
    struct kmsg *kmsg;

    add_rights(&victim, other, 3, RIGHTS_ADD_SEND, 1);
    add_rights(&victim, victim.node, PEER, RIGHTS_ADD_ONCE, 1);
    message = good_message(&victim);
    STORE(message.mach.bits, PORT_SEND_ONCE | PORT_SEND << 8);
    STORE(message.mach.local, victim.name); /* which the peer says is at the peer */
    EXPECT_EQUAL(deliver(&victim, &message), KERN_SUCCESS);
    EXPECT_EQUAL(mach_msg_receive(victim.port, &kmsg, 0), MACH_MSG_SUCCESS);
    kmsg_free(kmsg);
    mnl_node_release(other, 0);
    victim_destroy(&victim);
}

/* Each is told when the one before was received: what a peer says in a word costs no memory. */
static void rights_that_die_by_the_thousand_are_told_one_by_one(void)
{
    struct victim victim = victim_create();
    size_t used_bytes;
    uint32_t told = 0;
    struct kmsg *kmsg;

    add_rights(&victim, victim.node, PEER, RIGHTS_ADD_ONCE, RIGHTS_ONCE_MAXIMUM);
    add_rights(&victim, victim.node, PEER, RIGHTS_ADD_ONCE, 1); /* one too many */
    used_bytes = heap_statistics(victim.host).used_bytes;
    EXPECT_EQUAL(mnl_terminate(victim.node, 0), KERN_SUCCESS);
    EXPECT(heap_statistics(victim.host).used_bytes < used_bytes + 1024);
    while (mach_msg_receive(victim.port, &kmsg, 0) == MACH_MSG_SUCCESS) {
        EXPECT_EQUAL(kmsg_id(kmsg), NOTIFY_SEND_ONCE);
        kmsg_free(kmsg);
        told++;
    }
    EXPECT_EQUAL(told, RIGHTS_ONCE_MAXIMUM);
    victim_destroy(&victim);
}

/* After everything refused was acknowledged and everything delivered received, a good message
 * arrives. */
static bool makes_sense_again(struct victim *victim)
{
    struct wire_message message;
    struct kmsg *kmsg;
    mnl_msg_t msg;
    bool arrived;

    while (mach_msg_receive(victim->port, &kmsg, 0) == MACH_MSG_SUCCESS)
        kmsg_free(kmsg);
    do {
        uint32_t next = node_of_handle(victim->node)->flow.next_sequence;

        mnl_flow_peer(victim->node, next, next + TEST_WINDOW);
        msg = mnl_msg_try_to_node(victim->node, 0);
        mnl_msg_complete(victim->node, msg, 0);
    } while (msg != MNL_MSG_NULL);
    message = good_message(victim);
    EXPECT_EQUAL(deliver(victim, &message), KERN_SUCCESS);
    arrived = mach_msg_receive(victim->port, &kmsg, 0) == MACH_MSG_SUCCESS;
    kmsg_free(kmsg);
    return arrived;
}

/* Whatever the bytes are, the host stays whole, and a good message is still understood afterwards.
 */
static void random_bytes_do_no_harm(void)
{
    struct victim victim = victim_create();
    struct wire_message message;

    for (unsigned round = 0; round < 200000; round++) {
        uint64_t random = mach_host_random(victim.host);
        uint8_t *bytes = (uint8_t *)&message;

        message = good_message(&victim);
        message.header.cmd = (uint8_t)(random & 3);
        message.header.sub = random & 4 ? 2 : 1;
        for (unsigned i = 0; i < (random >> 8 & 3); i++)
            bytes[(random >> (16 + 8 * i) & 255) % sizeof(message)] = (uint8_t)(random >> 40);
        (void)mnl_msg_from_node_bounded(
            victim.node, &message.header,
            random & 8 ? sizeof(message) : sizeof(message.header) + (random >> 48 & 63), 0);
        if (random >> 32 & 1) {
            struct kmsg *kmsg;
            mnl_msg_t msg = mnl_msg_try_to_node(victim.node, 0);

            mnl_msg_complete(victim.node, msg, 0);
            mnl_flow_peer(victim.node, (uint32_t)(random >> 32), (uint32_t)random);
            if (mach_msg_receive(victim.port, &kmsg, 0) == MACH_MSG_SUCCESS)
                kmsg_free(kmsg);
        }
    }
    EXPECT(makes_sense_again(&victim));
    victim_destroy(&victim);
}

static const struct unit_test hostile_tests[] = {
    {"lengths that do not fit close the link", lengths_that_do_not_fit_close_the_link},
    {"headers of no message close the link", headers_of_no_message_close_the_link},
    {"sequence numbers from the future close the link",
     sequence_numbers_from_the_future_close_the_link},
    {"messages beyond the credit close the link", messages_beyond_the_credit_close_the_link},
    {"bad Mach headers are refused", bad_mach_headers_are_refused},
    {"messages smaller than a Mach header are refused",
     messages_smaller_than_a_mach_header_are_refused},
    {"destinations that are not ours are refused with their reason",
     destinations_that_are_not_ours_are_refused_with_their_reason},
    {"unknown commands are settled and do nothing", unknown_commands_are_settled_and_do_nothing},
    {"snapshots that make no sense close the link", snapshots_that_make_no_sense_close_the_link},
    {"refusals of what is not outstanding do nothing",
     refusals_of_what_is_not_outstanding_do_nothing},
    {"endless questions are not answered endlessly", endless_questions_are_not_answered_endlessly},
    {"endless rights to nothing are not answered endlessly",
     endless_rights_to_nothing_are_not_answered_endlessly},
    {"a message may end an account that its rights need",
     a_message_may_end_an_account_that_its_rights_need},
    {"rights that die by the thousand are told one by one",
     rights_that_die_by_the_thousand_are_told_one_by_one},
    {"random bytes do no harm", random_bytes_do_no_harm},
};
UNIT_SUITE("hostile", hostile_tests);
