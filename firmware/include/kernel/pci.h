/* SPDX-License-Identifier: MIT
 *
 * PCI devices of bus 0. At boot every slot is scanned, every memory BAR sized and given an address;
 * a driver finds its device by slot, maps the BARs it needs and turns on MSI-X.
 *
 * Slots are device numbers 0 .. 31, function 0 only. Devices are never added or removed while a
 * guest runs. All calls are made from threads; what a register reads is untrusted, so every offset
 * a device names is checked against its BAR.
 */
#ifndef KERNEL_PCI_H
#define KERNEL_PCI_H

#include <kernel/error.h>
#include <kernel/interrupt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PCI_SLOT_COUNT 32u
#define PCI_BAR_COUNT 6u
#define PCI_MSIX_VECTORS_MAXIMUM 16u /* a driver uses vectors 0 .. 15 of a device */

#define PCI_CAPABILITY_VENDOR 0x09u /* vendor specific, used by virtio */
#define PCI_CAPABILITY_MSIX 0x11u

struct pci_bar {
    uint64_t address; /* 0: no memory BAR here (absent, I/O, or the upper half of the one before) */
    uint64_t size_bytes;
    bool prefetchable; /* reads have no side effects */
};

struct pci_device {
    volatile uint8_t *config; /* 4 KiB of configuration space */
    uint16_t vendor_id;
    uint16_t device_id;
    uint16_t subsystem_id;
    uint8_t slot;
    uint8_t revision;
    struct pci_bar bars[PCI_BAR_COUNT];
    uint16_t msix_capability; /* offset in configuration space; 0: none */
    uint16_t msix_count;      /* entries in the MSI-X table */
    volatile uint8_t *msix_table;
    int msix_vectors[PCI_MSIX_VECTORS_MAXIMUM]; /* CPU vector per entry; negative: unused */
};

/* The device in `slot`, or null when the slot is empty or out of range. Lives as long as the
 * machine. */
struct pci_device *pci_find_slot(unsigned slot);

/* Configuration space; `offset` is below 4096 and a multiple of the width. */
uint8_t pci_config_read8(const struct pci_device *device, unsigned offset);
uint16_t pci_config_read16(const struct pci_device *device, unsigned offset);
uint32_t pci_config_read32(const struct pci_device *device, unsigned offset);
void pci_config_write8(struct pci_device *device, unsigned offset, uint8_t value);
void pci_config_write16(struct pci_device *device, unsigned offset, uint16_t value);
void pci_config_write32(struct pci_device *device, unsigned offset, uint32_t value);

/* Offset of the first capability with `id` after the capability at `after` (0: from the start), or
 * 0 when there is none. Bounded: a looping list ends. */
unsigned pci_find_capability(const struct pci_device *device, uint8_t id, unsigned after);

/* Map BAR `index` (cacheable when prefetchable, else device memory), let the device answer memory
 * accesses and master the bus. `*base` and `*size_bytes` describe it; either may be null. Mapping
 * twice is fine. Returns 0, ERROR_NOT_FOUND (no such memory BAR) or ERROR_NO_MEMORY. */
MUST_CHECK int pci_bar_map(struct pci_device *device, unsigned index, volatile void **base,
                           size_t *size_bytes);

/* The same, but as device memory whatever the BAR says: for registers in a prefetchable BAR, such
 * as those of virtio. */
MUST_CHECK int pci_bar_map_registers(struct pci_device *device, unsigned index,
                                     volatile void **base, size_t *size_bytes);

/* Let MSI-X table entry `entry` of the device call `handler(context)`, and turn MSI-X on. An entry
 * in use is replaced. Returns 0, ERROR_UNSUPPORTED (no MSI-X, or a table outside its BAR),
 * ERROR_INVALID (no such entry), ERROR_FULL (no CPU vector left) or ERROR_NO_MEMORY. */
MUST_CHECK int pci_msix_enable(struct pci_device *device, unsigned entry, interrupt_handler handler,
                               void *context);

/* Mask the entry and free its CPU vector; nothing happens if it is unused. */
void pci_msix_disable(struct pci_device *device, unsigned entry);

#endif
