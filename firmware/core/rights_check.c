/* SPDX-License-Identifier: MIT
 *
 * Rights that arrive in messages, as a peer's bytes: their form, and whether the names can be, are checked
 * when the message arrives. What they mean is found out when it is received, in rights_take.c.
 */
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
    uint32_t home = rights_slot_home(slot, node->id);
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
