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
    uint32_t options[2];
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
    uint32_t agent;
    uint32_t agent_byte_order;
    uint32_t agent_data_model;
    uint32_t reserved;
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

struct sim_workload {
    uint32_t profile;
    uint32_t node_count;
    uint32_t operations;
    uint32_t has_agent;
};

uint32_t sim_generate(uint64_t seed, const struct sim_workload *workload,
                      struct sim_settings *settings, struct sim_entry *entries);
int sim_run(const struct sim_settings *settings, const struct sim_entry *entries, uint32_t count,
            struct sim_result *result);
uint64_t sim_run_range(uint64_t first, uint64_t count, const struct sim_workload *workload,
                       struct sim_totals *totals, struct sim_result *failure);
uint32_t sim_read_events(char *text, uint32_t size);
void sim_watch(uint64_t *word);
extern const uint32_t sim_sizes[6];

struct sim_agent {
    void (*begin)(const struct sim_settings *settings, const struct sim_entry *entries);
    void (*boot)(uint64_t incarnation, uint64_t now_ns);
    void (*end)(void);
    void (*carrier)(uint32_t link, uint32_t direction, uint32_t is_up, uint32_t generation,
                    uint32_t is_checked, uint64_t now_ns);
    void (*frame)(uint32_t link, uint8_t *bytes, uint32_t length, uint64_t now_ns);
    uint64_t (*run)(uint64_t now_ns);
    void (*submit)(uint32_t entry);
    void (*notice)(uint32_t node_id, uint64_t incarnation, uint64_t now_ns);
    void (*drain)(void);
    void (*close)(void);
    uint32_t (*is_idle)(void);
    uint32_t (*is_closed)(void);
    uint64_t (*left)(void);
};

void sim_agent_set(const struct sim_agent *agent);
int sim_agent_transmit(uint32_t link, const uint8_t *frame, uint32_t length);
void sim_agent_link(uint32_t link, uint32_t is_rx_up, uint32_t is_tx_up, uint32_t reason,
                    uint32_t epoch, uint32_t peer_epoch);
void sim_agent_refused(uint32_t link, uint32_t reason, uint64_t incarnation, uint32_t is_by_us);
void sim_agent_dropped(uint32_t link, uint32_t reason);
void sim_agent_up(uint32_t node_id, uint64_t incarnation);
void sim_agent_dead(uint32_t node_id, uint64_t incarnation, uint32_t cause);
void sim_agent_stale(void);
uint32_t sim_agent_port(uint32_t is_service);
void sim_agent_port_named(uint32_t port, uint64_t name);
void sim_agent_port_died(uint32_t port);
void sim_agent_port_gone(uint32_t port);
uint32_t sim_agent_pick(uint32_t pick, uint64_t *name);
uint32_t sim_agent_service_port(uint32_t node_id, uint64_t incarnation);
uint32_t sim_agent_port_state(uint32_t port);
uint32_t sim_agent_message(uint8_t *body, uint32_t size, uint32_t port, uint32_t reply_port);
void sim_agent_sent(uint32_t message, uint32_t is_sent);
void sim_agent_outcome(uint32_t message, uint32_t outcome);
uint32_t sim_agent_is_diverted(uint32_t node_id);
void sim_agent_diverted(uint32_t message);
uint32_t sim_agent_received(const uint8_t *body, uint32_t size, uint32_t source_node,
                            uint64_t source_incarnation, uint32_t has_reply, uint32_t port,
                            uint32_t is_set, uint32_t *message);
uint32_t sim_agent_right(uint32_t port, uint32_t kind, uint32_t of);
uint32_t sim_agent_right_by_name(uint32_t port);
void sim_agent_right_ended(uint32_t right);
void sim_agent_right_unmade(uint32_t right);
uint32_t sim_agent_right_port(uint32_t right);
uint32_t sim_agent_right_is_firm(uint32_t right);
void sim_agent_carries(uint32_t message, uint32_t right);
void sim_agent_carries_reply(uint32_t message, uint32_t right);
void sim_agent_uses(uint32_t message, uint32_t right);
uint32_t sim_agent_cargo(uint32_t message, uint32_t *rights);
uint32_t sim_agent_carried_reply(uint32_t message);
void sim_agent_right_arrived(uint32_t right, uint32_t is_there, uint64_t name, uint32_t kind);
uint32_t sim_agent_asked(uint32_t port, uint32_t notify, uint64_t name, uint32_t right);
void sim_agent_not_asked(uint32_t request);
void sim_agent_told(uint32_t notify, uint32_t id, uint64_t name);
void sim_agent_began(uint32_t entry);
void sim_agent_exercised(uint32_t invariant);
void sim_agent_violated(uint32_t invariant, const char *text);
"""
