/* SPDX-License-Identifier: MIT
 *
 * The rest of the aarch64 port: page table entries, the first frame of a thread, RAM by the device
 * tree.
 */
#include <arch/aarch64.h>
#include <arch/board.h>
#include <arch/fdt.h>
#include <arch/machine.h>
#include <arch/port.h>

/* Arm ARM D8.3: descriptors of the 4 KiB granule. */
#define ENTRY_BLOCK 0x1ull
#define ENTRY_TABLE_OR_PAGE 0x3ull
#define ENTRY_TYPE_MASK 0x3ull
#define ENTRY_DEVICE (1ull << 2) /* index 1 of MAIR; index 0 is normal memory */
#define ENTRY_READ_ONLY (1ull << 7)
#define ENTRY_INNER_SHAREABLE (3ull << 8)
#define ENTRY_ACCESSED (1ull << 10)
#define ENTRY_NO_KERNEL_EXECUTE (1ull << 53)
#define ENTRY_NO_USER_EXECUTE (1ull << 54)
#define ENTRY_ADDRESS 0x0000fffffffff000ull

#define MAIR_NORMAL_WRITE_BACK_0_DEVICE_NGNRE_1 0x04ffull
/* 39 address bits, write-back inner-shareable walks, 4 KiB granule, upper half off, 40 physical
 * bits (D17.2.131). */
#define TCR_VALUE (25ull | 1ull << 8 | 1ull << 10 | 3ull << 12 | 1ull << 23 | 2ull << 32)
#define SCTLR_MMU_CACHES ((1ull << 0) | (1ull << 2) | (1ull << 12))
#define SCTLR_ALIGNMENT_CHECK (1ull << 1)

#define FLUSH_ALL_ABOVE_PAGES 64u
#define CACHE_LINE_MINIMUM 16u

const char *arch_name(void)
{
#ifdef __AARCH64EB__
    return "aarch64_be";
#else
    return "aarch64";
#endif
}

arch_mmu_entry arch_mmu_table_entry(uint64_t physical)
{
    return physical | ENTRY_TABLE_OR_PAGE;
}

arch_mmu_entry arch_mmu_leaf_entry(uint64_t physical, enum arch_mmu_attribute attribute, bool block)
{
    uint64_t entry = physical | (block ? ENTRY_BLOCK : ENTRY_TABLE_OR_PAGE) | ENTRY_ACCESSED |
                     ENTRY_INNER_SHAREABLE | ENTRY_NO_USER_EXECUTE;

    switch (attribute) {
    case ARCH_MMU_NONE:
        return 0;
    case ARCH_MMU_DATA:
        return entry | ENTRY_NO_KERNEL_EXECUTE;
    case ARCH_MMU_CONST:
        return entry | ENTRY_NO_KERNEL_EXECUTE | ENTRY_READ_ONLY;
    case ARCH_MMU_CODE:
        return entry | ENTRY_READ_ONLY;
    case ARCH_MMU_DEVICE:
        return entry | ENTRY_NO_KERNEL_EXECUTE | ENTRY_DEVICE;
    }
    return 0;
}

bool arch_mmu_entry_is_table(arch_mmu_entry entry)
{
    return (entry & ENTRY_TYPE_MASK) == ENTRY_TABLE_OR_PAGE;
}

uint64_t arch_mmu_entry_address(arch_mmu_entry entry)
{
    return entry & ENTRY_ADDRESS;
}

enum arch_mmu_attribute arch_mmu_entry_attribute(arch_mmu_entry entry)
{
    if ((entry & ENTRY_DEVICE) != 0)
        return ARCH_MMU_DEVICE;
    if ((entry & ENTRY_READ_ONLY) == 0)
        return ARCH_MMU_DATA;
    return (entry & ENTRY_NO_KERNEL_EXECUTE) != 0 ? ARCH_MMU_CONST : ARCH_MMU_CODE;
}

void arch_mmu_activate(arch_mmu_entry *root)
{
    uint64_t control = AARCH64_READ(sctlr_el1);

    AARCH64_WRITE(mair_el1, MAIR_NORMAL_WRITE_BACK_0_DEVICE_NGNRE_1);
    AARCH64_WRITE(tcr_el1, TCR_VALUE);
    AARCH64_WRITE(ttbr0_el1, (uintptr_t)root);
    __asm__ volatile("dsb sy; tlbi vmalle1; dsb sy; isb" ::: "memory");
    AARCH64_WRITE(sctlr_el1, (control | SCTLR_MMU_CACHES) & ~SCTLR_ALIGNMENT_CHECK);
    __asm__ volatile("isb" ::: "memory");
}

void arch_mmu_flush(uint64_t first, size_t page_count)
{
    __asm__ volatile("dsb ishst" ::: "memory");
    if (page_count > FLUSH_ALL_ABOVE_PAGES) {
        __asm__ volatile("tlbi vmalle1is" ::: "memory");
    } else {
        for (size_t i = 0; i < page_count; i++)
            __asm__ volatile("tlbi vaae1is, %0" ::"r"((first >> 12) + i) : "memory");
    }
    __asm__ volatile("dsb ish; isb" ::: "memory");
}

void arch_instruction_flush(uint64_t first, size_t len_bytes)
{
    for (uint64_t line = first; line < first + len_bytes; line += CACHE_LINE_MINIMUM)
        __asm__ volatile("dc cvau, %0" ::"r"(line) : "memory");
    __asm__ volatile("dsb ish; ic iallu; dsb ish; isb" ::: "memory");
}

/* As arch_context_switch() loads it: x29 and x30, then ten registers. */
uintptr_t arch_context_prepare(uintptr_t stack_top)
{
    uintptr_t *stack = (uintptr_t *)(stack_top & ~(uintptr_t)15) - 12;

    for (unsigned i = 0; i < 12; i++)
        stack[i] = 0;
    stack[1] = (uintptr_t)scheduler_thread_main;
    return (uintptr_t)stack;
}

/* QEMU leaves the device tree at the start of RAM, below an image that begins higher up. */
uint64_t arch_ram_size(uintptr_t boot_information)
{
    (void)boot_information;
    return fdt_memory_size((const uint8_t *)board.ram_base, board.ram_base);
}
