/* SPDX-License-Identifier: MIT
 *
 * The programs of the nodes: what program.c (threads) and program_*.c (operations) share.
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

static inline bool slot_is_live(enum slot_state state)
{
    return state == SLOT_LIVE;
}

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

/* --- program_ops.c: slots ------------------------------------------------------------------- */

/* A thread begins a call on a port or right in a slot; it is done with it, or with a set. */
void program_enter_port(struct program_port *slot);
void program_leave_port(struct program_port *slot);
void program_leave_right(struct program_right *slot);
void program_leave_set(struct program_set *slot);

void program_drop_port(struct program_port *slot);
void program_drop_right(struct program_right *slot);
void program_drop_set(struct program_set *slot);
/* Empty a live slot; its right is the caller's, and nobody else has begun to use it. */
bool program_lift_right(struct program_right *slot, struct program_right *lifted);
/* The end of a right that is in no slot. */
void program_end_right(const struct program_right *right);

/* A port that is in no slot and the oracle's number of it (null: no memory, or no account left), and
 * its end. */
struct port *program_make_port(struct program *program, uint32_t *id);
void program_unmake_port(struct port *port, uint32_t id);

/* --- program_send.c ------------------------------------------------------------------------- */

/* A call that may wait, from before it begins. */
struct program_call {
    uint64_t begin_ns;
    uint64_t deadline_ns;
};

struct program_call program_call_begin(uint64_t duration_ns);
/* It neither outlived its bound nor gave up before it (I10). */
void program_call_end(const struct program *program, const struct program_call *call,
                      bool timed_out, const char *what);

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

/* The same of a message without rights, by a right that nobody accounts for. */
bool program_send_plain(struct program *program, struct kmsg *kmsg, struct port *right,
                        uint32_t port, uint64_t duration_ns);

/* There is nobody to send it to. */
void program_send_nowhere(struct program *program, const struct program_sending *sending);

/* The account of a message that is about to be sent; SIM_NONE: there is none for it. */
uint32_t program_account(const struct program *program, struct kmsg *kmsg, uint32_t port,
                         uint32_t reply_port);

/* Has the node been told, or done itself, what makes every right to the port a dead one? */
bool program_knows_dead(const struct program *program, uint32_t port);

/* A message of a size that the schedule names. Null: no memory. */
uint32_t program_body_bytes(uint32_t bytes);
struct kmsg *program_message(struct program *program, uint32_t bytes);

/* A right to a node's service port and which port it is, of the life that the node layer knows. */
struct port *program_service(struct program *program, uint32_t node, uint32_t *port);

/* The rights of a message that has an account find a slot or their end. */
void program_unpack_message(struct program *program, struct kmsg *kmsg, uint32_t message);

/* --- program_receive.c ---------------------------------------------------------------------- */

/* How a message came: through which port; is its right to answer kept? */
struct program_way {
    uint32_t port;
    bool is_answer_kept;
};

/* A message was received: into the account, its rights where there is room, answered if it wants an
 * answer, freed. */
void program_take(struct program *program, struct kmsg *kmsg, struct program_way way);

/* The operations that wait for messages. */
void program_perform_receive(struct program *program, const struct sim_entry *entry);

/* --- program_rights.c ----------------------------------------------------------------------- */

/* The operations that send, and those with rights. */
void program_perform_rights(struct program *program, const struct sim_entry *entry);

/* --- program_pack.c ------------------------------------------------------------------------- */

/* The message of SIM_OP_SEND_RIGHTS; its cargo goes into `*sending`. Of the slot `to`, whose right it is
 * sent with, nothing is given. Null: nothing is, everything is where it was or ended. */
struct kmsg *program_pack(struct program *program, const struct sim_entry *entry,
                          const struct program_right *to, struct program_sending *sending);

/* The rights of a message that came, or was not sent, find a slot or their end. `rights`: what the
 * oracle knows of them; null: they are a suspect's. */
void program_unpack(struct program *program, struct kmsg *kmsg, const uint32_t *rights,
                    uint32_t count);

/* A right that is nobody's: into a slot, or given back. */
void program_keep(struct program *program, struct port *port, enum port_disposition kind,
                  uint32_t right, uint32_t id);

/* What comes to the port through a set is known to come to `id`. */
void program_mark_port(struct port *port, uint32_t id);

/* Is it a notification? Then it is in the account, and freed. */
bool program_take_notification(struct program *program, struct kmsg *kmsg, uint32_t port);

/* --- program.c ------------------------------------------------------------------------------ */

/* Let time pass in this thread. */
void program_sleep(uint64_t duration_ns);

#endif
