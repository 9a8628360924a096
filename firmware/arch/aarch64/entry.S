/* SPDX-License-Identifier: MIT
 *
 * Entry of the aarch64 image: EL1, MMU off, registers of no meaning. Also the context switch.
 *
 * Threads and the boot code run on SP_EL0; the CPU changes to SP_EL1 by itself when it takes an exception, so exceptions and
 * interrupts have a stack of their own.
 *
 * The CPU starts little-endian. A big-endian image changes that before its first access to data; instructions stay
 * little-endian, page tables follow the data (Arm ARM D17.2.118).
 */
#define SCTLR_EE (1 << 25)

    .section .text.start, "ax", @progbits
    .globl _start
_start:
    msr daifset, #0xf
#ifdef __AARCH64EB__
    mrs x1, sctlr_el1
    orr x1, x1, #SCTLR_EE
    msr sctlr_el1, x1
    isb
#endif
    msr spsel, #1
    adrp x1, exception_stack_end
    add sp, x1, :lo12:exception_stack_end
    msr spsel, #0
    adrp x1, boot_stack_end
    add sp, x1, :lo12:boot_stack_end

    adrp x1, image_bss_start      /* both ends are page aligned */
    adrp x2, image_end
1:  stp xzr, xzr, [x1], #16
    cmp x1, x2
    b.lo 1b

    mov x29, #0
    mov x30, #0
    mov x0, #0
    bl machine_start
    brk #0

/* void arch_context_switch(uintptr_t *saved, uintptr_t resumed) */
    .text
    .globl arch_context_switch
arch_context_switch:
    stp x29, x30, [sp, #-96]!
    stp x19, x20, [sp, #16]
    stp x21, x22, [sp, #32]
    stp x23, x24, [sp, #48]
    stp x25, x26, [sp, #64]
    stp x27, x28, [sp, #80]
    mov x2, sp
    str x2, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #16]
    ldp x21, x22, [sp, #32]
    ldp x23, x24, [sp, #48]
    ldp x25, x26, [sp, #64]
    ldp x27, x28, [sp, #80]
    ldp x29, x30, [sp], #96
    ret

    .bss
    .align 4
    .skip 8192
exception_stack_end:
    .skip 16384
boot_stack_end:
