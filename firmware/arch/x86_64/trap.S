/* SPDX-License-Identifier: MIT
 *
 * The 256 interrupt stubs. Exceptions (vectors 0 to 31) save every register and never return; interrupts save what C
 * functions may change. Each kind has a stack of its own (trap.c), so neither needs room on a thread's stack.
 */
/* What C functions may change. */
    .macro push_changed
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    .endm

    .macro pop_changed
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rax
    .endm

    .text

/* Above the return frame of the CPU: the vector, pushed by the stub. */
interrupt_common:
    push_changed
    subq $8, %rsp                 /* keep the stack aligned to 16 */
    movq 80(%rsp), %rdi
    cld
    call x86_interrupt
    leaq 88(%rsp), %rdi
    call x86_interrupt_return
    addq $8, %rsp
    pop_changed
    addq $8, %rsp
    iretq

/* Where a thread goes that an interrupt stopped; on its stack is where it was (x86_interrupt_return()). */
    .globl x86_preempted
x86_preempted:
    pushfq
    push_changed
    pushq %rbp
    movq %rsp, %rbp
    andq $-16, %rsp
    cld
    call scheduler_preempted
    movq %rbp, %rsp
    popq %rbp
    pop_changed
    popfq
    ret

/* Above the return frame: the error code, the vector. The pushes are struct x86_frame, backwards. */
exception_common:
    pushq %rax
    pushq %rbx
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %rbp
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, %rdi
    cld
    andq $-16, %rsp
    call x86_exception
    ud2

/* The CPU pushes an error code for vectors 8, 10 to 14, 17, 21, 29 and 30 (Intel SDM 3A, table 6-1; AMD APM 2, 8.2). */
    .set vector, 0
    .rept 256
    .align 16
    .if vector == 0
    .globl x86_stubs
x86_stubs:
    .endif
    .if vector >= 32
    pushq $vector
    jmp interrupt_common
    .else
    .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)
    pushq $0
    .endif
    pushq $vector
    jmp exception_common
    .endif
    .set vector, vector + 1
    .endr
