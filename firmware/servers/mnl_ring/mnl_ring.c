/* SPDX-License-Identifier: MIT
 *
 * Kernel server `mnl_ring`: a link driver written against kernel/mach_node_link.h. It drives the
 * shared-memory cables that the boot page leaves to it (`use:driver driver:mnl_ring`) and is the sole
 * link of their peers. No part of the link manager, and not a PHY driver.
 */
#include "mnl_link.h"

#include <kernel/host.h>
#include <kernel/kern_server.h>
#include <kernel/string.h>

#define SERVER_NAME "mnl_ring"

struct mnl_ring {
    uint32_t count;
    struct mnl_link *links[BOOT_LINKS_MAXIMUM];
};

static bool is_ours(const struct boot_link *link)
{
    return link->use == BOOT_LINK_USE_DRIVER && link->kind == BOOT_LINK_IVSHMEM &&
           strcmp(link->driver, SERVER_NAME) == 0;
}

static void mnl_ring_unload(struct mach_host *host, void *instance)
{
    struct mnl_ring *server = instance;

    while (server->count != 0)
        mnl_link_stop(server->links[--server->count]);
    heap_free(host, server);
}

static int mnl_ring_load(struct mach_host *host, void **instance)
{
    const struct boot_configuration *boot = host->boot;
    struct mnl_ring *server = heap_allocate(host, sizeof(*server));
    int error = ERROR_NONE;

    if (server == NULL)
        return ERROR_NO_MEMORY;
    server->count = 0;
    for (uint32_t i = 0; i < boot->link_count && error == ERROR_NONE; i++) {
        if (!is_ours(&boot->links[i]))
            continue;
        error = mnl_link_start(host, i, &boot->links[i], &server->links[server->count]);
        server->count += error == ERROR_NONE;
    }
    if (error != ERROR_NONE) {
        mnl_ring_unload(host, server);
        return error;
    }
    *instance = server;
    return ERROR_NONE;
}

static const struct kern_server mnl_ring_server = {
    .name = SERVER_NAME,
    .version = 1,
    .load = mnl_ring_load,
    .unload = mnl_ring_unload,
};

KERN_SERVER(mnl_ring_server);
