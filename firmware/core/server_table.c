/* SPDX-License-Identifier: MIT
 *
 * The table of loadable servers and its one thread: it answers on the servers port
 * (docs/spec/kern_server.md, section 2), hands loads and unloads to main threads, and looks after
 * what signals its event: ports that wait for their server, logs, callouts, threads that ended.
 *
 * The thread never waits for a server's code; the one thing it waits for, with a bound, is the link
 * manager when it takes a driver's links down.
 */
#include "server_requests.h"

#include <abi/flipc.h>
#include <kernel/kern_server.h>
#include <kernel/string.h>

/* --- The thread -------------------------------------------------------------------------------- */

/* Ask the loader for a server whose ports have messages. Told once: whoever asks is not armed. */
static void look_at_ports(struct server *server)
{
    for (uint32_t i = 0; server->is_armed && i < server->port_count; i++) {
        if (port_has_messages(server->ports[i].port)) {
            struct loader_first_message body = {
                .server_id = le32_of(server->id),
                .port = le32_of(i),
            };
            server_ports_disarm(server);
            (void)!server_tell_loader(server, LOADER_FIRST_MESSAGE, &body, sizeof(body));
        }
    }
}

static void look_after(struct server *server)
{
    if (server_flag_take(&server->shutdown_wanted)) {
        (void)!server_shut_down(server);
    }
    if (server->thread != NULL && __atomic_load_n(&server->ended, __ATOMIC_ACQUIRE)) {
        kern_servers_forget(server->host, (uintptr_t)server->image, server_image_bytes(server));
        server_thread_reap(server);
        return;
    }
    if (server->thread != NULL && clock_now_ns() >= server->kill_ns) {
        server->kill_ns = DEADLINE_NEVER;
        if (server_kill(server)) {
            event_signal(&server->table->wake); /* it has ended now */
            return;
        }
    }
    look_at_ports(server);
    server_log_deliver(server);
    if (server->thread != NULL && __atomic_load_n(&server->watched_count, __ATOMIC_ACQUIRE) != 0) {
        server_flag_set(&server->attention); /* something woke us: a death, perhaps */
    }
    if (server->thread != NULL && __atomic_load_n(&server->attention, __ATOMIC_ACQUIRE)) {
        port_set_interrupt(server->set);
    }
}

static uint64_t next_deadline_ns(const struct server_table *table)
{
    uint64_t deadline_ns = DEADLINE_NEVER;

    for (const struct server *server = table->first; server != NULL; server = server->next) {
        if (server->thread != NULL && server->kill_ns < deadline_ns) {
            deadline_ns = server->kill_ns;
        }
    }
    return deadline_ns;
}

static void table_main(void *argument)
{
    struct server_table *table = argument;
    struct kmsg *message;

    while (!__atomic_load_n(&table->stop, __ATOMIC_ACQUIRE)) {
        (void)event_wait(&table->wake, next_deadline_ns(table));
        while (mach_msg_receive_set(table->set, &message, 0) == MACH_MSG_SUCCESS) {
            server_request_serve(table, message);
        }
        for (struct server *server = table->first; server != NULL; server = server->next) {
            look_after(server);
        }
    }
}

/* --- Life ------------------------------------------------------------------------------------- */

static int sets_open(struct server_table *table)
{
    int error = port_set_create(table->host, &table->set);

    if (error == ERROR_NONE) {
        error = port_set_create(table->host, &table->armed);
    }
    if (error == ERROR_NONE) {
        port_set_notify(table->set, &table->wake);
        port_set_notify(table->armed, &table->wake);
        error = port_create(table->host, &table->port);
    }
    if (error == ERROR_NONE) {
        port_set_limit(table->port, PORT_LIMIT_MAXIMUM);
        error =
            port_publish(table->port, NAME_WELL_KNOWN(table->host->node_id, NAME_SERIAL_SERVERS));
    }
    if (error == ERROR_NONE) {
        error = port_set_insert(table->set, table->port);
    }
    return error;
}

static void table_free(struct server_table *table)
{
    if (table->port != NULL) {
        port_destroy(table->port);
    }
    if (table->loader != NULL) {
        port_release(table->loader);
    }
    if (table->set != NULL) {
        port_set_destroy(table->set);
    }
    if (table->armed != NULL) {
        port_set_destroy(table->armed);
    }
    server_area_close(&table->area);
    heap_free(table->host, table);
}

int server_table_start(struct mach_host *host, const struct server_platform *platform)
{
    if (host->server_table != NULL) {
        return ERROR_EXISTS;
    }
    struct server_table *table = heap_allocate(host, sizeof(*table));
    if (table == NULL) {
        return ERROR_NO_MEMORY;
    }
    memset(table, 0, sizeof(*table));
    table->host = host;
    table->platform = *platform;
    lock_init(&table->lock);
    event_init(&table->wake);
    table->area.host = host;
    int error = server_area_open(&table->area, host, platform->area, platform->area_bytes);
    if (error == ERROR_NONE) {
        error = platform->protect(platform->context, platform->area,
                                  table->area.page_count * ARCH_PAGE_SIZE, ARCH_MMU_NONE);
    }
    if (error == ERROR_NONE) {
        error = sets_open(table);
    }
    if (error == ERROR_NONE) {
        error = thread_create(host, "servers", table_main, table, &table->thread);
    }
    if (error != ERROR_NONE) {
        table_free(table);
        return error;
    }
    host->server_table = table;
    return ERROR_NONE;
}

void server_table_stop(struct mach_host *host)
{
    struct server_table *table = host->server_table;

    if (table == NULL) {
        return;
    }
    __atomic_store_n(&table->stop, true, __ATOMIC_RELEASE);
    event_signal(&table->wake);
    thread_join(table->thread);
    host->server_table = NULL;
    while (table->first != NULL) {
        struct server *server = table->first;
        if (server->thread != NULL) {
            server_thread_end(server);
            server_thread_reap(server);
        }
        server_destroy(server);
    }
    table_free(table);
}

/* --- Questions -------------------------------------------------------------------------------- */

uint64_t server_table_lookup(struct mach_host *host, const char *name)
{
    struct server_table *table = host->server_table;
    uint64_t found = 0;

    if (table == NULL) {
        return 0;
    }
    lock_acquire(&table->lock);
    for (const struct server *server = table->first; server != NULL; server = server->next) {
        for (uint32_t i = 0; i < server->port_count; i++) {
            const struct server_port *entry = &server->ports[i];
            if ((entry->flags & SERVER_PORT_ADVERTISED) != 0 && strcmp(entry->name, name) == 0) {
                found = entry->name64;
            }
        }
    }
    lock_release(&table->lock);
    return found;
}

bool server_is_code_of(const struct server *server, uintptr_t address)
{
    return address - (uintptr_t)server->image < server->code_bytes;
}

const char *server_table_locate(struct mach_host *host, uint64_t address, uint64_t *offset)
{
    const struct server_table *table = host->server_table;

    if (table == NULL) {
        return NULL;
    }
    for (const struct server *server = table->first; server != NULL; server = server->next) {
        if (server_image_holds(server, address, 1)) {
            *offset = address - (uintptr_t)server->image;
            return server->name;
        }
    }
    return NULL;
}
