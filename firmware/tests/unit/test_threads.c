/* SPDX-License-Identifier: MIT
 *
 * Two hosts in one process, joined by link threads, with senders and receivers of their own: once
 * with a driver that uses the nine published functions alone, once with the extended set and a link
 * that loses what it carries. For ThreadSanitizer as much as for the assertions.
 */
#include "hosts.h"
#include "unit.h"
#include <string.h>

#define SENDERS 2u
#define MESSAGES 10000u
#define BATCH 32

/* --- Links ------------------------------------------------------------------------------------ */

/* One direction of a link: carries what `from` has to send to what `to` has of the sender. */
struct lane {
    struct mach_host *from_host;
    struct mach_host *to_host;
    mnl_node_info_t from;
    mnl_node_info_t to;
    unsigned loss; /* extended lanes: one batch in so many is lost; 0: none */
    bool stop;     /* atomic */
    struct thread *thread;
};

/* The published contract: one thread a direction, shut down by null. */
static void published_lane(void *argument)
{
    struct lane *lane = argument;
    mnl_msg_t msg;

    while ((msg = mnl_msg_to_node(lane->from, 0)) != MNL_MSG_NULL) {
        mnl_msg_from_node(lane->to, msg, 0);
        mnl_msg_complete(lane->from, msg, 0);
    }
}

static bool lane_carry(struct lane *lane, bool lose)
{
    mnl_msg_t msg = mnl_msg_try_to_node(lane->from, 0), copy;

    if (msg == MNL_MSG_NULL)
        return false;
    if (!lose) {
        copy = mnl_msg_alloc((int)msg->size, 0);
        REQUIRE(copy != MNL_MSG_NULL);
        memcpy(copy, msg, sizeof(*msg) + msg->size);
    }
    mnl_msg_complete(lane->from, msg, 0);
    if (!lose) {
        size_t length = sizeof(*copy) + copy->size;
        kern_return_t result = mnl_msg_take_from_node(lane->to, copy, length, 0);

        EXPECT(result == KERN_SUCCESS || result == KERN_NODE_DOWN);
    }
    return true;
}

/* A turn of a link manager: messages until there are none or the batch is full, headers, and an
 * acknowledgement when it is due. Returns when the next turn must be at the latest. */
static uint64_t lane_turn(struct lane *lane, unsigned turn)
{
    bool lose = lane->loss != 0 && turn % lane->loss == 0;
    uint64_t deadline_ns, now_ns;
    int carried = 0;

    while (carried < BATCH && lane_carry(lane, lose))
        carried++;
    if (lose)
        mnl_flow_resume(lane->from, mnl_flow_next(lane->to));
    mnl_flow_peer(lane->to, mnl_flow_ack(lane->from), mnl_flow_credit(lane->from));
    now_ns = clock_now_ns();
    deadline_ns = mnl_flow_ack_deadline_ns(lane->from);
    if (deadline_ns <= now_ns || deadline_ns == DEADLINE_NEVER)
        mnl_flow_acknowledged(lane->from, now_ns);
    return carried == BATCH ? 0 : deadline_ns;
}

static void extended_lane(void *argument)
{
    struct lane *lane = argument;

    thread_set_host(lane->to_host);
    for (unsigned turn = 1; !__atomic_load_n(&lane->stop, __ATOMIC_ACQUIRE); turn++) {
        uint64_t deadline_ns = lane_turn(lane, turn);

        (void)event_wait(&lane->from_host->link_event, deadline_ns);
    }
}

struct cable {
    struct pair pair;
    struct lane lanes[2];
};

static void cable_start(struct cable *cable, void (*run)(void *), unsigned loss)
{
    for (int i = 0; i < 2; i++) {
        cable->lanes[i] = (struct lane){.from_host = cable->pair.hosts[i],
                                        .to_host = cable->pair.hosts[1 - i],
                                        .from = cable->pair.nodes[i],
                                        .to = cable->pair.nodes[1 - i],
                                        .loss = loss};
        REQUIRE(thread_create(cable->pair.hosts[i], "lane", run, &cable->lanes[i],
                              &cable->lanes[i].thread) == 0);
    }
}

/* Ends both nodes: what the lanes still carried is gone. */
static void cable_stop(struct cable *cable)
{
    for (int i = 0; i < 2; i++) {
        __atomic_store_n(&cable->lanes[i].stop, true, __ATOMIC_RELEASE);
        (void)mnl_terminate(cable->pair.nodes[i], 0);
        event_signal(&cable->pair.hosts[i]->link_event);
    }
    for (int i = 0; i < 2; i++)
        thread_join(cable->lanes[i].thread);
}

/* As a published driver would: no incarnation is ever told. */
static struct pair published_pair(void)
{
    struct pair pair;

    for (uint32_t i = 0; i < 2; i++)
        pair.hosts[i] = test_host_create(i + 1, TEST_INCARNATION(1));
    for (uint32_t i = 0; i < 2; i++) {
        thread_set_host(pair.hosts[i]);
        pair.nodes[i] = mnl_instantiate((mach_node_id_t)(2 - i), 0);
        REQUIRE(pair.nodes[i] != MNL_NODE_NULL);
        pair.nodes[i]->datamodel = MNL_DATAMODEL_LP64;
        pair.nodes[i]->byteorder = MNL_BYTEORDER_LITTLE;
        pair.nodes[i]->proto_vers_min = pair.nodes[i]->proto_vers_max = 1;
        REQUIRE(mnl_register(pair.nodes[i], 0) == KERN_SUCCESS);
        REQUIRE(mnl_set_link_state(pair.nodes[i], MNL_LINK_RX, 0) == KERN_SUCCESS);
        REQUIRE(mnl_set_link_state(pair.nodes[i], MNL_LINK_TX, 0) == KERN_SUCCESS);
    }
    return pair;
}

/* --- Senders and receivers -------------------------------------------------------------------- */

struct tally {
    unsigned settled, failed, unknown; /* atomic */
};

static void tally_outcome(void *context, enum message_outcome outcome)
{
    struct tally *tally = context;
    unsigned *count = outcome == MESSAGE_SETTLED  ? &tally->settled
                      : outcome == MESSAGE_FAILED ? &tally->failed
                                                  : &tally->unknown;

    __atomic_add_fetch(count, 1, __ATOMIC_RELAXED);
}

struct sender {
    struct mach_host *host;
    struct port *to;
    uint64_t index;
    struct tally *tally;
    unsigned sent;
    struct thread *thread;
};

static void send_all(void *argument)
{
    struct sender *sender = argument;

    for (uint64_t i = 0; i < MESSAGES; i++) {
        struct kmsg *kmsg = test_message(sender->host, sender->index << 32 | i);
        mach_msg_return_t result;

        kmsg_set_completion(kmsg, tally_outcome, sender->tally);
        result = mach_msg_send(kmsg, sender->to, NULL, PORT_NONE, DEADLINE_NEVER);
        if (result != MACH_MSG_SUCCESS) {
            EXPECT_EQUAL(result, MACH_SEND_INVALID_DEST);
            kmsg_free(kmsg);
            return;
        }
        sender->sent++;
    }
}

struct receiver {
    struct port *port;
    unsigned received;
    bool ordered;
    struct thread *thread;
};

static void receive_all(void *argument)
{
    struct receiver *receiver = argument;
    uint64_t next[SENDERS] = {0};
    struct kmsg *kmsg;

    receiver->ordered = true;
    while (mach_msg_receive(receiver->port, &kmsg, DEADLINE_NEVER) == MACH_MSG_SUCCESS) {
        uint64_t number = test_number(kmsg);

        kmsg_free(kmsg);
        receiver->ordered &= number >> 32 < SENDERS && (uint32_t)number == next[number >> 32]++;
        if (++receiver->received == SENDERS * MESSAGES)
            return;
    }
}

struct traffic {
    struct tally tally;
    struct sender senders[SENDERS];
    struct receiver receiver;
    struct port *proxy;
};

/* From end `from` to the other. */
static void traffic_start(struct traffic *traffic, struct pair *pair, int from)
{
    struct mach_host *source = pair->hosts[from], *sink = pair->hosts[1 - from];

    *traffic = (struct traffic){0};
    REQUIRE(port_create(sink, &traffic->receiver.port) == 0);
    port_retain(
        traffic->receiver.port); /* the receiving thread's, who may come late to a dead port */
    traffic->proxy = port_from_name(source, port_name(traffic->receiver.port));
    REQUIRE(traffic->proxy != NULL);
    REQUIRE(thread_create(sink, "receiver", receive_all, &traffic->receiver,
                          &traffic->receiver.thread) == 0);
    for (uint64_t i = 0; i < SENDERS; i++) {
        traffic->senders[i] = (struct sender){
            .host = source, .to = traffic->proxy, .index = i, .tally = &traffic->tally};
        REQUIRE(thread_create(source, "sender", send_all, &traffic->senders[i],
                              &traffic->senders[i].thread) == 0);
    }
}

static unsigned traffic_join_senders(struct traffic *traffic)
{
    unsigned sent = 0;

    for (uint64_t i = 0; i < SENDERS; i++) {
        thread_join(traffic->senders[i].thread);
        sent += traffic->senders[i].sent;
    }
    return sent;
}

static void everything_arrives(struct pair *pair, void (*run)(void *), unsigned loss)
{
    struct cable cable = {.pair = *pair};
    struct traffic traffic[2];

    cable_start(&cable, run, loss);
    traffic_start(&traffic[0], pair, 0);
    traffic_start(&traffic[1], pair, 1);
    for (int i = 0; i < 2; i++) {
        EXPECT_EQUAL(traffic_join_senders(&traffic[i]), SENDERS * MESSAGES);
        thread_join(traffic[i].receiver.thread);
        EXPECT_EQUAL(traffic[i].receiver.received, SENDERS * MESSAGES);
        EXPECT(traffic[i].receiver.ordered);
        while (__atomic_load_n(&traffic[i].tally.settled, __ATOMIC_ACQUIRE) != SENDERS * MESSAGES)
            thread_yield();
    }
    cable_stop(&cable);
    for (int i = 0; i < 2; i++) {
        EXPECT_EQUAL(traffic[i].tally.failed + traffic[i].tally.unknown, 0);
        port_release(traffic[i].proxy);
        port_destroy(traffic[i].receiver.port);
        port_release(traffic[i].receiver.port);
        EXPECT_EQUAL(test_statistics(pair->hosts[i]).messages, 0);
    }
    pair_destroy(pair);
}

static void a_driver_of_the_nine_published_functions_works(void)
{
    struct pair pair = published_pair();

    everything_arrives(&pair, published_lane, 0);
}

static void the_extended_set_works(void)
{
    struct pair pair = pair_create();

    everything_arrives(&pair, extended_lane, 0);
}

static void a_link_that_loses_batches_delays_and_loses_nothing(void)
{
    struct pair pair = pair_create();

    everything_arrives(&pair, extended_lane, 3);
}

/* --- Death in the middle ---------------------------------------------------------------------- */

static void every_send_has_one_outcome_when_the_peer_dies_in_the_middle(void)
{
    for (int round = 0; round < 5; round++) {
        struct cable cable = {.pair = pair_create()};
        struct traffic traffic;
        unsigned sent;

        cable_start(&cable, extended_lane, 0);
        traffic_start(&traffic, &cable.pair, 0);
        while (__atomic_load_n(&traffic.tally.settled, __ATOMIC_ACQUIRE) < 500u * (unsigned)round)
            thread_yield();
        EXPECT_EQUAL(
            node_declare_dead(cable.pair.hosts[0], 2, TEST_INCARNATION(1), NODE_DEATH_HOST), 0);
        sent = traffic_join_senders(&traffic);
        cable_stop(&cable); /* and whatever the lanes were telling is told */
        EXPECT_EQUAL(sent, traffic.tally.settled + traffic.tally.failed + traffic.tally.unknown);
        port_destroy(traffic.receiver.port);
        thread_join(traffic.receiver.thread);
        port_release(traffic.receiver.port);
        EXPECT(traffic.receiver.ordered);
        EXPECT(traffic.receiver.received >= traffic.tally.settled);
        port_release(traffic.proxy);
        EXPECT_EQUAL(test_statistics(cable.pair.hosts[0]).messages, 0);
        pair_destroy(&cable.pair);
    }
}

static void a_waiting_fetcher_gets_null_when_the_node_dies(void)
{
    struct pair pair = published_pair();
    struct cable cable = {.pair = pair};

    cable_start(&cable, published_lane, 0);
    thread_yield();
    cable_stop(&cable); /* joins the lanes: they end by null alone */
    pair_destroy(&pair);
}

#define SETTLED_WITHIN_NS 5000000000ull

/* Nothing goes back that could carry it: the driver's waiting thread must be told, and wait no
 * longer than ack_delay. */
static void one_message_of_a_published_driver_is_settled_without_traffic(void)
{
    struct cable cable = {.pair = published_pair()};
    struct tally tally = {0};
    struct port *port, *proxy;
    struct kmsg *kmsg;
    uint64_t deadline_ns = clock_now_ns() + SETTLED_WITHIN_NS;

    cable_start(&cable, published_lane, 0);
    REQUIRE(port_create(cable.pair.hosts[1], &port) == 0);
    proxy = port_from_name(cable.pair.hosts[0], port_name(port));
    kmsg = test_message(cable.pair.hosts[0], 1);
    kmsg_set_completion(kmsg, tally_outcome, &tally);
    EXPECT_EQUAL(mach_msg_send(kmsg, proxy, NULL, PORT_NONE, 0), MACH_MSG_SUCCESS);
    EXPECT_EQUAL(mach_msg_receive(port, &kmsg, deadline_ns), MACH_MSG_SUCCESS);
    kmsg_free(kmsg);
    while (__atomic_load_n(&tally.settled, __ATOMIC_ACQUIRE) == 0 && clock_now_ns() < deadline_ns)
        thread_yield();
    EXPECT_EQUAL(tally.settled, 1);
    cable_stop(&cable);
    port_release(proxy);
    port_destroy(port);
    pair_destroy(&cable.pair);
}

/* --- Calls ------------------------------------------------------------------------------------ */

static void serve(void *argument)
{
    struct port *port = argument;
    struct kmsg *kmsg;

    while (mach_msg_receive(port, &kmsg, DEADLINE_NEVER) == MACH_MSG_SUCCESS) {
        struct port *reply = kmsg_take_reply_port(kmsg);

        if (reply == NULL ||
            mach_msg_reply(kmsg, reply, kmsg_reply_disposition(kmsg)) != MACH_MSG_SUCCESS)
            kmsg_free(kmsg);
    }
}

struct client {
    struct mach_host *host;
    struct port *server;
    unsigned answered;
    struct thread *thread;
};

static void call_often(void *argument)
{
    struct client *client = argument;
    struct port *port;
    struct kmsg *kmsg;

    REQUIRE(port_create(client->host, &port) == 0);
    for (uint64_t i = 0; i < MESSAGES / 4; i++) {
        REQUIRE(mach_msg_send(test_message(client->host, i), client->server, port, PORT_SEND_ONCE,
                              DEADLINE_NEVER) == MACH_MSG_SUCCESS);
        REQUIRE(mach_msg_receive(port, &kmsg, DEADLINE_NEVER) == MACH_MSG_SUCCESS);
        client->answered += test_number(kmsg) == i;
        kmsg_free(kmsg);
    }
    port_destroy(port);
}

static void concurrent_calls_get_their_own_answers(void)
{
    struct cable cable = {.pair = pair_create()};
    struct client clients[3];
    struct thread *servers[2];
    struct port *server, *proxy;

    REQUIRE(port_create(cable.pair.hosts[1], &server) == 0);
    proxy = port_from_name(cable.pair.hosts[0], port_name(server));
    cable_start(&cable, extended_lane, 0);
    for (int i = 0; i < 2; i++)
        REQUIRE(thread_create(cable.pair.hosts[1], "server", serve, server, &servers[i]) == 0);
    for (int i = 0; i < 3; i++) {
        clients[i] = (struct client){.host = cable.pair.hosts[0], .server = proxy};
        REQUIRE(thread_create(cable.pair.hosts[0], "client", call_often, &clients[i],
                              &clients[i].thread) == 0);
    }
    for (int i = 0; i < 3; i++) {
        thread_join(clients[i].thread);
        EXPECT_EQUAL(clients[i].answered, MESSAGES / 4);
    }
    port_retain(server); /* the threads' own right */
    port_destroy(server);
    for (int i = 0; i < 2; i++)
        thread_join(servers[i]);
    port_release(server);
    cable_stop(&cable);
    port_release(proxy);
    for (int i = 0; i < 2; i++) {
        EXPECT_EQUAL(test_statistics(cable.pair.hosts[i]).messages, 0);
        EXPECT_EQUAL(test_statistics(cable.pair.hosts[i]).ports, 0);
    }
    pair_destroy(&cable.pair);
}

static const struct unit_test thread_tests[] = {
    {"a driver of the nine published functions works",
     a_driver_of_the_nine_published_functions_works},
    {"the extended set works", the_extended_set_works},
    {"a link that loses batches delays and loses nothing",
     a_link_that_loses_batches_delays_and_loses_nothing},
    {"every send has one outcome when the peer dies in the middle",
     every_send_has_one_outcome_when_the_peer_dies_in_the_middle},
    {"a waiting fetcher gets null when the node dies",
     a_waiting_fetcher_gets_null_when_the_node_dies},
    {"one message of a published driver is settled without traffic",
     one_message_of_a_published_driver_is_settled_without_traffic},
    {"concurrent calls get their own answers", concurrent_calls_get_their_own_answers},
};
UNIT_SUITE("threads", thread_tests);
