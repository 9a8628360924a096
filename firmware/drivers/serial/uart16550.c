/* SPDX-License-Identifier: MIT
 *
 * 16550 UART, output only, polled. The line speed is left as it is: an emulator ignores it, and a
 * boot loader has set it.
 *
 *   offset  access  register (National PC16550D data sheet, section 8)
 *   0       W       THR, transmitter holding
 *   1       RW      IER, interrupt enable
 *   2       W       FCR, FIFO control
 *   3       RW      LCR, line control
 *   4       RW      MCR, modem control
 *   5       R       LSR, line status
 */
#include <drivers/serial/uart16550.h>

#define UART_THR 0u
#define UART_IER 1u
#define UART_FCR 2u
#define UART_FCR_ENABLE_AND_CLEAR 0x07u
#define UART_LCR 3u
#define UART_LCR_8N1 0x03u
#define UART_MCR 4u
#define UART_MCR_DTR_RTS 0x03u
#define UART_LSR 5u
#define UART_LSR_THR_EMPTY 0x20u

void uart16550_initialise(const struct uart16550 *uart)
{
    uart->write(uart->base + UART_IER, 0);
    uart->write(uart->base + UART_LCR, UART_LCR_8N1);
    uart->write(uart->base + UART_FCR, UART_FCR_ENABLE_AND_CLEAR);
    uart->write(uart->base + UART_MCR, UART_MCR_DTR_RTS);
}

void uart16550_write(const struct uart16550 *uart, const char *text, size_t len_bytes)
{
    for (size_t i = 0; i < len_bytes; i++) {
        while ((uart->read(uart->base + UART_LSR) & UART_LSR_THR_EMPTY) == 0)
            continue;
        uart->write(uart->base + UART_THR, (uint8_t)text[i]);
    }
}
