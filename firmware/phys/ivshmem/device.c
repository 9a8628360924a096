/* SPDX-License-Identifier: MIT
 *
 * ivshmem-doorbell; registers and BARs as in QEMU's docs/specs/ivshmem-spec. See device.h.
 *
 * BAR 0, 256 bytes of 32-bit registers:
 *   0x00 R/W  Interrupt Mask     (INTx only, unused)
 *   0x04 R/W  Interrupt Status   (INTx only, unused)
 *   0x08 R    IVPosition         our id, given by the server; negative: none yet
 *   0x0c W    Doorbell           peer id << 16 | vector
 * BAR 1: MSI-X. BAR 2: the shared memory.
 */
#include "device.h"
#include "cable.h"
#include <kernel/arch.h>
#include <kernel/mmio.h>

#define IVSHMEM_VENDOR_ID 0x1af4u
#define IVSHMEM_DEVICE_ID 0x1110u
#define IVSHMEM_BAR_REGISTERS 0u
#define IVSHMEM_BAR_MEMORY 2u
#define IVSHMEM_REGISTER_POSITION 0x08u
#define IVSHMEM_REGISTER_DOORBELL 0x0cu
#define IVSHMEM_REGISTERS_SIZE 0x10u
#define IVSHMEM_VECTOR 0u

static int map_bars(struct ivshmem_device *device)
{
    volatile void *base;
    size_t size_bytes;
    int error;

    error = pci_bar_map(device->pci, IVSHMEM_BAR_REGISTERS, &base, &size_bytes);
    if (error != 0)
        return error;
    if (size_bytes < IVSHMEM_REGISTERS_SIZE)
        return ERROR_UNSUPPORTED;
    device->registers = base;
    error = pci_bar_map(device->pci, IVSHMEM_BAR_MEMORY, &base, &size_bytes);
    if (error != 0)
        return error;
    if (size_bytes < CABLE_REGION_SIZE)
        return ERROR_UNSUPPORTED;
    /* Ordinary memory from here on: shared words go through kernel/shared.h, bulk data through
     * plain copies. */
    device->region = (uint8_t *)(uintptr_t)base;
    return 0;
}

int ivshmem_device_open(struct ivshmem_device *device, unsigned slot, interrupt_handler handler,
                        void *context)
{
    uint32_t position;
    int error;

    *device = (struct ivshmem_device){.pci = pci_find_slot(slot)};
    if (device->pci == NULL || device->pci->vendor_id != IVSHMEM_VENDOR_ID ||
        device->pci->device_id != IVSHMEM_DEVICE_ID)
        return ERROR_NOT_FOUND;
    error = map_bars(device);
    if (error != 0)
        return error;
    position = mmio_read32(device->registers + IVSHMEM_REGISTER_POSITION);
    error = cable_find_end(device->region, position, &device->end);
    if (error != 0 || handler == NULL)
        return error;
    return pci_msix_enable(device->pci, IVSHMEM_VECTOR, handler, context);
}

void ivshmem_device_close(struct ivshmem_device *device)
{
    pci_msix_disable(device->pci, IVSHMEM_VECTOR);
}

void ivshmem_device_ring(const struct ivshmem_device *device, uint32_t value)
{
    arch_device_publish_barrier();
    mmio_write32(device->registers + IVSHMEM_REGISTER_DOORBELL, value);
}
