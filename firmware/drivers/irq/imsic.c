/* SPDX-License-Identifier: MIT
 *
 * The IMSIC's supervisor file as interrupt controller of RISC-V (Advanced Interrupt
 * Architecture 1.0, chapter 3). A device writes an interrupt identity, 1 or more, to the file's
 * page; vector n is identity n + 1.
 *
 *   siselect      access  register behind sireg
 *   0x70          RW      eidelivery: 1 delivers
 *   0x72          RW      eithreshold: 0 lets all through
 *   0xc0 + k      RW      eie: enable bits of identities 32*k to 32*k+31; with 64-bit registers even k
 *                         only, for two of these
 */
#include <arch/machine.h>
#include <arch/port.h>
#include <arch/riscv.h>
#include <drivers/irq/imsic.h>

#define EIDELIVERY 0x70u
#define EITHRESHOLD 0x72u
#define EIE_BITS ((unsigned)__riscv_xlen)
#define EIE(identity) (0xc0u + (identity) / EIE_BITS * (EIE_BITS / 32u))
#define STOPEI_IDENTITY(value) ((unsigned)((value) >> 16 & 0x7ffu))

static void file_write(unsigned select, uintptr_t value)
{
    RISCV_CSR_WRITE(CSR_SISELECT, select);
    RISCV_CSR_WRITE(CSR_SIREG, value);
}

static uintptr_t file_read(unsigned select)
{
    RISCV_CSR_WRITE(CSR_SISELECT, select);
    return RISCV_CSR_READ(CSR_SIREG);
}

void arch_interrupts_initialise(void)
{
    file_write(EITHRESHOLD, 0);
    file_write(EIDELIVERY, 1);
    RISCV_CSR_WRITE(CSR_SIE, 1u << INTERRUPT_TIMER | 1u << INTERRUPT_EXTERNAL);
}

unsigned arch_msi_count(void)
{
    return MACHINE_MSI_MAXIMUM; /* of the file's 255 */
}

void arch_msi_enable(unsigned vector, uint64_t *address, uint32_t *data)
{
    unsigned identity = vector + 1;

    file_write(EIE(identity), file_read(EIE(identity)) | (uintptr_t)1 << identity % EIE_BITS);
    *address = board_imsic.supervisor_file;
    *data = identity;
}

void arch_msi_disable(unsigned vector)
{
    unsigned identity = vector + 1;

    file_write(EIE(identity), file_read(EIE(identity)) & ~((uintptr_t)1 << identity % EIE_BITS));
}

/* A swap of stopei reads the top identity and clears its pending bit in one. */
void riscv_external_interrupt(void)
{
    unsigned identity;

    while ((identity = STOPEI_IDENTITY(RISCV_CSR_SWAP(CSR_STOPEI, 0))) != 0)
        machine_interrupt(identity - 1);
}
