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

/* With 32-bit registers the comparator must not lie in the past between its halves. */
static void compare_at(uint64_t counter)
{
#if __riscv_xlen == 32
    RISCV_CSR_WRITE(CSR_STIMECMP, UINT32_MAX);
    RISCV_CSR_WRITE(CSR_STIMECMPH, counter >> 32);
#endif
    RISCV_CSR_WRITE(CSR_STIMECMP, counter);
}

void arch_timer_arm(uint64_t deadline_ns)
{
    compare_at(clock_counter_at(deadline_ns));
}

/* The interrupt is pending for as long as the counter is past the comparator. */
void riscv_timer_interrupt(void)
{
    compare_at(UINT64_MAX);
    machine_timer_interrupt();
}
