/* SPDX-License-Identifier: MIT
 *
 * Who serves which MSI vector. The port's controller driver knows what a vector is; here it is an
 * index.
 */
#include <arch/machine.h>
#include <arch/port.h>

/* The handler is in place before the controller lets the first message through. */
int interrupt_allocate_msi(interrupt_handler handler, void *context,
                           struct interrupt_message *message)
{
    unsigned count = arch_msi_count();

    panic_unless(handler != NULL && count <= MACHINE_MSI_MAXIMUM);
    for (unsigned vector = 0; vector < count; vector++) {
        struct machine_interrupt *interrupt = &machine()->interrupts[vector];

        if (interrupt->handler != NULL)
            continue;
        interrupt->context = context;
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        interrupt->handler = handler;
        arch_msi_enable(vector, &message->address, &message->data);
        return (int)vector;
    }
    return ERROR_FULL;
}

/* A message already on its way finds no handler and is dropped. */
void interrupt_free_msi(int vector)
{
    panic_unless(vector >= 0 && (unsigned)vector < arch_msi_count());
    arch_msi_disable((unsigned)vector);
    machine()->interrupts[vector].handler = NULL;
}

void interrupt_forget(uintptr_t start, size_t len_bytes)
{
    for (unsigned vector = 0; vector < arch_msi_count(); vector++) {
        interrupt_handler handler = machine()->interrupts[vector].handler;

        if (handler != NULL && (uintptr_t)handler - start < len_bytes)
            interrupt_free_msi((int)vector);
    }
}

bool machine_must_preempt(uintptr_t address)
{
    return scheduler_must_preempt(&machine()->scheduler, address);
}

void machine_interrupt(unsigned vector)
{
    struct scheduler *scheduler = &machine()->scheduler;
    const struct machine_interrupt *interrupt = &machine()->interrupts[vector];

    if (vector >= MACHINE_MSI_MAXIMUM || interrupt->handler == NULL)
        return;
    scheduler->in_interrupt = true;
    interrupt->handler(interrupt->context);
    scheduler->in_interrupt = false;
}

void machine_timer_interrupt(void)
{
    scheduler_timer_interrupt(&machine()->scheduler);
}
