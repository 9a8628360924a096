/* SPDX-License-Identifier: MIT
 *
 * Device registers, by width. Little-endian devices only. These keep their order among themselves;
 * order against ordinary memory with arch_device_publish_barrier() and
 * arch_device_consume_barrier() of kernel/arch.h.
 */
#ifndef KERNEL_MMIO_H
#define KERNEL_MMIO_H

#include <kernel/little_endian.h>
#include <stdint.h>

#define MMIO_ACCESSORS(width)                                                                      \
    static inline uint##width##_t mmio_read##width(const volatile void *address)                   \
    {                                                                                              \
        return LITTLE_ENDIAN_SWAP##width(*(const volatile uint##width##_t *)address);              \
    }                                                                                              \
    static inline void mmio_write##width(volatile void *address, uint##width##_t value)            \
    {                                                                                              \
        *(volatile uint##width##_t *)address = LITTLE_ENDIAN_SWAP##width(value);                   \
    }

MMIO_ACCESSORS(8)
MMIO_ACCESSORS(16)
MMIO_ACCESSORS(32)

#undef MMIO_ACCESSORS

#endif
