/* SPDX-License-Identifier: MIT
 *
 * What the files of the link manager share: link_manager.c (what others call), link_manager_loop.c
 * (its thread), link_owner.c (between a link, its PHY and the node layer), link_route.c (links that
 * have no cable), peer.c (the life of the node at the far end).
 *
 * Everything below is touched by the link manager's thread alone, except what says otherwise, and
 * but for link_stand_in.c: while that thread has let others run, one of them takes its place.
 */
#ifndef CORE_LINK_MANAGER_PRIVATE_H
#define CORE_LINK_MANAGER_PRIVATE_H

#include <kernel/boot.h>
#include <kernel/host.h>
#include <kernel/link.h>
#include <kernel/link_manager.h>
#include <kernel/mach_node_link.h>
#include <kernel/node.h>
#include <kernel/phy.h>

#define LINK_MANAGER_BUDGET_BYTES 16384u /* copied between two looks at the other direction */
/* Taken in before receivers run: some 16 small frames, so that a peer that sent a window full hears
 * of the first quarter while it still has something to send. */
#define LINK_MANAGER_POLL_BYTES 3072u
#define LINK_MANAGER_CLOCK_TURNS 8u  /* idle turns between two looks at the clock */
#define LINK_MANAGER_WATCHED 8u      /* links at most; the others wait for a turn */
#define LINK_MANAGER_WATCH_LOOKS 32u /* at the watched words, between two idle turns */
/* Of a thread that stands in: looks at the watched words, and how often between two turns. Together
 * they bound how old the time is that it goes by, to some hundred microseconds. */
#define LINK_STAND_IN_LOOKS 256u
#define LINK_STAND_IN_POLLS 64u
/* Between two reports of one kind of drop or refusal of a link. */
#define LINK_MANAGER_REPORT_INTERVAL_NS 100000000ull
#define LINK_REFUSALS (LINK_REFUSAL_INCARNATION + 1)

struct peer;

/* One link of the boot page. */
struct managed_link {
    struct link link;
    struct link_manager *manager;
    struct peer *peer;
    const struct phy_operations *phy_operations;
    struct phy *phy;          /* null: raw, or its PHY did not start */
    struct managed_link *via; /* of a route: the link over which it starts; else null */
    struct phy_watch watch;
    bool has_phy; /* any thread: `phy` is not null */
    uint32_t index;
    bool is_unflushed; /* in the manager's chain of these */
    struct managed_link *unflushed_next;
    bool is_touched;            /* its deadline has to be computed again */
    uint64_t deadline_ns;       /* of link_tick() */
    uint64_t claim_incarnation; /* a life that was told to wait for an answer; 0: none */
    uint64_t claim_ns;
    uint64_t drop_reported_ns[LINK_DROP_COUNT];
    uint64_t refusal_reported_ns[2][LINK_REFUSALS]; /* of us, by us */
    uint32_t state_bits;                    /* read by any thread: bit 0 rx up, bit 1 tx up */
    uint32_t sessions;                      /* for drivers: counts on over their reloads */
    struct link_cable_state kept_cables[2]; /* transmit, receive: what a driver that went knew */
};

/* The node at the far end of one or more links. */
struct peer {
    struct link_manager *manager;
    struct peer *next;
    uint32_t node_id;
    uint32_t link_count;
    struct managed_link **links; /* by preference */
    mnl_node_info_t node;        /* null: no incarnation is registered */
    uint64_t incarnation;
    uint32_t message_max;        /* what that life receives, whichever link it comes by */
    int link_bits;               /* MNL_LINK_* as the node layer has them */
    struct managed_link *active; /* the link that DATA goes over; null: none is up */
    bool is_flow_due;            /* told_* were not given to the node layer yet */
    uint32_t told_ack;           /* as the last header had it */
    uint32_t told_credit;
    bool flow_known;
    uint32_t
        flow_ack; /* the newest that the peer told: lowest sequence number it has not settled */
    uint64_t silent_since_ns; /* receive bit down since then */
};

enum link_manager_request {
    LINK_REQUEST_NONE,
    LINK_REQUEST_WAITING,
    LINK_REQUEST_ANSWERED,
};

enum link_question {
    LINK_QUESTION_STATISTICS, /* of one link */
    LINK_QUESTION_DRIVER,     /* how many links run over a driver */
    LINK_QUESTION_RELEASE,    /* take that driver's links down; how many */
};

struct link_manager {
    struct mach_host *host;
    struct thread *thread;
    struct link_manager_configuration configuration;
    struct link_observer observer;
    struct node_observer node_observer;
    uint32_t link_count;
    uint32_t failed_count;
    struct managed_link *links;
    struct managed_link **peer_links; /* storage behind peer.links */
    struct peer *peers;

    bool has_routes;  /* ends or passes on any: frames are looked at for their route */
    bool was_stopped; /* epochs of this life are spent: it does not start again */
    uint64_t now_ns;  /* read at most once a turn, when first asked for */
    bool now_is_fresh;
    uint64_t
        frames; /* received and sent since the start; tells a turn with work from one without */
    uint64_t frames_seen;                 /* of these, until the end of the last turn */
    struct managed_link *unflushed_first; /* links that took a frame since they were flushed */
    bool is_busy;            /* in the middle of something: links are touched by nobody else */
    bool is_polling;         /* not asleep, and `now_ns` is a few microseconds old at most */
    uint32_t stand_in_polls; /* since the last turn */

    /* Any thread. */
    bool is_running; /* set and cleared by start and stop */
    bool must_stop;
    bool is_kicked;
    bool somebody_died;
    bool must_find_drivers;
    struct lock lock; /* of what is below */
    struct condition answered;
    enum link_manager_request request;
    enum link_question question;
    uint32_t request_link;
    struct link_statistics request_statistics;
    uintptr_t driver_start;
    size_t driver_bytes;
    uint32_t driver_links;
};

static inline const struct boot_link *link_boot(const struct managed_link *link)
{
    return &link->manager->configuration.links[link->index];
}

static inline uint64_t link_manager_now_ns(struct link_manager *manager)
{
    if (!manager->now_is_fresh) {
        manager->now_ns = clock_now_ns();
        manager->now_is_fresh = true;
    }
    return manager->now_ns;
}

/* Flags that other threads set. */
static inline void flag_set(bool *flag)
{
    __atomic_store_n(flag, true, __ATOMIC_RELEASE);
}
static inline bool flag_take(bool *flag)
{
    return __atomic_load_n(flag, __ATOMIC_RELAXED) &&
           __atomic_exchange_n(flag, false, __ATOMIC_ACQUIRE);
}
static inline bool flag_read(const bool *flag)
{
    return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

/* link_manager_loop.c */
void link_manager_run(void *manager);
/* Look where PHYs wait for a word to change, at the price of a few instructions. Null: nothing came
 * in so many looks, or somebody else wants to run. */
struct managed_link *link_manager_watch(struct link_manager *manager, uint32_t looks);
/* From the node layer to the links; then what the links' headers told the node layer, which may
 * let more out. */
void link_manager_serve_peers(struct link_manager *manager);
void link_manager_flush(struct link_manager *manager);
/* A PHY took a frame: it is flushed before the manager looks for others. */
static inline void link_must_flush(struct managed_link *link)
{
    if (link->is_unflushed) {
        return;
    }
    link->is_unflushed = true;
    link->unflushed_next = link->manager->unflushed_first;
    link->manager->unflushed_first = link;
}

/* link_stand_in.c */
void link_stand_in_offer(struct peer *peer, mnl_node_info_t node); /* before it is registered */

/* link_manager.c: one question of another thread. begin (0 or ERROR_TIMED_OUT; then the lock is
 * held), fill in what is asked about, ask (0 or ERROR_DOWN), read the answer, end. */
int link_manager_begin_asking(struct link_manager *manager, uint64_t deadline_ns) MUST_CHECK;
int link_manager_ask(struct link_manager *manager, enum link_question question,
                     uint64_t deadline_ns) MUST_CHECK;
void link_manager_end_asking(struct link_manager *manager);

/* link_drivers.c: in the link manager's thread, or before it runs */
const struct phy_operations *link_driver_find(const struct managed_link *link); /* may be null */
bool link_driver_start(struct managed_link *link); /* false: it has none, or it does not start */
void link_drivers_find(struct link_manager *manager);
/* Count the links over the driver asked about; with `release`, take them down. */
uint32_t link_drivers_of(struct link_manager *manager, bool release);

/* link_owner.c */
void link_owner_client(struct managed_link *link, struct phy_client *client);

/* link_route.c */
extern const struct phy_operations link_route_phy;
/* A frame that says it is of a route arrived by the PHY of `via`. Returns the link that it is for;
 * null: none of ours, it was passed on. */
COLD struct managed_link *link_route_receive(struct managed_link *via, const uint8_t *frame,
                                             size_t length, bool (*confirm)(struct phy *),
                                             struct phy *phy);
/* A direction of `via` came up or went down: so does the carrier of the routes that start there. */
void link_route_follow(struct managed_link *via);

/* The route that a frame says it is of; one look at memory that the other side may write. */
static inline uint16_t link_route_number(const uint8_t *frame)
{
    le16 number;

    __builtin_memcpy(&number, frame + __builtin_offsetof(struct frame_header, route),
                     sizeof(number));
    return le16_load(number);
}

/* peer.c */
/* LINK_ADMIT_* or a refusal */
int peer_admit(struct peer *peer, struct managed_link *link, uint64_t incarnation,
               const struct train_record *record);
/* the one that `link` hears */
COLD void peer_begin_life(struct peer *peer, const struct managed_link *link);
COLD void peer_refresh(struct peer *peer); /* a direction of a link of it changed */
COLD void peer_die(struct peer *peer, enum node_death_cause cause,
                   const struct managed_link *except);
COLD void peer_bury(struct peer *peer); /* if somebody else declared it dead */
void peer_pump(struct peer *peer);      /* from the node layer to the active link */
/* A message that was fetched, over the active link, which is ready. */
void peer_send(struct peer *peer, mnl_msg_t message, size_t budget_bytes);
void peer_take_flow(struct peer *peer); /* what headers told, to the node layer */
void peer_tick(struct peer *peer, uint64_t now_ns);
uint64_t peer_deadline_ns(const struct peer *peer);
COLD void peer_release(struct peer *peer);

#endif
