/* SPDX-License-Identifier: MIT
 *
 * Links and their drivers: which driver a link has, and what happens when drivers come and go while
 * the node runs. Everything but the last part runs in the link manager's thread, or before it.
 *
 * A driver is told by the address range of its server: its table and code lie there. When it goes,
 * each of its links is closed in order (the peer is told, what is under way is given back to the
 * node layer), its PHY is stopped, and the link stays down without a PHY. What a cable that speaks
 * for itself (by CABLE frames) said last is kept for the next driver; other drivers ask their cable
 * again.
 */
#include "link_manager_private.h"

#define COUNT_TIMEOUT_NS 1000000000ull

static const char *kind_name(enum boot_link_kind kind)
{
    switch (kind) {
    case BOOT_LINK_IVSHMEM:
        return "ivshmem";
    case BOOT_LINK_VIRTIO_SERIAL:
        return "virtio-serial";
    case BOOT_LINK_ROUTE:
        break; /* the link manager's own */
    }
    return "";
}

/* --- Coming ----------------------------------------------------------------------------------- */

const struct phy_operations *link_driver_find(const struct managed_link *link)
{
    const struct link_manager_configuration *configuration = &link->manager->configuration;
    const struct boot_link *boot = link_boot(link);

    if (boot->kind == BOOT_LINK_ROUTE) {
        return &link_route_phy;
    }
    if (boot->peer != 0 && configuration->find_loaded_phy != NULL) {
        return configuration->find_loaded_phy(link->manager->host, kind_name(boot->kind));
    }
    return configuration->find_phy(kind_name(boot->kind));
}

bool link_driver_start(struct managed_link *link)
{
    struct phy_client client;

    if (link->phy_operations == NULL) {
        return false;
    }
    link_owner_client(link, &client);
    if (link->phy_operations->start(link->manager->host, link_boot(link), &client, &link->phy) !=
        ERROR_NONE) {
        link->phy = NULL;
        link->phy_operations = NULL;
        return false;
    }
    flag_set(&link->has_phy);
    link->is_touched = true;
    return true;
}

static void restore_cable(struct managed_link *link)
{
    static const uint32_t directions[] = {PHY_DIRECTION_TX, PHY_DIRECTION_RX};

    for (uint32_t i = 0; i < 2; i++) {
        const struct link_cable_state *cable = &link->kept_cables[i];
        if (cable->known) {
            link_carrier(&link->link, directions[i], cable->up, cable->generation, cable->checked,
                         link_manager_now_ns(link->manager));
        }
    }
}

void link_drivers_find(struct link_manager *manager)
{
    for (uint32_t i = 0; i < manager->link_count; i++) {
        struct managed_link *link = &manager->links[i];
        const struct boot_link *boot = link_boot(link);

        if (link->phy != NULL || boot->use != BOOT_LINK_USE_LINK) {
            continue;
        }
        link->phy_operations = link_driver_find(link);
        if (link->phy_operations == NULL) {
            continue;
        }
        link_set_phy(&link->link, link->phy_operations->mtu, boot->payload_crc, boot->replay,
                     link->phy_operations->lossless);
        if (!link_driver_start(link)) {
            continue;
        }
        if (link->link.configuration.cable_frames) {
            restore_cable(link);
        }
        if (link->via != NULL) {
            link_route_follow(link->via);
        }
    }
}

/* --- Going ------------------------------------------------------------------------------------ */

static bool is_of_driver(const struct link_manager *manager, const struct managed_link *link)
{
    return link->phy != NULL &&
           (uintptr_t)link->phy_operations - manager->driver_start < manager->driver_bytes;
}

static void stop_driver(struct managed_link *link)
{
    const struct phy_operations *phy_operations = link->phy_operations;
    struct phy *phy = link->phy;

    link->kept_cables[0] = link->link.tx_cable;
    link->kept_cables[1] = link->link.rx_cable;
    link_close(&link->link, link_manager_now_ns(link->manager));
    phy_operations->flush(phy);
    __atomic_store_n(&link->has_phy, false, __ATOMIC_RELEASE);
    link->phy = NULL;
    link->phy_operations = NULL;
    link->deadline_ns = DEADLINE_NEVER;
    phy_operations->stop(phy);
    link->watch = (struct phy_watch){.word = NULL};
}

uint32_t link_drivers_of(struct link_manager *manager, bool release)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < manager->link_count; i++) {
        struct managed_link *link = &manager->links[i];

        if (is_of_driver(manager, link)) {
            count++;
            if (release) {
                stop_driver(link);
            }
        }
    }
    return count;
}

/* --- Other threads ---------------------------------------------------------------------------- */

static int ask(struct mach_host *host, enum link_question question, uintptr_t start,
               size_t len_bytes, uint64_t deadline_ns, uint32_t *links)
{
    struct link_manager *manager = host->links;

    *links = 0;
    if (manager == NULL || !flag_read(&manager->is_running)) {
        return ERROR_DOWN;
    }
    int status = link_manager_begin_asking(manager, deadline_ns);
    if (status != ERROR_NONE) {
        return status;
    }
    manager->driver_start = start;
    manager->driver_bytes = len_bytes;
    status = link_manager_ask(manager, question, deadline_ns);
    if (status == ERROR_NONE) {
        *links = manager->driver_links;
    }
    link_manager_end_asking(manager);
    return status;
}

uint32_t link_manager_driver_links(struct mach_host *host, uintptr_t start, size_t len_bytes)
{
    uint32_t links;

    (void)!ask(host, LINK_QUESTION_DRIVER, start, len_bytes, clock_now_ns() + COUNT_TIMEOUT_NS,
               &links);
    return links;
}

int link_manager_release_driver(struct mach_host *host, uintptr_t start, size_t len_bytes,
                                uint64_t deadline_ns)
{
    uint32_t links;

    return ask(host, LINK_QUESTION_RELEASE, start, len_bytes, deadline_ns, &links);
}

void link_manager_find_drivers(struct mach_host *host)
{
    if (host->links != NULL) {
        flag_set(&host->links->must_find_drivers);
        event_signal(&host->link_event);
    }
}
