/* SPDX-License-Identifier: MIT
 *
 * The one machine a guest runs on: all state of the machine layer in one place. The core below
 * kernel_main() keeps its state off struct mach_host instead; this is for arch/, boards/, drivers/
 * and the parts of core/ that exist once per CPU.
 */
#ifndef ARCH_MACHINE_H
#define ARCH_MACHINE_H

#include <arch/mmu_geometry.h>
#include <kernel/boot.h>
#include <kernel/interrupt.h>
#include <kernel/panic.h>
#include <kernel/pci.h>
#include <kernel/scheduler.h>

#define MACHINE_MSI_MAXIMUM 192u
#define MACHINE_PAGE_MAXIMUM 8192u

struct machine_interrupt {
    interrupt_handler handler; /* null: free */
    void *context;
};

/* Pages at the end of RAM, one bit a page. */
struct page_pool {
    uint8_t *start;
    size_t page_count;
    uint64_t used[MACHINE_PAGE_MAXIMUM / 64];
};

struct clock {
    uint64_t start;        /* counter at boot */
    uint64_t ns_per_tick;  /* 32.32 fixed point */
    uint64_t ticks_per_ns; /* 32.32 fixed point */
};

struct panic_state {
    const char *node_name;
    uint32_t node_id;
    uint64_t incarnation;
    panic_recorder recorder;
    void *recorder_context;
    panic_locator locator;
    void *locator_context;
    unsigned depth;
    size_t length;
    char text[2048];
};

struct machine {
    struct scheduler scheduler;
    struct clock clock;
    uint64_t ram_size;
    arch_mmu_entry *mmu_root; /* null before the MMU is on */
    struct page_pool pages;
    struct machine_interrupt interrupts[MACHINE_MSI_MAXIMUM];
    struct pci_device pci[PCI_SLOT_COUNT];
    uint64_t pci_next_address;
    struct panic_state panic;
    struct boot_configuration configuration;
};

extern struct machine the_machine;

static inline struct machine *machine(void)
{
    return &the_machine;
}

/* C entry, on the boot stack with interrupts masked: brings the machine up and runs kernel_main()
 * as the first thread. `boot_information` is what the boot loader left in a register. */
_Noreturn void machine_start(uintptr_t boot_information);

/* The steps of machine_start(). */
void page_pool_initialise(struct page_pool *pool, uint8_t *start, size_t page_count);
void mmu_initialise(struct machine *machine);
void clock_initialise(struct clock *clock);
void pci_initialise(struct machine *machine);

/* Serve MSI vector `vector`, or the CPU timer. Called by the port's interrupt entry, interrupts
 * masked. */
void machine_interrupt(unsigned vector);
void machine_timer_interrupt(void);

/* After that, before the entry returns to `address`: must it stop the thread there
 * (scheduler_must_preempt())? */
bool machine_must_preempt(uintptr_t address);

/* Node time to counter values, for timers that compare with the counter; rounded up. */
uint64_t clock_counter_at(uint64_t deadline_ns);

#endif
