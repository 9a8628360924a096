/* SPDX-License-Identifier: MIT
 *
 * The shape of the page tables: 4 KiB pages, tables of one page. This is the one of every 64-bit CPU
 * here; a port with another has a file of this name.
 */
#ifndef ARCH_MMU_GEOMETRY_H
#define ARCH_MMU_GEOMETRY_H

#include <stdint.h>

typedef uint64_t arch_mmu_entry;

#define ARCH_MMU_LEVELS 3u     /* blocks lie in the level before the last */
#define ARCH_MMU_INDEX_BITS 9u /* of an address, for each level */
#define ARCH_MMU_ADDRESS_BITS 39u

#endif
