/* SPDX-License-Identifier: MIT
 *
 * Ports: life and death, names, queues. Sending and receiving are in mach_msg.c, sets in
 * port_set.c.
 */
#include "port.h"
#include "heap.h"
#include "kmsg.h"
#include "name_table.h"
#include "node.h"
#include <kernel/panic.h>

/* --- Life ------------------------------------------------------------------------------------- */

struct port *port_allocate(struct mach_host *host, enum port_kind kind, uint32_t limit)
{
    struct port *port = heap_allocate_kind(host, sizeof(*port), HEAP_PORT);

    if (port == NULL)
        return NULL;
    *port = (struct port){
        .host = host, .references = 1, .limit = limit, .kind = (uint8_t)kind, .dead = false};
    list_init(&port->queue);
    list_init(&port->ready);
    list_init(&port->member);
    condition_init(&port->senders);
    condition_init(&port->receivers);
    return port;
}

int port_create(struct mach_host *host, struct port **port)
{
    *port = port_allocate(host, PORT_PRINCIPAL, PORT_LIMIT_DEFAULT);
    if (*port == NULL)
        return ERROR_NO_MEMORY;
    (*port)->owner = thread_owner();
    return 0;
}

void port_unreference(struct port *port, struct deferred *deferred)
{
    if (--port->references != 0)
        return;
    if (port->kind == PORT_PROXY && !port->dead) {
        name_remove(port->host, port);
        list_remove(&port->member);
    }
    port->name_next = deferred->ports;
    deferred->ports = port;
}

void port_retain(struct port *port)
{
    ipc_lock(port->host);
    port_reference(port);
    ipc_unlock(port->host);
}

void port_release(struct port *port)
{
    struct mach_host *host = port->host;
    struct deferred deferred;

    deferred_init(&deferred);
    ipc_lock(host);
    port_unreference(port, &deferred);
    ipc_unlock(host);
    deferred_run(host, &deferred);
}

/* What is queued here will never be received: remote senders are told by a NAK, local ones by the
 * outcome. */
static void refuse_queued(struct port *port, struct deferred *deferred)
{
    while (!list_is_empty(&port->queue)) {
        struct kmsg *kmsg = kmsg_of_queue(port->queue.next);

        list_remove(&kmsg->queue);
        if (kmsg->source != NULL)
            flipc_refuse(kmsg, FLIPC_NAK_DEAD_PORT, deferred);
        else
            kmsg_defer(kmsg, MESSAGE_FAILED, deferred);
    }
    port->count = 0;
}

void port_destroy(struct port *port)
{
    struct mach_host *host = port->host;
    struct deferred deferred;

    deferred_init(&deferred);
    ipc_lock(host);
    panic_unless(port->kind == PORT_PRINCIPAL && !port->dead);
    port->dead = true;
    port_tell_death(port);
    if (port->name != NAME_NULL)
        name_remove(host, port);
    list_remove(&port->ready);
    list_remove(&port->member);
    port->set = NULL;
    refuse_queued(port, &deferred);
    condition_broadcast(&port->senders);
    condition_broadcast(&port->receivers);
    port_unreference(port, &deferred);
    ipc_unlock(host);
    deferred_run(host, &deferred);
}

bool port_is_dead(struct port *port)
{
    bool dead;

    ipc_lock(port->host);
    dead = port->dead;
    ipc_unlock(port->host);
    return dead;
}

size_t port_body_maximum(struct port *port)
{
    size_t headers_bytes = sizeof(struct mnl_msg) + sizeof(struct wire_mach_header);
    size_t maximum = MESSAGE_BODY_MAXIMUM;

    ipc_lock(port->host);
    if (port->dead)
        maximum = 0;
    else if (port->kind == PORT_PROXY)
        maximum = port->node->message_max - headers_bytes;
    ipc_unlock(port->host);
    return maximum < MESSAGE_BODY_MAXIMUM ? maximum : MESSAGE_BODY_MAXIMUM;
}

void port_set_limit(struct port *port, uint32_t limit)
{
    if (limit < 1)
        limit = 1;
    if (limit > PORT_LIMIT_MAXIMUM)
        limit = PORT_LIMIT_MAXIMUM;
    ipc_lock(port->host);
    port->limit = limit;
    condition_broadcast(&port->senders);
    ipc_unlock(port->host);
}

/* --- Names ------------------------------------------------------------------------------------ */

uint64_t port_name_locked(struct port *port)
{
    if (port->dead)
        return NAME_NULL;
    if (port->name == NAME_NULL) {
        port->name = name_allocate(port->host);
        if (port->name != NAME_NULL)
            name_insert(port->host, port);
    }
    return port->name;
}

uint64_t port_name(struct port *port)
{
    uint64_t name;

    ipc_lock(port->host);
    name = port_name_locked(port);
    ipc_unlock(port->host);
    return name;
}

int port_publish(struct port *port, uint64_t well_known_name)
{
    struct mach_host *host = port->host;
    int error = 0;

    if (NAME_NODE(well_known_name) != host->node_id || NAME_TAG(well_known_name) != 0 ||
        NAME_SERIAL(well_known_name) == 0)
        return ERROR_INVALID;
    ipc_lock(host);
    if (port->dead || port->name != NAME_NULL) {
        error = ERROR_INVALID;
    } else if (name_lookup(host, well_known_name) != NULL) {
        error = ERROR_EXISTS;
    } else {
        port->name = well_known_name;
        name_insert(host, port);
    }
    ipc_unlock(host);
    return error;
}

static void port_become_proxy(struct port *port, struct node *node, uint64_t name)
{
    port->name = name;
    port->node = node;
    list_append(&node->proxies, &port->member);
    name_insert(port->host, port);
}

enum resolution port_resolve(struct mach_host *host, uint64_t name, struct port **spare,
                             struct port **port)
{
    struct node *node;

    if (NAME_SERIAL(name) == 0)
        return RESOLUTION_UNKNOWN;
    *port = name_lookup(host, name);
    if (*port != NULL) {
        port_reference(*port);
        return RESOLVED;
    }
    node = node_of_name(host, name);
    if (node == NULL)
        return RESOLUTION_UNKNOWN;
    if (*spare == NULL)
        return RESOLUTION_NEEDS_PORT;
    *port = *spare;
    *spare = NULL;
    port_become_proxy(*port, node, name);
    return RESOLVED;
}

/* Memory for a proxy is allocated without the lock, so a second look is needed after it. */
struct port *port_from_name(struct mach_host *host, uint64_t name)
{
    struct port *spare = NULL;
    struct port *port = NULL;
    enum resolution resolution;

    ipc_lock(host);
    resolution = port_resolve(host, name, &spare, &port);
    ipc_unlock(host);
    if (resolution == RESOLUTION_NEEDS_PORT) {
        spare = port_allocate(host, PORT_PROXY, host->constants.window);
        if (spare == NULL)
            return NULL;
        ipc_lock(host);
        resolution = port_resolve(host, name, &spare, &port);
        ipc_unlock(host);
        heap_free(host, spare);
    }
    return resolution == RESOLVED ? port : NULL;
}

/* --- Queues of principals --------------------------------------------------------------------- */

/* Both kinds of waiter are woken: one of them may have given up already and must not swallow the
 * other's signal. */
void port_enqueue(struct port *port, struct kmsg *kmsg)
{
    struct port_set *set = port->set;

    list_append(&port->queue, &kmsg->queue);
    port->count++;
    if (port->receivers_waiting != 0)
        condition_signal(&port->receivers);
    if (set == NULL)
        return;
    if (list_is_empty(&port->ready))
        list_append(&set->ready, &port->ready);
    if (set->receivers_waiting != 0)
        condition_signal(&set->receivers);
    if (set->event != NULL)
        event_signal(set->event);
}

struct kmsg *port_dequeue(struct port *port)
{
    struct kmsg *kmsg;

    if (list_is_empty(&port->queue))
        return NULL;
    kmsg = kmsg_of_queue(port->queue.next);
    list_remove(&kmsg->queue);
    port_room_made(port);
    if (port->set != NULL) {
        list_remove(&port->ready);
        if (!list_is_empty(&port->queue))
            list_append(&port->set->ready, &port->ready);
    }
    if (kmsg->source != NULL)
        flipc_settle(kmsg);
    return kmsg;
}
