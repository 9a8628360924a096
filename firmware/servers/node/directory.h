/* SPDX-License-Identifier: MIT
 *
 * The node server's directory: services of this node by name, each with a send right. Used by one
 * thread.
 */
#ifndef SERVERS_NODE_DIRECTORY_H
#define SERVERS_NODE_DIRECTORY_H

#include <abi/services.h>
#include <kernel/ipc.h>

#define DIRECTORY_MAXIMUM 64u

struct directory_entry {
    struct directory_entry *next;
    struct port *port;
    char name[SERVICE_NAME_SIZE];
};

struct directory {
    struct mach_host *host;
    struct directory_entry *entries;
    uint32_t count;
};

void directory_open(struct directory *directory, struct mach_host *host);
void directory_close(struct directory *directory); /* gives the rights back */

/* Takes over the right. 0; ERROR_EXISTS: a living service has the name; ERROR_FULL, ERROR_NO_MEMORY:
 * then the right is still the caller's. */
int directory_add(struct directory *directory, const char *name, struct port *port) MUST_CHECK;

int directory_remove(struct directory *directory, const char *name); /* 0 or ERROR_NOT_FOUND */

/* A new send right to a living service; null: none. */
struct port *directory_find(struct directory *directory, const char *name);

/* Forget services that are dead. */
void directory_clean(struct directory *directory);

#endif
