/* SPDX-License-Identifier: MIT
 *
 * struct mach_host: all state of one node. The caller owns the memory; nothing in core/ is global,
 * so one process can run many nodes. The members are the roots of the core's subsystems; each is
 * defined in, and touched only by, its own file.
 */
#ifndef KERNEL_HOST_H
#define KERNEL_HOST_H

#include <kernel/error.h>
#include <kernel/thread.h>
#include <stddef.h>
#include <stdint.h>

struct heap;
struct ipc_state;          /* core/ipc: message and port accounting */
struct node_table;         /* core/node_table.c */
struct name_table;         /* core/name_table.c */
struct link_manager;       /* core/link_manager.c */
struct server_registry;    /* core/kern_server.c */
struct server_table;       /* core/server_table.c */
struct blackbox;           /* core/blackbox.c */
struct boot_configuration; /* kernel/boot.h */

/* Equal on every node of a cluster; exchanged in training. */
struct cluster_constants {
    uint32_t nodes_max;
    uint32_t window;
    uint64_t keepalive_ns;
    uint64_t link_down_after_ns;
    uint64_t dead_after_ns;
    uint64_t ack_delay_ns;
    uint32_t ack_count;
};

struct mach_host_configuration {
    uint32_t node_id;
    uint64_t incarnation;
    uint64_t seed;
    struct cluster_constants constants;
    void *arena; /* heap memory, owned by the caller, 16-byte aligned */
    size_t arena_bytes;
};

struct mach_host {
    uint32_t node_id;
    uint64_t incarnation;
    struct cluster_constants constants;
    uint64_t random_seed;
    uint32_t random_drawn; /* numbers drawn, modulo 2^32 */
    struct heap *heap;
    struct blackbox *blackbox;
    struct ipc_state *ipc;
    struct node_table *nodes;
    struct name_table *names;
    struct link_manager *links;
    struct server_registry *servers;
    struct server_table *server_table;
    struct event link_event; /* signalled when the link manager has something to do */
    const struct boot_configuration
        *boot; /* set by kernel_main(); null on a host that no machine booted */
};

/* Bring up the parts that every host has: heap, IPC, names, node table. Everything lies in the
 * arena. Returns 0; ERROR_INVALID: an id or constant out of range, or an arena that is misaligned
 * or tiny; ERROR_NO_MEMORY: the arena is too small. */
int mach_host_initialize(struct mach_host *host,
                         const struct mach_host_configuration *configuration) MUST_CHECK;
void mach_host_destroy(struct mach_host *host); /* every thread of the host has ended */

uint64_t
mach_host_random(struct mach_host *host); /* from the boot seed; the only source of randomness */

/* Heap: 16-byte aligned blocks, constant time, no memory returned to the arena's owner. Null when
 * exhausted. */
void *heap_allocate(struct mach_host *host, size_t bytes);
void heap_free(struct mach_host *host, void *block); /* null is allowed */
struct heap_statistics {
    size_t size_bytes;
    size_t used_bytes;
    size_t peak_bytes;
};
struct heap_statistics heap_statistics(struct mach_host *host);
/* Tests: the n-th allocation from now fails (and every later one while `sticky`); 0: none. */
void heap_fail_after(struct mach_host *host, uint64_t n, bool sticky);

#endif
