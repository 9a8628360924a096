/* SPDX-License-Identifier: MIT
 *
 * The traffic server where nobody loads servers: linked in, with a port and a thread of its own.
 */
#include "traffic.h"

#include <kernel/kern_server.h>

struct traffic_server {
    struct traffic traffic;
    struct port *port;
    struct thread *thread;
};

static void traffic_main(void *argument)
{
    struct traffic_server *server = argument;
    struct kmsg *message;

    while (mach_msg_receive(server->port, &message, DEADLINE_NEVER) == MACH_MSG_SUCCESS) {
        traffic_handle(&server->traffic, message);
    }
}

/* Waits until the peers of running streams have settled what is under way, or died. */
static void traffic_unload(struct mach_host *host, void *instance)
{
    struct traffic_server *server = instance;

    if (server->port != NULL) {
        port_destroy(server->port);
    }
    if (server->thread != NULL) {
        thread_join(server->thread);
    }
    traffic_close(&server->traffic);
    if (server->port != NULL) {
        port_release(server->port);
    }
    heap_free(host, server);
}

static int traffic_serve(struct traffic_server *server)
{
    struct mach_host *host = server->traffic.host;
    int error = port_create(host, &server->port);

    if (error != ERROR_NONE) {
        return error;
    }
    port_retain(server->port); /* for the thread, until it is joined */
    port_set_limit(server->port, PORT_LIMIT_MAXIMUM);
    return thread_create(host, "traffic", traffic_main, server, &server->thread);
}

static int traffic_load(struct mach_host *host, void **instance)
{
    struct traffic_server *server = heap_allocate(host, sizeof(*server));

    if (server == NULL) {
        return ERROR_NO_MEMORY;
    }
    *server = (struct traffic_server){.port = NULL};
    int error = traffic_open(&server->traffic, host);
    if (error == ERROR_NONE) {
        error = traffic_serve(server);
    }
    if (error != ERROR_NONE) {
        traffic_unload(host, server);
        return error;
    }
    *instance = server;
    return ERROR_NONE;
}

static struct port *traffic_service_port(void *instance)
{
    struct traffic_server *server = instance;

    return server->port;
}

static const struct kern_server traffic_server = {
    .name = "traffic",
    .version = 1,
    .load = traffic_load,
    .unload = traffic_unload,
    .service_port = traffic_service_port,
};
KERN_SERVER(traffic_server);
