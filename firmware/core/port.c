/* SPDX-License-Identifier: MIT
 *
 * Ports: life and death, names, queues. Sending and receiving are in mach_msg_*.c, sets in
 * port_set.c.
 */
#include "port.h"
#include "heap.h"
#include "kmsg.h"
#include "name_table.h"
#include "node.h"
#include "notify.h"
#include "rights.h"
#include <kernel/panic.h>

/* Names without use that are kept in case they are needed again: a reply port is, for each call. */
#define NAMES_IDLE_MAXIMUM 64u

/* --- Life ------------------------------------------------------------------------------------- */

struct port *port_allocate(struct mach_host *host, enum port_kind kind, uint32_t limit)
{
    struct port *port = heap_allocate_kind(host, sizeof(*port), HEAP_PORT);

    if (port == NULL)
        return NULL;
    *port = (struct port){.host = host,
                          .references = 1,
                          .holds = kind == PORT_PRINCIPAL ? 1 : 0,
                          .limit = limit,
                          .kind = (uint8_t)kind};
    list_init(&port->queue);
    list_init(&port->ready);
    list_init(&port->member);
    list_init(&port->shares);
    list_init(&port->idle);
    list_init(&port->held);
    list_init(&port->doubted);
    port->held_mark = &port->held;
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

void port_defer_free(struct port *port, struct deferred *deferred)
{
    deferred_use(deferred);
    port->name_next = deferred->ports;
    deferred->ports = port;
}

void port_defer_work(struct port *port, enum port_work work, struct deferred *deferred)
{
    port->work |= (uint8_t)work;
    if (port->work_queued)
        return;
    port_reference(port);
    port->holds++;
    port->work_queued = true;
    deferred_use(deferred);
    port->work_next = deferred->work;
    deferred->work = port;
}

/* Who gave us rights answers for them until the home has heard of them, even if they are gone by
 * then: it is told that they need no answer when the home was told. */
static bool must_linger(const struct port *port)
{
    return port->kind == PORT_PROXY && !port->dead && port->home != NULL &&
           share_is_adding(port->home);
}

void port_stop_lingering(struct port *port, struct deferred *deferred)
{
    if (!port->lingers)
        return;
    port->lingers = false;
    port_unreference(port, deferred);
}

/* The next right that the node sends will want a proxy again: one is kept for it, with its account.
 * False: there is one, or this is not as if it were new. */
static bool spare_put(struct node *node, struct port *port)
{
    if (node->spare != NULL || port->pinned || port->limit != port->host->constants.window ||
        port->home != &port->first || !share_is_over(port))
        return false;
    port->resume = false;
    port->moves = 0;
    node->spare = port;
    node->host->nodes->spare_count++;
    return true;
}

void port_spare_forget(struct node *node)
{
    if (node->spare != NULL)
        node->host->nodes->spare_count--;
    node->spare = NULL;
}

struct port *port_spare_take(struct node *node, uint64_t name)
{
    struct port *port = node->spare;

    if (port == NULL)
        return NULL;
    port_spare_forget(node);
    port->references = 1;
    port->name = port->first.name = name;
    list_append(&node->proxies, &port->member);
    name_insert(port->host, port);
    return port;
}

/* Nobody has a right to the proxy any more. */
static void proxy_ended(struct port *port, struct deferred *deferred)
{
    struct node *node = port->node;

    name_remove(port->host, port);
    list_remove(&port->member);
    if (port->requests != NULL)
        notify_requests_forget(port, deferred);
    if (port->host->ipc->doubted_count != 0)
        rights_review(port->host);
    if (!spare_put(node, port) && share_port_ended(port, deferred))
        port_defer_free(port, deferred);
}

/* Of anything but a proxy that ends with nothing to tell. */
COLD static void unreferenced_rarely(struct port *port, struct deferred *deferred)
{
    if (port->references != 0) {
        port_check_senders(port, deferred);
    } else if (must_linger(port)) {
        port->lingers = true;
        port->references = 1;
    } else if (share_port_ended(port, deferred)) {
        port_defer_free(port, deferred);
    }
}

void port_unreferenced(struct port *port, struct deferred *deferred)
{
    if (port->references == 0 && port->kind == PORT_PROXY && !port->dead && !must_linger(port))
        proxy_ended(port, deferred);
    else
        unreferenced_rarely(port, deferred);
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

void port_release_right(struct port *port, enum port_disposition right)
{
    struct mach_host *host = port->host;
    struct deferred deferred;

    deferred_init(&deferred);
    ipc_lock(host);
    port_right_die(port, right, &deferred);
    ipc_unlock(host);
    deferred_run(host, &deferred);
}

void port_right_die(struct port *port, enum port_disposition right, struct deferred *deferred)
{
    switch (right) {
    case PORT_NONE:
        return;
    case PORT_RECEIVE:
        port->transit = NULL;
        port_defer_work(port, PORT_WORK_DESTROY, deferred);
        return;
    case PORT_SEND_ONCE:
        port_once_died(port, 1, deferred);
        break;
    case PORT_SEND:
        break;
    }
    port_unreference(port, deferred);
}

void port_once_died(struct port *port, uint32_t count, struct deferred *deferred)
{
    if (port->dead || count == 0)
        return;
    if (port_is_here(port)) {
        port->once -= count < port->once ? count : port->once;
        port->once_died += count;
        port_defer_work(port, PORT_WORK_NOTIFY, deferred);
        return;
    }
    if (port->home == NULL)
        return;
    if (count > port->home->held.once)
        count = port->home->held.once;
    port->home->held.once -= count;
    port->home->dead_once += count;
    if (count != 0)
        share_tell(port->home);
}

/* What is queued here will never be received: remote senders are told by a NAK, local ones by the
 * outcome. */
static void refuse_list(struct list *queue, struct deferred *deferred)
{
    while (!list_is_empty(queue)) {
        struct kmsg *kmsg = kmsg_of_queue(queue->next);

        list_remove(&kmsg->queue);
        if (kmsg->source != NULL)
            flipc_refuse(kmsg, FLIPC_NAK_DEAD_PORT, -1, deferred);
        else if (kmsg->remote != NULL)
            flipc_message_done(kmsg, MESSAGE_FAILED, deferred);
        else
            kmsg_end(kmsg, MESSAGE_FAILED, deferred);
    }
}

/* A proxy's queue is over; its messages are still there. */
static void nothing_waits(struct port *proxy)
{
    for (struct list *link = proxy->queue.next; link != &proxy->queue; link = link->next)
        flipc_waits_no_more(proxy->node, kmsg_of_queue(link));
}

void port_die(struct port *port, struct deferred *deferred)
{
    if (port->dead)
        return;
    port_reference(port);
    port_in_use(port);
    port->dead = true;
    port_tell_death(port);
    if (port->name != NAME_NULL)
        name_remove(port->host, port);
    port->once = 0;
    port->moving = false;
    port->transit = NULL;
    list_remove(&port->ready);
    list_remove(&port->member);
    port->set = NULL;
    port->held_mark = &port->held;
    refuse_list(&port->held, deferred);
    if (!port_is_here(port))
        nothing_waits(port);
    refuse_list(&port->queue, deferred);
    refuse_list(&port->doubted, deferred);
    if (port_is_here(port))
        port->count = port->in_flight;
    share_port_died(port, deferred);
    port->node = NULL;
    notify_dead(port, deferred);
    notify_requests_forget(port, deferred);
    condition_broadcast(&port->senders);
    condition_broadcast(&port->receivers);
    port_stop_lingering(port, deferred);
    rights_review(port->host);
    port_unreference(port, deferred);
}

void port_destroy_deferred(struct port *port, struct deferred *deferred)
{
    ipc_lock(port->host);
    panic_unless(port_is_here(port) && !port->dead);
    port_die(port, deferred);
    port->holds--;
    port_unreference(port, deferred);
    ipc_unlock(port->host);
}

void port_destroy(struct port *port)
{
    struct mach_host *host = port->host;
    struct deferred deferred;

    deferred_init(&deferred);
    port_destroy_deferred(port, &deferred);
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

void port_in_use(struct port *port)
{
    if (list_is_empty(&port->idle))
        return;
    list_remove(&port->idle);
    port->host->ipc->idle_count--;
}

/* Its name goes, unless it found a use meanwhile. */
COLD static void name_review(struct port *port)
{
    port_in_use(port);
    if (port_is_needed(port))
        return;
    name_remove(port->host, port);
    port->name = NAME_NULL;
}

void port_out_of_use(struct port *port)
{
    struct ipc_state *ipc = port->host->ipc;

    if (port->dead || port->pinned || port->name == NAME_NULL || port->kind != PORT_PRINCIPAL ||
        !list_is_empty(&port->idle))
        return;
    list_append(&ipc->idle, &port->idle);
    if (++ipc->idle_count > NAMES_IDLE_MAXIMUM)
        name_review(LIST_CONTAINER(ipc->idle.next, struct port, idle));
}

uint64_t port_name(struct port *port)
{
    uint64_t name;

    ipc_lock(port->host);
    name = port_name_locked(port);
    port->pinned = true;
    port_in_use(port);
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
        port->pinned = true;
        name_insert(host, port);
    }
    ipc_unlock(host);
    return error;
}

uint32_t port_home(const struct port *port)
{
    return port_is_here(port) ? port->host->node_id : port->node->id;
}

void port_become_proxy(struct port *port, struct node *node, uint64_t name)
{
    port->name = name;
    port->node = node;
    port->home = share_open(port, node, NULL); /* the port's own: it is new */
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

/* A member that gave a message is next when every other one that has any was. */
static void take_turns(struct port *port)
{
    struct list *ready = &port->set->ready;

    if (list_is_empty(&port->queue)) {
        list_remove(&port->ready);
    } else if (ready->previous != &port->ready) {
        list_remove(&port->ready);
        list_append(ready, &port->ready);
    }
}

struct kmsg *port_dequeue(struct port *port)
{
    struct kmsg *kmsg;

    if (list_is_empty(&port->queue))
        return NULL;
    kmsg = kmsg_of_queue(port->queue.next);
    list_remove(&kmsg->queue);
    port_room_made(port);
    if (port->set != NULL)
        take_turns(port);
    return kmsg;
}

void port_withdraw(struct port *port, struct kmsg *kmsg)
{
    list_remove(&kmsg->queue);
    port_room_made(port);
    if (list_is_empty(&port->queue))
        list_remove(&port->ready);
}

void port_deliver(struct port *port, struct kmsg *kmsg)
{
    if (port->in_flight == 0 && list_is_empty(&port->held)) {
        port_enqueue(port, kmsg);
        return;
    }
    list_append(&port->held, &kmsg->queue);
    port->count++;
    if (port->held_mark == &port->held)
        port->held_mark = &kmsg->queue;
}
