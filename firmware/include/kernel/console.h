/* SPDX-License-Identifier: MIT
 *
 * The serial console: plain text, for what must be seen when everything else is broken. Statistics
 * and test results are messages to node 0, not console lines. Any context; waits for the UART, so
 * never on a hot path.
 */
#ifndef KERNEL_CONSOLE_H
#define KERNEL_CONSOLE_H

#include <stdarg.h>
#include <stddef.h>

void console_write(const char *text, size_t len_bytes);

/* Formats as kernel/format.h says; at most 255 bytes of output a call, the rest is cut. Nothing is
 * added: a line ends where the format has a newline. */
void console_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
