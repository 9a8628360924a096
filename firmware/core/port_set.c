/* SPDX-License-Identifier: MIT
 *
 * Port sets: one queue of ready members, so that receiving never looks at a member without
 * messages. Members with messages take turns, one message each.
 */
#include "heap.h"
#include "port.h"
#include <kernel/panic.h>

int port_set_create(struct mach_host *host, struct port_set **set)
{
    struct port_set *new_set = heap_allocate(host, sizeof(*new_set));

    *set = new_set;
    if (new_set == NULL)
        return ERROR_NO_MEMORY;
    *new_set = (struct port_set){.host = host, .references = 1};
    list_init(&new_set->members);
    list_init(&new_set->ready);
    condition_init(&new_set->receivers);
    return 0;
}

static void leave_set(struct port *port)
{
    list_remove(&port->ready);
    list_remove(&port->member);
    port->set = NULL;
}

/* Waiting receivers still look at the set: the last of them frees it. */
void port_set_destroy(struct port_set *set)
{
    struct mach_host *host = set->host;
    bool last;

    ipc_lock(host);
    panic_unless(!set->dead);
    set->dead = true;
    while (!list_is_empty(&set->members))
        leave_set(port_of_member(set->members.next));
    condition_broadcast(&set->receivers);
    last = --set->references == 0;
    ipc_unlock(host);
    if (last)
        heap_free(host, set);
}

int port_set_insert(struct port_set *set, struct port *port)
{
    int error = 0;

    ipc_lock(set->host);
    if (port->kind != PORT_PRINCIPAL || port->dead || set->dead || port->host != set->host) {
        error = ERROR_INVALID;
    } else if (port->set != NULL) {
        error = ERROR_EXISTS;
    } else {
        port->set = set;
        list_append(&set->members, &port->member);
        if (!list_is_empty(&port->queue))
            list_append(&set->ready, &port->ready);
        /* All of them: the port may bring many messages. */
        condition_broadcast(&set->receivers);
        if (set->event != NULL)
            event_signal(set->event);
    }
    ipc_unlock(set->host);
    return error;
}

void port_set_remove(struct port *port)
{
    ipc_lock(port->host);
    if (port->set != NULL)
        leave_set(port);
    ipc_unlock(port->host);
}

void port_set_context(struct port *port, void *context)
{
    ipc_lock(port->host);
    port->context = context;
    ipc_unlock(port->host);
}

void port_set_notify(struct port_set *set, struct event *event)
{
    ipc_lock(set->host);
    set->event = event;
    if (event != NULL && !list_is_empty(&set->ready))
        event_signal(event);
    ipc_unlock(set->host);
}

void port_set_interrupt(struct port_set *set)
{
    ipc_lock(set->host);
    set->interrupted = true;
    condition_signal(&set->receivers);
    ipc_unlock(set->host);
}

uint32_t port_message_count(struct port *port)
{
    uint32_t count;

    ipc_lock(port->host);
    count = port->count;
    ipc_unlock(port->host);
    return count;
}

bool port_has_messages(struct port *port)
{
    return port_message_count(port) != 0;
}

int port_watch(struct port *port, struct event *event)
{
    int error = 0;

    ipc_lock(port->host);
    if (event != NULL && port->dead)
        error = ERROR_DOWN;
    else if (event != NULL && port->death != NULL)
        error = ERROR_EXISTS;
    else
        port->death = event;
    ipc_unlock(port->host);
    return error;
}
