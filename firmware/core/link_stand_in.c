/* SPDX-License-Identifier: MIT
 *
 * Standing in for the link manager's thread, where threads take turns (thread_runs_alone()): a
 * thread that sends gives its message to the link itself, and a thread that is about to wait for a
 * message looks for it at the links itself. So a message that is answered at once costs no change
 * of threads.
 *
 * Invariants
 * - Links are touched by one party: `is_busy` is set while the link manager's thread is in the
 *   middle of something, and while somebody stands in for it. Neither lets others run meanwhile.
 * - Whoever stands in does a part of a turn. What else a turn does (deadlines, other PHYs, kicks)
 *   is late by at most LINK_STAND_IN_POLLS messages: then that thread has its turn.
 * - Nobody stands in while a third thread could run.
 */
#include "link_manager_private.h"

/* --- Sending ---------------------------------------------------------------------------------- */

static bool transmit(void *context, mnl_msg_t message)
{
    struct peer *peer = context;
    struct link_manager *manager = peer->manager;
    struct managed_link *link = peer->active;

    if (manager->is_busy || link == NULL || link != peer->links[0] || !link_is_ready(&link->link)) {
        return false;
    }
    manager->is_busy = true;
    /* A link that keeps nothing only has to know about when it sent last. */
    manager->now_is_fresh = manager->is_polling && !link_replays(&link->link);
    peer_send(peer, message, LINK_MANAGER_BUDGET_BYTES);
    link_manager_flush(manager);
    manager->now_is_fresh = false;
    manager->is_busy = false;
    if (link_holds_messages(&link->link)) {
        event_signal(&manager->host->link_event); /* there is a deadline, or more to send */
    }
    return true;
}

void link_stand_in_offer(struct peer *peer, mnl_node_info_t node)
{
    if (thread_runs_alone()) {
        mnl_set_transmitter(node, &(struct mnl_transmitter){.transmit = transmit, .context = peer});
    }
}

/* --- Receiving -------------------------------------------------------------------------------- */

bool link_manager_may_stand_in(struct mach_host *host)
{
    const struct link_manager *manager = host->links;

    return thread_runs_alone() && manager != NULL && manager->is_polling && !manager->is_busy &&
           manager->stand_in_polls < LINK_STAND_IN_POLLS &&
           !thread_others_runnable_but(manager->thread);
}

MERGED bool link_manager_poll(struct mach_host *host)
{
    struct link_manager *manager = host->links;
    struct managed_link *arrived;

    manager->is_busy = true;
    manager->now_is_fresh = true; /* nearly; see LINK_STAND_IN_POLLS */
    link_manager_serve_peers(manager);
    arrived = link_manager_watch(manager, LINK_STAND_IN_LOOKS);
    if (arrived != NULL) {
        manager->stand_in_polls++;
        (void)arrived->phy_operations->poll(arrived->phy, LINK_MANAGER_POLL_BYTES);
    }
    link_manager_flush(manager);
    manager->now_is_fresh = false;
    manager->is_busy = false;
    return arrived != NULL;
}
