/* SPDX-License-Identifier: MIT
 *
 * The link manager's thread. One turn: look at every PHY, move messages, flush, do what is due. A
 * turn with nothing to do costs a few dozen instructions and does not read the clock; after poll_ns
 * of such turns the PHYs are armed, looked at once more, and the thread sleeps until an interrupt,
 * a sender or a deadline.
 *
 * Invariant: before it sleeps, everything that could be sent or received now was, or will signal
 * host->link_event.
 */
#include "link_manager_private.h"

#include <kernel/shared.h>

/* --- The parts of a turn ---------------------------------------------------------------------- */

/* True if a PHY has more than its share of this turn. */
static bool poll_phys(struct link_manager *manager)
{
    bool has_more = false;

    for (uint32_t i = 0; i < manager->link_count; i++) {
        struct managed_link *link = &manager->links[i];

        if (link->phy != NULL) {
            has_more |= link->phy_operations->poll(link->phy, LINK_MANAGER_POLL_BYTES);
        }
    }
    return has_more;
}

struct managed_link *link_manager_watch(struct link_manager *manager, uint32_t looks)
{
    struct managed_link *watched[LINK_MANAGER_WATCHED];
    uint32_t count = 0;

    for (uint32_t i = 0; i < manager->link_count && count < LINK_MANAGER_WATCHED; i++) {
        if (manager->links[i].watch.word != NULL) {
            watched[count++] = &manager->links[i];
        }
    }
    if (count == 0) {
        return NULL;
    }
    for (uint32_t look = 0; look < looks; look++) {
        for (uint32_t i = 0; i < count; i++) {
            if (shared_load32_acquire(watched[i]->watch.word) != *watched[i]->watch.seen) {
                return watched[i];
            }
        }
        if (thread_others_runnable_but(manager->thread)) {
            break;
        }
    }
    return NULL;
}

static void send_backlogs(struct link_manager *manager)
{
    for (uint32_t i = 0; i < manager->link_count; i++) {
        struct managed_link *link = &manager->links[i];

        if (link->phy != NULL && link_has_backlog(&link->link)) {
            link_pump(&link->link, LINK_MANAGER_BUDGET_BYTES, link_manager_now_ns(manager));
        }
    }
}

void link_manager_flush(struct link_manager *manager)
{
    struct managed_link *link;

    while ((link = manager->unflushed_first) != NULL) {
        manager->unflushed_first = link->unflushed_next;
        link->is_unflushed = false;
        if (link->phy != NULL) { /* its driver may be gone */
            link->phy_operations->flush(link->phy);
        }
    }
}

/* What is asked about does not change while the asker waits, so the lock is not held meanwhile:
 * taking links down calls into the node layer. */
static void answer(struct link_manager *manager)
{
    lock_acquire(&manager->lock);
    enum link_question question = manager->question;
    lock_release(&manager->lock);
    switch (question) {
    case LINK_QUESTION_STATISTICS:
        link_read_statistics(&manager->links[manager->request_link].link,
                             &manager->request_statistics);
        break;
    case LINK_QUESTION_DRIVER:
        manager->driver_links = link_drivers_of(manager, false);
        break;
    case LINK_QUESTION_RELEASE:
        manager->driver_links = link_drivers_of(manager, true);
        break;
    }
    lock_acquire(&manager->lock);
    if (manager->request == LINK_REQUEST_WAITING) {
        __atomic_store_n(&manager->request, LINK_REQUEST_ANSWERED, __ATOMIC_RELAXED);
        condition_broadcast(&manager->answered);
    }
    lock_release(&manager->lock);
}

/* Answer kicks, deaths and questions of other threads. */
static void serve_threads(struct link_manager *manager)
{
    if (flag_take(&manager->somebody_died)) {
        for (struct peer *peer = manager->peers; peer != NULL; peer = peer->next) {
            peer_bury(peer);
        }
    }
    if (flag_take(&manager->is_kicked)) {
        for (uint32_t i = 0; i < manager->link_count; i++) {
            struct managed_link *link = &manager->links[i];

            if (link->phy != NULL && link->peer->node_id == 0) {
                link_acknowledge(&link->link, link_manager_now_ns(manager));
            }
        }
    }
    if (flag_take(&manager->must_find_drivers)) {
        link_drivers_find(manager);
    }
    if (__atomic_load_n(&manager->request, __ATOMIC_RELAXED) == LINK_REQUEST_WAITING) {
        answer(manager);
    }
}

/* --- Deadlines -------------------------------------------------------------------------------- */

/* Do what is due on one link, and see when it has to be looked at again. */
static void tick_link(struct link_manager *manager, struct managed_link *link)
{
    uint64_t now_ns = link_manager_now_ns(manager);

    link->deadline_ns = link_next_deadline_ns(&link->link);
    if (link->deadline_ns <= now_ns) {
        link_tick(&link->link, now_ns);
        link->deadline_ns = link_next_deadline_ns(&link->link);
    }
}

/* Everything due; returns the next deadline of the node. */
static uint64_t tick_all(struct link_manager *manager)
{
    uint64_t deadline_ns = DEADLINE_NEVER;

    for (uint32_t i = 0; i < manager->link_count; i++) {
        struct managed_link *link = &manager->links[i];

        if (link->phy == NULL) {
            continue;
        }
        tick_link(manager, link);
        if (link->deadline_ns < deadline_ns) {
            deadline_ns = link->deadline_ns;
        }
    }
    for (struct peer *peer = manager->peers; peer != NULL; peer = peer->next) {
        peer_tick(peer, link_manager_now_ns(manager));
        if (peer_deadline_ns(peer) < deadline_ns) {
            deadline_ns = peer_deadline_ns(peer);
        }
    }
    return deadline_ns;
}

/* After a turn with work: acks that it made due must not wait for the next look at the clock. */
static void tick_touched(struct link_manager *manager)
{
    for (uint32_t i = 0; i < manager->link_count; i++) {
        struct managed_link *link = &manager->links[i];

        if (link->is_touched) {
            link->is_touched = false;
            tick_link(manager, link);
        }
    }
}

/* --- Turning and sleeping --------------------------------------------------------------------- */

/* Let whoever has something to do run. */
static void yield(struct link_manager *manager)
{
    if (thread_others_runnable()) {
        manager->is_busy = false;
        thread_yield();
        manager->is_busy = true;
        manager->now_is_fresh = false;
    }
}

void link_manager_serve_peers(struct link_manager *manager)
{
    for (struct peer *peer = manager->peers; peer != NULL; peer = peer->next) {
        peer_pump(peer);
        if (peer->is_flow_due) {
            peer_take_flow(peer);
            peer_pump(peer);
        }
    }
}

/* One turn; `arrived`: the one link to look at, null: all. True if it did something, or left
 * something to do at once. */
static bool turn(struct link_manager *manager, struct managed_link *arrived)
{
    uint64_t frames_before = manager->frames_seen; /* senders may have sent some since */
    uint64_t frames_polled = manager->frames;
    bool has_more = arrived == NULL
                        ? poll_phys(manager)
                        : arrived->phy_operations->poll(arrived->phy, LINK_MANAGER_POLL_BYTES);

    /* Receivers first: their answers and what they settled then leave with this turn. */
    if (manager->frames != frames_polled) {
        yield(manager);
    }
    send_backlogs(manager);
    link_manager_serve_peers(manager);
    serve_threads(manager);
    if (manager->frames != frames_before) {
        tick_touched(manager);
    }
    link_manager_flush(manager);
    manager->frames_seen = manager->frames;
    manager->stand_in_polls = 0;
    return has_more || manager->frames != frames_before;
}

/* True if something is there after all. */
static bool arm_phys(struct link_manager *manager)
{
    bool is_awake = false;

    for (uint32_t i = 0; i < manager->link_count; i++) {
        struct managed_link *link = &manager->links[i];

        if (link->phy != NULL) {
            is_awake |= link->phy_operations->arm(link->phy);
        }
    }
    return is_awake;
}

static void disarm_phys(struct link_manager *manager)
{
    for (uint32_t i = 0; i < manager->link_count; i++) {
        struct managed_link *link = &manager->links[i];

        if (link->phy != NULL) {
            link->phy_operations->disarm(link->phy);
        }
    }
}

/* Nothing to do: sleep until somebody signals or a deadline comes. */
static void sleep_until_needed(struct link_manager *manager)
{
    uint64_t frames_before = manager->frames;
    uint64_t deadline_ns;

    if (!arm_phys(manager)) {
        manager->now_is_fresh = false;
        deadline_ns = tick_all(manager);
        link_manager_flush(manager);
        if (manager->frames == frames_before) {
            manager->is_polling = false;
            manager->is_busy = false;
            (void)event_wait(&manager->host->link_event, deadline_ns);
            manager->is_busy = true;
        }
    }
    disarm_phys(manager);
    manager->now_is_fresh = false;
}

/* Idle turns since the last one with work, and when they began. */
struct idleness {
    uint32_t turns;
    uint64_t since_ns;
};

/* A turn without work. Every so often the clock is read, deadlines are looked at, and polling gives
 * way to sleep: false if it did. */
static bool idle(struct link_manager *manager, struct idleness *idleness)
{
    if (manager->configuration.poll_ns == 0 && !manager->configuration.poll_forever) {
        sleep_until_needed(manager);
        return false;
    }
    if (idleness->turns == 0) {
        idleness->since_ns = link_manager_now_ns(manager);
    }
    idleness->turns++;
    if (idleness->turns % LINK_MANAGER_CLOCK_TURNS != 0) {
        return true;
    }
    manager->now_is_fresh = false;
    manager->is_polling = true;
    (void)tick_all(manager);
    link_manager_flush(manager);
    if (!manager->configuration.poll_forever &&
        manager->now_ns - idleness->since_ns >= manager->configuration.poll_ns) {
        sleep_until_needed(manager);
        idleness->turns = 0;
        return false;
    }
    return true;
}

void link_manager_run(void *argument)
{
    struct link_manager *manager = argument;
    struct idleness idleness = {0};
    struct managed_link *arrived = NULL;

    manager->is_busy = true;
    while (!flag_read(&manager->must_stop)) {
        bool has_worked = turn(manager, arrived);

        arrived = NULL;
        if (has_worked) {
            manager->now_is_fresh = false;
            idleness.turns = 0;
        } else if (idle(manager, &idleness)) {
            arrived = link_manager_watch(manager, LINK_MANAGER_WATCH_LOOKS);
        }
        yield(manager);
    }
}
