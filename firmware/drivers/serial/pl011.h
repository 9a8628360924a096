/* SPDX-License-Identifier: MIT
 *
 * ARM PL011 UART, output only.
 */
#ifndef DRIVERS_PL011_H
#define DRIVERS_PL011_H

#include <stddef.h>
#include <stdint.h>

void pl011_initialise(uintptr_t base);
void pl011_write(uintptr_t base, const char *text, size_t len_bytes);

#endif
