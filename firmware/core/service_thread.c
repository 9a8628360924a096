/* SPDX-License-Identifier: MIT
 *
 * Beginning and end of a port with a thread; see kernel/service_thread.h.
 */
#include <kernel/ipc.h>
#include <kernel/service_thread.h>
#include <kernel/thread.h>

int service_thread_start(struct service_thread *service, struct mach_host *host, const char *name,
                         void (*entry)(void *argument), void *argument)
{
    int error = port_create(host, &service->port);

    if (error != ERROR_NONE) {
        return error;
    }
    port_retain(service->port); /* for the thread, until it is joined */
    error = thread_create(host, name, entry, argument, &service->thread);
    if (error != ERROR_NONE) {
        port_destroy(service->port);
        port_release(service->port);
        *service = (struct service_thread){.port = NULL};
    }
    return error;
}

void service_thread_stop(struct service_thread *service)
{
    if (service->port == NULL) {
        return;
    }
    port_destroy(service->port);
    thread_join(service->thread);
    port_release(service->port);
    *service = (struct service_thread){.port = NULL};
}
