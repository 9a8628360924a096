/* SPDX-License-Identifier: MIT
 *
 * The name table: ports by their 64-bit names. Private to core; called with the IPC lock held,
 * except to open it.
 */
#ifndef CORE_NAME_TABLE_H
#define CORE_NAME_TABLE_H

#include <kernel/host.h>

struct port;

/* Set host->names; the heap is up. The size follows from the heap's. 0 or ERROR_NO_MEMORY. */
int name_table_open(struct mach_host *host) MUST_CHECK;

/* A new ordinary name of this node; 0: none is left in this life. */
uint64_t name_allocate(struct mach_host *host);

/* Was this ordinary name given out by this life of this node, or may a past one have given it? */
bool name_was_ours(struct mach_host *host, uint64_t name);

/* Enter a port under port->name, which no other port of the table has. */
void name_insert(struct mach_host *host, struct port *port);
void name_remove(struct mach_host *host, struct port *port);
struct port *name_lookup(struct mach_host *host, uint64_t name); /* null: unknown */
/* A living port of this kernel server's own making that has a name; null: none is left. */
struct port *name_find_owned(struct mach_host *host, const struct server *owner);
uint64_t name_count(struct mach_host *host);

#endif
