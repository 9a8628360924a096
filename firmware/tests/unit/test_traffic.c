/* SPDX-License-Identifier: MIT
 *
 * The traffic server: whole streams, the arithmetic of both ledgers, what a sink makes of hand-made
 * messages, hostile requests, and the end of a peer.
 */
#include "native.h"
#include "unit.h"
#include "whole_node.h"

#include <abi/flipc.h>
#include <abi/services.h>
#include <kernel/node.h>
#include <kernel/service.h>
#include <servers/traffic/content.h>
#include <servers/traffic/source.h>
#include <string.h>

#define ARENA_BYTES (8u << 20)
#define INCARNATION 0x300000002ull
#define STREAM 42ull

struct traffic_client {
    struct test_node node;
    struct port *port;
    uint64_t name;
};

static void client_open_as(struct traffic_client *client, uint32_t node_id, bool trace)
{
    test_node_open(&client->node, node_id, INCARNATION, ARENA_BYTES, trace);
    EXPECT(kern_server_load(&client->node.host, "traffic") == ERROR_NONE);
    client->name = kern_server_service_name(&client->node.host, "traffic");
    client->port = port_from_name(&client->node.host, client->name);
    EXPECT(client->port != NULL);
}

static void client_open(struct traffic_client *client)
{
    client_open_as(client, 1, false);
}

static void client_close(struct traffic_client *client)
{
    thread_set_host(&client->node.host);
    port_release(client->port);
    test_node_close(&client->node);
}

static int status_of(struct traffic_client *client, int32_t id, const void *body, size_t len_bytes)
{
    return test_call_status(&client->node.host, client->port, id, body, len_bytes);
}

static struct stream_plan plan_to(uint64_t destination)
{
    return (struct stream_plan){.stream_id = STREAM,
                                .destination = destination,
                                .size_bytes = 64,
                                .window = 16,
                                .count = 1000,
                                .seed = 5,
                                .check = TRAFFIC_CHECK_CONTENT};
}

static int start(struct traffic_client *client, const struct stream_plan *plan)
{
    struct traffic_start_request request = {
        .stream_id = le64_of(plan->stream_id),
        .destination = le64_of(plan->destination),
        .size_bytes = le32_of(plan->size_bytes),
        .window = le32_of(plan->window),
        .count = le64_of(plan->count),
        .interval_ns = le64_of(plan->interval_ns),
        .seed = le64_of(plan->seed),
        .check = le32_of(plan->check),
    };

    return status_of(client, TRAFFIC_START, &request, sizeof(request));
}

/* A ledger in native words; those of the other end's kind are 0. */
struct account {
    uint32_t peer;
    uint32_t size_bytes;
    uint64_t peer_incarnation;
    uint64_t next_sequence;
    uint64_t running_hash;
    uint64_t sent;
    uint64_t acked;
    uint64_t failed;
    uint64_t unknown;
    uint64_t received;
    uint64_t duplicates;
    uint64_t gaps;
    uint64_t corrupt;
    uint64_t closed;
};

static struct account account_of(const struct blackbox_ledger *ledger)
{
    return (struct account){
        .peer = NATIVE(ledger->peer),
        .size_bytes = NATIVE(ledger->size_bytes),
        .peer_incarnation = NATIVE(ledger->peer_incarnation),
        .next_sequence = NATIVE(ledger->next_sequence),
        .running_hash = NATIVE(ledger->running_hash),
        .sent = NATIVE(ledger->sent),
        .acked = NATIVE(ledger->acked),
        .failed = NATIVE(ledger->failed),
        .unknown = NATIVE(ledger->unknown),
        .received = NATIVE(ledger->received),
        .duplicates = NATIVE(ledger->duplicates),
        .gaps = NATIVE(ledger->gaps),
        .corrupt = NATIVE(ledger->corrupt),
        .closed = NATIVE(ledger->closed),
    };
}

/* The answer to STOP. */
struct stopped {
    int status;
    struct account ledger;
    uint64_t elapsed_ns;
};

static struct stopped stop(struct traffic_client *client, uint64_t stream_id, uint64_t timeout_ns)
{
    struct traffic_stop_request request = {.stream_id = le64_of(stream_id),
                                           .timeout_ns = le64_of(timeout_ns)};
    struct traffic_stop_reply reply = {.status = service_status_of(1)};

    test_call(&client->node.host, client->port, TRAFFIC_STOP, &request, sizeof(request), &reply,
              sizeof(reply));
    return (struct stopped){
        .status = (int)NATIVE(reply.status.status),
        .ledger = account_of(&reply.ledger),
        .elapsed_ns = NATIVE(reply.elapsed_ns),
    };
}

static struct account ledger_of(struct traffic_client *client, uint64_t stream_id, uint32_t role)
{
    struct traffic_ledger_request request = {.stream_id = le64_of(stream_id),
                                             .role = le32_of(role)};
    struct traffic_ledger_reply reply = {.status = service_status_of(1)};

    EXPECT(test_call(&client->node.host, client->port, TRAFFIC_LEDGER, &request, sizeof(request),
                     &reply, sizeof(reply)) == (long)sizeof(reply));
    EXPECT(NATIVE(reply.status.status) == ERROR_NONE);
    return account_of(&reply.ledger);
}

static int close_stream(struct traffic_client *client, uint64_t stream_id, uint32_t role)
{
    struct traffic_ledger_request request = {.stream_id = le64_of(stream_id),
                                             .role = le32_of(role)};

    return status_of(client, TRAFFIC_CLOSE, &request, sizeof(request));
}

struct role_of {
    struct traffic_client *client;
    uint32_t role;
};

static bool is_closed(void *context)
{
    struct role_of *wanted = context;

    return ledger_of(wanted->client, STREAM, wanted->role).closed == 1;
}

static void wait_closed(struct traffic_client *client)
{
    struct role_of wanted = {.client = client, .role = BLACKBOX_LEDGER_SOURCE};

    EXPECT(test_wait(is_closed, &wanted));
}

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

/* --- Whole streams ---------------------------------------------------------------------------- */

static void test_a_counted_stream_is_accounted_at_both_ends(void)
{
    struct traffic_client client;
    struct test_event last;

    client_open(&client);
    for (uint32_t check = 0; check <= 1; check++) {
        struct stream_plan plan = plan_to(client.name);
        plan.check = check;
        EXPECT(start(&client, &plan) == ERROR_NONE);
        wait_closed(&client);
        struct account source = ledger_of(&client, STREAM, BLACKBOX_LEDGER_SOURCE);
        struct account sink = ledger_of(&client, STREAM, BLACKBOX_LEDGER_SINK);
        EXPECT(source.sent == 1000 && source.acked == 1000);
        EXPECT(source.failed == 0 && source.unknown == 0);
        EXPECT(source.next_sequence == 1000 && source.size_bytes == 64);
        EXPECT(source.peer == 1 && source.peer_incarnation == INCARNATION);
        EXPECT(sink.received == 1000 && sink.next_sequence == 1000);
        EXPECT(sink.duplicates == 0 && sink.gaps == 0 && sink.corrupt == 0);
        EXPECT(sink.peer == 1 && sink.peer_incarnation == INCARNATION && sink.closed == 0);
        EXPECT(source.running_hash == digest(&plan, 1000));
        EXPECT(sink.running_hash == source.running_hash);
        EXPECT(test_node_count_events(&client.node, BLACKBOX_EVENT_STREAM, &last) >= 3);
        EXPECT(close_stream(&client, STREAM, BLACKBOX_LEDGER_SOURCE) == ERROR_NONE);
        EXPECT(close_stream(&client, STREAM, BLACKBOX_LEDGER_SINK) == ERROR_NONE);
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
    plan = plan_to(client.name);
    EXPECT(start(&client, &plan) == ERROR_NONE);
    /* Both openings, the source's end, and the sink's tick within 100 ms. */
    struct digests_wanted wanted = {.client = &client, .count = 4};
    EXPECT(test_wait(has_digests, &wanted));
    EXPECT(test_node_count_events(&client.node, BLACKBOX_EVENT_STREAM, &last) >= 4);
    EXPECT((last.arg0 & ~(1ull << 63)) == STREAM);
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
    plan = plan_to(client.name);
    plan.count = 0;
    plan.check = TRAFFIC_CHECK_HEADER;
    EXPECT(start(&client, &plan) == ERROR_NONE);
    EXPECT(close_stream(&client, STREAM, BLACKBOX_LEDGER_SOURCE) == ERROR_EXISTS);
    while (ledger_of(&client, STREAM, BLACKBOX_LEDGER_SOURCE).sent < 5000) {
    }
    struct stopped reply = stop(&client, STREAM, TEST_CALL_NS);
    EXPECT(reply.status == ERROR_NONE);
    EXPECT(reply.ledger.sent >= 5000 && reply.ledger.acked == reply.ledger.sent);
    EXPECT(reply.ledger.closed == 1);
    EXPECT(reply.elapsed_ns > 0);
    EXPECT(ledger_of(&client, STREAM, BLACKBOX_LEDGER_SINK).received == reply.ledger.sent);
    /* A stream that has ended answers at once, with the same. */
    struct stopped again = stop(&client, STREAM, 0);
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
    plan = plan_to(client.name);
    plan.count = 6;
    plan.interval_ns = 20000000;
    EXPECT(start(&client, &plan) == ERROR_NONE);
    wait_closed(&client);
    struct stopped reply = stop(&client, STREAM, 0);
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
    plan = plan_to(client.name);
    plan.count = 100;
    EXPECT(start(&client, &plan) == ERROR_NONE);
    wait_closed(&client);
    (void)ledger_of(&client, STREAM, BLACKBOX_LEDGER_SINK); /* behind the last message */
    EXPECT(test_node_count_events(&client.node, BLACKBOX_EVENT_MESSAGE, &last) == 100);
    EXPECT(last.arg0 == STREAM && last.arg1 == 99 && last.arg2 == INCARNATION && last.peer == 1);
    client_close(&client);
}

/* --- Requests --------------------------------------------------------------------------------- */

static void test_hostile_starts(void)
{
    struct traffic_client client;
    struct stream_plan plan;
    uint8_t zeros[128] = {0};

    client_open(&client);
    const struct stream_plan good = plan_to(client.name);
    for (size_t size = 0; size < sizeof(zeros); size++) {
        if (size != sizeof(plan)) {
            EXPECT(status_of(&client, TRAFFIC_START, zeros, size) == ERROR_INVALID);
        }
    }
    EXPECT(start(&client, (const struct stream_plan *)(const void *)zeros) == ERROR_INVALID);
    plan = good;
    plan.size_bytes = 47;
    EXPECT(start(&client, &plan) == ERROR_INVALID);
    plan.size_bytes = MESSAGE_BODY_MAXIMUM + 1;
    EXPECT(start(&client, &plan) == ERROR_INVALID);
    plan = good;
    plan.window = 0;
    EXPECT(start(&client, &plan) == ERROR_INVALID);
    plan.window = 65;
    EXPECT(start(&client, &plan) == ERROR_INVALID);
    plan = good;
    plan.check = 2;
    EXPECT(start(&client, &plan) == ERROR_INVALID);
    plan = good;
    plan.stream_id |= 1ull << 63;
    EXPECT(start(&client, &plan) == ERROR_INVALID);
    plan = good;
    plan.destination = NAME_MAKE(1, 9, 12345);
    EXPECT(start(&client, &plan) == ERROR_NOT_FOUND);
    plan.destination = NAME_NULL;
    EXPECT(start(&client, &plan) == ERROR_NOT_FOUND);
    plan = good;
    EXPECT(start(&client, &plan) == ERROR_NONE);
    EXPECT(start(&client, &plan) == ERROR_EXISTS);
    client_close(&client);
}

static void test_hostile_requests(void)
{
    struct traffic_client client;
    uint8_t zeros[64] = {0};

    client_open(&client);
    for (int32_t id = TRAFFIC_STOP; id <= TRAFFIC_CLOSE; id++) {
        for (size_t size = 0; size < sizeof(zeros); size++) {
            EXPECT(status_of(&client, id, zeros, size) < 0);
        }
    }
    EXPECT(status_of(&client, 2299, zeros, 8) == ERROR_INVALID);
    EXPECT(stop(&client, STREAM, 0).status == ERROR_NOT_FOUND);
    EXPECT(close_stream(&client, STREAM, BLACKBOX_LEDGER_SOURCE) == ERROR_NOT_FOUND);
    EXPECT(close_stream(&client, STREAM, BLACKBOX_LEDGER_SINK) == ERROR_NOT_FOUND);
    EXPECT(close_stream(&client, STREAM, 7) == ERROR_INVALID);
    client_close(&client);
}

static void test_a_start_without_memory_leaves_nothing(void)
{
    struct traffic_client client;
    struct stream_plan plan;
    int error = ERROR_NO_MEMORY;

    client_open(&client);
    plan = plan_to(client.name);
    plan.count = 1;
    for (uint64_t n = 1; error != ERROR_NONE && n < 50; n++) {
        /* Take the call's own allocations out of the way: the request and its reply port come
         * first. */
        heap_fail_after(&client.node.host, n + 2, false);
        error = start(&client, &plan);
        heap_fail_after(&client.node.host, 0, false);
        EXPECT(error == ERROR_NONE || error == ERROR_NO_MEMORY || error == 1);
    }
    wait_closed(&client);
    EXPECT(ledger_of(&client, STREAM, BLACKBOX_LEDGER_SOURCE).acked == 1);
    client_close(&client);
}

/* --- A sink and hand-made messages ------------------------------------------------------------ */

struct crafted {
    struct traffic_header header;
    uint8_t content[16];
};

static struct crafted craft(uint64_t stream_id, uint64_t sequence)
{
    struct crafted message = {.content = {0}};
    struct traffic_header header = {.check = le32_of(TRAFFIC_CHECK_CONTENT),
                                    .stream_id = le64_of(stream_id),
                                    .sequence = le64_of(sequence),
                                    .source_incarnation = le64_of(INCARNATION),
                                    .seed = le64_of(5)};

    traffic_content_write(&message, sizeof(message), &header);
    return message;
}

static void data_send(struct traffic_client *client, const void *body, size_t len_bytes)
{
    struct kmsg *message = kmsg_allocate(&client->node.host, len_bytes);

    EXPECT(message != NULL);
    memcpy(kmsg_body(message), body, len_bytes);
    kmsg_set_id(message, TRAFFIC_DATA);
    EXPECT(mach_msg_send(message, client->port, NULL, PORT_NONE, DEADLINE_NEVER) ==
           MACH_MSG_SUCCESS);
}

static void sequence_send(struct traffic_client *client, uint64_t sequence)
{
    struct crafted message = craft(STREAM, sequence);

    data_send(client, &message, sizeof(message));
}

static struct account sink_of(struct traffic_client *client)
{
    return ledger_of(client, STREAM, BLACKBOX_LEDGER_SINK);
}

static void test_duplicates_are_counted(void)
{
    struct traffic_client client;

    client_open(&client);
    sequence_send(&client, 0);
    sequence_send(&client, 1);
    uint64_t hash = sink_of(&client).running_hash;
    sequence_send(&client, 1);
    sequence_send(&client, 0);
    struct account ledger = sink_of(&client);
    EXPECT(ledger.received == 2 && ledger.duplicates == 2 && ledger.gaps == 0);
    EXPECT(ledger.next_sequence == 2 && ledger.running_hash == hash);
    client_close(&client);
}

static void test_gaps_are_counted(void)
{
    struct traffic_client client;

    client_open(&client);
    sequence_send(&client, 3); /* also when it is the first */
    sequence_send(&client, 4);
    sequence_send(&client, 9);
    sequence_send(&client, 5); /* late: below the next expected */
    struct account ledger = sink_of(&client);
    EXPECT(ledger.received == 3 && ledger.gaps == 7 && ledger.duplicates == 1);
    EXPECT(ledger.next_sequence == 10);
    EXPECT(ledger.received + ledger.gaps == ledger.next_sequence);
    client_close(&client);
}

static void test_corrupt_messages_change_nothing_else(void)
{
    struct traffic_client client;

    client_open(&client);
    sequence_send(&client, 0);
    struct account before = sink_of(&client);
    struct crafted message = craft(STREAM, 1);
    message.content[7] ^= 1;
    data_send(&client, &message, sizeof(message));
    message = craft(STREAM, 1);
    le64_add(&message.header.source_incarnation, 1); /* speaks for another life */
    data_send(&client, &message, sizeof(message));
    message = craft(STREAM, 1);
    le64_add(&message.header.seed, 1);
    traffic_content_write(&message, sizeof(message), &message.header); /* of another stream */
    data_send(&client, &message, sizeof(message));
    struct account after = sink_of(&client);
    EXPECT(after.corrupt == 3);
    after.corrupt = before.corrupt;
    EXPECT(memcmp(&before, &after, sizeof(after)) == 0);
    sequence_send(&client, 1);
    EXPECT(sink_of(&client).received == 2 && sink_of(&client).gaps == 0);
    client_close(&client);
}

struct refusals_wanted {
    struct traffic_client *client;
    uint64_t count;
};

static bool has_refused(void *context)
{
    struct refusals_wanted *wanted = context;
    struct test_event last;

    return test_node_count_events(&wanted->client->node, BLACKBOX_EVENT_STREAM_REFUSED, &last) !=
               0 &&
           last.arg1 == wanted->count;
}

static void test_what_has_no_ledger_is_told(void)
{
    struct traffic_client client;
    struct crafted message = craft(STREAM, 0);

    client_open(&client);
    data_send(&client, &message, 0);
    data_send(&client, &message, sizeof(message.header) - 1);
    STORE(message.header.magic, ~TRAFFIC_MAGIC);
    data_send(&client, &message, sizeof(message));
    message = craft(STREAM, 0);
    STORE(message.header.check, 2);
    data_send(&client, &message, sizeof(message));
    message = craft(STREAM | 1ull << 63, 0);
    data_send(&client, &message, sizeof(message));
    message = craft(STREAM, 0);
    message.content[0] ^= 1; /* a stream does not begin with a message that nobody sent */
    data_send(&client, &message, sizeof(message));
    struct refusals_wanted wanted = {.client = &client, .count = 6};
    EXPECT(test_wait(has_refused, &wanted));
    for (uint32_t i = 0; i < BLACKBOX_LEDGER_COUNT; i++) {
        EXPECT(NATIVE(test_node_ledgers(&client.node)[i].role) == BLACKBOX_LEDGER_FREE);
    }
    client_close(&client);
}

static void test_the_65th_stream_is_refused(void)
{
    struct traffic_client client;
    struct stream_plan plan;
    struct test_event last;

    client_open(&client);
    for (uint64_t i = 0; i < BLACKBOX_LEDGER_COUNT; i++) {
        struct crafted message = craft(i, 0);
        data_send(&client, &message, sizeof(message));
    }
    struct crafted message = craft(100, 0);
    data_send(&client, &message, sizeof(message));
    plan = plan_to(client.name);
    plan.stream_id = 101;
    EXPECT(start(&client, &plan) == ERROR_FULL);
    struct refusals_wanted wanted = {.client = &client, .count = 1};
    EXPECT(test_wait(has_refused, &wanted));
    (void)test_node_count_events(&client.node, BLACKBOX_EVENT_STREAM_REFUSED, &last);
    EXPECT(last.arg0 == 100 && last.arg2 == INCARNATION && last.peer == 1);
    EXPECT(close_stream(&client, 7, BLACKBOX_LEDGER_SINK) == ERROR_NONE);
    data_send(&client, &message, sizeof(message)); /* there is room again */
    EXPECT(ledger_of(&client, 100, BLACKBOX_LEDGER_SINK).received == 1);
    client_close(&client);
}

/* --- The end of a destination ----------------------------------------------------------------- */

static void test_a_stream_to_a_dead_port_ends_itself(void)
{
    struct traffic_client client;
    struct stream_plan plan;
    struct port *sink;

    client_open(&client);
    EXPECT(port_create(&client.node.host, &sink) == ERROR_NONE);
    port_set_limit(sink, PORT_LIMIT_MAXIMUM);
    plan = plan_to(port_name(sink));
    plan.count = 0;
    EXPECT(start(&client, &plan) == ERROR_NONE);
    for (int i = 0; i < 3; i++) { /* three are received, the window behind them is full */
        struct kmsg *message;
        EXPECT(mach_msg_receive(sink, &message, clock_now_ns() + TEST_CALL_NS) == MACH_MSG_SUCCESS);
        kmsg_free(message);
    }
    port_destroy(sink);
    wait_closed(&client);
    struct account ledger = ledger_of(&client, STREAM, BLACKBOX_LEDGER_SOURCE);
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
    plan = plan_to(port_name(sink));
    plan.count = 5;
    EXPECT(start(&client, &plan) == ERROR_NONE);
    while (ledger_of(&client, STREAM, BLACKBOX_LEDGER_SOURCE).sent < plan.count) {
    }
    for (int i = 0; i < 5; i++) {
        struct kmsg *message = NULL;
        EXPECT(mach_msg_receive(sink, &message, clock_now_ns() + TEST_CALL_NS) == MACH_MSG_SUCCESS);
        kmsg_free(message);
    }
    wait_closed(&client);
    struct account ledger = ledger_of(&client, STREAM, BLACKBOX_LEDGER_SOURCE);
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
    plan = plan_to(port_name(sink));
    EXPECT(start(&client, &plan) == ERROR_NONE);
    /* Nobody receives: the window fills and nothing more happens. */
    while (ledger_of(&client, STREAM, BLACKBOX_LEDGER_SOURCE).sent < plan.window) {
    }
    struct stopped reply = stop(&client, STREAM, 20000000);
    EXPECT(reply.status == ERROR_TIMED_OUT);
    EXPECT(reply.ledger.closed == 0 && reply.ledger.acked == 0);
    EXPECT(reply.ledger.sent == plan.window);
    EXPECT(close_stream(&client, STREAM, BLACKBOX_LEDGER_SOURCE) == ERROR_EXISTS);
    port_destroy(sink);
    wait_closed(&client);
    EXPECT(stop(&client, STREAM, 0).ledger.failed == reply.ledger.sent);
    client_close(&client);
}

static void test_a_stream_between_two_nodes(void)
{
    struct traffic_client source, sink;
    struct test_cable cable;
    struct stream_plan plan;

    client_open_as(&source, 1, false);
    client_open_as(&sink, 2, false);
    test_cable_open(&cable, &source.node, &sink.node);
    plan = plan_to(sink.name);
    plan.window = 64;
    plan.count = 5000;
    EXPECT(start(&source, &plan) == ERROR_NONE);
    wait_closed(&source);
    struct account sent = ledger_of(&source, STREAM, BLACKBOX_LEDGER_SOURCE);
    thread_set_host(&sink.node.host);
    struct account received = sink_of(&sink);
    EXPECT(sent.acked == 5000 && sent.failed == 0 && sent.unknown == 0);
    EXPECT(sent.peer == 2 && sent.peer_incarnation == INCARNATION);
    EXPECT(received.received == 5000 && received.gaps == 0 && received.duplicates == 0);
    EXPECT(received.peer == 1 && received.running_hash == sent.running_hash);
    test_cable_close(&cable);
    client_close(&sink);
    client_close(&source);
}

static void test_when_the_peer_dies_every_message_has_an_outcome(void)
{
    struct traffic_client source, sink;
    struct test_cable cable;
    struct stream_plan plan;

    client_open_as(&source, 1, false);
    client_open_as(&sink, 2, false);
    test_cable_open(&cable, &source.node, &sink.node);
    plan = plan_to(sink.name);
    plan.count = 0;
    EXPECT(start(&source, &plan) == ERROR_NONE);
    while (ledger_of(&source, STREAM, BLACKBOX_LEDGER_SOURCE).acked < 500) {
    }
    EXPECT(node_declare_dead(&source.node.host, 2, INCARNATION, NODE_DEATH_HOST) == ERROR_NONE);
    wait_closed(&source);
    struct stopped reply = stop(&source, STREAM, 0);
    EXPECT(reply.status == ERROR_NONE);
    EXPECT(reply.ledger.acked >= 500);
    EXPECT(reply.ledger.sent == reply.ledger.acked + reply.ledger.failed + reply.ledger.unknown);
    EXPECT(close_stream(&source, STREAM, BLACKBOX_LEDGER_SOURCE) == ERROR_NONE);
    test_cable_close(&cable);
    client_close(&sink);
    client_close(&source);
}

static const struct unit_test traffic_tests[] = {
    {"a counted stream is accounted at both ends", test_a_counted_stream_is_accounted_at_both_ends},
    {"digests tell both ends", test_digests_tell_both_ends},
    {"an endless stream stops when told", test_an_endless_stream_stops_when_told},
    {"an interval limits the rate", test_an_interval_limits_the_rate},
    {"trace tells every message", test_trace_tells_every_message},
    {"hostile starts", test_hostile_starts},
    {"hostile requests", test_hostile_requests},
    {"a start without memory leaves nothing", test_a_start_without_memory_leaves_nothing},
    {"duplicates are counted", test_duplicates_are_counted},
    {"gaps are counted", test_gaps_are_counted},
    {"corrupt messages change nothing else", test_corrupt_messages_change_nothing_else},
    {"what has no ledger is told", test_what_has_no_ledger_is_told},
    {"the 65th stream is refused", test_the_65th_stream_is_refused},
    {"a stream to a dead port ends itself", test_a_stream_to_a_dead_port_ends_itself},
    {"the last of a count waits for room", test_the_last_of_a_count_waits_for_room},
    {"a stop whose time passes says so", test_a_stop_whose_time_passes_says_so},
    {"a stream between two nodes", test_a_stream_between_two_nodes},
    {"when the peer dies every message has an outcome",
     test_when_the_peer_dies_every_message_has_an_outcome},
};
UNIT_SUITE("traffic", traffic_tests);
