/* SPDX-License-Identifier: MIT
 *
 * The simulator as a program, for sanitizers, debuggers and profilers: sim COUNT [FIRST [PROFILE [NODES]]].
 * Everybody else uses `mnlab sim`. Exit status 1: a seed failed; 2: wrong usage.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NODES_DEFAULT 3u
#define OPERATIONS 100u
#define EVENTS_BYTES 16384u

static double cpu_s(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

static void print_kinds(const struct sim_totals *totals)
{
    printf("fired:");
    for (uint32_t i = 0; i < SIM_KINDS; i++) {
        if (totals->fired[i] != 0) {
            printf(" %u:%llu", i, (unsigned long long)totals->fired[i]);
        }
    }
    printf("\ninvariants:");
    for (uint32_t i = 0; i < SIM_INVARIANTS; i++) {
        if (totals->passed[i] + totals->broken[i] != 0) {
            printf(" I%u:%llu/%llu", i, (unsigned long long)totals->passed[i],
                   (unsigned long long)totals->broken[i]);
        }
    }
    printf("\n");
}

int main(int argc, char **argv)
{
    static struct sim_totals totals;
    static struct sim_result failure;
    static char events[EVENTS_BYTES];
    struct sim_workload workload = {
        .profile = SIM_PROFILE_MIXED, .node_count = NODES_DEFAULT, .operations = OPERATIONS};
    double begin_s = cpu_s(), took_s;

    if (argc < 2 || argc > 5) {
        fprintf(stderr, "usage: sim COUNT [FIRST [PROFILE [NODES]]]\n");
        return 2;
    }
    if (argc > 3) {
        workload.profile = (uint32_t)strtoul(argv[3], NULL, 0);
    }
    if (argc > 4) {
        workload.node_count = (uint32_t)strtoul(argv[4], NULL, 0);
    }
    (void)sim_run_range(argc > 2 ? strtoull(argv[2], NULL, 0) : 1, strtoull(argv[1], NULL, 0),
                        &workload, &totals, &failure);
    took_s = cpu_s() - begin_s;
    printf("%llu seeds, %.0f a second and core; %llu frames, %llu steps, %llu messages\n",
           (unsigned long long)totals.seeds, (double)totals.seeds / took_s,
           (unsigned long long)totals.frames, (unsigned long long)totals.steps,
           (unsigned long long)totals.sent);
    print_kinds(&totals);
    if (failure.failed == 0) {
        return 0;
    }
    (void)sim_read_events(events, sizeof(events));
    printf("seed %llu breaks I%u: %s\n%s", (unsigned long long)failure.seed, failure.first_failed,
           failure.text, events);
    return 1;
}
