/* SPDX-License-Identifier: MIT
 *
 * MSI-X of a PCI device (PCI Local Bus 3.0, section 6.8.2): its table entries hold the messages
 * that interrupt.c hands out.
 *
 *   capability offset  access  register
 *   2                  RW      message control
 *   4                  R       table: BAR index and offset
 *
 *   entry offset       access  register (16 bytes an entry)
 *   0, 4               RW      message address, low and high
 *   8                  RW      message data
 *   12                 RW      vector control
 */
#include <drivers/pci/ecam.h>
#include <kernel/mmio.h>
#include <kernel/panic.h>
#include <kernel/pci.h>

#define MSIX_CONTROL 2u
#define MSIX_CONTROL_COUNT_MASK 0x07ffu
#define MSIX_CONTROL_ENABLE 0x8000u
#define MSIX_TABLE 4u
#define MSIX_TABLE_BAR_MASK 0x7u

#define ENTRY_SIZE 16u
#define ENTRY_ADDRESS_LOW 0u
#define ENTRY_ADDRESS_HIGH 4u
#define ENTRY_DATA 8u
#define ENTRY_CONTROL 12u
#define ENTRY_CONTROL_MASKED 1u

static volatile uint8_t *entry_registers(const struct pci_device *device, unsigned entry)
{
    return device->msix_table + entry * ENTRY_SIZE;
}

/* Find and map the table, mask every entry, turn MSI-X on. Done once a device. */
static int table_initialise(struct pci_device *device)
{
    volatile void *base;
    size_t size, offset, count;
    uint16_t control;
    uint32_t table;
    int error;

    if (device->msix_table != NULL)
        return ERROR_NONE;
    if (device->msix_capability == 0)
        return ERROR_UNSUPPORTED;
    control = pci_config_read16(device, device->msix_capability + MSIX_CONTROL);
    table = pci_config_read32(device, device->msix_capability + MSIX_TABLE);
    count = (control & MSIX_CONTROL_COUNT_MASK) + 1u;
    offset = table & ~MSIX_TABLE_BAR_MASK;
    error = pci_bar_map_registers(device, table & MSIX_TABLE_BAR_MASK, &base, &size);
    if (error != ERROR_NONE)
        return error == ERROR_NOT_FOUND ? ERROR_UNSUPPORTED : error;
    if (offset > size || count * ENTRY_SIZE > size - offset)
        return ERROR_UNSUPPORTED;
    device->msix_table = (volatile uint8_t *)base + offset;
    device->msix_count = (uint16_t)count;
    for (unsigned i = 0; i < count; i++)
        mmio_write32(entry_registers(device, i) + ENTRY_CONTROL, ENTRY_CONTROL_MASKED);
    pci_config_write16(device, device->msix_capability + MSIX_CONTROL,
                       control | MSIX_CONTROL_ENABLE);
    return ERROR_NONE;
}

int pci_msix_enable(struct pci_device *device, unsigned entry, interrupt_handler handler,
                    void *context)
{
    struct interrupt_message message;
    volatile uint8_t *registers;
    int error = table_initialise(device);
    int vector;

    if (error != ERROR_NONE)
        return error;
    if (entry >= PCI_MSIX_VECTORS_MAXIMUM || entry >= device->msix_count)
        return ERROR_INVALID;
    pci_msix_disable(device, entry);
    vector = interrupt_allocate_msi(handler, context, &message);
    if (vector < 0)
        return vector;
    device->msix_vectors[entry] = vector;
    registers = entry_registers(device, entry);
    mmio_write32(registers + ENTRY_ADDRESS_LOW, (uint32_t)message.address);
    mmio_write32(registers + ENTRY_ADDRESS_HIGH, (uint32_t)(message.address >> 32));
    mmio_write32(registers + ENTRY_DATA, message.data);
    mmio_write32(registers + ENTRY_CONTROL, 0);
    return ERROR_NONE;
}

void pci_msix_disable(struct pci_device *device, unsigned entry)
{
    if (entry >= PCI_MSIX_VECTORS_MAXIMUM || device->msix_vectors[entry] < 0)
        return;
    mmio_write32(entry_registers(device, entry) + ENTRY_CONTROL, ENTRY_CONTROL_MASKED);
    interrupt_free_msi(device->msix_vectors[entry]);
    device->msix_vectors[entry] = -1;
}
