/* SPDX-License-Identifier: MIT
 *
 * A source of the traffic server whose destination lags, dies or never receives: every message gets
 * its outcome.
 */
#include "traffic_client.h"
#include "unit.h"
#include <kernel/node.h>

static void test_a_stream_to_a_dead_port_ends_itself(void)
{
    struct traffic_client client;
    struct stream_plan plan;
    struct port *sink;

    client_open(&client);
    EXPECT(port_create(&client.node.host, &sink) == ERROR_NONE);
    port_set_limit(sink, PORT_LIMIT_MAXIMUM);
    plan = client_plan_to(port_name(sink));
    plan.count = 0;
    EXPECT(client_start(&client, &plan) == ERROR_NONE);
    for (int i = 0; i < 3; i++) { /* three are received, the window behind them is full */
        struct kmsg *message;
        EXPECT(mach_msg_receive(sink, &message, clock_now_ns() + TEST_CALL_NS) == MACH_MSG_SUCCESS);
        kmsg_free(message);
    }
    port_destroy(sink);
    client_wait_closed(&client);
    struct native_ledger ledger = client_ledger(&client, CLIENT_STREAM, BLACKBOX_LEDGER_SOURCE);
    EXPECT(ledger.acked == 3 && ledger.unknown == 0);
    EXPECT(ledger.sent == ledger.acked + ledger.failed);
    EXPECT(ledger.failed >= 1);
    client_close(&client);
}

static void test_the_last_of_a_count_waits_for_room(void)
{
    struct traffic_client client;
    struct stream_plan plan;
    struct port *sink;

    client_open(&client);
    EXPECT(port_create(&client.node.host, &sink) == ERROR_NONE);
    port_set_limit(sink, 4);
    plan = client_plan_to(port_name(sink));
    plan.count = 5;
    EXPECT(client_start(&client, &plan) == ERROR_NONE);
    while (client_ledger(&client, CLIENT_STREAM, BLACKBOX_LEDGER_SOURCE).sent < plan.count) {
    }
    for (int i = 0; i < 5; i++) {
        struct kmsg *message = NULL;
        EXPECT(mach_msg_receive(sink, &message, clock_now_ns() + TEST_CALL_NS) == MACH_MSG_SUCCESS);
        kmsg_free(message);
    }
    client_wait_closed(&client);
    struct native_ledger ledger = client_ledger(&client, CLIENT_STREAM, BLACKBOX_LEDGER_SOURCE);
    EXPECT(ledger.acked == 5 && ledger.failed == 0);
    port_destroy(sink);
    client_close(&client);
}

static void test_a_stop_whose_time_passes_says_so(void)
{
    struct traffic_client client;
    struct stream_plan plan;
    struct port *sink;

    client_open(&client);
    EXPECT(port_create(&client.node.host, &sink) == ERROR_NONE);
    port_set_limit(sink, PORT_LIMIT_MAXIMUM);
    plan = client_plan_to(port_name(sink));
    EXPECT(client_start(&client, &plan) == ERROR_NONE);
    /* Nobody receives: the window fills and nothing more happens. */
    while (client_ledger(&client, CLIENT_STREAM, BLACKBOX_LEDGER_SOURCE).sent < plan.window) {
    }
    struct client_stopped reply = client_stop(&client, CLIENT_STREAM, 20000000);
    EXPECT(reply.status == ERROR_TIMED_OUT);
    EXPECT(reply.ledger.closed == 0 && reply.ledger.acked == 0);
    EXPECT(reply.ledger.sent == plan.window);
    EXPECT(client_close_stream(&client, CLIENT_STREAM, BLACKBOX_LEDGER_SOURCE) == ERROR_EXISTS);
    port_destroy(sink);
    client_wait_closed(&client);
    EXPECT(client_stop(&client, CLIENT_STREAM, 0).ledger.failed == reply.ledger.sent);
    client_close(&client);
}

static void test_when_the_peer_dies_every_message_has_an_outcome(void)
{
    struct traffic_clients clients;
    struct stream_plan plan;

    clients_open(&clients);
    plan = client_plan_to(clients.sink.name);
    plan.count = 0;
    EXPECT(client_start(&clients.source, &plan) == ERROR_NONE);
    while (client_ledger(&clients.source, CLIENT_STREAM, BLACKBOX_LEDGER_SOURCE).acked < 500) {
    }
    EXPECT(node_declare_dead(&clients.source.node.host, 2, CLIENT_INCARNATION, NODE_DEATH_HOST) ==
           ERROR_NONE);
    client_wait_closed(&clients.source);
    struct client_stopped reply = client_stop(&clients.source, CLIENT_STREAM, 0);
    EXPECT(reply.status == ERROR_NONE);
    EXPECT(reply.ledger.acked >= 500);
    EXPECT(reply.ledger.sent == reply.ledger.acked + reply.ledger.failed + reply.ledger.unknown);
    EXPECT(client_close_stream(&clients.source, CLIENT_STREAM, BLACKBOX_LEDGER_SOURCE) ==
           ERROR_NONE);
    clients_close(&clients);
}

static const struct unit_test source_tests[] = {
    {"a stream to a dead port ends itself", test_a_stream_to_a_dead_port_ends_itself},
    {"the last of a count waits for room", test_the_last_of_a_count_waits_for_room},
    {"a stop whose time passes says so", test_a_stop_whose_time_passes_says_so},
    {"when the peer dies every message has an outcome",
     test_when_the_peer_dies_every_message_has_an_outcome},
};
UNIT_SUITE("traffic_source", source_tests);
