/* SPDX-License-Identifier: MIT
 *
 * Inline parts of the aarch64 port: see kernel/arch.h and arch/port.h for what they mean.
 */
#ifndef ARCH_CPU_INLINE_H
#define ARCH_CPU_INLINE_H

#include <stdint.h>

static inline void arch_relax(void)
{
    __asm__ volatile("yield");
}

static inline void arch_device_publish_barrier(void)
{
    __asm__ volatile("dmb osh" ::: "memory");
}

static inline void arch_device_consume_barrier(void)
{
    __asm__ volatile("dmb oshld" ::: "memory");
}

static inline void arch_interrupts_disable(void)
{
    __asm__ volatile("msr daifset, #2" ::: "memory");
}

static inline void arch_interrupts_enable(void)
{
    __asm__ volatile("msr daifclr, #2" ::: "memory");
}

static inline void arch_wait_for_interrupt(void)
{
    __asm__ volatile("wfi" ::: "memory");
}

/* No isb: a reading that is a few instructions early does no harm, and isb ends a translated block.
 */
static inline uint64_t arch_counter_read(void)
{
    uint64_t value;

    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(value));
    return value;
}

static inline void arch_frame_step(uintptr_t frame, uintptr_t *caller, uintptr_t *return_address)
{
    *caller = ((const uintptr_t *)frame)[0];
    *return_address = ((const uintptr_t *)frame)[1];
}

#endif
