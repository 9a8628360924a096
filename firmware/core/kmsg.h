/* SPDX-License-Identifier: MIT
 *
 * struct kmsg: one Mach message and everything the kernel knows about it, in one block of memory.
 * Private to core.
 *
 * The wire form - mnl header, Mach header, body - is the end of the struct and contiguous. A
 * message is sent between nodes from where its body was written, and received into where its body
 * will be read: no copy, no conversion, one allocation. A message refused on arrival becomes its
 * own NAK in place, so refusing never needs memory.
 *
 * A kmsg is owned by one party: a thread, a port's queue, or a flow. `queue` links it in the order
 * of its owner; `flow` is used while its source node waits to hear what became of it.
 */
#ifndef CORE_KMSG_H
#define CORE_KMSG_H

#include "list.h"
#include <abi/flipc.h>
#include <kernel/ipc.h>
#include <kernel/mach_node_link.h>

struct deferred;
struct node;

enum kmsg_disposal {
    KMSG_OWNED = 0,     /* by a thread, a queue or a flow */
    KMSG_LEAVING = 1,   /* deferred, while a link still has it fetched */
    KMSG_ORPHAN = 2,    /* only a link has it: mnl_msg_complete() frees it */
    KMSG_RETURNING = 3, /* refused as moved, while a link still has it fetched */
};

/* Whose the rights are that a message carries. */
enum kmsg_rights_state {
    KMSG_RIGHTS_OURS = 0, /* the message's: they die with it */
    KMSG_RIGHTS_GIVEN =
        1, /* the destination's, on its account; the message has neutral references */
    KMSG_RIGHTS_WIRE = 2, /* names, which a receiver makes rights of */
};

/* The right of a descriptor; `port` null: none, dead, taken, or still a name. */
struct kmsg_right {
    struct port *port;
    uint32_t offset;    /* of its struct wire_descriptor in the body */
    uint16_t departure; /* of a receive right: port.departure */
    uint8_t disposition;
};

struct kmsg_rights {
    struct kmsg_rights *next; /* deferred.rights */
    uint32_t count;
    struct kmsg_right right[];
};

/* So many rights have their place in the message itself. */
#define KMSG_RIGHTS_FEW 4u

struct kmsg_few_rights {
    struct kmsg_rights *next; /* these are a struct kmsg_rights */
    uint32_t count;
    struct kmsg_right right[KMSG_RIGHTS_FEW];
};

_Static_assert(offsetof(struct kmsg_few_rights, right) == offsetof(struct kmsg_rights, right),
               "few rights are rights");

struct kmsg {
    struct list queue;
    struct list flow; /* of `source`: unsettled messages, ascending */
    struct mach_host *host;
    struct port *remote;        /* the proxy that it was sent to, with a reference; null once it is
                            settled, and on receipt */
    struct port *destination;   /* of an unsettled message: the port in whose queue it is */
    struct port *local;         /* the reply right that it carries, or null */
    struct node *source;        /* the living node that waits for its settlement, or null */
    struct kmsg_rights *rights; /* of a complex message; null: plain */
    message_completion completion;
    void *completion_context;
    uint64_t source_incarnation;
    uint32_t source_node;
    uint16_t source_sender;    /* who on that node sent it; 0: its kernel */
    uint16_t sender;           /* as whom it will be sent next */
    uint32_t payload_capacity; /* bytes that fit behind `header` */
    uint32_t sequence_in;      /* under which `source` sent it */
    uint16_t held;             /* fetches by a link that are not completed */
    uint8_t outcome;           /* enum message_outcome, of a deferred message */
    uint8_t disposal;          /* enum kmsg_disposal */
    uint8_t rights_state;      /* enum kmsg_rights_state */
    bool doubted;              /* it is in destination->doubted */
    struct kmsg_few_rights few;
    _Alignas(8) struct wire_mnl_header header;
    struct wire_mach_header mach;
    uint8_t body[];
};

_Static_assert(sizeof(struct wire_mnl_header) == sizeof(struct mnl_msg), "one header, two types");
_Static_assert(offsetof(struct kmsg, mach) ==
                   offsetof(struct kmsg, header) + sizeof(struct wire_mnl_header),
               "wire form is contiguous");
_Static_assert(offsetof(struct kmsg, body) ==
                   offsetof(struct kmsg, mach) + sizeof(struct wire_mach_header),
               "body follows its header");
_Static_assert(sizeof(struct flipc_nak_body) <= sizeof(struct wire_mach_header),
               "a refused message has room for its NAK");

#define KMSG_PAYLOAD_MAXIMUM ((uint32_t)(sizeof(struct wire_mach_header) + MESSAGE_BODY_MAXIMUM))

#define MACH_BITS(remote, local) ((uint32_t)(remote) | (uint32_t)(local) << 8)
#define MACH_BITS_REMOTE(bits) ((bits)&0x1fu)
#define MACH_BITS_LOCAL(bits) ((bits) >> 8 & 0x1fu)
#define MACH_BITS_USED (MACH_BITS_COMPLEX | MACH_BITS_RESUMED | 0x1f1fu)

static inline struct kmsg *kmsg_of_queue(struct list *link)
{
    return LIST_CONTAINER(link, struct kmsg, queue);
}

static inline struct kmsg *kmsg_of_flow(struct list *link)
{
    return LIST_CONTAINER(link, struct kmsg, flow);
}

/* A link knows a message by its header. */
static inline struct kmsg *kmsg_of_msg(mnl_msg_t msg)
{
    return LIST_CONTAINER(msg, struct kmsg, header);
}

static inline mnl_msg_t msg_of_kmsg(struct kmsg *kmsg)
{
    return (mnl_msg_t)(void *)&kmsg->header;
}

/* A message with room for `payload_bytes` behind its mnl header, which is zeroed but for the size.
 * Null: more than KMSG_PAYLOAD_MAXIMUM, or no memory. */
struct kmsg *kmsg_allocate_payload(struct mach_host *host, size_t payload_bytes);

/* The same for a message that is there as long as its node: it is not one of those that are counted. */
struct kmsg *kmsg_allocate_standing(struct mach_host *host, size_t payload_bytes);

/* Places for `count` rights: the message's own, or allocated. Null: no memory. Without the lock. */
struct kmsg_rights *kmsg_rights_allocate(struct kmsg *kmsg, uint32_t count);

/* Were they allocated? Then they are freed apart from it. */
static inline bool kmsg_rights_are_apart(const struct kmsg *kmsg)
{
    return kmsg->rights != NULL && (const void *)kmsg->rights != &kmsg->few;
}

/* Free places that nothing is in, and the message. Without the lock. */
void kmsg_discard(struct kmsg *kmsg);

/* The message is at its end and its rights die with it: as kmsg_defer(). */
void kmsg_end(struct kmsg *kmsg, enum message_outcome outcome, struct deferred *deferred);

static inline uint32_t kmsg_bits(const struct kmsg *kmsg)
{
    return le32_load(kmsg->mach.bits);
}

static inline bool kmsg_is_complex(const struct kmsg *kmsg)
{
    return (kmsg_bits(kmsg) & MACH_BITS_COMPLEX) != 0;
}

/* The right that it was sent with, and the right that it brings for an answer; the other bits
 * stay. */
static inline void kmsg_set_remote_right(struct kmsg *kmsg, enum port_disposition right)
{
    kmsg->mach.bits = le32_of((kmsg_bits(kmsg) & ~MACH_BITS(0x1fu, 0)) | MACH_BITS(right, 0));
}

static inline void kmsg_set_local_right(struct kmsg *kmsg, enum port_disposition right)
{
    kmsg->mach.bits = le32_of((kmsg_bits(kmsg) & ~MACH_BITS(0, 0x1fu)) | MACH_BITS(0, right));
}

static inline bool kmsg_is_resumed(const struct kmsg *kmsg)
{
    return (kmsg_bits(kmsg) & MACH_BITS_RESUMED) != 0;
}

static inline void kmsg_set_resumed(struct kmsg *kmsg, bool resumed)
{
    kmsg->mach.bits =
        le32_of((kmsg_bits(kmsg) & ~MACH_BITS_RESUMED) | (resumed ? MACH_BITS_RESUMED : 0));
}

/* Was it sent with a send-once right? */
static inline bool kmsg_was_sent_once(const struct kmsg *kmsg)
{
    return MACH_BITS_REMOTE(kmsg_bits(kmsg)) == PORT_SEND_ONCE;
}

static inline struct wire_complex *kmsg_complex(struct kmsg *kmsg)
{
    return (struct wire_complex *)(void *)kmsg->body;
}

static inline struct wire_descriptor *kmsg_descriptors(struct kmsg *kmsg)
{
    return (struct wire_descriptor *)(void *)(kmsg->body + sizeof(struct wire_complex));
}

#endif
