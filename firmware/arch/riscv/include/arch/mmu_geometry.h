/* SPDX-License-Identifier: MIT
 *
 * The shape of the page tables (Privileged Architecture 1.12, 4.3 and 4.4): Sv39 with 64-bit
 * registers, Sv32 with 32-bit ones.
 */
#ifndef ARCH_MMU_GEOMETRY_H
#define ARCH_MMU_GEOMETRY_H

#include <stdint.h>

typedef uintptr_t arch_mmu_entry;

#if __riscv_xlen == 64
#define ARCH_MMU_LEVELS 3u
#define ARCH_MMU_INDEX_BITS 9u
#define ARCH_MMU_ADDRESS_BITS 39u
#else
#define ARCH_MMU_LEVELS 2u
#define ARCH_MMU_INDEX_BITS 10u
#define ARCH_MMU_ADDRESS_BITS 32u
#endif

#endif
