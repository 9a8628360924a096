/* SPDX-License-Identifier: MIT
 *
 * Traps of the RISC-V port: exceptions become panics, interrupts go to the timer and the IMSIC.
 */
#include <arch/machine.h>
#include <arch/panic.h>
#include <arch/port.h>
#include <arch/riscv.h>
#include <arch/xlen.h>

/* Privileged Architecture 1.12, table 4.2: codes of scause. */
#define CAUSE_INSTRUCTION_ACCESS 1u
#define CAUSE_ILLEGAL_INSTRUCTION 2u
#define CAUSE_BREAKPOINT 3u
#define CAUSE_LOAD_ACCESS 5u
#define CAUSE_STORE_ACCESS 7u
#define CAUSE_INSTRUCTION_PAGE 12u
#define CAUSE_LOAD_PAGE 13u
#define CAUSE_STORE_PAGE 15u

/* What trap.S leaves on the trap stack: x1 to x31; x2 is the interrupted stack pointer. */
struct riscv_frame {
    uintptr_t x[31];
    uintptr_t unused;
};

_Static_assert(sizeof(struct riscv_frame) == 32 * XLEN_BYTES, "frame of trap.S");

void riscv_trap(void);
void riscv_interrupt(uintptr_t cause);
void riscv_preempted(void);
void riscv_interrupt_return(void);
_Noreturn void riscv_exception(const struct riscv_frame *frame, uintptr_t cause);

void arch_exceptions_initialise(void)
{
    RISCV_CSR_WRITE(CSR_STVEC, (uintptr_t)riscv_trap);
}

void riscv_interrupt(uintptr_t cause)
{
    if ((uint8_t)cause == INTERRUPT_TIMER)
        riscv_timer_interrupt();
    else if ((uint8_t)cause == INTERRUPT_EXTERNAL)
        riscv_external_interrupt();
}

void riscv_interrupt_return(void)
{
    if (machine_must_preempt(RISCV_CSR_READ(CSR_SEPC)))
        RISCV_CSR_WRITE(CSR_SEPC, (uintptr_t)riscv_preempted);
}

/* What was tried at the address in stval, or null when the exception is not about an address. */
static const char *access_name(uintptr_t cause)
{
    switch (cause) {
    case CAUSE_INSTRUCTION_ACCESS:
    case CAUSE_INSTRUCTION_PAGE:
        return "execute";
    case CAUSE_LOAD_ACCESS:
    case CAUSE_LOAD_PAGE:
        return "read";
    case CAUSE_STORE_ACCESS:
    case CAUSE_STORE_PAGE:
        return "write";
    default:
        return NULL;
    }
}

static const char *exception_name(uintptr_t cause)
{
    switch (cause) {
    case CAUSE_ILLEGAL_INSTRUCTION:
        return "illegal instruction";
    case CAUSE_BREAKPOINT:
        return "breakpoint";
    default:
        return "exception";
    }
}

_Noreturn void riscv_exception(const struct riscv_frame *frame, uintptr_t cause)
{
    static const char *const names[31] = {
        "ra", "sp", "gp", "tp",  "t0",  "t1", "t2", "s0", "s1", "a0", "a1",
        "a2", "a3", "a4", "a5",  "a6",  "a7", "s2", "s3", "s4", "s5", "s6",
        "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
    };
    uintptr_t address = RISCV_CSR_READ(CSR_STVAL);
    uintptr_t pc = RISCV_CSR_READ(CSR_SEPC);
    struct panic_register registers[34] = {{"pc", pc}, {"scause", cause}, {"stval", address}};
    const unsigned count = sizeof(registers) / sizeof(registers[0]);
    const uintptr_t frame_pointer = frame->x[7]; /* s0 is x8 */

    for (unsigned i = 0; i < 31; i++)
        registers[3 + i] = (struct panic_register){names[i], frame->x[i]};
    if (access_name(cause) != NULL)
        panic_exception(registers, count, pc, frame_pointer, "page fault: %s at 0x%llx (%s)",
                        access_name(cause), (unsigned long long)address,
                        panic_describe_address(address));
    panic_exception(registers, count, pc, frame_pointer, "%s", exception_name(cause));
}
