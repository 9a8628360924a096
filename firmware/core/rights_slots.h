/* SPDX-License-Identifier: MIT
 *
 * The places in a message where a right is: slot 0 is the reply right of the Mach header, then come
 * those of the descriptors. Private to the files that handle rights in messages.
 */
#ifndef CORE_RIGHTS_SLOTS_H
#define CORE_RIGHTS_SLOTS_H

#include "kmsg.h"
#include <kernel/panic.h>

struct rights_slot {
    struct port **port;
    le64 *name;
    le16 *home;
    le32 *count;         /* null for the reply right */
    uint16_t *departure; /* same */
    enum port_disposition disposition;
};

static inline uint32_t rights_slot_count(const struct kmsg *kmsg)
{
    return 1u + (kmsg->rights != NULL ? kmsg->rights->count : 0);
}

static inline struct port *rights_port(const struct kmsg *kmsg, uint32_t index)
{
    return index == 0 ? kmsg->local : kmsg->rights->right[index - 1u].port;
}

/* The first slot with anything in it, on its way out or in. */
static inline uint32_t rights_first(const struct kmsg *kmsg)
{
    return kmsg->local == NULL && le64_load(kmsg->mach.local) == NAME_NULL ? 1 : 0;
}

/* 0: the node that sends or sent it. */
static inline uint16_t rights_home(const struct kmsg *kmsg, uint32_t index)
{
    const struct wire_descriptor *descriptor;

    if (index == 0)
        return le16_load(kmsg->mach.local_home);
    descriptor = (const void *)(kmsg->body + kmsg->rights->right[index - 1u].offset);
    return le16_load(descriptor->home);
}

static inline uint64_t rights_slot_name(const struct rights_slot *slot)
{
    return le64_load(*slot->name);
}

/* Never a receive right: those have a descriptor each. */
static inline enum port_disposition rights_reply(const struct kmsg *kmsg)
{
    enum port_disposition right = (enum port_disposition)MACH_BITS_LOCAL(kmsg_bits(kmsg));

    panic_unless(right != PORT_RECEIVE);
    return right;
}

static inline enum port_disposition rights_disposition(const struct kmsg *kmsg, uint32_t index)
{
    return index == 0 ? rights_reply(kmsg)
                      : (enum port_disposition)kmsg->rights->right[index - 1u].disposition;
}

static inline struct rights_slot rights_slot(struct kmsg *kmsg, uint32_t index)
{
    struct kmsg_right *right;
    struct wire_descriptor *descriptor;

    if (index == 0)
        return (struct rights_slot){.port = &kmsg->local,
                                    .name = &kmsg->mach.local,
                                    .home = &kmsg->mach.local_home,
                                    .disposition = rights_reply(kmsg)};
    right = &kmsg->rights->right[index - 1u];
    descriptor = (struct wire_descriptor *)(void *)(kmsg->body + right->offset);
    return (struct rights_slot){.port = &right->port,
                                .name = &descriptor->name,
                                .home = &descriptor->home,
                                .count = &descriptor->count,
                                .departure = &right->departure,
                                .disposition = (enum port_disposition)right->disposition};
}

/* The node where its port is, as the message says. */
static inline uint32_t rights_slot_home(const struct rights_slot *slot, uint32_t source_node)
{
    uint16_t home = le16_load(*slot->home);

    return home == 0 ? source_node : WIRE_HOME_NODE(home);
}

#endif
