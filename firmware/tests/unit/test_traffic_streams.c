/* SPDX-License-Identifier: MIT
 *
 * Whole streams of the traffic server: both ledgers, what is told meanwhile, and how they are
 * stopped.
 */
#include "native.h"
#include "traffic_client.h"
#include "unit.h"
#include <string.h>

static uint64_t digest(const struct stream_plan *plan, uint64_t count)
{
    static uint64_t body[16];
    uint64_t running = 0;

    for (uint64_t i = 0; i < count; i++) {
        struct traffic_header header = {
            .check = le32_of(plan->check), .sequence = le64_of(i), .seed = le64_of(plan->seed)};
        running = traffic_hash_add(running, traffic_content_write(body, plan->size_bytes, &header));
    }
    return running;
}

static void test_a_counted_stream_is_accounted_at_both_ends(void)
{
    struct traffic_client client;
    struct test_event last;

    client_open(&client);
    for (uint32_t check = 0; check <= 1; check++) {
        struct stream_plan plan = client_plan_to(client.name);
        plan.check = check;
        EXPECT(client_start(&client, &plan) == ERROR_NONE);
        client_wait_closed(&client);
        struct native_ledger source = client_ledger(&client, CLIENT_STREAM, BLACKBOX_LEDGER_SOURCE);
        struct native_ledger sink = client_ledger(&client, CLIENT_STREAM, BLACKBOX_LEDGER_SINK);
        EXPECT(source.sent == 1000 && source.acked == 1000);
        EXPECT(source.failed == 0 && source.unknown == 0);
        EXPECT(source.next_sequence == 1000 && source.size_bytes == 64);
        EXPECT(source.peer == 1 && source.peer_incarnation == CLIENT_INCARNATION);
        EXPECT(sink.received == 1000 && sink.next_sequence == 1000);
        EXPECT(sink.duplicates == 0 && sink.gaps == 0 && sink.corrupt == 0);
        EXPECT(sink.peer == 1 && sink.peer_incarnation == CLIENT_INCARNATION && sink.closed == 0);
        EXPECT(source.running_hash == digest(&plan, 1000));
        EXPECT(sink.running_hash == source.running_hash);
        EXPECT(test_node_count_events(&client.node, BLACKBOX_EVENT_STREAM, &last) >= 3);
        EXPECT(client_close_stream(&client, CLIENT_STREAM, BLACKBOX_LEDGER_SOURCE) == ERROR_NONE);
        EXPECT(client_close_stream(&client, CLIENT_STREAM, BLACKBOX_LEDGER_SINK) == ERROR_NONE);
    }
    for (uint32_t i = 0; i < BLACKBOX_LEDGER_COUNT; i++) {
        EXPECT(NATIVE(test_node_ledgers(&client.node)[i].role) == BLACKBOX_LEDGER_FREE);
    }
    client_close(&client);
}

struct digests_wanted {
    struct traffic_client *client;
    uint32_t count;
};

static bool has_digests(void *context)
{
    struct digests_wanted *wanted = context;

    return test_node_count_events(&wanted->client->node, BLACKBOX_EVENT_STREAM, NULL) >=
           wanted->count;
}

static void test_digests_tell_both_ends(void)
{
    struct traffic_client client;
    struct stream_plan plan;
    struct test_event last;

    client_open(&client);
    plan = client_plan_to(client.name);
    EXPECT(client_start(&client, &plan) == ERROR_NONE);
    /* Both openings, the source's end, and the sink's tick within 100 ms. */
    struct digests_wanted wanted = {.client = &client, .count = 4};
    EXPECT(test_wait(has_digests, &wanted));
    EXPECT(test_node_count_events(&client.node, BLACKBOX_EVENT_STREAM, &last) >= 4);
    EXPECT((last.arg0 & ~(1ull << 63)) == CLIENT_STREAM);
    EXPECT(last.arg1 == 1000);
    EXPECT(last.arg2 == digest(&plan, 1000));
    EXPECT(last.peer == 1);
    client_close(&client);
}

static void test_an_endless_stream_stops_when_told(void)
{
    struct traffic_client client;
    struct stream_plan plan;

    client_open(&client);
    plan = client_plan_to(client.name);
    plan.count = 0;
    plan.check = TRAFFIC_CHECK_HEADER;
    EXPECT(client_start(&client, &plan) == ERROR_NONE);
    EXPECT(client_close_stream(&client, CLIENT_STREAM, BLACKBOX_LEDGER_SOURCE) == ERROR_EXISTS);
    while (client_ledger(&client, CLIENT_STREAM, BLACKBOX_LEDGER_SOURCE).sent < 5000) {
    }
    struct client_stopped reply = client_stop(&client, CLIENT_STREAM, TEST_CALL_NS);
    EXPECT(reply.status == ERROR_NONE);
    EXPECT(reply.ledger.sent >= 5000 && reply.ledger.acked == reply.ledger.sent);
    EXPECT(reply.ledger.closed == 1);
    EXPECT(reply.elapsed_ns > 0);
    EXPECT(client_ledger(&client, CLIENT_STREAM, BLACKBOX_LEDGER_SINK).received ==
           reply.ledger.sent);
    /* A stream that has ended answers at once, with the same. */
    struct client_stopped again = client_stop(&client, CLIENT_STREAM, 0);
    EXPECT(again.status == ERROR_NONE);
    EXPECT(memcmp(&again.ledger, &reply.ledger, sizeof(reply.ledger)) == 0);
    EXPECT(again.elapsed_ns == reply.elapsed_ns);
    client_close(&client);
}

static void test_an_interval_limits_the_rate(void)
{
    struct traffic_client client;
    struct stream_plan plan;

    client_open(&client);
    plan = client_plan_to(client.name);
    plan.count = 6;
    plan.interval_ns = 20000000;
    EXPECT(client_start(&client, &plan) == ERROR_NONE);
    client_wait_closed(&client);
    struct client_stopped reply = client_stop(&client, CLIENT_STREAM, 0);
    EXPECT(reply.ledger.acked == 6);
    EXPECT(reply.elapsed_ns >= 5 * plan.interval_ns);
    client_close(&client);
}

static void test_trace_tells_every_message(void)
{
    struct traffic_client client;
    struct stream_plan plan;
    struct test_event last;

    client_open_as(&client, 1, true);
    plan = client_plan_to(client.name);
    plan.count = 100;
    EXPECT(client_start(&client, &plan) == ERROR_NONE);
    client_wait_closed(&client);
    (void)client_ledger(&client, CLIENT_STREAM, BLACKBOX_LEDGER_SINK); /* behind the last message */
    EXPECT(test_node_count_events(&client.node, BLACKBOX_EVENT_MESSAGE, &last) == 100);
    EXPECT(last.arg0 == CLIENT_STREAM && last.arg1 == 99 && last.arg2 == CLIENT_INCARNATION &&
           last.peer == 1);
    client_close(&client);
}

static void test_a_stream_between_two_nodes(void)
{
    struct traffic_clients clients;
    struct stream_plan plan;

    clients_open(&clients);
    plan = client_plan_to(clients.sink.name);
    plan.window = 64;
    plan.count = 5000;
    EXPECT(client_start(&clients.source, &plan) == ERROR_NONE);
    client_wait_closed(&clients.source);
    struct native_ledger sent =
        client_ledger(&clients.source, CLIENT_STREAM, BLACKBOX_LEDGER_SOURCE);
    thread_set_host(&clients.sink.node.host);
    struct native_ledger received = client_sink(&clients.sink);
    EXPECT(sent.acked == 5000 && sent.failed == 0 && sent.unknown == 0);
    EXPECT(sent.peer == 2 && sent.peer_incarnation == CLIENT_INCARNATION);
    EXPECT(received.received == 5000 && received.gaps == 0 && received.duplicates == 0);
    EXPECT(received.peer == 1 && received.running_hash == sent.running_hash);
    clients_close(&clients);
}

static const struct unit_test stream_tests[] = {
    {"a counted stream is accounted at both ends", test_a_counted_stream_is_accounted_at_both_ends},
    {"digests tell both ends", test_digests_tell_both_ends},
    {"an endless stream stops when told", test_an_endless_stream_stops_when_told},
    {"an interval limits the rate", test_an_interval_limits_the_rate},
    {"trace tells every message", test_trace_tells_every_message},
    {"a stream between two nodes", test_a_stream_between_two_nodes},
};
UNIT_SUITE("traffic_streams", stream_tests);
