# The kernel servers: their sources, and their scripts if they are more than a record (kernel/kern_server.h). Included by Makefile.

SERVERS := node echo fault traffic raw_ring hostile mnl_ring phy_ivshmem phy_virtio_serial phy_ivshmem_faulty
SOURCES_node := $(wildcard servers/node/*.c)
SOURCES_echo := servers/echo/echo.c
SOURCES_fault := servers/fault/fault.c
SOURCES_traffic := $(filter-out %_record.c,$(wildcard servers/traffic/*.c))
SOURCES_raw_ring := $(wildcard servers/raw_ring/*.c) phys/ivshmem/ring.c phys/ivshmem/cable.c phys/ivshmem/device.c
SOURCES_hostile := $(wildcard servers/hostile/*.c) phys/ivshmem/cable.c phys/ivshmem/device.c
# A link driver on the published interface, kernel/mach_node_link.h.
SOURCES_mnl_ring := $(wildcard servers/mnl_ring/*.c) phys/ivshmem/ring.c phys/ivshmem/cable.c phys/ivshmem/device.c
SOURCES_phy_ivshmem := $(wildcard phys/ivshmem/*.c)
# Another build of the ivshmem driver, for tests: it takes the driver's place, so it has its name.
SOURCES_phy_ivshmem_faulty := phys/faulty/faulty.c $(filter-out phys/ivshmem/ivshmem.c,$(SOURCES_phy_ivshmem))
NAME_phy_ivshmem_faulty := phy_ivshmem
SOURCES_phy_virtio_serial := $(wildcard phys/virtio_serial/*.c phys/stream/*.c drivers/virtio/*.c)

LOAD_echo := servers/echo/echo.load
UNLOAD_echo :=
LOAD_fault := servers/fault/fault.load
UNLOAD_fault := servers/fault/fault.unload
INSTANCE_fault := fault_instance
LOAD_traffic := servers/traffic/traffic.load
UNLOAD_traffic := servers/traffic/traffic.unload
INSTANCE_traffic := traffic_instance
LOAD_raw_ring := servers/raw_ring/raw_ring.load
LOAD_hostile := servers/hostile/hostile.load
# What a server that is a record needs; with a port of its own it needs what raw_ring has.
LOAD_DEFAULT := servers/record.load
UNLOAD_DEFAULT := servers/record.unload

# These make no sense linked in.
LOADABLE_ONLY := fault mnl_ring phy_ivshmem_faulty
# Part of every image: the driver of the management link, by which the others come.
LINKED_SERVERS ?= phy_virtio_serial
