# QEMU's virt machine for riscv64 and riscv32 with AIA (aia=aplic-imsic), no BIOS: IMSIC, 16550.
ARCHES := riscv64 riscv32
IMAGE_ADDRESS := 0x80000000
DRIVERS := serial/uart16550 irq/imsic timer/riscv_sstc pci/ecam pci/msix virtio/virtqueue virtio/virtio_pci
