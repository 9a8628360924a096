/* SPDX-License-Identifier: MIT
 *
 * The link manager: one thread per node that owns every PHY and speaks the link protocol
 * (docs/spec/link.md) over each, and that is the mach node layer's one client per peer. It decides
 * when an incarnation of a peer is registered, which of its directions work, and when it is dead;
 * it moves messages between the node layer and the links, and nothing else.
 *
 * What it is not: it knows no ports, no FLIPC and no devices. It passes frames of other nodes on
 * only along the transits that it is given (docs/spec/link.md, section 6).
 *
 * Why it is built as it is: docs/design/link.md.
 */
#ifndef KERNEL_LINK_MANAGER_H
#define KERNEL_LINK_MANAGER_H

#include <abi/frame.h>
#include <kernel/error.h>
#include <kernel/statistics.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct boot_link;
struct boot_transit;
struct mach_host;
struct phy_operations;

/* A change of one link, as its observer sees it. `link` is the index in the boot page, `peer` a
 * node id. */
struct link_change {
    uint32_t link;
    uint32_t peer;
    uint64_t peer_incarnation; /* the life last heard on this link; 0: none yet */
    bool rx_up;
    bool tx_up;
    uint32_t epoch;      /* of our transmit direction */
    uint32_t peer_epoch; /* of the direction we hear; 0: none */
    enum link_reason reason;
};

/* What the link manager reports. Every member may be null. Called from the link manager's thread
 * with no lock held; must not block, and must not call back into the link manager except
 * link_manager_kick(). */
struct link_observer {
    void *context;
    void (*state)(void *context, const struct link_change *change);
    void (*carrier)(void *context, uint32_t link, uint32_t peer, bool rx_up, bool tx_up,
                    uint32_t generation);
    /* At most once a reason, side, link and 100 ms. */
    void (*refused)(void *context, uint32_t link, uint32_t peer, enum link_refusal reason,
                    uint64_t incarnation, bool by_us);
    /* At most once a reason, link and 100 ms; `count` is the total so far. */
    void (*drop)(void *context, uint32_t link, uint32_t peer, enum link_drop reason,
                 uint64_t count);
    /* A peer told us that this life was declared dead: the machine must reset. */
    void (*stale)(void *context, uint64_t incarnation);
};

struct link_manager_configuration {
    const struct boot_link
        *links; /* in the order of link indices; copied. Those with use:raw are left alone */
    uint32_t link_count;
    const struct boot_transit *transits; /* routes to pass on; they outlive the link manager */
    uint32_t transit_count;
    uint64_t poll_ns;  /* how long an idle node looks at its PHYs before it arms them and sleeps */
    bool poll_forever; /* never sleep */
    uint32_t
        message_max; /* bytes of the largest mnl message, header included, that this node accepts */
    /* The PHY driver of a kind, null if there is none; kern_server_find_phy() in the firmware. */
    const struct phy_operations *(*find_phy)(const char *kind);
    /* One that was loaded and may go again; asked instead, but for links to node 0. Null: find_phy()
     * is for all links. */
    const struct phy_operations *(*find_loaded_phy)(struct mach_host *host, const char *kind);
    struct link_observer observer;
};

/* Start every PHY, then the thread. A link whose PHY cannot be started stays down and is counted by
 * link_manager_failed(); the others work. The host's node layer is up, its servers' drivers are
 * known. Returns 0, ERROR_NO_MEMORY, ERROR_EXISTS (started before in this life) or ERROR_INVALID.
 * On failure nothing is left behind. */
int link_manager_start(struct mach_host *host,
                       const struct link_manager_configuration *configuration) MUST_CHECK;

/* Close every direction in order (the peers are told), end the thread, stop the PHYs and free
 * everything. Peers that are registered are terminated. Not from the link manager's thread. */
void link_manager_stop(struct mach_host *host);

/* Make the next turn of the loop send a frame on the links to node 0, so that whoever watches there
 * sees that something happened here. Any thread; cheap. */
void link_manager_kick(struct mach_host *host);

uint32_t link_manager_link_count(struct mach_host *host); /* as configured, raw ones included */
uint32_t link_manager_failed(struct mach_host *host);     /* links whose PHY did not start */
bool link_manager_is_up(struct mach_host *host, uint32_t link); /* both directions; any thread */

/* For a thread that is about to wait for a message, with no lock held: look at the links for some
 * microseconds as their thread would, and take in what arrives. True: something did, for whomever.
 * Only while link_manager_may_stand_in(), which any thread may ask. */
bool link_manager_may_stand_in(struct mach_host *host);
bool link_manager_poll(struct mach_host *host);

/* --- Drivers that come and go. Their code and tables lie in [start, start + len_bytes). --- */

/* Links that run over such a driver. Any thread. */
uint32_t link_manager_driver_links(struct mach_host *host, uintptr_t start, size_t len_bytes);

/* Close those links in order (the peer is told, messages take another link or wait), stop their
 * PHYs, and leave them without a driver. Any thread but the link manager's; waits for it. 0,
 * ERROR_TIMED_OUT or ERROR_DOWN (not started). */
int link_manager_release_driver(struct mach_host *host, uintptr_t start, size_t len_bytes,
                                uint64_t deadline_ns) MUST_CHECK;

/* A driver of some kind may have come: start every link that has none. Any thread, does not wait. */
void link_manager_find_drivers(struct mach_host *host);

/* A consistent copy of a link's counters. Any thread but the link manager's; waits for it to
 * answer. Returns 0, ERROR_NOT_FOUND (no such link, or a raw one) or ERROR_DOWN (not started). */
int link_manager_statistics(struct mach_host *host, uint32_t link,
                            struct link_statistics *statistics) MUST_CHECK;

#endif
