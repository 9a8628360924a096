/* SPDX-License-Identifier: MIT
 *
 * The node clock: the CPU's counter, scaled to nanoseconds by a 32.32 fixed-point factor. Monotonic
 * because the counter is.
 */
#include <arch/machine.h>
#include <arch/port.h>

#define NS_PER_S 1000000000ull

void clock_initialise(struct clock *clock)
{
    uint64_t frequency = arch_counter_frequency();

    panic_unless(frequency >= 1000000 && frequency < 1000ull << 32);
    clock->start = arch_counter_read();
    clock->ns_per_tick = (NS_PER_S << 32) / frequency;
    clock->ticks_per_ns = (frequency / 1000 << 32) / (NS_PER_S / 1000);
}

/* value * factor >> 32, where the factor is 32.32 fixed point. */
static uint64_t scale(uint64_t value, uint64_t factor)
{
#ifdef __SIZEOF_INT128__
    return (uint64_t)((unsigned __int128)value * factor >> 32);
#else
    uint64_t value_upper = value >> 32, value_lower = (uint32_t)value;
    uint64_t factor_upper = factor >> 32, factor_lower = (uint32_t)factor;

    return (value_upper * factor_upper << 32) + value_upper * factor_lower +
           value_lower * factor_upper + (value_lower * factor_lower >> 32);
#endif
}

uint64_t clock_now_ns(void)
{
    const struct clock *clock = &machine()->clock;
    uint64_t ticks = arch_counter_read() - clock->start;

    return scale(ticks, clock->ns_per_tick);
}

uint64_t clock_counter_at(uint64_t deadline_ns)
{
    const struct clock *clock = &machine()->clock;

    return clock->start + scale(deadline_ns, clock->ticks_per_ns) + 1;
}
