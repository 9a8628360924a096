/* SPDX-License-Identifier: MIT
 *
 * PCI and MSI-X, on an ivshmem-doorbell device in slot 3 whose only peer is itself: writing its own
 * id to its doorbell register raises its own interrupt. run.py plays the server.
 */
#include "selftest.h"
#include <kernel/arch.h>
#include <kernel/mmio.h>
#include <kernel/pci.h>
#include <kernel/shared.h>
#include <kernel/thread.h>

#define MS 1000000ull
#define SLOT 3u
#define ROUNDS 1000u

/* QEMU docs/specs/ivshmem-spec.txt. */
#define IVSHMEM_VENDOR 0x1af4u
#define IVSHMEM_DEVICE 0x1110u
#define IVSHMEM_REGISTERS_BAR 0u
#define IVSHMEM_MEMORY_BAR 2u
#define IVSHMEM_POSITION 8u
#define IVSHMEM_DOORBELL 12u

static void pci_case(struct selftest *test)
{
    struct pci_device *device = pci_find_slot(SLOT);
    volatile void *memory;
    volatile void *registers;
    le64 *words;
    size_t size;

    CHECK(test, pci_find_slot(0) != NULL); /* the host bridge */
    CHECK(test, pci_find_slot(31) == NULL && pci_find_slot(32) == NULL);
    CHECK(test, device != NULL);
    CHECK(test, device->vendor_id == IVSHMEM_VENDOR && device->device_id == IVSHMEM_DEVICE);
    CHECK(test, pci_bar_map(device, IVSHMEM_REGISTERS_BAR, &registers, &size) == 0 && size == 256);
    CHECK(test, pci_bar_map(device, IVSHMEM_MEMORY_BAR, &memory, &size) == 0 && size == 0x400000);
    CHECK(test, pci_bar_map(device, IVSHMEM_MEMORY_BAR, &memory, NULL) == 0);
    CHECK(test, pci_bar_map(device, 3, NULL, NULL) == ERROR_NOT_FOUND);
    CHECK(test, pci_bar_map(device, 6, NULL, NULL) == ERROR_NOT_FOUND);
    CHECK(test, device->bars[IVSHMEM_MEMORY_BAR].prefetchable);
    CHECK(test, (uintptr_t)memory % size == 0);
    /* What run.py left in the memory, and what it will look for. */
    words = (le64 *)(uintptr_t)memory;
    CHECK(test, shared_load64_acquire(&words[0]) == 0x1122334455667788);
    shared_store64_release(&words[size / 8 - 1], 0x8877665544332211);
    CHECK(test, pci_find_capability(device, PCI_CAPABILITY_VENDOR, 0) == 0);
    CHECK(test, pci_find_capability(device, PCI_CAPABILITY_MSIX, 0) == device->msix_capability);
}

struct bell {
    struct event event;
    volatile unsigned count;
};

static void bell_rung(void *context)
{
    struct bell *bell = context;

    bell->count++;
    event_signal(&bell->event);
}

/* Each ring wakes an idle CPU, vectors are told apart, and a masked vector stays silent. */
static void msix_case(struct selftest *test)
{
    struct pci_device *device = pci_find_slot(SLOT);
    struct bell bells[2] = {{.count = 0}, {.count = 0}};
    volatile void *registers;
    uint32_t self;

    CHECK(test, device != NULL);
    CHECK(test, pci_bar_map(device, IVSHMEM_REGISTERS_BAR, &registers, NULL) == 0);
    for (unsigned i = 0; i < 2; i++) {
        event_init(&bells[i].event);
        CHECK(test, pci_msix_enable(device, i, bell_rung, &bells[i]) == 0);
    }
    CHECK(test, pci_msix_enable(device, 15, bell_rung, &bells[0]) == ERROR_INVALID);
    self = mmio_read32((volatile uint8_t *)registers + IVSHMEM_POSITION);
    CHECK(test, self == 5);
    for (unsigned round = 0; round < 2 * ROUNDS; round++) {
        struct bell *bell = &bells[round % 2];

        mmio_write32((volatile uint8_t *)registers + IVSHMEM_DOORBELL, self << 16 | round % 2);
        CHECK(test, event_wait(&bell->event, clock_now_ns() + 2000 * MS));
    }
    CHECK(test, bells[0].count == ROUNDS && bells[1].count == ROUNDS);
    pci_msix_disable(device, 1);
    mmio_write32((volatile uint8_t *)registers + IVSHMEM_DOORBELL, self << 16 | 1);
    CHECK(test, !event_wait(&bells[1].event, clock_now_ns() + 20 * MS));
    CHECK(test, bells[1].count == ROUNDS);
    pci_msix_disable(device, 0);
}

static void never_called(void *context)
{
    (void)context;
}

/* Vectors run out with an error, and come back. */
static void msi_vectors_case(struct selftest *test)
{
    struct interrupt_message message;
    int vectors[256];
    unsigned count = 0;
    int vector = 0;

    while (count < 256) {
        vector = interrupt_allocate_msi(never_called, NULL, &message);
        if (vector < 0)
            break;
        CHECK(test, message.address != 0);
        vectors[count++] = vector;
    }
    CHECK(test, vector == ERROR_FULL && count >= 64);
    for (unsigned i = 0; i < count; i++)
        interrupt_free_msi(vectors[i]);
    vector = interrupt_allocate_msi(never_called, NULL, &message);
    CHECK(test, vector == vectors[0]);
    interrupt_free_msi(vector);
}

const struct selftest_case selftest_device_cases[] = {
    {"pci", pci_case},
    {"msix", msix_case},
    {"msi_vectors", msi_vectors_case},
    {NULL, NULL},
};
