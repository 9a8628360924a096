/* SPDX-License-Identifier: MIT
 *
 * Kernel server `node`: the node server. It owns the bootstrap port, is told by the kernel of this
 * node and of every other that has one, keeps the directory of this node's services by name, and
 * looks names up here and elsewhere (docs/spec/flipc.md, section 4).
 *
 * It waits for nobody. A question for another node goes there together with the right to answer it;
 * one for any node goes from server to server, in the order of their ids, until one of them knows.
 */
#include "directory.h"
#include <abi/flipc.h>
#include <abi/services.h>
#include <kernel/host.h>
#include <kernel/kern_server.h>
#include <kernel/node.h>
#include <kernel/service.h>
#include <kernel/service_thread.h>
#include <kernel/string.h>

struct node_server {
    struct mach_host *host;
    struct service_thread service;
    struct directory directory;
    struct port **peers; /* by node id: send rights to their bootstrap ports; null: none */
};

/* --- Registration ----------------------------------------------------------------------------- */

static void peer_set(struct node_server *server, uint32_t node_id, struct port *port)
{
    if (node_id >= server->host->constants.nodes_max) {
        return;
    }
    if (server->peers[node_id] != NULL) {
        port_release(server->peers[node_id]);
    }
    server->peers[node_id] = port;
}

/* Only this kernel's word counts. */
static void registration_handle(struct node_server *server, struct kmsg *message)
{
    struct node_registration_body body;
    struct port *port = NULL;

    if (kmsg_is_from_this_kernel(message) && service_read(message, &body, sizeof(body))) {
        if (le32_load(body.identifier) == NODE_REGISTRATION_REMOTE) {
            port = kmsg_take_reply_port(message);
        }
        if (le32_load(body.identifier) != NODE_REGISTRATION_LOCAL) {
            peer_set(server, le32_load(body.node_id), port);
        }
    }
    kmsg_free(message);
}

/* --- The directory ---------------------------------------------------------------------------- */

static bool is_name(const char *name, size_t size)
{
    return name[0] != '\0' && name[size - 1] == '\0';
}

static void register_handle(struct node_server *server, struct kmsg *message)
{
    struct node_service_request request;
    enum port_disposition right = PORT_NONE;
    struct port *port = NULL;
    int status = ERROR_INVALID;

    if (kmsg_source_node(message) != server->host->node_id) {
        status = ERROR_DENIED;
    } else if (service_read(message, &request, sizeof(request)) &&
               is_name(request.name, sizeof(request.name)) && kmsg_part_count(message) == 1 &&
               kmsg_part(message, 0).type == MESSAGE_PORT &&
               kmsg_part(message, 0).disposition == PORT_SEND) {
        port = kmsg_take_port(message, 0, 0, &right);
        status =
            port == NULL ? ERROR_INVALID : directory_add(&server->directory, request.name, port);
    }
    if (port != NULL && status != ERROR_NONE) {
        port_release(port);
    }
    if (port != NULL && status == ERROR_NONE) {
        (void)port_notify_dead(port, server->service.port); /* without it, lookups find out */
    }
    service_answer_status(server->host, message, status);
}

static void unregister_handle(struct node_server *server, struct kmsg *message)
{
    struct node_service_request request;
    int status = ERROR_INVALID;

    if (kmsg_source_node(message) != server->host->node_id) {
        status = ERROR_DENIED;
    } else if (service_read(message, &request, sizeof(request)) &&
               is_name(request.name, sizeof(request.name))) {
        status = directory_remove(&server->directory, request.name);
    }
    service_answer_status(server->host, message, status);
}

/* --- Looking up ------------------------------------------------------------------------------- */

/* A send right to a service of this node: registered, or one that the kernel knows; null: none. */
static struct port *service_find(struct node_server *server, const char *name)
{
    struct port *port = directory_find(&server->directory, name);

    return port != NULL ? port
                        : port_from_name(server->host, service_port_name(server->host, name));
}

/* Answer with the status and a right to the port, which is taken over. */
static void answer_port(struct node_server *server, struct kmsg *message, struct port *port)
{
    struct service_status status = service_status_of(ERROR_NONE);
    struct message_item item = {.type = MESSAGE_PORT, .transfer = PORT_MOVE_SEND, .port = port};
    enum port_disposition right = kmsg_reply_disposition(message);
    struct port *reply = kmsg_take_reply_port(message);
    int32_t id = kmsg_id(message) + SERVICE_REPLY_OFFSET;
    struct kmsg *answer;

    kmsg_free(message);
    if (reply == NULL) {
        port_release(port);
        return;
    }
    if (kmsg_create(server->host, sizeof(status), &item, 1, &answer) != ERROR_NONE) {
        port_release(port);
        port_release_right(reply, right);
        return;
    }
    memcpy(kmsg_body(answer), &status, sizeof(status));
    kmsg_set_id(answer, id);
    if (mach_msg_reply(answer, reply, right) != MACH_MSG_SUCCESS) {
        kmsg_free(answer);
    }
}

/* The question goes on to another node server, which answers it; false: it did not. */
static bool pass_on(struct node_server *server, struct kmsg *message, uint32_t node_id,
                    const struct node_lookup_request *request)
{
    enum port_disposition right = kmsg_reply_disposition(message);
    struct node_lookup_request asked = *request;
    struct port *reply;
    struct kmsg *question;

    if (node_id >= server->host->constants.nodes_max || server->peers[node_id] == NULL) {
        return false;
    }
    question = kmsg_allocate(server->host, sizeof(asked));
    if (question == NULL) {
        return false;
    }
    if (le32_load(asked.origin) == 0) {
        asked.origin = le32_of(server->host->node_id + 1u);
    }
    memcpy(kmsg_body(question), &asked, sizeof(asked));
    kmsg_set_id(question, NODE_LOOKUP);
    reply = kmsg_take_reply_port(message);
    if (mach_msg_forward(question, server->peers[node_id], reply, right) == MACH_MSG_SUCCESS) {
        kmsg_free(message);
        return true;
    }
    kmsg_free(question);
    kmsg_put_reply_port(message, reply);
    return false;
}

/* The node server that is asked after this one when nobody has known yet; nodes_max: none. */
static uint32_t next_asked(const struct node_server *server,
                           const struct node_lookup_request *request)
{
    uint32_t origin = le32_load(request->origin);
    uint32_t id = origin == 0 ? 0 : server->host->node_id + 1u;

    while (id < server->host->constants.nodes_max &&
           (server->peers[id] == NULL || id + 1u == origin)) {
        id++;
    }
    return id;
}

static void lookup_handle(struct node_server *server, struct kmsg *message)
{
    struct node_lookup_request request;
    struct port *port = NULL;
    uint32_t asked;

    if (!service_read(message, &request, sizeof(request)) ||
        !is_name(request.name, sizeof(request.name))) {
        service_answer_status(server->host, message, ERROR_INVALID);
        return;
    }
    asked = le32_load(request.node_id);
    if (asked == NODE_LOOKUP_ANY || asked == server->host->node_id) {
        port = service_find(server, request.name);
    }
    if (port != NULL) {
        answer_port(server, message, port);
        return;
    }
    if (asked == NODE_LOOKUP_ANY) {
        asked = next_asked(server, &request);
    } else if (asked == server->host->node_id || le32_load(request.origin) != 0) {
        asked = server->host->constants.nodes_max;
    }
    if (!pass_on(server, message, asked, &request)) {
        service_answer_status(server->host, message, ERROR_NOT_FOUND);
    }
}

/* --- Life ------------------------------------------------------------------------------------- */

static void message_handle(struct node_server *server, struct kmsg *message)
{
    switch (kmsg_id(message)) {
    case NODE_REGISTRATION_ID:
        registration_handle(server, message);
        break;
    case NOTIFY_DEAD_NAME:
        if (kmsg_is_from_this_kernel(message)) {
            directory_clean(&server->directory);
        }
        kmsg_free(message);
        break;
    case NODE_REGISTER:
        register_handle(server, message);
        break;
    case NODE_UNREGISTER:
        unregister_handle(server, message);
        break;
    case NODE_LOOKUP:
        lookup_handle(server, message);
        break;
    default:
        service_answer_status(server->host, message, ERROR_INVALID);
        break;
    }
}

static void node_server_main(void *argument)
{
    struct node_server *server = argument;
    struct kmsg *message;

    while (mach_msg_receive(server->service.port, &message, DEADLINE_NEVER) == MACH_MSG_SUCCESS) {
        message_handle(server, message);
    }
}

static void node_server_unload(struct mach_host *host, void *instance)
{
    struct node_server *server = instance;

    if (server->service.port != NULL) {
        node_clear_bootstrap(host);
    }
    service_thread_stop(&server->service);
    directory_close(&server->directory);
    for (uint32_t id = 0; server->peers != NULL && id < host->constants.nodes_max; id++) {
        peer_set(server, id, NULL);
    }
    heap_free(host, server->peers);
    heap_free(host, server);
}

static int node_server_open(struct node_server *server)
{
    struct mach_host *host = server->host;
    size_t size = host->constants.nodes_max * sizeof(server->peers[0]);
    int error;

    server->peers = heap_allocate(host, size);
    if (server->peers == NULL) {
        return ERROR_NO_MEMORY;
    }
    memset(server->peers, 0, size);
    error = service_thread_start(&server->service, host, "node", node_server_main, server);
    if (error != ERROR_NONE) {
        return error;
    }
    port_set_limit(server->service.port, PORT_LIMIT_MAXIMUM);
    return node_set_bootstrap(host, server->service.port);
}

static int node_server_load(struct mach_host *host, void **instance)
{
    struct node_server *server = heap_allocate(host, sizeof(*server));
    int error;

    if (server == NULL) {
        return ERROR_NO_MEMORY;
    }
    *server = (struct node_server){.host = host};
    directory_open(&server->directory, host);
    error = node_server_open(server);
    if (error != ERROR_NONE) {
        node_server_unload(host, server);
        return error;
    }
    *instance = server;
    return ERROR_NONE;
}

static struct port *node_server_service_port(void *instance)
{
    struct node_server *server = instance;

    return server->service.port;
}

static const struct kern_server node_server = {
    .name = "node",
    .version = 1,
    .load = node_server_load,
    .unload = node_server_unload,
    .service_port = node_server_service_port,
};
KERN_SERVER(node_server);
