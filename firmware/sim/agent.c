/* SPDX-License-Identifier: MIT
 *
 * The caller's own node among those of the core (sim_agent.h): its life, its ends of cables, its
 * time, and its accounts, which are those of every other node. It takes no time and is run some
 * microseconds after it has something to look at.
 */
#include "arch/sim/fiber.h"
#include "core/port.h"
#include "network.h"
#include "sim_agent.h"

#include <string.h>

#define PAUSE_NS 1000u     /* at least, from one run() to the next that it asks for */
#define REACTION_NS 20000u /* at most, from a frame's arrival to run() */

static struct sim_agent agent;
static bool is_set;
static struct phy *ends[SIM_LINKS_MAXIMUM]; /* by link; null: not one of the agent's */
static uint64_t state_bits[SIM_LINKS_MAXIMUM];
static uint64_t due_ns; /* world time of the next run(); SIM_NEVER: none is on the timeline */
static uint32_t due_count;

void sim_agent_set(const struct sim_agent *with)
{
    is_set = with != NULL;
    if (is_set) {
        agent = *with;
    }
}

bool agent_is_set(void)
{
    return is_set;
}

static uint32_t index_of_agent(void)
{
    return sim.settings->agent - 1u;
}

static struct sim_node *agent_node(void)
{
    return &sim_nodes[index_of_agent()];
}

static bool is_there(void)
{
    return sim.settings->agent != 0 && agent_node()->life != SIM_NONE;
}

static uint64_t clock_ns(void)
{
    return fiber_group_clock_ns(index_of_agent());
}

void agent_open(void)
{
    memset(ends, 0, sizeof(ends));
    due_ns = SIM_NEVER;
    due_count = 0;
    if (sim.settings->agent != 0) {
        agent.begin(sim.settings, sim.entries);
    }
}

/* --- Time
 * ----------------------------------------------------------------------------------------- */

static void run_at(uint64_t world_ns)
{
    if (world_ns < due_ns) {
        due_ns = world_ns;
        timeline_add(world_ns, TIMELINE_AGENT, agent_node()->life, ++due_count);
    }
}

void agent_wake(void)
{
    if (is_there()) {
        run_at(fiber_now_ns() + fiber_random() % REACTION_NS);
    }
}

/* One call may be overtaken by an earlier one: the last that was asked for counts. */
void agent_run(uint32_t life, uint64_t count)
{
    uint64_t now_ns, next_ns;

    if (!is_there() || agent_node()->life != life || count != due_count) {
        return;
    }
    due_ns = SIM_NEVER;
    if (agent_node()->is_hung) {
        return; /* woken when that is over */
    }
    for (uint32_t link = 0; link < sim.settings->link_count; link++) {
        if (ends[link] != NULL) {
            network_poll(ends[link]);
        }
    }
    now_ns = clock_ns();
    next_ns = agent.run(now_ns);
    if (next_ns != UINT64_MAX && agent_node()->life == life) {
        run_at(fiber_now_ns() + (next_ns > now_ns + PAUSE_NS ? next_ns - now_ns : PAUSE_NS));
    }
}

/* --- Life
 * ----------------------------------------------------------------------------------------- */

static void take_frame(void *context, const uint8_t *frame, size_t length,
                       bool (*confirm)(struct phy *), struct phy *phy)
{
    (void)context;
    if (confirm == NULL || confirm(phy)) {
        agent.frame(phy->link, frame, (uint32_t)length, clock_ns());
    }
}

static void take_carrier(void *context, uint32_t direction, bool up, uint32_t generation,
                         bool checked)
{
    agent.carrier((uint32_t)(uintptr_t)context, direction, up, generation, checked, clock_ns());
}

void agent_boot(void)
{
    struct sim_node *node = agent_node();

    node->is_ready = true;
    agent.boot(node_life(node)->incarnation, clock_ns());
    for (uint32_t i = 0; i < node->link_count; i++) {
        uint32_t link = node->world_links[i];
        struct phy_client client = {
            .context = (void *)(uintptr_t)link, .frame = take_frame, .carrier = take_carrier};

        state_bits[link] = 0;
        ends[link] = network_plug(link, node->index, &client);
    }
    due_ns = SIM_NEVER;
    agent_wake();
}

void agent_end(void)
{
    memset(ends, 0, sizeof(ends));
    due_ns = SIM_NEVER;
    agent.end();
}

void agent_submit(uint32_t entry)
{
    agent.submit(entry);
    agent_wake();
}

void agent_notice(uint32_t node_id, uint64_t incarnation)
{
    agent.notice(node_id, incarnation, clock_ns());
    agent_wake();
}

void agent_bury_suspects(void)
{
    for (uint32_t i = 0; i < sim.settings->node_count; i++) {
        if (sim_nodes[i].is_suspect && !node_is_agent(i)) {
            agent_notice(sim_nodes[i].id, UINT64_MAX);
        }
    }
}

void agent_drain(void)
{
    if (is_there()) {
        agent.drain();
        agent_wake();
    }
}

void agent_close(void)
{
    if (is_there()) {
        agent.close();
        agent_wake();
    }
}

bool agent_is_idle(void)
{
    return agent.is_idle() != 0;
}

bool agent_is_closed(void)
{
    return agent.is_closed() != 0;
}

bool agent_link_is_up(uint32_t link)
{
    return state_bits[link] == 3;
}

void agent_check_memory(void)
{
    uint64_t left = agent.left();

    if (left != 0) {
        sim_violated(9, "node %u keeps %llu things", agent_node()->id, (unsigned long long)left);
    }
}

/* --- What it does and learns
 * ---------------------------------------------------------------------- */

int sim_agent_transmit(uint32_t link, const uint8_t *frame, uint32_t length)
{
    _Alignas(8) uint8_t header[FRAME_HEADER_SIZE];

    if (link >= SIM_LINKS_MAXIMUM || ends[link] == NULL || length < FRAME_HEADER_SIZE ||
        length > FRAME_HEADER_SIZE + SIM_MTU_MAXIMUM) {
        return ERROR_INVALID;
    }
    memcpy(header, frame, sizeof(header));
    return network_send(ends[link], header, frame + FRAME_HEADER_SIZE, length - FRAME_HEADER_SIZE);
}

void sim_agent_link(uint32_t link, uint32_t is_rx_up, uint32_t is_tx_up, uint32_t reason,
                    uint32_t epoch, uint32_t peer_epoch)
{
    uint64_t bits = (is_rx_up != 0 ? 1u : 0u) | (is_tx_up != 0 ? 2u : 0u);

    state_bits[link] = bits;
    watch_agent_link(agent_node(), link, bits, (enum link_reason)reason,
                     (uint64_t)peer_epoch << 32 | epoch);
}

void sim_agent_refused(uint32_t link, uint32_t reason, uint64_t incarnation, uint32_t is_by_us)
{
    watch_agent_refused(agent_node(), link, (enum link_refusal)reason, incarnation, is_by_us != 0);
}

void sim_agent_dropped(uint32_t link, uint32_t reason)
{
    trace(index_of_agent(), TRACE_DROP, link, reason, 0);
}

void sim_agent_up(uint32_t node_id, uint64_t incarnation)
{
    watch_node_up(agent_node(), node_id, incarnation);
}

void sim_agent_dead(uint32_t node_id, uint64_t incarnation, uint32_t cause)
{
    watch_node_dead(agent_node(), node_id, incarnation, (enum node_death_cause)cause);
}

void sim_agent_stale(void)
{
    trace(index_of_agent(), TRACE_STALE, node_life(agent_node())->incarnation, 0, 0);
    node_note_stale(index_of_agent());
}

/* --- Accounts
 * ------------------------------------------------------------------------------------- */

uint32_t sim_agent_port(uint32_t is_service)
{
    return oracle_port(NULL, agent_node()->life, is_service != 0 ? index_of_agent() : SIM_NONE);
}

void sim_agent_port_named(uint32_t port, uint64_t name)
{
    oracle_port_named(port, name);
}

void sim_agent_port_died(uint32_t port)
{
    oracle_port_died(port);
}

void sim_agent_port_gone(uint32_t port)
{
    oracle_port_gone(port);
}

uint32_t sim_agent_pick(uint32_t pick, uint64_t *name)
{
    return oracle_pick(pick, name);
}

uint32_t sim_agent_service_port(uint32_t node_id, uint64_t incarnation)
{
    const struct sim_node *node = node_of_id(node_id);
    uint32_t life = node != NULL ? life_find(node->index, incarnation) : SIM_NONE;

    return life != SIM_NONE ? oracle_service_port(life) : SIM_NONE;
}

uint32_t sim_agent_port_state(uint32_t port)
{
    uint32_t life = oracle_port_life(port);

    return (oracle_port_is_dead(port) ? 1u : 0u) | (oracle_port_is_gone(port) ? 2u : 0u) |
           (life == agent_node()->life ? 4u : 0u) | (agent_node()->told_dead[life] ? 8u : 0u) |
           (oracle_port_is_foreign(port) ? 16u : 0u) | (oracle_port_has_moved(port) ? 32u : 0u) |
           (oracle_port_may_be_dead(port, index_of_agent()) ? 64u : 0u);
}

uint32_t sim_agent_message(uint8_t *body, uint32_t size, uint32_t port, uint32_t reply_port)
{
    return oracle_message(index_of_agent(), body, size, port, reply_port);
}

void sim_agent_sent(uint32_t message, uint32_t is_sent)
{
    if (is_sent != 0) {
        oracle_sent(message);
    } else {
        oracle_unsent(message);
    }
}

void sim_agent_outcome(uint32_t message, uint32_t outcome)
{
    oracle_outcome(message, (enum message_outcome)outcome);
}

uint32_t sim_agent_is_diverted(uint32_t node_id)
{
    if (node_id != SIM_AGENT_NONE) {
        return node_id_is_suspect(node_id) ? 1 : 0;
    }
    return nodes_have_suspects() ? 1 : 0; /* it may have said so itself */
}

void sim_agent_diverted(uint32_t message)
{
    oracle_diverted(message);
}

uint32_t sim_agent_received(const uint8_t *body, uint32_t size, uint32_t source_node,
                            uint64_t source_incarnation, uint32_t has_reply, uint32_t port,
                            uint32_t is_by_set, uint32_t *message)
{
    struct oracle_arrival arrival = {.body = body,
                                     .size = size,
                                     .source_node = source_node,
                                     .source_incarnation = source_incarnation,
                                     .has_reply = has_reply != 0,
                                     .is_set = is_by_set != 0,
                                     .node = index_of_agent(),
                                     .port = port};

    uint32_t reply_port = oracle_received(&arrival);

    *message = arrival.message;
    return reply_port;
}

/* --- Accounts of rights
 * --------------------------------------------------------------------------- */

uint32_t sim_agent_right(uint32_t port, uint32_t kind, uint32_t of)
{
    return oracle_right(agent_node()->life, port, (enum port_disposition)kind, of);
}

uint32_t sim_agent_right_by_name(uint32_t port)
{
    return oracle_right_by_name(agent_node()->life, port);
}

void sim_agent_right_ended(uint32_t right)
{
    oracle_right_ended(right);
}

void sim_agent_right_unmade(uint32_t right)
{
    oracle_right_unmade(right);
}

uint32_t sim_agent_right_port(uint32_t right)
{
    return oracle_right_port(right);
}

uint32_t sim_agent_right_is_firm(uint32_t right)
{
    return oracle_right_is_firm(right) ? 1 : 0;
}

void sim_agent_carries(uint32_t message, uint32_t right)
{
    oracle_carries(message, right);
}

void sim_agent_carries_reply(uint32_t message, uint32_t right)
{
    oracle_carries_reply(message, right);
}

void sim_agent_uses(uint32_t message, uint32_t right)
{
    oracle_uses(message, right);
}

uint32_t sim_agent_cargo(uint32_t message, uint32_t *rights)
{
    uint32_t count = 0;
    const uint32_t *cargo = oracle_cargo(message, &count);

    for (uint32_t i = 0; cargo != NULL && i < count; i++) {
        rights[i] = cargo[i];
    }
    return count;
}

uint32_t sim_agent_carried_reply(uint32_t message)
{
    return oracle_carried_reply(message);
}

/* The oracle compares the names of ports of the core: the agent's is one for as long. */
void sim_agent_right_arrived(uint32_t right, uint32_t is_there, uint64_t name, uint32_t kind)
{
    struct port port = {.name = name};

    oracle_right_arrived(index_of_agent(), right, is_there != 0 ? &port : NULL,
                         (enum port_disposition)kind);
}

uint32_t sim_agent_asked(uint32_t port, uint32_t notify, uint64_t name, uint32_t right)
{
    struct port of = {.name = name};

    return oracle_asked(agent_node()->life, port, notify, &of, right);
}

void sim_agent_not_asked(uint32_t request)
{
    oracle_not_asked(request);
}

void sim_agent_told(uint32_t notify, uint32_t id, uint64_t name)
{
    oracle_told(index_of_agent(), notify, id, name);
}

void sim_agent_began(uint32_t entry)
{
    sim.result->operations++;
    sim.result->fired[sim.entries[entry].kind]++;
}

void sim_agent_exercised(uint32_t invariant)
{
    sim_exercised(invariant);
}

void sim_agent_violated(uint32_t invariant, const char *text)
{
    sim_violated(invariant, "node %u: %s", agent_node()->id, text);
}
