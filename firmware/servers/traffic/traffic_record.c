/* SPDX-License-Identifier: MIT
 *
 * The traffic server where nobody loads servers: linked in, with a port and a thread of its own.
 */
#include "traffic.h"

#include <kernel/kern_server.h>
#include <kernel/service_thread.h>

struct traffic_server {
    struct traffic traffic;
    struct service_thread service;
};

static void traffic_main(void *argument)
{
    struct traffic_server *server = argument;
    struct kmsg *message;

    while (mach_msg_receive(server->service.port, &message, DEADLINE_NEVER) == MACH_MSG_SUCCESS) {
        traffic_handle(&server->traffic, message);
    }
}

/* Waits until the peers of running streams have settled what is under way, or died. */
static void traffic_unload(struct mach_host *host, void *instance)
{
    struct traffic_server *server = instance;

    service_thread_stop(&server->service);
    traffic_close(&server->traffic);
    heap_free(host, server);
}

static int traffic_load(struct mach_host *host, void **instance)
{
    struct traffic_server *server = heap_allocate(host, sizeof(*server));

    if (server == NULL) {
        return ERROR_NO_MEMORY;
    }
    *server = (struct traffic_server){.service = {.port = NULL}};
    int error = traffic_open(&server->traffic, host);
    if (error == ERROR_NONE) {
        error = service_thread_start(&server->service, host, "traffic", traffic_main, server);
    }
    if (error != ERROR_NONE) {
        traffic_unload(host, server);
        return error;
    }
    port_set_limit(server->service.port, PORT_LIMIT_MAXIMUM);
    *instance = server;
    return ERROR_NONE;
}

static struct port *traffic_service_port(void *instance)
{
    struct traffic_server *server = instance;

    return server->service.port;
}

static const struct kern_server traffic_server = {
    .name = "traffic",
    .version = 1,
    .load = traffic_load,
    .unload = traffic_unload,
    .service_port = traffic_service_port,
};
KERN_SERVER(traffic_server);
