/* SPDX-License-Identifier: MIT
 *
 * The inline part of kernel/arch.h on the machine you sit at: no device is ever mapped, so the
 * device barriers order memory.
 */
#ifndef ARCH_CPU_INLINE_H
#define ARCH_CPU_INLINE_H

static inline void arch_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
#endif
}

static inline void arch_device_publish_barrier(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static inline void arch_device_consume_barrier(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

#endif
