/* SPDX-License-Identifier: MIT
 *
 * Faults as a schedule asks for them: begin, end, and what each one means for the cable or the
 * machine. Faults of one place overlap: what can be counted is counted, so the end of one does not
 * end another; of two rates the later one counts.
 */
#include "arch/sim/fiber.h"
#include "network.h"

#include <string.h>

#define STALE_NS (200 * SIM_MS) /* nothing stays in a cable longer */

static bool is_active[SIM_ENTRIES_MAXIMUM];

void faults_open(void)
{
    memset(is_active, 0, sim.entry_count * sizeof(is_active[0]));
}

static void count_fired(uint32_t kind)
{
    sim.result->fired[kind]++;
}

static bool is_of_link(uint32_t kind)
{
    return kind >= SIM_FAULT_CUT && kind <= SIM_FAULT_TAP;
}

static uint32_t link_of(const struct sim_entry *entry)
{
    return entry->target % sim.settings->link_count;
}

static uint32_t node_of(const struct sim_entry *entry)
{
    return entry->target % sim.settings->node_count;
}

static uint32_t directions_of(const struct sim_entry *entry)
{
    uint32_t mask = entry->arguments[0] & 3u;

    return mask != 0 ? mask : 3u;
}

/* --- Links
 * ---------------------------------------------------------------------------------------- */

static void set_rate(const struct sim_entry *entry, uint32_t permille)
{
    for (uint32_t from = 0; from < 2; from++) {
        struct sim_damage *damage = &sim_cables[link_of(entry)].directions[from].damage;

        if ((directions_of(entry) & 1u << from) == 0) {
            continue;
        }
        damage->rates[entry->kind] = permille;
        if (entry->kind == SIM_FAULT_STALE) {
            damage->stale_ns = entry->duration_ns < STALE_NS ? entry->duration_ns : STALE_NS;
        } else if (entry->kind == SIM_FAULT_DELAY) {
            damage->delay_ns = permille * SIM_US;
        } else if (entry->kind == SIM_FAULT_JITTER) {
            damage->jitter_ns = permille * SIM_US;
        }
    }
}

static uint32_t *counter_of(struct sim_damage *damage, uint32_t kind)
{
    switch (kind) {
    case SIM_FAULT_JAM:
        return &damage->jams;
    case SIM_FAULT_FULL:
        return &damage->fulls;
    default:
        return &damage->mutes;
    }
}

static void wake_ends(uint32_t link)
{
    network_schedule_wake(link, 0);
    network_schedule_wake(link, 1);
    for (uint32_t end = 0; end < 2; end++) {
        network_signal(&sim_cables[link].ends[end]);
    }
}

static void hold(uint32_t link, uint32_t directions, uint32_t kind, int change)
{
    for (uint32_t from = 0; from < 2; from++) {
        if ((directions & 1u << from) != 0) {
            *counter_of(&sim_cables[link].directions[from].damage, kind) += (uint32_t)change;
        }
    }
    if (change < 0) {
        wake_ends(link);
    }
}

/* Frames change and vanish on tapped cables only: a direct ring has nobody in between. */
static bool needs_tap(const struct sim_entry *entry)
{
    switch (entry->kind) {
    case SIM_FAULT_LOSS:
    case SIM_FAULT_DUPLICATE:
    case SIM_FAULT_REORDER:
    case SIM_FAULT_CORRUPT:
    case SIM_FAULT_TRUNCATE:
    case SIM_FAULT_JUNK:
    case SIM_FAULT_STALE:
    case SIM_FAULT_MUTE:
        return sim.settings->links[link_of(entry)].kind == SIM_LINK_RING;
    case SIM_FAULT_TAP:
        return true;
    default:
        return false;
    }
}

static void begin_link(uint32_t index, const struct sim_entry *entry)
{
    uint32_t link = link_of(entry);

    if (needs_tap(entry)) {
        network_tap(link, 1);
    }
    switch (entry->kind) {
    case SIM_FAULT_CUT:
        network_cut(link, directions_of(entry), 1);
        count_fired(entry->kind);
        break;
    case SIM_FAULT_FLAP:
        count_fired(entry->kind);
        fault_flap(index, 2 * (1 + entry->arguments[1] % 8u));
        break;
    case SIM_FAULT_JAM:
    case SIM_FAULT_MUTE:
    case SIM_FAULT_FULL:
        hold(link, directions_of(entry), entry->kind, 1);
        break;
    case SIM_FAULT_TAP:
        count_fired(entry->kind);
        break;
    default:
        set_rate(entry, entry->arguments[1]);
        break;
    }
}

static void end_link(const struct sim_entry *entry)
{
    uint32_t link = link_of(entry);

    switch (entry->kind) {
    case SIM_FAULT_CUT:
        network_cut(link, directions_of(entry), -1);
        break;
    case SIM_FAULT_FLAP:
    case SIM_FAULT_TAP:
        break;
    case SIM_FAULT_JAM:
    case SIM_FAULT_MUTE:
    case SIM_FAULT_FULL:
        hold(link, directions_of(entry), entry->kind, -1);
        break;
    default:
        set_rate(entry, 0);
        wake_ends(link);
        break;
    }
    if (needs_tap(entry)) {
        network_tap(link, -1);
    }
}

/* Halves alternate: down, up, down ... and the last one is up. */
void fault_flap(uint32_t index, uint32_t halves)
{
    const struct sim_entry *entry = &sim.entries[index];
    uint32_t link = link_of(entry);

    if (!is_active[index]) {
        return; /* healed meanwhile */
    }
    network_cut(link, directions_of(entry), halves % 2 == 0 ? 1 : -1);
    network_disturb(link, fiber_now_ns());
    if (halves == 1) {
        is_active[index] = false;
    } else {
        timeline_add(fiber_now_ns() + entry->duration_ns, TIMELINE_FLAP, index, halves - 1);
    }
}

/* --- Nodes
 * ---------------------------------------------------------------------------------------- */

static void tell_others(uint32_t node, uint32_t life, uint64_t after_ns)
{
    for (uint32_t i = 0; i < sim.settings->node_count; i++) {
        if (i != node && sim_nodes[node].id != 0) {
            timeline_add(fiber_now_ns() + after_ns, TIMELINE_NOTICE, i, life);
        }
    }
}

static bool crash(uint32_t node, const struct sim_entry *entry)
{
    uint32_t life = sim_nodes[node].life;

    if (life == SIM_NONE) {
        return false;
    }
    node_end_life(node, entry->arguments[0] != 0);
    sim_nodes[node].boot_count = 0;
    if (entry->arguments[1] != 0) {
        tell_others(node, life, entry->arguments[1] * SIM_US);
    }
    timeline_add(fiber_now_ns() + entry->duration_ns, TIMELINE_BOOT, node, 0);
    count_fired(entry->kind);
    return true;
}

static void hang(uint32_t node, bool is_hung)
{
    sim_nodes[node].is_hung = is_hung;
    fiber_group_freeze(node, is_hung);
    if (!is_hung && node_is_agent(node)) {
        agent_wake();
    }
}

/* What a ring holds is still there afterwards. */
static void silence(uint32_t node, int change)
{
    for (uint32_t i = 0; i < sim_nodes[node].link_count; i++) {
        uint32_t link = sim_nodes[node].world_links[i];
        bool is_ring = sim.settings->links[link].kind == SIM_LINK_RING;

        hold(link, 3u, is_ring ? SIM_FAULT_JAM : SIM_FAULT_MUTE, change);
        network_disturb(link, fiber_now_ns());
    }
}

/* False: there is nothing to end. */
static bool begin_node(const struct sim_entry *entry)
{
    uint32_t node = node_of(entry);

    switch (entry->kind) {
    case SIM_FAULT_CRASH:
        (void)crash(node, entry);
        return false;
    case SIM_FAULT_TWICE:
        if (crash(node, entry)) {
            /* The second time by reset, whichever life is there then. */
            return true;
        }
        return false;
    case SIM_FAULT_ALL:
        for (uint32_t i = 0; i < sim.settings->node_count; i++) {
            (void)crash(i, entry);
        }
        return false;
    case SIM_FAULT_RESET:
        if (sim_nodes[node].life != SIM_NONE) {
            node_end_life(node, true);
            sim_nodes[node].boot_count++;
            node_boot(node);
            count_fired(entry->kind);
        }
        return false;
    case SIM_FAULT_HOSTILE:
        forge_begin((uint32_t)(entry - sim.entries));
        return true;
    case SIM_FAULT_HANG:
        if (sim_nodes[node].life == SIM_NONE || sim_nodes[node].is_hung) {
            return false;
        }
        hang(node, true);
        count_fired(entry->kind);
        return true;
    case SIM_FAULT_SILENCE:
        silence(node, 1);
        count_fired(entry->kind);
        return true;
    case SIM_FAULT_HEAP:
        if (!sim_nodes[node].is_ready || node_is_agent(node)) {
            return false;
        }
        heap_fail_after(&sim_nodes[node].host, 1 + entry->arguments[0], entry->arguments[1] != 0);
        oracle_excuse_failures(node);
        count_fired(entry->kind);
        return true;
    default:
        return false;
    }
}

/* What it told others about itself and them ends with its life: everybody sees it go. */
static void end_node(const struct sim_entry *entry)
{
    static const struct sim_entry repentance = {
        .kind = SIM_FAULT_CRASH, .duration_ns = SIM_MS, .arguments = {1, 1000}};
    uint32_t node = node_of(entry);

    switch (entry->kind) {
    case SIM_FAULT_HANG:
        if (sim_nodes[node].is_hung) {
            hang(node, false);
        }
        break;
    case SIM_FAULT_SILENCE:
        silence(node, -1);
        break;
    case SIM_FAULT_HEAP:
        if (sim_nodes[node].is_ready && !node_is_agent(node)) {
            heap_fail_after(&sim_nodes[node].host, 0, false);
        }
        break;
    case SIM_FAULT_HOSTILE:
        forge_end((uint32_t)(entry - sim.entries));
        (void)crash(node, &repentance);
        break;
    case SIM_FAULT_TWICE:
        if (sim_nodes[node].life != SIM_NONE) {
            timeline_add(fiber_now_ns(), TIMELINE_RESET, node, sim_nodes[node].life);
        }
        break;
    default:
        break;
    }
}

/* --- Both
 * ----------------------------------------------------------------------------------------- */

static void disturb(const struct sim_entry *entry, uint64_t until_ns)
{
    if (is_of_link(entry->kind)) {
        network_disturb(link_of(entry), until_ns);
    } else if (entry->kind == SIM_FAULT_ALL) {
        for (uint32_t i = 0; i < sim.settings->node_count; i++) {
            node_disturb(i, until_ns);
        }
    } else {
        node_disturb(node_of(entry), until_ns);
    }
}

/* When the second half of TWICE comes: after the node is back. */
static uint64_t end_of(const struct sim_entry *entry)
{
    uint64_t end_ns = fiber_now_ns() + entry->duration_ns;

    return entry->kind == SIM_FAULT_TWICE ? end_ns + entry->arguments[2] * SIM_US : end_ns;
}

void fault_begin(uint32_t index)
{
    const struct sim_entry *entry = &sim.entries[index];

    trace(TRACE_WORLD, TRACE_FAULT, index, entry->kind, entry->target);
    is_active[index] = true;
    disturb(entry, end_of(entry));
    if (is_of_link(entry->kind)) {
        begin_link(index, entry);
        if (entry->kind == SIM_FAULT_FLAP) {
            return;
        }
    } else if (!begin_node(entry)) {
        is_active[index] = false;
    }
    if (is_active[index]) {
        timeline_add(end_of(entry), TIMELINE_HEAL, index, 0);
    }
}

void fault_end(uint32_t index)
{
    const struct sim_entry *entry = &sim.entries[index];

    if (!is_active[index]) {
        return;
    }
    is_active[index] = false;
    trace(TRACE_WORLD, TRACE_HEALED, index, entry->kind, entry->target);
    if (is_of_link(entry->kind)) {
        end_link(entry);
    } else {
        end_node(entry);
    }
    disturb(entry, fiber_now_ns());
}

/* Whatever is still wrong is put right, and whoever is off is switched on. */
void faults_end_all(void)
{
    for (uint32_t i = 0; i < sim.entry_count; i++) {
        if (!is_active[i]) {
            continue;
        }
        if (sim.entries[i].kind == SIM_FAULT_FLAP) {
            is_active[i] = false; /* its cut is cleared below */
        } else {
            fault_end(i);
        }
    }
    for (uint32_t link = 0; link < sim.settings->link_count; link++) {
        for (uint32_t from = 0; from < 2; from++) {
            int cuts = (int)sim_cables[link].directions[from].cuts;

            if (cuts != 0) {
                network_cut(link, 1u << from, -cuts);
                network_disturb(link, fiber_now_ns());
            }
        }
    }
    for (uint32_t i = 0; i < sim.settings->node_count; i++) {
        if (sim_nodes[i].life == SIM_NONE) {
            node_boot(i);
        }
    }
}
