/* SPDX-License-Identifier: MIT
 *
 * The ports that a server declares: they exist from its allocation on, whether it is loaded or not,
 * so what is sent before the first load, or between an unload and the next load, waits in order.
 *
 * While a server is not loaded and armed, its ports are members of the table's set `armed`, whose
 * only use is that a message signals the table's thread. A loaded server's mapped ports are members
 * of its own set.
 */
#include "server_private.h"

#include <kernel/string.h>

static bool name_is_good(const char *name)
{
    return name[0] != '\0' && name[SERVER_NAME_BYTES - 1] == '\0';
}

static bool names_are_good(const struct server_reserve_port *wanted, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!name_is_good(wanted[i].name)) {
            return false;
        }
        for (uint32_t k = 0; k < i; k++) {
            if (strcmp(wanted[i].name, wanted[k].name) == 0) {
                return false;
            }
        }
    }
    return true;
}

/* Is a port called `name` advertised by a server other than `except`? */
static bool is_advertised(const struct server_table *table, const struct server *except,
                          const char *name)
{
    for (const struct server *server = table->first; server != NULL; server = server->next) {
        for (uint32_t i = 0; server != except && i < server->port_count; i++) {
            if ((server->ports[i].flags & SERVER_PORT_ADVERTISED) != 0 &&
                strcmp(server->ports[i].name, name) == 0) {
                return true;
            }
        }
    }
    return false;
}

static void port_free(struct server_port *entry)
{
    if (entry->port != NULL) {
        port_destroy(entry->port);
        port_release(entry->port);
        entry->port = NULL;
    }
}

/* The port of that name that the server has already, taken out of it; else a new one. */
static int port_make(struct server *server, const struct server_reserve_port *wanted,
                     struct server_port *entry)
{
    uint32_t limit = le32_load(wanted->limit);

    *entry = (struct server_port){
        .server = server,
        .flags = le32_load(wanted->flags) & SERVER_PORT_ADVERTISED,
        .limit = limit != 0 ? limit : SERVER_PORT_LIMIT_DEFAULT,
    };
    memcpy(entry->name, wanted->name, sizeof(entry->name));
    for (uint32_t i = 0; i < server->port_count; i++) {
        struct server_port *old = &server->ports[i];
        if (old->port != NULL && strcmp(old->name, entry->name) == 0) {
            entry->port = old->port;
            entry->name64 = old->name64;
            old->port = NULL;
            break;
        }
    }
    if (entry->port == NULL) {
        int error = port_create(server->host, &entry->port);
        if (error != ERROR_NONE) {
            entry->port = NULL;
            return error;
        }
        port_retain(entry->port); /* for whoever looks at it while it is destroyed */
        entry->name64 = port_name(entry->port);
        if (entry->name64 == 0) {
            return ERROR_NO_MEMORY;
        }
    }
    port_set_limit(entry->port, entry->limit);
    return ERROR_NONE;
}

static void ports_replace(struct server *server, const struct server_port *ports, uint32_t count)
{
    lock_acquire(&server->table->lock);
    memmove(server->ports, ports, count * sizeof(*ports));
    server->port_count = count;
    lock_release(&server->table->lock);
}

int server_ports_reserve(struct server *server, const struct server_reserve_port *wanted,
                         uint32_t count)
{
    int error = ERROR_NONE;
    uint32_t made = 0;

    if (!names_are_good(wanted, count)) {
        return ERROR_INVALID;
    }
    for (uint32_t i = 0; i < count; i++) {
        if ((le32_load(wanted[i].flags) & SERVER_PORT_ADVERTISED) != 0 &&
            is_advertised(server->table, server, wanted[i].name)) {
            return ERROR_EXISTS;
        }
    }
    struct server_port *ports = heap_allocate(server->host, (count + 1) * sizeof(*ports));
    if (ports == NULL) {
        return ERROR_NO_MEMORY;
    }
    server_ports_disarm(server);
    while (made < count && error == ERROR_NONE) {
        error = port_make(server, &wanted[made], &ports[made]);
        made++;
    }
    for (uint32_t i = 0; i < server->port_count; i++) {
        port_free(&server->ports[i]);
    }
    for (uint32_t i = 0; error != ERROR_NONE && i < made; i++) {
        port_free(&ports[i]);
    }
    ports_replace(server, ports, error == ERROR_NONE ? count : 0);
    heap_free(server->host, ports);
    return error;
}

void server_ports_release(struct server *server)
{
    server_ports_disarm(server);
    for (uint32_t i = 0; i < server->port_count; i++) {
        port_free(&server->ports[i]);
    }
    ports_replace(server, server->ports, 0);
}

void server_ports_arm(struct server *server)
{
    server->is_armed = true;
    for (uint32_t i = 0; i < server->port_count; i++) {
        /* It is in no set: the server is not loaded. */
        (void)!port_set_insert(server->table->armed, server->ports[i].port);
    }
}

void server_ports_disarm(struct server *server)
{
    if (!server->is_armed) {
        return;
    }
    server->is_armed = false;
    for (uint32_t i = 0; i < server->port_count; i++) {
        port_set_remove(server->ports[i].port);
    }
}
