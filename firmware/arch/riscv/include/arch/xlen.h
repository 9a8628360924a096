/* SPDX-License-Identifier: MIT
 *
 * Private to the RISC-V port: the register width (XLEN, 64 or 32 bits), so that both widths share
 * their sources. For C and assembly.
 */
#ifndef ARCH_XLEN_H
#define ARCH_XLEN_H

#define XLEN_BYTES (__riscv_xlen / 8)

#ifdef __ASSEMBLER__
#if __riscv_xlen == 64
#define LOAD ld
#define STORE sd
#else
#define LOAD lw
#define STORE sw
#endif
#endif

#endif
