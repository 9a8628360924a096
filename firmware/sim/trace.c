/* SPDX-License-Identifier: MIT
 *
 * What happened: a hash over all of it, to tell whether two runs were the same, and the last events
 * of each node, to be read after a violation.
 */
#include "arch/sim/fiber.h"
#include "world.h"

#include <stdio.h>
#include <string.h>

#define EVENTS_KEPT 20u

struct recorded {
    uint64_t time_ns;
    uint64_t order;
    uint64_t a;
    uint64_t b;
    uint64_t c;
    enum trace_event event;
};

static struct recorded events[SIM_NODES_MAXIMUM + 1][EVENTS_KEPT];
static uint64_t counts[SIM_NODES_MAXIMUM + 1];
static uint64_t order;
static uint64_t hash;

void trace_open(void)
{
    memset(counts, 0, sizeof(counts));
    order = 0;
    hash = 0;
}

void trace_hash(uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15ull;
    hash ^= hash >> 32;
}

uint64_t trace_value(void)
{
    return hash ^ fiber_trace();
}

void trace(uint32_t node, enum trace_event event, uint64_t a, uint64_t b, uint64_t c)
{
    struct recorded *recorded = &events[node][counts[node]++ % EVENTS_KEPT];

    *recorded = (struct recorded){
        .time_ns = fiber_now_ns(), .order = order++, .a = a, .b = b, .c = c, .event = event};
    trace_hash(fiber_now_ns() ^ (uint64_t)event << 56 ^ (uint64_t)node << 48);
    trace_hash(a ^ b << 20 ^ c << 40);
}

/* --- Text
 * ----------------------------------------------------------------------------------------- */

static const char *const names[] = {
    [TRACE_BOOT] = "boots as",      [TRACE_END] = "ends as",       [TRACE_UP] = "told up:",
    [TRACE_DEAD] = "told dead:",    [TRACE_LINK] = "link",         [TRACE_REFUSED] = "refused",
    [TRACE_STALE] = "is stale",     [TRACE_DROP] = "drop on link", [TRACE_FAULT] = "fault",
    [TRACE_HEALED] = "healed",      [TRACE_SEND] = "sends",        [TRACE_RECEIVE] = "receives",
    [TRACE_OUTCOME] = "outcome of",
};

static int write_details(const struct recorded *it, char *text, size_t size)
{
    unsigned long long a = it->a, b = it->b, c = it->c;

    switch (it->event) {
    case TRACE_BOOT:
    case TRACE_END:
    case TRACE_STALE:
        return snprintf(text, size, "life %llx", a);
    case TRACE_UP:
        return snprintf(text, size, "node %llu life %llx", a, b);
    case TRACE_DEAD:
        return snprintf(text, size, "node %llu life %llx cause %llu", a, b, c);
    case TRACE_LINK:
        return snprintf(text, size, "%llu %s%s reason %llu epoch %llu of peer %llu", a,
                        (b >> 32 & 1) != 0 ? "rx" : "--", (b >> 32 & 2) != 0 ? "tx" : "--",
                        b & 0xffffffffu, c & 0xffffffffu, c >> 32);
    case TRACE_REFUSED:
        return snprintf(text, size, "on link %llu reason %llu %s", a, b,
                        c != 0 ? "by us" : "by it");
    case TRACE_DROP:
        return snprintf(text, size, "%llu reason %llu", a, b);
    case TRACE_FAULT:
    case TRACE_HEALED:
        return snprintf(text, size, "entry %llu kind %llu target %llu", a, b, c);
    case TRACE_SEND:
    case TRACE_RECEIVE:
        return snprintf(text, size, "message %llu port %llu", a, b);
    case TRACE_OUTCOME:
        return snprintf(text, size, "message %llu: %llu", a, b);
    case TRACE_FRAME:
        break;
    }
    return 0;
}

/* The oldest of what is left; null: nothing is. `done` counts from the oldest kept, by node. */
static const struct recorded *next_event(const uint64_t *done, uint32_t *node)
{
    const struct recorded *found = NULL;

    for (uint32_t i = 0; i <= SIM_NODES_MAXIMUM; i++) {
        const struct recorded *it = &events[i][done[i] % EVENTS_KEPT];

        if (done[i] < counts[i] && (found == NULL || it->order < found->order)) {
            found = it;
            *node = i;
        }
    }
    return found;
}

uint32_t sim_read_events(char *text, uint32_t size)
{
    uint64_t done[SIM_NODES_MAXIMUM + 1];
    const struct recorded *it;
    uint32_t node = 0, used = 0;

    for (uint32_t i = 0; i <= SIM_NODES_MAXIMUM; i++) {
        done[i] = counts[i] > EVENTS_KEPT ? counts[i] - EVENTS_KEPT : 0;
    }
    while ((it = next_event(done, &node)) != NULL) {
        char details[96] = "";
        char who[16] = "world";
        int length;

        done[node]++;
        (void)write_details(it, details, sizeof(details));
        if (node != TRACE_WORLD) {
            snprintf(who, sizeof(who), "node %u", sim_nodes[node].id);
        }
        length = snprintf(text + used, size - used, "%12.6f ms %s %s %s\n",
                          (double)it->time_ns / 1e6, who, names[it->event], details);
        if (length < 0 || (uint32_t)length >= size - used) {
            text[used] = '\0';
            break;
        }
        used += (uint32_t)length;
    }
    return used;
}
