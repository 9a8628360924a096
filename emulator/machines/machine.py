# SPDX-License-Identifier: MIT
"""The machines we boot: one frozen record per architecture, and nothing here that asks an
architecture its name.

A record says what differs between QEMU's machines. Addresses that the guest alone needs (interrupt
controllers, UARTs) live in `firmware/boards/`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from emulator.model import Arch

RAM_BYTES_MINIMUM: Final = 0x1000000  # BOOT_RAM_MINIMUM


@dataclass(frozen=True, slots=True, kw_only=True)
class ElfKind:
    """What tells the images of our architectures apart.

    Args:
        machine: `e_machine`, as pyelftools names it.
        bits: 32 or 64.
        big_endian: the byte order of its data.
    """

    machine: str
    bits: int = 64
    big_endian: bool = False

    def __str__(self) -> str:
        return f"{self.machine} {self.bits}-bit {'big' if self.big_endian else 'little'}-endian"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One QEMU machine.

    Args:
        arch: the CPU architecture.
        qemu_binary: name of the program.
        debian_package: what to install when the program is missing.
        machine_options: value of `-machine`, without the memory back end.
        cpu: value of `-cpu`.
        firmware_options: further options that choose the firmware QEMU starts.
        ram_base: guest physical address of the first byte of RAM.
        pci_bus: id of the bus that link devices sit on.
        pci_slots: device numbers free for links; the first is the management link's.
        elf: what an image for it is.
        board: folder of its board files in the firmware.
    """

    arch: Arch
    qemu_binary: str
    debian_package: str
    machine_options: str
    cpu: str
    firmware_options: tuple[tuple[str, str], ...]
    ram_base: int
    pci_bus: str
    pci_slots: range
    elf: ElfKind
    board: str


_SLOTS = range(1, 32)  # slot 0 is the host bridge on all of them

_MACHINES = {
    Arch.X86_64: Machine(
        arch=Arch.X86_64,
        qemu_binary="qemu-system-x86_64",
        debian_package="qemu-system-x86",
        machine_options="microvm,pcie=on",
        cpu="max",
        firmware_options=(),
        ram_base=0,
        pci_bus="pcie.0",
        pci_slots=_SLOTS,
        elf=ElfKind(machine="EM_X86_64"),
        board="qemu_microvm",
    ),
    Arch.AARCH64: Machine(
        arch=Arch.AARCH64,
        qemu_binary="qemu-system-aarch64",
        debian_package="qemu-system-arm",
        machine_options="virt",
        cpu="cortex-a57",
        firmware_options=(),
        ram_base=0x40000000,
        pci_bus="pcie.0",
        pci_slots=_SLOTS,
        elf=ElfKind(machine="EM_AARCH64"),
        board="qemu_virt_aarch64",
    ),
    Arch.RISCV64: Machine(
        arch=Arch.RISCV64,
        qemu_binary="qemu-system-riscv64",
        debian_package="qemu-system-misc",
        machine_options="virt,aia=aplic-imsic",
        cpu="rv64",
        firmware_options=(("-bios", "none"),),
        ram_base=0x80000000,
        pci_bus="pcie.0",
        pci_slots=_SLOTS,
        elf=ElfKind(machine="EM_RISCV"),
        board="qemu_virt_riscv",
    ),
}

# The same hardware with other software on it, or with the other width of CPU.
_MACHINES[Arch.AARCH64_BE] = replace(
    _MACHINES[Arch.AARCH64],
    arch=Arch.AARCH64_BE,
    elf=ElfKind(machine="EM_AARCH64", big_endian=True),
)
_MACHINES[Arch.RISCV32] = replace(
    _MACHINES[Arch.RISCV64],
    arch=Arch.RISCV32,
    qemu_binary="qemu-system-riscv32",
    cpu="rv32",
    elf=ElfKind(machine="EM_RISCV", bits=32),
)

MACHINES: Final[dict[Arch, Machine]] = _MACHINES
