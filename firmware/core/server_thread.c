/* SPDX-License-Identifier: MIT
 *
 * The main thread of a loaded server but for its loop (server_loop.c): commands, the communication
 * port, the thread's beginning and end.
 *
 * Invariants. The thread is told by port_set_interrupt() that there is an order or a callout, and
 * looks at both each time; nothing is polled. Whatever the thread leaves behind is freed by the
 * table's thread, after it has joined it.
 */
#include "server_private.h"

#include <kernel/string.h>

/* --- Commands --------------------------------------------------------------------------------- */

static bool is_code(const struct server *server, uint64_t address)
{
    const struct server_platform *platform = &server->table->platform;
    uint64_t start = (uintptr_t)server->image;

    return (address >= start && address - start < server->code_bytes) ||
           platform->is_kernel_code(platform->context, address);
}

static int set_instance(struct server *server, uint64_t address)
{
    uint64_t start = (uintptr_t)server->image;
    uint64_t data = start + server->code_bytes + server->const_bytes;

    if (address % sizeof(void *) != 0 || address < data ||
        !server_image_holds(server, address, sizeof(void *))) {
        return ERROR_INVALID;
    }
    memcpy((void *)(uintptr_t)address, &server, sizeof(struct server *));
    return ERROR_NONE;
}

static int map_entry(struct server *server, struct server_port *entry, enum server_port_style style,
                     uintptr_t function, uintptr_t argument)
{
    if (entry->style != SERVER_PORT_UNMAPPED) {
        return ERROR_EXISTS;
    }
    entry->function = function;
    entry->argument = argument;
    __atomic_store_n(&entry->style, (uint8_t)style, __ATOMIC_RELEASE);
    port_set_limit(entry->port, PORT_LIMIT_MAXIMUM);
    port_set_context(entry->port, entry);
    int error = port_set_insert(server->set, entry->port);
    if (error != ERROR_NONE) {
        __atomic_store_n(&entry->style, SERVER_PORT_UNMAPPED, __ATOMIC_RELEASE);
    }
    return error;
}

/* What waits in a declared port waits on. */
static void unmap_entry(struct server_port *entry)
{
    if (entry->style == SERVER_PORT_UNMAPPED) {
        return;
    }
    port_set_remove(entry->port);
    port_set_context(entry->port, NULL);
    port_set_limit(entry->port, entry->limit);
    __atomic_store_n(&entry->style, SERVER_PORT_UNMAPPED, __ATOMIC_RELEASE);
    if (entry->name[0] == '\0') {
        port_release(entry->port);
        entry->port = NULL;
    }
}

static int map_command(struct server *server, const struct server_command *command,
                       enum server_port_style style)
{
    uint32_t index = le32_load(command->port);
    uint64_t function = le64_load(command->function);

    if (index >= server->port_count || !is_code(server, function)) {
        return ERROR_INVALID;
    }
    return map_entry(server, &server->ports[index], style, (uintptr_t)function,
                     (uintptr_t)le64_load(command->argument));
}

static int call_command(struct server *server, const struct server_command *command, int32_t *value)
{
    uint64_t address = le64_load(command->function);

    if (!is_code(server, address)) {
        return ERROR_INVALID;
    }
    kern_server_call function = (kern_server_call)(uintptr_t)address;
    *value = function((uintptr_t)le64_load(command->argument));
    return *value == 0 ? ERROR_NONE : ERROR_FAILED;
}

static int death_command(struct server *server, const struct server_command *command)
{
    uint64_t address = le64_load(command->function);

    if (address != 0 && !is_code(server, address)) {
        return ERROR_INVALID;
    }
    server->death = (kern_server_death)(uintptr_t)address;
    return ERROR_NONE;
}

static int execute(struct server *server, const struct server_command *command, int32_t *value)
{
    switch (le32_load(command->id)) {
    case SERVER_INSTANCE:
        return set_instance(server, le64_load(command->function));
    case SERVER_WIRE:
    case SERVER_UNWIRE:
        return ERROR_NONE; /* memory is always resident */
    case SERVER_PORT_PROC:
        return map_command(server, command, SERVER_PORT_HANDLER);
    case SERVER_PORT_SERV:
        return map_command(server, command, SERVER_PORT_SERVICE);
    case SERVER_PORT_DEATH_PROC:
        return death_command(server, command);
    case SERVER_CALL:
        return call_command(server, command, value);
    case SERVER_VERSION:
        return le64_load(command->argument) < SERVER_INTERFACE_VERSION ? ERROR_UNSUPPORTED
                                                                       : ERROR_NONE;
    case SERVER_LOAD_OBJC:
        return ERROR_UNSUPPORTED;
    default:
        return ERROR_INVALID;
    }
}

static void execute_all(struct server *server, const struct server_order *order,
                        struct server_outcome *outcome)
{
    *outcome = (struct server_outcome){.status = ERROR_NONE};
    while (outcome->done < order->command_count) {
        outcome->status = execute(server, &order->commands[outcome->done], &outcome->value);
        if (outcome->status != ERROR_NONE) {
            return;
        }
        outcome->done++;
    }
}

/* --- Orders ----------------------------------------------------------------------------------- */

void server_order_finish(struct server *server, struct server_order *order,
                         const struct server_outcome *outcome)
{
    struct server_load_reply reply = {
        .status = service_status_of(outcome->status),
        .done = le32_of(outcome->done),
        .value = le32_of((uint32_t)outcome->value),
        .com_port = le64_of(server->com != NULL ? port_name(server->com) : 0),
    };

    if (order->promise.answer != NULL) {
        service_promise_keep(&order->promise, &reply); /* an UNLOAD's reply is its beginning */
    }
    heap_free(server->host, order);
}

/* The order is done with; its owner is the caller again. */
static void stop_running(struct server *server)
{
    __atomic_store_n(&server->running, NULL, __ATOMIC_RELEASE);
}

static void load(struct server *server, struct server_order *order)
{
    struct server_outcome *outcome = &server->outcome;

    execute_all(server, order, outcome);
    if (outcome->status == ERROR_NONE && __atomic_load_n(&server->gave_up, __ATOMIC_ACQUIRE)) {
        outcome->status = ERROR_FAILED;
    }
    server_set_state(server, outcome->status == ERROR_NONE ? SERVER_LOADED : SERVER_FAILED);
    stop_running(server);
    server_order_finish(server, order, outcome);
}

void server_unmap_all(struct server *server)
{
    server_unwatch_all(server);
    for (uint32_t i = 0; i < SERVER_PORTS_MAXIMUM; i++) {
        unmap_entry(&server->ports[i]);
    }
}

/* True: the thread is to end. */
static bool unload(struct server *server, struct server_order *order)
{
    server_set_state(server, SERVER_UNLOADING);
    server_unmap_all(server);
    execute_all(server, order, &server->outcome);
    /* Its own threads would run on in memory that is gone; this one is one of them. */
    if (server->outcome.status == ERROR_NONE && (order->flags & SERVER_UNLOAD_FORCE) == 0 &&
        thread_owned_count(server) > 1) {
        server->outcome.status = ERROR_FAILED;
    }
    stop_running(server);
    if (server->outcome.status != ERROR_NONE && (order->flags & SERVER_UNLOAD_FORCE) == 0) {
        server_set_state(server, SERVER_FAILED);
        server_order_finish(server, order, &server->outcome);
        return false;
    }
    server->last = order;
    return true;
}

bool server_obey(struct server *server)
{
    if (__atomic_load_n(&server->must_end, __ATOMIC_ACQUIRE)) {
        server_unmap_all(server);
        return true;
    }
    struct server_order *order = __atomic_exchange_n(&server->order, NULL, __ATOMIC_ACQUIRE);
    if (order == NULL) {
        return false;
    }
    __atomic_store_n(&server->running, order, __ATOMIC_RELEASE);
    if (order->kind == SERVER_ORDER_LOAD) {
        load(server, order);
        return false;
    }
    return unload(server, order);
}

void server_thread_order(struct server *server, struct server_order *order)
{
    struct server_order *late = __atomic_exchange_n(&server->order, order, __ATOMIC_ACQ_REL);

    if (late != NULL) { /* the main thread never came to it, and now it is forced out */
        const struct server_outcome outcome = {.status = ERROR_TIMED_OUT};
        server_order_finish(server, late, &outcome);
    }
    port_set_interrupt(server->set);
}

void server_thread_end(struct server *server)
{
    server_flag_set(&server->must_end);
    port_set_interrupt(server->set);
}

/* --- The communication port ------------------------------------------------------------------- */

static void set_boot_port(struct server *server, struct kmsg *message)
{
    struct port *port = kmsg_take_reply_port(message);

    lock_acquire(&server->table->lock);
    struct port *old = server->boot;
    server->boot = port;
    lock_release(&server->table->lock);
    if (old != NULL) {
        port_release(old);
    }
    kmsg_free(message);
}

static int set_log_level(struct server *server, struct kmsg *message)
{
    struct server_log_level_request request;

    if (!service_read(message, &request, sizeof(request))) {
        return ERROR_INVALID;
    }
    int error = server_log_set_level(&server->log, server->host, le32_load(request.level));
    if (error == ERROR_NONE && le32_load(request.level) == 0) {
        server_flag_set(&server->log_was_closed);
        event_signal(&server->table->wake);
    }
    return error;
}

static int ask_for_log(struct server *server)
{
    if (__atomic_load_n(&server->log.level, __ATOMIC_RELAXED) == 0) {
        return ERROR_UNSUPPORTED;
    }
    if (__atomic_exchange_n(&server->log_read_pending, true, __ATOMIC_ACQ_REL)) {
        return ERROR_EXISTS;
    }
    return ERROR_NONE;
}

static void answer_command(struct server *server, struct kmsg *message)
{
    struct server_command command;
    int32_t value = 0;
    int status = ERROR_INVALID;

    if (service_read(message, &command, sizeof(command)) &&
        le32_load(command.id) == (uint32_t)kmsg_id(message)) {
        status = execute(server, &command, &value);
    }
    struct server_command_reply reply = {
        .status = service_status_of(status),
        .value = le32_of((uint32_t)value),
    };
    service_answer(server->host, message, &reply, sizeof(reply));
}

void server_serve_com(struct server *server, struct kmsg *message)
{
    if (kmsg_source_node(message) != 0) {
        service_answer_status(server->host, message, ERROR_DENIED);
        return;
    }
    switch (kmsg_id(message)) {
    case SERVER_BOOT_PORT:
        set_boot_port(server, message);
        break;
    case SERVER_SHUTDOWN:
        kmsg_free(message);
        server_flag_set(&server->shutdown_wanted);
        event_signal(&server->table->wake);
        break;
    case SERVER_LOG_LEVEL:
        service_answer_status(server->host, message, set_log_level(server, message));
        break;
    case SERVER_GET_LOG:
        service_answer_status(server->host, message, ask_for_log(server));
        event_signal(&server->table->wake); /* there may be entries */
        break;
    default:
        answer_command(server, message);
        break;
    }
}

/* --- Ports mapped at run time ------------------------------------------------------------------ */

static struct server_port *entry_of(struct server *server, const struct port *port)
{
    for (uint32_t i = 0; i < SERVER_PORTS_MAXIMUM; i++) {
        if (server->ports[i].style != SERVER_PORT_UNMAPPED && server->ports[i].port == port) {
            return &server->ports[i];
        }
    }
    return NULL;
}

int kern_server_map_port(kern_server_t server, struct port *port, kern_server_handler function,
                         uintptr_t argument)
{
    for (uint32_t i = server->port_count; i < SERVER_PORTS_MAXIMUM; i++) {
        struct server_port *entry = &server->ports[i];
        if (entry->port == NULL) {
            *entry =
                (struct server_port){.server = server, .port = port, .limit = PORT_LIMIT_DEFAULT};
            port_retain(port);
            int error =
                map_entry(server, entry, SERVER_PORT_HANDLER, (uintptr_t)function, argument);
            if (error != ERROR_NONE) {
                entry->port = NULL;
                port_release(port);
            }
            return error;
        }
    }
    return ERROR_FULL;
}

void kern_server_unmap_port(kern_server_t server, struct port *port)
{
    struct server_port *entry = entry_of(server, port);

    if (entry != NULL) {
        unmap_entry(entry);
    }
}

/* --- Life ------------------------------------------------------------------------------------- */

static void free_thread_parts(struct server *server)
{
    if (server->com != NULL) {
        port_destroy(server->com);
        port_release(server->com);
        server->com = NULL;
    }
    if (server->set != NULL) {
        port_set_destroy(server->set);
        server->set = NULL;
    }
}

static int make_thread_parts(struct server *server)
{
    int error = port_set_create(server->host, &server->set);

    if (error == ERROR_NONE) {
        error = port_create(server->host, &server->com);
    }
    if (error == ERROR_NONE) {
        port_retain(server->com);
        port_set_limit(server->com, PORT_LIMIT_MAXIMUM);
        error = port_name(server->com) != 0 ? port_set_insert(server->set, server->com)
                                            : ERROR_NO_MEMORY;
    }
    return error;
}

int server_thread_start(struct server *server, struct server_order *order)
{
    server->com = NULL;
    server->set = NULL;
    server->last = NULL;
    server->must_end = false;
    server->ended = false;
    server->gave_up = false;
    server->shutdown_wanted = false;
    server->death = NULL;
    server->attention = false;
    server->running = NULL;
    server->kill_ns = DEADLINE_NEVER;
    memset(server->callouts, 0, sizeof(server->callouts));
    int error = make_thread_parts(server);
    if (error == ERROR_NONE) {
        server->order = order;
        server_set_state(server, SERVER_LOADING);
        error = thread_create(server->host, server->name, server_main, server, &server->thread);
    }
    if (error != ERROR_NONE) {
        server->order = NULL;
        server->thread = NULL;
        server_set_state(server, SERVER_ALLOCATED);
        free_thread_parts(server);
    }
    return error;
}

void server_thread_reap(struct server *server)
{
    if (thread_owned_count(server) != 0) { /* the main thread is not one of them any more */
        server_take_out(server);
    }
    thread_join(server->thread);
    struct server_order *order = server->last;
    bool must_arm = order != NULL && (order->flags & SERVER_UNLOAD_ARM) != 0;
    server->thread = NULL;
    server->last = NULL;
    server->ended = false;
    server_log_close(&server->log, server->host);
    server_flag_set(&server->log_was_closed);
    server_log_deliver(server);
    free_thread_parts(server);
    if (server->boot != NULL) {
        port_release(server->boot);
        server->boot = NULL;
    }
    server_image_unmap(server);
    server_set_state(server, SERVER_ALLOCATED);
    if (order != NULL) {
        server_order_finish(server, order, &server->outcome);
    }
    if (must_arm) {
        server_ports_arm(server);
    }
}
