/* SPDX-License-Identifier: MIT
 *
 * Messages that bring a receive right from somewhere else than where its port is, as far as this node
 * knows; see rights.h. Only the known home can say that the port moved. Its word comes another way and
 * may come later than the port, so the message can be neither believed nor refused: it waits, and with
 * it what its source sends to the same port, in its order. A source that lies fills its own window.
 */
#include "migrate.h"
#include "name_table.h"
#include "node.h"
#include "port.h"
#include "rights.h"
#include "rights_slots.h"

/* From where the port is or is going to, or back from wherever it went from here. */
static bool may_bring(const struct node *node, const struct port *port)
{
    if (port == NULL || port_is_here(port))
        return true;
    return port->node == node || (port->moving && port->move_to == node->id);
}

static bool brings_doubtful(const struct node *node, struct kmsg *kmsg)
{
    uint32_t count = kmsg->rights == NULL ? 0 : rights_slot_count(kmsg);

    for (uint32_t i = 1; i < count; i++) {
        if (rights_disposition(kmsg, i) == PORT_RECEIVE) {
            struct rights_slot slot = rights_slot(kmsg, i);

            if (!may_bring(node, name_lookup(node->host, rights_slot_name(&slot))))
                return true;
        }
    }
    return false;
}

/* Is there one of the same source before it? */
static bool follows_doubtful(const struct port *port, const struct kmsg *kmsg)
{
    for (struct list *link = port->doubted.next; link != &port->doubted && link != &kmsg->queue;
         link = link->next) {
        if (kmsg_of_queue(link)->source == kmsg->source)
            return true;
    }
    return false;
}

bool rights_are_doubtful(const struct port *port, struct kmsg *kmsg)
{
    return (!list_is_empty(&port->doubted) && follows_doubtful(port, kmsg)) ||
           (kmsg->rights != NULL && brings_doubtful(kmsg->source, kmsg));
}

/* A right that is on no account is entered on one: then the home, if it is not the home any more,
 * answers where the port is. */
static void ask_homes(struct kmsg *kmsg)
{
    uint32_t count = kmsg->rights == NULL ? 0 : rights_slot_count(kmsg);

    for (uint32_t i = 1; i < count; i++) {
        struct rights_slot slot = rights_slot(kmsg, i);
        struct port *port = name_lookup(kmsg->host, rights_slot_name(&slot));

        if (slot.disposition != PORT_RECEIVE || may_bring(kmsg->source, port) ||
            port->home->held.send != 0)
            continue;
        port->home->held.send++;
        port->home->add.send++;
        share_tell(port->home);
    }
}

void rights_doubt(struct port *port, struct kmsg *kmsg)
{
    kmsg->doubted = true;
    port->host->ipc->doubted_count++;
    list_append(&port->doubted, &kmsg->queue);
    port->count++;
    ask_homes(kmsg);
}

void rights_doubt_no_more(struct kmsg *kmsg)
{
    if (!kmsg->doubted)
        return;
    kmsg->doubted = false;
    kmsg->host->ipc->doubted_count--;
}

static void review_node(struct node *node)
{
    for (struct list *link = node->flow.unsettled.next; link != &node->flow.unsettled;
         link = link->next) {
        struct kmsg *kmsg = kmsg_of_flow(link);
        struct port *port = kmsg->destination;

        if (!kmsg->doubted || rights_are_doubtful(port, kmsg))
            continue;
        list_remove(&kmsg->queue);
        rights_doubt_no_more(kmsg);
        port->count--; /* counted already */
        port_enqueue(port, kmsg);
    }
}

void rights_review(struct mach_host *host)
{
    for (uint32_t id = 0; host->ipc->doubted_count != 0 && id < host->nodes->slot_count; id++) {
        if (host->nodes->slots[id].live != NULL)
            review_node(host->nodes->slots[id].live);
    }
}
