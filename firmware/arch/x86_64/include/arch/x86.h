/* SPDX-License-Identifier: MIT
 *
 * Private to the x86_64 port and its drivers: port I/O, interrupt vectors.
 */
#ifndef ARCH_X86_H
#define ARCH_X86_H

#include <stdint.h>

#define X86_VECTOR_TIMER 0x20u
#define X86_VECTOR_MSI_FIRST 0x30u
#define X86_VECTOR_MSI_COUNT 192u /* up to 0xef */
#define X86_VECTOR_SPURIOUS 0xffu

static inline uint8_t x86_port_read8(uintptr_t port)
{
    uint8_t value;

    __asm__ volatile("inb %w1, %b0" : "=a"(value) : "Nd"((uint16_t)port));
    return value;
}

static inline void x86_port_write8(uintptr_t port, uint8_t value)
{
    __asm__ volatile("outb %b0, %w1" ::"a"(value), "Nd"((uint16_t)port));
}

/* From trap.S. */
void x86_interrupt(uint64_t vector);

#endif
