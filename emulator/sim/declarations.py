# SPDX-License-Identifier: MIT
"""C declarations of the simulator.

A copy of `firmware/sim/sim.h`; `library.py` checks the sizes of the structs against the library
when it is opened.
"""

from __future__ import annotations

from typing import Final

__all__ = ["DECLARATIONS"]

DECLARATIONS: Final = """
struct sim_entry {
    uint64_t time_ns;
    uint64_t duration_ns;
    uint32_t kind;
    uint32_t target;
    uint32_t arguments[4];
};

struct sim_link_settings {
    uint32_t ends[2];
    uint32_t kind;
    uint32_t latency_ns;
    uint32_t mtu;
};

struct sim_settings {
    uint64_t seed;
    uint32_t mode;
    uint32_t node_count;
    uint32_t link_count;
    uint32_t first_id;
    uint64_t end_ns;
    uint64_t keepalive_ns;
    uint64_t link_down_after_ns;
    uint64_t dead_after_ns;
    uint64_t ack_delay_ns;
    uint64_t poll_ns;
    uint32_t ack_count;
    uint32_t window;
    uint32_t preempt_one_in;
    uint32_t spurious_one_in;
    uint32_t random_order;
    uint32_t switch_cost_ns;
    uint32_t clock_cost_ns;
    uint32_t dirt;
    uint64_t start_ns[5];
    struct sim_link_settings links[12];
};

struct sim_result {
    uint64_t seed;
    uint64_t trace;
    uint64_t world_ns;
    uint64_t steps;
    uint64_t frames;
    uint64_t converged_ns;
    uint32_t failed;
    uint32_t first_failed;
    uint32_t operations;
    uint32_t lives;
    uint32_t deaths;
    uint32_t sent;
    uint32_t settled;
    uint32_t failures;
    uint32_t unknown;
    uint32_t received;
    uint32_t asked[72];
    uint32_t fired[72];
    uint8_t verdicts[16];
    char text[320];
};

struct sim_totals {
    uint64_t seeds;
    uint64_t failed;
    uint64_t repeated;
    uint64_t world_ns;
    uint64_t steps;
    uint64_t frames;
    uint64_t operations;
    uint64_t lives;
    uint64_t deaths;
    uint64_t sent;
    uint64_t settled;
    uint64_t failures;
    uint64_t unknown;
    uint64_t received;
    uint64_t trace;
    uint64_t converged_max_ns;
    uint64_t asked[72];
    uint64_t fired[72];
    uint64_t passed[16];
    uint64_t broken[16];
};

uint32_t sim_generate(uint64_t seed, uint32_t profile, uint32_t node_count, uint32_t operations,
                      struct sim_settings *settings, struct sim_entry *entries);
int sim_run(const struct sim_settings *settings, const struct sim_entry *entries, uint32_t count,
            struct sim_result *result);
uint64_t sim_run_range(uint64_t first, uint64_t count, uint32_t profile, uint32_t node_count,
                       uint32_t operations, struct sim_totals *totals, struct sim_result *failure);
uint32_t sim_read_events(char *text, uint32_t size);
void sim_watch(uint64_t *word);
extern const uint32_t sim_sizes[4];
"""
