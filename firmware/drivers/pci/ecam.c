/* SPDX-License-Identifier: MIT
 *
 * PCI bus 0 through memory-mapped configuration space (PCI Express 3.0, section 7.2.2): scan, BARs,
 * capabilities. The firmware gives out all addresses; nobody before it has. MSI-X is in msix.c.
 */
#include <arch/board.h>
#include <arch/machine.h>
#include <drivers/pci/ecam.h>
#include <kernel/arch.h>
#include <kernel/mmio.h>

#define ECAM_SLOT_STRIDE 0x8000u /* eight functions of 4 KiB */
#define CAPABILITIES_MAXIMUM 48u /* that fit into the 192 bytes they share */

/* --- Configuration space ---------------------------------------------------------------------- */

uint8_t pci_config_read8(const struct pci_device *device, unsigned offset)
{
    panic_unless(offset < PCI_CONFIG_SIZE);
    return mmio_read8(device->config + offset);
}

uint16_t pci_config_read16(const struct pci_device *device, unsigned offset)
{
    panic_unless(offset < PCI_CONFIG_SIZE && offset % 2 == 0);
    return mmio_read16(device->config + offset);
}

uint32_t pci_config_read32(const struct pci_device *device, unsigned offset)
{
    panic_unless(offset < PCI_CONFIG_SIZE && offset % 4 == 0);
    return mmio_read32(device->config + offset);
}

void pci_config_write8(struct pci_device *device, unsigned offset, uint8_t value)
{
    panic_unless(offset < PCI_CONFIG_SIZE);
    mmio_write8(device->config + offset, value);
}

void pci_config_write16(struct pci_device *device, unsigned offset, uint16_t value)
{
    panic_unless(offset < PCI_CONFIG_SIZE && offset % 2 == 0);
    mmio_write16(device->config + offset, value);
}

void pci_config_write32(struct pci_device *device, unsigned offset, uint32_t value)
{
    panic_unless(offset < PCI_CONFIG_SIZE && offset % 4 == 0);
    mmio_write32(device->config + offset, value);
}

/* Pointers are masked to words (PCI 3.0, section 6.7); the count bounds a list that loops. */
unsigned pci_find_capability(const struct pci_device *device, uint8_t id, unsigned after)
{
    unsigned offset;

    if ((pci_config_read16(device, PCI_STATUS) & PCI_STATUS_CAPABILITIES) == 0)
        return 0;
    panic_unless(after < PCI_CONFIG_LEGACY_SIZE - 1);
    offset = pci_config_read8(device, after == 0 ? PCI_CAPABILITY_POINTER : after + 1) & ~3u;
    for (unsigned i = 0; i < CAPABILITIES_MAXIMUM && offset != 0; i++) {
        if (pci_config_read8(device, offset) == id)
            return offset;
        offset = pci_config_read8(device, offset + 1) & ~3u;
    }
    return 0;
}

/* --- BARs ------------------------------------------------------------------------------------- */

/* What the device can decode: writes to address bits below its size do not stick. 0: nothing
 * sticks, so no BAR is there. */
static uint64_t bar_size(struct pci_device *device, unsigned index, bool wide)
{
    uint64_t mask;

    pci_config_write32(device, PCI_BAR(index), UINT32_MAX);
    mask = pci_config_read32(device, PCI_BAR(index)) & PCI_BAR_ADDRESS_MASK;
    if (wide) {
        pci_config_write32(device, PCI_BAR(index + 1), UINT32_MAX);
        mask |= (uint64_t)pci_config_read32(device, PCI_BAR(index + 1)) << 32;
    } else if (mask != 0) {
        mask |= ~(uint64_t)UINT32_MAX;
    }
    return ~mask + 1;
}

/* Give the BAR the next naturally aligned address of the window, at least a page of its own: pages
 * differ in attributes. */
static uint64_t bar_assign(struct machine *machine, struct pci_device *device, unsigned index,
                           bool wide, uint64_t size)
{
    uint64_t alignment = size < ARCH_PAGE_SIZE ? ARCH_PAGE_SIZE : size;
    uint64_t start = (machine->pci_next_address + alignment - 1) & ~(alignment - 1);
    uint64_t end = board.pci_window.start + board.pci_window.size_bytes;

    if (start < machine->pci_next_address || start > end || alignment > end - start)
        panic("PCI slot %u: no room for BAR %u of %llu bytes", device->slot, index,
              (unsigned long long)size);
    machine->pci_next_address = start + alignment;
    pci_config_write32(device, PCI_BAR(index), (uint32_t)start);
    if (wide)
        pci_config_write32(device, PCI_BAR(index + 1), (uint32_t)(start >> 32));
    return start;
}

/* Returns how many BAR registers this one takes. Sizes that are no power of two, or zero, mean that
 * there is none. */
static unsigned bar_initialise(struct machine *machine, struct pci_device *device, unsigned index)
{
    uint32_t original = pci_config_read32(device, PCI_BAR(index));
    bool wide = (original & PCI_BAR_TYPE_MASK) == PCI_BAR_64BIT;
    struct pci_bar *bar = &device->bars[index];
    uint64_t size;

    if ((original & PCI_BAR_IO) != 0)
        return 1;
    if (wide && index + 1 == PCI_BAR_COUNT)
        return 1;
    size = bar_size(device, index, wide);
    if (size != 0 && (size & (size - 1)) == 0) {
        bar->prefetchable = (original & PCI_BAR_PREFETCHABLE) != 0;
        bar->size_bytes = size;
        bar->address = bar_assign(machine, device, index, wide, size);
    }
    return wide ? 2 : 1;
}

static void device_initialise(struct machine *machine, struct pci_device *device, unsigned slot)
{
    device->slot = (uint8_t)slot;
    device->vendor_id = pci_config_read16(device, PCI_VENDOR_ID);
    device->device_id = pci_config_read16(device, PCI_DEVICE_ID);
    device->subsystem_id = pci_config_read16(device, PCI_SUBSYSTEM_ID);
    device->revision = pci_config_read8(device, PCI_REVISION);
    for (unsigned i = 0; i < PCI_MSIX_VECTORS_MAXIMUM; i++)
        device->msix_vectors[i] = -1;
    if ((pci_config_read8(device, PCI_HEADER_TYPE) & PCI_HEADER_TYPE_MASK) !=
        PCI_HEADER_TYPE_DEVICE)
        return;
    /* Decoding is off while addresses are all ones. */
    pci_config_write16(device, PCI_COMMAND, PCI_COMMAND_INTX_DISABLE);
    for (unsigned index = 0; index < PCI_BAR_COUNT;)
        index += bar_initialise(machine, device, index);
    device->msix_capability = (uint16_t)pci_find_capability(device, PCI_CAPABILITY_MSIX, 0);
}

void pci_initialise(struct machine *machine)
{
    machine->pci_next_address = board.pci_window.start;
    for (unsigned slot = 0; slot < PCI_SLOT_COUNT; slot++) {
        struct pci_device *device = &machine->pci[slot];

        device->config = (volatile uint8_t *)(uintptr_t)board.pci_ecam + slot * ECAM_SLOT_STRIDE;
        if (pci_config_read16(device, PCI_VENDOR_ID) != PCI_VENDOR_ID_NONE)
            device_initialise(machine, device, slot);
        else
            device->config = NULL;
    }
}

struct pci_device *pci_find_slot(unsigned slot)
{
    if (slot >= PCI_SLOT_COUNT || machine()->pci[slot].config == NULL)
        return NULL;
    return &machine()->pci[slot];
}

static int bar_map(struct pci_device *device, unsigned index, enum arch_mmu_attribute attribute,
                   volatile void **base, size_t *size_bytes)
{
    const struct pci_bar *bar;
    int error;

    if (index >= PCI_BAR_COUNT || device->bars[index].address == 0)
        return ERROR_NOT_FOUND;
    bar = &device->bars[index];
    error = arch_mmu_map(bar->address, bar->size_bytes, attribute);
    if (error != ERROR_NONE)
        return error;
    pci_config_write16(device, PCI_COMMAND,
                       PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
    if (base != NULL)
        *base = (volatile void *)(uintptr_t)bar->address;
    if (size_bytes != NULL)
        *size_bytes = bar->size_bytes;
    return ERROR_NONE;
}

int pci_bar_map(struct pci_device *device, unsigned index, volatile void **base, size_t *size_bytes)
{
    bool memory = index < PCI_BAR_COUNT && device->bars[index].prefetchable;

    return bar_map(device, index, memory ? ARCH_MMU_DATA : ARCH_MMU_DEVICE, base, size_bytes);
}

int pci_bar_map_registers(struct pci_device *device, unsigned index, volatile void **base,
                          size_t *size_bytes)
{
    return bar_map(device, index, ARCH_MMU_DEVICE, base, size_bytes);
}
