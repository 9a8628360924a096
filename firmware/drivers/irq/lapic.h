/* SPDX-License-Identifier: MIT
 *
 * Registers of the local APIC in xAPIC mode (Intel SDM 3A, table 11-1), shared by its two drivers:
 * irq/lapic.c and timer/lapic_timer.c.
 *
 *   offset  access  register
 *   0x020   RW      local APIC id, in the top byte
 *   0x080   RW      task priority
 *   0x0b0   W       end of interrupt
 *   0x0f0   RW      spurious interrupt vector
 *   0x320   RW      timer entry of the local vector table
 *   0x380   RW      timer initial count: writing starts the timer
 *   0x390   R       timer current count
 *   0x3e0   RW      timer divide configuration
 */
#ifndef DRIVERS_LAPIC_H
#define DRIVERS_LAPIC_H

#include <kernel/mmio.h>

#define LAPIC_BASE 0xfee00000u

#define LAPIC_ID 0x020u
#define LAPIC_TASK_PRIORITY 0x080u
#define LAPIC_END_OF_INTERRUPT 0x0b0u
#define LAPIC_SPURIOUS 0x0f0u
#define LAPIC_SPURIOUS_ENABLE 0x100u
#define LAPIC_TIMER 0x320u
#define LAPIC_TIMER_INITIAL 0x380u
#define LAPIC_TIMER_CURRENT 0x390u
#define LAPIC_TIMER_DIVIDE 0x3e0u
#define LAPIC_TIMER_DIVIDE_1 0xbu

struct lapic_timer_config {
    uint64_t frequency_hz; /* of the timer, undivided */
};

/* Defined by the board. */
extern const struct lapic_timer_config board_lapic_timer;

static inline uint32_t lapic_read(unsigned offset)
{
    return mmio_read32((const volatile void *)(uintptr_t)(LAPIC_BASE + offset));
}

static inline void lapic_write(unsigned offset, uint32_t value)
{
    mmio_write32((volatile void *)(uintptr_t)(LAPIC_BASE + offset), value);
}

#endif
