/* SPDX-License-Identifier: MIT
 *
 * Kernel server `raw_ring`: the bare limit of a shared-memory cable, measured on request
 * (docs/spec/flipc.md, section 4). It owns the links with use:raw, which the link manager leaves
 * alone. The measuring is raw_link.c's.
 *
 * One thread serves one request after another. While it measures, it polls and nearly nothing else
 * runs on this node: that is what is being measured. A link is opened at its first request and
 * kept, so that no session number is used twice.
 */
#include "raw_link.h"
#include <kernel/boot.h>
#include <kernel/host.h>
#include <kernel/kern_server.h>
#include <kernel/service.h>
#include <kernel/service_thread.h>

struct raw_ring {
    struct mach_host *host;
    struct service_thread service;
    struct raw_link *links[BOOT_LINKS_MAXIMUM]; /* by link index; null: not open */
};

static void free_link(struct raw_ring *server, uint32_t index)
{
    struct raw_link *link = server->links[index];

    if (link == NULL)
        return;
    raw_link_close(link);
    heap_free(server->host, link->buffer);
    heap_free(server->host, link);
    server->links[index] = NULL;
}

/* Open the raw link `index` unless it is open. */
static int open_link(struct raw_ring *server, uint32_t index)
{
    const struct boot_configuration *boot = server->host->boot;
    struct raw_link *link;
    le64 *buffer;
    int error = ERROR_NO_MEMORY;

    if (boot == NULL || index >= boot->link_count || boot->links[index].use != BOOT_LINK_USE_RAW ||
        boot->links[index].kind != BOOT_LINK_IVSHMEM)
        return ERROR_NOT_FOUND;
    if (server->links[index] != NULL)
        return 0;
    link = heap_allocate(server->host, sizeof(*link));
    buffer = heap_allocate(server->host, RAW_SIZE_MAXIMUM);
    if (link != NULL && buffer != NULL)
        error = raw_link_open(link, boot->links[index].slot, server->host->incarnation, buffer);
    if (error != 0) {
        heap_free(server->host, buffer);
        heap_free(server->host, link);
        return error;
    }
    server->links[index] = link;
    return 0;
}

static bool is_valid(const struct raw_request *request)
{
    uint32_t size_bytes = le32_load(request->size_bytes);

    return le32_load(request->role) <= RAW_ROLE_PASSIVE && size_bytes >= RAW_SIZE_MINIMUM &&
           size_bytes <= RAW_SIZE_MAXIMUM && le32_load(request->reserved) == 0 &&
           le64_load(request->count) != 0 && le64_load(request->timeout_ns) != 0;
}

static int measure(struct raw_ring *server, int32_t id, const struct raw_request *request,
                   struct raw_result *result)
{
    uint64_t now_ns = clock_now_ns();
    uint64_t timeout_ns = le64_load(request->timeout_ns);
    uint32_t index = le32_load(request->link_index);
    struct raw_run run = {
        .size_bytes = le32_load(request->size_bytes),
        .count = le64_load(request->count),
        .deadline_ns = timeout_ns < DEADLINE_NEVER - now_ns ? now_ns + timeout_ns : DEADLINE_NEVER,
    };
    enum raw_role role = le32_load(request->role) == 0 ? RAW_ROLE_ACTIVE : RAW_ROLE_PASSIVE;
    struct raw_link *link;
    int error;

    if (!is_valid(request))
        return ERROR_INVALID;
    error = open_link(server, index);
    if (error != 0)
        return error;
    link = server->links[index];
    error = raw_link_wait(link, run.deadline_ns);
    if (error == 0)
        error = id == RAW_PINGPONG ? raw_pingpong(link, role, &run, result)
                                   : raw_stream(link, role, &run, result);
    if (error != 0)
        raw_link_restart(link);
    return error;
}

static void serve(struct raw_ring *server, struct kmsg *message)
{
    int32_t id = kmsg_id(message);
    struct raw_request request;
    struct raw_result result = {0};
    struct raw_reply reply;

    if ((id != RAW_PINGPONG && id != RAW_STREAM) ||
        !service_read(message, &request, sizeof(request))) {
        service_answer_status(server->host, message, ERROR_INVALID);
        return;
    }
    reply.status = service_status_of(measure(server, id, &request, &result));
    reply.total_ns = le64_of(result.total_ns);
    reply.min_ns = le64_of(result.min_ns);
    reply.max_ns = le64_of(result.max_ns);
    service_answer(server->host, message, &reply, sizeof(reply));
}

static void raw_ring_main(void *argument)
{
    struct raw_ring *server = argument;
    struct kmsg *message;

    while (mach_msg_receive(server->service.port, &message, DEADLINE_NEVER) == MACH_MSG_SUCCESS)
        serve(server, message);
}

static void raw_ring_unload(struct mach_host *host, void *instance)
{
    struct raw_ring *server = instance;

    service_thread_stop(&server->service);
    for (uint32_t i = 0; i < BOOT_LINKS_MAXIMUM; i++)
        free_link(server, i);
    heap_free(host, server);
}

static int raw_ring_load(struct mach_host *host, void **instance)
{
    struct raw_ring *server = heap_allocate(host, sizeof(*server));
    int error;

    if (server == NULL)
        return ERROR_NO_MEMORY;
    *server = (struct raw_ring){.host = host};
    error = service_thread_start(&server->service, host, "raw_ring", raw_ring_main, server);
    if (error != 0) {
        heap_free(host, server);
        return error;
    }
    *instance = server;
    return 0;
}

static struct port *raw_ring_service_port(void *instance)
{
    struct raw_ring *server = instance;

    return server->service.port;
}

static const struct kern_server raw_ring_server = {
    .name = "raw_ring",
    .version = 1,
    .load = raw_ring_load,
    .unload = raw_ring_unload,
    .service_port = raw_ring_service_port,
};

KERN_SERVER(raw_ring_server);
