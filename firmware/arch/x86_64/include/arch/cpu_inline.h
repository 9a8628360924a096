/* SPDX-License-Identifier: MIT
 *
 * Inline parts of the x86_64 port: see kernel/arch.h and arch/port.h for what they mean.
 */
#ifndef ARCH_CPU_INLINE_H
#define ARCH_CPU_INLINE_H

#include <stdint.h>

static inline void arch_relax(void)
{
    __asm__ volatile("pause");
}

/* Total store order: stores are seen in order, so only the compiler must be held back. */
static inline void arch_device_publish_barrier(void)
{
    __asm__ volatile("" ::: "memory");
}

static inline void arch_device_consume_barrier(void)
{
    __asm__ volatile("" ::: "memory");
}

static inline void arch_interrupts_disable(void)
{
    __asm__ volatile("cli" ::: "memory");
}

static inline void arch_interrupts_enable(void)
{
    __asm__ volatile("sti" ::: "memory");
}

/* `sti` takes effect after the next instruction, so no interrupt is lost between the two. */
static inline void arch_wait_for_interrupt(void)
{
    __asm__ volatile("sti; hlt" ::: "memory");
}

static inline uint64_t arch_counter_read(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

static inline void arch_frame_step(uintptr_t frame, uintptr_t *caller, uintptr_t *return_address)
{
    *caller = ((const uintptr_t *)frame)[0];
    *return_address = ((const uintptr_t *)frame)[1];
}

#endif
