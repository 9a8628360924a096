/* SPDX-License-Identifier: MIT
 *
 * The loader's side of a whole node in this process: the test is node 0, so it may ask the kernel
 * half of the loader for everything in docs/spec/kern_server.md. Memory rights are only noted, and
 * an image's code is functions of the tests, which pass for the kernel's.
 *
 * What it is not: a loader. An image is 64 bytes of anything; nothing in it ever runs.
 */
#ifndef FAKE_LOADER_H
#define FAKE_LOADER_H

#include "whole_node.h"

#include <abi/server_messages.h>
#include <abi/services.h>
#include <kernel/kern_server.h>
#include <kernel/server_module.h>
#include <kernel/server_table.h>

#define LOADER_AREA_PAGES 64u
#define LOADER_PAGE ((uint32_t)ARCH_PAGE_SIZE)
#define LOADER_DATA_OFFSET (2u * LOADER_PAGE) /* a server has a page each of code, const and data */

struct fake_loader {
    struct test_node node;
    struct port *servers;                             /* where the kernel half is asked */
    struct port *inbox;                               /* the test's own: what comes to the loader */
    uint8_t *area;                                    /* where images are placed */
    enum arch_mmu_attribute pages[LOADER_AREA_PAGES]; /* as the kernel half made them */
    bool has_foreign_code; /* functions of the tests are not the kernel's any more */
};

/* What the code of the loaded server was asked and answers; one test at a time. */
struct fake_server {
    int calls;
    int call_result;
    uintptr_t arguments[8];
    kern_server_t instance; /* as INSTANCE left it in the image */
};

extern struct fake_server fake_server;
extern const uint8_t loader_build_id[SERVER_BUILD_ID_BYTES];

/* Bring up a node, 0 if it is to obey, with a table of servers; begin fake_server anew. */
void loader_open(struct fake_loader *loader, uint32_t node_id);
void loader_close(struct fake_loader *loader);

/* Expect that no more of the heap is used than this, before long: whoever answered may still be
 * putting things away. */
void loader_expect_heap(struct fake_loader *loader, size_t used_bytes);

/* --- Messages --------------------------------------------------------------------------------- */

/* Ask the kernel half; see test_call(). */
long loader_ask(struct fake_loader *loader, int32_t id, const void *body, size_t len_bytes,
                void *answer, size_t answer_bytes);

/* Attach the test's port; what comes there is received by loader_expect(). */
void loader_attach(struct fake_loader *loader);

/* The next message at the test's port must be `id`; its body is copied. Returns its size, -1:
 * no. */
long loader_expect(struct fake_loader *loader, int32_t id, void *body, size_t len_bytes);

/* Send a message without a reply port. */
void loader_post(struct fake_loader *loader, struct port *port, int32_t id,
                 mach_msg_return_t expected);

/* --- Requests --------------------------------------------------------------------------------- */

struct loader_reservation {
    uint32_t id;
    uint64_t address;
    uint64_t ports[SERVER_PORTS_MAXIMUM];
};

struct loader_outcome {
    int status;
    uint32_t done;
    int32_t value;
    uint64_t com_port;
};

/* RESERVE a page each, and `port_count` advertised ports called after the server and their number.
 * Returns the status; 1: no answer. */
int loader_reserve(struct fake_loader *loader, const char *name, uint32_t port_count,
                   uint32_t flags, struct loader_reservation *reserved);

/* A command of a load, an unload or a communication port. */
struct server_command loader_command(uint32_t id, uint32_t port, uintptr_t function,
                                     uintptr_t argument);

/* LOAD an image of 64 bytes 0xc3 and run at most eight commands, for the right build or for
 * another. */
struct loader_outcome loader_load(struct fake_loader *loader, uint32_t id,
                                  const struct server_command *commands, uint32_t count);
struct loader_outcome loader_load_as(struct fake_loader *loader, uint32_t id, const uint8_t *build,
                                     const struct server_command *commands, uint32_t count);
struct loader_outcome loader_unload(struct fake_loader *loader, uint32_t id, uint32_t flags,
                                    const struct server_command *commands, uint32_t count);

/* The status of a request that names nothing but a server; INFO, and the state in it. */
int loader_by_id(struct fake_loader *loader, int32_t request_id, uint32_t id);
struct server_info_reply loader_info(struct fake_loader *loader, uint32_t id);
bool loader_has_state(struct fake_loader *loader, uint32_t id, enum server_state state);

/* A send right to a port of a reservation; the name of an advertised port, 0: there is none. */
struct port *loader_port(struct fake_loader *loader, const struct loader_reservation *reserved,
                         uint32_t index);
uint64_t loader_look_up(struct fake_loader *loader, const char *name);

/* --- The server ------------------------------------------------------------------------------- */

/* Functions for commands: note the argument and return `call_result`; read the handle at an
 * address; echo, noting the argument. */
int fake_server_call(uintptr_t argument);
int fake_server_read_instance(uintptr_t address);
void fake_server_echo(struct kmsg *message, uintptr_t argument);

/* Open a node and load "talks", which echoes on its one port, its handle in `fake_server.instance`;
 * the loader is attached. Returns its communication port. */
struct port *loader_open_server(struct fake_loader *loader, struct loader_reservation *reserved);

#endif
