/* SPDX-License-Identifier: MIT
 *
 * What a main thread does between messages because somebody asked it to: callouts, which anybody
 * may queue, interrupt handlers too, and the deaths of ports that its server watches.
 *
 * Whoever has something for the thread sets `attention` and signals the table's thread, which
 * interrupts the receive; so none of them needs a lock or memory.
 */
#include "server_private.h"

/* --- Callouts --------------------------------------------------------------------------------- */

int kern_server_callout(kern_server_t server, void (*function)(void *), void *argument)
{
    for (uint32_t i = 0; i < KERN_SERVER_CALLOUTS; i++) {
        struct server_callout *callout = &server->callouts[i];
        uint32_t expected = CALLOUT_FREE;

        if (__atomic_compare_exchange_n(&callout->state, &expected, CALLOUT_FILLING, false,
                                        __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
            callout->function = function;
            callout->argument = argument;
            callout->turn = __atomic_fetch_add(&server->callout_turn, 1, __ATOMIC_RELAXED);
            __atomic_store_n(&callout->state, CALLOUT_READY, __ATOMIC_RELEASE);
            server_flag_set(&server->attention);
            event_signal(&server->table->wake);
            return ERROR_NONE;
        }
    }
    return ERROR_FULL;
}

static struct server_callout *oldest_callout(struct server *server)
{
    struct server_callout *oldest = NULL;

    for (uint32_t i = 0; i < KERN_SERVER_CALLOUTS; i++) {
        struct server_callout *callout = &server->callouts[i];

        if (__atomic_load_n(&callout->state, __ATOMIC_ACQUIRE) == CALLOUT_READY &&
            (oldest == NULL || (int32_t)(callout->turn - oldest->turn) < 0)) {
            oldest = callout;
        }
    }
    return oldest;
}

static void run_callouts(struct server *server)
{
    struct server_callout *callout;

    while ((callout = oldest_callout(server)) != NULL) {
        void (*function)(void *) = callout->function;
        void *argument = callout->argument;

        __atomic_store_n(&callout->state, CALLOUT_FREE, __ATOMIC_RELEASE);
        function(argument);
    }
}

/* --- Deaths ----------------------------------------------------------------------------------- */

int kern_server_watch(kern_server_t server, struct port *port)
{
    for (uint32_t i = 0; i < KERN_SERVER_WATCHED; i++) {
        struct server_watched *watched = &server->watched[i];

        if (watched->port == NULL) {
            uint64_t name64 = port_name(port);
            int error = port_watch(port, &server->table->wake);
            if (error == ERROR_NONE) {
                port_retain(port);
                *watched = (struct server_watched){.port = port, .name64 = name64};
                __atomic_fetch_add(&server->watched_count, 1, __ATOMIC_RELEASE);
            }
            return error;
        }
    }
    return ERROR_FULL;
}

static void forget(struct server *server, struct server_watched *watched)
{
    (void)!port_watch(watched->port, NULL);
    port_release(watched->port);
    watched->port = NULL;
    __atomic_fetch_sub(&server->watched_count, 1, __ATOMIC_RELEASE);
}

void kern_server_unwatch(kern_server_t server, struct port *port)
{
    for (uint32_t i = 0; i < KERN_SERVER_WATCHED; i++) {
        if (server->watched[i].port == port) {
            forget(server, &server->watched[i]);
        }
    }
}

void server_unwatch_all(struct server *server)
{
    for (uint32_t i = 0; i < KERN_SERVER_WATCHED; i++) {
        if (server->watched[i].port != NULL) {
            forget(server, &server->watched[i]);
        }
    }
}

/* What the server does not handle, is handled as usual: a mapping of the port goes. Its function may
 * watch and unwatch others, so the place is free before it is called. */
static void tell_deaths(struct server *server)
{
    for (uint32_t i = 0; i < KERN_SERVER_WATCHED; i++) {
        struct server_watched *watched = &server->watched[i];

        if (watched->port == NULL || !port_is_dead(watched->port)) {
            continue;
        }
        struct server_watched dead = *watched;
        port_retain(dead.port);
        forget(server, watched);
        if (server->death == NULL || !server->death(dead.name64)) {
            kern_server_unmap_port(server, dead.port);
        }
        port_release(dead.port);
    }
}

void server_attend(struct server *server)
{
    if (server_flag_take(&server->attention)) {
        run_callouts(server);
        tell_deaths(server);
    }
}
