/* SPDX-License-Identifier: MIT
 *
 * Descriptor tables of the x86_64 port, and what its exceptions become: panics. Interrupts go to
 * drivers/irq/lapic.c.
 *
 * Exceptions and interrupts run on two stacks of their own (interrupt stack table entries 1 and 2),
 * so a stack overflow is an orderly page fault and a fault in a handler does not overwrite the
 * handler's frame.
 */
#include <arch/machine.h>
#include <arch/panic.h>
#include <arch/port.h>
#include <arch/x86.h>

/* Present, 64-bit interrupt gate: masks interrupts (Intel SDM 3A, 6.14.1). */
#define GATE_INTERRUPT 0x8e00u
#define CODE_SELECTOR 0x08u
#define TASK_SELECTOR 0x18u
#define DESCRIPTOR_CODE64 0x00af9a000000ffffull
#define DESCRIPTOR_DATA 0x00cf92000000ffffull
#define DESCRIPTOR_TASK 0x0000890000000000ull
#define STUB_SIZE 16u
#define VECTOR_EXCEPTIONS 32u
#define VECTOR_PAGE_FAULT 14u
#define TRAP_STACK_SIZE 8192u

enum stack_index {
    STACK_EXCEPTION = 1,
    STACK_INTERRUPT = 2,
};

struct gate {
    uint16_t offset_low;
    uint16_t selector;
    uint16_t stack_and_type; /* IST index in the low byte, type in the high one */
    uint16_t offset_middle;
    uint32_t offset_high;
    uint32_t reserved;
};

/* Intel SDM 3A, 7.7: the 64-bit task state segment. */
struct task_state {
    uint32_t reserved0;
    uint64_t ring_stacks[3];
    uint64_t reserved1;
    uint64_t interrupt_stacks[7]; /* IST 1 to 7 */
    uint64_t reserved2;
    uint16_t reserved3;
    uint16_t io_map;
} __attribute__((packed));

struct table_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

/* What trap.S leaves on the exception stack. */
struct x86_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss;
};

_Static_assert(sizeof(struct gate) == 16, "interrupt gate");
_Static_assert(sizeof(struct task_state) == 104, "task state segment");
_Static_assert(sizeof(struct x86_frame) == 22 * 8, "frame of trap.S");

/* What the CPU leaves on the interrupt stack, and takes back (Intel SDM 3A, 6.14). */
struct x86_return {
    uint64_t rip, cs, rflags, rsp, ss;
};

extern const uint8_t x86_stubs[];
void x86_preempted(void);
void x86_interrupt_return(struct x86_return *frame);
_Noreturn void x86_exception(const struct x86_frame *frame);

static struct {
    uint64_t gdt[5];
    struct gate idt[256];
    struct task_state task;
    uint8_t exception_stack[TRAP_STACK_SIZE] __attribute__((aligned(16)));
    uint8_t interrupt_stack[TRAP_STACK_SIZE] __attribute__((aligned(16)));
} tables __attribute__((aligned(16)));

static void gate_set(unsigned vector)
{
    uintptr_t stub = (uintptr_t)x86_stubs + vector * STUB_SIZE;
    unsigned stack = vector < VECTOR_EXCEPTIONS ? STACK_EXCEPTION : STACK_INTERRUPT;

    tables.idt[vector] = (struct gate){
        .offset_low = (uint16_t)stub,
        .selector = CODE_SELECTOR,
        .stack_and_type = (uint16_t)(GATE_INTERRUPT | stack),
        .offset_middle = (uint16_t)(stub >> 16),
        .offset_high = (uint32_t)(stub >> 32),
    };
}

static void task_initialise(void)
{
    uintptr_t base = (uintptr_t)&tables.task;

    tables.task.interrupt_stacks[STACK_EXCEPTION - 1] =
        (uintptr_t)tables.exception_stack + TRAP_STACK_SIZE;
    tables.task.interrupt_stacks[STACK_INTERRUPT - 1] =
        (uintptr_t)tables.interrupt_stack + TRAP_STACK_SIZE;
    tables.task.io_map = sizeof(tables.task);
    tables.gdt[3] = DESCRIPTOR_TASK | (sizeof(tables.task) - 1) | (base & 0xffffff) << 16 |
                    (base >> 24 & 0xff) << 56;
    tables.gdt[4] = base >> 32;
}

void arch_exceptions_initialise(void)
{
    struct table_pointer gdt = {sizeof(tables.gdt) - 1, (uintptr_t)tables.gdt};
    struct table_pointer idt = {sizeof(tables.idt) - 1, (uintptr_t)tables.idt};

    tables.gdt[1] = DESCRIPTOR_CODE64;
    tables.gdt[2] = DESCRIPTOR_DATA;
    task_initialise();
    for (unsigned vector = 0; vector < 256; vector++)
        gate_set(vector);
    /* The selectors in use mean the same in the new table, so none is reloaded. */
    __asm__ volatile("lgdt %0" ::"m"(gdt));
    __asm__ volatile("lidt %0" ::"m"(idt));
    __asm__ volatile("ltr %w0" ::"r"((uint16_t)TASK_SELECTOR));
}

/* As if the thread had called x86_preempted() where it was: there is no red zone below its stack. */
void x86_interrupt_return(struct x86_return *frame)
{
    if (!machine_must_preempt(frame->rip))
        return;
    frame->rsp -= sizeof(uint64_t);
    *(uint64_t *)(uintptr_t)frame->rsp = frame->rip;
    frame->rip = (uintptr_t)x86_preempted;
}

static uint64_t read_fault_address(void)
{
    uint64_t value;

    __asm__ volatile("movq %%cr2, %0" : "=r"(value));
    return value;
}

static const char *exception_name(uint64_t vector)
{
    static const char *const names[] = {
        "divide error",
        "debug",
        "non-maskable interrupt",
        "breakpoint",
        "overflow",
        "bound range",
        "illegal instruction",
        "no coprocessor",
        "double fault",
        "coprocessor overrun",
        "invalid task state",
        "segment not present",
        "stack segment fault",
        "general protection",
        "page fault",
        "reserved",
        "floating point",
        "alignment check",
        "machine check",
    };

    return vector < sizeof(names) / sizeof(names[0]) ? names[vector] : "exception";
}

static const char *access_name(uint64_t error)
{
    return (error & 0x10) != 0 ? "execute" : (error & 0x2) != 0 ? "write" : "read";
}

_Noreturn void x86_exception(const struct x86_frame *frame)
{
    const struct panic_register registers[] = {
        {"rip", frame->rip},       {"rsp", frame->rsp},     {"rbp", frame->rbp},
        {"rflags", frame->rflags}, {"error", frame->error}, {"cr2", read_fault_address()},
        {"rax", frame->rax},       {"rbx", frame->rbx},     {"rcx", frame->rcx},
        {"rdx", frame->rdx},       {"rsi", frame->rsi},     {"rdi", frame->rdi},
        {"r8", frame->r8},         {"r9", frame->r9},       {"r10", frame->r10},
        {"r11", frame->r11},       {"r12", frame->r12},     {"r13", frame->r13},
        {"r14", frame->r14},       {"r15", frame->r15},
    };
    const unsigned count = sizeof(registers) / sizeof(registers[0]);
    uint64_t address = read_fault_address();

    if (frame->vector == VECTOR_PAGE_FAULT)
        panic_exception(registers, count, frame->rip, frame->rbp, "page fault: %s at 0x%llx (%s)",
                        access_name(frame->error), (unsigned long long)address,
                        panic_describe_address(address));
    panic_exception(registers, count, frame->rip, frame->rbp, "%s", exception_name(frame->vector));
}
