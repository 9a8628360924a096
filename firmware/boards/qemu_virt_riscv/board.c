/* SPDX-License-Identifier: MIT
 *
 * QEMU's virt machine for RISC-V, 64 or 32 bits wide, with the advanced interrupt architecture (`-M
 * virt,aia=aplic-imsic -bios none`). Addresses: QEMU hw/riscv/virt.c, virt_memmap. Power-off and
 * reset are writes to the SiFive test finisher.
 */
#include <arch/board.h>
#include <drivers/irq/imsic.h>
#include <drivers/serial/uart16550.h>
#include <drivers/timer/riscv_sstc.h>
#include <kernel/mmio.h>

#define FINISHER 0x100000u /* hw/misc/sifive_test.c */
#define FINISHER_PASS 0x5555u
#define FINISHER_RESET 0x7777u

static uint8_t register_read(uintptr_t address)
{
    return mmio_read8((const volatile void *)address);
}

static void register_write(uintptr_t address, uint8_t value)
{
    mmio_write8((volatile void *)address, value);
}

static const struct uart16550 uart = {
    .base = 0x10000000,
    .read = register_read,
    .write = register_write,
};

const struct imsic_config board_imsic = {.supervisor_file = 0x28000000};

const struct riscv_time_config board_riscv_time = {.frequency_hz = 10000000};

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
    mmio_write32((volatile void *)(uintptr_t)FINISHER, FINISHER_PASS);
}

static void reset(void)
{
    mmio_write32((volatile void *)(uintptr_t)FINISHER, FINISHER_RESET);
}

const struct board board = {
    .name = "qemu_virt_riscv",
    .ram_base = 0x80000000,
    .devices =
        {
            {FINISHER, 0x1000},
            {0x10000000, 0x1000},   /* UART */
            {0x30000000, 0x100000}, /* configuration space of bus 0 */
        },
    .pci_ecam = 0x30000000,
    .pci_window = {0x40000000, 0x40000000},
    .console_initialise = console_initialise,
    .console_write = console_write,
    .power_off = power_off,
    .reset = reset,
};
