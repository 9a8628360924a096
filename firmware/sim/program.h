/* SPDX-License-Identifier: MIT
 *
 * The programs of the nodes: what program.c (threads) and program_ops.c (operations) share.
 *
 * A program has slots for ports, rights and sets. A slot is *dying* while some thread is still in a
 * call with what another one destroyed: the reference that keeps it is given back by the last.
 */
#ifndef SIM_PROGRAM_H
#define SIM_PROGRAM_H

#include "arch/sim/fiber.h"
#include "world.h"

#define PROGRAM_PORTS 6u
#define PROGRAM_RIGHTS 6u
#define PROGRAM_SETS 2u
#define PROGRAM_QUEUE 512u

enum slot_state {
    SLOT_EMPTY = 0,
    SLOT_LIVE,
    SLOT_DYING,
};

struct program_port {
    struct port *port; /* with a reference besides the receive right */
    uint32_t id;       /* of the oracle */
    uint32_t users;
    enum slot_state state;
};

struct program_right {
    struct port *port;
    uint32_t id;
    uint32_t users;
    enum slot_state state;
};

struct program_set {
    struct port_set *set;
    uint32_t users;
    enum slot_state state;
};

struct program;

struct program_worker {
    struct program *program;
    struct event event;
    bool is_busy;
    uint32_t head;
    uint32_t tail;
    uint16_t queue[PROGRAM_QUEUE]; /* entries whose time has come */
};

struct program {
    struct sim_node *node;
    struct mach_host *host;
    struct port *service;
    uint32_t service_id;
    bool is_closed;
    struct program_port ports[PROGRAM_PORTS];
    struct program_right rights[PROGRAM_RIGHTS];
    struct program_set sets[PROGRAM_SETS];
    struct program_worker workers[SIM_WORKERS];
};

void program_perform(struct program *program, const struct sim_entry *entry);

/* A message was received: into the account, answered if it wants an answer, freed. `port`: through
 * which; `is_set`: through some port of a set. */
void program_take(struct program *program, struct kmsg *kmsg, uint32_t port, bool is_set);

/* A thread is done with a call on it. */
void program_leave_port(struct program_port *slot);

void program_drop_port(struct program *program, struct program_port *slot);
void program_drop_right(struct program *program, struct program_right *slot);
void program_drop_set(struct program *program, struct program_set *slot);

/* Let time pass in this thread. */
void program_sleep(uint64_t duration_ns);

#endif
