/* SPDX-License-Identifier: MIT
 *
 * The ivshmem-doorbell device: finding it, its registers, its region with a cable page in it. Used
 * by the PHY driver and by the raw_ring server, which open different slots.
 */
#ifndef PHYS_IVSHMEM_DEVICE_H
#define PHYS_IVSHMEM_DEVICE_H

#include <abi/cable.h>
#include <kernel/error.h>
#include <kernel/interrupt.h>
#include <kernel/pci.h>
#include <stdint.h>

struct ivshmem_device {
    struct pci_device *pci;
    volatile uint8_t *registers;
    uint8_t *region; /* CABLE_REGION_SIZE bytes, cacheable */
    struct cable_end *end;
};

/* Open the device in PCI slot `slot` of bus 0. `handler(context)` runs at each doorbell; null:
 * none. Returns 0, ERROR_NOT_FOUND (no ivshmem-doorbell device there, or a cable without our end),
 * ERROR_UNSUPPORTED (not the layout we know), ERROR_NO_MEMORY or ERROR_FULL (no interrupt vector).
 */
int ivshmem_device_open(struct ivshmem_device *device, unsigned slot, interrupt_handler handler,
                        void *context) MUST_CHECK;

/* No handler call after this. */
void ivshmem_device_close(struct ivshmem_device *device);

/* Write `value` (a cable_direction's doorbell) after everything stored before. A value that names
 * nobody does nothing. */
void ivshmem_device_ring(const struct ivshmem_device *device, uint32_t value);

#endif
