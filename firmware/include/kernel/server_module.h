/* SPDX-License-Identifier: MIT
 *
 * What the code of a loadable kernel server uses besides the rest of the kernel's public headers:
 * its handle, its log, callouts, and the ways to give itself up. What a server is as a file:
 * docs/spec/server_object.md; what its scripts call: the types below.
 *
 * Words. The *main thread* of a server runs the commands of its scripts and everything that is
 * mapped by HMAP and SMAP, one after another. A server may start threads of its own; its unload
 * commands end them, since its memory is unmapped afterwards.
 *
 * A server names only exported symbols (core/exports.h); whatever else it needs it brings.
 */
#ifndef KERNEL_SERVER_MODULE_H
#define KERNEL_SERVER_MODULE_H

#include <kernel/error.h>
#include <stdbool.h>
#include <stdint.h>

struct kern_server;
struct kmsg;
struct mach_host;
struct port;
struct server;

typedef struct server *kern_server_t;

/* CALL: 0, or an error that fails the load or unload. */
typedef int (*kern_server_call)(uintptr_t argument);
/* HMAP: takes the message over and answers itself. */
typedef void (*kern_server_handler)(struct kmsg *message, uintptr_t argument);
/* SMAP: fill in `answer` (room for 8192 bytes, 0 used); it is sent unless the function returns
 * KERN_SERVER_NO_REPLY. Both messages stay the caller's. */
typedef int (*kern_server_service)(struct kmsg *request, struct kmsg *answer, uintptr_t argument);
#define KERN_SERVER_NO_REPLY (-305)
/* PORT_DEATH: a watched port died; false: do what is usual. */
typedef bool (*kern_server_death)(uint64_t name);

struct mach_host *kern_server_host(kern_server_t server);

/* Log an entry if its level is at least the one that was asked for (higher is more urgent; 0 is
 * never kept). `format` and what a %s argument points to lie in the server's own image: the host
 * reads them there, later. The node clock stamps it now. Any context, interrupt handlers too. */
void kern_server_log(kern_server_t server, uint32_t level, const char *format, uint64_t argument1,
                     uint64_t argument2, uint64_t argument3, uint64_t argument4,
                     uint64_t argument5);

/* Run function(argument) in the main thread, in the order asked. 0, or ERROR_FULL: 20 are waiting.
 * Any context, interrupt handlers too. */
#define KERN_SERVER_CALLOUTS 20u
int kern_server_callout(kern_server_t server, void (*function)(void *), void *argument) MUST_CHECK;

/* The server is broken: its ports are not served any more, the loader is told and unloads it. At
 * most 255 characters are kept. Returns; the caller does no more work. Any thread, with no lock
 * held. */
void kern_server_panic(kern_server_t server, const char *text);

/* The port that the load script declares under `name`; null: none. The loader keeps its receive
 * right. While an unload command runs, nobody serves it: what comes waits for the next load, unless
 * the command receives from it. The main thread only. */
struct port *kern_server_port(kern_server_t server, const char *name);

/* Serve `port`, whose receive right stays the caller's, by HMAP. The main thread only. 0;
 * ERROR_FULL: 50 ports; the error of port_set_insert(). */
int kern_server_map_port(kern_server_t server, struct port *port, kern_server_handler function,
                         uintptr_t argument) MUST_CHECK;
/* The main thread only. Nothing happens if it is not mapped. */
void kern_server_unmap_port(kern_server_t server, struct port *port);

/* Call the server's PORT_DEATH function in the main thread when `port` dies: its owner destroyed it,
 * or its node is dead. The main thread only. 0; ERROR_FULL: 16 are watched; ERROR_EXISTS: somebody
 * watches it; ERROR_DOWN: it is dead already. */
#define KERN_SERVER_WATCHED 16u
int kern_server_watch(kern_server_t server, struct port *port) MUST_CHECK;
/* The main thread only. Nothing happens if it is not watched. */
void kern_server_unwatch(kern_server_t server, struct port *port);

/* The script functions of servers that bring a struct kern_server (kernel/kern_server.h): enter it
 * into the host's registry and load it; unload it and take it out. `record` is its address.
 * Unregistering what is not registered is no error. Their address arguments make them functions of
 * the form kern_server_call on every architecture here. */
int kern_server_register(const struct kern_server *record);
int kern_server_unregister(const struct kern_server *record);

/* The HMAP function of such a server, for a port that is there before the server is, so that the
 * first message to it loads the server: passes each message on to the record's service port, reply
 * port and all. `record` is as above. What finds no room there is answered with ERROR_FULL. A
 * message that is passed on comes from this node; unless its kernel sent it, from KERN_SERVER_PASSED. */
#define KERN_SERVER_PASSED 0xffffu
void kern_server_pass(struct kmsg *message, uintptr_t record);

/* A load parameter: a variable whose value the loader may set before the server runs. `type` is one
 * of bool, i32, u32, i64, u64. Not const, and read where it is used, so that no compiler takes the
 * default for the value. */
#define KERN_SERVER_PARAMETER(type, name, description)                                             \
    static const char name##_parameter[]                                                           \
        __attribute__((used, section(".kern_server.parameters"))) =                                \
            #type " " #name " " description;                                                       \
    KERN_SERVER_PARAMETER_##type volatile name
#define KERN_SERVER_PARAMETER_bool bool
#define KERN_SERVER_PARAMETER_i32 int32_t
#define KERN_SERVER_PARAMETER_u32 uint32_t
#define KERN_SERVER_PARAMETER_i64 int64_t
#define KERN_SERVER_PARAMETER_u64 uint64_t

/* Servers that must be loaded before this one. */
#define KERN_SERVER_DEPENDS(id, name)                                                              \
    static const char id##_dependency[] __attribute__((used, section(".kern_server.depends"))) =   \
        name

#endif
