# QEMU's microvm machine with PCI Express: x86_64, PVH loader.
ARCHES := x86_64
IMAGE_ADDRESS := 0x100000
DRIVERS := serial/uart16550 irq/lapic timer/lapic_timer pci/ecam pci/msix virtio/virtqueue virtio/virtio_pci
