/* SPDX-License-Identifier: MIT
 *
 * Bringing up and taking down struct mach_host, and its random numbers.
 *
 * Everything a host has lies in its arena, so taking it down is forgetting it.
 */
#include "heap.h"
#include "ipc_state.h"
#include "name_table.h"
#include "node.h"
#include <kernel/string.h>

#define SPLITMIX_STEP 0x9e3779b97f4a7c15ull /* S. Vigna, splitmix64 */

static bool constants_are_valid(const struct cluster_constants *constants)
{
    return constants->nodes_max >= 2 && constants->nodes_max <= NODES_LIMIT &&
           constants->window >= 1 && constants->window <= FLIPC_WINDOW_MAXIMUM &&
           constants->ack_count >= 1 && constants->keepalive_ns != 0 &&
           constants->link_down_after_ns != 0 && constants->dead_after_ns != 0;
}

static int ipc_state_open(struct mach_host *host)
{
    host->ipc = heap_allocate(host, sizeof(*host->ipc));
    if (host->ipc == NULL)
        return ERROR_NO_MEMORY;
    lock_init(&host->ipc->lock);
    list_init(&host->ipc->idle);
    host->ipc->idle_count = 0;
    return 0;
}

static int open_parts(struct mach_host *host, const struct mach_host_configuration *configuration)
{
    int error = heap_open(host, configuration->arena, configuration->arena_bytes);

    if (error == 0)
        error = ipc_state_open(host);
    if (error == 0)
        error = name_table_open(host);
    if (error == 0)
        error = node_table_open(host);
    return error;
}

int mach_host_initialize(struct mach_host *host,
                         const struct mach_host_configuration *configuration)
{
    int error;

    memset(host, 0, sizeof(*host));
    if (!constants_are_valid(&configuration->constants) || configuration->incarnation == 0 ||
        configuration->node_id >= configuration->constants.nodes_max)
        return ERROR_INVALID;
    host->node_id = configuration->node_id;
    host->incarnation = configuration->incarnation;
    host->constants = configuration->constants;
    host->random_seed = configuration->seed;
    event_init(&host->link_event);
    error = open_parts(host, configuration);
    if (error != 0)
        mach_host_destroy(host);
    return error;
}

void mach_host_destroy(struct mach_host *host)
{
    if (host->heap != NULL)
        heap_close(host);
    memset(host, 0, sizeof(*host));
}

uint64_t mach_host_random(struct mach_host *host)
{
    uint32_t drawn = __atomic_add_fetch(&host->random_drawn, 1, __ATOMIC_RELAXED);
    uint64_t value = host->random_seed + drawn * SPLITMIX_STEP;

    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9ull;
    value = (value ^ value >> 27) * 0x94d049bb133111ebull;
    return value ^ value >> 31;
}
