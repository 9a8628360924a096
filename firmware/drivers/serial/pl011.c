/* SPDX-License-Identifier: MIT
 *
 * ARM PL011 UART, output only, polled. The line speed is left as it is.
 *
 *   offset  access  register (ARM DDI 0183, section 3.2)
 *   0x00    RW      UARTDR, data
 *   0x18    R       UARTFR, flags
 *   0x2c    RW      UARTLCR_H, line control
 *   0x30    RW      UARTCR, control
 *   0x38    RW      UARTIMSC, interrupt mask
 */
#include <drivers/serial/pl011.h>
#include <kernel/mmio.h>

#define PL011_DR 0x00u
#define PL011_FR 0x18u
#define PL011_FR_TX_FULL 0x20u
#define PL011_LCR_H 0x2cu
#define PL011_LCR_H_8N1_FIFO 0x70u
#define PL011_CR 0x30u
#define PL011_CR_ENABLE_TX 0x101u
#define PL011_IMSC 0x38u

static volatile void *pl011_register(uintptr_t base, uintptr_t offset)
{
    return (volatile void *)(base + offset);
}

void pl011_initialise(uintptr_t base)
{
    mmio_write32(pl011_register(base, PL011_IMSC), 0);
    mmio_write32(pl011_register(base, PL011_LCR_H), PL011_LCR_H_8N1_FIFO);
    mmio_write32(pl011_register(base, PL011_CR), PL011_CR_ENABLE_TX);
}

void pl011_write(uintptr_t base, const char *text, size_t len_bytes)
{
    for (size_t i = 0; i < len_bytes; i++) {
        while ((mmio_read32(pl011_register(base, PL011_FR)) & PL011_FR_TX_FULL) != 0)
            continue;
        mmio_write32(pl011_register(base, PL011_DR), (uint8_t)text[i]);
    }
}
