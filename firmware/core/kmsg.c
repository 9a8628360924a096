/* SPDX-License-Identifier: MIT
 *
 * Messages as their owner handles them, and their end.
 */
#include "kmsg.h"
#include "heap.h"
#include "ipc_state.h"
#include "port.h"

struct kmsg *kmsg_allocate_payload(struct mach_host *host, size_t payload_bytes)
{
    size_t size = offsetof(struct kmsg, mach) + payload_bytes;
    struct kmsg *kmsg;

    if (payload_bytes > KMSG_PAYLOAD_MAXIMUM)
        return NULL;
    if (size < sizeof(*kmsg))
        size = sizeof(*kmsg);
    kmsg = heap_allocate_kind(host, size, HEAP_KMSG);
    if (kmsg == NULL)
        return NULL;
    list_init(&kmsg->queue);
    list_init(&kmsg->flow);
    kmsg->host = host;
    kmsg->remote = NULL;
    kmsg->local = NULL;
    kmsg->source = NULL;
    kmsg->completion = NULL;
    kmsg->payload_capacity = (uint32_t)payload_bytes;
    kmsg->held = 0;
    kmsg->outcome = 0;
    kmsg->disposal = KMSG_OWNED;
    kmsg->header = (struct wire_mnl_header){.size = le32_of((uint32_t)payload_bytes)};
    return kmsg;
}

struct kmsg *kmsg_allocate(struct mach_host *host, size_t body_bytes)
{
    struct kmsg *kmsg;

    if (body_bytes > MESSAGE_BODY_MAXIMUM)
        return NULL;
    kmsg = kmsg_allocate_payload(host, sizeof(struct wire_mach_header) + body_bytes);
    if (kmsg == NULL)
        return NULL;
    kmsg->source_node = host->node_id;
    kmsg->source_incarnation = host->incarnation;
    kmsg->mach = (struct wire_mach_header){.size = kmsg->header.size};
    return kmsg;
}

void kmsg_free(struct kmsg *kmsg)
{
    if (kmsg == NULL)
        return;
    if (kmsg->local != NULL)
        port_release(kmsg->local);
    heap_free(kmsg->host, kmsg);
}

void *kmsg_body(struct kmsg *kmsg)
{
    return kmsg->body;
}

size_t kmsg_body_size(const struct kmsg *kmsg)
{
    return le32_load(kmsg->mach.size) - sizeof(struct wire_mach_header);
}

int kmsg_set_body_size(struct kmsg *kmsg, size_t body_bytes)
{
    if (body_bytes > kmsg->payload_capacity - sizeof(struct wire_mach_header))
        return ERROR_INVALID;
    kmsg->mach.size = le32_of((uint32_t)(sizeof(struct wire_mach_header) + body_bytes));
    return 0;
}

const uint32_t kmsg_id_offset = offsetof(struct kmsg, mach.id);

int32_t kmsg_id(const struct kmsg *kmsg)
{
    return (int32_t)le32_load(kmsg->mach.id);
}

void kmsg_set_id(struct kmsg *kmsg, int32_t id)
{
    kmsg->mach.id = le32_of((uint32_t)id);
}

void kmsg_set_completion(struct kmsg *kmsg, message_completion completion, void *context)
{
    kmsg->completion = completion;
    kmsg->completion_context = context;
}

uint32_t kmsg_source_node(const struct kmsg *kmsg)
{
    return kmsg->source_node;
}

uint64_t kmsg_source_incarnation(const struct kmsg *kmsg)
{
    return kmsg->source_incarnation;
}

struct port *kmsg_take_reply_port(struct kmsg *kmsg)
{
    struct port *port = kmsg->local;

    kmsg->local = NULL;
    return port;
}

enum port_disposition kmsg_reply_disposition(const struct kmsg *kmsg)
{
    return (enum port_disposition)MACH_BITS_LOCAL(le32_load(kmsg->mach.bits));
}

_Static_assert(offsetof(struct kmsg, queue) == 0, "heap_free_list() frees messages by it");

/* --- The end of a message --------------------------------------------------------------------- */

void kmsg_defer(struct kmsg *kmsg, enum message_outcome outcome, struct deferred *deferred)
{
    kmsg->outcome = (uint8_t)outcome;
    kmsg->disposal = kmsg->held != 0 ? KMSG_LEAVING : KMSG_OWNED;
    list_append(&deferred->messages, &kmsg->queue);
}

/* A link may have completed the message since it was deferred: only under the lock can one tell who
 * frees it. */
static void free_unless_held(struct kmsg *kmsg)
{
    struct mach_host *host = kmsg->host;
    bool held;

    ipc_lock(host);
    held = kmsg->held != 0;
    if (held)
        kmsg->disposal = KMSG_ORPHAN;
    ipc_unlock(host);
    if (!held)
        heap_free(host, kmsg);
}

static void message_end(struct kmsg *kmsg)
{
    message_completion completion = kmsg->completion;
    struct port *local = kmsg->local;

    kmsg->completion = NULL;
    kmsg->local = NULL;
    if (completion != NULL && kmsg->outcome != 0)
        completion(kmsg->completion_context, (enum message_outcome)kmsg->outcome);
    if (local != NULL)
        port_release(local);
    if (kmsg->disposal == KMSG_LEAVING) {
        list_remove(&kmsg->queue);
        free_unless_held(kmsg);
    }
}

void deferred_finish(struct mach_host *host, struct deferred *deferred)
{
    struct list *link = deferred->messages.next;

    while (link != &deferred->messages) {
        struct list *next = link->next;

        message_end(kmsg_of_queue(link));
        link = next;
    }
    heap_free_list(host, &deferred->messages);
    while (deferred->ports != NULL) {
        struct port *port = deferred->ports;

        deferred->ports = port->name_next;
        heap_free(host, port);
    }
}
