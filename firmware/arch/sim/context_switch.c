/* SPDX-License-Identifier: MIT
 *
 * Changing stacks on the CPUs that a developer's machine has. A new one needs the two functions and
 * nothing else. ucontext is not used: its swapcontext() makes a system call each time.
 */
#include "context_switch.h"

#include <stdint.h>

#if defined(__x86_64__)

/* System V ABI: rbx, rbp and r12 to r15 are the callee's to preserve. */
__asm__(".text\n"
        ".globl context_switch\n"
        ".type context_switch, @function\n"
        "context_switch:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size context_switch, . - context_switch\n");

#define PRESERVED_WORDS 6u

/* `entry` finds the stack as after a call: a return address, here 0, at 16n + 8. */
void *context_prepare(void *stack_top, void (*entry)(void))
{
    uint64_t *stack = stack_top;

    *--stack = 0;
    *--stack = (uint64_t)(uintptr_t)entry;
    for (unsigned i = 0; i < PRESERVED_WORDS; i++) {
        *--stack = 0;
    }
    return stack;
}

#elif defined(__aarch64__)

/* AAPCS64: x19 to x30 and the lower halves of v8 to v15 are the callee's to preserve. */
__asm__(".text\n"
        ".globl context_switch\n"
        ".type context_switch, @function\n"
        "context_switch:\n"
        "    sub sp, sp, #160\n"
        "    stp x19, x20, [sp, #0]\n"
        "    stp x21, x22, [sp, #16]\n"
        "    stp x23, x24, [sp, #32]\n"
        "    stp x25, x26, [sp, #48]\n"
        "    stp x27, x28, [sp, #64]\n"
        "    stp x29, x30, [sp, #80]\n"
        "    stp d8, d9, [sp, #96]\n"
        "    stp d10, d11, [sp, #112]\n"
        "    stp d12, d13, [sp, #128]\n"
        "    stp d14, d15, [sp, #144]\n"
        "    mov x9, sp\n"
        "    str x9, [x0]\n"
        "    mov sp, x1\n"
        "    ldp x19, x20, [sp, #0]\n"
        "    ldp x21, x22, [sp, #16]\n"
        "    ldp x23, x24, [sp, #32]\n"
        "    ldp x25, x26, [sp, #48]\n"
        "    ldp x27, x28, [sp, #64]\n"
        "    ldp x29, x30, [sp, #80]\n"
        "    ldp d8, d9, [sp, #96]\n"
        "    ldp d10, d11, [sp, #112]\n"
        "    ldp d12, d13, [sp, #128]\n"
        "    ldp d14, d15, [sp, #144]\n"
        "    add sp, sp, #160\n"
        "    ret\n"
        ".size context_switch, . - context_switch\n");

#define FRAME_WORDS 20u
#define FRAME_LINK_REGISTER 11u

void *context_prepare(void *stack_top, void (*entry)(void))
{
    uint64_t *stack = (uint64_t *)stack_top - FRAME_WORDS;

    for (unsigned i = 0; i < FRAME_WORDS; i++) {
        stack[i] = 0;
    }
    stack[FRAME_LINK_REGISTER] = (uint64_t)(uintptr_t)entry;
    return stack;
}

#else
#error "the simulator runs on x86_64 and aarch64: add context_switch() for this CPU"
#endif
