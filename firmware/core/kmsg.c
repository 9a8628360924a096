/* SPDX-License-Identifier: MIT
 *
 * Messages as their owner handles them, and their end.
 */
#include "kmsg.h"
#include "heap.h"
#include "ipc_state.h"
#include "migrate.h"
#include "notify.h"
#include "port.h"
#include "rights.h"

static struct kmsg *allocate_kind(struct mach_host *host, size_t payload_bytes, enum heap_kind kind)
{
    size_t size = offsetof(struct kmsg, mach) + payload_bytes;
    struct kmsg *kmsg;

    if (payload_bytes > KMSG_PAYLOAD_MAXIMUM)
        return NULL;
    if (size < sizeof(*kmsg))
        size = sizeof(*kmsg);
    kmsg = heap_allocate_kind(host, size, kind);
    if (kmsg == NULL)
        return NULL;
    list_init(&kmsg->queue);
    list_init(&kmsg->flow);
    kmsg->host = host;
    kmsg->remote = NULL;
    kmsg->local = NULL;
    kmsg->source = NULL;
    kmsg->rights = NULL;
    kmsg->completion = NULL;
    kmsg->payload_capacity = (uint32_t)payload_bytes;
    kmsg->held = 0;
    kmsg->outcome = 0;
    kmsg->disposal = KMSG_OWNED;
    kmsg->rights_state = KMSG_RIGHTS_OURS;
    kmsg->doubted = false;
    kmsg->source_sender = 0;
    kmsg->sender = 0;
    kmsg->header = (struct wire_mnl_header){.size = le32_of((uint32_t)payload_bytes)};
    return kmsg;
}

struct kmsg *kmsg_allocate_payload(struct mach_host *host, size_t payload_bytes)
{
    return allocate_kind(host, payload_bytes, HEAP_KMSG);
}

struct kmsg *kmsg_allocate_standing(struct mach_host *host, size_t payload_bytes)
{
    return allocate_kind(host, payload_bytes, HEAP_OTHER);
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

/* Is one left that nobody took? */
static bool brings_right(const struct kmsg *kmsg)
{
    bool brings = kmsg->local != NULL;

    for (uint32_t i = 0; kmsg->rights != NULL && i < kmsg->rights->count && !brings; i++)
        brings = kmsg->rights->right[i].port != NULL;
    return brings;
}

void kmsg_free(struct kmsg *kmsg)
{
    struct mach_host *host;
    struct deferred deferred;

    if (kmsg == NULL)
        return;
    host = kmsg->host;
    if (kmsg->local == NULL && kmsg->rights == NULL) {
        heap_free(host, kmsg);
        return;
    }
    if (!brings_right(kmsg)) {
        kmsg_discard(kmsg);
        return;
    }
    deferred_init(&deferred);
    ipc_lock(host);
    rights_die(kmsg, &deferred);
    ipc_unlock(host);
    deferred_run(host, &deferred);
    heap_free(host, kmsg);
}

struct kmsg_rights *kmsg_rights_allocate(struct kmsg *kmsg, uint32_t count)
{
    if (count <= KMSG_RIGHTS_FEW)
        return (struct kmsg_rights *)(void *)&kmsg->few;
    return heap_allocate(kmsg->host,
                         sizeof(struct kmsg_rights) + count * sizeof(struct kmsg_right));
}

void kmsg_discard(struct kmsg *kmsg)
{
    if (kmsg_rights_are_apart(kmsg))
        heap_free(kmsg->host, kmsg->rights);
    heap_free(kmsg->host, kmsg);
}

void *kmsg_body(struct kmsg *kmsg)
{
    if (kmsg_is_complex(kmsg))
        return &kmsg_descriptors(kmsg)[le32_load(kmsg_complex(kmsg)->descriptor_count)];
    return kmsg->body;
}

size_t kmsg_body_size(const struct kmsg *kmsg)
{
    if (kmsg_is_complex(kmsg))
        return le32_load(((const struct wire_complex *)(const void *)kmsg->body)->inline_bytes);
    return le32_load(kmsg->mach.size) - sizeof(struct wire_mach_header);
}

int kmsg_set_body_size(struct kmsg *kmsg, size_t body_bytes)
{
    if (kmsg_is_complex(kmsg) ||
        body_bytes > kmsg->payload_capacity - sizeof(struct wire_mach_header))
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

void kmsg_set_sender(struct kmsg *kmsg, uint16_t sender)
{
    kmsg->sender = sender;
}

uint16_t kmsg_sender(const struct kmsg *kmsg)
{
    return kmsg->source_sender;
}

uint8_t kmsg_qos(const struct kmsg *kmsg)
{
    return kmsg->header.qos;
}

void kmsg_set_qos(struct kmsg *kmsg, uint8_t qos)
{
    kmsg->header.qos = qos;
}

bool kmsg_is_from_kernel(const struct kmsg *kmsg)
{
    return kmsg->source_sender == 0;
}

bool kmsg_is_from_this_kernel(const struct kmsg *kmsg)
{
    return kmsg->source_sender == 0 && kmsg->source_node == kmsg->host->node_id;
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

void kmsg_put_reply_port(struct kmsg *kmsg, struct port *reply)
{
    kmsg->local = reply;
}

enum port_disposition kmsg_reply_disposition(const struct kmsg *kmsg)
{
    return (enum port_disposition)MACH_BITS_LOCAL(le32_load(kmsg->mach.bits));
}

_Static_assert(offsetof(struct kmsg, queue) == 0, "heap_free_list() frees messages by it");

/* --- The end of a message --------------------------------------------------------------------- */

void kmsg_end(struct kmsg *kmsg, enum message_outcome outcome, struct deferred *deferred)
{
    if (kmsg->local != NULL || kmsg->rights != NULL)
        rights_die(kmsg, deferred);
    kmsg_defer(kmsg, outcome, deferred);
}

void kmsg_defer(struct kmsg *kmsg, enum message_outcome outcome, struct deferred *deferred)
{
    kmsg->outcome = (uint8_t)outcome;
    kmsg->disposal = kmsg->held != 0 ? KMSG_LEAVING : KMSG_OWNED;
    deferred_use(deferred);
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

    kmsg->completion = NULL;
    if (completion != NULL && kmsg->outcome != 0)
        completion(kmsg->completion_context, (enum message_outcome)kmsg->outcome);
    if (kmsg->disposal == KMSG_LEAVING) {
        list_remove(&kmsg->queue);
        free_unless_held(kmsg);
    }
}

/* --- What had to wait for the lock ------------------------------------------------------------ */

static uint8_t work_take(struct port *port)
{
    uint8_t work;

    ipc_lock(port->host);
    work = port->work;
    port->work = 0;
    if (work == 0)
        port->work_queued = false;
    ipc_unlock(port->host);
    return work;
}

/* More may come while it is done; the port is done with when nothing does. What it leads to is
 * `more`, never a deeper call: a message in a port's queue may hold another port, and so on. */
COLD static void port_do_work(struct port *port, struct deferred *more)
{
    struct mach_host *host = port->host;
    uint8_t work;

    while ((work = work_take(port)) != 0) {
        if (work & PORT_WORK_DESTROY)
            port_destroy_deferred(port, more);
        if (work & PORT_WORK_MOVE)
            migrate_work(port, more);
        if (work & PORT_WORK_NOTIFY)
            notify_work(port, more);
    }
    ipc_lock(host);
    port->holds--;
    port_unreference(port, more);
    ipc_unlock(host);
}

static void free_ports(struct mach_host *host, struct port *port)
{
    while (port != NULL) {
        struct port *next = port->name_next;

        heap_free(host, port);
        port = next;
    }
}

static void free_rights(struct mach_host *host, struct kmsg_rights *rights)
{
    while (rights != NULL) {
        struct kmsg_rights *next = rights->next;

        heap_free(host, rights);
        rights = next;
    }
}

static void free_shares(struct mach_host *host, struct share *share)
{
    while (share != NULL) {
        struct share *next = share->next_free;

        heap_free(host, share);
        share = next;
    }
}

static void end_messages(struct mach_host *host, struct list *messages)
{
    struct list *link = messages->next;

    while (link != messages) {
        struct list *next = link->next;

        message_end(kmsg_of_queue(link));
        link = next;
    }
    heap_free_list(host, messages);
}

static void deferred_run_once(struct mach_host *host, struct deferred *deferred)
{
    if (!list_is_empty(&deferred->messages))
        end_messages(host, &deferred->messages);
    free_rights(host, deferred->rights);
    free_shares(host, deferred->shares);
    free_ports(host, deferred->ports);
}

void deferred_finish(struct mach_host *host, struct deferred *deferred)
{
    struct port *work = deferred->work;

    deferred_run_once(host, deferred);
    while (work != NULL) {
        struct port *port = work;
        struct port **place = &work;
        struct deferred more;

        work = port->work_next;
        deferred_init(&more);
        port_do_work(port, &more);
        while (*place != NULL)
            place = &(*place)->work_next;
        if (!deferred_is_empty(&more)) {
            *place = more.work;
            deferred_run_once(host, &more);
        }
    }
}
