/* SPDX-License-Identifier: MIT
 *
 * Modern virtio over PCI; see virtio_pci.h. Sections are those of Virtio 1.1.
 *
 * Capability (4.1.4), offsets from its start:
 *   0x03 8   cfg_type    1 common, 2 notify, 3 ISR, 4 device, 5 PCI access
 *   0x04 8   bar
 *   0x08 32  offset      within the BAR
 *   0x0c 32  length
 *   0x10 32  multiplier  (notify only)
 *
 * Common configuration (4.1.4.3):
 *   0x00 RW 32  device_feature_select   0x04 R  32  device_feature
 *   0x08 RW 32  driver_feature_select   0x0c RW 32  driver_feature
 *   0x10 RW 16  config_msix_vector      0x12 R  16  num_queues
 *   0x14 RW  8  device_status           0x15 R   8  config_generation
 *   0x16 RW 16  queue_select            0x18 RW 16  queue_size
 *   0x1a RW 16  queue_msix_vector       0x1c RW 16  queue_enable
 *   0x1e R  16  queue_notify_off        0x20 RW 64  queue_desc
 *   0x28 RW 64  queue_driver            0x30 RW 64  queue_device
 */
#include "virtio_pci.h"
#include <kernel/arch.h>
#include <kernel/mmio.h>

#define VIRTIO_VENDOR_ID 0x1af4u        /* 4.1.2 */
#define VIRTIO_DEVICE_ID_MODERN 0x1040u /* + device type */
#define VIRTIO_CONSOLE_ID_TRANSITIONAL 0x1003u

#define CAPABILITY_TYPE 0x03u
#define CAPABILITY_BAR 0x04u
#define CAPABILITY_OFFSET 0x08u
#define CAPABILITY_LENGTH 0x0cu
#define CAPABILITY_MULTIPLIER 0x10u
#define CAPABILITY_TYPE_COMMON 1u
#define CAPABILITY_TYPE_NOTIFY 2u

#define COMMON_DEVICE_FEATURE_SELECT 0x00u
#define COMMON_DEVICE_FEATURE 0x04u
#define COMMON_DRIVER_FEATURE_SELECT 0x08u
#define COMMON_DRIVER_FEATURE 0x0cu
#define COMMON_CONFIG_VECTOR 0x10u
#define COMMON_QUEUE_COUNT 0x12u
#define COMMON_STATUS 0x14u
#define COMMON_QUEUE_SELECT 0x16u
#define COMMON_QUEUE_SIZE 0x18u
#define COMMON_QUEUE_VECTOR 0x1au
#define COMMON_QUEUE_ENABLE 0x1cu
#define COMMON_QUEUE_NOTIFY_OFFSET 0x1eu
#define COMMON_QUEUE_DESCRIPTORS 0x20u
#define COMMON_QUEUE_AVAILABLE 0x28u
#define COMMON_QUEUE_USED 0x30u
#define COMMON_SIZE 0x38u

#define STATUS_ACKNOWLEDGE 1u /* 2.1 */
#define STATUS_DRIVER 2u
#define STATUS_DRIVER_OK 4u
#define STATUS_FEATURES_OK 8u

#define NO_VECTOR 0xffffu
#define INTERRUPT_ENTRY 0u
#define RESET_POLLS 100000u

static bool is_device(const struct pci_device *pci, unsigned device_type)
{
    if (pci == NULL || pci->vendor_id != VIRTIO_VENDOR_ID)
        return false;
    return pci->device_id == VIRTIO_DEVICE_ID_MODERN + device_type ||
           (device_type == VIRTIO_DEVICE_CONSOLE &&
            pci->device_id == VIRTIO_CONSOLE_ID_TRANSITIONAL);
}

/* Map the block that the capability at `capability` describes. */
static int map_block(struct pci_device *pci, unsigned capability,
                     struct virtio_register_block *block)
{
    unsigned bar = pci_config_read8(pci, capability + CAPABILITY_BAR);
    uint32_t offset = pci_config_read32(pci, capability + CAPABILITY_OFFSET);
    uint32_t length = pci_config_read32(pci, capability + CAPABILITY_LENGTH);
    volatile void *base;
    size_t size_bytes;
    int error;

    if (bar >= PCI_BAR_COUNT)
        return ERROR_UNSUPPORTED;
    error = pci_bar_map(pci, bar, &base, &size_bytes);
    if (error != 0)
        return error == ERROR_NOT_FOUND ? ERROR_UNSUPPORTED : error;
    if (offset > size_bytes || length > size_bytes - offset || offset % sizeof(uint64_t) != 0)
        return ERROR_UNSUPPORTED;
    block->base = (volatile uint8_t *)base + offset;
    block->size_bytes = length;
    /* The BAR says prefetchable, but these are registers. */
    return arch_mmu_map((uintptr_t)base, size_bytes, ARCH_MMU_DEVICE);
}

static int find_blocks(struct virtio_device *device)
{
    struct pci_device *pci = device->pci;
    unsigned capability = 0;
    int error = 0;

    while (error == 0 &&
           (capability = pci_find_capability(pci, PCI_CAPABILITY_VENDOR, capability)) != 0) {
        unsigned type = pci_config_read8(pci, capability + CAPABILITY_TYPE);

        /* Of several of a type the first counts (4.1.4.1). */
        if (type == CAPABILITY_TYPE_COMMON && device->common.base == NULL)
            error = map_block(pci, capability, &device->common);
        if (type == CAPABILITY_TYPE_NOTIFY && device->notify.base == NULL) {
            error = map_block(pci, capability, &device->notify);
            device->notify_multiplier = pci_config_read32(pci, capability + CAPABILITY_MULTIPLIER);
        }
    }
    if (error == 0 && (device->common.size_bytes < COMMON_SIZE || device->notify.base == NULL))
        error = ERROR_UNSUPPORTED;
    return error;
}

static void add_status(struct virtio_device *device, uint8_t status)
{
    volatile uint8_t *address = device->common.base + COMMON_STATUS;

    mmio_write8(address, mmio_read8(address) | status);
}

/* 4.1.4.3.2: the device is reset when its status reads 0. */
static int reset(struct virtio_device *device)
{
    mmio_write8(device->common.base + COMMON_STATUS, 0);
    for (uint32_t i = 0; i < RESET_POLLS; i++)
        if (mmio_read8(device->common.base + COMMON_STATUS) == 0)
            return 0;
    return ERROR_UNSUPPORTED;
}

int virtio_pci_open(struct virtio_device *device, unsigned slot, unsigned device_type,
                    interrupt_handler handler, void *context)
{
    int error;

    *device = (struct virtio_device){.pci = pci_find_slot(slot)};
    if (!is_device(device->pci, device_type))
        return ERROR_NOT_FOUND;
    error = find_blocks(device);
    if (error == 0)
        error = reset(device);
    if (error == 0)
        error = pci_msix_enable(device->pci, INTERRUPT_ENTRY, handler, context);
    return error;
}

int virtio_pci_negotiate(struct virtio_device *device, uint64_t features)
{
    volatile uint8_t *common = device->common.base;
    uint64_t offered = 0;

    add_status(device, STATUS_ACKNOWLEDGE);
    add_status(device, STATUS_DRIVER);
    for (uint32_t i = 0; i < 2; i++) {
        mmio_write32(common + COMMON_DEVICE_FEATURE_SELECT, i);
        offered |= (uint64_t)mmio_read32(common + COMMON_DEVICE_FEATURE) << 32 * i;
    }
    if ((offered & features) != features)
        return ERROR_UNSUPPORTED;
    for (uint32_t i = 0; i < 2; i++) {
        mmio_write32(common + COMMON_DRIVER_FEATURE_SELECT, i);
        mmio_write32(common + COMMON_DRIVER_FEATURE, (uint32_t)(features >> 32 * i));
    }
    add_status(device, STATUS_FEATURES_OK);
    if ((mmio_read8(common + COMMON_STATUS) & STATUS_FEATURES_OK) == 0)
        return ERROR_UNSUPPORTED;
    mmio_write16(common + COMMON_CONFIG_VECTOR, NO_VECTOR);
    return 0;
}

static void write_address(volatile uint8_t *address, const volatile void *memory)
{
    uint64_t value = (uintptr_t)memory;

    mmio_write32(address, (uint32_t)value); /* 4.1.3.1: 64-bit fields in two halves */
    mmio_write32(address + 4, (uint32_t)(value >> 32));
}

int virtio_pci_set_queue(struct virtio_device *device, uint16_t index, struct virtqueue *queue,
                         struct virtqueue_memory *memory)
{
    volatile uint8_t *common = device->common.base;
    uint16_t size;

    if (index >= mmio_read16(common + COMMON_QUEUE_COUNT))
        return ERROR_UNSUPPORTED;
    mmio_write16(common + COMMON_QUEUE_SELECT, index);
    size = mmio_read16(common + COMMON_QUEUE_SIZE);
    if (size == 0 || (size & (size - 1)) != 0)
        return ERROR_UNSUPPORTED;
    if (size > VIRTQUEUE_SIZE_MAXIMUM)
        size = VIRTQUEUE_SIZE_MAXIMUM;
    virtqueue_initialise(queue, memory, size);
    mmio_write16(common + COMMON_QUEUE_SIZE, size);
    mmio_write16(common + COMMON_QUEUE_VECTOR, INTERRUPT_ENTRY);
    if (mmio_read16(common + COMMON_QUEUE_VECTOR) != INTERRUPT_ENTRY)
        return ERROR_UNSUPPORTED;
    write_address(common + COMMON_QUEUE_DESCRIPTORS, memory->descriptors);
    write_address(common + COMMON_QUEUE_AVAILABLE, &memory->available);
    write_address(common + COMMON_QUEUE_USED, &memory->used);
    arch_device_publish_barrier();
    mmio_write16(common + COMMON_QUEUE_ENABLE, 1);
    return 0;
}

void virtio_pci_start(struct virtio_device *device)
{
    arch_device_publish_barrier();
    add_status(device, STATUS_DRIVER_OK);
}

volatile uint8_t *virtio_pci_notify_address(struct virtio_device *device, uint16_t index)
{
    uint64_t offset;

    mmio_write16(device->common.base + COMMON_QUEUE_SELECT, index);
    offset = (uint64_t)mmio_read16(device->common.base + COMMON_QUEUE_NOTIFY_OFFSET) *
             device->notify_multiplier;
    if (offset + sizeof(uint16_t) > device->notify.size_bytes || offset % sizeof(uint16_t) != 0)
        return NULL;
    return device->notify.base + offset;
}

void virtio_pci_notify(volatile uint8_t *address, uint16_t index)
{
    arch_device_publish_barrier();
    mmio_write16(address, index);
}

void virtio_pci_close(struct virtio_device *device)
{
    (void)reset(device); /* a device that does not reset is beyond help, and has no queues to use
                            after the next line */
    pci_msix_disable(device->pci, INTERRUPT_ENTRY);
}
