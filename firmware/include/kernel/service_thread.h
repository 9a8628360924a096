/* SPDX-License-Identifier: MIT
 *
 * A port and the one thread that receives from it: what a service is when nothing else wakes it.
 *
 * What it is not: the loop. The thread's function receives from `port`, for ever, and ends when that
 * says that the port died.
 */
#ifndef KERNEL_SERVICE_THREAD_H
#define KERNEL_SERVICE_THREAD_H

#include <kernel/error.h>

struct mach_host;
struct port;
struct thread;

/* All zero: not started. */
struct service_thread {
    struct port *port;
    struct thread *thread;
};

/* Create a port, and a thread called `name` that runs `entry(argument)`; `service->port` is set
 * before it runs. 0, or the error of port_create() or thread_create(); then nothing is left. */
COLD int service_thread_start(struct service_thread *service, struct mach_host *host,
                              const char *name, void (*entry)(void *argument),
                              void *argument) MUST_CHECK;

/* Destroy the port and wait until the thread has ended. Nothing if it was not started. */
COLD void service_thread_stop(struct service_thread *service);

#endif
