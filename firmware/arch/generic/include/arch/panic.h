/* SPDX-License-Identifier: MIT
 *
 * From a port's exception entry to the panic: the registers as the fault left them.
 */
#ifndef ARCH_PANIC_H
#define ARCH_PANIC_H

#include <stdint.h>

struct panic_register {
    const char *name;
    uint64_t value;
};

/* Panic because of a CPU exception. The headline says at=cpu:0; `frame` is the frame pointer at the
 * fault. */
_Noreturn void panic_exception(const struct panic_register *registers, unsigned count,
                               uintptr_t program_counter, uintptr_t frame, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* The second half of a page fault's reason, by where the address lies: a guard page, the null page,
 * text, anything else. */
const char *panic_describe_address(uintptr_t address);

#endif
