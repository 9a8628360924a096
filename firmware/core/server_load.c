/* SPDX-License-Identifier: MIT
 *
 * WRITE, LOAD and UNLOAD of the servers port (docs/spec/kern_server.md, section 2): the image is put
 * in place here, the commands are the main thread's, who answers.
 */
#include "node.h"
#include "server_requests.h"

#include <kernel/link_manager.h>
#include <kernel/string.h>

#define QUIESCE_TIMEOUT_NS 2000000000ull
#define FORCE_GRACE_NS 250000000ull /* then a server that is forced out is not waited for */

void server_request_write(struct server_request_context *request)
{
    struct server_write_request head;
    int error = ERROR_INVALID;

    if (request->len_bytes >= sizeof(head)) {
        memcpy(&head, request->body, sizeof(head));
        struct server *server = server_find_id(request->table, le32_load(head.server_id));
        if (server == NULL) {
            error = ERROR_NOT_FOUND;
        } else if (server_state(server) != SERVER_ALLOCATED) {
            error = ERROR_BUSY;
        } else {
            error = server_image_write(server, le32_load(head.offset), request->body + sizeof(head),
                                       request->len_bytes - sizeof(head));
        }
    }
    server_request_status(request, error);
}

static struct server_order *order_make(struct server_table *table, enum server_order_kind kind,
                                       const void *commands, uint32_t count)
{
    size_t commands_bytes = count * sizeof(struct server_command);
    struct server_order *order = heap_allocate(table->host, sizeof(*order) + commands_bytes);

    if (order == NULL) {
        return NULL;
    }
    *order = (struct server_order){.kind = kind, .command_count = count};
    if (count != 0) {
        memcpy(order->commands, commands, commands_bytes);
    }
    return order;
}

/* Everything of a load but the reply: the image is in place, the order is made. */
static int load_prepare(struct server_request_context *request,
                        const struct server_load_request *head, struct server **out,
                        struct server_order **order)
{
    struct server_table *table = request->table;
    struct server *server = server_find_id(table, le32_load(head->server_id));
    uint32_t count = le32_load(head->command_count);
    uint32_t image_bytes = le32_load(head->image_bytes);
    size_t commands_bytes = count * sizeof(struct server_command);

    if (count > SERVER_COMMANDS_MAXIMUM ||
        request->len_bytes - sizeof(*head) != commands_bytes + (uint64_t)image_bytes) {
        return ERROR_INVALID;
    }
    if (server == NULL) {
        return ERROR_NOT_FOUND;
    }
    if (server_state(server) != SERVER_ALLOCATED) {
        return ERROR_BUSY;
    }
    *out = server;
    if (memcmp(head->build_id, table->platform.build_id, sizeof(head->build_id)) != 0) {
        return ERROR_STALE;
    }
    const uint8_t *commands = request->body + sizeof(*head);
    int error = server_image_write(server, 0, commands + commands_bytes, image_bytes);
    if (error == ERROR_NONE) {
        error = server_image_commit(server, image_bytes);
    }
    if (error != ERROR_NONE) {
        return error;
    }
    *order = order_make(table, SERVER_ORDER_LOAD, commands, count);
    return *order != NULL ? ERROR_NONE : ERROR_NO_MEMORY;
}

static void load_start(struct server_request_context *request, struct server *server,
                       struct server_order *order)
{
    bool was_armed = server->is_armed;
    int error = service_promise_make(request->table->host, request->message,
                                     sizeof(struct server_load_reply), &order->promise);

    if (error != ERROR_NONE) {
        heap_free(server->host, order);
        server_image_unmap(server);
        server_request_status(request, error);
        return;
    }
    server_ports_disarm(server);
    server->loads++;
    error = server_thread_start(server, order);
    if (error != ERROR_NONE) {
        struct server_outcome outcome = {.status = error};
        server_image_unmap(server);
        if (was_armed) {
            server_ports_arm(server);
        }
        server_order_finish(server, order, &outcome);
    }
}

void server_request_load(struct server_request_context *request)
{
    struct server_load_request head;
    struct server_order *order = NULL;
    struct server *server = NULL;
    int error = ERROR_INVALID;

    if (request->len_bytes >= sizeof(head)) {
        memcpy(&head, request->body, sizeof(head));
        error = load_prepare(request, &head, &server, &order);
    }
    if (error == ERROR_NONE) {
        load_start(request, server, order);
        return;
    }
    if (server != NULL) {
        server_image_unmap(server);
    }
    server_request_status(request, error);
}

/* The links that run over drivers of this server go down in order; from a driver of the mnl_*()
 * interface its nodes are taken. */
static int quiesce(struct server *server, uint32_t flags)
{
    uintptr_t start = (uintptr_t)server->image;
    size_t len_bytes = server_image_bytes(server);

    uint32_t links = link_manager_driver_links(server->host, start, len_bytes);
    uint32_t lives = node_driver_lives(server->host, server);

    if ((flags & SERVER_UNLOAD_QUIESCE) == 0) {
        return links + lives == 0 ? ERROR_NONE : ERROR_BUSY;
    }
    if (lives != 0) {
        node_detach_driver(server->host, server, false);
    }
    return links == 0 ? ERROR_NONE
                      : link_manager_release_driver(server->host, start, len_bytes,
                                                    clock_now_ns() + QUIESCE_TIMEOUT_NS);
}

/* After this the main thread can be told to end. */
static int unload_begin(struct server *server, uint32_t flags)
{
    enum server_state state = server_state(server);

    bool is_stuck = state == SERVER_LOADING || state == SERVER_UNLOADING;
    bool is_ready = state == SERVER_LOADED || state == SERVER_FAILED;
    if (server->thread == NULL || !(is_ready || (is_stuck && (flags & SERVER_UNLOAD_FORCE) != 0))) {
        return ERROR_BUSY;
    }
    int error = quiesce(server, flags);
    if (error == ERROR_NONE) {
        server_set_state(server, SERVER_UNLOADING);
        if ((flags & SERVER_UNLOAD_FORCE) != 0) {
            /* The caller is the table's thread, which looks at it before it waits again. */
            server->kill_ns = clock_now_ns() + FORCE_GRACE_NS;
        }
    }
    return error;
}

bool server_shut_down(struct server *server)
{
    if (unload_begin(server, SERVER_UNLOAD_QUIESCE | SERVER_UNLOAD_FORCE) != ERROR_NONE) {
        return false;
    }
    server_thread_end(server);
    return true;
}

void server_request_unload(struct server_request_context *request)
{
    struct server_unload_request head = {.flags = le32_of(0)};
    struct server_order *order = NULL;
    struct server *server = NULL;
    int error = ERROR_INVALID;

    if (request->len_bytes >= sizeof(head)) {
        memcpy(&head, request->body, sizeof(head));
    }
    uint32_t count = le32_load(head.command_count);
    if (request->len_bytes >= sizeof(head) && count <= SERVER_COMMANDS_MAXIMUM &&
        request->len_bytes == sizeof(head) + count * sizeof(struct server_command)) {
        server = server_find_id(request->table, le32_load(head.server_id));
        error = server != NULL ? ERROR_NONE : ERROR_NOT_FOUND;
    }
    if (error == ERROR_NONE) {
        order =
            order_make(request->table, SERVER_ORDER_UNLOAD, request->body + sizeof(head), count);
        error = order != NULL ? ERROR_NONE : ERROR_NO_MEMORY;
    }
    if (error == ERROR_NONE) {
        order->flags = le32_load(head.flags);
        error = service_promise_make(request->table->host, request->message,
                                     sizeof(struct server_unload_reply), &order->promise);
    }
    if (error != ERROR_NONE) {
        heap_free(request->table->host, order);
        server_request_status(request, error);
        return;
    }
    error = unload_begin(server, order->flags);
    if (error == ERROR_NONE) {
        server_thread_order(server, order);
    } else {
        struct server_outcome outcome = {.status = error};
        server_order_finish(server, order, &outcome);
    }
}
