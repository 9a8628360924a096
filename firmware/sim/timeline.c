/* SPDX-License-Identifier: MIT
 *
 * What happens when: a heap ordered by time and, within it, by the order of asking. Entries of the
 * schedule are ordered already and wait beside it.
 */
#include "arch/sim/fiber.h"
#include "world.h"

#define TIMELINE_MAXIMUM 8192u

struct happening {
    uint64_t time_ns;
    uint64_t order;
    uint32_t kind;
    uint32_t a;
    uint32_t b;
};

static struct happening heap[TIMELINE_MAXIMUM];
static uint32_t count;
static uint64_t next_order;
static uint32_t next_entry;

void timeline_open(void)
{
    count = 0;
    next_order = 0;
    next_entry = 0;
}

static bool is_before(const struct happening *left, const struct happening *right)
{
    return left->time_ns != right->time_ns ? left->time_ns < right->time_ns
                                           : left->order < right->order;
}

void timeline_add(uint64_t time_ns, enum timeline_kind kind, uint32_t a, uint32_t b)
{
    struct happening new = {
        .time_ns = time_ns, .order = next_order++, .kind = kind, .a = a, .b = b};
    uint32_t at = count;

    if (count == TIMELINE_MAXIMUM) {
        sim_violated(0, "the simulator's timeline is full");
        return;
    }
    count++;
    while (at != 0 && is_before(&new, &heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = new;
}

static struct happening take_first(void)
{
    struct happening first = heap[0];
    struct happening last = heap[--count];
    uint32_t at = 0;

    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child >= count) {
            break;
        }
        if (child + 1 < count && is_before(&heap[child + 1], &heap[child])) {
            child++;
        }
        if (!is_before(&heap[child], &last)) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return first;
}

uint64_t timeline_next_ns(void)
{
    uint64_t next_ns = count != 0 ? heap[0].time_ns : SIM_NEVER;

    if (next_entry < sim.entry_count && sim.entries[next_entry].time_ns < next_ns) {
        next_ns = sim.entries[next_entry].time_ns;
    }
    return next_ns;
}

static void begin_entry(uint32_t entry)
{
    if (kind_is_fault(sim.entries[entry].kind)) {
        fault_begin(entry);
    } else {
        program_submit(entry);
    }
}

static void happen(const struct happening *it)
{
    switch ((enum timeline_kind)it->kind) {
    case TIMELINE_WAKE:
        network_wake(it->a, it->b);
        break;
    case TIMELINE_BOOT:
        if (sim_nodes[it->a].life == SIM_NONE) {
            node_boot(it->a);
        }
        break;
    case TIMELINE_RESET:
        if (sim_nodes[it->a].life == it->b && !sim.is_closing) {
            node_end_life(it->a, true);
            sim_nodes[it->a].boot_count++;
            node_boot(it->a);
        }
        break;
    case TIMELINE_NOTICE:
        node_notice(it->a, it->b);
        break;
    case TIMELINE_HEAL:
        fault_end(it->a);
        break;
    case TIMELINE_FLAP:
        fault_flap(it->a, it->b);
        break;
    case TIMELINE_AGENT:
        agent_run(it->a, it->b);
        break;
    case TIMELINE_FORGE:
        forge_volley(it->a);
        break;
    }
}

void timeline_run(uint64_t now_ns)
{
    while (next_entry < sim.entry_count && sim.entries[next_entry].time_ns <= now_ns &&
           !sim.is_over) {
        begin_entry(next_entry++);
    }
    while (count != 0 && heap[0].time_ns <= now_ns && !sim.is_over) {
        struct happening it = take_first();

        happen(&it);
    }
}
