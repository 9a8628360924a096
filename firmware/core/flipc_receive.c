/* SPDX-License-Identifier: MIT
 *
 * FLIPC, the destination: what arrives is checked, put in order, and delivered or refused.
 *
 * The message lies in private memory (the link copied it once), so what was checked is what is
 * used. Three things can be wrong, and each has its answer: bytes that are no message of this
 * protocol, or break the order or the credit, are the link's fault and close it; a proper message
 * that cannot be delivered is refused with a NAK and its sender told; a repetition after a resend
 * is dropped and acknowledged again.
 */
#include "heap.h"
#include "name_table.h"
#include "node.h"
#include "port.h"
#include <kernel/string.h>

enum arrival {
    ARRIVAL_MALFORMED,
    ARRIVAL_MESSAGE,  /* sequenced, stays unsettled until it is received */
    ARRIVAL_CONTROL,  /* sequenced, settled by being read */
    ARRIVAL_SNAPSHOT, /* not sequenced */
};

/* --- Checks ----------------------------------------------------------------------------------- */

/* The header begins as that of an ordinary message to this node does. */
static bool begins_as_message(const struct node *node, const struct kmsg *kmsg)
{
    le64 first;

    memcpy(&first, &kmsg->header, sizeof(first));
    return le64_load(first) ==
           (MNL_SUB_FLIPC | FLIPC_IPC << 8 | MNL_FLAG_SEQUENCED << 24 | (uint64_t)node->id << 32);
}

static enum arrival classify(const struct node *node, const struct kmsg *kmsg, size_t length_bytes)
{
    bool sequenced = kmsg->header.flags == MNL_FLAG_SEQUENCED;

    if (length_bytes < sizeof(kmsg->header) ||
        length_bytes - sizeof(kmsg->header) > kmsg->payload_capacity ||
        le32_load(kmsg->header.size) != length_bytes - sizeof(kmsg->header))
        return ARRIVAL_MALFORMED;
    if (begins_as_message(node, kmsg))
        return ARRIVAL_MESSAGE;
    if (le32_load(kmsg->header.node_id) != node->id || kmsg->header.sub == 0 ||
        (!sequenced && kmsg->header.flags != 0))
        return ARRIVAL_MALFORMED;
    if (kmsg->header.sub == MNL_SUB_FLIPC && kmsg->header.cmd == FLIPC_IPC && sequenced)
        return ARRIVAL_MESSAGE;
    if (kmsg->header.sub == MNL_SUB_FLIPC && kmsg->header.cmd == FLIPC_ACK)
        return sequenced ? ARRIVAL_MALFORMED : ARRIVAL_SNAPSHOT;
    return sequenced ? ARRIVAL_CONTROL : ARRIVAL_MALFORMED;
}

static bool disposition_is_right(uint32_t disposition)
{
    return disposition == PORT_SEND || disposition == PORT_SEND_ONCE;
}

static bool mach_header_is_sound(const struct kmsg *kmsg)
{
    const struct wire_mach_header *mach = &kmsg->mach;
    uint32_t size = le32_load(kmsg->header.size);
    uint32_t bits = le32_load(mach->bits);
    uint64_t local_name = le64_load(mach->local);
    uint32_t local = MACH_BITS_LOCAL(bits);

    if (size < sizeof(*mach) || le32_load(mach->size) != size ||
        le64_load(mach->remote) != le64_load(kmsg->header.object) ||
        le32_load(mach->voucher) != 0 || (bits & ~MACH_BITS_USED) != 0 ||
        !disposition_is_right(MACH_BITS_REMOTE(bits)))
        return false;
    return local == PORT_NONE ? local_name == NAME_NULL
                              : local_name != NAME_NULL && disposition_is_right(local);
}

/* --- Delivery --------------------------------------------------------------------------------- */

enum delivery {
    DELIVERY_POSSIBLE = 0, /* other values: enum flipc_nak_reason */
    DELIVERY_NEEDS_PORT = 100,
};

static int find_destination(struct mach_host *host, uint64_t name, struct port **port)
{
    if (NAME_NODE(name) != host->node_id)
        return FLIPC_NAK_NOT_PRINCIPAL;
    *port = name_lookup(host, name);
    if (*port != NULL)
        return DELIVERY_POSSIBLE;
    return name_was_ours(host, name) ? FLIPC_NAK_DEAD_PORT : FLIPC_NAK_UNKNOWN_NAME;
}

/* Sets kmsg->local. A reply port of ours that died is none; one of a third node must be known here.
 */
static int find_reply_port(struct node *node, struct kmsg *kmsg, struct port **spare)
{
    struct mach_host *host = node->host;
    uint64_t name = le64_load(kmsg->mach.local);
    enum resolution resolution;

    if (name == NAME_NULL)
        return DELIVERY_POSSIBLE;
    if (NAME_NODE(name) != node->id && name_lookup(host, name) == NULL) {
        if (NAME_NODE(name) != host->node_id)
            return FLIPC_NAK_BAD_MESSAGE;
        kmsg->mach.bits =
            le32_of(MACH_BITS(MACH_BITS_REMOTE(le32_load(kmsg->mach.bits)), PORT_NONE));
        return DELIVERY_POSSIBLE;
    }
    resolution = port_resolve(host, name, spare, &kmsg->local);
    switch (resolution) {
    case RESOLVED:
        return DELIVERY_POSSIBLE;
    case RESOLUTION_NEEDS_PORT:
        return DELIVERY_NEEDS_PORT;
    case RESOLUTION_UNKNOWN:
        break;
    }
    return FLIPC_NAK_BAD_MESSAGE;
}

static int prepare_delivery(struct node *node, struct kmsg *kmsg, struct port **spare,
                            struct port **port)
{
    int delivery;

    if (!mach_header_is_sound(kmsg))
        return FLIPC_NAK_BAD_MESSAGE;
    delivery = find_destination(node->host, le64_load(kmsg->header.object), port);
    if (delivery == DELIVERY_POSSIBLE)
        delivery = find_reply_port(node, kmsg, spare);
    return delivery;
}

static void accept_message(struct node *node, struct kmsg *kmsg)
{
    struct flow *flow = &node->flow;

    kmsg->source = node;
    kmsg->source_node = node->id;
    kmsg->source_incarnation = node->incarnation;
    kmsg->sequence_in = flow->next_expected;
    list_append(&flow->unsettled, &kmsg->flow);
    flow->unsettled_count++;
    word_store(&flow->next_expected, flow->next_expected + 1u);
    node->host->nodes->counters.received++;
}

void flipc_refuse(struct kmsg *kmsg, enum flipc_nak_reason reason, struct deferred *deferred)
{
    struct node *node = kmsg->source;
    struct flipc_nak_body *body = (struct flipc_nak_body *)(void *)&kmsg->mach;

    if (kmsg->local != NULL)
        port_unreference(kmsg->local, deferred);
    kmsg->local = NULL;
    kmsg->header = (struct wire_mnl_header){
        .sub = MNL_SUB_FLIPC,
        .cmd = FLIPC_NAK,
        .flags = MNL_FLAG_SEQUENCED,
        .node_id = le32_of(node->host->node_id),
        .size = le32_of(sizeof(*body)),
    };
    *body = (struct flipc_nak_body){
        .sequence = le32_of(kmsg->sequence_in),
        .reason = le32_of((uint32_t)reason),
        .resend_to = le32_of((uint32_t)-1),
    };
    list_append(&node->flow.control, &kmsg->queue);
    node->host->nodes->counters.refused++;
    node_kick(node);
}

/* --- Order ------------------------------------------------------------------------------------ */

enum order {
    ORDER_NEXT,
    ORDER_REPEATED,
    ORDER_BROKEN, /* from the future, or beyond the credit */
};

static enum order check_order(const struct flow *flow, uint32_t sequence, enum arrival arrival)
{
    uint32_t limit = flow->credit;

    if (sequence_before(sequence, flow->next_expected))
        return ORDER_REPEATED;
    if (arrival == ARRIVAL_CONTROL)
        limit += FLIPC_CONTROL_RESERVE;
    if (sequence != flow->next_expected || !sequence_before(sequence, limit))
        return ORDER_BROKEN;
    return ORDER_NEXT;
}

static kern_return_t check_node(const struct node *node)
{
    if (node->state == NODE_DEAD)
        return KERN_NODE_DOWN;
    if (node->state != NODE_REGISTERED || (node->link & NODE_GATE_MSG_FROM_NODE) == 0)
        return KERN_FAILURE;
    return KERN_SUCCESS;
}

/* --- Arrival, one kind at a time; called with the lock, which stays held ---------------------- */

struct receiving {
    struct node *node;
    struct kmsg *kmsg; /* null: it went somewhere */
    struct port *spare;
    bool no_memory; /* there is no spare, and there will be none */
    bool death;     /* `kmsg` is a DEATH message of node 0 */
    struct deferred deferred;
};

static bool receive_message(struct receiving *receiving)
{
    struct node *node = receiving->node;
    struct kmsg *kmsg = receiving->kmsg;
    struct port *port;
    int delivery = prepare_delivery(node, kmsg, &receiving->spare, &port);

    if (delivery == DELIVERY_NEEDS_PORT) {
        if (!receiving->no_memory)
            return false;
        delivery = FLIPC_NAK_NO_RESOURCES;
    }
    accept_message(node, kmsg);
    receiving->kmsg = NULL;
    if (delivery == DELIVERY_POSSIBLE)
        port_enqueue(port, kmsg);
    else
        flipc_refuse(kmsg, (enum flipc_nak_reason)delivery, &receiving->deferred);
    return true;
}

/* Unknown commands are counted and settled like any other: a newer peer may have reasons. */
COLD static void receive_control(struct receiving *receiving)
{
    struct node *node = receiving->node;
    const struct wire_mnl_header *header = &receiving->kmsg->header;
    const void *payload = &receiving->kmsg->mach;
    bool understood = false;

    flipc_settle_control(node);
    if (header->sub == MNL_SUB_FLIPC && header->cmd == FLIPC_NAK)
        understood =
            flipc_nak_received(node, payload, le32_load(header->size), &receiving->deferred);
    else if (header->sub == MNL_SUB_NODE && header->cmd == NODE_DEATH && node->id == 0)
        understood = receiving->death = le32_load(header->size) == sizeof(struct node_death_body);
    if (!understood)
        node->host->nodes->counters.dropped++;
}

/* Returns the function's result, or -1: unlock, provide a spare port and come again. */
static int receive_locked(struct receiving *receiving, enum arrival arrival)
{
    struct node *node = receiving->node;
    const struct wire_mnl_header *header = &receiving->kmsg->header;
    kern_return_t result = check_node(node);

    if (result != KERN_SUCCESS)
        return result;
    if (arrival == ARRIVAL_SNAPSHOT) {
        const void *payload = &receiving->kmsg->mach;

        return flipc_snapshot_received(node, payload, le32_load(header->size), &receiving->deferred)
                   ? KERN_SUCCESS
                   : KERN_INVALID_ARGUMENT;
    }
    switch (check_order(&node->flow, le32_load(header->options), arrival)) {
    case ORDER_BROKEN:
        return KERN_INVALID_ARGUMENT;
    case ORDER_REPEATED:
        node->host->nodes->counters.duplicates++;
        flipc_owe(node, node->flow.ack_count);
        return KERN_SUCCESS;
    case ORDER_NEXT:
        break;
    }
    if (arrival == ARRIVAL_CONTROL)
        receive_control(receiving);
    else if (!receive_message(receiving))
        return -1;
    return KERN_SUCCESS;
}

static void provide_spare(struct receiving *receiving)
{
    struct mach_host *host = receiving->node->host;

    receiving->spare = port_allocate(host, PORT_PROXY, host->constants.window);
    receiving->no_memory = receiving->spare == NULL;
}

/* Who asks once, mostly asks again and from a new port: then the spare is there at the first try. */
static void foresee_reply_port(struct receiving *receiving)
{
    if (__atomic_load_n(&receiving->node->brings_reply_ports, __ATOMIC_RELAXED) &&
        le64_load(receiving->kmsg->mach.local) != NAME_NULL)
        provide_spare(receiving);
}

static void note_reply_port(struct receiving *receiving, bool was_needed)
{
    __atomic_store_n(&receiving->node->brings_reply_ports, was_needed, __ATOMIC_RELAXED);
}

static kern_return_t receive_classified(struct receiving *receiving, enum arrival arrival)
{
    struct mach_host *host = receiving->node->host;
    int result;

    if (arrival == ARRIVAL_MESSAGE)
        foresee_reply_port(receiving);

    for (;;) {
        ipc_lock(host);
        result = receive_locked(receiving, arrival);
        if (result > 0)
            host->nodes->counters.dropped++;
        ipc_unlock(host);
        if (result >= 0)
            return result;
        provide_spare(receiving);
        note_reply_port(receiving, true);
    }
}

kern_return_t flipc_receive(struct node *node, struct kmsg *kmsg, size_t length_bytes)
{
    struct mach_host *host = node->host;
    struct receiving receiving = {.node = node, .kmsg = kmsg};
    enum arrival arrival = classify(node, kmsg, length_bytes);
    kern_return_t result;

    if (arrival == ARRIVAL_MALFORMED) {
        ipc_lock(host);
        host->nodes->counters.dropped++;
        ipc_unlock(host);
        heap_free(host, kmsg);
        return KERN_INVALID_ARGUMENT;
    }
    deferred_init(&receiving.deferred);
    result = receive_classified(&receiving, arrival);
    deferred_run(host, &receiving.deferred);
    if (receiving.death)
        node_death_received(host, (const struct node_death_body *)(const void *)&kmsg->mach);
    if (receiving.spare != NULL) {
        note_reply_port(&receiving, false);
        heap_free(host, receiving.spare);
    }
    heap_free(host, receiving.kmsg);
    return result;
}
