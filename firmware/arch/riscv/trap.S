/* SPDX-License-Identifier: MIT
 *
 * The trap entry of S-mode. Outside traps sscratch holds the top of the trap stack, inside it is 0: a fault in a handler
 * goes on below, on the same stack. Interrupts save what C functions may change and return; exceptions save every register
 * and do not.
 *
 * The frame is struct riscv_frame: registers x1 to x31 in order, with the interrupted stack pointer in the slot of x2.
 */
#include <arch/xlen.h>

#define FRAME_SIZE (32 * XLEN_BYTES)
#define SLOT(register) (XLEN_BYTES * ((register) - 1))

/* What C functions may change. x5 comes back last: with it the rest of a return is done. */
    .macro store_changed
    STORE x1, SLOT(1)(sp)
    STORE x5, SLOT(5)(sp)
    STORE x6, SLOT(6)(sp)
    STORE x7, SLOT(7)(sp)
    STORE x10, SLOT(10)(sp)
    STORE x11, SLOT(11)(sp)
    STORE x12, SLOT(12)(sp)
    STORE x13, SLOT(13)(sp)
    STORE x14, SLOT(14)(sp)
    STORE x15, SLOT(15)(sp)
    STORE x16, SLOT(16)(sp)
    STORE x17, SLOT(17)(sp)
    STORE x28, SLOT(28)(sp)
    STORE x29, SLOT(29)(sp)
    STORE x30, SLOT(30)(sp)
    STORE x31, SLOT(31)(sp)
    .endm

    .macro load_changed_but_x5
    LOAD x1, SLOT(1)(sp)
    LOAD x6, SLOT(6)(sp)
    LOAD x7, SLOT(7)(sp)
    LOAD x10, SLOT(10)(sp)
    LOAD x11, SLOT(11)(sp)
    LOAD x12, SLOT(12)(sp)
    LOAD x13, SLOT(13)(sp)
    LOAD x14, SLOT(14)(sp)
    LOAD x15, SLOT(15)(sp)
    LOAD x16, SLOT(16)(sp)
    LOAD x17, SLOT(17)(sp)
    LOAD x28, SLOT(28)(sp)
    LOAD x29, SLOT(29)(sp)
    LOAD x30, SLOT(30)(sp)
    LOAD x31, SLOT(31)(sp)
    .endm

    .text
    .balign 4
    .globl riscv_trap
riscv_trap:
    csrrw sp, sscratch, sp
    bnez sp, 1f
    csrr sp, sscratch
1:  addi sp, sp, -FRAME_SIZE
    store_changed
    csrrw t0, sscratch, zero      /* the interrupted stack pointer */
    STORE t0, SLOT(2)(sp)
    csrr a0, scause
    bgez a0, exception

    call riscv_interrupt
    call riscv_interrupt_return
    load_changed_but_x5
    addi t0, sp, FRAME_SIZE
    csrw sscratch, t0
    LOAD x5, SLOT(5)(sp)
    LOAD sp, SLOT(2)(sp)
    sret

exception:
    STORE x3, SLOT(3)(sp)
    STORE x4, SLOT(4)(sp)
    STORE x8, SLOT(8)(sp)
    STORE x9, SLOT(9)(sp)
    STORE x18, SLOT(18)(sp)
    STORE x19, SLOT(19)(sp)
    STORE x20, SLOT(20)(sp)
    STORE x21, SLOT(21)(sp)
    STORE x22, SLOT(22)(sp)
    STORE x23, SLOT(23)(sp)
    STORE x24, SLOT(24)(sp)
    STORE x25, SLOT(25)(sp)
    STORE x26, SLOT(26)(sp)
    STORE x27, SLOT(27)(sp)
    mv a1, a0
    mv a0, sp
    call riscv_exception
    unimp

/* Where a thread goes that an interrupt stopped. It returns as from a trap, since every register is somebody's. */
    .globl riscv_preempted
riscv_preempted:
    addi sp, sp, -FRAME_SIZE
    store_changed
    call scheduler_preempted
    csrci sstatus, 2              /* SIE: sepc is an interrupt's, too */
    csrw sepc, a0
    li t0, 0x120                  /* SPP and SPIE: back to S-mode, interrupts open */
    csrs sstatus, t0
    load_changed_but_x5
    LOAD x5, SLOT(5)(sp)
    addi sp, sp, FRAME_SIZE
    sret
