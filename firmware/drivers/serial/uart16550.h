/* SPDX-License-Identifier: MIT
 *
 * 16550 UART, output only.
 */
#ifndef DRIVERS_UART16550_H
#define DRIVERS_UART16550_H

#include <stddef.h>
#include <stdint.h>

struct uart16550 {
    uintptr_t base; /* of the eight byte-wide registers, as the accessors take it */
    uint8_t (*read)(uintptr_t address);
    void (*write)(uintptr_t address, uint8_t value);
};

void uart16550_initialise(const struct uart16550 *uart);
void uart16550_write(const struct uart16550 *uart, const char *text, size_t len_bytes);

#endif
