/* SPDX-License-Identifier: MIT
 *
 * Entry of the RISC-V images: a shim in M-mode that gives S-mode all memory, all traps, its own timer and the counters, then the
 * kernel in S-mode. The boot loader passes the hart in a0 and the device tree in a1. Also the context switch.
 */
#include <arch/xlen.h>

#define MSTATUS_MPP_MASK 0x1800
#define MSTATUS_MPP_S 0x0800
#define PMP_ALL_RWX 0x1f          /* NAPOT over everything (Privileged Architecture 3.7.1) */
#define DELEGATE_EXCEPTIONS 0xffff
#define DELEGATE_INTERRUPTS 0x222 /* supervisor software, timer, external */
#define COUNTERS_ALL 0x7          /* cycle, time, instret */
#if __riscv_xlen == 64
#define CSR_MENVCFG_UPPER 0x30a   /* menvcfg */
#else
#define CSR_MENVCFG_UPPER 0x31a   /* menvcfgh, its bits 63 to 32 */
#define CSR_STIMECMPH 0x15d
#endif
#define MENVCFG_STCE (__riscv_xlen - 1) /* Sstc: S-mode owns stimecmp; bit 63 of menvcfg */
#define CSR_STIMECMP 0x14d
#define CONTEXT_SIZE (16 * XLEN_BYTES)  /* 13 registers, and the stack stays aligned */
#define FINISHER 0x100000         /* where the board's test finisher is; only for a fault in this shim */
#define FINISHER_FAIL 0x3333

    .section .text.start, "ax", @progbits
    .globl _start
_start:
    la t0, machine_trap
    csrw mtvec, t0
    csrw mie, zero

    li t0, -1
    csrw pmpaddr0, t0
    li t0, PMP_ALL_RWX
    csrw pmpcfg0, t0
    li t0, DELEGATE_EXCEPTIONS
    csrw medeleg, t0
    li t0, DELEGATE_INTERRUPTS
    csrw mideleg, t0
    li t0, COUNTERS_ALL
    csrw mcounteren, t0
    li t0, 1
    slli t0, t0, MENVCFG_STCE
    csrs CSR_MENVCFG_UPPER, t0
    li t0, -1
    csrw CSR_STIMECMP, t0
#if __riscv_xlen == 32
    csrw CSR_STIMECMPH, t0
#endif

    li t0, MSTATUS_MPP_MASK
    csrc mstatus, t0
    li t0, MSTATUS_MPP_S
    csrs mstatus, t0
    la t0, supervisor_start
    csrw mepc, t0
    mret

    .balign 4
machine_trap:
    li t0, FINISHER
    li t1, FINISHER_FAIL
    sw t1, 0(t0)
1:  j 1b

supervisor_start:
    csrw satp, zero
    csrw sie, zero
    la sp, boot_stack_end
    la t0, image_bss_start        /* both ends are page aligned */
    la t1, image_end
1:  STORE zero, 0(t0)
    addi t0, t0, XLEN_BYTES
    bltu t0, t1, 1b

    la t0, trap_stack_end
    csrw sscratch, t0
    li s0, 0
    li ra, 0
    mv a0, a1
    call machine_start
    unimp

/* void arch_context_switch(uintptr_t *saved, uintptr_t resumed) */
    .text
    .globl arch_context_switch
arch_context_switch:
    addi sp, sp, -CONTEXT_SIZE
    STORE ra, 0(sp)
    STORE s0, 1 * XLEN_BYTES(sp)
    STORE s1, 2 * XLEN_BYTES(sp)
    STORE s2, 3 * XLEN_BYTES(sp)
    STORE s3, 4 * XLEN_BYTES(sp)
    STORE s4, 5 * XLEN_BYTES(sp)
    STORE s5, 6 * XLEN_BYTES(sp)
    STORE s6, 7 * XLEN_BYTES(sp)
    STORE s7, 8 * XLEN_BYTES(sp)
    STORE s8, 9 * XLEN_BYTES(sp)
    STORE s9, 10 * XLEN_BYTES(sp)
    STORE s10, 11 * XLEN_BYTES(sp)
    STORE s11, 12 * XLEN_BYTES(sp)
    STORE sp, 0(a0)
    mv sp, a1
    LOAD ra, 0(sp)
    LOAD s0, 1 * XLEN_BYTES(sp)
    LOAD s1, 2 * XLEN_BYTES(sp)
    LOAD s2, 3 * XLEN_BYTES(sp)
    LOAD s3, 4 * XLEN_BYTES(sp)
    LOAD s4, 5 * XLEN_BYTES(sp)
    LOAD s5, 6 * XLEN_BYTES(sp)
    LOAD s6, 7 * XLEN_BYTES(sp)
    LOAD s7, 8 * XLEN_BYTES(sp)
    LOAD s8, 9 * XLEN_BYTES(sp)
    LOAD s9, 10 * XLEN_BYTES(sp)
    LOAD s10, 11 * XLEN_BYTES(sp)
    LOAD s11, 12 * XLEN_BYTES(sp)
    addi sp, sp, CONTEXT_SIZE
    ret

    .bss
    .balign 16
    .skip 8192
    .globl trap_stack_end
trap_stack_end:
    .skip 16384
boot_stack_end:
