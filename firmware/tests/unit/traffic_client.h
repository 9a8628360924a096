/* SPDX-License-Identifier: MIT
 *
 * A client of the traffic server on a whole node in this process, and the server's answers in
 * native words.
 */
#ifndef TRAFFIC_CLIENT_H
#define TRAFFIC_CLIENT_H

#include "whole_node.h"

#include <abi/services.h>
#include <servers/traffic/content.h>
#include <servers/traffic/source.h>

#define CLIENT_INCARNATION 0x300000002ull /* of every node */
#define CLIENT_STREAM 42ull               /* of the plans below, and of the ledgers asked for */

struct traffic_client {
    struct test_node node;
    struct port *port; /* the server's */
    uint64_t name;     /* of that port */
};

/* Bring up a node, 1 without a trace of every message if nothing is said, and its server. */
void client_open(struct traffic_client *client);
void client_open_as(struct traffic_client *client, uint32_t node_id, bool trace);
void client_close(struct traffic_client *client);

/* Two nodes with servers, 1 and 2, joined: whole_node.h. */
struct traffic_clients {
    struct traffic_client source;
    struct traffic_client sink;
    struct test_cable cable;
};

void clients_open(struct traffic_clients *clients);
void clients_close(struct traffic_clients *clients);

/* The status of any request; 1: there was no answer. */
int client_status(struct traffic_client *client, int32_t id, const void *body, size_t len_bytes);

/* 1,000 messages of 64 bytes with checked content, 16 of them outstanding; START. */
struct stream_plan client_plan_to(uint64_t destination);
int client_start(struct traffic_client *client, const struct stream_plan *plan);

/* A ledger in native words; those of the other end's kind are 0. */
struct native_ledger {
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

/* The answer to STOP. */
struct client_stopped {
    int status;
    struct native_ledger ledger;
    uint64_t elapsed_ns;
};

/* STOP, LEDGER of either role or of the sink, CLOSE. */
struct client_stopped client_stop(struct traffic_client *client, uint64_t stream_id,
                                  uint64_t timeout_ns);
struct native_ledger client_ledger(struct traffic_client *client, uint64_t stream_id,
                                   uint32_t role);
struct native_ledger client_sink(struct traffic_client *client);
int client_close_stream(struct traffic_client *client, uint64_t stream_id, uint32_t role);

/* Expect that the source ends before long. */
void client_wait_closed(struct traffic_client *client);

#endif
