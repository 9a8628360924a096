/* SPDX-License-Identifier: MIT
 *
 * The kernel service: one thread that answers on the node's kernel port (well-known serial 2),
 * which exists on every node from bring-up to the end. What it understands is docs/spec/flipc.md,
 * section 4. Requests that take long (PING) run in threads of their own.
 */
#ifndef KERNEL_KERNEL_SERVICE_H
#define KERNEL_KERNEL_SERVICE_H

#include <kernel/error.h>
#include <stdint.h>

struct kernel_service;
struct mach_host;

/* What the requests PANIC and HANG do to this node. Both return only in tests. Never null. */
struct kernel_service_operations {
    void *context;
    void (*panic)(void *context, uint32_t asked_by_node);
    void (*hang)(void *context);
};

/* Publish the kernel port and start its thread. 0, ERROR_NO_MEMORY or the error of port_publish();
 * then nothing is left. */
int kernel_service_start(struct mach_host *host, const struct kernel_service_operations *operations,
                         struct kernel_service **service) MUST_CHECK;

/* Close the port, wait for the threads (a PING ends within its slice, docs/spec/flipc.md), free
 * everything. */
void kernel_service_stop(struct kernel_service *service);

#endif
