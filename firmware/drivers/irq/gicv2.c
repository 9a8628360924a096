/* SPDX-License-Identifier: MIT
 *
 * GICv2 and its v2m frame as interrupt controller of aarch64. One CPU; all interrupts have one
 * priority.
 *
 *   distributor       access  register (Arm IHI 0048B, table 4-1)
 *   0x000             RW      GICD_CTLR, control
 *   0x100 + n/32*4    RW      GICD_ISENABLER, write 1 to enable
 *   0x180 + n/32*4    RW      GICD_ICENABLER, write 1 to disable
 *   0x400 + n         RW      GICD_IPRIORITYR, one byte each
 *   0x800 + n         RW      GICD_ITARGETSR, one byte each
 *   0xc00 + n/16*4    RW      GICD_ICFGR, two bits each: 2 is edge
 *
 *   CPU interface     access  register (table 4-2)
 *   0x00              RW      GICC_CTLR, control
 *   0x04              RW      GICC_PMR, priority mask
 *   0x0c              R       GICC_IAR, acknowledge
 *   0x10              W       GICC_EOIR, end
 *
 *   v2m frame         access  register (Arm SBSA 6.0, appendix on GICv2m)
 *   0x008             R       MSI_TYPER: first interrupt in bits 25 to 16, count in 9 to 0
 *   0x040             W       MSI_SETSPI_NS: raise the interrupt written
 */
#include <arch/aarch64.h>
#include <arch/machine.h>
#include <arch/port.h>
#include <drivers/irq/gicv2.h>
#include <kernel/mmio.h>

#define GICD_CTLR 0x000u
#define GICD_ISENABLER(id) (0x100u + (id) / 32u * 4u)
#define GICD_ICENABLER(id) (0x180u + (id) / 32u * 4u)
#define GICD_IPRIORITYR(id) (0x400u + (id))
#define GICD_ITARGETSR(id) (0x800u + (id))
#define GICD_ICFGR(id) (0xc00u + (id) / 16u * 4u)
#define GICD_ICFGR_EDGE(id) (2u << ((id) % 16u * 2u))
#define GICC_CTLR 0x00u
#define GICC_PMR 0x04u
#define GICC_IAR 0x0cu
#define GICC_IAR_ID 0x3ffu
#define GICC_EOIR 0x10u
#define V2M_TYPER 0x008u
#define V2M_TYPER_FIRST(typer) ((typer) >> 16 & 0x3ffu)
#define V2M_TYPER_COUNT(typer) ((typer)&0x3ffu)
#define V2M_SETSPI 0x040u

#define GIC_ENABLE 1u
#define PRIORITY_ALL 0xffu
#define PRIORITY_OURS 0x80u
#define CPU_0 0x01u
#define ID_SPECIAL 1020u /* from here on: nothing to serve */

static volatile void *distributor(unsigned offset)
{
    return (volatile void *)(board_gicv2.distributor + offset);
}

static volatile void *cpu_interface(unsigned offset)
{
    return (volatile void *)(board_gicv2.cpu_interface + offset);
}

/* What the v2m frame offers; read once, since a register read costs more than all else in the
 * interrupt path. */
static struct {
    unsigned first;
    unsigned count;
} messages;

static void messages_initialise(void)
{
    uint32_t typer = mmio_read32((const volatile void *)(board_gicv2.message_frame + V2M_TYPER));

    messages.first = V2M_TYPER_FIRST(typer);
    messages.count = V2M_TYPER_COUNT(typer);
    if (messages.count > MACHINE_MSI_MAXIMUM)
        messages.count = MACHINE_MSI_MAXIMUM;
}

static void interrupt_enable(unsigned id)
{
    mmio_write8(distributor(GICD_IPRIORITYR(id)), PRIORITY_OURS);
    mmio_write32(distributor(GICD_ISENABLER(id)), 1u << id % 32u);
}

void arch_interrupts_initialise(void)
{
    messages_initialise();
    mmio_write32(distributor(GICD_CTLR), GIC_ENABLE);
    mmio_write32(cpu_interface(GICC_PMR), PRIORITY_ALL);
    mmio_write32(cpu_interface(GICC_CTLR), GIC_ENABLE);
    interrupt_enable(AARCH64_TIMER_INTERRUPT);
}

unsigned arch_msi_count(void)
{
    return messages.count;
}

void arch_msi_enable(unsigned vector, uint64_t *address, uint32_t *data)
{
    unsigned id = messages.first + vector;
    uint32_t configuration = mmio_read32(distributor(GICD_ICFGR(id)));

    mmio_write32(distributor(GICD_ICFGR(id)), configuration | GICD_ICFGR_EDGE(id));
    mmio_write8(distributor(GICD_ITARGETSR(id)), CPU_0);
    interrupt_enable(id);
    *address = board_gicv2.message_frame + V2M_SETSPI;
    *data = id;
}

void arch_msi_disable(unsigned vector)
{
    unsigned id = messages.first + vector;

    mmio_write32(distributor(GICD_ICENABLER(id)), 1u << id % 32u);
}

void aarch64_interrupt(void)
{
    for (;;) {
        uint32_t acknowledged = mmio_read32(cpu_interface(GICC_IAR));
        unsigned id = acknowledged & GICC_IAR_ID;

        if (id >= ID_SPECIAL)
            return;
        if (id == AARCH64_TIMER_INTERRUPT)
            aarch64_timer_interrupt();
        else if (id >= messages.first)
            machine_interrupt(id - messages.first);
        mmio_write32(cpu_interface(GICC_EOIR), acknowledged);
    }
}
