/* SPDX-License-Identifier: MIT
 *
 * The virtual timer of the Arm generic timer (Arm ARM D11.2): one-shot interrupts by comparing with
 * the counter that is the node clock.
 */
#include <arch/aarch64.h>
#include <arch/machine.h>
#include <arch/port.h>

#define TIMER_CONTROL_ENABLE 1u
#define TIMER_CONTROL_DISABLE 0u

uint64_t arch_counter_frequency(void)
{
    return AARCH64_READ(cntfrq_el0);
}

void arch_timer_arm(uint64_t deadline_ns)
{
    AARCH64_WRITE(cntv_cval_el0, clock_counter_at(deadline_ns));
    AARCH64_WRITE(cntv_ctl_el0, TIMER_CONTROL_ENABLE);
}

/* The line stays up until the timer is off. */
void aarch64_timer_interrupt(void)
{
    AARCH64_WRITE(cntv_ctl_el0, TIMER_CONTROL_DISABLE);
    machine_timer_interrupt();
}
