/* SPDX-License-Identifier: MIT
 *
 * PHY driver "ivshmem": frames over shared-memory rings with doorbells (docs/spec/cable.md, section
 * 1). Under it: device.c (PCI), cable.c (the cable page), ring.c (the rings). It knows nothing of
 * what frames mean.
 *
 * Each direction goes through
 *
 *   DOWN ----------> WAITING -------------> UP
 *        page says           the other end
 *        carrier             is in step
 *
 * and back to DOWN when generation or carrier of the page change, when the other end starts a new
 * session (receiving) or no longer follows ours (sending), and when it breaks the rules of the
 * ring. Only UP and its end are reported upwards.
 *
 * Sleeping. An end that sleeps has set `armed` (and space_wanted if it waits for room), fenced, and
 * looked at everything that could wake it: the page, both sessions, head, tail. The host rings both
 * ends at each change of the page; sessions are announced by an unconditional doorbell; head and
 * tail by one when the other side's sleep word is odd.
 *
 * One thread (the link manager's); the interrupt handler only signals the client's event.
 */
#include "cable.h"
#include "device.h"
#include "ring.h"
#include <abi/frame.h>
#include <kernel/boot.h>
#include <kernel/host.h>
#include <kernel/kern_server.h>
#include <kernel/phy.h>
#include <kernel/string.h>

/* 16 KiB of a message and room for what the layers above put before it, so that a body of a power
 * of two is not cut into one frame more for its headers. */
#define IVSHMEM_MTU (16384u + 64u)
#define FRAME_MAXIMUM (FRAME_HEADER_SIZE + IVSHMEM_MTU)
/* look whether the consumer sleeps before a batch of this size is complete */
#define ANNOUNCE_BYTES 16384u
#define HASTY_POLLS 8u         /* that only look for frames, in a row */
#define GIVE_BACK_BYTES 32768u /* give room back before a batch of this size is consumed */

enum direction_state {
    DIRECTION_DOWN,
    DIRECTION_WAITING,
    DIRECTION_UP,
};

struct transmitter {
    enum direction_state state;
    bool broken; /* the consumer broke the rules: the next poll begins a new session */
    uint32_t unannounced_bytes; /* published since the last look whether the consumer sleeps */
    struct cable_view view;
    struct ring_producer ring;
};

struct receiver {
    enum direction_state state;
    bool cut; /* a frame was not confirmed: leave the rest of the batch alone */
    struct cable_view view;
    struct ring_consumer ring;
};

struct phy {
    struct mach_host *host;
    struct phy_client client;
    struct ivshmem_device device;
    struct transmitter tx;
    struct receiver rx;
    uint32_t session_base; /* of this incarnation */
    uint32_t hasty_polls;
};

static void ivshmem_interrupt(void *context)
{
    struct phy *phy = context;

    event_signal(phy->client.wake);
}

/* launch (12 bits), boot count (8), sessions of this boot (12): docs/spec/cable.md. */
static uint32_t next_session(struct phy *phy)
{
    uint32_t session;

    do {
        session = phy->session_base | ((*phy->client.sessions)++ & 0xfff);
    } while (session == 0);
    return session;
}

static void count_garbage(struct phy *phy)
{
    phy->client.drop(phy->client.context, LINK_DROP_BAD_RING, 1);
}

/* --- Transmitting ----------------------------------------------------------------------------- */

static void tx_report(struct phy *phy, bool up)
{
    phy->client.carrier(phy->client.context, PHY_DIRECTION_TX, up, phy->tx.view.generation,
                        phy->tx.view.checked);
}

COLD static void tx_start_session(struct phy *phy)
{
    struct transmitter *tx = &phy->tx;

    if (tx->state == DIRECTION_UP)
        tx_report(phy, false);
    ring_producer_start(&tx->ring, &tx->view.ring, next_session(phy), tx->view.generation);
    tx->state = DIRECTION_WAITING;
    tx->broken = false;
    tx->unannounced_bytes = 0;
    ivshmem_device_ring(&phy->device, tx->view.doorbell);
}

COLD static void tx_read_page(struct phy *phy)
{
    struct transmitter *tx = &phy->tx;
    bool was_up = tx->state == DIRECTION_UP;

    tx->state = DIRECTION_DOWN;
    if (cable_view_read(&tx->view) != 0)
        count_garbage(phy);
    if (was_up)
        tx_report(phy, false);
    if (tx->view.usable)
        tx_start_session(phy);
}

static void tx_poll(struct phy *phy)
{
    struct transmitter *tx = &phy->tx;
    bool followed;

    if (cable_view_changed(&tx->view))
        tx_read_page(phy);
    if (tx->state == DIRECTION_DOWN)
        return;
    if (tx->broken)
        count_garbage(phy);
    followed = ring_producer_followed(&tx->ring);
    if (tx->broken || (tx->state == DIRECTION_UP && !followed) ||
        (!followed && !ring_producer_is_announced(&tx->ring, tx->view.generation))) {
        tx_start_session(phy);
    } else if (tx->state == DIRECTION_WAITING && followed) {
        tx->state = DIRECTION_UP;
        tx_report(phy, true);
    }
}

/* Would tx_poll(), or a repeated send(), find something new? */
static bool tx_has_news(struct phy *phy)
{
    struct transmitter *tx = &phy->tx;

    if (cable_view_changed(&tx->view))
        return true;
    if (tx->state == DIRECTION_DOWN)
        return false;
    return tx->broken || ring_producer_followed(&tx->ring) != (tx->state == DIRECTION_UP) ||
           ring_producer_has_room(&tx->ring);
}

static void ivshmem_flush(struct phy *phy)
{
    struct transmitter *tx = &phy->tx;

    if (tx->state != DIRECTION_UP || tx->unannounced_bytes == 0)
        return;
    tx->unannounced_bytes = 0;
    if (ring_producer_must_wake(&tx->ring))
        ivshmem_device_ring(&phy->device, tx->view.doorbell);
}

/* Header and payload into the ring, in one pass. */
static inline void copy_frame(uint8_t *restrict frame, const void *restrict header,
                              const void *restrict payload, size_t payload_bytes)
{
    __builtin_memcpy(__builtin_assume_aligned(frame, CABLE_RECORD_ALIGN),
                     __builtin_assume_aligned(header, CABLE_RECORD_ALIGN), FRAME_HEADER_SIZE);
    copy_inline(frame + FRAME_HEADER_SIZE, payload, payload_bytes);
}

static int ivshmem_send(struct phy *phy, const void *header, const void *payload,
                        size_t payload_bytes)
{
    struct transmitter *tx = &phy->tx;
    uint32_t length = FRAME_HEADER_SIZE + (uint32_t)payload_bytes;
    uint8_t *frame;
    int error;

    if (tx->state != DIRECTION_UP || tx->broken)
        return ERROR_DOWN;
    if (payload_bytes > IVSHMEM_MTU)
        return ERROR_INVALID;
    error = ring_producer_reserve(&tx->ring, length, payload_bytes == 0 ? 0 : CABLE_RING_RESERVE,
                                  &frame);
    if (error == ERROR_GARBAGE) {
        tx->broken = true;
        return ERROR_DOWN;
    }
    if (error != 0)
        return error;
    copy_frame(frame, header, payload, payload_bytes);
    ring_producer_commit(&tx->ring, length);
    ring_producer_publish(&tx->ring);
    tx->unannounced_bytes += length;
    if (tx->unannounced_bytes >= ANNOUNCE_BYTES)
        ivshmem_flush(phy);
    return 0;
}

/* --- Receiving -------------------------------------------------------------------------------- */

/* While the direction is up, nothing arrived until the producer's head moves. */
static void rx_set_state(struct phy *phy, enum direction_state state)
{
    struct phy_watch *watch = phy->client.watch;

    phy->rx.state = state;
    if (watch == NULL)
        return;
    watch->word = state == DIRECTION_UP ? &phy->rx.ring.memory.control->head : NULL;
    watch->seen = &phy->rx.ring.tail;
}

static void rx_report(struct phy *phy, bool up)
{
    phy->client.carrier(phy->client.context, PHY_DIRECTION_RX, up, phy->rx.view.generation,
                        phy->rx.view.checked);
}

static void rx_leave_up(struct phy *phy)
{
    if (phy->rx.state == DIRECTION_UP)
        rx_report(phy, false);
    rx_set_state(phy, DIRECTION_WAITING);
}

COLD static void rx_read_page(struct phy *phy)
{
    struct receiver *rx = &phy->rx;
    bool was_up = rx->state == DIRECTION_UP;

    rx_set_state(phy, DIRECTION_DOWN);
    rx->cut = false;
    if (cable_view_read(&rx->view) != 0)
        count_garbage(phy);
    if (was_up)
        rx_report(phy, false);
    if (!rx->view.usable)
        return;
    ring_consumer_open(&rx->ring, &rx->view.ring, rx->view.generation, FRAME_HEADER_SIZE,
                       FRAME_MAXIMUM);
    rx_set_state(phy, DIRECTION_WAITING);
}

COLD static void rx_follow(struct phy *phy)
{
    struct receiver *rx = &phy->rx;

    bool is_followed;

    rx_leave_up(phy);
    rx->cut = false;
    is_followed = ring_consumer_follow(&rx->ring);
    ivshmem_device_ring(&phy->device, rx->view.doorbell);
    if (!is_followed)
        return;
    rx_set_state(phy, DIRECTION_UP);
    rx_report(phy, true);
}

/* The ring makes no sense. If its producer began a new session meanwhile, that is why, and no
 * fault. */
COLD static void rx_garbage(struct phy *phy)
{
    struct receiver *rx = &phy->rx;

    if (ring_consumer_session_changed(&rx->ring))
        return;
    count_garbage(phy);
    rx_leave_up(phy);
    ring_consumer_refuse(&rx->ring);
    ivshmem_device_ring(&phy->device, rx->view.doorbell);
}

/* Does what was copied out of the ring still belong to the direction as it was opened? The client's
 * loads stand before. */
static bool ivshmem_confirm(struct phy *phy)
{
    shared_fence_acquire();
    if (cable_view_changed(&phy->rx.view) || ring_consumer_session_changed(&phy->rx.ring))
        phy->rx.cut = true;
    return !phy->rx.cut;
}

static void rx_give_back(struct phy *phy)
{
    struct receiver *rx = &phy->rx;

    if (rx->ring.tail != rx->ring.published)
        ring_consumer_publish(&rx->ring);
    if (ring_consumer_must_wake(&rx->ring))
        ivshmem_device_ring(&phy->device, rx->view.doorbell);
}

static bool rx_frames(struct phy *phy, size_t budget_bytes)
{
    struct receiver *rx = &phy->rx;
    size_t used_bytes = 0;

    while (used_bytes < budget_bytes) {
        const uint8_t *frame;
        uint32_t length;
        int found = ring_consumer_next(&rx->ring, &frame, &length);

        if (found < 0) {
            rx_garbage(phy);
            return true;
        }
        if (found == 0)
            break;
        phy->client.frame(phy->client.context, frame, length, ivshmem_confirm, phy);
        if (rx->cut)
            return true;
        ring_consumer_release(&rx->ring);
        used_bytes += length;
        if (ring_consumer_is_drained(&rx->ring))
            break; /* of all that was there: what came since is the next poll's */
        if (rx->ring.tail - rx->ring.published >= GIVE_BACK_BYTES)
            ring_consumer_publish(&rx->ring);
    }
    rx_give_back(phy);
    return used_bytes >= budget_bytes;
}

static bool rx_poll(struct phy *phy, size_t budget_bytes)
{
    struct receiver *rx = &phy->rx;

    if (cable_view_changed(&rx->view))
        rx_read_page(phy);
    if (rx->state == DIRECTION_DOWN)
        return false;
    if (ring_consumer_session_changed(&rx->ring))
        rx_follow(phy);
    return rx->state == DIRECTION_UP && rx_frames(phy, budget_bytes);
}

static bool rx_has_news(const struct phy *phy)
{
    const struct receiver *rx = &phy->rx;

    if (cable_view_changed(&rx->view))
        return true;
    if (rx->state == DIRECTION_DOWN)
        return false;
    return ring_consumer_session_changed(&rx->ring) ||
           (rx->state == DIRECTION_UP && ring_consumer_has_more(&rx->ring));
}

/* A frame is waited for, room and the other end's steps can wait: while frames come, only every so
 * often a poll looks for these. */
static bool has_frames_only(struct phy *phy)
{
    struct receiver *rx = &phy->rx;

    return rx->state == DIRECTION_UP && !rx->cut && ring_consumer_look(&rx->ring) > 0 &&
           ++phy->hasty_polls % HASTY_POLLS != 0;
}

static bool ivshmem_poll(struct phy *phy, size_t budget_bytes)
{
    bool room, more;

    if (has_frames_only(phy))
        return rx_frames(phy, budget_bytes);
    tx_poll(phy);
    room = phy->tx.state == DIRECTION_UP && ring_producer_has_room(&phy->tx.ring);
    if (room)
        phy->tx.ring.wants = 0; /* told once; a send() that fails again wants again */
    more = rx_poll(phy, budget_bytes);
    return more || room;
}

/* --- Sleeping and waking ---------------------------------------------------------------------- */

static bool ivshmem_arm(struct phy *phy)
{
    if (phy->rx.state == DIRECTION_UP)
        ring_consumer_arm(&phy->rx.ring);
    if (phy->tx.state == DIRECTION_UP)
        ring_producer_ask_room(&phy->tx.ring);
    shared_fence_full();
    if (phy->rx.state == DIRECTION_UP && ring_consumer_must_wake(&phy->rx.ring))
        ivshmem_device_ring(&phy->device, phy->rx.view.doorbell);
    return tx_has_news(phy) || rx_has_news(phy);
}

static void ivshmem_disarm(struct phy *phy)
{
    if (phy->rx.state == DIRECTION_UP)
        ring_consumer_disarm(&phy->rx.ring);
    if (phy->tx.state == DIRECTION_UP)
        ring_producer_awake(&phy->tx.ring);
}

/* --- Life ------------------------------------------------------------------------------------- */

static int ivshmem_start(struct mach_host *host, const struct boot_link *link,
                         const struct phy_client *client, struct phy **out)
{
    struct phy *phy = heap_allocate(host, sizeof(*phy));
    struct cable_end *end;
    int error;

    if (phy == NULL)
        return ERROR_NO_MEMORY;
    *phy = (struct phy){.host = host, .client = *client};
    phy->session_base = (uint32_t)(host->incarnation >> 32 & 0xfff) << 20 |
                        (uint32_t)(host->incarnation & 0xff) << 12;
    error = ivshmem_device_open(&phy->device, link->slot, ivshmem_interrupt, phy);
    if (error != 0) {
        heap_free(host, phy);
        return error;
    }
    end = phy->device.end;
    cable_view_open(&phy->tx.view, phy->device.region, end, &end->tx, FRAME_MAXIMUM);
    cable_view_open(&phy->rx.view, phy->device.region, end, &end->rx, FRAME_MAXIMUM);
    *out = phy;
    return 0;
}

static void ivshmem_stop(struct phy *phy)
{
    if (phy->tx.state != DIRECTION_DOWN) {
        ring_producer_stop(&phy->tx.ring);
        ivshmem_device_ring(&phy->device, phy->tx.view.doorbell);
    }
    if (phy->rx.state == DIRECTION_UP) { /* or the peer would go on sending to nobody */
        ring_consumer_refuse(&phy->rx.ring);
        ivshmem_device_ring(&phy->device, phy->rx.view.doorbell);
    }
    ivshmem_device_close(&phy->device);
    heap_free(phy->host, phy);
}

static const struct phy_operations ivshmem_operations = {
    .kind = "ivshmem",
    .mtu = IVSHMEM_MTU,
    .lossless = true,
    .start = ivshmem_start,
    .stop = ivshmem_stop,
    .send = ivshmem_send,
    .flush = ivshmem_flush,
    .poll = ivshmem_poll,
    .arm = ivshmem_arm,
    .disarm = ivshmem_disarm,
};

static const struct kern_server ivshmem_server = {
    .name = "phy_ivshmem",
    .version = 1,
    .phy = &ivshmem_operations,
};

KERN_SERVER(ivshmem_server);
