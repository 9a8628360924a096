/* SPDX-License-Identifier: MIT
 *
 * The kernel service (docs/spec/flipc.md, section 4): a receive loop and a switch.
 *
 * Invariants: the loop never waits for a peer: answers are sent without waiting (service.c), a PING
 * runs in a thread of its own, of which there are at most PING_THREADS. A request of the wrong size
 * is answered with ERROR_INVALID; an id that is none of ours likewise, if it can be answered. A
 * slot's `done` is the last thing its thread writes; the loop joins and clears it, so slots have
 * one owner at a time.
 */
#include "ping.h"
#include "statistics.h"

#include <abi/flipc.h>
#include <kernel/host.h>
#include <kernel/kern_server.h>
#include <kernel/kernel_service.h>
#include <kernel/server_table.h>
#include <kernel/service.h>
#include <kernel/service_thread.h>
#include <kernel/string.h>

#define PING_THREADS 8u

struct ping_slot {
    struct kernel_service *service;
    struct thread *thread; /* null: free */
    struct ping_order order;
    struct service_promise promise;
    bool done;
};

struct kernel_service {
    struct mach_host *host;
    struct kernel_service_operations operations;
    struct service_thread service;
    bool stop; /* pings end soon */
    struct ping_slot slots[PING_THREADS];
};

static void ping_main(void *argument)
{
    struct ping_slot *slot = argument;
    struct ping_reply reply;

    ping_run(slot->service->host, &slot->order, &slot->service->stop, &reply);
    service_promise_keep(&slot->promise, &reply);
    __atomic_store_n(&slot->done, true, __ATOMIC_RELEASE);
}

static void slot_reap(struct ping_slot *slot)
{
    thread_join(slot->thread);
    slot->thread = NULL;
    slot->done = false;
}

/* Null: every slot runs a ping. */
static struct ping_slot *slot_find(struct kernel_service *service)
{
    for (uint32_t i = 0; i < PING_THREADS; i++) {
        struct ping_slot *slot = &service->slots[i];
        if (slot->thread != NULL && __atomic_load_n(&slot->done, __ATOMIC_ACQUIRE)) {
            slot_reap(slot);
        }
        if (slot->thread == NULL) {
            return slot;
        }
    }
    return NULL;
}

static bool ping_read(struct kmsg *message, struct ping_order *order)
{
    struct ping_request request;

    if (!service_read(message, &request, sizeof(request))) {
        return false;
    }
    uint32_t node_id = le32_load(request.node_id);
    *order = (struct ping_order){
        .port_name = NAME_WELL_KNOWN(node_id, NAME_SERIAL_KERNEL),
        .count = node_id <= UINT16_MAX ? le32_load(request.count) : 0,
        .size_bytes = le32_load(request.size_bytes),
        .timeout_ns = le64_load(request.timeout_ns),
    };
    return true;
}

static bool ping_port_read(struct kmsg *message, struct ping_order *order)
{
    struct ping_port_request request;

    if (!service_read(message, &request, sizeof(request))) {
        return false;
    }
    *order = (struct ping_order){
        .port_name = le64_load(request.port_name),
        .count = le32_load(request.count),
        .size_bytes = le32_load(request.size_bytes),
        .timeout_ns = le64_load(request.timeout_ns),
    };
    return true;
}

static void ping_start(struct kernel_service *service, struct kmsg *message)
{
    struct ping_order order;

    if (kmsg_id(message) == KERNEL_PING ? !ping_read(message, &order)
                                        : !ping_port_read(message, &order)) {
        service_answer_status(service->host, message, ERROR_INVALID);
        return;
    }
    struct ping_slot *slot = slot_find(service);
    if (slot == NULL) {
        service_answer_status(service->host, message, ERROR_FULL);
        return;
    }
    int error =
        service_promise_make(service->host, message, sizeof(struct ping_reply), &slot->promise);
    if (error != ERROR_NONE) {
        service_answer_status(service->host, message, error);
        return;
    }
    slot->service = service;
    slot->order = order;
    error = thread_create(service->host, "ping", ping_main, slot, &slot->thread);
    if (error != ERROR_NONE) {
        struct ping_reply reply = {.status = service_status_of(error)};
        slot->thread = NULL;
        service_promise_keep(&slot->promise, &reply);
    }
}

static void lookup_answer(struct mach_host *host, struct kmsg *message)
{
    struct lookup_request request;
    uint64_t port_name = NAME_NULL;
    int status = ERROR_INVALID;

    if (service_read(message, &request, sizeof(request)) &&
        request.name[sizeof(request.name) - 1] == '\0') {
        port_name = service_port_name(host, request.name);
        status = port_name == NAME_NULL ? ERROR_NOT_FOUND : ERROR_NONE;
    }
    struct lookup_reply reply = {
        .status = service_status_of(status),
        .port_name = le64_of(port_name),
    };
    service_answer(host, message, &reply, sizeof(reply));
}

/* What ends a node or makes it useless, only a kernel may ask for. */
static void power_handle(struct kernel_service *service, struct kmsg *message)
{
    if (kmsg_id(message) == KERNEL_PANIC) {
        service->operations.panic(service->operations.context, kmsg_source_node(message));
    } else {
        service->operations.hang(service->operations.context);
    }
    kmsg_free(message);
}

static void request_handle(struct kernel_service *service, struct kmsg *message)
{
    switch (kmsg_id(message)) {
    case KERNEL_ECHO:
        service_echo(message);
        break;
    case KERNEL_PING:
    case KERNEL_PING_PORT:
        ping_start(service, message);
        break;
    case KERNEL_STATISTICS:
        statistics_answer(service->host, message);
        break;
    case KERNEL_LOOKUP:
        lookup_answer(service->host, message);
        break;
    case KERNEL_PANIC:
    case KERNEL_HANG:
        if (!kmsg_is_from_kernel(message)) {
            service_answer_status(service->host, message, ERROR_DENIED);
            break;
        }
        power_handle(service, message);
        break;
    default:
        service_answer_status(service->host, message, ERROR_INVALID);
        break;
    }
}

static void kernel_service_main(void *argument)
{
    struct kernel_service *service = argument;
    struct kmsg *message;

    while (mach_msg_receive(service->service.port, &message, DEADLINE_NEVER) == MACH_MSG_SUCCESS) {
        request_handle(service, message);
    }
}

static int service_open(struct kernel_service *service)
{
    struct mach_host *host = service->host;
    int error =
        service_thread_start(&service->service, host, "kernel", kernel_service_main, service);

    if (error != ERROR_NONE) {
        return error;
    }
    port_set_limit(service->service.port, PORT_LIMIT_MAXIMUM);
    return port_publish(service->service.port, NAME_WELL_KNOWN(host->node_id, NAME_SERIAL_KERNEL));
}

int kernel_service_start(struct mach_host *host, const struct kernel_service_operations *operations,
                         struct kernel_service **out)
{
    struct kernel_service *service = heap_allocate(host, sizeof(*service));

    if (service == NULL) {
        return ERROR_NO_MEMORY;
    }
    memset(service, 0, sizeof(*service));
    service->host = host;
    service->operations = *operations;
    int error = service_open(service);
    if (error != ERROR_NONE) {
        kernel_service_stop(service);
        return error;
    }
    *out = service;
    return ERROR_NONE;
}

void kernel_service_stop(struct kernel_service *service)
{
    __atomic_store_n(&service->stop, true, __ATOMIC_RELEASE);
    service_thread_stop(&service->service);
    for (uint32_t i = 0; i < PING_THREADS; i++) {
        if (service->slots[i].thread != NULL) {
            slot_reap(&service->slots[i]);
        }
    }
    heap_free(service->host, service);
}
