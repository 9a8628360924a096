/* SPDX-License-Identifier: MIT
 *
 * The local APIC as interrupt controller: MSIs come in as vectors, every interrupt is ended by a
 * write. See lapic.h.
 */
#include <arch/machine.h>
#include <arch/port.h>
#include <arch/x86.h>
#include <drivers/irq/lapic.h>

/* Intel 8259A, operation command word 1: all ones mask every line. */
#define PIC_MASTER_MASK 0x21u
#define PIC_SLAVE_MASK 0xa1u
#define MSI_ADDRESS 0xfee00000u /* Intel SDM 3A, 11.11.1; destination id in bits 19 to 12 */

void arch_interrupts_initialise(void)
{
    x86_port_write8(PIC_MASTER_MASK, 0xff);
    x86_port_write8(PIC_SLAVE_MASK, 0xff);
    lapic_write(LAPIC_TASK_PRIORITY, 0);
    lapic_write(LAPIC_SPURIOUS, LAPIC_SPURIOUS_ENABLE | X86_VECTOR_SPURIOUS);
    lapic_write(LAPIC_TIMER, X86_VECTOR_TIMER);
    lapic_write(LAPIC_TIMER_DIVIDE, LAPIC_TIMER_DIVIDE_1);
}

unsigned arch_msi_count(void)
{
    return X86_VECTOR_MSI_COUNT;
}

/* Every vector is always open: what keeps one quiet is that no message names it. */
void arch_msi_enable(unsigned vector, uint64_t *address, uint32_t *data)
{
    *address = MSI_ADDRESS | (lapic_read(LAPIC_ID) >> 24) << 12;
    *data = X86_VECTOR_MSI_FIRST + vector;
}

void arch_msi_disable(unsigned vector)
{
    (void)vector;
}

void x86_interrupt(uint64_t vector)
{
    if (vector == X86_VECTOR_SPURIOUS)
        return; /* has no end (Intel SDM 3A, 11.9) */
    if (vector == X86_VECTOR_TIMER)
        machine_timer_interrupt();
    else if (vector >= X86_VECTOR_MSI_FIRST)
        machine_interrupt((unsigned)vector - X86_VECTOR_MSI_FIRST);
    lapic_write(LAPIC_END_OF_INTERRUPT, 0);
}
