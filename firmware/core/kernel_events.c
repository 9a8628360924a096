/* SPDX-License-Identifier: MIT
 *
 * Observers of the node layer and of the link manager. Each writes one black-box event; a death of
 * this node is also passed on to kernel_main(). Called from other
 * layers' threads; nothing here waits.
 */
#include "kernel_events.h"

#include <kernel/blackbox.h>
#include <kernel/host.h>

#define REFUSED_BY_US 1u
#define REFUSED_BY_PEER 2u

static void flag_raise(struct kernel_events *events, bool *flag)
{
    __atomic_store_n(flag, true, __ATOMIC_RELEASE);
    event_signal(&events->wake);
}

bool kernel_events_management_up(const struct kernel_events *events)
{
    return __atomic_load_n(&events->management_up, __ATOMIC_ACQUIRE);
}

bool kernel_events_life_over(const struct kernel_events *events)
{
    return __atomic_load_n(&events->life_over, __ATOMIC_ACQUIRE);
}

/* --- Nodes ------------------------------------------------------------------------------------ */

static void node_up(void *context, uint32_t node_id, uint64_t incarnation)
{
    struct kernel_events *events = context;
    struct blackbox_record record = {
        .kind = BLACKBOX_EVENT_NODE_UP,
        .link = BLACKBOX_NO_LINK,
        .peer = node_id,
        .arg0 = incarnation,
    };

    blackbox_event(events->host, &record);
}

static void node_dead(void *context, uint32_t node_id, uint64_t incarnation,
                      enum node_death_cause cause)
{
    struct kernel_events *events = context;
    struct blackbox_record record = {
        .kind = BLACKBOX_EVENT_NODE_DEAD,
        .link = BLACKBOX_NO_LINK,
        .peer = node_id,
        .arg0 = incarnation,
        .arg1 = (uint64_t)cause,
    };

    blackbox_event(events->host, &record);
}

static void life_over(struct kernel_events *events, uint64_t incarnation)
{
    struct blackbox_record record = {
        .kind = BLACKBOX_EVENT_STALE, .link = BLACKBOX_NO_LINK, .arg0 = incarnation};

    /* Node 0's word and a peer's refusal may both come: it is told once. */
    if (!kernel_events_life_over(events)) {
        blackbox_event(events->host, &record);
        flag_raise(events, &events->life_over);
    }
}

static void self_dead(void *context, uint64_t incarnation, enum node_death_cause cause)
{
    (void)cause; /* node 0's word, always */
    life_over(context, incarnation);
}

void kernel_events_open(struct kernel_events *events, struct mach_host *host)
{
    *events = (struct kernel_events){
        .host = host,
        .nodes = {.context = events, .up = node_up, .dead = node_dead, .self_dead = self_dead},
    };
    event_init(&events->wake);
    node_observe(host, &events->nodes);
}

/* --- Links ------------------------------------------------------------------------------------ */

static uint64_t direction_bits(bool rx_up, bool tx_up)
{
    return (rx_up ? 1u : 0u) | (tx_up ? 2u : 0u);
}

static void link_state(void *context, const struct link_change *change)
{
    struct kernel_events *events = context;
    struct blackbox_record record = {
        .kind = BLACKBOX_EVENT_LINK_STATE,
        .link = change->link,
        .peer = change->peer,
        .arg0 = direction_bits(change->rx_up, change->tx_up),
        .arg1 = (uint64_t)change->peer_epoch << 32 | change->epoch,
        .arg2 = (uint64_t)change->reason,
    };

    blackbox_event(events->host, &record);
    if (change->link == MANAGEMENT_LINK && change->rx_up && change->tx_up) {
        flag_raise(events, &events->management_up);
    }
}

static void link_carrier(void *context, uint32_t link, uint32_t peer, bool rx_up, bool tx_up,
                         uint32_t generation)
{
    struct kernel_events *events = context;
    struct blackbox_record record = {
        .kind = BLACKBOX_EVENT_CARRIER,
        .link = link,
        .peer = peer,
        .arg0 = direction_bits(rx_up, tx_up),
        .arg1 = generation,
    };

    blackbox_event(events->host, &record);
}

static void link_refused(void *context, uint32_t link, uint32_t peer, enum link_refusal reason,
                         uint64_t incarnation, bool by_us)
{
    struct kernel_events *events = context;
    struct blackbox_record record = {
        .kind = BLACKBOX_EVENT_LINK_REFUSED,
        .link = link,
        .peer = peer,
        .arg0 = (uint64_t)reason,
        .arg1 = incarnation,
        .arg2 = by_us ? REFUSED_BY_US : REFUSED_BY_PEER,
    };

    blackbox_event(events->host, &record);
}

static void link_dropped(void *context, uint32_t link, uint32_t peer, enum link_drop reason,
                         uint64_t count)
{
    struct kernel_events *events = context;
    struct blackbox_record record = {
        .kind = BLACKBOX_EVENT_LINK_DROP,
        .link = link,
        .peer = peer,
        .arg0 = (uint64_t)reason,
        .arg1 = count,
    };

    blackbox_event(events->host, &record);
}

static void link_stale(void *context, uint64_t incarnation)
{
    life_over(context, incarnation);
}

struct link_observer kernel_events_link_observer(struct kernel_events *events)
{
    return (struct link_observer){
        .context = events,
        .state = link_state,
        .carrier = link_carrier,
        .refused = link_refused,
        .drop = link_dropped,
        .stale = link_stale,
    };
}
