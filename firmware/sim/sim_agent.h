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
 * told dead to this one, bit 4: it was a suspect's at some time, bit 5: it has moved, bit 6: this life
 * has reason to take it for dead. */
SIM_API uint32_t sim_agent_port_state(uint32_t port);

/* A message to `port` is about to be sent: its body of `size` bytes is filled in. `port`
 * SIM_AGENT_NONE: an answer to a suspect. */
SIM_API uint32_t sim_agent_message(uint8_t *body, uint32_t size, uint32_t port,
                                   uint32_t reply_port);
SIM_API void sim_agent_sent(uint32_t message, uint32_t is_sent);
SIM_API void sim_agent_outcome(uint32_t message, uint32_t outcome); /* enum message_outcome */
/* Is a right to a port of another node, which is at `node_id` (SIM_AGENT_NONE: dead), led astray by a
 * suspect? A message that was sent by such a one. */
SIM_API uint32_t sim_agent_is_diverted(uint32_t node_id);
SIM_API void sim_agent_diverted(uint32_t message);
/* A program has it. Returns the port to answer to, SIM_AGENT_NONE or SIM_AGENT_FOREIGN, and which
 * message it is, or SIM_AGENT_NONE. */
SIM_API uint32_t sim_agent_received(const uint8_t *body, uint32_t size, uint32_t source_node,
                                    uint64_t source_incarnation, uint32_t has_reply, uint32_t port,
                                    uint32_t is_set, uint32_t *message);

/* --- Accounts of rights; a right is a number, kinds are dispositions ----------------------- */

/* This life has one from now on: made of its receive right, copied of `of`, or got by a name. */
SIM_API uint32_t sim_agent_right(uint32_t port, uint32_t kind, uint32_t of);
SIM_API uint32_t sim_agent_right_by_name(uint32_t port);
SIM_API void sim_agent_right_ended(uint32_t right);
SIM_API void sim_agent_right_unmade(uint32_t right); /* there never was one */
SIM_API uint32_t sim_agent_right_port(uint32_t right);
SIM_API uint32_t sim_agent_right_is_firm(uint32_t right);
/* A message that is about to be sent carries it as well, as the right to answer, or is sent with it.
 * SIM_AGENT_FOREIGN: a place without a right. */
SIM_API void sim_agent_carries(uint32_t message, uint32_t right);
SIM_API void sim_agent_carries_reply(uint32_t message, uint32_t right);
SIM_API void sim_agent_uses(uint32_t message, uint32_t right);
/* What a message that came brings; returns how many besides the right to answer. */
SIM_API uint32_t sim_agent_cargo(uint32_t message, uint32_t *rights);
SIM_API uint32_t sim_agent_carried_reply(uint32_t message);
/* Its receiver found a port of that name for it; `is_there` 0: none. */
SIM_API void sim_agent_right_arrived(uint32_t right, uint32_t is_there, uint64_t name,
                                     uint32_t kind);
/* A notification to `notify` is asked for, when the port of that name that `right` leads to is dead,
 * or (SIM_AGENT_FOREIGN) when this life's own has no senders; it was refused; one came. */
SIM_API uint32_t sim_agent_asked(uint32_t port, uint32_t notify, uint64_t name, uint32_t right);
SIM_API void sim_agent_not_asked(uint32_t request);
SIM_API void sim_agent_told(uint32_t notify, uint32_t id, uint64_t name);

SIM_API void sim_agent_began(uint32_t entry); /* an operation */
SIM_API void sim_agent_exercised(uint32_t invariant);
SIM_API void sim_agent_violated(uint32_t invariant, const char *text);

#endif
