/* SPDX-License-Identifier: MIT
 *
 * The supervisor timer of RISC-V (Sstc): one-shot interrupts by comparing with the time counter
 * that is the node clock.
 */
#include <arch/machine.h>
#include <arch/port.h>
#include <arch/riscv.h>
#include <drivers/timer/riscv_sstc.h>

uint64_t arch_counter_frequency(void)
{
    return board_riscv_time.frequency_hz;
}

void arch_timer_arm(uint64_t deadline_ns)
{
    RISCV_CSR_WRITE(CSR_STIMECMP, clock_counter_at(deadline_ns));
}

/* The interrupt is pending for as long as the counter is past the comparator. */
void riscv_timer_interrupt(void)
{
    RISCV_CSR_WRITE(CSR_STIMECMP, UINT64_MAX);
    machine_timer_interrupt();
}
