/* SPDX-License-Identifier: MIT
 *
 * What the files of the loader's kernel half share: server_table.c (the table, its thread, the
 * servers port), server_image.c (ranges and images), server_thread.c and server_loop.c (the main thread
 * of a loaded server), server_services.c (what servers call), server_log.c. Private to core.
 *
 * Who touches what. The table's thread owns every struct server; what says *lock* is guarded by the
 * table's lock besides, since other threads read it. While a server's main thread runs, it owns
 * what says *main*. A main thread gets its orders through `order` and ends by setting `ended`.
 */
#ifndef CORE_SERVER_PRIVATE_H
#define CORE_SERVER_PRIVATE_H

#include "server_area.h"
#include "server_log.h"

#include <abi/server_messages.h>
#include <kernel/host.h>
#include <kernel/ipc.h>
#include <kernel/server_module.h>
#include <kernel/server_table.h>
#include <kernel/service.h>

struct server_table;

enum server_port_style {
    SERVER_PORT_UNMAPPED,
    SERVER_PORT_HANDLER, /* HMAP */
    SERVER_PORT_SERVICE, /* SMAP */
};

/* A port of a server: declared by RESERVE, or mapped at run time (no name of its own). */
struct server_port {
    struct server *server;
    char name[SERVER_NAME_BYTES]; /* empty: mapped at run time */
    struct port *port;            /* null: free. Declared: the table has its receive right */
    uint64_t name64;
    uint32_t flags; /* SERVER_PORT_ADVERTISED */
    uint32_t limit;
    uint8_t style;      /* enum server_port_style; main; atomic */
    uintptr_t function; /* main */
    uintptr_t argument; /* main */
};

enum server_callout_state {
    CALLOUT_FREE,
    CALLOUT_FILLING,
    CALLOUT_READY,
};

struct server_callout {
    uint32_t state; /* enum server_callout_state; any context */
    uint32_t turn;
    void (*function)(void *);
    void *argument;
};

enum server_order_kind {
    SERVER_ORDER_LOAD,
    SERVER_ORDER_UNLOAD,
};

/* Commands for a main thread, and who waits for the outcome. */
struct server_order {
    enum server_order_kind kind;
    uint32_t flags; /* SERVER_UNLOAD_* */
    uint32_t command_count;
    struct service_promise promise; /* no answer: nobody waits */
    struct server_command commands[];
};

struct server_outcome {
    int status;
    uint32_t done;
    int32_t value;
};

struct server {
    struct server_table *table;
    struct mach_host *host;
    struct server *next;          /* lock; the one reserved after this */
    char name[SERVER_NAME_BYTES]; /* lock */
    uint32_t id;
    uint32_t state; /* enum server_state; atomic */

    uint8_t *image;                               /* the range, in the area */
    uint32_t code_bytes, const_bytes, data_bytes; /* whole pages */
    bool is_mapped;                               /* writable, not executable yet */
    uint32_t port_count;                          /* declared ones; lock */
    struct server_port ports[SERVER_PORTS_MAXIMUM];
    bool is_armed;

    struct thread *thread; /* null: not loaded */
    struct port *com;
    struct port_set *set;
    struct port *boot;            /* main: PANIC and LOG_DATA go there; null: to the loader port */
    struct server_order *order;   /* atomic; for the main thread */
    struct server_order *running; /* atomic; what the main thread does now, or null */
    uint64_t kill_ns;             /* when a main thread that does not end is taken out */
    struct server_order *last; /* what ended the thread, answered when it is joined; may be null */
    bool must_end;             /* atomic */
    struct server_outcome outcome;
    bool ended;              /* atomic; by the main thread, last thing */
    bool gave_up;            /* atomic; kern_server_panic() */
    bool shutdown_wanted;    /* atomic */
    kern_server_death death; /* main */
    uint32_t loads;
    uint32_t messages; /* atomic, modulo 2^32 */

    struct server_log log;
    bool log_read_pending; /* atomic: somebody waits for entries */
    bool log_was_closed;   /* atomic: tell whoever waits */
    struct server_callout callouts[KERN_SERVER_CALLOUTS];
    uint32_t callout_turn; /* atomic: of the next one */
    bool attention;        /* atomic: the main thread has callouts to run, or deaths to look for */
    struct server_watched {
        struct port *port; /* null: free */
        uint64_t name64;
    } watched[KERN_SERVER_WATCHED]; /* main */
    uint32_t watched_count;         /* atomic */
};

struct server_table {
    struct mach_host *host;
    struct server_platform platform;
    struct server_area area;
    struct lock lock;
    struct server *first; /* lock */
    uint32_t next_id;
    struct port *port;      /* the servers port */
    struct port *loader;    /* lock; null: nobody attached */
    struct port_set *set;   /* of the servers port: signals `wake` */
    struct port_set *armed; /* of ports whose first message loads their server: signals `wake` */
    struct event wake;
    struct thread *thread;
    bool stop; /* atomic */
};

static inline uint32_t server_image_bytes(const struct server *server)
{
    return server->code_bytes + server->const_bytes + server->data_bytes;
}

static inline enum server_state server_state(const struct server *server)
{
    return (enum server_state)__atomic_load_n(&server->state, __ATOMIC_ACQUIRE);
}

static inline void server_set_state(struct server *server, enum server_state state)
{
    __atomic_store_n(&server->state, (uint32_t)state, __ATOMIC_RELEASE);
}

static inline bool server_flag_take(bool *flag)
{
    return __atomic_load_n(flag, __ATOMIC_RELAXED) &&
           __atomic_exchange_n(flag, false, __ATOMIC_ACQUIRE);
}

static inline void server_flag_set(bool *flag)
{
    __atomic_store_n(flag, true, __ATOMIC_RELEASE);
}

/* server_image.c: the table's thread. */
int server_image_write(struct server *server, uint32_t offset, const void *bytes,
                       size_t len_bytes) MUST_CHECK;
/* Zero what follows `image_bytes` (0: nothing was sent now), give every part its rights. */
int server_image_commit(struct server *server, uint32_t image_bytes) MUST_CHECK;
void server_image_unmap(struct server *server);
bool server_image_holds(const struct server *server, uint64_t address, size_t len_bytes);

/* server_ports.c: declared ports; the table's thread. */
int server_ports_reserve(struct server *server, const struct server_reserve_port *wanted,
                         uint32_t count) MUST_CHECK;
void server_ports_release(struct server *server);
void server_ports_arm(struct server *server);
void server_ports_disarm(struct server *server);

/* server_loop.c */
void server_main(void *server);

/* server_thread.c: of the main thread */
/* Do what `order` or `must_end` says, if one does. True: the thread is to end. */
bool server_obey(struct server *server);
void server_serve_com(struct server *server, struct kmsg *message); /* takes it over */

/* server_thread.c: of the table's thread */
int server_thread_start(struct server *server, struct server_order *order) MUST_CHECK;
/* Hand `order` to the running main thread, which owns it then. */
void server_thread_order(struct server *server, struct server_order *order);
/* Tell the main thread to end without any command. */
void server_thread_end(struct server *server);
/* The main thread has ended, or soon does: join it, free what it had, answer. */
void server_thread_reap(struct server *server);
/* Answer and free an order. */
void server_order_finish(struct server *server, struct server_order *order,
                         const struct server_outcome *outcome);

void server_unmap_all(struct server *server); /* by whoever owns what says *main* */

/* server_kill.c: of the table's thread */
/* Take out every thread of the server and what the kernel has of them: its main thread has not ended.
 * False: threads cannot be taken out on this machine. */
bool server_kill(struct server *server);
/* The same without the main thread, which has ended by itself. */
void server_take_out(struct server *server);

/* server_services.c */
/* Send a message to the loader without waiting; false: nobody there, or no room. Any thread. */
bool server_tell_loader(struct server *server, int32_t id, const void *body, size_t len_bytes);
/* Deliver what the server logged to whoever waits. The table's thread. */
void server_log_deliver(struct server *server);
/* server_attention.c: of the main thread */
void server_attend(struct server *server); /* run callouts, tell deaths */
void server_unwatch_all(struct server *server);

#endif
