/* SPDX-License-Identifier: MIT
 *
 * The rest of the x86_64 port: page table entries, the first frame of a thread, RAM by the PVH
 * start info.
 */
#include <abi/boot.h>
#include <arch/board.h>
#include <arch/machine.h>
#include <arch/port.h>

/* Intel SDM 3A, 4.5: entries of four-level paging. */
#define ENTRY_PRESENT (1ull << 0)
#define ENTRY_WRITE (1ull << 1)
#define ENTRY_UNCACHED (1ull << 4)
#define ENTRY_BLOCK (1ull << 7)
#define ENTRY_NO_EXECUTE (1ull << 63)
#define ENTRY_ADDRESS 0x000ffffffffff000ull

#define FLUSH_ALL_ABOVE_PAGES 64u

/* Xen public/arch-x86/hvm/start_info.h. */
#define START_INFO_MAGIC 0x336ec578u
#define MEMORY_TYPE_RAM 1u

struct start_info {
    uint32_t magic;
    uint32_t version; /* 1 or more: has a memory map */
    uint32_t flags;
    uint32_t module_count;
    uint64_t modules;
    uint64_t command_line;
    uint64_t acpi_root;
    uint64_t memory_map;
    uint32_t memory_map_count;
    uint32_t reserved;
};

struct memory_map_entry {
    uint64_t start;
    uint64_t size_bytes;
    uint32_t type;
    uint32_t reserved;
};

const char *arch_name(void)
{
    return "x86_64";
}

arch_mmu_entry arch_mmu_table_entry(uint64_t physical)
{
    return physical | ENTRY_PRESENT | ENTRY_WRITE;
}

arch_mmu_entry arch_mmu_leaf_entry(uint64_t physical, enum arch_mmu_attribute attribute, bool block)
{
    uint64_t entry = physical | ENTRY_PRESENT | (block ? ENTRY_BLOCK : 0);

    switch (attribute) {
    case ARCH_MMU_NONE:
        return 0;
    case ARCH_MMU_DATA:
        return entry | ENTRY_WRITE | ENTRY_NO_EXECUTE;
    case ARCH_MMU_CONST:
        return entry | ENTRY_NO_EXECUTE;
    case ARCH_MMU_CODE:
        return entry;
    case ARCH_MMU_DEVICE:
        return entry | ENTRY_WRITE | ENTRY_NO_EXECUTE | ENTRY_UNCACHED;
    }
    return 0;
}

bool arch_mmu_entry_is_table(arch_mmu_entry entry)
{
    return (entry & ENTRY_BLOCK) == 0;
}

uint64_t arch_mmu_entry_address(arch_mmu_entry entry)
{
    return entry & ENTRY_ADDRESS;
}

enum arch_mmu_attribute arch_mmu_entry_attribute(arch_mmu_entry entry)
{
    if ((entry & ENTRY_UNCACHED) != 0)
        return ARCH_MMU_DEVICE;
    if ((entry & ENTRY_WRITE) != 0)
        return ARCH_MMU_DATA;
    return (entry & ENTRY_NO_EXECUTE) != 0 ? ARCH_MMU_CONST : ARCH_MMU_CODE;
}

/* The shared walk has three levels; above them a table with one entry covers all of it. */
void arch_mmu_activate(arch_mmu_entry *root)
{
    static uint64_t top[512] __attribute__((aligned(4096)));

    top[0] = arch_mmu_table_entry((uintptr_t)root);
    __asm__ volatile("movq %0, %%cr3" ::"r"(top) : "memory");
}

static void flush_all(void)
{
    uint64_t root;

    __asm__ volatile("movq %%cr3, %0; movq %0, %%cr3" : "=r"(root)::"memory");
}

void arch_mmu_flush(uint64_t first, size_t page_count)
{
    if (page_count > FLUSH_ALL_ABOVE_PAGES) {
        flush_all();
        return;
    }
    for (size_t i = 0; i < page_count; i++)
        __asm__ volatile("invlpg (%0)" ::"r"(first + i * ARCH_PAGE_SIZE) : "memory");
}

/* Instruction fetches are coherent with stores. */
void arch_instruction_flush(uint64_t first, size_t len_bytes)
{
    (void)first;
    (void)len_bytes;
}

/* As arch_context_switch() pops it: six registers, then where to go. The null above is the end of
 * the backtrace. */
uintptr_t arch_context_prepare(uintptr_t stack_top)
{
    uintptr_t *stack = (uintptr_t *)(stack_top & ~(uintptr_t)15);

    *--stack = 0;
    *--stack = (uintptr_t)scheduler_thread_main;
    for (unsigned i = 0; i < 6; i++)
        *--stack = 0;
    return (uintptr_t)stack;
}

/* The end of the RAM range that holds the boot area, counted from 0 (below lie only the holes of
 * the first MiB). */
uint64_t arch_ram_size(uintptr_t boot_information)
{
    const struct start_info *info = (const struct start_info *)boot_information;
    const struct memory_map_entry *entries;

    if (info->magic != START_INFO_MAGIC || info->version < 1)
        return 0;
    entries = (const struct memory_map_entry *)(uintptr_t)info->memory_map;
    for (uint32_t i = 0; i < info->memory_map_count; i++) {
        uint64_t end = entries[i].start + entries[i].size_bytes;

        if (entries[i].type == MEMORY_TYPE_RAM && entries[i].start <= BOOT_AREA_OFFSET &&
            end > BOOT_AREA_OFFSET)
            return end;
    }
    return 0;
}
