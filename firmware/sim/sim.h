/* SPDX-License-Identifier: MIT
 *
 * The level-1 simulator as its callers see it: nodes of the real core in one process, under a
 * virtual clock, on simulated links. docs/design/simulator.md says how and why.
 *
 * Words. *Settings* are what a run is made of (nodes, links, constants, how the scheduler behaves);
 * a *schedule* is the list of what is done to it, operations of the nodes' programs and faults
 * alike, each with its own time and arguments, so that any part of the list is a schedule too. Both
 * can be generated from a seed. A run is decided by its settings and its schedule, which is why a
 * shrunk schedule can be kept in a file. A *life* is one incarnation of a node.
 *
 * One run at a time in a process. All functions are for one thread.
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include <stdint.h>

/* What the library shows. */
#define SIM_API __attribute__((visibility("default")))

#define SIM_VERSION 1u /* of this interface and of replay files */
#define SIM_NODES_MAXIMUM 5u
#define SIM_LINKS_MAXIMUM 12u
#define SIM_ENTRIES_MAXIMUM 1024u
#define SIM_TEXT_SIZE 320u

enum sim_mode {
    SIM_SAFETY = 1,   /* faults until the end: nothing bad may happen */
    SIM_LIVENESS = 2, /* then faults stop: everything good must happen within its bound */
};

enum sim_profile {
    SIM_PROFILE_MIXED = 0,   /* a profile below, by the seed */
    SIM_PROFILE_CONTROL = 1, /* no fault */
    SIM_PROFILE_SINGLE = 2,  /* one fault, at any time, start-up included */
    SIM_PROFILE_LINKS = 3,   /* faults of links alone */
    SIM_PROFILE_NODES = 4,   /* faults of nodes alone */
    SIM_PROFILE_ALL = 5,     /* both */
    SIM_PROFILE_SWIZZLE =
        6, /* cut a random subset of the links one by one, splice in random order */
    SIM_PROFILE_CRASH_LOOP = 7, /* one node again and again */
    SIM_PROFILE_MEMORY = 8,     /* allocations fail */
    SIM_PROFILE_HOSTILE = 9,    /* one node forges frames; faults of links, too */
    SIM_PROFILE_COUNT = 10,
};

/* Of one entry of a schedule. For an operation `target` is node | worker << 8, for a fault of a
 * link the link, for a fault of a node the node. `duration_ns` is how long a call may wait, or how
 * long a fault lasts. Slots and picks are taken modulo what there is. */
enum sim_kind {
    SIM_OP_PORT_CREATE = 1,  /* slot, limit, odd: nobody asks for its name */
    SIM_OP_PORT_DESTROY = 2, /* slot */
    SIM_OP_PORT_LIMIT = 3,   /* slot, limit */
    SIM_OP_RIGHT_GET = 4,    /* right slot, pick among the names in the world */
    SIM_OP_RIGHT_DROP = 5,   /* right slot */
    SIM_OP_SEND = 6,         /* right slot, bytes, reply (0 none, 1 send, 2 send-once), port slot */
    SIM_OP_RECEIVE = 7,      /* port slot, odd: a right to answer is kept in a right slot */
    SIM_OP_FORWARD = 8,      /* port slot, right slot */
    SIM_OP_SET_CREATE = 9,   /* set slot */
    SIM_OP_SET_DESTROY = 10, /* set slot */
    SIM_OP_SET_INSERT = 11,  /* set slot, port slot */
    SIM_OP_SET_REMOVE = 12,  /* port slot */
    SIM_OP_SET_RECEIVE = 13, /* set slot */
    SIM_OP_STREAM = 14,      /* node, bytes, count, microseconds between two */
    SIM_OP_CALL = 15,        /* node, bytes */

    /* Rights. A right slot holds a send or a send-once right; SEND, SEND_RIGHTS and BURST use
     * a send-once right up. What arrives is kept where there is an empty slot, else given back. */
    SIM_OP_SEND_RIGHTS = 16, /* destination, bytes, rights, reply; below */
    SIM_OP_MOVE = 17,        /* port slot, node: its receive right goes to the node's service */
    SIM_OP_RIGHT_MAKE = 18,  /* right slot, port slot: a send right to a port of one's own */
    SIM_OP_BURST = 19,       /* right slot, bytes, count, microseconds between two */
    SIM_OP_ASK_SENDERS = 20, /* port slot, port slot that is told: when it has no senders */
    SIM_OP_ASK_DEAD = 21,    /* right slot, port slot that is told: when the port is dead */
    SIM_OP_LAST = 21,

    /* Links: direction mask (1: from end 0, 2: from end 1), then as noted. */
    SIM_FAULT_CUT = 32,       /* */
    SIM_FAULT_FLAP = 33,      /* times; each down and up for duration_ns */
    SIM_FAULT_LOSS = 34,      /* permille */
    SIM_FAULT_DUPLICATE = 35, /* permille */
    SIM_FAULT_REORDER = 36,   /* permille */
    SIM_FAULT_CORRUPT = 37,   /* permille: bits flip */
    SIM_FAULT_TRUNCATE = 38,  /* permille */
    SIM_FAULT_JUNK = 39,      /* permille: something that nobody sent comes too */
    SIM_FAULT_STALE = 40,     /* permille: a frame comes again, up to duration_ns later */
    SIM_FAULT_DELAY = 41,     /* microseconds more */
    SIM_FAULT_JITTER = 42,    /* microseconds more, up to */
    SIM_FAULT_JAM = 43,       /* nothing arrives, then everything in order */
    SIM_FAULT_MUTE = 44,      /* everything is lost, and the carrier stays */
    SIM_FAULT_DOORBELL = 45,  /* permille: a frame comes and nobody is woken */
    SIM_FAULT_FULL = 46,      /* no room for payload */
    SIM_FAULT_TAP = 47,       /* the cable says that bytes may change */

    /* Nodes. */
    SIM_FAULT_CRASH = 64, /* carrier (0: nobody sees it), notice in microseconds (0: none); down for
                              duration_ns */
    SIM_FAULT_RESET = 65, /* the machine starts again at once: next boot count */
    SIM_FAULT_HANG = 66,  /* */
    SIM_FAULT_SILENCE = 67, /* nothing passes on any link of it; carrier stays */
    SIM_FAULT_HEAP = 68,    /* allocations until the first failure, 1: all later ones fail too */
    SIM_FAULT_ALL = 69,     /* every node crashes at the same moment; down for duration_ns each */
    SIM_FAULT_TWICE = 70,   /* as CRASH, and again `third` microseconds after it is back */
    SIM_FAULT_HOSTILE =
        71, /* its frames are forged: permille of its own that are changed, microseconds
                               between two volleys of others (0: none), bold (claims lives that it
                               never had), stingy (1: settles nothing and gives no credit, 2: and
                               asks without end); afterwards it crashes and comes back */
    SIM_KINDS = 72,
};

/* SIM_OP_SEND_RIGHTS.
 *   destination  bit 6: the service of a node (bits 0..5), else a right slot
 *   rights       four bytes, each: how (bits 0..2, SIM_GIVE_*) and which slot (bits 3..7). What there
 *                is not, or not of that kind, is left out.
 *   reply        bits 0..1: 0 none, 1 send, 2 send-once right of a port slot, 3 the right in a right
 *                slot (send: copied, send-once: moved); bit 2: rights under the same transfer as the
 *                first are one array; bits 8..: slot */
enum sim_give {
    SIM_GIVE_NOTHING = 0,
    SIM_GIVE_RECEIVE = 1,   /* port slot: the receive right moves */
    SIM_GIVE_MOVE = 2,      /* right slot, send or send-once */
    SIM_GIVE_COPY = 3,      /* right slot, send */
    SIM_GIVE_MAKE = 4,      /* port slot: a send right */
    SIM_GIVE_MAKE_ONCE = 5, /* port slot: a send-once right */
    SIM_GIVE_NULL = 6,      /* no right */
    SIM_GIVE_BYTES = 7,     /* 8 * slot bytes out of line */
};

#define SIM_TO_SERVICE 64u
#define SIM_REPLY_ARRAY 4u

struct sim_entry {
    uint64_t time_ns;
    uint64_t duration_ns;
    uint32_t kind;
    uint32_t target;
    uint32_t arguments[4];
};

enum sim_link_kind {
    SIM_LINK_RING = 0,   /* lossless, carrier by generation, as the shared-memory PHY */
    SIM_LINK_STREAM = 1, /* CABLE frames, payload CRC and replay, as the virtio-serial PHY */
};

/* What an end does even where its cable does not ask for it, as its boot page says. The two ends of
 * a link need not be alike. */
#define SIM_END_WANTS_CRC 1u
#define SIM_END_OFFERS_REPLAY 2u

struct sim_link_settings {
    uint32_t ends[2]; /* node indices, from 0 */
    uint32_t kind;
    uint32_t latency_ns;
    uint32_t mtu;        /* 256 .. 1024 */
    uint32_t options[2]; /* of each end: SIM_END_* */
};

struct sim_settings {
    uint64_t seed; /* of every choice that is not in the schedule */
    uint32_t mode;
    uint32_t node_count;
    uint32_t link_count;
    uint32_t first_id; /* node id of node 0; 0: it is the host's id, which is never presumed dead */
    uint64_t end_ns;   /* when the program and the faults are over */
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
    uint32_t dirt;  /* what unused memory is filled with, plus 1; 0: it is left as it is */
    uint32_t agent; /* 1 + the index of a node that is the caller's (sim_agent.h); 0: none is */
    uint32_t agent_byte_order; /* MNL_BYTEORDER_*, and */
    uint32_t agent_data_model; /* MNL_DATAMODEL_* that it announces */
    uint32_t reserved;
    uint64_t start_ns[SIM_NODES_MAXIMUM]; /* when each node is powered up */
    struct sim_link_settings links[SIM_LINKS_MAXIMUM];
};

enum sim_verdict {
    SIM_NOT_EXERCISED = 0,
    SIM_PASS = 1,
    SIM_FAIL = 2,
};

/* Indexes of sim_result.verdicts: the invariant's number. 0 is what no invariant names: a node that
 * panicked. */
#define SIM_INVARIANTS 16u

struct sim_result {
    uint64_t seed;
    uint64_t trace; /* hash over everything that happened */
    uint64_t world_ns;
    uint64_t steps;
    uint64_t frames;
    uint64_t converged_ns; /* liveness: from the last fault to the last link up */
    uint32_t failed;       /* invariants violated */
    uint32_t first_failed; /* the first of them */
    uint32_t operations;   /* of the programs, begun */
    uint32_t lives;
    uint32_t deaths; /* notices */
    uint32_t sent;
    uint32_t settled;
    uint32_t failures;
    uint32_t unknown;
    uint32_t received;
    uint32_t asked[SIM_KINDS]; /* entries of the schedule by kind */
    uint32_t fired[SIM_KINDS]; /* those that did something; for faults of frames: frames */
    uint8_t verdicts[SIM_INVARIANTS];
    char text[SIM_TEXT_SIZE]; /* of the first violation */
};

/* What seeds are made into. */
struct sim_workload {
    uint32_t profile; /* enum sim_profile */
    uint32_t node_count;
    uint32_t operations; /* of the programs of all nodes together */
    uint32_t has_agent;  /* one of the nodes, by the seed, is the caller's (sim_agent.h) */
};

/* Settings and schedule of a seed. Writes at most SIM_ENTRIES_MAXIMUM entries, ordered by time;
 * returns how many. */
SIM_API uint32_t sim_generate(uint64_t seed, const struct sim_workload *workload,
                              struct sim_settings *settings, struct sim_entry *entries);

/* Run one schedule, ordered by time. 0; -1: settings that make no sense. */
SIM_API int sim_run(const struct sim_settings *settings, const struct sim_entry *entries,
                    uint32_t count, struct sim_result *result);

/* Totals over a range of seeds. */
struct sim_totals {
    uint64_t seeds;
    uint64_t failed;
    uint64_t repeated; /* run twice, to compare the traces */
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
    uint64_t trace; /* over the traces of all */
    uint64_t converged_max_ns;
    uint64_t asked[SIM_KINDS];
    uint64_t fired[SIM_KINDS];
    uint64_t passed[SIM_INVARIANTS]; /* runs in which it was exercised and held */
    uint64_t broken[SIM_INVARIANTS];
};

/* Run seeds first .. first + count - 1; every hundredth twice, the second time with other dirt in
 * unused memory. Stops after the first failure, whose result is in `*failure`. Adds to `*totals`.
 * Returns how many seeds were run. */
SIM_API uint64_t sim_run_range(uint64_t first, uint64_t count, const struct sim_workload *workload,
                               struct sim_totals *totals, struct sim_result *failure);

/* The last events of the run before, one a line, up to twenty a node. Returns the bytes written,
 * without the NUL. */
SIM_API uint32_t sim_read_events(char *text, uint32_t size);

/* The seed that sim_run_range() is at: it outlives a run that crashes the process if `*word` is in
 * memory shared with another. Null: nowhere. */
SIM_API void sim_watch(uint64_t *word);

/* Sizes of the structs above, for whoever declares them in another language: settings, entry,
 * result, totals, workload, and of struct sim_agent. */
SIM_API extern const uint32_t sim_sizes[6];

#endif
