/* SPDX-License-Identifier: MIT
 *
 * Entry of the riscv64 image: a shim in M-mode that gives S-mode all memory, all traps, its own timer and the counters, then the
 * kernel in S-mode. The boot loader passes the hart in a0 and the device tree in a1. Also the context switch.
 */
#define MSTATUS_MPP_MASK 0x1800
#define MSTATUS_MPP_S 0x0800
#define PMP_ALL_RWX 0x1f          /* NAPOT over everything (Privileged Architecture 3.7.1) */
#define DELEGATE_EXCEPTIONS 0xffff
#define DELEGATE_INTERRUPTS 0x222 /* supervisor software, timer, external */
#define COUNTERS_ALL 0x7          /* cycle, time, instret */
#define CSR_MENVCFG 0x30a
#define MENVCFG_STCE 63           /* Sstc: S-mode owns stimecmp */
#define CSR_STIMECMP 0x14d
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
    csrs CSR_MENVCFG, t0
    li t0, -1
    csrw CSR_STIMECMP, t0

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
1:  sd zero, 0(t0)
    addi t0, t0, 8
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
    addi sp, sp, -112
    sd ra, 0(sp)
    sd s0, 8(sp)
    sd s1, 16(sp)
    sd s2, 24(sp)
    sd s3, 32(sp)
    sd s4, 40(sp)
    sd s5, 48(sp)
    sd s6, 56(sp)
    sd s7, 64(sp)
    sd s8, 72(sp)
    sd s9, 80(sp)
    sd s10, 88(sp)
    sd s11, 96(sp)
    sd sp, 0(a0)
    mv sp, a1
    ld ra, 0(sp)
    ld s0, 8(sp)
    ld s1, 16(sp)
    ld s2, 24(sp)
    ld s3, 32(sp)
    ld s4, 40(sp)
    ld s5, 48(sp)
    ld s6, 56(sp)
    ld s7, 64(sp)
    ld s8, 72(sp)
    ld s9, 80(sp)
    ld s10, 88(sp)
    ld s11, 96(sp)
    addi sp, sp, 112
    ret

    .bss
    .balign 16
    .skip 8192
    .globl trap_stack_end
trap_stack_end:
    .skip 16384
boot_stack_end:
