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
#include "node_notice.h"
#include "port.h"
#include "rights.h"
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
        (bits & ~MACH_BITS_USED) != 0 || !disposition_is_right(MACH_BITS_REMOTE(bits)))
        return false;
    return local == PORT_NONE ? local_name == NAME_NULL && le16_load(mach->local_home) == 0
                              : local_name != NAME_NULL && disposition_is_right(local);
}

/* --- Delivery --------------------------------------------------------------------------------- */

/* Returns 0, or an enum flipc_nak_reason. */
static int find_destination(struct mach_host *host, uint64_t name, struct port **port)
{
    *port = name_lookup(host, name);
    if (*port != NULL && port_is_here(*port))
        return 0;
    if (*port != NULL && (*port)->home->held.send != 0)
        return FLIPC_NAK_MOVED;
    if (NAME_NODE(name) != host->node_id)
        return FLIPC_NAK_NOT_PRINCIPAL;
    return name_was_ours(host, name) ? FLIPC_NAK_DEAD_PORT : FLIPC_NAK_UNKNOWN_NAME;
}

/* Does it use, or bring, another right than a send right to its port? Of a sound header that does not say
 * RESUMED any more. */
static bool has_rights(const struct kmsg *kmsg)
{
    return le32_load(kmsg->mach.bits) != MACH_BITS(PORT_SEND, PORT_NONE);
}

static void accept_message(struct node *node, struct kmsg *kmsg)
{
    struct flow *flow = &node->flow;

    kmsg->source = node;
    kmsg->source_node = node->id;
    kmsg->source_incarnation = node->incarnation;
    kmsg->source_sender = le16_load(kmsg->mach.sender);
    kmsg->sequence_in = flow->next_expected;
    list_append(&flow->unsettled, &kmsg->flow);
    flow->unsettled_count++;
    word_store(&flow->next_expected, flow->next_expected + 1u);
    node->host->nodes->counters.received++;
}

/* A send-once right is used by its message, whether that is received or not; so that its owner does
 * not wait for ever, it is told that the right died. */
static void refuse_once(const struct kmsg *kmsg, enum flipc_nak_reason reason,
                        struct deferred *deferred)
{
    struct port *port;

    if (!kmsg_was_sent_once(kmsg) || reason == FLIPC_NAK_MOVED || reason == FLIPC_NAK_NO_RIGHT)
        return;
    port = name_lookup(kmsg->host, le64_load(kmsg->header.object));
    if (port != NULL && port_is_here(port) && rights_use_once(port, kmsg->source, deferred))
        port_once_died(port, 1, deferred);
}

static void refuse_moved(const struct kmsg *kmsg)
{
    struct port *port = name_lookup(kmsg->host, le64_load(kmsg->header.object));

    if (port != NULL)
        share_refuse(port, kmsg->source);
}

void flipc_refuse(struct kmsg *kmsg, enum flipc_nak_reason reason, int32_t resend_to,
                  struct deferred *deferred)
{
    struct node *node = kmsg->source;
    struct flipc_nak_body *body = (struct flipc_nak_body *)(void *)&kmsg->mach;

    if (reason == FLIPC_NAK_MOVED)
        refuse_moved(kmsg);
    if (kmsg->rights_state == KMSG_RIGHTS_WIRE) {
        refuse_once(kmsg, reason, deferred);
        rights_die(kmsg, deferred);
    }
    rights_doubt_no_more(kmsg);
    kmsg->destination = NULL;
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
        .resend_to = le32_of((uint32_t)resend_to),
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

/* An IPC message. */
struct receiving {
    struct node *node;
    struct kmsg *kmsg; /* null: it went somewhere */
    int early_reason; /* a message that is refused whatever else there is: an enum flipc_nak_reason */
    struct deferred deferred;
};

/* Any other. */
struct telling {
    struct node *node;
    const struct kmsg *kmsg;
    bool death;                 /* it is a DEATH message of node 0 */
    uint8_t notice;             /* it is another NODE message: its command */
    struct share_spares spares; /* for a RIGHTS message */
    struct deferred deferred;
};

static bool brings_rights(const struct kmsg *kmsg)
{
    return le64_load(kmsg->mach.local) != NAME_NULL || kmsg->rights != NULL;
}

static int check_message(const struct receiving *receiving, struct port **port)
{
    struct kmsg *kmsg = receiving->kmsg;
    int reason = receiving->early_reason;

    if (reason == 0)
        reason = find_destination(receiving->node->host, le64_load(kmsg->header.object), port);
    if (reason == 0 && !share_accepts(*port, receiving->node, kmsg_is_resumed(kmsg)))
        reason = FLIPC_NAK_MOVED;
    if (reason != 0 || !brings_rights(kmsg))
        return reason;
    if (receiving->node->flow.notice_count >= FLOW_NOTICES_MAXIMUM)
        return FLIPC_NAK_NO_RESOURCES;
    return rights_check_names(receiving->node, kmsg);
}

static void receive_message(struct receiving *receiving)
{
    struct kmsg *kmsg = receiving->kmsg;
    struct port *port = NULL;
    int reason = check_message(receiving, &port);

    accept_message(receiving->node, kmsg);
    receiving->kmsg = NULL;
    kmsg_set_resumed(kmsg, false);
    kmsg->rights_state = KMSG_RIGHTS_OURS;
    if (receiving->early_reason != FLIPC_NAK_BAD_MESSAGE && has_rights(kmsg))
        kmsg->rights_state = KMSG_RIGHTS_WIRE;
    kmsg->destination = port;
    if (reason == 0 && (kmsg->rights != NULL || !list_is_empty(&port->doubted)) &&
        rights_are_doubtful(port, kmsg))
        rights_doubt(port, kmsg);
    else if (reason == 0)
        port_enqueue(port, kmsg);
    else
        flipc_refuse(kmsg, (enum flipc_nak_reason)reason,
                     reason == FLIPC_NAK_MOVED ? (int32_t)port_home(port) : -1,
                     &receiving->deferred);
}

/* Unknown commands are counted and settled like any other: a newer peer may have reasons. */
static void receive_control(struct telling *telling)
{
    struct node *node = telling->node;
    const struct wire_mnl_header *header = &telling->kmsg->header;
    const void *payload = &telling->kmsg->mach;
    uint32_t size_bytes = le32_load(header->size);
    bool understood = false;

    flipc_settle_control(node);
    if (header->sub == MNL_SUB_FLIPC && header->cmd == FLIPC_NAK)
        understood = flipc_nak_received(node, payload, size_bytes, &telling->deferred);
    else if (header->sub == MNL_SUB_FLIPC && header->cmd == FLIPC_RIGHTS &&
             flipc_rights_check(payload, size_bytes) >= 0) {
        understood = true;
        flipc_rights_received(node, payload, &telling->spares, &telling->deferred);
    } else if (header->sub == MNL_SUB_NODE && header->cmd == NODE_DEATH && node->id == 0) {
        understood = telling->death = size_bytes == sizeof(struct node_death_body);
    } else if (header->sub == MNL_SUB_NODE && node_notice_is_sound(node, header, payload)) {
        telling->notice = header->cmd;
        understood = true;
    }
    if (!understood)
        node->host->nodes->counters.dropped++;
}

/* What came before is dropped, and acknowledged again: that the ack was lost is why it came twice. */
COLD static void receive_again(struct node *node)
{
    node->host->nodes->counters.duplicates++;
    flipc_owe(node, node->flow.ack_count);
}

/* Is the message of the node the next of its stream? If not, `*result` says what comes of that. */
static bool is_next(struct node *node, const struct kmsg *kmsg, enum arrival arrival,
                    kern_return_t *result)
{
    *result = KERN_INVALID_ARGUMENT;
    switch (check_order(&node->flow, le32_load(kmsg->header.options), arrival)) {
    case ORDER_BROKEN:
        return false;
    case ORDER_REPEATED:
        receive_again(node);
        *result = KERN_SUCCESS;
        return false;
    case ORDER_NEXT:
        break;
    }
    *result = KERN_SUCCESS;
    return true;
}

static kern_return_t receive_locked(struct receiving *receiving)
{
    kern_return_t result = check_node(receiving->node);

    if (result == KERN_SUCCESS &&
        is_next(receiving->node, receiving->kmsg, ARRIVAL_MESSAGE, &result))
        receive_message(receiving);
    return result;
}

static kern_return_t hear_locked(struct telling *telling, enum arrival arrival)
{
    struct node *node = telling->node;
    kern_return_t result = check_node(node);

    if (result != KERN_SUCCESS)
        return result;
    if (arrival == ARRIVAL_SNAPSHOT)
        return flipc_snapshot_received(node, (const void *)&telling->kmsg->mach,
                                       le32_load(telling->kmsg->header.size), &telling->deferred)
                   ? KERN_SUCCESS
                   : KERN_INVALID_ARGUMENT;
    if (is_next(node, telling->kmsg, arrival, &result))
        receive_control(telling);
    return result;
}

/* The places of the rights that a complex message brings; what is wrong with it is its refusal. */
APART static void prepare_complex(struct receiving *receiving)
{
    struct kmsg *kmsg = receiving->kmsg;
    struct kmsg_rights *rights;
    int count;

    count = rights_check_form(kmsg, le32_load(kmsg->header.size) - (uint32_t)sizeof(kmsg->mach));
    if (count < 0) {
        receiving->early_reason = FLIPC_NAK_BAD_MESSAGE;
        return;
    }
    rights = kmsg_rights_allocate(kmsg, (uint32_t)count);
    if (rights == NULL)
        receiving->early_reason = FLIPC_NAK_NO_RESOURCES;
    else
        rights_index(kmsg, rights);
}

/* What has to be looked at or allocated before the lock is taken. */
static void prepare(struct receiving *receiving)
{
    const struct kmsg *kmsg = receiving->kmsg;

    if (!mach_header_is_sound(kmsg))
        receiving->early_reason = FLIPC_NAK_BAD_MESSAGE;
    else if (kmsg_is_complex(kmsg))
        prepare_complex(receiving);
}

/* Accounts may be made for what a RIGHTS message says. False: no memory. */
static bool prepare_control(struct telling *telling)
{
    const struct kmsg *kmsg = telling->kmsg;
    int count;

    if (kmsg->header.sub != MNL_SUB_FLIPC || kmsg->header.cmd != FLIPC_RIGHTS)
        return true;
    share_spares_init(&telling->spares);
    count = flipc_rights_check((const void *)&kmsg->mach, le32_load(kmsg->header.size));
    return count <= 0 || share_spares_fill(kmsg->host, &telling->spares, (uint32_t)count);
}

/* Everything but IPC messages; it is copied out of `kmsg`, which is freed. */
COLD static kern_return_t hear(struct node *node, struct kmsg *kmsg, enum arrival arrival)
{
    struct mach_host *host = node->host;
    uint64_t incarnation = node->incarnation;
    uint32_t node_id = node->id;
    struct telling telling = {.node = node, .kmsg = kmsg};
    kern_return_t result = KERN_RESOURCE_SHORTAGE;
    bool is_prepared = arrival != ARRIVAL_CONTROL || prepare_control(&telling);

    deferred_init(&telling.deferred);
    ipc_lock(host);
    if (arrival == ARRIVAL_MALFORMED)
        result = KERN_INVALID_ARGUMENT;
    else if (is_prepared)
        result = hear_locked(&telling, arrival);
    if (result != KERN_SUCCESS)
        host->nodes->counters.dropped++;
    ipc_unlock(host);
    deferred_run(host, &telling.deferred);
    share_spares_free(host, &telling.spares);
    if (telling.notice != 0)
        node_notice_received(host, node_id, incarnation, telling.notice);
    if (telling.death)
        node_death_received(host, (const struct node_death_body *)(const void *)&kmsg->mach);
    heap_free(host, kmsg);
    return result;
}

kern_return_t flipc_receive(struct node *node, struct kmsg *kmsg, size_t length_bytes)
{
    struct mach_host *host = node->host;
    struct receiving receiving;
    enum arrival arrival = classify(node, kmsg, length_bytes);
    kern_return_t result;

    if (arrival != ARRIVAL_MESSAGE)
        return hear(node, kmsg, arrival);
    receiving.node = node;
    receiving.kmsg = kmsg;
    receiving.early_reason = 0;
    deferred_init(&receiving.deferred);
    prepare(&receiving);
    ipc_lock(host);
    result = receive_locked(&receiving);
    if (result != KERN_SUCCESS)
        host->nodes->counters.dropped++;
    ipc_unlock(host);
    deferred_run(host, &receiving.deferred);
    if (receiving.kmsg != NULL)
        kmsg_discard(kmsg);
    return result;
}
