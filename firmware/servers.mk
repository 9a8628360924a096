# The kernel servers: their sources, and their scripts if they are more than a record (kernel/kern_server.h). Included by Makefile.

SERVERS := echo traffic raw_ring phy_ivshmem phy_virtio_serial
SOURCES_echo := $(wildcard servers/echo/*.c)
SOURCES_traffic := $(wildcard servers/traffic/*.c)
SOURCES_raw_ring := $(wildcard servers/raw_ring/*.c) phys/ivshmem/ring.c phys/ivshmem/cable.c phys/ivshmem/device.c
SOURCES_phy_ivshmem := $(wildcard phys/ivshmem/*.c)
SOURCES_phy_virtio_serial := $(wildcard phys/virtio_serial/*.c phys/stream/*.c drivers/virtio/*.c)

LOAD_echo := servers/echo/echo.load
UNLOAD_echo :=
# What a server that is a record needs.
LOAD_DEFAULT := servers/record.load
UNLOAD_DEFAULT := servers/record.unload

# Those that are part of every image as well.
LINKED_SERVERS ?= $(SERVERS)
