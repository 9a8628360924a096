/* SPDX-License-Identifier: MIT
 *
 * Complex messages as kernel threads see them: building one of items, finding its parts
 * (kernel/ipc.h). The layout is the wire's (abi/flipc.h), also for messages that never leave.
 */
#include "heap.h"
#include "ipc_state.h"
#include "kmsg.h"
#include "migrate.h"
#include "port.h"
#include <kernel/string.h>

static uint64_t round_up(uint64_t bytes)
{
    return (bytes + 7u) & ~7ull;
}

/* --- Layout ----------------------------------------------------------------------------------- */

struct layout {
    uint64_t bytes;
    uint32_t rights;
};

static bool item_is_known(const struct message_item *item)
{
    if (item->type == MESSAGE_BYTES)
        return true;
    return (item->type == MESSAGE_PORT || item->type == MESSAGE_PORTS) &&
           item->transfer >= PORT_MOVE_RECEIVE && item->transfer <= PORT_MAKE_SEND_ONCE;
}

static int measure(size_t body_bytes, const struct message_item *items, size_t count,
                   struct layout *layout)
{
    *layout = (struct layout){.bytes = sizeof(struct wire_complex) +
                                       count * sizeof(struct wire_descriptor)};
    if (count == 0 || count > MESSAGE_DESCRIPTORS_MAXIMUM || body_bytes > MESSAGE_BODY_MAXIMUM)
        return ERROR_INVALID;
    layout->bytes += round_up(body_bytes);
    for (size_t i = 0; i < count; i++) {
        if (!item_is_known(&items[i]))
            return ERROR_INVALID;
        if (items[i].type == MESSAGE_PORT) {
            layout->rights++;
        } else if (items[i].type == MESSAGE_BYTES) {
            layout->bytes += round_up(items[i].count);
        } else if (items[i].count > MESSAGE_RIGHTS_MAXIMUM) {
            return ERROR_INVALID;
        } else {
            layout->rights += items[i].count;
            layout->bytes += items[i].count * sizeof(struct wire_descriptor);
        }
        if (layout->rights > MESSAGE_RIGHTS_MAXIMUM || layout->bytes > MESSAGE_BODY_MAXIMUM)
            return ERROR_INVALID;
    }
    return 0;
}

/* --- Rights in -------------------------------------------------------------------------------- */

static uint8_t disposition_of(enum port_transfer transfer)
{
    static const uint8_t dispositions[] = {
        [PORT_MOVE_RECEIVE] = PORT_RECEIVE,     [PORT_MOVE_SEND] = PORT_SEND,
        [PORT_COPY_SEND] = PORT_SEND,           [PORT_MAKE_SEND] = PORT_SEND,
        [PORT_MOVE_SEND_ONCE] = PORT_SEND_ONCE, [PORT_MAKE_SEND_ONCE] = PORT_SEND_ONCE,
    };

    return dispositions[transfer];
}

static bool has_receive_right(const struct port *port)
{
    return port->kind == PORT_PRINCIPAL || port->kind == PORT_PREPRINCIPAL;
}

/* False: the caller cannot have the right that it is made of. */
APART static bool take_in(struct port *port, enum port_transfer transfer)
{
    switch (transfer) {
    case PORT_MOVE_RECEIVE:
        if (port->dead || !has_receive_right(port) ||
            (port->name != NAME_NULL && NAME_TAG(port->name) == 0))
            return false;
        migrate_leave(port);
        return true;
    case PORT_MAKE_SEND:
        if (!port->dead && !has_receive_right(port))
            return false;
        port_reference(port);
        return true;
    case PORT_COPY_SEND:
        port_reference(port);
        return true;
    case PORT_MAKE_SEND_ONCE:
        if (port->dead)
            port_reference(port);
        else if (has_receive_right(port))
            port_make_once(port);
        else
            return false;
        return true;
    case PORT_MOVE_SEND_ONCE:
        return port->dead || (port_is_here(port) ? port->once : port->home->held.once) != 0;
    case PORT_MOVE_SEND:
        return true;
    }
    return false;
}

/* As if it had never been put in. */
static void take_out(struct port *port, enum port_transfer transfer, struct deferred *deferred)
{
    switch (transfer) {
    case PORT_MOVE_RECEIVE:
        migrate_stay(port, deferred);
        break;
    case PORT_MAKE_SEND_ONCE:
        if (port->once != 0 && !port->dead)
            port->once--;
        port_unreference(port, deferred);
        break;
    case PORT_MAKE_SEND:
    case PORT_COPY_SEND:
        port_unreference(port, deferred);
        break;
    case PORT_MOVE_SEND:
    case PORT_MOVE_SEND_ONCE:
        break;
    }
}

static struct port *item_port(const struct message_item *item, uint32_t position)
{
    return item->type == MESSAGE_PORT ? item->port : item->ports[position];
}

static uint32_t item_port_count(const struct message_item *item)
{
    if (item->type == MESSAGE_BYTES)
        return 0;
    return item->type == MESSAGE_PORT ? 1 : item->count;
}

/* Puts rights in until one cannot be; returns how many those were. */
static uint32_t rights_in(struct kmsg_rights *rights, const struct message_item *items,
                          size_t count)
{
    uint32_t done = 0;

    for (size_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < item_port_count(&items[i]); k++) {
            struct port *port = item_port(&items[i], k);

            if (port != NULL && port->kind == PORT_PRINCIPAL && items[i].transfer == PORT_MAKE_SEND)
                port_reference(port);
            else if (port != NULL && !take_in(port, items[i].transfer))
                return done;
            rights->right[done++].port = port;
        }
    }
    return done;
}

static void rights_out(const struct message_item *items, size_t count, uint32_t done,
                       struct deferred *deferred)
{
    for (size_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < item_port_count(&items[i]) && done != 0; k++, done--) {
            struct port *port = item_port(&items[i], k);

            if (port != NULL)
                take_out(port, items[i].transfer, deferred);
        }
    }
}

/* --- Writing ---------------------------------------------------------------------------------- */

static void note_right(struct kmsg *kmsg, struct wire_descriptor *descriptor, uint8_t disposition)
{
    struct kmsg_right *right = &kmsg->rights->right[kmsg->rights->count++];

    *descriptor = (struct wire_descriptor){.type = WIRE_PORT, .disposition = disposition};
    right->offset = (uint32_t)((uint8_t *)descriptor - kmsg->body);
    right->disposition = disposition;
}

/* Fills with zeros up to the next multiple of 8. */
static uint8_t *put_bytes(uint8_t *to, const void *bytes, uint32_t count)
{
    uint64_t whole = round_up(count);

    if (count != 0)
        memcpy(to, bytes, count);
    memset(to + count, 0, whole - count);
    return to + whole;
}

static void write_items(struct kmsg *kmsg, size_t body_bytes, const struct message_item *items,
                        size_t count)
{
    struct wire_descriptor *descriptors = kmsg_descriptors(kmsg);
    uint8_t *data = (uint8_t *)&descriptors[count];

    *kmsg_complex(kmsg) = (struct wire_complex){.descriptor_count = le32_of((uint32_t)count),
                                                .inline_bytes = le32_of((uint32_t)body_bytes)};
    memset(data, 0, round_up(body_bytes));
    data += round_up(body_bytes);
    for (size_t i = 0; i < count; i++) {
        uint8_t disposition = disposition_of(items[i].transfer);

        if (items[i].type == MESSAGE_PORT) {
            note_right(kmsg, &descriptors[i], disposition);
            continue;
        }
        descriptors[i] = (struct wire_descriptor){.type = (uint8_t)items[i].type,
                                                  .count = le32_of(items[i].count)};
        if (items[i].type == MESSAGE_BYTES) {
            data = put_bytes(data, items[i].bytes, items[i].count);
            continue;
        }
        descriptors[i].disposition = disposition;
        for (uint32_t k = 0; k < items[i].count; k++, data += sizeof(struct wire_descriptor))
            note_right(kmsg, (struct wire_descriptor *)(void *)data, disposition);
    }
}

static int put_rights_in(struct kmsg *kmsg, const struct message_item *items, size_t count)
{
    struct mach_host *host = kmsg->host;
    uint32_t wanted = kmsg->rights->count, done;
    struct deferred deferred;

    deferred_init(&deferred);
    ipc_lock(host);
    done = rights_in(kmsg->rights, items, count);
    if (done != wanted)
        rights_out(items, count, done, &deferred);
    ipc_unlock(host);
    deferred_run(host, &deferred);
    return done == wanted ? 0 : ERROR_INVALID;
}

int kmsg_create(struct mach_host *host, size_t body_bytes, const struct message_item *items,
                size_t count, struct kmsg **out)
{
    struct layout layout;
    struct kmsg *kmsg;
    int error = measure(body_bytes, items, count, &layout);

    *out = NULL;
    if (error != 0)
        return error;
    kmsg = kmsg_allocate(host, layout.bytes);
    if (kmsg == NULL)
        return ERROR_NO_MEMORY;
    kmsg->rights = kmsg_rights_allocate(kmsg, layout.rights);
    if (kmsg->rights == NULL) {
        heap_free(host, kmsg);
        return ERROR_NO_MEMORY;
    }
    kmsg->rights->count = 0;
    kmsg->mach.bits = le32_of(MACH_BITS_COMPLEX);
    write_items(kmsg, body_bytes, items, count);
    error = put_rights_in(kmsg, items, count);
    if (error != 0) {
        kmsg_discard(kmsg);
        return error;
    }
    *out = kmsg;
    return 0;
}

/* --- Reading ---------------------------------------------------------------------------------- */

uint32_t kmsg_part_count(const struct kmsg *kmsg)
{
    if (!kmsg_is_complex(kmsg))
        return 0;
    return le32_load(((const struct wire_complex *)(const void *)kmsg->body)->descriptor_count);
}

struct message_part kmsg_part(struct kmsg *kmsg, uint32_t index)
{
    const struct wire_descriptor *descriptors = kmsg_descriptors(kmsg);
    const struct wire_complex *complex = kmsg_complex(kmsg);
    uint8_t *data = kmsg->body + sizeof(*complex) +
                    le32_load(complex->descriptor_count) * sizeof(*descriptors) +
                    round_up(le32_load(complex->inline_bytes));
    struct message_part part = {.type = (enum message_item_type)descriptors[index].type,
                                .disposition =
                                    (enum port_disposition)descriptors[index].disposition,
                                .count = le32_load(descriptors[index].count)};

    if (part.type == MESSAGE_PORT)
        part.count = 1;
    if (part.type != MESSAGE_BYTES)
        return part;
    for (uint32_t i = 0; i < index; i++) {
        if (descriptors[i].type == WIRE_BYTES)
            data += round_up(le32_load(descriptors[i].count));
        else if (descriptors[i].type == WIRE_PORTS)
            data += le32_load(descriptors[i].count) * sizeof(*descriptors);
    }
    part.bytes = data;
    return part;
}

/* A receive right that was put into this message and never sent is its owner's again. */
static void receive_right_out(struct port *port)
{
    struct deferred deferred;

    deferred_init(&deferred);
    ipc_lock(port->host);
    if (port->kind == PORT_POSTPRINCIPAL)
        migrate_stay(port, &deferred);
    ipc_unlock(port->host);
    deferred_run(port->host, &deferred);
}

struct port *kmsg_take_port(struct kmsg *kmsg, uint32_t index, uint32_t position,
                            enum port_disposition *right)
{
    const struct wire_descriptor *descriptors = kmsg_descriptors(kmsg);
    struct kmsg_right *slot;
    struct port *port;
    uint32_t first = 0;

    for (uint32_t i = 0; i < index; i++) {
        if (descriptors[i].type == WIRE_PORT)
            first++;
        else if (descriptors[i].type == WIRE_PORTS)
            first += le32_load(descriptors[i].count);
    }
    slot = &kmsg->rights->right[first + position];
    port = slot->port;
    slot->port = NULL;
    *right = port == NULL ? PORT_NONE : (enum port_disposition)slot->disposition;
    if (*right == PORT_RECEIVE)
        receive_right_out(port);
    return port;
}
