/* SPDX-License-Identifier: MIT
 *
 * The echo server where nobody loads servers: linked in, with a port and a thread of its own.
 */
#include "echo.h"

#include <kernel/host.h>
#include <kernel/kern_server.h>

struct echo {
    struct mach_host *host;
    struct port *port;
    struct thread *thread;
};

static void echo_main(void *argument)
{
    const struct echo *echo = argument;
    struct kmsg *message;

    while (mach_msg_receive(echo->port, &message, DEADLINE_NEVER) == MACH_MSG_SUCCESS) {
        echo_message(message, 0);
    }
}

static void echo_unload(struct mach_host *host, void *instance)
{
    struct echo *echo = instance;

    if (echo->port != NULL) {
        port_destroy(echo->port);
    }
    if (echo->thread != NULL) {
        thread_join(echo->thread);
    }
    if (echo->port != NULL) {
        port_release(echo->port);
    }
    heap_free(host, echo);
}

static int echo_load(struct mach_host *host, void **instance)
{
    struct echo *echo = heap_allocate(host, sizeof(*echo));

    if (echo == NULL) {
        return ERROR_NO_MEMORY;
    }
    *echo = (struct echo){.host = host};
    int error = port_create(host, &echo->port);
    if (error == ERROR_NONE) {
        port_retain(echo->port); /* for the thread, until it is joined */
        port_set_limit(echo->port, PORT_LIMIT_MAXIMUM);
        error = thread_create(host, "echo", echo_main, echo, &echo->thread);
    }
    if (error != ERROR_NONE) {
        echo_unload(host, echo);
        return error;
    }
    *instance = echo;
    return ERROR_NONE;
}

static struct port *echo_service_port(void *instance)
{
    struct echo *echo = instance;

    return echo->port;
}

static const struct kern_server echo_server = {
    .name = "echo",
    .version = 1,
    .load = echo_load,
    .unload = echo_unload,
    .service_port = echo_service_port,
};
KERN_SERVER(echo_server);
