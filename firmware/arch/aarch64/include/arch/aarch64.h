/* SPDX-License-Identifier: MIT
 *
 * Private to the aarch64 port and its drivers: system registers.
 */
#ifndef ARCH_AARCH64_H
#define ARCH_AARCH64_H

#include <stdint.h>

#define AARCH64_READ(name)                                                                         \
    ({                                                                                             \
        uint64_t aarch64_value;                                                                    \
        __asm__ volatile("mrs %0, " #name : "=r"(aarch64_value));                                  \
        aarch64_value;                                                                             \
    })

#define AARCH64_WRITE(name, value)                                                                 \
    __asm__ volatile("msr " #name ", %0" ::"r"((uint64_t)(value)) : "memory")

/* From trap.S. */
void aarch64_interrupt(void);

/* From the timer driver: the interrupt that its counter raises, and what to do about it. */
/* EL1 virtual timer, private peripheral interrupt 11 (Arm BSA 1.0, table 5) */
#define AARCH64_TIMER_INTERRUPT 27u
void aarch64_timer_interrupt(void);

#endif
