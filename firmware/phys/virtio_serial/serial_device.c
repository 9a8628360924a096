/* SPDX-License-Identifier: MIT
 *
 * One port of a virtio-serial device; see serial_device.h. Sections are those of Virtio 1.1.
 *
 * Handshake (5.3.6): we send DEVICE_READY; the device adds its ports; for ours we answer PORT_READY
 * and PORT_OPEN; the device says PORT_OPEN when, and whenever, the host's side opens or closes.
 */
#include "serial_device.h"

#define FEATURE_MULTIPORT (1ull << 1) /* VIRTIO_CONSOLE_F_MULTIPORT, 5.3.3 */
#define PORT 1u

/* 5.3.6.2 */
#define EVENT_DEVICE_READY 0u
#define EVENT_PORT_ADD 1u
#define EVENT_PORT_REMOVE 2u
#define EVENT_PORT_READY 3u
#define EVENT_PORT_OPEN 6u

#define ALL_BUFFERS(count) ((1u << (count)) - 1u)

/* 5.3.2: receiveq and transmitq of port 1, control receiveq and transmitq. */
static const uint16_t queue_index[SERIAL_QUEUE_COUNT] = {
    [SERIAL_RX] = 2 * PORT + 2,
    [SERIAL_TX] = 2 * PORT + 3,
    [SERIAL_CONTROL_RX] = 2,
    [SERIAL_CONTROL_TX] = 3,
};

static const uint16_t queue_need[SERIAL_QUEUE_COUNT] = {
    [SERIAL_RX] = SERIAL_RX_COUNT,
    [SERIAL_TX] = SERIAL_TX_COUNT,
    [SERIAL_CONTROL_RX] = SERIAL_CONTROL_COUNT,
    [SERIAL_CONTROL_TX] = SERIAL_CONTROL_COUNT,
};

static void notify(struct serial_device *device, enum serial_queue queue)
{
    if (virtqueue_must_notify(&device->queues[queue]))
        virtio_pci_notify(device->notify[queue], queue_index[queue]);
}

static int set_queues(struct serial_device *device)
{
    for (unsigned i = 0; i < SERIAL_QUEUE_COUNT; i++) {
        struct virtqueue *queue = &device->queues[i];
        int error = virtio_pci_set_queue(&device->virtio, queue_index[i], queue,
                                         &device->memory->queues[i]);

        if (error != 0)
            return error;
        device->notify[i] = virtio_pci_notify_address(&device->virtio, queue_index[i]);
        if (queue->size < queue_need[i] || device->notify[i] == NULL)
            return ERROR_UNSUPPORTED;
    }
    return 0;
}

/* --- Buffers ---------------------------------------------------------------------------------- */

static void give_rx(struct serial_device *device, uint16_t buffer)
{
    virtqueue_give(&device->queues[SERIAL_RX], buffer, device->memory->rx[buffer], SERIAL_RX_BYTES,
                   true);
}

static void give_control_rx(struct serial_device *device, uint16_t buffer)
{
    virtqueue_give(&device->queues[SERIAL_CONTROL_RX], buffer, &device->memory->control_rx[buffer],
                   sizeof(struct serial_control), true);
}

/* 1: `*buffer` came back; 0. A device that returns what it does not have is broken. */
static int take(struct serial_device *device, enum serial_queue queue, uint16_t *buffer,
                uint32_t *len_bytes)
{
    int found = device->broken ? 0 : virtqueue_take(&device->queues[queue], buffer, len_bytes);

    if (found < 0)
        device->broken = true;
    return found > 0;
}

static void reclaim(struct serial_device *device, enum serial_queue queue, uint32_t *free)
{
    uint16_t buffer;
    uint32_t len_bytes;

    while (take(device, queue, &buffer, &len_bytes))
        *free |= 1u << buffer;
}

int serial_device_receive(struct serial_device *device, uint16_t *buffer, uint32_t *len_bytes)
{
    if (!take(device, SERIAL_RX, buffer, len_bytes))
        return 0;
    if (*len_bytes > SERIAL_RX_BYTES)
        *len_bytes = SERIAL_RX_BYTES;
    return 1;
}

/* Telling the device costs more than the buffer is worth. It must be told after it may have run out
 * of buffers, and then half of them have come back since it was told last. */
void serial_device_return(struct serial_device *device, uint16_t buffer)
{
    give_rx(device, buffer);
    if (++device->rx_returned < SERIAL_RX_COUNT / 2)
        return;
    device->rx_returned = 0;
    notify(device, SERIAL_RX);
}

int serial_device_take_tx(struct serial_device *device, uint32_t keep)
{
    int buffer;

    if (__builtin_popcount(device->tx_free) <= (int)keep)
        reclaim(device, SERIAL_TX, &device->tx_free);
    if (__builtin_popcount(device->tx_free) <= (int)keep)
        return -1;
    buffer = __builtin_ctz(device->tx_free);
    device->tx_free &= ~(1u << buffer);
    return buffer;
}

void serial_device_transmit(struct serial_device *device, uint16_t buffer, uint32_t len_bytes)
{
    virtqueue_give(&device->queues[SERIAL_TX], buffer, device->memory->tx[buffer], len_bytes,
                   false);
    device->tx_given = true;
}

void serial_device_notify_tx(struct serial_device *device)
{
    if (!device->tx_given)
        return;
    device->tx_given = false;
    notify(device, SERIAL_TX);
}

/* --- Control ---------------------------------------------------------------------------------- */

static void send_control(struct serial_device *device, uint16_t event, uint16_t value)
{
    struct serial_control *control;
    int buffer;

    reclaim(device, SERIAL_CONTROL_TX, &device->control_free);
    if (device->control_free == 0) {
        device->broken = true; /* three messages make the handshake: it does not read them */
        return;
    }
    buffer = __builtin_ctz(device->control_free);
    device->control_free &= ~(1u << buffer);
    control = &device->memory->control_tx[buffer];
    shared_store32(&control->port, event == EVENT_DEVICE_READY ? 0 : PORT);
    shared_store16(&control->event, event);
    shared_store16(&control->value, value);
    virtqueue_give(&device->queues[SERIAL_CONTROL_TX], (uint16_t)buffer, control, sizeof(*control),
                   false);
    notify(device, SERIAL_CONTROL_TX);
}

static void handle_control(struct serial_device *device, uint16_t event, uint16_t value)
{
    if (event == EVENT_PORT_ADD) {
        send_control(device, EVENT_PORT_READY, 1);
        send_control(device, EVENT_PORT_OPEN, 1);
    } else if (event == EVENT_PORT_OPEN) {
        device->host_open = value != 0;
    } else if (event == EVENT_PORT_REMOVE) {
        device->host_open = false;
    }
}

void serial_device_control(struct serial_device *device)
{
    uint16_t buffer;
    uint32_t len_bytes;
    bool any = false;

    while (take(device, SERIAL_CONTROL_RX, &buffer, &len_bytes)) {
        const struct serial_control *control = &device->memory->control_rx[buffer];

        if (len_bytes >= sizeof(*control) && shared_load32(&control->port) == PORT)
            handle_control(device, shared_load16(&control->event), shared_load16(&control->value));
        give_control_rx(device, buffer);
        any = true;
    }
    if (any)
        notify(device, SERIAL_CONTROL_RX);
}

/* --- Sleeping --------------------------------------------------------------------------------- */

bool serial_device_arm(struct serial_device *device, bool want_tx)
{
    if (device->broken)
        return false;
    virtqueue_interrupts(&device->queues[SERIAL_RX], true);
    virtqueue_interrupts(&device->queues[SERIAL_CONTROL_RX], true);
    virtqueue_interrupts(&device->queues[SERIAL_TX], want_tx);
    shared_fence_full();
    return virtqueue_has_used(&device->queues[SERIAL_RX]) ||
           virtqueue_has_used(&device->queues[SERIAL_CONTROL_RX]) ||
           (want_tx && virtqueue_has_used(&device->queues[SERIAL_TX]));
}

void serial_device_disarm(struct serial_device *device)
{
    virtqueue_interrupts(&device->queues[SERIAL_RX], false);
    virtqueue_interrupts(&device->queues[SERIAL_CONTROL_RX], false);
    virtqueue_interrupts(&device->queues[SERIAL_TX], false);
}

/* --- Life ------------------------------------------------------------------------------------- */

int serial_device_open(struct serial_device *device, unsigned slot, struct serial_memory *memory,
                       interrupt_handler handler, void *context)
{
    int error;

    *device = (struct serial_device){
        .memory = memory,
        .tx_free = ALL_BUFFERS(SERIAL_TX_COUNT),
        .control_free = ALL_BUFFERS(SERIAL_CONTROL_COUNT),
    };
    error = virtio_pci_open(&device->virtio, slot, VIRTIO_DEVICE_CONSOLE, handler, context);
    if (error != 0)
        return error;
    error = virtio_pci_negotiate(&device->virtio, VIRTIO_FEATURE_VERSION_1 | FEATURE_MULTIPORT);
    if (error == 0)
        error = set_queues(device);
    if (error != 0) {
        virtio_pci_close(&device->virtio);
        return error;
    }
    virtio_pci_start(&device->virtio);
    for (uint16_t i = 0; i < SERIAL_RX_COUNT; i++)
        give_rx(device, i);
    for (uint16_t i = 0; i < SERIAL_CONTROL_COUNT; i++)
        give_control_rx(device, i);
    notify(device, SERIAL_CONTROL_RX);
    notify(device, SERIAL_RX);
    send_control(device, EVENT_DEVICE_READY, 1);
    return 0;
}

void serial_device_close(struct serial_device *device)
{
    virtio_pci_close(&device->virtio);
}
