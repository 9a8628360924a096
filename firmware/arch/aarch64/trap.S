/* SPDX-License-Identifier: MIT
 *
 * The exception vectors of EL1 (Arm ARM D1.3.1). Interrupts save what C functions may change; everything else saves every
 * register and never returns. ELR and SPSR stay where they are, since nothing is taken on top of an interrupt and
 * returns.
 */
    .macro exception_vector kind
    .balign 128
    sub sp, sp, #256
    stp x0, x1, [sp]
    mov x1, #\kind
    b exception_common
    .endm

/* What C functions may change, but x29, which has a place at 160 with another word behind it. */
    .macro push_changed
    sub sp, sp, #176
    stp x0, x1, [sp]
    stp x2, x3, [sp, #16]
    stp x4, x5, [sp, #32]
    stp x6, x7, [sp, #48]
    stp x8, x9, [sp, #64]
    stp x10, x11, [sp, #80]
    stp x12, x13, [sp, #96]
    stp x14, x15, [sp, #112]
    stp x16, x17, [sp, #128]
    stp x18, x30, [sp, #144]
    .endm

    .macro pop_changed
    ldp x18, x30, [sp, #144]
    ldp x16, x17, [sp, #128]
    ldp x14, x15, [sp, #112]
    ldp x12, x13, [sp, #96]
    ldp x10, x11, [sp, #80]
    ldp x8, x9, [sp, #64]
    ldp x6, x7, [sp, #48]
    ldp x4, x5, [sp, #32]
    ldp x2, x3, [sp, #16]
    ldp x0, x1, [sp]
    add sp, sp, #176
    .endm

    .text
    .balign 2048
    .globl aarch64_vectors
aarch64_vectors:
    exception_vector 0            /* current EL on SP_EL0: synchronous */
    .balign 128                   /* IRQ */
    b interrupt_entry
    exception_vector 2
    exception_vector 3
    .set kind, 4                  /* current EL on SP_EL1: a fault in a handler; lower ELs: there are none */
    .rept 12
    exception_vector kind
    .set kind, kind + 1
    .endr

/* The layout is struct aarch64_frame. */
exception_common:
    stp x2, x3, [sp, #16]
    stp x4, x5, [sp, #32]
    stp x6, x7, [sp, #48]
    stp x8, x9, [sp, #64]
    stp x10, x11, [sp, #80]
    stp x12, x13, [sp, #96]
    stp x14, x15, [sp, #112]
    stp x16, x17, [sp, #128]
    stp x18, x19, [sp, #144]
    stp x20, x21, [sp, #160]
    stp x22, x23, [sp, #176]
    stp x24, x25, [sp, #192]
    stp x26, x27, [sp, #208]
    stp x28, x29, [sp, #224]
    mrs x2, sp_el0
    stp x30, x2, [sp, #240]
    mov x0, sp
    bl aarch64_exception
    brk #0

interrupt_entry:
    push_changed
    str x29, [sp, #160]
    bl aarch64_interrupt
    bl aarch64_interrupt_return
    ldr x29, [sp, #160]
    pop_changed
    eret

/* Where a thread goes that an interrupt stopped. It returns as from an exception, since every register is somebody's. */
    .globl aarch64_preempted
aarch64_preempted:
    push_changed
    mrs x1, nzcv
    stp x29, x1, [sp, #160]
    bl scheduler_preempted
    mrs x2, daif
    msr daifset, #2               /* ELR and SPSR are an interrupt's, too */
    ldp x29, x1, [sp, #160]
    orr x1, x1, x2
    mov x2, #4                    /* EL1 on SP_EL0 */
    orr x1, x1, x2
    msr elr_el1, x0
    msr spsr_el1, x1
    pop_changed
    eret
