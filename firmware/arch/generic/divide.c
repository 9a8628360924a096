/* SPDX-License-Identifier: MIT
 *
 * Division of 64-bit numbers on a CPU with 32-bit registers: the compiler calls these by name. Bit by
 * bit, from the dividend's highest: the kernel divides such numbers only where time does not matter
 * (text, start-up). Dividing by 0 gives all ones, as the RISC-V instructions do.
 */
#include <stdint.h>

#if __SIZEOF_POINTER__ == 4

uint64_t __udivdi3(uint64_t dividend, uint64_t divisor);
uint64_t __umoddi3(uint64_t dividend, uint64_t divisor);
int64_t __divdi3(int64_t dividend, int64_t divisor);
int64_t __moddi3(int64_t dividend, int64_t divisor);

static uint64_t divide(uint64_t dividend, uint64_t divisor, uint64_t *remainder)
{
    uint64_t quotient = 0, rest = 0;

    if ((dividend | divisor) >> 32 == 0 && divisor != 0) {
        *remainder = (uint32_t)dividend % (uint32_t)divisor;
        return (uint32_t)dividend / (uint32_t)divisor;
    }
    for (int bit = 63; bit >= 0; bit--) {
        uint64_t carry = rest >> 63;

        rest = rest << 1 | (dividend >> bit & 1);
        if (carry != 0 || rest >= divisor) {
            rest -= divisor;
            quotient |= 1ull << bit;
        }
    }
    *remainder = rest;
    return quotient;
}

static uint64_t magnitude(int64_t value)
{
    return value < 0 ? -(uint64_t)value : (uint64_t)value;
}

uint64_t __udivdi3(uint64_t dividend, uint64_t divisor)
{
    uint64_t remainder;

    return divide(dividend, divisor, &remainder);
}

uint64_t __umoddi3(uint64_t dividend, uint64_t divisor)
{
    uint64_t remainder;

    divide(dividend, divisor, &remainder);
    return remainder;
}

int64_t __divdi3(int64_t dividend, int64_t divisor)
{
    uint64_t quotient = __udivdi3(magnitude(dividend), magnitude(divisor));

    return (int64_t)((dividend ^ divisor) < 0 ? -quotient : quotient);
}

int64_t __moddi3(int64_t dividend, int64_t divisor)
{
    uint64_t remainder = __umoddi3(magnitude(dividend), magnitude(divisor));

    return (int64_t)(dividend < 0 ? -remainder : remainder);
}

#endif
