/* SPDX-License-Identifier: MIT
 *
 * Requests to the servers port (docs/spec/kern_server.md, section 2), as the files that answer them
 * share them. The table's thread only. Private to core.
 */
#ifndef CORE_SERVER_REQUESTS_H
#define CORE_SERVER_REQUESTS_H

#include "server_private.h"

struct server_request_context {
    struct server_table *table;
    struct kmsg *message; /* taken over by whoever answers */
    const uint8_t *body;
    size_t len_bytes;
};

void server_request_status(struct server_request_context *request, int status);
struct server *server_find_id(struct server_table *table, uint32_t id);
/* The server that a request of the form {id, 0} is about; null: answered. */
struct server *server_request_find(struct server_request_context *request);

/* server_requests.c: answer a request of whatever id. */
void server_request_serve(struct server_table *table, struct kmsg *message);
void server_destroy(struct server *server);

/* server_load.c */
void server_request_write(struct server_request_context *request);
void server_request_load(struct server_request_context *request);
void server_request_unload(struct server_request_context *request);
/* As an unload that nobody waits for, without commands; false: not now. */
bool server_shut_down(struct server *server);

#endif
