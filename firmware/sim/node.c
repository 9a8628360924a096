/* SPDX-License-Identifier: MIT
 *
 * Machines: power, lives, hangs, and node 0's word. What a life runs is the real core, brought up
 * as kernel_main() does it, in the same arena as the life before: whatever that one left there is
 * what this one finds.
 */
#include "core/node.h"
#include "arch/sim/fiber.h"
#include "core/heap.h"
#include "core/name_table.h"
#include "core/poison.h"
#include "world.h"

#include <string.h>

#define CLOCK_FIRST_NS SIM_MS        /* node time is never 0 */
#define CLOCK_SPREAD_NS (1ull << 40) /* and no two nodes' clocks agree */

struct sim_node sim_nodes[SIM_NODES_MAXIMUM];
struct sim_life sim_lives[SIM_LIVES_MAXIMUM];
uint32_t sim_life_count;

static _Alignas(64) uint8_t arenas[SIM_NODES_MAXIMUM][SIM_ARENA_BYTES];

/* --- Set-up
 * --------------------------------------------------------------------------------------- */

static void plug_links(struct sim_node *node)
{
    const struct sim_settings *settings = sim.settings;

    for (uint32_t link = 0; link < settings->link_count; link++) {
        const struct sim_link_settings *of = &settings->links[link];
        uint32_t end = of->ends[0] == node->index ? 0 : 1;

        if (of->ends[end] != node->index || node->link_count == SIM_LINKS_PER_NODE) {
            continue;
        }
        node->world_links[node->link_count] = link;
        node->links[node->link_count++] = (struct boot_link){
            .kind = of->kind == SIM_LINK_RING ? BOOT_LINK_IVSHMEM : BOOT_LINK_VIRTIO_SERIAL,
            .use = BOOT_LINK_USE_LINK,
            .slot = link * 2 + end,
            .peer = settings->first_id + of->ends[1 - end],
            .payload_crc = (of->options[end] & SIM_END_WANTS_CRC) != 0,
            .replay = (of->options[end] & SIM_END_OFFERS_REPLAY) != 0,
        };
    }
}

void nodes_open(void)
{
    sim_life_count = 0;
    for (uint32_t i = 0; i < sim.settings->node_count; i++) {
        struct sim_node *node = &sim_nodes[i];

        node->index = i;
        node->id = sim.settings->first_id + i;
        node->launch = 0;
        node->boot_count = 0;
        node->life = SIM_NONE;
        node->link_count = 0;
        node->is_ready = false;
        node->is_hung = false;
        node->disturbed_ns = 0;
        plug_links(node);
        if (sim.settings->dirt != 0) {
            memory_unpoison(arenas[i], SIM_ARENA_BYTES);
            memset(arenas[i], (int)(sim.settings->dirt - 1), SIM_ARENA_BYTES);
        }
    }
}

struct sim_node *node_of_id(uint32_t node_id)
{
    uint32_t index = node_id - sim.settings->first_id;

    return index < sim.settings->node_count ? &sim_nodes[index] : NULL;
}

bool node_id_is_suspect(uint32_t node_id)
{
    const struct sim_node *node = node_of_id(node_id);

    return node != NULL && node->is_suspect;
}

bool nodes_have_suspects(void)
{
    for (uint32_t i = 0; i < sim.settings->node_count; i++) {
        if (sim_nodes[i].is_suspect) {
            return true;
        }
    }
    return false;
}

bool node_is_discredited(uint32_t index)
{
    const struct sim_node *node = &sim_nodes[index];

    return node->is_suspect && node->life != SIM_NONE &&
           node->forged_incarnation >= node_life(node)->incarnation;
}

uint32_t life_find(uint32_t node, uint64_t incarnation)
{
    for (uint32_t i = sim_life_count; i-- != 0;) {
        if (sim_lives[i].node == node && sim_lives[i].incarnation == incarnation) {
            return i;
        }
    }
    return SIM_NONE;
}

/* --- A life
 * --------------------------------------------------------------------------------------- */

static int host_open(struct sim_node *node)
{
    const struct sim_settings *settings = sim.settings;
    struct mach_host_configuration configuration = {
        .node_id = node->id,
        .incarnation = node_life(node)->incarnation,
        .seed = fiber_random(),
        .constants = {.nodes_max = 8,
                      .window = settings->window,
                      .keepalive_ns = settings->keepalive_ns,
                      .link_down_after_ns = settings->link_down_after_ns,
                      .dead_after_ns = settings->dead_after_ns,
                      .ack_delay_ns = settings->ack_delay_ns,
                      .ack_count = settings->ack_count},
        .arena = arenas[node->index],
        .arena_bytes = SIM_ARENA_BYTES,
    };
    int error = mach_host_initialize(&node->host, &configuration);

    if (error == ERROR_NONE) {
        thread_set_host(&node->host);
        watch_observe(node);
    }
    return error;
}

static int links_open(struct sim_node *node)
{
    struct link_manager_configuration configuration = {
        .links = node->links,
        .link_count = node->link_count,
        .poll_ns = sim.settings->poll_ns,
        .message_max = SIM_MESSAGE_MAXIMUM,
        .find_phy = network_find_phy,
        .observer = watch_link_observer(node),
    };

    return link_manager_start(&node->host, &configuration);
}

/* Whatever lives they claimed. */
static void bury_suspects(struct sim_node *node)
{
    for (uint32_t i = 0; i < sim.settings->node_count; i++) {
        if (i != node->index && sim_nodes[i].is_suspect) {
            (void)node_declare_dead(&node->host, sim_nodes[i].id, UINT64_MAX, NODE_DEATH_DRIVER);
        }
    }
}

/* Tells what node 0 said, as FLIPC does when the message arrives. Of itself node 0 says nothing; that
 * it is gone is told only at the end of a run. */
static void agent_main(void *argument)
{
    struct sim_node *node = argument;

    for (;;) {
        if (node->has_to_bury) {
            node->has_to_bury = false;
            bury_suspects(node);
        }
        while (node->notices_done < node->notice_count) {
            const struct sim_life *life = &sim_lives[node->notices[node->notices_done++]];
            struct node_death_body body = {.node_id = le32_of(sim_nodes[life->node].id),
                                           .cause = le32_of(NODE_DEATH_HOST),
                                           .incarnation = le64_of(life->incarnation)};

            if (le32_load(body.node_id) == 0) {
                (void)node_declare_dead(&node->host, 0, le64_load(body.incarnation),
                                        NODE_DEATH_DRIVER);
            } else {
                node_death_received(&node->host, &body);
            }
        }
        (void)event_wait(&node->agent_event, DEADLINE_NEVER);
    }
}

/* Nothing of the node runs until the baseline is taken. */
static void node_main(void *argument)
{
    struct sim_node *node = argument;
    int error = host_open(node);

    fiber_hold(true);
    if (error == ERROR_NONE) {
        error = program_start(node->index);
    }
    if (error == ERROR_NONE) {
        error = thread_create(&node->host, "agent", agent_main, node, NULL);
    }
    if (error == ERROR_NONE) {
        error = links_open(node);
    }
    node->baseline = heap_statistics(&node->host);
    node->baseline_names = name_count(&node->host);
    fiber_hold(false);
    if (error != ERROR_NONE) {
        sim_violated(0, "node %u did not come up: error %d", node->id, error);
        return;
    }
    node->is_ready = true;
}

void node_boot(uint32_t index)
{
    struct sim_node *node = &sim_nodes[index];

    if (sim_life_count == SIM_LIVES_MAXIMUM) {
        return; /* a schedule that crashes without end: the node stays off */
    }
    if (node->boot_count == 0) {
        node->launch++;
        node->boot_count = 1;
    }
    node->life = sim_life_count++;
    *node_life(node) =
        (struct sim_life){.incarnation = (uint64_t)node->launch << 32 | node->boot_count,
                          .boot_ns = fiber_now_ns(),
                          .end_ns = SIM_NEVER,
                          .node = index};
    node->is_ready = false;
    node->is_hung = false;
    node->is_stale = false;
    node->notice_count = 0;
    node->notices_done = 0;
    node->has_to_bury = false;
    memset(node->known, 0, sizeof(node->known));
    memset(node->told_up, 0, sizeof(node->told_up));
    memset(node->told_dead, 0, sizeof(node->told_dead));
    event_init(&node->agent_event);
    node_disturb(index, fiber_now_ns());
    trace(index, TRACE_BOOT, node_life(node)->incarnation, 0, 0);
    fiber_group_open(index, CLOCK_FIRST_NS + fiber_random() % CLOCK_SPREAD_NS);
    network_power(index, true, true);
    if (node_is_agent(index)) {
        agent_boot();
        return;
    }
    if (fiber_start(index, node_main, node) != ERROR_NONE) {
        sim_violated(0, "the simulator has no fiber left");
    }
}

void node_end_life(uint32_t index, bool carrier_is_lost)
{
    struct sim_node *node = &sim_nodes[index];

    trace(index, TRACE_END, node_life(node)->incarnation, 0, 0);
    node_life(node)->end_ns = fiber_now_ns();
    rights_life_ended(node->life);
    node_disturb(index, fiber_now_ns());
    fiber_group_kill(index);
    network_power(index, false, carrier_is_lost);
    if (node_is_agent(index)) {
        agent_end();
    } else {
        program_end(index);
    }
    node->life = SIM_NONE;
    node->is_ready = false;
    node->is_hung = false;
}

/* --- What others do to it
 * ------------------------------------------------------------------------- */

void node_notice(uint32_t index, uint32_t life)
{
    struct sim_node *node = &sim_nodes[index];

    if (node->life == SIM_NONE || !node->is_ready || node->notice_count == SIM_LIVES_MAXIMUM) {
        return;
    }
    if (node_is_agent(index)) {
        agent_notice(sim_nodes[sim_lives[life].node].id, sim_lives[life].incarnation);
        return;
    }
    node->notices[node->notice_count++] = life;
    event_signal(&node->agent_event);
}

void nodes_bury_suspects(void)
{
    for (uint32_t i = 0; i < sim.settings->node_count; i++) {
        if (sim_nodes[i].is_ready && node_is_agent(i)) {
            agent_bury_suspects();
        } else if (sim_nodes[i].is_ready) {
            sim_nodes[i].has_to_bury = true;
            event_signal(&sim_nodes[i].agent_event);
        }
    }
}

void node_disturb(uint32_t index, uint64_t until_ns)
{
    if (until_ns > sim_nodes[index].disturbed_ns) {
        sim_nodes[index].disturbed_ns = until_ns;
    }
}

/* What kernel_main() does when this life was declared dead: the machine resets itself. */
void node_note_stale(uint32_t index)
{
    struct sim_node *node = &sim_nodes[index];

    /* Whoever claimed a life that it will never have is refused for good. */
    if (!node->is_stale && !node_is_discredited(index)) {
        node->is_stale = true;
        timeline_add(fiber_now_ns() + SIM_MS, TIMELINE_RESET, index, node->life);
    }
}
