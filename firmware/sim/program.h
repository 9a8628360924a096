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
#define PROGRAM_RIGHTS 8u
#define PROGRAM_SETS 2u
#define PROGRAM_QUEUE 512u

enum slot_state {
    SLOT_EMPTY = 0,
    SLOT_LIVE,
    SLOT_DYING,
};

struct program_port {
    struct port *port; /* its receive right; each user has a reference besides */
    uint32_t id;       /* of the oracle */
    uint32_t users;
    uint32_t lenders; /* sends that make a right to answer of it: it does not move meanwhile */
    enum slot_state state;
};

struct program_right {
    struct port *port;
    uint32_t id;
    uint32_t right;             /* of the oracle */
    enum port_disposition kind; /* send or send-once */
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

/* How a message came: through which port; is its right to answer kept? */
struct program_way {
    uint32_t port;
    bool is_answer_kept;
};

/* A message was received: into the account, its rights where there is room, answered if it wants an
 * answer, freed. */
void program_take(struct program *program, struct kmsg *kmsg, struct program_way way);

/* A message in the making. */
struct program_sending {
    struct kmsg *kmsg; /* taken over */
    struct port *right;
    enum port_disposition kind; /* of `right`: a send-once right is used up by it */
    uint32_t port;              /* that it leads to */
    uint32_t by;                /* the oracle's number of `right`; SIM_NONE: it has none */
    struct port *local;         /* null: nobody has to answer */
    uint32_t reply_port;
    enum port_disposition disposition; /* of the right to answer */
    bool is_passed_on;                 /* `local` is a right of the caller's, gone afterwards */
    uint32_t reply_right;              /* the oracle's number of it, if it is there already */
    uint32_t cargo[SIM_CARGO];
    uint32_t cargo_count;
    uint64_t duration_ns;
};

/* True: it was sent. Else its cargo went back to the slots. */
bool program_send(struct program *program, const struct program_sending *sending);

/* The same by what is in a slot, if something is: its send right, or its send-once right, which is
 * used up. */
bool program_send_by(struct program *program, struct program_right *slot,
                     struct program_sending *sending);

/* A message of a size that the schedule names. Null: no memory. */
uint32_t program_body_bytes(uint32_t bytes);
struct kmsg *program_message(struct program *program, uint32_t bytes);

/* A right to a node's service port and which port it is, of the life that the node layer knows. */
struct port *program_service(struct program *program, uint32_t node, uint32_t *port);

/* What comes to the port through a set is known to come to `id`. */
void program_mark_port(struct port *port, uint32_t id);

/* A thread begins a call on a port or right in a slot; it is done with it. */
void program_enter_port(struct program_port *slot);
void program_leave_port(struct program_port *slot);
void program_leave_right(struct program_right *slot);

/* program_rights.c: operations with rights in messages. */
void program_perform_rights(struct program *program, const struct sim_entry *entry);

/* The rights of a message that came, or was not sent, find a slot or their end. `rights`: what the
 * oracle knows of them; null: they are a suspect's. */
void program_unpack(struct program *program, struct kmsg *kmsg, const uint32_t *rights,
                    uint32_t count);

/* A right that is nobody's: into a slot, or given back. */
void program_keep(struct program *program, struct port *port, enum port_disposition kind,
                  uint32_t right, uint32_t id);

/* Is it a notification? Then it is in the account, and freed. */
bool program_take_notification(struct program *program, struct kmsg *kmsg, uint32_t port);

void program_drop_port(struct program *program, struct program_port *slot);
void program_drop_right(struct program *program, struct program_right *slot);
/* Empty a live slot; its right is the caller's, and nobody else has begun to use it. */
bool program_lift_right(struct program_right *slot, struct program_right *lifted);
void program_drop_set(struct program *program, struct program_set *slot);

/* Let time pass in this thread. */
void program_sleep(uint64_t duration_ns);

#endif
