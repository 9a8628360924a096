/* SPDX-License-Identifier: MIT
 *
 * One run: power, program and faults until the end, then (liveness) everything healed and every
 * bound waited for, then everything given back and every account closed. docs/design/simulator.md.
 */
#include "arch/sim/fiber.h"
#include "sim_agent.h"
#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FLOWS_EVERY 64u        /* steps between two looks at the credits */
#define STEPS_MAXIMUM 4000000u /* a run that takes more makes no progress */
#define CONVERGENCE_NS                                                                             \
    (4000 * SIM_MS)             /* beyond the cluster's own bounds: four replays, retraining */
#define IDLE_NS (3000 * SIM_MS) /* for calls that wait to end */
#define CLOSING_NS (100 * SIM_MS)
#define DRAIN_NS (3 * SIM_MS)      /* for every program to look at its ports */
#define RELEASE_NS (1000 * SIM_MS) /* for rights that went through many hands */

struct sim_run sim;

const uint32_t sim_sizes[6] = {sizeof(struct sim_settings), sizeof(struct sim_entry),
                               sizeof(struct sim_result),   sizeof(struct sim_totals),
                               sizeof(struct sim_workload), sizeof(struct sim_agent)};

/* --- Verdicts
 * ------------------------------------------------------------------------------------- */

void sim_exercised(uint32_t invariant)
{
    if (sim.result->verdicts[invariant] == SIM_NOT_EXERCISED) {
        sim.result->verdicts[invariant] = SIM_PASS;
    }
}

void sim_violated(uint32_t invariant, const char *format, ...)
{
    struct sim_result *result = sim.result;
    va_list arguments;

    if (result->failed++ == 0) {
        result->first_failed = invariant;
        va_start(arguments, format);
        vsnprintf(result->text, sizeof(result->text), format, arguments);
        va_end(arguments);
    }
    result->verdicts[invariant] = SIM_FAIL;
    sim.is_over = true;
}

static void panicked(void *context, uint32_t group, const char *text)
{
    (void)context;
    sim_violated(0, "node %u panicked: %s", sim_nodes[group].id, text);
}

/* --- Time
 * ----------------------------------------------------------------------------------------- */

static uint64_t earlier(uint64_t left_ns, uint64_t right_ns)
{
    return left_ns < right_ns ? left_ns : right_ns;
}

/* Let the world go on until a time, or until it has nothing to do and `is_done` (may be null). */
static void run_until(uint64_t until_ns, bool (*is_done)(void))
{
    while (!sim.is_over && fiber_now_ns() < until_ns) {
        timeline_run(fiber_now_ns());
        fiber_advance(fiber_now_ns());
        if (fiber_step()) {
            if (fiber_steps() % FLOWS_EVERY == 0) {
                watch_flows();
            }
            if (fiber_steps() > STEPS_MAXIMUM) {
                sim_violated(10, "no end after %u steps", STEPS_MAXIMUM);
            }
        } else if (is_done != NULL && is_done()) {
            return;
        } else {
            fiber_advance(earlier(until_ns, earlier(timeline_next_ns(), fiber_deadline_ns())));
        }
    }
}

/* --- Phases
 * --------------------------------------------------------------------------------------- */

static bool are_idle(void)
{
    for (uint32_t i = 0; i < sim.settings->node_count; i++) {
        if (sim_nodes[i].is_ready && !program_is_idle(i)) {
            return false;
        }
    }
    return true;
}

static bool are_closed(void)
{
    for (uint32_t i = 0; i < sim.settings->node_count; i++) {
        if (sim_nodes[i].is_ready && !program_is_closed(i)) {
            return false;
        }
    }
    return true;
}

static bool is_up_and_ready(void)
{
    for (uint32_t i = 0; i < sim.settings->node_count; i++) {
        if (!sim_nodes[i].is_ready) {
            return false;
        }
    }
    return watch_links_are_up();
}

static bool are_idle_and_settled(void)
{
    return are_idle() && oracle_is_settled() && is_up_and_ready() && watch_notices_are_told() &&
           oracle_rights_are_right();
}

static void power_up(void)
{
    for (uint32_t i = 0; i < sim.settings->node_count; i++) {
        timeline_add(sim.settings->start_ns[i], TIMELINE_BOOT, i, 0);
    }
}

/* Nobody has a right any more: every port's owner hears of it. */
static void release(void)
{
    program_release();
    run_until(fiber_now_ns() + DRAIN_NS, NULL);
    run_until(fiber_now_ns() + RELEASE_NS, oracle_rights_are_right);
    if (!sim.is_over) {
        oracle_check_rights();
    }
}

/* Everything comes back and every message has its end. */
static void converge(void)
{
    const struct sim_settings *settings = sim.settings;
    uint64_t since_ns = fiber_now_ns();
    uint64_t bound_ns =
        2 * (settings->link_down_after_ns + settings->dead_after_ns) + CONVERGENCE_NS;

    run_until(since_ns + bound_ns, is_up_and_ready);
    if (sim.is_over) {
        return;
    }
    watch_check_links(since_ns);
    sim.result->converged_ns = fiber_now_ns() - since_ns;
    program_drain();
    run_until(fiber_now_ns() + bound_ns + IDLE_NS, are_idle_and_settled);
    if (!sim.is_over) {
        oracle_check_end();
        oracle_check_rights();
        release();
        watch_check_links(since_ns);
        watch_check_notices();
        watch_flows();
    }
}

/* Programs give back what they have; then everybody is dead for everybody else. */
static void close_down(void)
{
    program_drain();
    run_until(fiber_now_ns() + IDLE_NS, are_idle);
    if (!sim.is_over && !are_idle()) {
        sim_violated(10, "a call does not end");
    }
    program_close();
    run_until(fiber_now_ns() + CLOSING_NS, are_closed);
    if (sim.settings->mode == SIM_LIVENESS) {
        run_until(fiber_now_ns() + RELEASE_NS, watch_rights_are_back);
        watch_check_rights_are_back();
    }
    for (uint32_t link = 0; link < sim.settings->link_count; link++) {
        network_cut(link, 3u, 1);
    }
    for (uint32_t i = 0; i < sim.settings->node_count; i++) {
        for (uint32_t life = 0; life < sim_life_count; life++) {
            if (sim_lives[life].node != i) {
                continue;
            }
            for (uint32_t other = 0; other < sim.settings->node_count; other++) {
                if (other != i && !sim_nodes[other].told_dead[life]) {
                    node_notice(other, life);
                }
            }
        }
    }
    nodes_bury_suspects();
    run_until(fiber_now_ns() + CLOSING_NS, NULL);
    if (!sim.is_over) {
        watch_check_memory();
    }
}

/* --- A run
 * ---------------------------------------------------------------------------------------- */

static bool are_sound(const struct sim_settings *settings, const struct sim_entry *entries,
                      uint32_t count)
{
    if (settings->node_count < 2 || settings->node_count > SIM_NODES_MAXIMUM ||
        settings->link_count < 1 || settings->link_count > SIM_LINKS_MAXIMUM ||
        settings->agent > settings->node_count || (settings->agent != 0 && !agent_is_set()) ||
        settings->first_id > 1 || count > SIM_ENTRIES_MAXIMUM || settings->dirt > 256 ||
        (settings->mode != SIM_SAFETY && settings->mode != SIM_LIVENESS)) {
        return false;
    }
    for (uint32_t i = 0; i < settings->link_count; i++) {
        const struct sim_link_settings *link = &settings->links[i];

        if (link->ends[0] >= settings->node_count || link->ends[1] >= settings->node_count ||
            link->ends[0] == link->ends[1] || link->kind > SIM_LINK_STREAM) {
            return false;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        if (entries[i].kind >= SIM_KINDS ||
            (i != 0 && entries[i].time_ns < entries[i - 1].time_ns)) {
            return false;
        }
    }
    return true;
}

static void open_world(void)
{
    const struct sim_settings *settings = sim.settings;
    struct fiber_settings fibers = {.seed = settings->seed,
                                    .preempt_one_in = settings->preempt_one_in,
                                    .spurious_one_in = settings->spurious_one_in,
                                    .random_order = settings->random_order != 0,
                                    .switch_cost_ns = settings->switch_cost_ns,
                                    .clock_cost_ns = settings->clock_cost_ns,
                                    .panicked = panicked};

    fiber_world_open(&fibers);
    trace_open();
    timeline_open();
    nodes_open();
    forge_open();
    agent_open();
    network_open();
    faults_open();
    oracle_open();
}

static void close_result(void)
{
    struct sim_result *result = sim.result;

    result->trace = trace_value();
    result->world_ns = fiber_now_ns();
    result->steps = fiber_steps();
    result->frames = network_frames();
    result->lives = sim_life_count;
}

int sim_run(const struct sim_settings *settings, const struct sim_entry *entries, uint32_t count,
            struct sim_result *result)
{
    memset(result, 0, sizeof(*result));
    result->seed = settings->seed;
    if (!are_sound(settings, entries, count)) {
        return -1;
    }
    sim = (struct sim_run){
        .settings = settings, .entries = entries, .entry_count = count, .result = result};
    for (uint32_t i = 0; i < count; i++) {
        result->asked[entries[i].kind]++;
    }
    open_world();
    power_up();
    run_until(settings->end_ns, NULL);
    if (!sim.is_over) {
        faults_end_all();
        if (settings->mode == SIM_LIVENESS) {
            converge();
        }
    }
    if (!sim.is_over) {
        close_down();
    }
    close_result();
    return 0;
}

/* --- Many runs
 * ------------------------------------------------------------------------------------ */

#define REPEAT_EVERY 100u
#define REPEAT_DIRT 0xa6u

static uint64_t *watched_word;

void sim_watch(uint64_t *word)
{
    watched_word = word;
}

static void add(struct sim_totals *totals, const struct sim_result *result)
{
    totals->seeds++;
    totals->failed += result->failed != 0;
    totals->world_ns += result->world_ns;
    totals->steps += result->steps;
    totals->frames += result->frames;
    totals->operations += result->operations;
    totals->lives += result->lives;
    totals->deaths += result->deaths;
    totals->sent += result->sent;
    totals->settled += result->settled;
    totals->failures += result->failures;
    totals->unknown += result->unknown;
    totals->received += result->received;
    totals->trace = (totals->trace ^ result->trace) * 0x9e3779b97f4a7c15ull;
    if (result->converged_ns > totals->converged_max_ns) {
        totals->converged_max_ns = result->converged_ns;
    }
    for (uint32_t i = 0; i < SIM_KINDS; i++) {
        totals->asked[i] += result->asked[i];
        totals->fired[i] += result->fired[i];
    }
    for (uint32_t i = 0; i < SIM_INVARIANTS; i++) {
        totals->passed[i] += result->verdicts[i] == SIM_PASS;
        totals->broken[i] += result->verdicts[i] == SIM_FAIL;
    }
}

/* I13: the same again, whatever unused memory holds. */
static void repeat(const struct sim_settings *settings, const struct sim_entry *entries,
                   uint32_t count, struct sim_result *result)
{
    static struct sim_result again;
    struct sim_settings dirty = *settings;

    dirty.dirt = REPEAT_DIRT;
    if (sim_run(&dirty, entries, count, &again) != 0 || again.failed != 0 ||
        again.trace != result->trace) {
        sim.result = result;
        sim_violated(13, "the run and its repetition differ: after %llu and %llu steps; %s",
                     (unsigned long long)result->steps, (unsigned long long)again.steps,
                     again.failed != 0 ? again.text : "both hold");
    } else {
        result->verdicts[13] = SIM_PASS;
    }
}

uint64_t sim_run_range(uint64_t first, uint64_t count, const struct sim_workload *workload,
                       struct sim_totals *totals, struct sim_result *failure)
{
    static struct sim_entry entries[SIM_ENTRIES_MAXIMUM];
    struct sim_settings settings;

    for (uint64_t i = 0; i < count; i++) {
        uint32_t entry_count;

        if (watched_word != NULL) {
            *watched_word = first + i;
        }
        entry_count = sim_generate(first + i, workload, &settings, entries);
        if (sim_run(&settings, entries, entry_count, failure) != 0) {
            sim.result = failure;
            sim_violated(0, "the generator made settings that make no sense");
        }
        if (failure->failed == 0 && (first + i) % REPEAT_EVERY == 0) {
            repeat(&settings, entries, entry_count, failure);
            totals->repeated++;
        }
        add(totals, failure);
        if (failure->failed != 0) {
            return i + 1;
        }
    }
    return count;
}
