/* SPDX-License-Identifier: MIT
 *
 * Kernel servers: drivers and programs that the kernel runs without knowing them. Each has one record (name, version, load
 * and unload commands) in the table of the image; later the same record is what a loadable module carries. Nothing else may refer to a server's code.
 */
#ifndef KERNEL_KERN_SERVER_H
#define KERNEL_KERN_SERVER_H

#include <kernel/ipc.h>
#include <kernel/phy.h>

struct kern_server_instance;

struct kern_server {
    const char *name; /* at most 31 characters */
    uint32_t version;
    const struct phy_operations *phy; /* a PHY driver's table, else null */
    /* Load: allocate what the server needs and start its threads. `instance` is where it keeps its state. 0 or a negative error: then it has freed everything. */
    int (*load)(struct mach_host *host, void **instance);
    /* Unload: stop the threads, free everything. Null: it cannot be unloaded. */
    void (*unload)(struct mach_host *host, void *instance);
    /* The port that LOOKUP answers with, or null. */
    struct port *(*service_port)(void *instance);
};

/* Put a record into the image's table (section "kern_servers"). */
#define KERN_SERVER(record)                                                                                             \
    __attribute__((used, section("kern_servers"))) static const struct kern_server *const record##_entry = &(record)

/* The table of this image. */
extern const struct kern_server *const kern_servers_start[];
extern const struct kern_server *const kern_servers_end[];

const struct kern_server *kern_server_find(const char *name);          /* null: no such server in this image */
const struct phy_operations *kern_server_find_phy(const char *kind);   /* null: no such PHY driver */
int kern_server_load(struct mach_host *host, const char *name) MUST_CHECK; /* ERROR_NOT_FOUND, ERROR_EXISTS, or load()'s error */
int kern_server_unload(struct mach_host *host, const char *name) MUST_CHECK;
struct port *kern_server_service_port(struct mach_host *host, const char *name); /* of a loaded server; null: none */

#endif
