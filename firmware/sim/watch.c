/* SPDX-License-Identifier: MIT
 *
 * What nodes are told and what becomes of them, against what the world knows: I5 (credits), I6 and
 * I7 (lives and deaths), I9 (memory), I11 (links come back), I12 (trouble stays where it is).
 */
#include "arch/sim/fiber.h"
#include "core/heap.h"
#include "core/name_table.h"
#include "core/node.h"
#include "world.h"

/* How long after a disturbance its consequences may show: retraining after four replays. */
#define AFTERMATH_NS (2000 * SIM_MS)

static uint32_t index_of(uint32_t node_id)
{
    return node_id - sim.settings->first_id;
}

static uint64_t aftermath_ns(void)
{
    return sim.settings->link_down_after_ns + sim.settings->dead_after_ns + AFTERMATH_NS;
}

/* --- Nodes
 * ---------------------------------------------------------------------------------------- */

/* The life that a node was told about; SIM_NONE: there never was one, which is a violation. */
static uint32_t told_life(const struct sim_node *node, uint32_t node_id, uint64_t incarnation)
{
    uint32_t other = index_of(node_id);
    uint32_t life = other < sim.settings->node_count ? life_find(other, incarnation) : SIM_NONE;

    if (life == SIM_NONE || other == node->index) {
        sim_violated(7, "node %u was told of life %llx of node %u, which never was", node->id,
                     (unsigned long long)incarnation, node_id);
        return SIM_NONE;
    }
    return life;
}

void watch_node_up(void *context, uint32_t node_id, uint64_t incarnation)
{
    struct sim_node *node = context;
    struct sim_known *known = &node->known[index_of(node_id)];
    uint32_t life;

    trace(node->index, TRACE_UP, node_id, incarnation, 0);
    if (node_id_is_suspect(node_id)) {
        return;
    }
    life = told_life(node, node_id, incarnation);
    if (life == SIM_NONE) {
        return;
    }
    if (known->up != 0) {
        sim_exercised(6);
    }
    if (node->told_up[life] || node->told_dead[life] || incarnation < known->up) {
        sim_violated(6, "node %u was told that life %llx of node %u is up, after %llx", node->id,
                     (unsigned long long)incarnation, node_id, (unsigned long long)known->up);
    } else if (known->up != 0 && known->dead < known->up) {
        sim_violated(6, "node %u: life %llx of node %u is up before %llx was told dead", node->id,
                     (unsigned long long)incarnation, node_id, (unsigned long long)known->up);
    }
    node->told_up[life] = true;
    known->up = incarnation;
}

/* Could everything between two nodes have been silent for so long? */
static bool is_presumable(const struct sim_node *node, uint32_t other)
{
    uint64_t now_ns = fiber_now_ns();

    for (uint32_t i = 0; i < node->link_count; i++) {
        uint32_t link = node->world_links[i];
        const struct sim_link_settings *settings = &sim.settings->links[link];

        if ((settings->ends[0] == other || settings->ends[1] == other) &&
            network_disturbed_ns(link) + aftermath_ns() < now_ns) {
            return false;
        }
    }
    return true;
}

/* Is this cause a reason to believe it? */
static bool is_justified(const struct sim_node *node, uint32_t life, enum node_death_cause cause)
{
    const struct sim_life *dead = &sim_lives[life];

    if (node->is_suspect) {
        return true; /* whoever talks to it may close its links */
    }

    if (dead->end_ns != SIM_NEVER) {
        return true;
    }
    return cause == NODE_DEATH_SILENCE && is_presumable(node, dead->node);
}

/* It may have claimed any life: what was told is kept for those that it had. */
static void note_suspect_dead(struct sim_node *node, uint32_t node_id, uint64_t incarnation)
{
    for (uint32_t life = 0; life < sim_life_count; life++) {
        if (sim_lives[life].node == index_of(node_id) &&
            sim_lives[life].incarnation <= incarnation) {
            node->told_dead[life] = true;
            rights_told_dead(node->index, life);
        }
    }
}

void watch_node_dead(void *context, uint32_t node_id, uint64_t incarnation,
                     enum node_death_cause cause)
{
    struct sim_node *node = context;
    struct sim_known *known = &node->known[index_of(node_id)];
    uint32_t life;

    trace(node->index, TRACE_DEAD, node_id, incarnation, (uint64_t)cause);
    if (node_id_is_suspect(node_id)) {
        note_suspect_dead(node, node_id, incarnation);
        return;
    }
    life = told_life(node, node_id, incarnation);
    if (life == SIM_NONE) {
        return;
    }
    sim_exercised(7);
    sim.result->deaths++;
    if (node->told_dead[life]) {
        sim_violated(7, "node %u was told twice that life %llx of node %u is dead", node->id,
                     (unsigned long long)incarnation, node_id);
    } else if (!is_justified(node, life, cause) && !sim.is_closing) {
        sim_violated(7, "node %u was told that life %llx of node %u is dead (cause %u); it lives",
                     node->id, (unsigned long long)incarnation, node_id, (unsigned)cause);
    }
    node->told_dead[life] = true;
    if (incarnation > known->dead) {
        known->dead = incarnation;
    }
    oracle_life_died(node->index, life);
    rights_told_dead(node->index, life);
}

static void self_dead(void *context, uint64_t incarnation, enum node_death_cause cause)
{
    struct sim_node *node = context;

    (void)incarnation;
    (void)cause;
    node_note_stale(node->index);
}

void watch_observe(struct sim_node *node)
{
    node->observer = (struct node_observer){
        .context = node, .up = watch_node_up, .dead = watch_node_dead, .self_dead = self_dead};
    node_observe(&node->host, &node->observer);
}

/* I7: whoever knew a life that is over was told of its end. Calls `missing` (may be null) for one
 * that was not. */
static bool each_notice(void (*missing)(const struct sim_node *node, uint32_t life))
{
    bool are_told = true;

    for (uint32_t i = 0; i < sim.settings->node_count; i++) {
        const struct sim_node *node = &sim_nodes[i];

        for (uint32_t life = 0; node->life != SIM_NONE && life < sim_life_count; life++) {
            if (!node->told_up[life] || sim_lives[life].end_ns == SIM_NEVER || node->is_suspect) {
                continue;
            }
            sim_exercised(7);
            if (!node->told_dead[life]) {
                are_told = false;
                if (missing != NULL) {
                    missing(node, life);
                }
            }
        }
    }
    return are_told;
}

static void notice_is_missing(const struct sim_node *node, uint32_t life)
{
    sim_violated(7, "node %u was never told that life %llx of node %u is dead", node->id,
                 (unsigned long long)sim_lives[life].incarnation,
                 sim_nodes[sim_lives[life].node].id);
}

bool watch_notices_are_told(void)
{
    return each_notice(NULL);
}

void watch_check_notices(void)
{
    (void)each_notice(notice_is_missing);
}

/* --- Links
 * ---------------------------------------------------------------------------------------- */

static bool is_fault_of_protocol(enum link_reason reason)
{
    return reason == LINK_REASON_GAP || reason == LINK_REASON_GARBAGE ||
           reason == LINK_REASON_SILENT || reason == LINK_REASON_REPLAY_EXHAUSTED ||
           reason == LINK_REASON_PEER_LOST_US || reason == LINK_REASON_RETRAIN;
}

/* I12: a link that nothing was done to, between nodes that nothing was done to, stays up. */
static void check_change(const struct sim_node *node, uint32_t link, uint64_t bits,
                         enum link_reason reason)
{
    if (bits == 3 || sim.is_closing) {
        return;
    }
    sim_exercised(12);
    if (is_fault_of_protocol(reason) &&
        network_disturbed_ns(link) + aftermath_ns() < fiber_now_ns()) {
        sim_violated(12, "node %u, link %u: reason %u, and nothing was done to it", node->id, link,
                     (unsigned)reason);
    }
}

static void link_state(void *context, const struct link_change *change)
{
    struct sim_node *node = context;
    uint32_t link = network_index(node->index, change->link);
    uint64_t bits = (change->rx_up ? 1u : 0u) | (change->tx_up ? 2u : 0u);

    trace(node->index, TRACE_LINK, link, bits << 32 | (uint32_t)change->reason,
          (uint64_t)change->peer_epoch << 32 | change->epoch);
    check_change(node, link, bits, change->reason);
}

void watch_agent_link(struct sim_node *node, uint32_t link, uint64_t bits, enum link_reason reason,
                      uint64_t epochs)
{
    trace(node->index, TRACE_LINK, link, bits << 32 | (uint32_t)reason, epochs);
    check_change(node, link, bits, reason);
}

static bool link_is_suspect(uint32_t link)
{
    const uint32_t *ends = sim.settings->links[link].ends;

    return sim_nodes[ends[0]].is_suspect || sim_nodes[ends[1]].is_suspect;
}

void watch_agent_refused(struct sim_node *node, uint32_t link, enum link_refusal reason,
                         uint64_t incarnation, bool by_us)
{
    trace(node->index, TRACE_REFUSED, link, (uint64_t)reason, by_us);
    if (reason != LINK_REFUSAL_STALE && reason != LINK_REFUSAL_DUPLICATE_ID &&
        !link_is_suspect(link)) {
        sim_violated(12, "node %u, link %u: refusal of life %llx (by us: %u), reason %u", node->id,
                     link, (unsigned long long)incarnation, by_us, (unsigned)reason);
    }
}

static void link_refused(void *context, uint32_t link, uint32_t peer, enum link_refusal reason,
                         uint64_t incarnation, bool by_us)
{
    struct sim_node *node = context;

    (void)peer;
    watch_agent_refused(node, network_index(node->index, link), reason, incarnation, by_us);
}

static void link_dropped(void *context, uint32_t link, uint32_t peer, enum link_drop reason,
                         uint64_t count)
{
    struct sim_node *node = context;

    (void)peer;
    (void)count;
    trace(node->index, TRACE_DROP, network_index(node->index, link), (uint64_t)reason, 0);
}

static void told_stale(void *context, uint64_t incarnation)
{
    struct sim_node *node = context;

    trace(node->index, TRACE_STALE, incarnation, 0, 0);
    node_note_stale(node->index);
}

struct link_observer watch_link_observer(struct sim_node *node)
{
    return (struct link_observer){.context = node,
                                  .state = link_state,
                                  .refused = link_refused,
                                  .drop = link_dropped,
                                  .stale = told_stale};
}

bool watch_links_are_up(void)
{
    for (uint32_t link = 0; link < sim.settings->link_count; link++) {
        if (!network_is_up(link)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < sim.settings->node_count; i++) {
        if (sim_nodes[i].is_stale) {
            return false;
        }
    }
    return true;
}

/* I11. */
void watch_check_links(uint64_t since_ns)
{
    sim_exercised(11);
    for (uint32_t link = 0; link < sim.settings->link_count; link++) {
        if (!network_is_up(link)) {
            sim_violated(11, "link %u is down %llu ms after the last fault", link,
                         (unsigned long long)((fiber_now_ns() - since_ns) / SIM_MS));
            return;
        }
    }
}

/* --- Credits
 * -------------------------------------------------------------------------------------- */

static void check_flow(const struct sim_node *node, const struct node *peer)
{
    const struct flow *flow = &peer->flow;

    if (flow->unsettled_count > flow->window ||
        flow->credit != flow->next_expected - flow->unsettled_count + flow->window) {
        sim_violated(5, "node %u gave node %u credit %u with %u of %u unsettled, %u expected",
                     node->id, peer->id, flow->credit, flow->unsettled_count, flow->window,
                     flow->next_expected);
    }
    if (flow->outstanding_count > flow->window + FLOW_OUTSTANDING_SLACK + FLIPC_CONTROL_RESERVE ||
        (int32_t)(flow->next_sequence - flow->peer_credit) > (int32_t)FLIPC_CONTROL_RESERVE) {
        sim_violated(5, "node %u has %u outstanding for node %u, next %u, credit %u", node->id,
                     flow->outstanding_count, peer->id, flow->next_sequence, flow->peer_credit);
    }
}

/* I12: whatever a peer sends, it costs a node no more than its windows, what waits for it and what it
 * is to be told (flow.h). Half the memory is plenty for one such peer and all honest ones; each further
 * one may have as much as its bounds say. */
static size_t appetite_bytes(const struct sim_node *node)
{
    size_t bytes = SIM_ARENA_BYTES / 2;
    uint32_t suspects = 0;

    for (uint32_t i = 0; i < sim.settings->node_count; i++) {
        suspects += i != node->index && sim_nodes[i].is_suspect;
    }
    return suspects < 2 ? bytes : bytes + (suspects - 1u) * 3u * FLOW_WAITING_MAXIMUM;
}

static void check_appetite(struct sim_node *node)
{
    size_t used_bytes = heap_statistics(&node->host).used_bytes;

    if (used_bytes > appetite_bytes(node)) {
        sim_violated(12, "node %u uses %zu bytes", node->id, used_bytes);
    }
}

void watch_flows(void)
{
    for (uint32_t i = 0; i < sim.settings->node_count; i++) {
        struct sim_node *node = &sim_nodes[i];

        if (!node->is_ready || node_is_agent(i) || node->host.ipc->lock.owner != NULL) {
            continue;
        }
        check_appetite(node);
        for (uint32_t id = 0; id < node->host.nodes->slot_count; id++) {
            const struct node *peer = node->host.nodes->slots[id].live;

            if (peer != NULL) {
                sim_exercised(5);
                check_flow(node, peer);
            }
        }
    }
}

/* --- Memory
 * --------------------------------------------------------------------------------------- */

static int64_t names_left(struct sim_node *node)
{
    return (int64_t)(name_count(&node->host) - node->baseline_names);
}

/* Calls `found` (may be null) for a node that still has ports of others. */
static bool each_remainder(void (*found)(struct sim_node *node))
{
    bool are_back = true;

    for (uint32_t i = 0; oracle_rights_come_back() && i < sim.settings->node_count; i++) {
        struct sim_node *node = &sim_nodes[i];

        if (node->is_ready && !node_is_agent(i) && names_left(node) != 0) {
            are_back = false;
            if (found != NULL) {
                found(node);
            }
        }
    }
    return are_back;
}

bool watch_rights_are_back(void)
{
    return each_remainder(NULL);
}

static void remainder_is_left(struct sim_node *node)
{
    sim_violated(9, "node %u has %lld names more than at first, and nobody has a right", node->id,
                 (long long)names_left(node));
}

/* I9: every right was given back, everybody lives, and knows of nothing any more. */
void watch_check_rights_are_back(void)
{
    if (!sim.is_over) {
        (void)each_remainder(remainder_is_left);
    }
}

/* I9: everybody else is dead and the programs gave back what they had. */
void watch_check_memory(void)
{
    for (uint32_t i = 0; i < sim.settings->node_count; i++) {
        struct sim_node *node = &sim_nodes[i];
        struct heap_statistics heap;
        uint64_t nodes, messages;

        if (!node->is_ready) {
            continue;
        }
        sim_exercised(9);
        if (node_is_agent(i)) {
            agent_check_memory();
            continue;
        }
        heap = heap_statistics(&node->host);
        nodes = heap_count(&node->host, HEAP_NODE);
        messages = heap_count(&node->host, HEAP_KMSG);
        if (heap.used_bytes != node->baseline.used_bytes || nodes != 0 || messages != 0 ||
            name_count(&node->host) != node->baseline_names) {
            sim_violated(9,
                         "node %u: %lld bytes more than at first, %llu nodes, %llu messages, %lld "
                         "names more",
                         node->id, (long long)(heap.used_bytes - node->baseline.used_bytes),
                         (unsigned long long)nodes, (unsigned long long)messages,
                         (long long)(name_count(&node->host) - node->baseline_names));
        }
    }
}
