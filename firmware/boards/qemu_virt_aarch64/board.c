/* SPDX-License-Identifier: MIT
 *
 * QEMU's virt machine for aarch64 with GICv2 (`-M virt -cpu cortex-a57`). Addresses: QEMU
 * hw/arm/virt.c, base_memmap and extended_memmap. Power-off and reset are PSCI calls (Arm DEN
 * 0022D, 5.1), which QEMU answers by HVC.
 */
#include <arch/board.h>
#include <drivers/irq/gicv2.h>
#include <drivers/serial/pl011.h>

#define UART 0x09000000u
#define PSCI_SYSTEM_OFF 0x84000008u
#define PSCI_SYSTEM_RESET 0x84000009u

const struct gicv2_config board_gicv2 = {
    .distributor = 0x08000000,
    .cpu_interface = 0x08010000,
    .message_frame = 0x08020000,
};

static void console_initialise(void)
{
    pl011_initialise(UART);
}

static void console_write(const char *text, size_t len_bytes)
{
    pl011_write(UART, text, len_bytes);
}

static void psci_call(uint32_t function)
{
    register uint64_t x0 __asm__("x0") = function;

    __asm__ volatile("hvc #0" : "+r"(x0)::"x1", "x2", "x3", "memory");
}

static void power_off(void)
{
    psci_call(PSCI_SYSTEM_OFF);
}

static void reset(void)
{
    psci_call(PSCI_SYSTEM_RESET);
}

const struct board board = {
    .name = "qemu_virt_aarch64",
    .ram_base = 0x40000000,
    .devices =
        {
            {0x08000000, 0x30000}, /* GIC: distributor, CPU interface, v2m frame */
            {UART, 0x1000},
            {0x4010000000, 0x100000}, /* configuration space of bus 0 */
        },
    .pci_ecam = 0x4010000000,
    .pci_window = {0x10000000, 0x2eff0000},
    .console_initialise = console_initialise,
    .console_write = console_write,
    .power_off = power_off,
    .reset = reset,
};
