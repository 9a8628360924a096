/* SPDX-License-Identifier: MIT
 *
 * One port of a virtio-serial device (Virtio 1.1, section 5.3, "console device" with MULTIPORT):
 * queues, buffers and the handshake on the control queue. It moves bytes; frames are
 * virtio_serial.c's.
 *
 * The port is number 1 (port 0 is kept for a console by QEMU). One thread; the interrupt handler
 * only signals.
 */
#ifndef PHYS_VIRTIO_SERIAL_SERIAL_DEVICE_H
#define PHYS_VIRTIO_SERIAL_SERIAL_DEVICE_H

#include <drivers/virtio/virtio_pci.h>
#include <kernel/error.h>
#include <stdbool.h>
#include <stdint.h>

#define SERIAL_RX_COUNT 16u /* buffers, a power of two */
#define SERIAL_RX_BYTES 4096u
#define SERIAL_TX_COUNT 8u
#define SERIAL_TX_BYTES 8192u
#define SERIAL_CONTROL_COUNT 8u

enum serial_queue {
    SERIAL_RX,
    SERIAL_TX,
    SERIAL_CONTROL_RX,
    SERIAL_CONTROL_TX,
    SERIAL_QUEUE_COUNT,
};

/* struct virtio_console_control, 5.3.6.2 */
struct serial_control {
    le32 port;
    le16 event;
    le16 value;
};

/* What the device reads and writes. One block of the heap, filled before the device starts. */
struct serial_memory {
    struct virtqueue_memory queues[SERIAL_QUEUE_COUNT];
    uint8_t tx[SERIAL_TX_COUNT][SERIAL_TX_BYTES];
    uint8_t rx[SERIAL_RX_COUNT][SERIAL_RX_BYTES];
    struct serial_control control_rx[SERIAL_CONTROL_COUNT];
    struct serial_control control_tx[SERIAL_CONTROL_COUNT];
};

struct serial_device {
    struct virtio_device virtio;
    struct serial_memory *memory;
    struct virtqueue queues[SERIAL_QUEUE_COUNT];
    volatile uint8_t *notify[SERIAL_QUEUE_COUNT];
    uint32_t rx_returned;  /* receive buffers given back since the device was told */
    uint32_t tx_free;      /* bit i: transmit buffer i is ours */
    uint32_t control_free; /* bit i: control transmit buffer i is ours */
    bool tx_given;         /* something was given since the device was told */
    bool host_open;        /* somebody holds the host's end of the port */
    bool broken;           /* the device broke the rules: nothing moves any more */
};

/* Open the device in PCI slot `slot` and begin the handshake. `memory` stays the caller's until
 * serial_device_close(), and is untouched by the device after a failure. Returns 0 or what
 * virtio_pci_open() and virtio_pci_negotiate() return. */
int serial_device_open(struct serial_device *device, unsigned slot, struct serial_memory *memory,
                       interrupt_handler handler, void *context) MUST_CHECK;
void serial_device_close(struct serial_device *device);

/* Answer what came on the control queue; host_open follows it. */
void serial_device_control(struct serial_device *device);

/* The next buffer that arrived: 1, its number and how much is in it; or 0. Give it back when done.
 */
int serial_device_receive(struct serial_device *device, uint16_t *buffer, uint32_t *len_bytes);
void serial_device_return(struct serial_device *device, uint16_t buffer);

/* A free transmit buffer, if more than `keep` are free; or -1. */
int serial_device_take_tx(struct serial_device *device, uint32_t keep);
void serial_device_transmit(struct serial_device *device, uint16_t buffer, uint32_t len_bytes);
void serial_device_notify_tx(struct serial_device *device); /* tell the device what was given */

/* Ask for interrupts (at freed transmit buffers only if `want_tx`). True: something is there
 * already. */
bool serial_device_arm(struct serial_device *device, bool want_tx);
void serial_device_disarm(struct serial_device *device);

#endif
