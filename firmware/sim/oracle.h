/* SPDX-License-Identifier: MIT
 *
 * The oracle's books: what oracle.c (messages, ports), oracle_rights.c, oracle_notices.c (notifications)
 * and oracle_quiet.c share. Everybody else asks by world.h.
 *
 * A *right* of the world is one send, send-once or receive right that an honest life made: in a
 * program's hands, in a message, used for one, or ended. It is *shaky* from when somebody in the chain
 * that it came by was declared dead: its home may have voided the account that it was on.
 */
#ifndef SIM_ORACLE_H
#define SIM_ORACLE_H

#include "world.h"

#define PORTS_MAXIMUM 2048u
#define MESSAGES_MAXIMUM 8192u
#define RIGHTS_MAXIMUM 8192u
#define REQUESTS_MAXIMUM 1024u
#define LIFE_WORDS (SIM_LIVES_MAXIMUM / 64u)

enum message_state {
    MESSAGE_PREPARED,
    MESSAGE_SENT,
    MESSAGE_NOT_SENT,
};

struct oracle_port {
    struct port *port;     /* null: it is about to be destroyed, or it was, or it is on its way */
    uint64_t name;         /* 0: none that anybody asked for */
    uint32_t life;         /* that has its receive right, or had it last */
    uint32_t service_of;   /* node; SIM_NONE: an ordinary port */
    uint32_t moves;        /* how often its receive right went into a message */
    uint32_t senders;      /* send rights that the world has to it, and */
    uint32_t users;        /* references that its owner's threads have */
    uint32_t once_told;    /* deaths of send-once rights, and */
    uint32_t once_arrived; /* messages sent with one */
    bool is_exposed;       /* a suspect may know its name, and make up rights to it */
    bool is_dead;          /* or about to be */
    bool is_gone;          /* nobody may reach it any more */
    bool is_astray;        /* a suspect settled the message that it moved in: it may have it */
    uint64_t homes[LIFE_WORDS];           /* lives that it was at */
    uint64_t guessers[LIFE_WORDS];        /* lives that looked for it by its name, and those that
                                           * did not know where it moved to */
    uint32_t received[SIM_LIVES_MAXIMUM]; /* 1 + the newest message received, by sending life */
    uint32_t lives_reset;                 /* received[] is valid below it */
};

struct oracle_message {
    uint64_t seed;
    uint32_t port;
    uint32_t reply_port;
    uint32_t life;  /* that sent it */
    uint32_t ended; /* messages that had been begun when its send returned; 0: it has not */
    uint32_t size;
    uint32_t by;                    /* the right that it was sent with, and */
    uint32_t used;                  /* the same if it is a send-once right */
    uint32_t rights[SIM_CARGO + 1]; /* that it carries, the right to answer first */
    uint8_t right_count;
    uint8_t state;   /* enum message_state */
    uint8_t outcome; /* enum message_outcome; 0: none yet */
    uint8_t received;
    bool is_accepted; /* it was in the receiver's hands when that was told of the sender's death */
    bool
        is_stranded; /* whoever was to receive it may not have known a node that its rights lead to */
    bool is_diverted; /* it was sent to where a suspect said that the port is */
};

enum right_state {
    RIGHT_HELD,    /* a program has it */
    RIGHT_CARRIED, /* a message has it */
    RIGHT_USED,    /* a send-once right: a message was sent with it */
    RIGHT_ENDED,
};

struct oracle_right {
    uint32_t port;
    uint32_t life;  /* that has it, or sent it */
    uint32_t giver; /* life that it came from; SIM_NONE: it was made where it is */
    uint32_t moves; /* of the port, when a message took it along last */
    uint8_t kind;   /* enum port_disposition */
    uint8_t state;  /* enum right_state */
    bool is_shaky;
    bool is_late;    /* its holder had been told that its port's life is dead */
    bool is_by_name; /* got by a name, or comes from such a one: its home does not know of it */
};

struct oracle_request {
    uint32_t port;
    uint32_t notify;
    uint32_t life;  /* that asked */
    uint32_t moves; /* of the port, then */
    uint64_t name;
    bool is_for_dead; /* else for no senders */
    bool was_true;    /* at some time since: nobody had a send right */
    bool is_over;     /* it was told, or refused, or who asked is dead */
    bool is_told;
    bool may_lapse; /* nobody has to tell it any more: its proxy may be gone */
};

extern struct oracle_port oracle_ports[PORTS_MAXIMUM];
extern uint32_t oracle_port_count;
extern struct oracle_message oracle_messages[MESSAGES_MAXIMUM];
extern uint32_t oracle_message_count;
extern bool oracle_memory_was_short;
extern struct oracle_right oracle_rights[RIGHTS_MAXIMUM];
extern uint32_t oracle_right_count;
extern bool oracle_is_partial; /* not every right is in the books */
extern struct oracle_request oracle_requests[REQUESTS_MAXIMUM];
extern uint32_t oracle_request_count;

static inline bool life_is_over(uint32_t life)
{
    return sim_lives[life].end_ns != SIM_NEVER;
}

static inline bool life_is_suspect(uint32_t life)
{
    return sim_nodes[sim_lives[life].node].is_suspect;
}

static inline bool life_is_among(const uint64_t lives[LIFE_WORDS], uint32_t life)
{
    return (lives[life / 64u] >> life % 64u & 1u) != 0;
}

static inline void life_add(uint64_t lives[LIFE_WORDS], uint32_t life)
{
    lives[life / 64u] |= 1ull << life % 64u;
}

/* Does the life look for the port where it is not? A right that comes later does not help: only the
 * home that it knows is believed when it says that the port moved. */
static inline bool life_is_misled(const struct oracle_port *port, uint32_t life)
{
    return port->moves != 0 && life_is_among(port->guessers, life);
}

/* Some life that the port was at is one of which `is` says so to `node`. */
bool oracle_port_any_home(uint32_t port, bool (*is)(uint32_t node, uint32_t life), uint32_t node);

/* --- oracle_rights.c ----------------------------------------------------------------------- */

bool right_is_shaky(const struct oracle_right *right);

/* It comes from one that was got by a name, and its port moved: no home knows of it. */
bool right_is_unaccounted(const struct oracle_right *right);

static inline bool right_is_send(const struct oracle_right *right)
{
    return right->kind == PORT_SEND &&
           (right->state == RIGHT_HELD || right->state == RIGHT_CARRIED);
}

/* A message has come, in `life`; a suspect says so; it failed, or nobody knows; it was not sent. */
void rights_received(struct oracle_message *message, uint32_t life);
void rights_astray(const struct oracle_message *message);
void rights_failed(struct oracle_message *message, bool is_certain);
void rights_unsent(struct oracle_message *message);

/* One of them is shaky. */
bool rights_are_shaky(const struct oracle_message *message);

/* --- oracle_notices.c ----------------------------------------------------------------------- */

void requests_open(void);
/* There may be fewer senders to a port than before. */
void requests_review(uint32_t port);

/* The send-once rights of a port. */
struct once_count {
    uint32_t made;
    uint32_t shaky;
    uint32_t firm; /* held by somebody who lives */
};

struct once_count rights_count_once(uint32_t port);
/* Each ends once: in a message, or by being told dead. */
void rights_check_once(uint32_t port);

#endif
