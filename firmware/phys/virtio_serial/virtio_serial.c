/* SPDX-License-Identifier: MIT
 *
 * PHY driver "virtio-serial": frames over the byte stream of a virtio-serial port
 * (docs/spec/cable.md, section 2). Under it: serial_device.c (the device), phys/stream (frames out
 * of bytes).
 *
 * Outgoing frames are packed into transmit buffers; a buffer leaves when it is full or at flush().
 * One buffer is kept for frames without payload, so that acknowledgements go out when data does
 * not. Incoming buffers are handed out where they are.
 *
 * Who carries the stream speaks of carriers in CABLE frames, which go up like any other; this
 * driver reports only that the host's end of the port closed: then both directions are down until
 * CABLE frames say otherwise.
 *
 * One thread (the link manager's); the interrupt handler only signals the client's event.
 */
#include "serial_device.h"
#include <abi/frame.h>
#include <kernel/boot.h>
#include <kernel/host.h>
#include <kernel/kern_server.h>
#include <kernel/phy.h>
#include <kernel/string.h>
#include <phys/stream/frame_stream.h>

#define VIRTIO_SERIAL_MTU 4096u
#define FRAME_MAXIMUM (FRAME_HEADER_SIZE + VIRTIO_SERIAL_MTU)
#define NO_BUFFER (-1)

struct phy {
    struct mach_host *host;
    struct phy_client client;
    struct serial_device device;
    struct serial_memory *memory;
    struct frame_stream stream;
    uint8_t partial[FRAME_MAXIMUM];
    int open_buffer;     /* transmit buffer being filled, or NO_BUFFER */
    uint32_t open_bytes; /* in it */
    bool full;           /* a frame found no room; told when there is */
    bool host_open;      /* as reported */
};

static void virtio_serial_interrupt(void *context)
{
    struct phy *phy = context;

    event_signal(phy->client.wake);
}

/* --- Transmitting ----------------------------------------------------------------------------- */

static void close_buffer(struct phy *phy)
{
    if (phy->open_buffer == NO_BUFFER)
        return;
    serial_device_transmit(&phy->device, (uint16_t)phy->open_buffer, phy->open_bytes);
    phy->open_buffer = NO_BUFFER;
}

/* Make sure that the open buffer has room for `length` bytes; `keep` buffers are not for this. */
static bool open_buffer(struct phy *phy, uint32_t length, uint32_t keep)
{
    int buffer;

    if (phy->open_buffer != NO_BUFFER && length <= SERIAL_TX_BYTES - phy->open_bytes)
        return true;
    buffer = serial_device_take_tx(&phy->device, keep);
    if (buffer < 0)
        return false;
    close_buffer(phy);
    phy->open_buffer = buffer;
    phy->open_bytes = 0;
    return true;
}

static int virtio_serial_send(struct phy *phy, const void *header, const void *payload,
                              size_t payload_bytes)
{
    uint32_t length = FRAME_HEADER_SIZE + (uint32_t)payload_bytes;
    uint8_t *to;

    if (!phy->device.host_open || phy->device.broken)
        return ERROR_DOWN;
    if (payload_bytes > VIRTIO_SERIAL_MTU)
        return ERROR_INVALID;
    if (!open_buffer(phy, length, payload_bytes == 0 ? 0 : 1)) {
        phy->full = true;
        return ERROR_FULL;
    }
    to = phy->memory->tx[phy->open_buffer] + phy->open_bytes;
    memcpy(to, header, FRAME_HEADER_SIZE);
    if (payload_bytes != 0)
        memcpy(to + FRAME_HEADER_SIZE, payload, payload_bytes);
    phy->open_bytes += length;
    return 0;
}

static void virtio_serial_flush(struct phy *phy)
{
    close_buffer(phy);
    serial_device_notify_tx(&phy->device);
}

/* Room again for the frame that found none? Said once. */
static bool found_room(struct phy *phy)
{
    int buffer;

    if (!phy->full)
        return false;
    buffer = serial_device_take_tx(&phy->device, 1);
    if (buffer < 0)
        return false;
    phy->device.tx_free |= 1u << buffer;
    phy->full = false;
    return true;
}

/* --- Receiving -------------------------------------------------------------------------------- */

/* Private memory: nothing can be cut between the copy and this question. */
static bool always_confirmed(struct phy *phy)
{
    (void)phy;
    return true;
}

static void on_frame(void *context, const uint8_t *frame, size_t length)
{
    struct phy *phy = context;

    phy->client.frame(phy->client.context, frame, length, always_confirmed, phy);
}

static void on_skipped(void *context, size_t count)
{
    struct phy *phy = context;

    phy->client.drop(phy->client.context, LINK_DROP_RESYNC, (uint32_t)count);
}

static void report_open(struct phy *phy)
{
    bool open = phy->device.host_open && !phy->device.broken;

    if (open == phy->host_open)
        return;
    phy->host_open = open;
    frame_stream_reset(&phy->stream);
    if (open)
        return;
    phy->client.carrier(phy->client.context, PHY_DIRECTION_RX, false, 0, false);
    phy->client.carrier(phy->client.context, PHY_DIRECTION_TX, false, 0, false);
}

static bool virtio_serial_poll(struct phy *phy, size_t budget_bytes)
{
    size_t used_bytes = 0;
    uint16_t buffer;
    uint32_t len_bytes;

    serial_device_control(&phy->device);
    report_open(phy);
    while (used_bytes < budget_bytes && serial_device_receive(&phy->device, &buffer, &len_bytes)) {
        frame_stream_push(&phy->stream, phy->memory->rx[buffer], len_bytes);
        serial_device_return(&phy->device, buffer);
        used_bytes += len_bytes;
    }
    return used_bytes >= budget_bytes || found_room(phy);
}

static bool virtio_serial_arm(struct phy *phy)
{
    return serial_device_arm(&phy->device, phy->full);
}

static void virtio_serial_disarm(struct phy *phy)
{
    serial_device_disarm(&phy->device);
}

/* --- Life ------------------------------------------------------------------------------------- */

static void free_memory(struct phy *phy)
{
    heap_free(phy->host, phy->memory);
    heap_free(phy->host, phy);
}

static int virtio_serial_start(struct mach_host *host, const struct boot_link *link,
                               const struct phy_client *client, struct phy **out)
{
    struct phy *phy = heap_allocate(host, sizeof(*phy));
    int error;

    if (phy == NULL)
        return ERROR_NO_MEMORY;
    memset(phy, 0, sizeof(*phy));
    phy->host = host;
    phy->client = *client;
    phy->open_buffer = NO_BUFFER;
    phy->stream = (struct frame_stream){
        .buffer = phy->partial,
        .mtu = VIRTIO_SERIAL_MTU,
        .context = phy,
        .frame = on_frame,
        .skipped = on_skipped,
    };
    phy->memory = heap_allocate(host, sizeof(*phy->memory));
    error = phy->memory == NULL ? ERROR_NO_MEMORY
                                : serial_device_open(&phy->device, link->slot, phy->memory,
                                                     virtio_serial_interrupt, phy);
    if (error != 0) {
        free_memory(phy);
        return error;
    }
    *out = phy;
    return 0;
}

static void virtio_serial_stop(struct phy *phy)
{
    serial_device_close(&phy->device);
    free_memory(phy);
}

static const struct phy_operations virtio_serial_operations = {
    .kind = "virtio-serial",
    .mtu = VIRTIO_SERIAL_MTU,
    .lossless = false,
    .start = virtio_serial_start,
    .stop = virtio_serial_stop,
    .send = virtio_serial_send,
    .flush = virtio_serial_flush,
    .poll = virtio_serial_poll,
    .arm = virtio_serial_arm,
    .disarm = virtio_serial_disarm,
};

static const struct kern_server virtio_serial_server = {
    .name = "phy_virtio_serial",
    .version = 1,
    .phy = &virtio_serial_operations,
};

KERN_SERVER(virtio_serial_server);
