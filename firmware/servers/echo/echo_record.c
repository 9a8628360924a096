/* SPDX-License-Identifier: MIT
 *
 * The echo server where nobody loads servers: linked in, with a port and a thread of its own.
 */
#include "echo.h"

#include <kernel/host.h>
#include <kernel/kern_server.h>
#include <kernel/service_thread.h>

struct echo {
    struct service_thread service;
};

static void echo_main(void *argument)
{
    const struct echo *echo = argument;
    struct kmsg *message;

    while (mach_msg_receive(echo->service.port, &message, DEADLINE_NEVER) == MACH_MSG_SUCCESS) {
        echo_message(message, 0);
    }
}

static void echo_unload(struct mach_host *host, void *instance)
{
    struct echo *echo = instance;

    service_thread_stop(&echo->service);
    heap_free(host, echo);
}

static int echo_load(struct mach_host *host, void **instance)
{
    struct echo *echo = heap_allocate(host, sizeof(*echo));

    if (echo == NULL) {
        return ERROR_NO_MEMORY;
    }
    *echo = (struct echo){.service = {.port = NULL}};
    int error = service_thread_start(&echo->service, host, "echo", echo_main, echo);
    if (error != ERROR_NONE) {
        heap_free(host, echo);
        return error;
    }
    port_set_limit(echo->service.port, PORT_LIMIT_MAXIMUM);
    *instance = echo;
    return ERROR_NONE;
}

static struct port *echo_service_port(void *instance)
{
    struct echo *echo = instance;

    return echo->service.port;
}

static const struct kern_server echo_server = {
    .name = "echo",
    .version = 1,
    .load = echo_load,
    .unload = echo_unload,
    .service_port = echo_service_port,
};
KERN_SERVER(echo_server);
