/* SPDX-License-Identifier: MIT
 *
 * Bring-up of a guest, from the first C function to kernel_main(): console, RAM, MMU, banner, boot
 * count, interrupts, clock, boot page, PCI, first thread. The order matters: each step may panic,
 * and a panic wants as much as possible to work.
 */
#include <arch/board.h>
#include <arch/image.h>
#include <arch/machine.h>
#include <arch/port.h>
#include <kernel/console.h>
#include <kernel/string.h>

#define POOL_SHARE 8u            /* of RAM: one in this many bytes is for stacks and page tables */
#define POOL_ALIGNMENT 0x200000u /* so that the heap's end stays a whole block */
#define PAGE_COLOURS 256u        /* of the emulator's look-up of translations; a power of two */

struct machine the_machine;

/* RAM must hold the boot area, and the image must end below it. */
static void memory_initialise(struct machine *machine, uintptr_t boot_information)
{
    uint8_t *ram = arch_ram_base();
    size_t pool_size;

    machine->ram_size = arch_ram_size(boot_information);
    if (machine->ram_size < BOOT_RAM_MINIMUM)
        panic("%llu bytes of RAM found, %u needed", (unsigned long long)machine->ram_size,
              BOOT_RAM_MINIMUM);
    panic_unless(image_end <= ram + BOOT_AREA_OFFSET);
    machine->ram_size &= ~(uint64_t)(POOL_ALIGNMENT - 1);
    pool_size = machine->ram_size / POOL_SHARE & ~(size_t)(POOL_ALIGNMENT - 1);
    if (pool_size > (size_t)MACHINE_PAGE_MAXIMUM * ARCH_PAGE_SIZE)
        pool_size = (size_t)MACHINE_PAGE_MAXIMUM * ARCH_PAGE_SIZE;
    page_pool_initialise(&machine->pages, ram + machine->ram_size - pool_size,
                         pool_size / ARCH_PAGE_SIZE);
}

static void configuration_initialise(struct machine *machine, uint32_t boot_count)
{
    struct boot_configuration *configuration = &machine->configuration;
    struct boot_page page;
    const char *reason;

    memcpy(&page, arch_ram_base() + BOOT_AREA_OFFSET, sizeof(page));
    if (boot_page_parse(&page, configuration, &reason) != ERROR_NONE)
        panic("%s", reason);
    configuration->boot_count = boot_count;
    configuration->incarnation = (uint64_t)configuration->launch << 32 | boot_count;
    panic_set_node(configuration->node_name, configuration->node_id, configuration->incarnation);
    scheduler_set_idle_polls(&machine->scheduler, configuration->idle == BOOT_IDLE_POLL);
    console_printf("node %s id %u incarnation %llx links %u\n", configuration->node_name,
                   configuration->node_id, (unsigned long long)configuration->incarnation,
                   configuration->link_count);
    if (configuration->unknown_keys != 0)
        console_printf("boot page: %u unknown keys ignored\n", configuration->unknown_keys);
}

static void run_kernel_main(void *argument)
{
    kernel_main(argument);
    arch_power_off();
}

_Noreturn void machine_start(uintptr_t boot_information)
{
    struct machine *self = machine();
    uint32_t boot_count;

    arch_exceptions_initialise();
    board.console_initialise();
    memory_initialise(self, boot_information);
    mmu_initialise(self);
    console_printf("mnlab firmware %s %s, %u MiB\n", arch_name(), board_name(),
                   (unsigned)(self->ram_size >> 20));
    boot_count =
        boot_count_raise((struct boot_count *)(void *)(arch_ram_base() + BOOT_COUNT_OFFSET));
    arch_interrupts_initialise();
    clock_initialise(&self->clock);
    configuration_initialise(self, boot_count);
    pci_initialise(self);
    scheduler_start(&self->scheduler, run_kernel_main, &self->configuration);
}

/* The emulator keeps one translation for all pages whose numbers have the same low eight bits.
 * Cables, the image and stacks begin at 0 there; what the heap has first is used together with all
 * of them, so it begins where the image ends. */
static size_t heap_colour_bytes(uintptr_t heap)
{
    uintptr_t distance = (uintptr_t)image_end + ARCH_PAGE_SIZE - 1 - heap;

    return distance / ARCH_PAGE_SIZE % PAGE_COLOURS * ARCH_PAGE_SIZE;
}

void arch_memory_range(uint8_t **start, size_t *size_bytes)
{
    *start = arch_ram_base() + BOOT_HEAP_OFFSET;
    *start += heap_colour_bytes((uintptr_t)*start);
    *size_bytes = (size_t)(machine()->pages.start - *start);
}

uint8_t *arch_ram_base(void)
{
    return (uint8_t *)board.ram_base;
}

const char *board_name(void)
{
    return board.name;
}

void arch_console_write(const char *text, size_t len_bytes)
{
    board.console_write(text, len_bytes);
}

_Noreturn void arch_power_off(void)
{
    arch_interrupts_disable();
    board.power_off();
    for (;;)
        arch_relax();
}

_Noreturn void arch_reset(void)
{
    arch_interrupts_disable();
    board.reset();
    for (;;)
        arch_relax();
}
