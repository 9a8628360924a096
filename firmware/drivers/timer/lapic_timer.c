/* SPDX-License-Identifier: MIT
 *
 * The local APIC's timer: one-shot interrupts for x86_64, and the yardstick for the time stamp
 * counter, whose frequency no register tells under emulation.
 */
#include <arch/machine.h>
#include <arch/port.h>
#include <drivers/irq/lapic.h>

#define CALIBRATION_NS 2000000u
#define SAMPLE_TRIES 16u
#define NS_PER_S 1000000000ull

/* Both clocks at one moment: reading the APIC leaves the CPU's fast path, so the quickest of a few
 * tries counts. */
struct sample {
    uint64_t counter;
    uint32_t timer;
};

static struct sample sample_take(void)
{
    struct sample best = {0, 0};
    uint64_t best_span = UINT64_MAX;

    for (unsigned i = 0; i < SAMPLE_TRIES; i++) {
        uint64_t before = arch_counter_read();
        uint32_t timer = lapic_read(LAPIC_TIMER_CURRENT);
        uint64_t span = arch_counter_read() - before;

        if (span < best_span) {
            best_span = span;
            best = (struct sample){before + span / 2, timer};
        }
    }
    return best;
}

/* Interrupts are masked and the count is stopped before it can end. The product fits unless the
 * host took the CPU away for seconds, in which case the count would have ended as well. */
uint64_t arch_counter_frequency(void)
{
    const uint64_t timer_hz = board_lapic_timer.frequency_hz;
    const uint32_t span = (uint32_t)(timer_hz * CALIBRATION_NS / NS_PER_S);
    struct sample first, last;

    lapic_write(LAPIC_TIMER_INITIAL, UINT32_MAX);
    first = sample_take();
    while (first.timer - lapic_read(LAPIC_TIMER_CURRENT) < span)
        arch_relax();
    last = sample_take();
    lapic_write(LAPIC_TIMER_INITIAL, 0);
    return (last.counter - first.counter) * timer_hz / (first.timer - last.timer);
}

/* The count has 32 bits: a far deadline gets an early interrupt and is armed again. */
void arch_timer_arm(uint64_t deadline_ns)
{
    uint64_t now_ns = clock_now_ns();
    uint64_t delay_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
    uint64_t count;

    if (delay_ns > NS_PER_S)
        delay_ns = NS_PER_S;
    count = delay_ns * board_lapic_timer.frequency_hz / NS_PER_S + 1;
    lapic_write(LAPIC_TIMER_INITIAL, count < UINT32_MAX ? (uint32_t)count : UINT32_MAX);
}
