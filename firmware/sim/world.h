/* SPDX-License-Identifier: MIT
 *
 * What the parts of the simulator share: one world with its nodes, lives, links, ports and
 * messages. Each part touches only what its own file owns:
 *
 *   run.c       the phases of a run       timeline.c  what happens when
 *   node.c      power, lives, notices     program*.c  what the nodes do
 *   network.c   cables and PHYs           damage.c    what cables do to frames
 *   fault.c     what a schedule asks for  oracle.c    messages: I1 to I4, I8
 *   oracle_rights.c   rights: I14         oracle_notices.c   notifications: I15
 *   oracle_quiet.c    both, when all is quiet
 *   watch.c     nodes and links: I5 to I7, I11, I12   trace.c  hash and last events
 *   forge.c, forge_message.c   what a hostile node sends
 *
 * Nothing here is allocated during a run; everything is reset by the part that owns it.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "sim.h"

#include <abi/flipc.h>
#include <kernel/boot.h>
#include <kernel/host.h>
#include <kernel/ipc.h>
#include <kernel/link_manager.h>
#include <kernel/node.h>
#include <stdbool.h>

#define SIM_NEVER UINT64_MAX
#define SIM_NONE UINT32_MAX
#define SIM_FOREIGN (UINT32_MAX - 1u)
#define SIM_MS 1000000ull
#define SIM_US 1000ull
#define SIM_LIVES_MAXIMUM 256u
#define SIM_LINKS_PER_NODE 8u
#define SIM_MESSAGE_MAXIMUM 16384u /* bytes of an mnl message */
#define SIM_ARENA_BYTES (2048u * 1024u)

/* --- trace.c ------------------------------------------------------------------------------- */

enum trace_event {
    TRACE_BOOT,    /* incarnation */
    TRACE_END,     /* incarnation */
    TRACE_UP,      /* node id, incarnation */
    TRACE_DEAD,    /* node id, incarnation, cause */
    TRACE_LINK,    /* link, bits << 32 | reason, epochs */
    TRACE_REFUSED, /* link, reason, by us */
    TRACE_STALE,   /* incarnation */
    TRACE_DROP,    /* link, reason */
    TRACE_FAULT,   /* entry, kind, target */
    TRACE_HEALED,  /* entry, kind, target */
    TRACE_SEND,    /* message, port */
    TRACE_RECEIVE, /* message, port */
    TRACE_OUTCOME, /* message, outcome */
    TRACE_FRAME,   /* hash only: link, type, CRC */
};

#define TRACE_WORLD SIM_NODES_MAXIMUM /* of no node */

void trace_open(void);
void trace(uint32_t node, enum trace_event event, uint64_t a, uint64_t b, uint64_t c);
void trace_hash(uint64_t value); /* into the hash alone */
uint64_t trace_value(void);

/* --- run.c --------------------------------------------------------------------------------- */

struct sim_run {
    const struct sim_settings *settings;
    const struct sim_entry *entries;
    uint32_t entry_count;
    struct sim_result *result;
    bool is_over;      /* a violation ends the run */
    bool is_draining;  /* whoever waits for messages takes them all */
    bool is_releasing; /* and nobody keeps a right to a port */
    bool is_closing;   /* the last phase: nothing is restarted any more */
};
extern struct sim_run sim;

/* An invariant was looked at and held so far; is violated. The first violation ends the run. */
void sim_exercised(uint32_t invariant);
void sim_violated(uint32_t invariant, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* --- timeline.c ---------------------------------------------------------------------------- */

enum timeline_kind {
    TIMELINE_WAKE,   /* link, end: frames arrived */
    TIMELINE_BOOT,   /* node */
    TIMELINE_RESET,  /* node, life: by itself, or the second half of TWICE */
    TIMELINE_NOTICE, /* node, life that is dead */
    TIMELINE_HEAL,   /* entry */
    TIMELINE_FLAP,   /* entry, halves left */
    TIMELINE_FORGE,  /* entry of a hostile node: its next volley is due */
    TIMELINE_AGENT,  /* the agent's time has come: its life, which of its calls this is */
};

void timeline_open(void);
void timeline_add(uint64_t time_ns, enum timeline_kind kind, uint32_t a, uint32_t b);
uint64_t timeline_next_ns(void);    /* SIM_NEVER: nothing is to come */
void timeline_run(uint64_t now_ns); /* everything due */

/* --- node.c -------------------------------------------------------------------------------- */

struct sim_life {
    uint64_t incarnation;
    uint64_t boot_ns;
    uint64_t end_ns; /* SIM_NEVER: it lives */
    uint32_t node;
};

/* What one life knows of another node. */
struct sim_known {
    uint64_t up;   /* incarnation told up last; 0: none */
    uint64_t dead; /* the newest that was told dead; 0: none */
};

struct sim_node {
    struct mach_host host;
    struct node_observer observer;
    struct boot_link links[SIM_LINKS_PER_NODE];
    uint32_t world_links[SIM_LINKS_PER_NODE]; /* of each of them */
    uint32_t link_count;
    uint32_t index;
    uint32_t id;
    uint32_t launch;
    uint32_t boot_count;
    uint32_t life; /* SIM_NONE: it is off */
    bool is_ready; /* bring-up is over */
    bool is_hung;
    bool is_stale; /* it was told that it is dead */
    /* A *suspect* is a node that is hostile at some time of the run: what it says is nobody's
     * account. It is hostile while its frames are forged. */
    bool is_suspect;
    bool is_hostile;
    uint64_t forged_incarnation; /* the largest life that it claimed and never had */
    struct heap_statistics baseline;
    uint64_t baseline_names;
    uint64_t disturbed_ns; /* until when something was done to it */
    struct sim_known known[SIM_NODES_MAXIMUM];
    bool told_up[SIM_LIVES_MAXIMUM]; /* of other nodes' lives */
    bool told_dead[SIM_LIVES_MAXIMUM];
    struct event agent_event; /* node 0's word has come */
    uint32_t notices[SIM_LIVES_MAXIMUM];
    uint32_t notice_count;
    uint32_t notices_done;
    bool has_to_bury; /* every life that a suspect has or claimed */
};
extern struct sim_node sim_nodes[SIM_NODES_MAXIMUM];
extern struct sim_life sim_lives[SIM_LIVES_MAXIMUM];
extern uint32_t sim_life_count;

void nodes_open(void);
void node_boot(uint32_t node);
void node_end_life(uint32_t node, bool carrier_is_lost); /* crash or reset */
void node_notice(uint32_t node, uint32_t life);          /* node 0 says that this life is over */
void nodes_bury_suspects(void);
void node_disturb(uint32_t node, uint64_t until_ns);
void node_note_stale(uint32_t node);

/* The node whose id it is; null: nobody's. */
struct sim_node *node_of_id(uint32_t node_id);
bool node_id_is_suspect(uint32_t node_id);
bool nodes_have_suspects(void);

/* It claimed a life that it will never reach: nobody believes that it lives any more. */
bool node_is_discredited(uint32_t node);

static inline struct sim_life *node_life(const struct sim_node *node)
{
    return &sim_lives[node->life];
}

/* The life of an incarnation of a node; SIM_NONE: there never was one. */
uint32_t life_find(uint32_t node, uint64_t incarnation);

/* --- program.c ----------------------------------------------------------------------------- */

#define SIM_WORKERS 2u
#define PROGRAM_SERVICE_SERIAL NAME_SERIAL_KERNEL

int program_start(uint32_t node);    /* in the node's first fiber, before its links */
void program_end(uint32_t node);     /* the life is over: nothing is given back */
void program_submit(uint32_t entry); /* an operation's time has come */
bool program_is_idle(uint32_t node); /* no worker has anything to do */
void program_drain(void);            /* from now on every port is emptied */
void program_release(void);          /* and every right but receive rights is given back */
void program_close(void);            /* give everything back */
bool program_is_closed(uint32_t node);

/* --- agent.c ------------------------------------------------------------------------------- */

static inline bool node_is_agent(uint32_t node)
{
    return sim.settings->agent == node + 1u;
}

bool agent_is_set(void);
void agent_open(void);
void agent_boot(void);
void agent_end(void);
void agent_wake(void); /* it has something to look at */
void agent_run(uint32_t life, uint64_t count);
void agent_submit(uint32_t entry);
void agent_notice(uint32_t node_id, uint64_t incarnation);
void agent_bury_suspects(void);
void agent_drain(void);
void agent_close(void);
bool agent_is_idle(void);
bool agent_is_closed(void);
bool agent_link_is_up(uint32_t link);
void agent_check_memory(void);

/* --- network.c ----------------------------------------------------------------------------- */

struct phy_operations;

void network_open(void);
const struct phy_operations *network_find_phy(const char *kind);
void network_wake(uint32_t link, uint32_t end);
void network_power(uint32_t node, bool is_on, bool is_visible);
void network_cut(uint32_t link, uint32_t directions, int change); /* +1 a cut, -1 a splice */
void network_tap(uint32_t link, int change);                      /* +1, -1 */
void network_disturb(uint32_t link, uint64_t until_ns);
bool network_is_up(uint32_t link);                         /* both ends, both directions */
uint32_t network_index(uint32_t node, uint32_t boot_link); /* the world's link of a node's */
uint64_t network_disturbed_ns(uint32_t link);              /* its ends included */
uint64_t network_frames(void);

/* --- forge.c ------------------------------------------------------------------------------- */

void forge_open(void);
/* A frame of `from` as its node made it: remembered, and if the node is hostile changed on its way
 * into the cable. */
void forge_send(uint32_t link, uint32_t from, const void *header, const void *payload,
                size_t payload_bytes);
void forge_begin(uint32_t entry); /* the node is hostile from now on */
void forge_end(uint32_t entry);
void forge_volley(uint32_t entry);

/* --- fault.c ------------------------------------------------------------------------------- */

void faults_open(void);
void fault_begin(uint32_t entry);
void fault_end(uint32_t entry);
void fault_flap(uint32_t entry, uint32_t halves);
void faults_end_all(void);
static inline bool kind_is_fault(uint32_t kind)
{
    return kind > SIM_OP_LAST;
}

/* --- oracle.c ------------------------------------------------------------------------------ */

void oracle_open(void);

/* A port that a program made; `life` owns it. SIM_NONE: too many. */
uint32_t oracle_port(struct port *of, uint32_t life, uint32_t service_of_node);
void oracle_port_named(uint32_t port, uint64_t name);
void oracle_port_died(uint32_t port); /* it is about to be destroyed */
void oracle_port_gone(uint32_t port); /* it was */
/* A name that somebody may look up: the port, or SIM_NONE. */
uint32_t oracle_pick(uint32_t pick, uint64_t *name);
uint32_t oracle_service_port(uint32_t life);
bool oracle_port_is_dead(uint32_t port);
bool oracle_port_is_gone(uint32_t port);
uint32_t oracle_port_life(uint32_t port);
/* Does `node` have reason to take the port for dead? */
bool oracle_port_may_be_dead(uint32_t port, uint32_t node);
bool oracle_port_is_foreign(uint32_t port); /* it was a suspect's at some time, or may be */
bool oracle_port_has_moved(uint32_t port);  /* its receive right went into a message */

/* A message of `node` to `port` (SIM_NONE: an answer to a suspect, to whichever port that named) is
 * about to be sent: fill its body and watch it. SIM_NONE: too many, or no room for an account. */
uint32_t oracle_message(uint32_t node, void *body, size_t size, uint32_t port, uint32_t reply_port);
void oracle_outcome(uint32_t message, enum message_outcome outcome);
/* It goes to where a suspect said that its port is. */
void oracle_diverted(uint32_t message);
/* mach_msg_send() took it, or did not. */
void oracle_sent(uint32_t message);
void oracle_unsent(uint32_t message);
/* What a receiver has, and where. `is_set`: it came through a port set, so any port of the life may
 * have brought it. */
struct oracle_arrival {
    const void *body;
    size_t size;
    uint32_t source_node;
    uint64_t source_incarnation;
    bool has_reply;
    bool is_set;
    uint32_t node;
    uint32_t port;
    uint32_t message; /* out: which it is; SIM_NONE: nobody knows */
};

/* A receiver has it. Returns the port to answer to; SIM_NONE: none was meant; SIM_FOREIGN: a suspect
 * sent it or has it, and nobody is to blame. `set`: through a port set, so any port of the life may
 * have brought it. */
uint32_t oracle_received(struct oracle_arrival *arrival);
/* It was in a queue of somebody who is about to be told that its sender, `life`, is dead. */
void oracle_accepted(const void *body, size_t size, uint32_t life);
/* `node` was told that `life` is dead: what it has of its messages already is its. */
void oracle_life_died(uint32_t node, uint32_t life);
bool oracle_is_settled(void);               /* every message of every living life has its outcome */
void oracle_check_end(void);                /* all accounts are final */
void oracle_excuse_failures(uint32_t node); /* an allocation of it may have failed */

/* --- oracle_rights.c ----------------------------------------------------------------------- */

#define SIM_CARGO 4u /* rights that a message carries besides the one to answer */

/* A right is a number, SIM_NONE one that nobody accounts for (a suspect's, or an agent's), and
 * SIM_FOREIGN in a message a place without one. */
void rights_open(void);

/* `life` has a right from now on: made from the receive right, or copied from its right `of`. */
uint32_t oracle_right(uint32_t life, uint32_t port, enum port_disposition kind, uint32_t of);
uint32_t oracle_right_by_name(uint32_t life, uint32_t port);
void oracle_right_ended(uint32_t right);  /* it is about to be given back, or was used up */
void oracle_right_unmade(uint32_t right); /* there never was one */
uint32_t oracle_right_port(uint32_t right);
enum port_disposition oracle_right_kind(uint32_t right);
bool oracle_right_is_firm(uint32_t right); /* whose loss somebody is to blame for */

bool oracle_right_is_late(uint32_t right); /* it came after the death of its port's life was told */

/* The message, about to be sent, carries this right besides those before, or as the right to answer,
 * or is sent with this one, which a send-once right is used up by. If it is not sent they are the sender's again. */
void oracle_carries(uint32_t message, uint32_t right);
void oracle_carries_reply(uint32_t message, uint32_t right);
void oracle_uses(uint32_t message, uint32_t right);
/* What a message brought besides the right to answer, and that one. Null: SIM_NONE is no message. */
const uint32_t *oracle_cargo(uint32_t message, uint32_t *count);
uint32_t oracle_carried_reply(uint32_t message);
/* `node` found this port (null: none) for that right. It is its holder's since the message came. */
void oracle_right_arrived(uint32_t node, uint32_t right, const struct port *port,
                          enum port_disposition kind);

/* A thread of the owner took a reference to the port, or is about to give it back. */
void oracle_port_used(uint32_t port, int change);

/* `life` is about to ask for a notification to its port `notify`: of the death of the port that its
 * `right` leads to, or (SIM_FOREIGN) when its own port has no senders. The call refused it. */
uint32_t oracle_asked(uint32_t life, uint32_t port, uint32_t notify, const struct port *of,
                      uint32_t right);
void oracle_not_asked(uint32_t request);
/* A notification came: which one (enum notify_id), of which name. */
void oracle_told(uint32_t node, uint32_t notify, uint32_t id, uint64_t name);

void rights_life_ended(uint32_t life);
void rights_told_dead(uint32_t node, uint32_t life); /* that node was told so */
bool oracle_rights_are_right(void);                  /* all that is to be told was told */
void oracle_check_rights(void);
bool oracle_rights_come_back(void); /* when everybody gives back what he has, while all live */

/* --- watch.c ------------------------------------------------------------------------------- */

void watch_observe(struct sim_node *node);
void watch_node_up(void *node, uint32_t node_id, uint64_t incarnation);
void watch_node_dead(void *node, uint32_t node_id, uint64_t incarnation,
                     enum node_death_cause cause);
/* Of an agent, which has no link manager: a link of the world changed, or a claim was refused. */
void watch_agent_link(struct sim_node *node, uint32_t link, uint64_t bits, enum link_reason reason,
                      uint64_t epochs);
void watch_agent_refused(struct sim_node *node, uint32_t link, enum link_refusal reason,
                         uint64_t incarnation, bool by_us);
struct link_observer watch_link_observer(struct sim_node *node);
void watch_flows(void); /* I5, of every node, now */
bool watch_links_are_up(void);
void watch_check_links(uint64_t since_ns);
bool watch_notices_are_told(void); /* of every end that there was */
void watch_check_notices(void);
void watch_check_memory(void);
bool watch_rights_are_back(void); /* of everybody, while all are alive */
void watch_check_rights_are_back(void);

#endif
