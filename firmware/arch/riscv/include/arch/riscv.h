/* SPDX-License-Identifier: MIT
 *
 * Private to the RISC-V port and its drivers: control and status registers by number, so that no
 * assembler extension is needed (Privileged Architecture 1.12; AIA 1.0; Sstc 1.0).
 */
#ifndef ARCH_RISCV_H
#define ARCH_RISCV_H

#include <stdint.h>

#define CSR_SIE 0x104
#define CSR_STVEC 0x105
#define CSR_SEPC 0x141
#define CSR_STVAL 0x143
#define CSR_SATP 0x180
#define CSR_STIMECMP 0x14d  /* Sstc */
#define CSR_STIMECMPH 0x15d /* its upper half where registers have 32 bits */
#define CSR_SISELECT 0x150  /* AIA: which register SIREG is */
#define CSR_SIREG 0x151
#define CSR_STOPEI 0x15c /* AIA: top external interrupt; a write claims it */

#define INTERRUPT_TIMER 5u /* of scause, sie and mideleg: supervisor timer */
#define INTERRUPT_EXTERNAL 9u

/* Registers are as wide as the CPU's, which uintptr_t is too. */
#define RISCV_CSR_READ(csr)                                                                        \
    ({                                                                                             \
        uintptr_t riscv_value;                                                                     \
        __asm__ volatile("csrr %0, %1" : "=r"(riscv_value) : "i"(csr) : "memory");                 \
        riscv_value;                                                                               \
    })

#define RISCV_CSR_WRITE(csr, value)                                                                \
    __asm__ volatile("csrw %0, %1" ::"i"(csr), "r"((uintptr_t)(value)) : "memory")

#define RISCV_CSR_SWAP(csr, value)                                                                 \
    ({                                                                                             \
        uintptr_t riscv_value;                                                                     \
        __asm__ volatile("csrrw %0, %1, %2"                                                        \
                         : "=r"(riscv_value)                                                       \
                         : "i"(csr), "r"((uintptr_t)(value))                                       \
                         : "memory");                                                              \
        riscv_value;                                                                               \
    })

/* From the drivers: serve what is pending. */
void riscv_timer_interrupt(void);
void riscv_external_interrupt(void);

#endif
