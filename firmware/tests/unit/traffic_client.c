/* SPDX-License-Identifier: MIT
 *
 * A client of the traffic server; see traffic_client.h.
 */
#include "traffic_client.h"
#include "native.h"
#include "unit.h"

#include <kernel/service.h>

#define ARENA_BYTES (8u << 20)

void client_open_as(struct traffic_client *client, uint32_t node_id, bool trace)
{
    test_node_open(&client->node, node_id, CLIENT_INCARNATION, ARENA_BYTES, trace);
    EXPECT(kern_server_load(&client->node.host, "traffic") == ERROR_NONE);
    client->name = kern_server_service_name(&client->node.host, "traffic");
    client->port = port_from_name(&client->node.host, client->name);
    EXPECT(client->port != NULL);
}

void client_open(struct traffic_client *client)
{
    client_open_as(client, 1, false);
}

void client_close(struct traffic_client *client)
{
    thread_set_host(&client->node.host);
    port_release(client->port);
    test_node_close(&client->node);
}

void clients_open(struct traffic_clients *clients)
{
    client_open_as(&clients->source, 1, false);
    client_open_as(&clients->sink, 2, false);
    test_cable_open(&clients->cable, &clients->source.node, &clients->sink.node);
}

void clients_close(struct traffic_clients *clients)
{
    test_cable_close(&clients->cable);
    client_close(&clients->sink);
    client_close(&clients->source);
}

int client_status(struct traffic_client *client, int32_t id, const void *body, size_t len_bytes)
{
    return test_call_status(&client->node.host, client->port, id, body, len_bytes);
}

struct stream_plan client_plan_to(uint64_t destination)
{
    return (struct stream_plan){.stream_id = CLIENT_STREAM,
                                .destination = destination,
                                .size_bytes = 64,
                                .window = 16,
                                .count = 1000,
                                .seed = 5,
                                .check = TRAFFIC_CHECK_CONTENT};
}

int client_start(struct traffic_client *client, const struct stream_plan *plan)
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

    return client_status(client, TRAFFIC_START, &request, sizeof(request));
}

static struct native_ledger native_ledger_of(const struct blackbox_ledger *ledger)
{
    return (struct native_ledger){
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

struct client_stopped client_stop(struct traffic_client *client, uint64_t stream_id,
                                  uint64_t timeout_ns)
{
    struct traffic_stop_request request = {.stream_id = le64_of(stream_id),
                                           .timeout_ns = le64_of(timeout_ns)};
    struct traffic_stop_reply reply = {.status = service_status_of(1)};

    test_call(&client->node.host, client->port, TRAFFIC_STOP, &request, sizeof(request), &reply,
              sizeof(reply));
    return (struct client_stopped){
        .status = (int)NATIVE(reply.status.status),
        .ledger = native_ledger_of(&reply.ledger),
        .elapsed_ns = NATIVE(reply.elapsed_ns),
    };
}

struct native_ledger client_ledger(struct traffic_client *client, uint64_t stream_id, uint32_t role)
{
    struct traffic_ledger_request request = {.stream_id = le64_of(stream_id),
                                             .role = le32_of(role)};
    struct traffic_ledger_reply reply = {.status = service_status_of(1)};

    EXPECT(test_call(&client->node.host, client->port, TRAFFIC_LEDGER, &request, sizeof(request),
                     &reply, sizeof(reply)) == (long)sizeof(reply));
    EXPECT(NATIVE(reply.status.status) == ERROR_NONE);
    return native_ledger_of(&reply.ledger);
}

int client_close_stream(struct traffic_client *client, uint64_t stream_id, uint32_t role)
{
    struct traffic_ledger_request request = {.stream_id = le64_of(stream_id),
                                             .role = le32_of(role)};

    return client_status(client, TRAFFIC_CLOSE, &request, sizeof(request));
}

struct native_ledger client_sink(struct traffic_client *client)
{
    return client_ledger(client, CLIENT_STREAM, BLACKBOX_LEDGER_SINK);
}

struct role_of {
    struct traffic_client *client;
    uint32_t role;
};

static bool is_closed(void *context)
{
    struct role_of *wanted = context;

    return client_ledger(wanted->client, CLIENT_STREAM, wanted->role).closed == 1;
}

void client_wait_closed(struct traffic_client *client)
{
    struct role_of wanted = {.client = client, .role = BLACKBOX_LEDGER_SOURCE};

    EXPECT(test_wait(is_closed, &wanted));
}
