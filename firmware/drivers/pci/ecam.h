/* SPDX-License-Identifier: MIT
 *
 * Registers of PCI configuration space that both halves of the PCI driver use (PCI Local Bus 3.0,
 * section 6).
 */
#ifndef DRIVERS_PCI_ECAM_H
#define DRIVERS_PCI_ECAM_H

#define PCI_CONFIG_SIZE 4096u
#define PCI_CONFIG_LEGACY_SIZE 256u /* capabilities lie below */

#define PCI_VENDOR_ID 0x00u
#define PCI_VENDOR_ID_NONE 0xffffu
#define PCI_DEVICE_ID 0x02u
#define PCI_COMMAND 0x04u
#define PCI_COMMAND_MEMORY 0x0002u
#define PCI_COMMAND_MASTER 0x0004u
#define PCI_COMMAND_INTX_DISABLE 0x0400u
#define PCI_STATUS 0x06u
#define PCI_STATUS_CAPABILITIES 0x0010u
#define PCI_REVISION 0x08u
#define PCI_HEADER_TYPE 0x0eu
#define PCI_HEADER_TYPE_MASK 0x7fu
#define PCI_HEADER_TYPE_DEVICE 0x00u
#define PCI_BAR(index) (0x10u + 4u * (index))
#define PCI_BAR_IO 0x1u
#define PCI_BAR_64BIT 0x4u
#define PCI_BAR_TYPE_MASK 0x6u
#define PCI_BAR_PREFETCHABLE 0x8u
#define PCI_BAR_ADDRESS_MASK (~(uint64_t)0xf)
#define PCI_SUBSYSTEM_ID 0x2eu
#define PCI_CAPABILITY_POINTER 0x34u

#endif
