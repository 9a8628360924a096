/* SPDX-License-Identifier: MIT
 *
 * A node of the simulated cluster that is the caller's own: another implementation of everything
 * between its cables and its programs, judged by the same invariants.
 *
 * The world calls the agent (struct sim_agent): it boots, frames arrive, operations of the schedule
 * are due, its time has come. The agent calls the world (sim_agent_*) from within those calls, and
 * from nowhere else: it sends frames, and keeps the accounts that programs of the core keep for
 * their nodes. Times are of the agent's node clock. A port or message is the number that the world
 * gave it; SIM_AGENT_NONE is no port or no message.
 */
#ifndef SIM_SIM_AGENT_H
#define SIM_SIM_AGENT_H

#include "sim.h"

#define SIM_AGENT_NONE UINT32_MAX
#define SIM_AGENT_FOREIGN (UINT32_MAX - 1u) /* what a suspect sent */

struct sim_agent {
    /* A run begins; both stay as they are until it is over. */
    void (*begin)(const struct sim_settings *settings, const struct sim_entry *entries);
    void (*boot)(uint64_t incarnation, uint64_t now_ns); /* a new life, which knows nothing */
    void (*end)(void);                                   /* it is over wherever it was */
    /* A cable that reports by itself: direction (1 transmit, 2 receive) of a link of the world. */
    void (*carrier)(uint32_t link, uint32_t direction, uint32_t is_up, uint32_t generation,
                    uint32_t is_checked, uint64_t now_ns);
    void (*frame)(uint32_t link, const uint8_t *bytes, uint32_t length, uint64_t now_ns);
    /* Do all that is due. Returns when to be called again at the latest; UINT64_MAX: never. */
    uint64_t (*run)(uint64_t now_ns);
    void (*submit)(uint32_t entry); /* an operation of the schedule, before the next run() */
    void (*notice)(uint32_t node_id, uint64_t incarnation, uint64_t now_ns); /* node 0's word */
    void (*drain)(void); /* from now on take whatever arrives */
    void (*close)(void); /* give back what you have */
    uint32_t (*is_idle)(void);
    uint32_t (*is_closed)(void);
    uint64_t (*left)(void); /* at the end, everybody being dead: things that should not be there */
};

/* Who plays settings.agent in the runs that follow; null: nobody. */
SIM_API void sim_agent_set(const struct sim_agent *agent);

/* Into the cable. 0; ERROR_FULL: no room, run() is called when there is; ERROR_DOWN: no carrier. */
SIM_API int sim_agent_transmit(uint32_t link, const uint8_t *frame, uint32_t length);

/* --- What it learned ----------------------------------------------------------------------- */

SIM_API void sim_agent_link(uint32_t link, uint32_t is_rx_up, uint32_t is_tx_up, uint32_t reason,
                            uint32_t epoch, uint32_t peer_epoch);
SIM_API void sim_agent_refused(uint32_t link, uint32_t reason, uint64_t incarnation,
                               uint32_t is_by_us);
SIM_API void sim_agent_dropped(uint32_t link, uint32_t reason);
SIM_API void sim_agent_up(uint32_t node_id, uint64_t incarnation);
SIM_API void sim_agent_dead(uint32_t node_id, uint64_t incarnation, uint32_t cause);
SIM_API void sim_agent_stale(void); /* its own life was declared dead: it will be reset */

/* --- Accounts ------------------------------------------------------------------------------ */

SIM_API uint32_t sim_agent_port(uint32_t is_service);
SIM_API void sim_agent_port_named(uint32_t port, uint64_t name);
SIM_API void sim_agent_port_died(uint32_t port); /* about to be destroyed */
SIM_API void sim_agent_port_gone(uint32_t port);
SIM_API uint32_t sim_agent_pick(uint32_t pick, uint64_t *name);
SIM_API uint32_t sim_agent_service_port(uint32_t node_id, uint64_t incarnation);
/* Bit 0: it is dead, bit 1: nobody may reach it, bit 2: it is this life's own, bit 3: its life was
 * told dead to this one, bit 4: it is a suspect's. */
SIM_API uint32_t sim_agent_port_state(uint32_t port);

/* A message to `port` is about to be sent: its body of `size` bytes is filled in. `port`
 * SIM_AGENT_NONE: an answer to a suspect. */
SIM_API uint32_t sim_agent_message(uint8_t *body, uint32_t size, uint32_t port,
                                   uint32_t reply_port);
SIM_API void sim_agent_sent(uint32_t message, uint32_t is_sent);
SIM_API void sim_agent_outcome(uint32_t message, uint32_t outcome); /* enum message_outcome */
/* A program has it. Returns the port to answer to, SIM_AGENT_NONE or SIM_AGENT_FOREIGN. */
SIM_API uint32_t sim_agent_received(const uint8_t *body, uint32_t size, uint32_t source_node,
                                    uint64_t source_incarnation, uint32_t has_reply, uint32_t port,
                                    uint32_t is_set);
/* It was in a queue when its sender's death was told. */
SIM_API void sim_agent_accepted(const uint8_t *body, uint32_t size, uint32_t source_node,
                                uint64_t source_incarnation);

SIM_API void sim_agent_began(uint32_t entry); /* an operation */
SIM_API void sim_agent_exercised(uint32_t invariant);
SIM_API void sim_agent_violated(uint32_t invariant, const char *text);

#endif
