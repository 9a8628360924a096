/* SPDX-License-Identifier: MIT
 *
 * A complete PHY driver, as small as one can be: a mailbox for one frame in each direction of a
 * shared-memory cable. The example of docs/guide/phy-driver.md. Both ends must run it.
 *
 * It uses what the ivshmem driver also stands on: the device (registers, doorbell, region), the
 * cable page (carrier, generation) and the sessions of a ring. Of the ring's control page, `head`
 * counts frames that were put in and `tail` frames that were taken out: the mailbox is full while
 * they differ. The frame lies at the beginning of the ring's data, its length before it.
 *
 * Invariants: each word has one writer; what the other side wrote is loaded once, checked, then
 * used. All functions but the interrupt handler run in the link manager's thread.
 */
#include "phys/ivshmem/cable.h"
#include "phys/ivshmem/device.h"
#include "phys/ivshmem/ring.h"
#include <abi/frame.h>
#include <kernel/boot.h>
#include <kernel/host.h>
#include <kernel/kern_server.h>
#include <kernel/string.h>

#define MAILBOX_MTU 4096u
#define FRAME_MAXIMUM (FRAME_HEADER_SIZE + MAILBOX_MTU)

struct direction {
    struct cable_view view;
    bool up;
};

struct phy {
    struct mach_host *host;
    struct phy_client client;
    struct ivshmem_device device;
    struct direction tx, rx;
    struct ring_producer producer; /* sessions, and what we put in */
    struct ring_consumer consumer; /* sessions, and what we took out */
    bool needs_room;               /* a frame was refused: tell when there is room */
    bool must_ring;                /* the other side has something to look at */
};

static void mailbox_interrupt(void *context)
{
    struct phy *phy = context;

    event_signal(phy->client.wake);
}

static void set_carrier(struct phy *phy, struct direction *direction, uint32_t which, bool up)
{
    if (direction->up != up)
        phy->client.carrier(phy->client.context, which, up, direction->view.generation,
                            direction->view.checked);
    direction->up = up;
}

/* --- Transmitting ----------------------------------------------------------------------------- */

static void tx_begin(struct phy *phy)
{
    uint32_t session = (uint32_t)(phy->host->incarnation >> 32) << 20 |
                       (uint32_t)(phy->host->incarnation & 0xff) << 12 |
                       (*phy->client.sessions)++ % 0xfff;

    set_carrier(phy, &phy->tx, PHY_DIRECTION_TX, false);
    ring_producer_start(&phy->producer, &phy->tx.view.ring, session + 1, phy->tx.view.generation);
    ivshmem_device_ring(&phy->device, phy->tx.view.doorbell);
}

/* Follow the cable and the other side: carrier, generation, and whether anybody takes frames. */
static void tx_poll(struct phy *phy)
{
    if (cable_view_changed(&phy->tx.view)) {
        set_carrier(phy, &phy->tx, PHY_DIRECTION_TX, false);
        if (cable_view_read(&phy->tx.view) == 0 && phy->tx.view.usable)
            tx_begin(phy);
    }
    if (!phy->tx.view.usable)
        return;
    bool followed = ring_producer_followed(&phy->producer);
    if (phy->tx.up && !followed)
        tx_begin(phy);
    else if (followed)
        set_carrier(phy, &phy->tx, PHY_DIRECTION_TX, true);
}

static bool mailbox_is_empty(struct phy *phy)
{
    uint32_t taken = shared_load32_acquire(&phy->producer.memory.control->tail);

    return taken == phy->producer.head;
}

static int mailbox_send(struct phy *phy, const void *header, const void *payload,
                        size_t payload_bytes)
{
    if (!phy->tx.up)
        return ERROR_DOWN;
    if (!mailbox_is_empty(phy)) {
        phy->needs_room = true;
        return ERROR_FULL;
    }
    struct cable_record *record = ring_record_at(&phy->producer.memory, 0);
    uint8_t *frame = (uint8_t *)(record + 1);
    memcpy(frame, header, FRAME_HEADER_SIZE);
    if (payload_bytes != 0)
        memcpy(frame + FRAME_HEADER_SIZE, payload, payload_bytes);
    shared_store32(&record->length, (uint32_t)(FRAME_HEADER_SIZE + payload_bytes));
    phy->producer.head++;
    ring_producer_publish(&phy->producer); /* release: the frame stands before the count */
    phy->needs_room = false;
    phy->must_ring = true;
    return 0;
}

static void mailbox_flush(struct phy *phy)
{
    if (phy->must_ring)
        ivshmem_device_ring(&phy->device, phy->tx.view.doorbell);
    phy->must_ring = false;
}

/* --- Receiving -------------------------------------------------------------------------------- */

static void rx_poll(struct phy *phy)
{
    if (cable_view_changed(&phy->rx.view)) {
        set_carrier(phy, &phy->rx, PHY_DIRECTION_RX, false);
        if (cable_view_read(&phy->rx.view) == 0 && phy->rx.view.usable)
            ring_consumer_open(&phy->consumer, &phy->rx.view.ring, phy->rx.view.generation,
                               FRAME_HEADER_SIZE, FRAME_MAXIMUM);
    }
    if (!phy->rx.view.usable || (phy->rx.up && !ring_consumer_session_changed(&phy->consumer)))
        return;
    set_carrier(phy, &phy->rx, PHY_DIRECTION_RX, false);
    if (ring_consumer_follow(&phy->consumer)) {
        set_carrier(phy, &phy->rx, PHY_DIRECTION_RX, true);
        ivshmem_device_ring(&phy->device, phy->rx.view.doorbell);
    }
}

/* Was the cable whole until now? Asked after the frame was copied and before it is used. */
static bool mailbox_confirm(struct phy *phy)
{
    shared_fence_acquire();
    return !cable_view_changed(&phy->rx.view) && !ring_consumer_session_changed(&phy->consumer);
}

static bool has_frame(const struct phy *phy)
{
    return phy->rx.up && ring_consumer_has_more(&phy->consumer);
}

static void take_frame(struct phy *phy)
{
    struct cable_record *record = ring_record_at(&phy->consumer.memory, 0);
    uint32_t length = shared_load32(&record->length);

    if (length >= FRAME_HEADER_SIZE && length <= FRAME_MAXIMUM)
        phy->client.frame(phy->client.context, (const uint8_t *)(record + 1), length,
                          mailbox_confirm, phy);
    else
        phy->client.drop(phy->client.context, LINK_DROP_BAD_RING, 1);
    phy->consumer.tail++;
    ring_consumer_publish(&phy->consumer);
    ivshmem_device_ring(&phy->device, phy->rx.view.doorbell);
}

static bool mailbox_poll(struct phy *phy, size_t budget_bytes)
{
    (void)budget_bytes; /* one frame is never too many */
    tx_poll(phy);
    rx_poll(phy);
    if (has_frame(phy))
        take_frame(phy);
    return has_frame(phy);
}

/* The other side rings for every frame and for every frame taken: there is nothing to arm. */
static bool mailbox_arm(struct phy *phy)
{
    return has_frame(phy) || (phy->needs_room && phy->tx.up && mailbox_is_empty(phy));
}

static void mailbox_disarm(struct phy *phy)
{
    (void)phy;
}

/* --- Life ------------------------------------------------------------------------------------- */

static int mailbox_start(struct mach_host *host, const struct boot_link *link,
                         const struct phy_client *client, struct phy **out)
{
    struct phy *phy = heap_allocate(host, sizeof(*phy));

    if (phy == NULL)
        return ERROR_NO_MEMORY;
    *phy = (struct phy){.host = host, .client = *client};
    int error = ivshmem_device_open(&phy->device, link->slot, mailbox_interrupt, phy);
    if (error != 0) {
        heap_free(host, phy);
        return error;
    }
    struct cable_end *end = phy->device.end;
    cable_view_open(&phy->tx.view, phy->device.region, end, &end->tx, FRAME_MAXIMUM);
    cable_view_open(&phy->rx.view, phy->device.region, end, &end->rx, FRAME_MAXIMUM);
    *out = phy;
    return 0;
}

static void mailbox_stop(struct phy *phy)
{
    if (phy->tx.view.usable) {
        ring_producer_stop(&phy->producer);
        ivshmem_device_ring(&phy->device, phy->tx.view.doorbell);
    }
    if (phy->rx.up) {
        ring_consumer_refuse(&phy->consumer);
        ivshmem_device_ring(&phy->device, phy->rx.view.doorbell);
    }
    ivshmem_device_close(&phy->device);
    heap_free(phy->host, phy);
}

static const struct phy_operations mailbox_operations = {
    .kind = "ivshmem",
    .mtu = MAILBOX_MTU,
    .lossless = true,
    .start = mailbox_start,
    .stop = mailbox_stop,
    .send = mailbox_send,
    .flush = mailbox_flush,
    .poll = mailbox_poll,
    .arm = mailbox_arm,
    .disarm = mailbox_disarm,
};

static const struct kern_server mailbox_server = {
    .name = "phy_mailbox",
    .version = 1,
    .phy = &mailbox_operations,
};

KERN_SERVER(mailbox_server);
