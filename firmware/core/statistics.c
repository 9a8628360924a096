/* SPDX-License-Identifier: MIT
 *
 * Answers to STATISTICS: the layers fill in their own figures, this file writes them as the wire
 * has them.
 */
#include "statistics.h"

#include <abi/services.h>
#include <kernel/host.h>
#include <kernel/link_manager.h>
#include <kernel/node.h>
#include <kernel/service.h>

struct node_reply {
    struct service_status status;
    struct node_statistics_body statistics;
};

struct link_reply {
    struct service_status status;
    struct link_statistics_body statistics;
};

static struct node_statistics_body node_body(const struct node_statistics *from)
{
    return (struct node_statistics_body){
        .uptime_ns = le64_of(from->uptime_ns),
        .heap_used_bytes = le64_of(from->heap_used_bytes),
        .heap_peak_bytes = le64_of(from->heap_peak_bytes),
        .heap_size_bytes = le64_of(from->heap_size_bytes),
        .ports = le64_of(from->ports),
        .messages = le64_of(from->messages),
        .names = le64_of(from->names),
        .nodes = le64_of(from->nodes),
        .sent = le64_of(from->sent),
        .settled = le64_of(from->settled),
        .failed = le64_of(from->failed),
        .unknown = le64_of(from->unknown),
        .received = le64_of(from->received),
        .refused = le64_of(from->refused),
        .duplicates = le64_of(from->duplicates),
        .deaths = le64_of(from->deaths),
    };
}

static struct link_statistics_body link_body(const struct link_statistics *from)
{
    struct link_statistics_body body = {
        .peer = le32_of(from->peer),
        .state = le32_of(from->state),
        .epoch = le32_of(from->epoch),
        .peer_epoch = le32_of(from->peer_epoch),
        .trained = le64_of(from->trained),
        .tx_frames = le64_of(from->tx_frames),
        .tx_data_frames = le64_of(from->tx_data_frames),
        .tx_bytes = le64_of(from->tx_bytes),
        .rx_frames = le64_of(from->rx_frames),
        .rx_data_frames = le64_of(from->rx_data_frames),
        .rx_bytes = le64_of(from->rx_bytes),
        .replays = le64_of(from->replays),
        .naks = le64_of(from->naks),
        .round_trip_ns = le64_of(from->round_trip_ns),
        .forwarded = le64_of(from->forwarded),
    };

    for (uint32_t i = 0; i < LINK_DROP_COUNT; i++) {
        body.drops[i] = le64_of(from->drops[i]);
    }
    return body;
}

static void node_answer(struct mach_host *host, struct kmsg *request)
{
    struct node_statistics statistics;

    node_statistics_read(host, &statistics);
    struct node_reply reply = {
        .status = service_status_of(ERROR_NONE),
        .statistics = node_body(&statistics),
    };
    service_answer(host, request, &reply, sizeof(reply));
}

static void link_answer(struct mach_host *host, struct kmsg *request, uint32_t index)
{
    struct link_statistics statistics = {0};
    int status = link_manager_statistics(host, index, &statistics);
    struct link_reply reply = {
        .status = service_status_of(status),
        .statistics = link_body(&statistics),
    };

    service_answer(host, request, &reply, sizeof(reply));
}

void statistics_answer(struct mach_host *host, struct kmsg *message)
{
    struct statistics_request request;

    if (!service_read(message, &request, sizeof(request))) {
        service_answer_status(host, message, ERROR_INVALID);
        return;
    }
    switch (le32_load(request.kind)) {
    case STATISTICS_NODE:
        node_answer(host, message);
        break;
    case STATISTICS_LINK:
        link_answer(host, message, le32_load(request.index));
        break;
    default:
        service_answer_status(host, message, ERROR_INVALID);
        break;
    }
}
