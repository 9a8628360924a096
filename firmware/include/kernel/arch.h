/* SPDX-License-Identifier: MIT
 *
 * What the portable core may ask of the CPU and the machine it runs on, besides threads and the
 * clock (kernel/thread.h), interrupts (kernel/interrupt.h) and PCI (kernel/pci.h). Every function
 * exists on every guest architecture with the same meaning.
 *
 * Memory of a guest: identity mapped, so a pointer is a physical address and may be given to a
 * device. Page 0 and the page under each stack are unmapped; text is read-only; data is not
 * executable.
 */
#ifndef KERNEL_ARCH_H
#define KERNEL_ARCH_H

#include <kernel/error.h>
#include <stddef.h>
#include <stdint.h>

#define ARCH_PAGE_SIZE 4096u

enum arch_mmu_attribute {
    ARCH_MMU_NONE,   /* unmapped: any access ends in a panic */
    ARCH_MMU_DATA,   /* normal cacheable memory, read and write, not executable */
    ARCH_MMU_CONST,  /* normal cacheable memory, read only, not executable */
    ARCH_MMU_CODE,   /* normal cacheable memory, read only, executable */
    ARCH_MMU_DEVICE, /* device memory, read and write, not executable */
};

/* Map the pages that hold physical addresses [physical, physical + len_bytes) onto themselves,
 * replacing what was mapped there. Called from threads only. Returns 0, ERROR_INVALID (beyond what
 * the page tables reach, at least 4 GiB, or empty) or ERROR_NO_MEMORY (no page left for a table). After ARCH_MMU_CODE the caller may
 * jump there: instruction fetches see what was written before. */
MUST_CHECK int arch_mmu_map(uint64_t physical, size_t len_bytes, enum arch_mmu_attribute attribute);

/* The heap area: RAM from BOOT_HEAP_OFFSET, or up to 1 MiB above, to the pages kept for stacks and page tables. Constant
 * after boot, mapped as ARCH_MMU_DATA, contents undefined; for the heap allocator, which owns all
 * of it. */
void arch_memory_range(uint8_t **start, size_t *size_bytes);

/* First byte of RAM; the offsets of abi/boot.h count from here. */
uint8_t *arch_ram_base(void);

/* Pages out of the end of RAM, for stacks, page tables and the like: contiguous, page aligned,
 * contents undefined. Returns null when no such run is left. Called from threads only. */
void *page_allocate(size_t page_count);
void page_free(void *pages, size_t page_count);

/* "x86_64", "aarch64", "aarch64_be", "riscv64" or "riscv32"; the machine's name. */
const char *arch_name(void);
const char *board_name(void);

/* Send bytes to the console UART; waits for room. Any context. */
void arch_console_write(const char *text, size_t len_bytes);

/* Tell the CPU that this is a spin loop. */
static inline void arch_relax(void);

/* Order every earlier access to memory before every later access to a device (a doorbell after the
 * words it announces). */
static inline void arch_device_publish_barrier(void);

/* Order every earlier access to a device before every later access to memory (data after the
 * register that announced it). */
static inline void arch_device_consume_barrier(void);

/* Power the machine off: QEMU ends with exit status 0. */
_Noreturn void arch_power_off(void);

/* Reset the machine: the firmware starts again, RAM outside the image keeps its contents. */
_Noreturn void arch_reset(void);

#include <arch/cpu_inline.h>

#endif
