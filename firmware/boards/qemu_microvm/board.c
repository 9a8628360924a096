/* SPDX-License-Identifier: MIT
 *
 * QEMU's microvm machine with PCI Express (`-M microvm,pcie=on`). Addresses: QEMU hw/i386/microvm.c
 * and include/hw/i386/microvm.h. Power-off and reset are registers of the ACPI generic event device
 * (ACPI 6.4, 4.8.3.7), which the machine has unless started with acpi=off.
 */
#include <arch/board.h>
#include <arch/x86.h>
#include <drivers/irq/lapic.h>
#include <drivers/serial/uart16550.h>

#define EVENT_DEVICE 0xfea00000u
#define EVENT_DEVICE_SLEEP_CONTROL (EVENT_DEVICE + 0x200u)
#define SLEEP_TYPE_S5_AND_ENABLE ((5u << 2) | (1u << 5))
#define EVENT_DEVICE_RESET (EVENT_DEVICE + 0x202u)
#define RESET_VALUE 0x42u

static const struct uart16550 uart = {
    .base = 0x3f8,
    .read = x86_port_read8,
    .write = x86_port_write8,
};

const struct lapic_timer_config board_lapic_timer = {.frequency_hz = 1000000000};

static void console_initialise(void)
{
    uart16550_initialise(&uart);
}

static void console_write(const char *text, size_t len_bytes)
{
    uart16550_write(&uart, text, len_bytes);
}

static void power_off(void)
{
    mmio_write8((volatile void *)(uintptr_t)EVENT_DEVICE_SLEEP_CONTROL, SLEEP_TYPE_S5_AND_ENABLE);
}

static void reset(void)
{
    mmio_write8((volatile void *)(uintptr_t)EVENT_DEVICE_RESET, RESET_VALUE);
}

const struct board board = {
    .name = "qemu_microvm",
    .ram_base = 0,
    .devices =
        {
            {0xe0000000, 0x100000}, /* configuration space of bus 0 */
            {EVENT_DEVICE, 0x1000},
            {LAPIC_BASE, 0x1000},
        },
    .pci_ecam = 0xe0000000,
    .pci_window = {0xc0000000, 0x20000000},
    .console_initialise = console_initialise,
    .console_write = console_write,
    .power_off = power_off,
    .reset = reset,
};
