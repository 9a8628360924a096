/* SPDX-License-Identifier: MIT
 *
 * Rights that arrive in messages; see rights.h. The bytes are a peer's: their form is checked when
 * the message arrives, and what the names mean when it is received.
 */
#include "migrate.h"
#include "name_table.h"
#include "node.h"
#include "port.h"
#include "rights.h"
#include "rights_slots.h"

/* --- Form ------------------------------------------------------------------------------------- */

static uint64_t round_up(uint64_t bytes)
{
    return (bytes + 7u) & ~7ull;
}

static bool disposition_is_right(uint32_t disposition)
{
    return disposition >= PORT_RECEIVE && disposition <= PORT_SEND_ONCE;
}

static bool port_descriptor_is_sound(const struct wire_descriptor *descriptor, uint32_t disposition)
{
    uint64_t name = le64_load(descriptor->name);
    uint32_t count = le32_load(descriptor->count);
    uint16_t home = le16_load(descriptor->home);

    if (descriptor->type != WIRE_PORT || descriptor->disposition != disposition ||
        !disposition_is_right(disposition))
        return false;
    if (disposition == PORT_RECEIVE)
        return name != NAME_NULL && NAME_TAG(name) != 0 && home == 0 && count >= 1 &&
               count <= PORT_LIMIT_MAXIMUM;
    return count == 0 && (name != NAME_NULL || home == 0);
}

static bool array_is_sound(const struct wire_descriptor *array, uint32_t count,
                           uint32_t disposition)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!port_descriptor_is_sound(&array[i], disposition))
            return false;
    }
    return true;
}

/* The data of an out-of-line descriptor begin at `offset` of a body of `body_bytes`. Returns where
 * they end, 0: malformed. */
static uint64_t data_end(struct kmsg *kmsg, const struct wire_descriptor *descriptor,
                         uint64_t offset, uint32_t body_bytes)
{
    uint32_t count = le32_load(descriptor->count);
    uint64_t end;

    if (le16_load(descriptor->home) != 0 || le64_load(descriptor->name) != NAME_NULL)
        return 0;
    if (descriptor->type == WIRE_BYTES) {
        end = offset + round_up(count);
        return descriptor->disposition == 0 && end <= body_bytes ? end : 0;
    }
    if (count > MESSAGE_RIGHTS_MAXIMUM)
        return 0;
    end = offset + count * sizeof(*descriptor);
    if (end > body_bytes || !disposition_is_right(descriptor->disposition) ||
        !array_is_sound((const struct wire_descriptor *)(const void *)(kmsg->body + offset), count,
                        descriptor->disposition))
        return 0;
    return end;
}

int rights_check_form(struct kmsg *kmsg, uint32_t body_bytes)
{
    const struct wire_complex *complex = kmsg_complex(kmsg);
    const struct wire_descriptor *descriptors = kmsg_descriptors(kmsg);
    uint32_t count, ports = 0;
    uint64_t offset;

    if (body_bytes < sizeof(*complex))
        return -1;
    count = le32_load(complex->descriptor_count);
    if (count == 0 || count > MESSAGE_DESCRIPTORS_MAXIMUM)
        return -1;
    offset = sizeof(*complex) + count * sizeof(*descriptors);
    offset += round_up(le32_load(complex->inline_bytes));
    if (offset > body_bytes)
        return -1;
    for (uint32_t i = 0; i < count; i++) {
        if (descriptors[i].type == WIRE_PORT) {
            if (!port_descriptor_is_sound(&descriptors[i], descriptors[i].disposition))
                return -1;
            ports++;
        } else {
            if (descriptors[i].type > WIRE_PORTS)
                return -1;
            offset = data_end(kmsg, &descriptors[i], offset, body_bytes);
            if (offset == 0)
                return -1;
            if (descriptors[i].type == WIRE_PORTS)
                ports += le32_load(descriptors[i].count);
        }
        if (ports > MESSAGE_RIGHTS_MAXIMUM)
            return -1;
    }
    return offset == body_bytes ? (int)ports : -1;
}

static void index_one(struct kmsg *kmsg, struct kmsg_rights *rights, uint64_t offset)
{
    const struct wire_descriptor *descriptor = (const void *)(kmsg->body + offset);

    rights->right[rights->count++] =
        (struct kmsg_right){.offset = (uint32_t)offset, .disposition = descriptor->disposition};
}

void rights_index(struct kmsg *kmsg, struct kmsg_rights *rights)
{
    const struct wire_complex *complex = kmsg_complex(kmsg);
    const struct wire_descriptor *descriptors = kmsg_descriptors(kmsg);
    uint32_t count = le32_load(complex->descriptor_count);
    uint64_t first = sizeof(*complex);
    uint64_t data =
        first + count * sizeof(*descriptors) + round_up(le32_load(complex->inline_bytes));

    rights->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (descriptors[i].type == WIRE_PORT) {
            index_one(kmsg, rights, first + i * sizeof(*descriptors));
        } else if (descriptors[i].type == WIRE_BYTES) {
            data += round_up(le32_load(descriptors[i].count));
        } else {
            for (uint32_t k = le32_load(descriptors[i].count); k > 0;
                 k--, data += sizeof(*descriptors))
                index_one(kmsg, rights, data);
        }
    }
    kmsg->rights = rights;
}

/* --- Names ------------------------------------------------------------------------------------ */

static uint32_t home_of(const struct rights_slot *slot, uint32_t source_node)
{
    uint16_t home = le16_load(*slot->home);

    return home == 0 ? source_node : WIRE_HOME_NODE(home);
}

/* A name that nobody here knows, and that is at `home`: was it made by a life that can be? A name
 * moves with its port and outlives its creator, so that may be any life of anybody. */
static bool name_is_possible(struct mach_host *host, uint64_t name, uint32_t home)
{
    uint32_t creator = NAME_NODE(name);

    if (creator >= host->constants.nodes_max)
        return false;
    if (NAME_TAG(name) == 0)
        return creator == home;
    return creator != host->node_id || name_was_ours(host, name);
}

/* Tags go round: half of them are of lives before, half of lives after. */
static bool is_of_later_life(uint64_t name, const struct node *node)
{
    uint32_t tag = NAME_TAG_OF_INCARNATION(node->incarnation);
    uint32_t distance = (NAME_TAG(name) + NAME_TAGS - tag) % NAME_TAGS;

    return NAME_TAG(name) != 0 && node->knows_incarnation && distance != 0 &&
           distance < NAME_TAGS / 2;
}

/* Can a port of that name be reached at `home`? Not if that is a life of which is not known here that it
 * began: what is sent there would go to the one before. */
static bool home_is_known(struct mach_host *host, uint64_t name, uint32_t home)
{
    const struct node *node = node_live(host, home);

    return node != NULL && (NAME_NODE(name) != home || !is_of_later_life(name, node));
}

static int check_name(const struct node *node, const struct rights_slot *slot)
{
    struct mach_host *host = node->host;
    uint64_t name = rights_slot_name(slot);
    uint32_t home = home_of(slot, node->id);
    const struct port *port;

    if (name == NAME_NULL)
        return 0;
    if (NAME_SERIAL(name) == 0)
        return FLIPC_NAK_BAD_MESSAGE;
    port = name_lookup(host, name);
    if (port != NULL)
        return slot->disposition == PORT_RECEIVE && port_is_here(port) && !port->departed
                   ? FLIPC_NAK_BAD_MESSAGE
                   : 0;
    if (!name_is_possible(host, name, home))
        return FLIPC_NAK_BAD_MESSAGE;
    if (home != host->node_id && !home_is_known(host, name, home))
        return FLIPC_NAK_NO_ROUTE;
    return 0;
}

/* Is the reply right none, or one to a port that its source made in this life and has? Then its name is
 * such, known here or not. */
static inline bool brings_own_name(const struct node *node, const struct kmsg *kmsg)
{
    uint64_t name = le64_load(kmsg->mach.local);

    return name == NAME_NULL || (name >> 32 == node->names && NAME_SERIAL(name) != 0 &&
                                 le16_load(kmsg->mach.local_home) == 0);
}

int rights_check_names(const struct node *node, struct kmsg *kmsg)
{
    uint32_t count = rights_slot_count(kmsg);

    for (uint32_t i = brings_own_name(node, kmsg) ? 1 : 0; i < count; i++) {
        struct rights_slot slot = rights_slot(kmsg, i);
        int reason = check_name(node, &slot);

        if (reason != 0)
            return reason;
    }
    return 0;
}

/* --- Supplies --------------------------------------------------------------------------------- */

/* Memory for what is made under the lock. */
struct supplies {
    struct port *ports; /* by port.name_next */
    uint32_t port_count;
    struct share_spares shares;
};

struct needs {
    uint32_t ports;
    uint32_t shares;
};

static void supplies_free(struct mach_host *host, struct supplies *supplies)
{
    while (supplies->ports != NULL) {
        struct port *port = supplies->ports;

        supplies->ports = port->name_next;
        heap_free(host, port);
    }
    share_spares_free(host, &supplies->shares);
}

static bool supplies_fill(struct mach_host *host, struct supplies *supplies,
                          const struct needs *needs)
{
    while (supplies->port_count < needs->ports) {
        struct port *port = port_allocate(host, PORT_PROXY, host->constants.window);

        if (port == NULL)
            return false;
        port->name_next = supplies->ports;
        supplies->ports = port;
        supplies->port_count++;
    }
    return share_spares_fill(host, &supplies->shares, needs->shares);
}

static struct port *supplies_port(struct supplies *supplies)
{
    struct port *port = supplies->ports;

    supplies->ports = port->name_next;
    supplies->port_count--;
    port->name_next = NULL;
    return port;
}

/* --- Take ------------------------------------------------------------------------------------- */

/* Who gave the rights of a message. */
struct giver {
    struct mach_host *host;
    struct node *node;
    uint32_t node_id;
};

/* The slot's port, if it is known, is left in it for take_slot(). */
static void count_needs(const struct giver *giver, const struct rights_slot *slot,
                        struct needs *needs)
{
    uint32_t home = home_of(slot, giver->node_id);
    struct port *port;

    *slot->port = NULL;
    if (rights_slot_name(slot) == NAME_NULL)
        return;
    port = *slot->port = name_lookup(giver->host, rights_slot_name(slot));
    if (slot->disposition == PORT_RECEIVE)
        needs->shares += 2;
    if (port == NULL && (slot->disposition == PORT_RECEIVE || home != giver->host->node_id)) {
        needs->ports++;
        if (home != giver->node_id)
            needs->shares++;
    } else if (port != NULL && home != giver->host->node_id && port->first.node != NULL &&
               port->first.node != giver->node) {
        needs->shares++; /* also if there is one: another right of the message may end it */
    }
}

static struct needs message_needs(const struct giver *giver, struct kmsg *kmsg)
{
    struct needs needs = {0};
    uint32_t count = rights_slot_count(kmsg);

    for (uint32_t i = 0; i < count; i++) {
        struct rights_slot slot = rights_slot(kmsg, i);

        count_needs(giver, &slot, &needs);
    }
    return needs;
}

static void count_right(struct right_counts *counts, enum port_disposition disposition)
{
    if (disposition == PORT_SEND)
        counts->send++;
    else
        counts->once++;
}

/* A right to a port that is here. False: the giver cannot have had it. */
static bool take_to_here(const struct giver *giver, struct port *port,
                         const struct rights_slot *slot, struct supplies *supplies,
                         struct deferred *deferred)
{
    bool returned = home_of(slot, giver->node_id) == giver->host->node_id;
    struct share *share;

    if (returned && slot->disposition == PORT_SEND_ONCE) {
        share = share_find(port, giver->node);
        if (share == NULL || share_return_once(share, 1, deferred) == 0)
            return false;
        share_settle(share, deferred);
    } else if (!returned) {
        /* The giver thought it elsewhere, and has it on its own account. */
        share = share_open(port, giver->node, &supplies->shares);
        count_right(&share->drop, slot->disposition);
        share_tell(share);
    }
    port_reference(port);
    if (slot->disposition == PORT_SEND_ONCE)
        port->once++;
    return true;
}

/* A right to a port that is at another node: on its account, or to be put there. */
static bool take_to_proxy(const struct giver *giver, struct port *port,
                          const struct rights_slot *slot, struct supplies *supplies,
                          struct deferred *deferred)
{
    uint32_t home = home_of(slot, giver->node_id);
    struct share *share;

    if (home == giver->host->node_id) { /* ours to answer for, as long as the giver had it */
        if (slot->disposition != PORT_SEND_ONCE) {
            port_reference(port);
            return true;
        }
        share = share_find(port, giver->node);
        port_reference(port);
        if (share == NULL || share_return_once(share, 1, deferred) == 0) {
            port_unreference(port, deferred);
            return false;
        }
        share_settle(share, deferred);
        return true;
    }
    port_reference(port);
    count_right(&port->home->held, slot->disposition);
    if (port->node == giver->node && home == giver->node_id)
        return true;
    count_right(&port->home->add, slot->disposition);
    share_tell(port->home);
    share = share_open(port, giver->node, &supplies->shares);
    count_right(&share->taken, slot->disposition);
    return true;
}

/* The right's port, with a reference; null: dead. */
static struct port *take_one(const struct giver *giver, const struct rights_slot *slot,
                             struct port *port, struct supplies *supplies,
                             struct deferred *deferred)
{
    bool took;

    if (port == NULL) {
        struct node *node = node_live(giver->host, home_of(slot, giver->node_id));

        if (node == NULL)
            return NULL;
        port = supplies_port(supplies);
        port_become_proxy(port, node, rights_slot_name(slot));
        took = take_to_proxy(giver, port, slot, supplies, deferred);
        port->references--; /* that of its making */
    } else if (port_is_here(port)) {
        took = take_to_here(giver, port, slot, supplies, deferred);
    } else {
        took = take_to_proxy(giver, port, slot, supplies, deferred);
    }
    if (took)
        return port;
    giver->host->nodes->counters.dropped++;
    return NULL;
}

/* The port that count_needs() found, unless it ended with a right of the same message: its memory is
 * still there, since the lock was not released. Or one that such a right made known. */
static inline struct port *slot_port(const struct giver *giver, const struct rights_slot *slot)
{
    uint64_t name = rights_slot_name(slot);
    struct port *port = *slot->port;

    if (port != NULL && port->name == name && port->references != 0 && !port->dead)
        return port;
    return name_lookup(giver->host, name);
}

static void take_slot(const struct giver *giver, struct rights_slot *slot,
                      struct supplies *supplies, struct deferred *deferred)
{
    struct port *port;

    if (rights_slot_name(slot) == NAME_NULL)
        return;
    port = slot_port(giver, slot);
    *slot->port = NULL;
    if (slot->disposition != PORT_RECEIVE) {
        *slot->port = take_one(giver, slot, port, supplies, deferred);
        return;
    }
    panic_unless(slot->count != NULL);
    if (port != NULL && port->departed) {
        migrate_back(port, le32_load(*slot->count), giver->node, &supplies->shares, deferred);
        *slot->port = port;
        return;
    }
    if (port != NULL && port_is_here(port)) {
        giver->host->nodes->counters.dropped++; /* the same right twice */
        return;
    }
    if (port == NULL)
        port = supplies_port(supplies);
    migrate_take(port, rights_slot_name(slot), le32_load(*slot->count), giver->node,
                 &supplies->shares, deferred);
    *slot->port = port;
}

bool rights_use_once(struct port *port, const struct node *node, struct deferred *deferred)
{
    struct share *share = share_find(port, node);

    if (share == NULL || share_return_once(share, 1, deferred) == 0)
        return false;
    share_settle(share, deferred);
    return true;
}

/* Was the message sent with a right that its source had? */
static bool may_send(struct port *port, struct kmsg *kmsg, struct deferred *deferred)
{
    return !kmsg_was_sent_once(kmsg) || rights_use_once(port, kmsg->source, deferred);
}

void rights_use_once_of(const struct kmsg *kmsg, const struct node *node, struct deferred *deferred)
{
    struct port *port;

    if (kmsg->rights_state != KMSG_RIGHTS_WIRE || !kmsg_was_sent_once(kmsg))
        return;
    port = name_lookup(node->host, le64_load(kmsg->mach.remote));
    if (port != NULL && port_is_here(port))
        (void)rights_use_once(port, node, deferred);
}

static bool is_supplied(const struct supplies *supplies, const struct needs *needs)
{
    return supplies->port_count >= needs->ports && supplies->shares.count >= needs->shares;
}

/* Have what the message needs; false: no memory, or its source died while the lock was released to
 * allocate. */
static bool supply(const struct giver *giver, struct kmsg *kmsg, struct supplies *supplies)
{
    struct needs needs = message_needs(giver, kmsg);

    while (!is_supplied(supplies, &needs)) {
        bool filled;

        ipc_unlock(giver->host);
        filled = supplies_fill(giver->host, supplies, &needs);
        ipc_lock(giver->host);
        if (!filled || kmsg->source == NULL)
            return false;
        needs = message_needs(giver, kmsg);
    }
    return true;
}

static int take_names(struct port *port, struct kmsg *kmsg, struct supplies *supplies,
                      struct deferred *deferred)
{
    struct giver giver = {.host = port->host, .node = kmsg->source, .node_id = kmsg->source_node};
    uint32_t count = rights_slot_count(kmsg);

    if (!supply(&giver, kmsg, supplies))
        return FLIPC_NAK_NO_RESOURCES;
    if (!may_send(port, kmsg, deferred))
        return FLIPC_NAK_NO_RIGHT;
    for (uint32_t i = 0; i < count; i++) {
        struct rights_slot slot = rights_slot(kmsg, i);

        take_slot(&giver, &slot, supplies, deferred);
    }
    if (kmsg->local == NULL)
        kmsg_set_local_right(kmsg, PORT_NONE);
    return 0;
}

/* Take whatever there is. */
COLD static int take_any(struct port *port, struct kmsg *kmsg, struct deferred *deferred)
{
    struct supplies supplies = {.ports = NULL};
    int reason;

    share_spares_init(&supplies.shares);
    reason = take_names(port, kmsg, &supplies, deferred);
    if (supplies.ports != NULL || supplies.shares.count != 0) {
        ipc_unlock(port->host);
        supplies_free(port->host, &supplies);
        ipc_lock(port->host);
    }
    return reason;
}

/* --- Take what is usual ----------------------------------------------------------------------- */

/* Is every right to a port of the source's that is known here? Then they need nothing, and taking one
 * ends no other. Leaves the ports in the slots. */
static bool find_known(struct kmsg *kmsg)
{
    const struct node *source = kmsg->source;
    uint32_t count = rights_slot_count(kmsg);

    for (uint32_t i = rights_first(kmsg); i < count; i++) {
        struct rights_slot slot = rights_slot(kmsg, i);
        struct port *port = name_lookup(kmsg->host, rights_slot_name(&slot));

        if (port == NULL || port->kind != PORT_PROXY || port->node != source ||
            le16_load(*slot.home) != 0 || slot.disposition == PORT_RECEIVE)
            return false;
        *slot.port = port;
    }
    return true;
}

static void take_known(struct kmsg *kmsg)
{
    uint32_t count = rights_slot_count(kmsg);

    for (uint32_t i = rights_first(kmsg); i < count; i++) {
        struct port *port = rights_port(kmsg, i);

        port_reference(port);
        count_right(&port->home->held, rights_disposition(kmsg, i));
    }
}

/* Does it bring a reply right to a port of its source's that is not known here, and no others? */
static bool brings_new_reply(const struct kmsg *kmsg)
{
    return kmsg->rights == NULL && le16_load(kmsg->mach.local_home) == 0 &&
           !kmsg_was_sent_once(kmsg) &&
           name_lookup(kmsg->host, le64_load(kmsg->mach.local)) == NULL;
}

/* The reply right becomes one to `port`, with a reference that is there. */
static inline void reply_through(struct kmsg *kmsg, struct port *port)
{
    count_right(&port->home->held, kmsg_reply_disposition(kmsg));
    kmsg->local = port;
}

/* As rights_take(). */
COLD static int take_new_reply(struct port *to, struct kmsg *kmsg, struct deferred *deferred)
{
    struct mach_host *host = kmsg->host;
    uint64_t name = le64_load(kmsg->mach.local);
    struct port *spare, *port;

    ipc_unlock(host);
    spare = port_allocate(host, PORT_PROXY, host->constants.window);
    ipc_lock(host);
    if (spare == NULL)
        return FLIPC_NAK_NO_RESOURCES;
    port = name_lookup(host, name);
    if (kmsg->source == NULL || port != NULL) {
        port_defer_free(spare, deferred);
        return kmsg->source == NULL ? FLIPC_NAK_NO_RESOURCES : take_any(to, kmsg, deferred);
    }
    port_become_proxy(spare, kmsg->source, name);
    reply_through(kmsg, spare);
    return 0;
}

/* The answer to a call: it brings nothing, and uses the send-once right that its source had on the
 * port's own account. */
static bool take_answer(struct port *port, const struct kmsg *kmsg)
{
    if (port->first.node != kmsg->source || port->first.given.once == 0 || port->first.passed)
        return false;
    port->first.given.once--;
    port->given.once--;
    if (!port_is_needed(port))
        port_out_of_use(port);
    return true;
}

/* A request with a reply port of its source's: known if the answer before was not settled yet. */
static bool take_request(struct kmsg *kmsg)
{
    uint64_t name = le64_load(kmsg->mach.local);
    struct port *port;

    if (le16_load(kmsg->mach.local_home) != 0 || kmsg_was_sent_once(kmsg))
        return false;
    port = name_lookup(kmsg->host, name);
    if (port == NULL)
        port = port_spare_take(kmsg->source, name);
    else if (port->kind == PORT_PROXY && port->node == kmsg->source)
        port_reference(port);
    else
        port = NULL;
    if (port != NULL)
        reply_through(kmsg, port);
    return port != NULL;
}

bool rights_take_of_call(struct port *port, struct kmsg *kmsg)
{
    bool took;

    if (kmsg->source == NULL || kmsg->rights != NULL || port->kind != PORT_PRINCIPAL)
        return false;
    if (le64_load(kmsg->mach.local) != NAME_NULL)
        took = take_request(kmsg);
    else
        took = kmsg_was_sent_once(kmsg) && take_answer(port, kmsg);
    if (took)
        kmsg->rights_state = KMSG_RIGHTS_OURS;
    return took;
}

int rights_take(struct port *port, struct kmsg *kmsg, struct deferred *deferred)
{
    int reason = 0;

    if (find_known(kmsg)) { /* or it brings none */
        if (!may_send(port, kmsg, deferred))
            return FLIPC_NAK_NO_RIGHT;
        take_known(kmsg);
    } else if (brings_new_reply(kmsg)) {
        reason = take_new_reply(port, kmsg, deferred);
    } else {
        reason = take_any(port, kmsg, deferred);
    }
    if (reason == 0)
        kmsg->rights_state = KMSG_RIGHTS_OURS;
    return reason;
}
