/* SPDX-License-Identifier: MIT
 *
 * Modern virtio over PCI (Virtio 1.1, section 4.1): finding the device's register blocks, features,
 * queues, notification. No legacy interface. What the device is for is its driver's affair.
 *
 * Order of use: open, negotiate, set the queues up, start; reset ends it all.
 */
#ifndef DRIVERS_VIRTIO_VIRTIO_PCI_H
#define DRIVERS_VIRTIO_VIRTIO_PCI_H

#include "virtqueue.h"
#include <kernel/error.h>
#include <kernel/interrupt.h>
#include <kernel/pci.h>
#include <stdint.h>

#define VIRTIO_DEVICE_CONSOLE 3u /* Virtio 1.1, section 5 */
#define VIRTIO_FEATURE_VERSION_1 (1ull << 32)

struct virtio_register_block {
    volatile uint8_t *base;
    uint32_t size_bytes;
};

struct virtio_device {
    struct pci_device *pci;
    struct virtio_register_block common;
    struct virtio_register_block notify;
    uint32_t notify_multiplier; /* bytes between the notification words of two queues */
};

/* Open the virtio device of type `device_type` in PCI slot `slot` and reset it. All its queues
 * raise one interrupt, `handler(context)`. Returns 0, ERROR_NOT_FOUND, ERROR_UNSUPPORTED (no modern
 * interface, or registers outside their BARs), ERROR_NO_MEMORY or ERROR_FULL (no interrupt vector).
 */
int virtio_pci_open(struct virtio_device *device, unsigned slot, unsigned device_type,
                    interrupt_handler handler, void *context) MUST_CHECK;

/* Accept exactly `features`. Returns 0 or ERROR_UNSUPPORTED. */
int virtio_pci_negotiate(struct virtio_device *device, uint64_t features) MUST_CHECK;

/* Let the device use queue `index`, in `memory`. Returns 0 or ERROR_UNSUPPORTED (no such queue). */
int virtio_pci_set_queue(struct virtio_device *device, uint16_t index, struct virtqueue *queue,
                         struct virtqueue_memory *memory) MUST_CHECK;

void virtio_pci_start(struct virtio_device *device); /* DRIVER_OK */

/* Where to write, after virtqueue_must_notify(), that queue `index` has something. Null: outside
 * the registers. */
volatile uint8_t *virtio_pci_notify_address(struct virtio_device *device, uint16_t index);
void virtio_pci_notify(volatile uint8_t *address, uint16_t index);

/* Stop the device: it uses no queue, touches no memory and raises no interrupt after this. */
void virtio_pci_close(struct virtio_device *device);

#endif
