/* SPDX-License-Identifier: MIT
 *
 * PHY drivers: the bottom layer of a link. A PHY moves frames (bytes with a beginning and an end,
 * at most mtu + 64) over one piece of hardware; it knows nothing of epochs, nodes or messages. The
 * link manager is its only caller, from one thread.
 *
 * A PHY is a const table in the driver's kern_server record. Instances hold their own state;
 * nothing is global.
 */
#ifndef KERNEL_PHY_H
#define KERNEL_PHY_H

#include <kernel/error.h>
#include <kernel/little_endian.h>
#include <kernel/thread.h>
#include <stddef.h>
#include <stdint.h>

struct mach_host;
struct boot_link;
struct phy;

#define PHY_DIRECTION_TX 1u
#define PHY_DIRECTION_RX 2u

/* Where a PHY's owner may look instead of calling poll(): nothing arrived as long as `*word`, which
 * the other side writes, is `*seen`. The PHY fills it in while that holds. */
struct phy_watch {
    const le32 *word; /* null: nowhere, only poll() tells */
    const uint32_t *seen;
};

/* What a PHY tells its owner; called from poll() (so in the link manager's thread) except where
 * noted. */
struct phy_client {
    void *context;
    struct event *wake; /* signalled by the PHY's interrupt handler: call poll() */
    /* A frame arrived: header and payload as they stand in private memory or in a ring. `frame` is
     * valid during the call only and, for a ring, the other side may be writing it: copy once, then
     * check. Length is 64 .. mtu + 64. `confirm` must be asked after the copy and before use: false
     * means the cable was cut meanwhile, drop the frame. */
    void (*frame)(void *context, const uint8_t *frame, size_t length, bool (*confirm)(struct phy *),
                  struct phy *phy);
    /* The carrier of a direction (one PHY_DIRECTION_*) changed, or its generation did. `checked`:
     * bytes may change on the way. */
    void (*carrier)(void *context, uint32_t direction, bool up, uint32_t generation, bool checked);
    /* `count` bytes or records were thrown away; reason is an enum link_drop. */
    void (*drop)(void *context, uint32_t reason, uint32_t count);
    struct phy_watch *watch; /* null: nobody looks; else written by the PHY until stop() */
    uint32_t *sessions; /* for the driver: how many sessions it began on this link in this life of
                           the node. Outlives the driver, so that no session number comes twice */
};

struct phy_operations {
    const char *kind; /* as in the boot page: "ivshmem", "virtio-serial" */
    uint32_t mtu;     /* largest payload of a frame in bytes, without the 64-byte header */
    bool lossless;    /* true: needs neither payload CRC nor replay unless the cable says so */
    /* Find the device of `link`, start it. 0; ERROR_NOT_FOUND: no such device; ERROR_NO_MEMORY;
     * ERROR_UNSUPPORTED: not the layout we know. */
    int (*start)(struct mach_host *host, const struct boot_link *link,
                 const struct phy_client *client, struct phy **phy);
    void (*stop)(struct phy *phy); /* quiesce the device and free everything */
    /* Send one frame: header of 64 bytes (8-byte aligned), then the payload (payload_bytes 0: an
     * ack-class frame, which may use reserved room). 0; ERROR_FULL: no room, poll() signals when
     * there is; ERROR_DOWN: no carrier. Never waits. */
    int (*send)(struct phy *phy, const void *header, const void *payload, size_t payload_bytes);
    /* Let the hardware have what send() queued and ring the doorbell if the other side sleeps.
     * Called once a batch. */
    void (*flush)(struct phy *phy);
    /* Handle what arrived, at most `budget_bytes` of it; report through the client. Returns true if
     * more is waiting. */
    bool (*poll)(struct phy *phy, size_t budget_bytes);
    /* Before sleeping: ask for an interrupt, then look again. True: something is there, do not
     * sleep. */
    bool (*arm)(struct phy *phy);
    void (*disarm)(struct phy *phy); /* awake again: interrupts not needed */
};

#endif
