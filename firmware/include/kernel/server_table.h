/* SPDX-License-Identifier: MIT
 *
 * The kernel half of the loader: the servers that the host loads into this node while it runs
 * (docs/spec/kern_server.md). One thread owns the table and answers on the servers port; each
 * loaded server has a thread that runs its commands and serves its ports.
 *
 * What it is not: it reads no files, resolves no symbols, relocates nothing and decides nothing;
 * the loader on the host does.
 */
#ifndef KERNEL_SERVER_TABLE_H
#define KERNEL_SERVER_TABLE_H

#include <kernel/arch.h>
#include <kernel/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mach_host;
struct server;

/* The machine under the table. Never null, but for `context` and where it says so. */
struct server_platform {
    void *context;
    uint8_t *area; /* where images are placed: whole pages, within reach of the kernel's code */
    size_t area_bytes;
    const uint8_t *build_id; /* of the kernel's image, SERVER_BUILD_ID_BYTES */
    /* As arch_mmu_map(): give pages of the area their rights. */
    int (*protect)(void *context, uint8_t *start, size_t len_bytes,
                   enum arch_mmu_attribute attribute);
    bool (*is_kernel_code)(void *context, uint64_t address);
    /* Code there goes without having tidied up: whatever would still call it must not. May be null. */
    void (*forget)(void *context, uint8_t *start, size_t len_bytes);
};

/* Publish the servers port and start the table's thread. `platform` is copied. 0, ERROR_EXISTS,
 * ERROR_NO_MEMORY or the error of port_publish(); then nothing is left. */
int server_table_start(struct mach_host *host, const struct server_platform *platform) MUST_CHECK;

/* End every server without its unload commands, which have no loader any more; then the thread.
 * What servers left behind (threads, memory) stays: for the end of a host. */
void server_table_stop(struct mach_host *host);

/* The 64-bit name of the advertised port called `name`; 0: none. Any thread. */
uint64_t server_table_lookup(struct mach_host *host, const char *name);

/* Does `address` lie in the code of this server? From interrupts, for a server whose thread runs. */
bool server_is_code_of(const struct server *server, uintptr_t address);

/* Whose range holds `address`? The server's name and the offset in its image, or null. For a
 * machine that has stopped: takes no lock. */
const char *server_table_locate(struct mach_host *host, uint64_t address, uint64_t *offset);

#endif
