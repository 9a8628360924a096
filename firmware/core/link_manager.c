/* SPDX-License-Identifier: MIT
 *
 * The link manager as others see it: start, stop, questions. Its thread is link_manager_loop.c.
 */
#include "link_manager_private.h"
#include "link_owner.h"

#include <kernel/string.h>

#define STATISTICS_TIMEOUT_NS 1000000000ull

/* --- Start ------------------------------------------------------------------------------------ */

static struct peer *find_peer(struct link_manager *manager, uint32_t node_id)
{
    for (struct peer *peer = manager->peers; peer != NULL; peer = peer->next) {
        if (peer->node_id == node_id) {
            return peer;
        }
    }
    return NULL;
}

/* A peer for each node id among the links, with its links in the order of the boot page.
 * `peer_links` has room for all. */
static int make_peers(struct link_manager *manager)
{
    uint32_t used = 0;

    for (uint32_t i = 0; i < manager->link_count; i++) {
        uint32_t node_id = manager->configuration.links[i].peer;
        struct peer *peer = find_peer(manager, node_id);

        if (peer == NULL) {
            peer = heap_allocate(manager->host, sizeof(*peer));
            if (peer == NULL) {
                return ERROR_NO_MEMORY;
            }
            memset(peer, 0, sizeof(*peer));
            peer->manager = manager;
            peer->node_id = node_id;
            peer->links = &manager->peer_links[used];
            peer->next = manager->peers;
            manager->peers = peer;
            for (uint32_t k = i; k < manager->link_count; k++) {
                if (manager->configuration.links[k].peer == node_id) {
                    peer->links[peer->link_count++] = &manager->links[k];
                }
            }
            used += peer->link_count;
        }
        manager->links[i].peer = peer;
    }
    return ERROR_NONE;
}

static int initialize_link(struct managed_link *link)
{
    struct link_manager *manager = link->manager;
    const struct boot_link *boot = link_boot(link);
    const struct phy_operations *phy = link->phy_operations;
    struct link_configuration configuration = {
        .node_id = manager->host->node_id,
        .peer_id = boot->peer,
        .incarnation = manager->host->incarnation,
        .constants = manager->host->constants,
        .mtu = phy != NULL ? phy->mtu : FRAME_MTU_MINIMUM,
        .message_max = manager->configuration.message_max,
        .wants_payload_crc = boot->payload_crc || (phy != NULL && !phy->lossless),
        .offers_replay = boot->replay || (phy != NULL && !phy->lossless),
        .route = (uint16_t)boot->route,
        .cable_frames = phy != NULL && !phy->lossless && boot->kind != BOOT_LINK_ROUTE,
        .byte_order = MNL_BYTEORDER_LOCAL,
        .data_model = MNL_DATAMODEL_LOCAL,
        .version = boot->version,
    };

    return link_initialize(&link->link, &configuration, LINK_OWNER_OPERATIONS, link);
}

static int make_links(struct link_manager *manager)
{
    for (uint32_t i = 0; i < manager->link_count; i++) {
        struct managed_link *link = &manager->links[i];
        const struct boot_link *boot = &manager->configuration.links[i];

        link->manager = manager;
        link->index = i;
        link->deadline_ns = DEADLINE_NEVER;
        if (boot->kind == BOOT_LINK_ROUTE) {
            link->via = &manager->links[boot->via];
            manager->has_routes = true;
        }
        if (boot->use == BOOT_LINK_USE_LINK) {
            link->phy_operations = link_driver_find(link);
        }
        if (initialize_link(link) != ERROR_NONE) {
            return ERROR_INVALID;
        }
    }
    return make_peers(manager);
}

/* One that does not start stays down; the others work. */
static void start_phys(struct link_manager *manager)
{
    for (uint32_t i = 0; i < manager->link_count; i++) {
        struct managed_link *link = &manager->links[i];

        if (link_boot(link)->use == BOOT_LINK_USE_LINK && !link_driver_start(link)) {
            manager->failed_count++;
        }
    }
}

static void somebody_died(void *context, uint32_t node_id, uint64_t incarnation,
                          enum node_death_cause cause)
{
    struct link_manager *manager = context;

    (void)node_id;
    (void)incarnation;
    (void)cause;
    if (flag_read(&manager->is_running)) {
        flag_set(&manager->somebody_died);
        event_signal(&manager->host->link_event);
    }
}

/* The record that stays with the host; made once. */
static struct link_manager *make_manager(struct mach_host *host)
{
    struct link_manager *manager = heap_allocate(host, sizeof(*manager));

    if (manager == NULL) {
        return NULL;
    }
    memset(manager, 0, sizeof(*manager));
    manager->host = host;
    lock_init(&manager->lock);
    condition_init(&manager->answered);
    manager->node_observer = (struct node_observer){.context = manager, .dead = somebody_died};
    node_observe(host, &manager->node_observer);
    host->links = manager;
    return manager;
}

static void free_parts(struct link_manager *manager)
{
    struct peer *peer = manager->peers;

    while (peer != NULL) {
        struct peer *next = peer->next;

        heap_free(manager->host, peer);
        peer = next;
    }
    manager->peers = NULL;
    heap_free(manager->host, manager->links);
    heap_free(manager->host, manager->peer_links);
    manager->links = NULL;
    manager->peer_links = NULL;
    manager->link_count = 0;
}

static int make_parts(struct link_manager *manager)
{
    uint32_t count = manager->configuration.link_count;
    size_t links_bytes = (count + 1) * sizeof(*manager->links); /* never 0 */

    manager->has_routes = manager->configuration.transit_count != 0;
    manager->links = heap_allocate(manager->host, links_bytes);
    manager->peer_links = heap_allocate(manager->host, (count + 1) * sizeof(struct managed_link *));
    if (manager->links == NULL || manager->peer_links == NULL) {
        return ERROR_NO_MEMORY;
    }
    memset(manager->links, 0, links_bytes);
    manager->link_count = count;
    return make_links(manager);
}

static void stop_phys(struct link_manager *manager)
{
    for (uint32_t i = 0; i < manager->link_count; i++) {
        struct managed_link *link = &manager->links[i];

        if (link->phy != NULL) {
            link->phy_operations->stop(link->phy);
            link->phy = NULL;
        }
    }
}

int link_manager_start(struct mach_host *host,
                       const struct link_manager_configuration *configuration)
{
    struct link_manager *manager = host->links;
    int status;

    if (manager != NULL && (manager->was_stopped || flag_read(&manager->is_running))) {
        return ERROR_EXISTS;
    }
    if (manager == NULL) {
        manager = make_manager(host);
    }
    if (manager == NULL) {
        return ERROR_NO_MEMORY;
    }
    manager->configuration = *configuration;
    manager->observer = configuration->observer;
    manager->failed_count = 0;
    manager->must_stop = false;
    manager->now_is_fresh = false;
    manager->request = LINK_REQUEST_NONE;
    status = make_parts(manager);
    if (status == ERROR_NONE) {
        start_phys(manager);
        flag_set(&manager->is_running);
        status = thread_create(host, "links", link_manager_run, manager, &manager->thread);
    }
    if (status != ERROR_NONE) {
        (void)flag_take(&manager->is_running);
        stop_phys(manager);
        free_parts(manager);
    }
    return status;
}

/* --- Stop ------------------------------------------------------------------------------------- */

void link_manager_stop(struct mach_host *host)
{
    struct link_manager *manager = host->links;

    if (manager == NULL || !flag_take(&manager->is_running)) {
        return;
    }
    manager->was_stopped = true;
    flag_set(&manager->must_stop);
    event_signal(&host->link_event);
    thread_join(manager->thread);
    manager->now_is_fresh = false;
    for (uint32_t i = manager->link_count; i-- > 0;) { /* routes before what carries them */
        struct managed_link *link = &manager->links[i];

        if (link->phy != NULL) {
            link_close(&link->link, link_manager_now_ns(manager));
            link->phy_operations->flush(link->phy);
        }
    }
    for (struct peer *peer = manager->peers; peer != NULL; peer = peer->next) {
        peer_release(peer);
    }
    stop_phys(manager);
    lock_acquire(&manager->lock);
    condition_broadcast(&manager->answered);
    lock_release(&manager->lock);
    free_parts(manager);
}

/* --- Questions of other threads --------------------------------------------------------------- */

void link_manager_kick(struct mach_host *host)
{
    if (host->links != NULL) {
        flag_set(&host->links->is_kicked);
        event_signal(&host->link_event);
    }
}

uint32_t link_manager_link_count(struct mach_host *host)
{
    return host->links != NULL ? host->links->link_count : 0;
}

uint32_t link_manager_failed(struct mach_host *host)
{
    return host->links != NULL ? host->links->failed_count : 0;
}

bool link_manager_is_up(struct mach_host *host, uint32_t link)
{
    if (link >= link_manager_link_count(host)) {
        return false;
    }
    return __atomic_load_n(&host->links->links[link].state_bits, __ATOMIC_ACQUIRE) == 3u;
}

/* One question at a time; the link manager's thread answers between two turns. The caller fills in
 * what it asks about and calls with the lock held; it is held again on return. */
int link_manager_ask(struct link_manager *manager, enum link_question question,
                     uint64_t deadline_ns)
{
    manager->question = question;
    __atomic_store_n(&manager->request, LINK_REQUEST_WAITING, __ATOMIC_RELAXED);
    event_signal(&manager->host->link_event);
    while (manager->request == LINK_REQUEST_WAITING) {
        if (!condition_wait(&manager->answered, &manager->lock, deadline_ns)) {
            break;
        }
    }
    return manager->request == LINK_REQUEST_ANSWERED ? ERROR_NONE : ERROR_DOWN;
}

int link_manager_begin_asking(struct link_manager *manager, uint64_t deadline_ns)
{
    lock_acquire(&manager->lock);
    while (manager->request != LINK_REQUEST_NONE) {
        if (!condition_wait(&manager->answered, &manager->lock, deadline_ns)) {
            lock_release(&manager->lock);
            return ERROR_TIMED_OUT;
        }
    }
    return ERROR_NONE;
}

void link_manager_end_asking(struct link_manager *manager)
{
    __atomic_store_n(&manager->request, LINK_REQUEST_NONE, __ATOMIC_RELAXED);
    condition_broadcast(&manager->answered);
    lock_release(&manager->lock);
}

int link_manager_statistics(struct mach_host *host, uint32_t link,
                            struct link_statistics *statistics)
{
    struct link_manager *manager = host->links;
    uint64_t deadline_ns = clock_now_ns() + STATISTICS_TIMEOUT_NS;

    if (manager == NULL || !flag_read(&manager->is_running)) {
        return ERROR_DOWN;
    }
    if (link >= manager->link_count || !flag_read(&manager->links[link].has_phy)) {
        return ERROR_NOT_FOUND;
    }
    int status = link_manager_begin_asking(manager, deadline_ns);
    if (status != ERROR_NONE) {
        return status;
    }
    manager->request_link = link;
    status = link_manager_ask(manager, LINK_QUESTION_STATISTICS, deadline_ns);
    if (status == ERROR_NONE) {
        *statistics = manager->request_statistics;
    }
    link_manager_end_asking(manager);
    return status;
}
