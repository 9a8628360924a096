/* SPDX-License-Identifier: MIT
 *
 * The one thing asked of a flattened device tree: how much RAM there is. The rest a board knows.
 */
#ifndef ARCH_FDT_H
#define ARCH_FDT_H

#include <stdint.h>

/* Size of the memory range that starts at `ram_base`, or 0: no device tree at `blob`, or none that
 * names such a range. The boot loader's tree is trusted to be well formed. */
uint64_t fdt_memory_size(const uint8_t *blob, uint64_t ram_base);

#endif
