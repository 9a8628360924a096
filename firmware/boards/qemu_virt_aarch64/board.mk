# QEMU's virt machine for aarch64, of either byte order: GICv2 with its v2m frame, PL011.
ARCHES := aarch64 aarch64_be
IMAGE_ADDRESS := 0x40200000
DRIVERS := serial/pl011 irq/gicv2 timer/arm_virtual_timer pci/ecam pci/msix virtio/virtqueue virtio/virtio_pci
