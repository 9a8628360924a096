/* SPDX-License-Identifier: MIT
 *
 * The trap entry of S-mode. Outside traps sscratch holds the top of the trap stack, inside it is 0: a fault in a handler
 * goes on below, on the same stack. Interrupts save what C functions may change and return; exceptions save every register
 * and do not.
 *
 * The frame is struct riscv_frame: registers x1 to x31 in order, with the interrupted stack pointer in the slot of x2.
 */
#define FRAME_SIZE 256
#define SLOT(register) (8 * ((register) - 1))

    .text
    .balign 4
    .globl riscv_trap
riscv_trap:
    csrrw sp, sscratch, sp
    bnez sp, 1f
    csrr sp, sscratch
1:  addi sp, sp, -FRAME_SIZE
    sd x1, SLOT(1)(sp)
    sd x5, SLOT(5)(sp)
    sd x6, SLOT(6)(sp)
    sd x7, SLOT(7)(sp)
    sd x10, SLOT(10)(sp)
    sd x11, SLOT(11)(sp)
    sd x12, SLOT(12)(sp)
    sd x13, SLOT(13)(sp)
    sd x14, SLOT(14)(sp)
    sd x15, SLOT(15)(sp)
    sd x16, SLOT(16)(sp)
    sd x17, SLOT(17)(sp)
    sd x28, SLOT(28)(sp)
    sd x29, SLOT(29)(sp)
    sd x30, SLOT(30)(sp)
    sd x31, SLOT(31)(sp)
    csrrw t0, sscratch, zero      /* the interrupted stack pointer */
    sd t0, SLOT(2)(sp)
    csrr a0, scause
    bgez a0, exception

    call riscv_interrupt
    ld x1, SLOT(1)(sp)
    ld x6, SLOT(6)(sp)
    ld x7, SLOT(7)(sp)
    ld x10, SLOT(10)(sp)
    ld x11, SLOT(11)(sp)
    ld x12, SLOT(12)(sp)
    ld x13, SLOT(13)(sp)
    ld x14, SLOT(14)(sp)
    ld x15, SLOT(15)(sp)
    ld x16, SLOT(16)(sp)
    ld x17, SLOT(17)(sp)
    ld x28, SLOT(28)(sp)
    ld x29, SLOT(29)(sp)
    ld x30, SLOT(30)(sp)
    ld x31, SLOT(31)(sp)
    addi t0, sp, FRAME_SIZE
    csrw sscratch, t0
    ld x5, SLOT(5)(sp)
    ld sp, SLOT(2)(sp)
    sret

exception:
    sd x3, SLOT(3)(sp)
    sd x4, SLOT(4)(sp)
    sd x8, SLOT(8)(sp)
    sd x9, SLOT(9)(sp)
    sd x18, SLOT(18)(sp)
    sd x19, SLOT(19)(sp)
    sd x20, SLOT(20)(sp)
    sd x21, SLOT(21)(sp)
    sd x22, SLOT(22)(sp)
    sd x23, SLOT(23)(sp)
    sd x24, SLOT(24)(sp)
    sd x25, SLOT(25)(sp)
    sd x26, SLOT(26)(sp)
    sd x27, SLOT(27)(sp)
    mv a1, a0
    mv a0, sp
    call riscv_exception
    unimp
