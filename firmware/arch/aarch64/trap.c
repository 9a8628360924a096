/* SPDX-License-Identifier: MIT
 *
 * What the exceptions of the aarch64 port become: panics. Interrupts go to drivers/irq/gicv2.c.
 */
#include <arch/aarch64.h>
#include <arch/machine.h>
#include <arch/panic.h>
#include <arch/port.h>

/* Arm ARM D17.2.37: exception syndrome. */
#define ESR_CLASS(esr) ((unsigned)((esr) >> 26 & 0x3f))
#define ESR_CLASS_UNKNOWN 0x00u
#define ESR_CLASS_INSTRUCTION_ABORT 0x21u
#define ESR_CLASS_PC_ALIGNMENT 0x22u
#define ESR_CLASS_DATA_ABORT 0x25u
#define ESR_CLASS_SP_ALIGNMENT 0x26u
#define ESR_CLASS_BREAKPOINT 0x3cu
#define ESR_DATA_ABORT_WRITE 0x40u

/* What trap.S leaves on the exception stack. */
struct aarch64_frame {
    uint64_t x[31];
    uint64_t sp;
};

_Static_assert(sizeof(struct aarch64_frame) == 256, "frame of trap.S");

extern const uint8_t aarch64_vectors[];
void aarch64_preempted(void);
void aarch64_interrupt_return(void);
_Noreturn void aarch64_exception(const struct aarch64_frame *frame, unsigned kind);

void arch_exceptions_initialise(void)
{
    AARCH64_WRITE(vbar_el1, (uintptr_t)aarch64_vectors);
    __asm__ volatile("isb");
}

void aarch64_interrupt_return(void)
{
    if (machine_must_preempt((uintptr_t)AARCH64_READ(elr_el1)))
        AARCH64_WRITE(elr_el1, (uintptr_t)aarch64_preempted);
}

static const char *class_name(unsigned class)
{
    switch (class) {
    case ESR_CLASS_UNKNOWN:
        return "illegal instruction";
    case ESR_CLASS_PC_ALIGNMENT:
        return "misaligned program counter";
    case ESR_CLASS_SP_ALIGNMENT:
        return "misaligned stack pointer";
    case ESR_CLASS_BREAKPOINT:
        return "breakpoint";
    default:
        return "exception";
    }
}

static const char *access_name(uint64_t esr)
{
    if (ESR_CLASS(esr) == ESR_CLASS_INSTRUCTION_ABORT)
        return "execute";
    return (esr & ESR_DATA_ABORT_WRITE) != 0 ? "write" : "read";
}

_Noreturn void aarch64_exception(const struct aarch64_frame *frame, unsigned kind)
{
    static const char *const names[31] = {
        "x0",  "x1",  "x2",  "x3",  "x4",  "x5",  "x6",  "x7",  "x8",  "x9",  "x10",
        "x11", "x12", "x13", "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21",
        "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29", "x30",
    };
    uint64_t esr = AARCH64_READ(esr_el1);
    uint64_t far = AARCH64_READ(far_el1);
    uint64_t elr = AARCH64_READ(elr_el1);
    struct panic_register registers[36] = {
        {"pc", elr}, {"sp", frame->sp}, {"esr", esr}, {"far", far}, {"vector", kind},
    };
    const unsigned count = sizeof(registers) / sizeof(registers[0]);
    unsigned class = ESR_CLASS(esr);

    for (unsigned i = 0; i < 31; i++)
        registers[5 + i] = (struct panic_register){names[i], frame->x[i]};
    if (kind % 4 == 0 && (class == ESR_CLASS_DATA_ABORT || class == ESR_CLASS_INSTRUCTION_ABORT))
        panic_exception(registers, count, elr, frame->x[29], "page fault: %s at 0x%llx (%s)",
                        access_name(esr), (unsigned long long)far, panic_describe_address(far));
    panic_exception(registers, count, elr, frame->x[29], "%s",
                    kind % 4 == 3 ? "system error" : class_name(class));
}
