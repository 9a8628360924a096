/* SPDX-License-Identifier: MIT
 *
 * Kernel servers: drivers and programs that the kernel runs without knowing them. Each has one
 * record (name, version, load and unload commands) in the table of the image; later the same record
 * is what a loadable module carries. Nothing else may refer to a server's code.
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
    /* Load: allocate what the server needs and start its threads. `instance` is where it keeps its
     * state. 0 or a negative error: then it has freed everything. */
    int (*load)(struct mach_host *host, void **instance);
    /* Unload: stop the threads, free everything. Null: it cannot be unloaded. */
    void (*unload)(struct mach_host *host, void *instance);
    /* The port that LOOKUP answers with, or null. */
    struct port *(*service_port)(void *instance);
};

/* Put a record into the image's table (section "kern_servers"); in a loadable server, give it the
 * name that scripts call it by, and import what they call it with, so that a kernel with another
 * kind of record refuses the server. */
#ifdef KERN_SERVER_MODULE
#include <kernel/server_module.h>
#define KERN_SERVER(record)                                                                        \
    extern const struct kern_server kern_server_record __attribute__((alias(#record)));            \
    __attribute__((used)) static int (*const record##_entry)(const struct kern_server *) =         \
        kern_server_register
#else
#define KERN_SERVER(record)                                                                        \
    __attribute__((                                                                                \
        used, section("kern_servers"))) static const struct kern_server *const record##_entry =    \
        &(record)
#endif

/* The table of this image: the linker names the two ends of the section. Equal when no server is
 * linked in. */
extern const struct kern_server *const __start_kern_servers[]
    __attribute__((weak, visibility("hidden")));
extern const struct kern_server *const __stop_kern_servers[]
    __attribute__((weak, visibility("hidden")));

/* The host's list of loaded servers; before the first load. 0, ERROR_EXISTS or ERROR_NO_MEMORY. */
int kern_servers_initialize(struct mach_host *host) MUST_CHECK;
/* Unload what can be unloaded, the latest first, and free the list. */
void kern_servers_destroy(struct mach_host *host);

const struct kern_server *
kern_server_find(const char *name); /* null: no such server in this image */
const struct phy_operations *kern_server_find_phy(const char *kind); /* null: no such PHY driver */
/* The driver of a kind that was loaded last; null: none was. */
const struct phy_operations *kern_server_find_loaded_phy(struct mach_host *host, const char *kind);
/* ERROR_NOT_FOUND, ERROR_EXISTS, or load()'s error */
int kern_server_load(struct mach_host *host, const char *name) MUST_CHECK;
/* ERROR_NOT_FOUND, ERROR_UNSUPPORTED */
int kern_server_unload(struct mach_host *host, const char *name) MUST_CHECK;
/* The memory of a loadable server goes: forget records that lie in it, running none of its code. */
void kern_servers_forget(struct mach_host *host, uintptr_t start, size_t len_bytes);
/* The 64-bit name of a loaded server's service port; 0: not loaded, or it has none. */
uint64_t kern_server_service_name(struct mach_host *host, const char *name);

#endif
