/* SPDX-License-Identifier: MIT
 *
 * Answers to STATISTICS: the layers fill in their own figures, this file only wraps them.
 */
#include "statistics.h"

#include <abi/services.h>
#include <kernel/host.h>
#include <kernel/link_manager.h>
#include <kernel/node.h>
#include <kernel/service.h>

struct node_reply {
    struct service_status status;
    struct node_statistics statistics;
};

struct link_reply {
    struct service_status status;
    struct link_statistics statistics;
};

static void node_answer(struct mach_host *host, struct kmsg *request)
{
    struct node_reply reply = {.status.status = ERROR_NONE};

    node_statistics_read(host, &reply.statistics);
    service_answer(host, request, &reply, sizeof(reply));
}

static void link_answer(struct mach_host *host, struct kmsg *request, uint32_t index)
{
    struct link_reply reply = {.status.status = ERROR_NONE};

    reply.status.status = link_manager_statistics(host, index, &reply.statistics);
    service_answer(host, request, &reply, sizeof(reply));
}

void statistics_answer(struct mach_host *host, struct kmsg *message)
{
    struct statistics_request request;

    if (!service_read(message, &request, sizeof(request))) {
        service_answer_status(host, message, ERROR_INVALID);
        return;
    }
    switch (request.kind) {
    case STATISTICS_NODE:
        node_answer(host, message);
        break;
    case STATISTICS_LINK:
        link_answer(host, message, request.index);
        break;
    default:
        service_answer_status(host, message, ERROR_INVALID);
        break;
    }
}
