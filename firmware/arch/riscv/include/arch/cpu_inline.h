/* SPDX-License-Identifier: MIT
 *
 * Inline parts of the RISC-V port: see kernel/arch.h and arch/port.h for what they mean.
 */
#ifndef ARCH_CPU_INLINE_H
#define ARCH_CPU_INLINE_H

#include <stdint.h>

/* Privileged Architecture 1.12, 4.1.1: supervisor interrupt enable, bit 1. */
#define RISCV_SSTATUS_SIE 2

/* The Zihintpause hint by its encoding (fence w,0), so that no extension flag is needed. */
static inline void arch_relax(void)
{
    __asm__ volatile(".word 0x0100000f");
}

static inline void arch_device_publish_barrier(void)
{
    __asm__ volatile("fence rw, iorw" ::: "memory");
}

static inline void arch_device_consume_barrier(void)
{
    __asm__ volatile("fence ir, r" ::: "memory");
}

static inline void arch_interrupts_disable(void)
{
    __asm__ volatile("csrci sstatus, %0" ::"i"(RISCV_SSTATUS_SIE) : "memory");
}

static inline void arch_interrupts_enable(void)
{
    __asm__ volatile("csrsi sstatus, %0" ::"i"(RISCV_SSTATUS_SIE) : "memory");
}

static inline void arch_wait_for_interrupt(void)
{
    __asm__ volatile("wfi" ::: "memory");
}

static inline uint64_t arch_counter_read(void)
{
#if __riscv_xlen == 64
    uint64_t value;

    __asm__ volatile("rdtime %0" : "=r"(value));
    return value;
#else
    uint32_t upper, lower, upper_before;

    do {
        __asm__ volatile("rdtimeh %0" : "=r"(upper_before));
        __asm__ volatile("rdtime %0" : "=r"(lower));
        __asm__ volatile("rdtimeh %0" : "=r"(upper));
    } while (upper != upper_before);
    return (uint64_t)upper << 32 | lower;
#endif
}

static inline void arch_frame_step(uintptr_t frame, uintptr_t *caller, uintptr_t *return_address)
{
    *caller = ((const uintptr_t *)frame)[-2];
    *return_address = ((const uintptr_t *)frame)[-1];
}

#endif
