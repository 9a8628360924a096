/* SPDX-License-Identifier: MIT
 *
 * What each CPU port provides to arch/generic and core/sched.c, beyond kernel/arch.h. To add a CPU:
 * write these, the entry code that ends in machine_start(), and <arch/cpu_inline.h>. Not for
 * drivers or servers.
 *
 * <arch/cpu_inline.h> holds, besides what kernel/arch.h declares,
 *   void arch_interrupts_disable(void), arch_interrupts_enable(void);
 *   void arch_wait_for_interrupt(void);   called with interrupts masked; returns at the latest
 *                                         when one is pending, with interrupts masked or not
 *   uint64_t arch_counter_read(void);     the raw clock
 */
#ifndef ARCH_PORT_H
#define ARCH_PORT_H

#include <arch/mmu_geometry.h>
#include <kernel/arch.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- Threads ---------------------------------------------------------------------------------- */

/* Save the callee-saved registers on the current stack and its pointer in `*saved`; go on from
 * `resumed`. */
void arch_context_switch(uintptr_t *saved, uintptr_t resumed);

/* Lay out a stack so that the first switch to the returned pointer calls scheduler_thread_main()
 * with an empty backtrace. */
uintptr_t arch_context_prepare(uintptr_t stack_top);

/* --- Interrupts ------------------------------------------------------------------------------- */

/* Bring up the exception vectors; before this a fault is silent. Runs first, before the MMU. */
void arch_exceptions_initialise(void);

/* Bring up the interrupt controller with everything masked but the CPU timer. */
void arch_interrupts_initialise(void);

/* Vectors for MSIs are 0 .. arch_msi_count() - 1. */
unsigned arch_msi_count(void);
void arch_msi_enable(unsigned vector, uint64_t *address, uint32_t *data);
void arch_msi_disable(unsigned vector);

/* --- Clock and timer -------------------------------------------------------------------------- */

/* Frequency of arch_counter_read() in Hz; measures it where no register tells. Interrupts work, are
 * masked. */
uint64_t arch_counter_frequency(void);

/* Raise the timer interrupt once, when the node clock reaches `deadline_ns` or somewhat earlier.
 * Replaces what was armed. */
void arch_timer_arm(uint64_t deadline_ns);

/* --- MMU: tables of the shape that <arch/mmu_geometry.h> says --------------------------------- */

arch_mmu_entry arch_mmu_table_entry(uint64_t physical);
arch_mmu_entry arch_mmu_leaf_entry(uint64_t physical, enum arch_mmu_attribute attribute,
                                   bool block);
/* What an entry says; never asked about 0, which is the absent entry on every CPU. */
bool arch_mmu_entry_is_table(arch_mmu_entry entry); /* of an entry above the last level */
uint64_t arch_mmu_entry_address(arch_mmu_entry entry);
enum arch_mmu_attribute arch_mmu_entry_attribute(arch_mmu_entry entry); /* of a leaf */

void arch_mmu_activate(arch_mmu_entry *root); /* turn translation on with the finished tables */
/* forget cached translations of these pages */
void arch_mmu_flush(uint64_t first, size_t page_count);
void arch_instruction_flush(uint64_t first, size_t len_bytes); /* fetch what was written */

/* --- Boot and panic --------------------------------------------------------------------------- */

/* Size of the RAM that starts at the board's RAM base, from what the boot loader left; 0: it left
 * nothing usable. */
uint64_t arch_ram_size(uintptr_t boot_information);

/* The memory of loadable servers and what holds for it: the RAM between the image and the boot area.
 */
struct server_platform;
void arch_server_platform(struct server_platform *platform);

/* One step up a chain of frame pointers: the caller's frame pointer and the return address of the
 * frame at `frame`. */
static inline void arch_frame_step(uintptr_t frame, uintptr_t *caller, uintptr_t *return_address);

#include <arch/cpu_inline.h>

#endif
