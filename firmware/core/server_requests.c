/* SPDX-License-Identifier: MIT
 *
 * Requests to the servers port but for WRITE, LOAD and UNLOAD, which are server_load.c's: who the
 * loader is, ranges and ports, what is there. docs/spec/kern_server.md, section 2.
 */
#include "server_requests.h"
#include "node.h"

#include <kernel/link_manager.h>
#include <kernel/string.h>

void server_request_status(struct server_request_context *request, int status)
{
    service_answer_status(request->table->host, request->message, status);
}

struct server *server_find_id(struct server_table *table, uint32_t id)
{
    struct server *server = table->first;

    while (server != NULL && server->id != id) {
        server = server->next;
    }
    return server;
}

static struct server *find_name(struct server_table *table, const char *name)
{
    struct server *server = table->first;

    while (server != NULL && strcmp(server->name, name) != 0) {
        server = server->next;
    }
    return server;
}

struct server *server_request_find(struct server_request_context *request)
{
    struct server_id_request body;
    struct server *server = NULL;

    if (!service_read(request->message, &body, sizeof(body))) {
        server_request_status(request, ERROR_INVALID);
        return NULL;
    }
    server = server_find_id(request->table, le32_load(body.server_id));
    if (server == NULL) {
        server_request_status(request, ERROR_NOT_FOUND);
    }
    return server;
}

/* --- ATTACH ----------------------------------------------------------------------------------- */

static void attach(struct server_request_context *request)
{
    struct server_table *table = request->table;
    const struct server_platform *platform = &table->platform;
    struct server_attach_reply reply = {
        .version = le32_of(SERVER_INTERFACE_VERSION),
        .pointer_bytes = le32_of(sizeof(void *)),
        .area_address = le64_of((uintptr_t)platform->area),
        .area_bytes = le64_of(platform->area_bytes),
        .page_bytes = le32_of(ARCH_PAGE_SIZE),
    };
    struct service_promise promise;

    memcpy(reply.build_id, platform->build_id, sizeof(reply.build_id));
    int error = service_promise_make(table->host, request->message, sizeof(reply), &promise);
    if (error != ERROR_NONE) {
        server_request_status(request, error);
        return;
    }
    port_retain(promise.reply);
    lock_acquire(&table->lock);
    struct port *old = table->loader;
    table->loader = promise.reply;
    lock_release(&table->lock);
    if (old != NULL) {
        port_release(old);
    }
    service_promise_keep(&promise, &reply);
}

/* --- RESERVE and RELEASE ---------------------------------------------------------------------- */

static bool sizes_are_good(const struct server_reserve_request *wanted)
{
    uint64_t total_bytes = (uint64_t)le32_load(wanted->code_bytes) +
                           le32_load(wanted->const_bytes) + le32_load(wanted->data_bytes);

    return total_bytes != 0 && total_bytes <= SERVER_IMAGE_MAXIMUM;
}

static uint32_t whole_pages(le32 len_bytes)
{
    return (le32_load(len_bytes) + ARCH_PAGE_SIZE - 1) & ~(ARCH_PAGE_SIZE - 1);
}

static struct server *server_create(struct server_table *table, const char *name)
{
    struct server *server = heap_allocate(table->host, sizeof(*server));

    if (server == NULL) {
        return NULL;
    }
    memset(server, 0, sizeof(*server));
    server->table = table;
    server->host = table->host;
    server->id = ++table->next_id;
    server->state = SERVER_ALLOCATED;
    memcpy(server->name, name, sizeof(server->name));
    lock_acquire(&table->lock);
    struct server **link = &table->first;
    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = server;
    lock_release(&table->lock);
    return server;
}

void server_destroy(struct server *server)
{
    struct server_table *table = server->table;

    server_ports_release(server);
    server_area_free(&table->area, server->image, server_image_bytes(server));
    lock_acquire(&table->lock);
    struct server **link = &table->first;
    while (*link != server) {
        link = &(*link)->next;
    }
    *link = server->next;
    lock_release(&table->lock);
    heap_free(table->host, server);
}

static int range_replace(struct server *server, const struct server_reserve_request *wanted)
{
    struct server_area *area = &server->table->area;
    uint32_t code_bytes = whole_pages(wanted->code_bytes);
    uint32_t const_bytes = whole_pages(wanted->const_bytes);
    uint32_t data_bytes = whole_pages(wanted->data_bytes);

    if (server->is_mapped) {
        server_image_unmap(server);
    }
    server_area_free(area, server->image, server_image_bytes(server));
    server->image = server_area_allocate(area, code_bytes + const_bytes + data_bytes);
    server->code_bytes = server->image != NULL ? code_bytes : 0;
    server->const_bytes = server->image != NULL ? const_bytes : 0;
    server->data_bytes = server->image != NULL ? data_bytes : 0;
    return server->image != NULL ? ERROR_NONE : ERROR_NO_MEMORY;
}

static void reserve_answer(struct server_request_context *request, const struct server *server)
{
    uint8_t body[sizeof(struct server_reserve_reply) + SERVER_PORTS_MAXIMUM * sizeof(le64)];
    struct server_reserve_reply head = {
        .server_id = le32_of(server->id),
        .address = le64_of((uintptr_t)server->image),
    };
    size_t used_bytes = sizeof(head);

    memcpy(body, &head, sizeof(head));
    for (uint32_t i = 0; i < server->port_count; i++, used_bytes += sizeof(le64)) {
        le64 name = le64_of(server->ports[i].name64);
        memcpy(body + used_bytes, &name, sizeof(name));
    }
    service_answer(request->table->host, request->message, body, used_bytes);
}

static int reserve_server(struct server_table *table, const struct server_reserve_request *wanted,
                          const struct server_reserve_port *ports, struct server **out)
{
    struct server *server = find_name(table, wanted->name);
    bool is_new = server == NULL;

    if (!is_new && server_state(server) != SERVER_ALLOCATED) {
        return ERROR_EXISTS;
    }
    if (is_new) {
        server = server_create(table, wanted->name);
    }
    if (server == NULL) {
        return ERROR_NO_MEMORY;
    }
    int error = server_ports_reserve(server, ports, le32_load(wanted->port_count));
    if (error == ERROR_NONE) {
        error = range_replace(server, wanted);
    }
    if (error == ERROR_NO_MEMORY || (error != ERROR_NONE && is_new)) {
        server_destroy(server); /* what it had may be gone already */
    } else if (error == ERROR_NONE && (le32_load(wanted->flags) & SERVER_FLAG_ARM) != 0) {
        server_ports_arm(server);
    }
    *out = server;
    return error;
}

static void reserve(struct server_request_context *request)
{
    struct server_reserve_request wanted;
    const struct server_reserve_port *ports = NULL;
    struct server *server = NULL;
    int error = ERROR_INVALID;

    if (request->len_bytes >= sizeof(wanted)) {
        memcpy(&wanted, request->body, sizeof(wanted));
        ports = (const struct server_reserve_port *)(const void *)(request->body + sizeof(wanted));
        if (le32_load(wanted.port_count) <= SERVER_PORTS_MAXIMUM &&
            request->len_bytes == sizeof(wanted) + le32_load(wanted.port_count) * sizeof(*ports) &&
            wanted.name[0] != '\0' && wanted.name[sizeof(wanted.name) - 1] == '\0' &&
            sizes_are_good(&wanted)) {
            error = reserve_server(request->table, &wanted, ports, &server);
        }
    }
    if (error != ERROR_NONE) {
        server_request_status(request, error);
    } else {
        reserve_answer(request, server);
    }
}

static void release(struct server_request_context *request)
{
    struct server *server = server_request_find(request);

    if (server == NULL) {
        return;
    }
    if (server_state(server) != SERVER_ALLOCATED) {
        server_request_status(request, ERROR_BUSY);
        return;
    }
    if (server->is_mapped) {
        server_image_unmap(server);
    }
    server_destroy(server);
    server_request_status(request, ERROR_NONE);
}

static void arm(struct server_request_context *request)
{
    struct server *server = server_request_find(request);

    if (server == NULL) {
        return;
    }
    if (server_state(server) != SERVER_ALLOCATED) {
        server_request_status(request, ERROR_BUSY);
        return;
    }
    server_ports_arm(server);
    server_request_status(request, ERROR_NONE);
}

/* --- INFO and LIST ---------------------------------------------------------------------------- */

static void info(struct server_request_context *request)
{
    uint8_t body[sizeof(struct server_info_reply) +
                 SERVER_PORTS_MAXIMUM * sizeof(struct server_info_port)];
    struct server *server = server_request_find(request);

    if (server == NULL) {
        return;
    }
    uint32_t links = node_driver_lives(server->host, server) +
                     link_manager_driver_links(server->host, (uintptr_t)server->image,
                                               server_image_bytes(server));
    struct server_info_reply head = {
        .server_id = le32_of(server->id),
        .state = le32_of(server_state(server)),
        .address = le64_of((uintptr_t)server->image),
        .code_bytes = le32_of(server->code_bytes),
        .const_bytes = le32_of(server->const_bytes),
        .data_bytes = le32_of(server->data_bytes),
        .links = le32_of(links),
        .com_port = le64_of(server->com != NULL ? port_name(server->com) : 0),
        .log_level = le32_of(__atomic_load_n(&server->log.level, __ATOMIC_RELAXED)),
        .loads = le32_of(server->loads),
        .log_lost = le64_of(__atomic_load_n(&server->log.lost, __ATOMIC_RELAXED)),
        .messages = le64_of(__atomic_load_n(&server->messages, __ATOMIC_RELAXED)),
        .port_count = le32_of(server->port_count),
    };
    memcpy(head.name, server->name, sizeof(head.name));
    memcpy(body, &head, sizeof(head));
    for (uint32_t i = 0; i < server->port_count; i++) {
        struct server_port *entry = &server->ports[i];
        bool is_mapped = __atomic_load_n(&entry->style, __ATOMIC_ACQUIRE) != SERVER_PORT_UNMAPPED;
        struct server_info_port port = {
            .name = le64_of(entry->name64),
            .flags = le32_of(entry->flags | (is_mapped ? SERVER_PORT_MAPPED : 0)),
            .waiting = le32_of(port_message_count(entry->port)),
        };
        memcpy(body + sizeof(head) + i * sizeof(port), &port, sizeof(port));
    }
    service_answer(server->host, request->message, body,
                   sizeof(head) + server->port_count * sizeof(struct server_info_port));
}

static uint32_t server_count(const struct server_table *table)
{
    uint32_t count = 0;

    for (const struct server *server = table->first; server != NULL; server = server->next) {
        count++;
    }
    return count;
}

static void list(struct server_request_context *request)
{
    uint32_t count = server_count(request->table);
    size_t len_bytes = sizeof(struct server_list_reply) + count * sizeof(le32);
    struct server_list_reply head = {.count = le32_of(count)};
    uint8_t *body = NULL;

    if (request->len_bytes == 0) {
        body = heap_allocate(request->table->host, len_bytes);
    }
    if (body == NULL) {
        server_request_status(request, request->len_bytes == 0 ? ERROR_NO_MEMORY : ERROR_INVALID);
        return;
    }
    memcpy(body, &head, sizeof(head));
    size_t offset = sizeof(head);
    for (const struct server *server = request->table->first; server != NULL;
         server = server->next, offset += sizeof(le32)) {
        le32 id = le32_of(server->id);
        memcpy(body + offset, &id, sizeof(id));
    }
    service_answer(request->table->host, request->message, body, len_bytes);
    heap_free(request->table->host, body);
}

/* --- All of them ------------------------------------------------------------------------------ */

void server_request_serve(struct server_table *table, struct kmsg *message)
{
    struct server_request_context request = {
        .table = table,
        .message = message,
        .body = kmsg_body(message),
        .len_bytes = kmsg_body_size(message),
    };

    if (kmsg_source_node(message) != 0) {
        server_request_status(&request, ERROR_DENIED);
        return;
    }
    switch (kmsg_id(message)) {
    case SERVERS_ATTACH:
        attach(&request);
        break;
    case SERVERS_RESERVE:
        reserve(&request);
        break;
    case SERVERS_RELEASE:
        release(&request);
        break;
    case SERVERS_WRITE:
        server_request_write(&request);
        break;
    case SERVERS_LOAD:
        server_request_load(&request);
        break;
    case SERVERS_UNLOAD:
        server_request_unload(&request);
        break;
    case SERVERS_INFO:
        info(&request);
        break;
    case SERVERS_LIST:
        list(&request);
        break;
    case SERVERS_ARM:
        arm(&request);
        break;
    default:
        server_request_status(&request, ERROR_INVALID);
        break;
    }
}
