/* SPDX-License-Identifier: MIT
 *
 * The rest of the RISC-V port: page table entries (Sv39, or Sv32 with 32-bit registers), the first frame of a thread, RAM by the
 * device tree.
 */
#include <arch/board.h>
#include <arch/fdt.h>
#include <arch/machine.h>
#include <arch/port.h>
#include <arch/riscv.h>

/* Privileged Architecture 1.12, 4.4.1 and 4.3.1: Sv39 and Sv32 entries, which differ in width alone. What memory is, ordinary or device, is fixed
 * by the hardware. */
#define ENTRY_VALID ((arch_mmu_entry)1 << 0)
#define ENTRY_READ ((arch_mmu_entry)1 << 1)
#define ENTRY_WRITE ((arch_mmu_entry)1 << 2)
#define ENTRY_EXECUTE ((arch_mmu_entry)1 << 3)
#define ENTRY_GLOBAL ((arch_mmu_entry)1 << 5)
#define ENTRY_ACCESSED ((arch_mmu_entry)1 << 6)
#define ENTRY_DIRTY ((arch_mmu_entry)1 << 7)
#define ENTRY_SOFTWARE_DEVICE                                                                      \
    ((arch_mmu_entry)1 << 8) /* ignored by the hardware: how it was asked for */
#define ENTRY_ADDRESS_SHIFT 10u

#if __riscv_xlen == 64
#define ENTRY_FRAME_BITS 44u
#define SATP_MODE (8ull << 60) /* Sv39 */
#else
#define ENTRY_FRAME_BITS 22u
#define SATP_MODE (1u << 31) /* Sv32 */
#endif
#define ENTRY_FRAME_MASK (((arch_mmu_entry)1 << ENTRY_FRAME_BITS) - 1)

#define FLUSH_ALL_ABOVE_PAGES 64u

const char *arch_name(void)
{
    return __riscv_xlen == 64 ? "riscv64" : "riscv32";
}

static arch_mmu_entry entry_at(uint64_t physical)
{
    return (arch_mmu_entry)(physical >> 12) << ENTRY_ADDRESS_SHIFT | ENTRY_VALID;
}

arch_mmu_entry arch_mmu_table_entry(uint64_t physical)
{
    return entry_at(physical);
}

/* A leaf above the last level is a block by its place alone. */
arch_mmu_entry arch_mmu_leaf_entry(uint64_t physical, enum arch_mmu_attribute attribute, bool block)
{
    arch_mmu_entry entry = entry_at(physical) | ENTRY_READ | ENTRY_GLOBAL | ENTRY_ACCESSED;

    (void)block;
    switch (attribute) {
    case ARCH_MMU_NONE:
        return 0;
    case ARCH_MMU_DATA:
        return entry | ENTRY_WRITE | ENTRY_DIRTY;
    case ARCH_MMU_CONST:
        return entry;
    case ARCH_MMU_CODE:
        return entry | ENTRY_EXECUTE;
    case ARCH_MMU_DEVICE:
        return entry | ENTRY_WRITE | ENTRY_DIRTY | ENTRY_SOFTWARE_DEVICE;
    }
    return 0;
}

bool arch_mmu_entry_is_table(arch_mmu_entry entry)
{
    return (entry & (ENTRY_READ | ENTRY_WRITE | ENTRY_EXECUTE)) == 0;
}

uint64_t arch_mmu_entry_address(arch_mmu_entry entry)
{
    return (uint64_t)(entry >> ENTRY_ADDRESS_SHIFT & ENTRY_FRAME_MASK) << 12;
}

enum arch_mmu_attribute arch_mmu_entry_attribute(arch_mmu_entry entry)
{
    if ((entry & ENTRY_SOFTWARE_DEVICE) != 0)
        return ARCH_MMU_DEVICE;
    if ((entry & ENTRY_WRITE) != 0)
        return ARCH_MMU_DATA;
    return (entry & ENTRY_EXECUTE) != 0 ? ARCH_MMU_CODE : ARCH_MMU_CONST;
}

void arch_mmu_activate(arch_mmu_entry *root)
{
    __asm__ volatile("sfence.vma" ::: "memory");
    RISCV_CSR_WRITE(CSR_SATP, SATP_MODE | (uintptr_t)root >> 12);
    __asm__ volatile("sfence.vma" ::: "memory");
}

void arch_mmu_flush(uint64_t first, size_t page_count)
{
    if (page_count > FLUSH_ALL_ABOVE_PAGES) {
        __asm__ volatile("sfence.vma" ::: "memory");
        return;
    }
    for (size_t i = 0; i < page_count; i++)
        __asm__ volatile("sfence.vma %0" ::"r"((uintptr_t)first + i * ARCH_PAGE_SIZE) : "memory");
}

void arch_instruction_flush(uint64_t first, size_t len_bytes)
{
    (void)first;
    (void)len_bytes;
    __asm__ volatile("fence.i" ::: "memory");
}

/* As arch_context_switch() loads it: ra, then s0 to s11. */
uintptr_t arch_context_prepare(uintptr_t stack_top)
{
    uintptr_t *stack = (uintptr_t *)(stack_top & ~(uintptr_t)15) - 16;

    for (unsigned i = 0; i < 16; i++)
        stack[i] = 0;
    stack[0] = (uintptr_t)scheduler_thread_main;
    return (uintptr_t)stack;
}

/* The boot loader passes the address of its device tree. */
uint64_t arch_ram_size(uintptr_t boot_information)
{
    return fdt_memory_size((const uint8_t *)boot_information, board.ram_base);
}
