/* SPDX-License-Identifier: MIT
 *
 * Ports and messages: the Mach IPC subset that kernel threads use.
 *
 * Words. A *port* is a queue of messages with one *receive right* (its owner's) and any number of
 * *send* and *send-once* rights. A *principal* is a port whose receive right is on this node; a
 * *proxy* stands for a port of another node and queues what is to be sent there. A *port set*
 * receives from any of its members. A *name* is a port's 64-bit identity between nodes
 * (docs/spec/flipc.md). A *message* (struct kmsg) is owned by exactly one party at a time.
 *
 * Rights. A *receive right* is the port's owner; a *send right* is a reference: port_retain() adds one,
 * port_release() gives one back. A *send-once right* is a reference that is good for one message:
 * mach_msg_send_once() or port_release_right() ends it, and if it dies unused its port gets a
 * notification instead of the message. A right of either kind that arrived in a message is the
 * receiver's to give back by port_release_right(). The last reference of a proxy removes it; a
 * principal dies by port_destroy() only, and what still refers to it then is a dead right. Whoever
 * uses a port has a right to it: a thread that receives while another may destroy the port needs one
 * of its own. Between nodes rights are accounted for as docs/design/rights.md says.
 *
 * Everything may be called from any thread of the host, nothing from an interrupt handler. Lock
 * order: docs/design/locking.md.
 */
#ifndef KERNEL_IPC_H
#define KERNEL_IPC_H

#include <kernel/error.h>
#include <kernel/kern_return.h>
#include <kernel/little_endian.h>
#include <kernel/thread.h>
#include <stddef.h>

struct mach_host;
struct port;
struct port_set;
struct kmsg;

#define PORT_LIMIT_DEFAULT 5u /* of a principal; a proxy begins with the cluster's window */
#define PORT_LIMIT_MAXIMUM 1024u
#define MESSAGE_BODY_MAXIMUM (1024u * 1024u) /* bytes */

enum port_disposition {
    PORT_NONE = 0,
    PORT_RECEIVE = 16,   /* the receiver owns the port */
    PORT_SEND = 17,      /* the receiver gets a send right */
    PORT_SEND_ONCE = 18, /* the receiver gets a right for exactly one message */
};

/* How a sender puts a right into a message. A moved right is the message's; the others leave the
 * sender what it has. */
enum port_transfer {
    PORT_MOVE_RECEIVE = 16,
    PORT_MOVE_SEND = 17,
    PORT_MOVE_SEND_ONCE = 18,
    PORT_COPY_SEND = 19,
    PORT_MAKE_SEND = 20,      /* from a receive right */
    PORT_MAKE_SEND_ONCE = 21, /* from a receive right */
};

enum message_item_type {
    MESSAGE_PORT = 0,
    MESSAGE_BYTES = 1, /* out of line: behind the body */
    MESSAGE_PORTS = 2, /* an array of ports, all under one transfer */
};

/* What a sender puts into a message besides its body. */
struct message_item {
    enum message_item_type type;
    enum port_transfer transfer; /* of ports */
    uint32_t count;              /* bytes, or ports; unused for MESSAGE_PORT */
    struct port *port;           /* MESSAGE_PORT; null: no right */
    const void *bytes;           /* MESSAGE_BYTES, copied */
    struct port *const *ports;   /* MESSAGE_PORTS; any may be null */
};

/* What a receiver finds. */
struct message_part {
    enum message_item_type type;
    enum port_disposition disposition; /* of ports */
    uint32_t count;                    /* bytes or ports; 1 for MESSAGE_PORT */
    void *bytes;                       /* MESSAGE_BYTES: within the message, 8-byte aligned */
};

/* What became of a message at its source; see docs/spec/flipc.md section 3. */
enum message_outcome {
    MESSAGE_SETTLED = 1, /* a receiver took it off the destination's queue */
    /* never delivered: refused, dead port, or not transmitted when the peer died */
    MESSAGE_FAILED = 2,
    MESSAGE_UNKNOWN = 3, /* transmitted, but the peer died before it was settled */
};

/* Called exactly once for a message sent with a completion, from the thread that learns the
 * outcome, with no lock held; must not block. */
typedef void (*message_completion)(void *context, enum message_outcome outcome);

/* --- Messages --------------------------------------------------------------------------------- */

/* null: too large, or no memory */
struct kmsg *kmsg_allocate(struct mach_host *host, size_t body_bytes);
void kmsg_free(struct kmsg *kmsg);  /* with the rights it carries; null is allowed */
void *kmsg_body(struct kmsg *kmsg); /* 8-byte aligned */
size_t kmsg_body_size(const struct kmsg *kmsg);
/* not beyond what was allocated */
int kmsg_set_body_size(struct kmsg *kmsg, size_t body_bytes) MUST_CHECK;
/* Where a message has its id, in bytes from its beginning. A server looks there itself: going to the
 * kernel and back is what a call to it costs more than one to the kernel. */
extern const uint32_t kmsg_id_offset;
#ifdef KERN_SERVER_MODULE
static inline int32_t kmsg_id(const struct kmsg *kmsg)
{
    le32 id;

    __builtin_memcpy(&id, (const uint8_t *)kmsg + kmsg_id_offset, sizeof(id));
    return (int32_t)le32_load(id);
}
#else
int32_t kmsg_id(const struct kmsg *kmsg);
#endif
void kmsg_set_id(struct kmsg *kmsg, int32_t id);
void kmsg_set_completion(struct kmsg *kmsg, message_completion completion, void *context);
/* id of the node that sent it; the local id for a local one */
uint32_t kmsg_source_node(const struct kmsg *kmsg);
uint64_t kmsg_source_incarnation(const struct kmsg *kmsg); /* of that node */
/* Who on that node sent it: 0 its kernel, else the id that the sender gave itself by
 * kmsg_set_sender(). Only a node vouches for its own senders: what came from another node is never
 * this kernel's word. */
uint16_t kmsg_sender(const struct kmsg *kmsg);
bool kmsg_is_from_kernel(const struct kmsg *kmsg);      /* of whatever node */
bool kmsg_is_from_this_kernel(const struct kmsg *kmsg); /* and of this one */
/* The next send of the message is in the name of `sender`; without this, the kernel's. */
void kmsg_set_sender(struct kmsg *kmsg, uint16_t sender);
/* Quality of service: how much its sender cares, in numbers that programs agree on; 0: nothing was
 * said. It comes with the message and stays the message's, also when that is sent on or used for the
 * answer. Nothing here goes by it: the order of messages to a port is that in which they were sent. */
uint8_t kmsg_qos(const struct kmsg *kmsg);
void kmsg_set_qos(struct kmsg *kmsg, uint8_t qos);
/* moves the reply right to the caller; null: none, or taken */
struct port *kmsg_take_reply_port(struct kmsg *kmsg);
/* gives it back to the message that it was taken from */
void kmsg_put_reply_port(struct kmsg *kmsg, struct port *reply);
enum port_disposition kmsg_reply_disposition(const struct kmsg *kmsg); /* also after it was taken */

/* A message with a body and `count` items. The rights that are moved are its own from now on. 0, and
 * on failure nothing moved: ERROR_NO_MEMORY; ERROR_INVALID: no items, more than
 * MESSAGE_DESCRIPTORS_MAXIMUM, more than MESSAGE_RIGHTS_MAXIMUM ports, larger than
 * MESSAGE_BODY_MAXIMUM together, an unknown type or transfer, a right that the caller cannot have
 * (no receive right here, no send-once right to move), a receive right that has a well-known name,
 * or one that is in the message already. */
int kmsg_create(struct mach_host *host, size_t body_bytes, const struct message_item *items,
                size_t count, struct kmsg **kmsg) MUST_CHECK;
uint32_t kmsg_part_count(const struct kmsg *kmsg); /* 0: a plain message */
/* Part `index`, below kmsg_part_count(). */
struct message_part kmsg_part(struct kmsg *kmsg, uint32_t index);
/* Moves port `position` of a part to the caller, with the right in *right: null and PORT_NONE: there
 * is none, it is dead, or it was taken. */
struct port *kmsg_take_port(struct kmsg *kmsg, uint32_t index, uint32_t position,
                            enum port_disposition *right);

/* --- Ports ------------------------------------------------------------------------------------ */

int port_create(struct mach_host *host, struct port **port) MUST_CHECK; /* with its receive right */
void port_destroy(struct port *port); /* receive right gone: queued messages end as failed, senders
                                         and receivers wake */
/* 1 .. PORT_LIMIT_MAXIMUM messages, clamped */
void port_set_limit(struct port *port, uint32_t limit);
void port_retain(struct port *port);
void port_release(struct port *port);
/* Give back a right of any kind, which the caller has: a receive right destroys the port, a send-once
 * right dies unused. PORT_NONE: nothing to do. */
void port_release_right(struct port *port, enum port_disposition right);
bool port_is_dead(struct port *port);
/* its 64-bit name; the first call gives it one; 0: no memory or dead */
uint64_t port_name(struct port *port);
/* give a nameless port a well-known name of this node */
int port_publish(struct port *port, uint64_t well_known_name) MUST_CHECK;

/* The largest body that may be sent to the port, in bytes; 0: it is dead. */
size_t port_body_maximum(struct port *port);

/* A send right to the port called `name`: a principal of this node or a proxy, made now if need be.
 * Released by port_release(). Null: null name, unknown local port, unknown or dead node, or no
 * memory. */
struct port *port_from_name(struct mach_host *host, uint64_t name);

/* Ask for one message to `notify` (docs/spec/flipc.md, section 5): when the principal `port` has no
 * senders left, on this node or another (at once if it has none now); when `port` is dead (at once if
 * it is). 0; ERROR_NO_MEMORY; ERROR_INVALID: no principal; ERROR_EXISTS: no-senders was asked for
 * already. The message is allocated now, so telling cannot fail; a request ends with its port. */
int port_notify_no_senders(struct port *port, struct port *notify) MUST_CHECK;
int port_notify_dead(struct port *port, struct port *notify) MUST_CHECK;
/* Does anybody but its owner have a send right to this principal, or will a message bring one? */
bool port_has_senders(struct port *port);

int port_set_create(struct mach_host *host, struct port_set **set) MUST_CHECK;
void port_set_destroy(struct port_set *set); /* members live on; waiters wake */
int port_set_insert(struct port_set *set, struct port *port) MUST_CHECK;
void port_set_remove(struct port *port);
/* What mach_msg_receive_member() gives with each message of this port; null at first. */
void port_set_context(struct port *port, void *context);
/* Signal `event` (null: none) whenever a message arrives at a member: for a thread that waits for
 * more than the set. It receives with a deadline of 0. */
void port_set_notify(struct port_set *set, struct event *event);
/* Let a receiver of the set return MACH_RCV_INTERRUPTED, now or as soon as there is one. */
void port_set_interrupt(struct port_set *set);
bool port_has_messages(struct port *port);
/* Signal `event` when the port dies: its receive right is gone, or its node. One watcher a port; null
 * ends it. 0, ERROR_EXISTS (somebody watches already) or ERROR_DOWN (it is dead). */
int port_watch(struct port *port, struct event *event) MUST_CHECK;
uint32_t port_message_count(struct port *port);

/* --- Sending and receiving -------------------------------------------------------------------- */

/* Queue `kmsg` on `remote`, with `local` as the reply port (may be null) under `disposition`. Waits
 * while the queue is at its limit, until `deadline_ns` (0: never waits; DEADLINE_NEVER: no bound).
 * On success the message is gone to the port. On failure it stays the caller's, its completion is
 * not called. The caller keeps its right to `remote` and to `local`, but for a `local` of another
 * node under PORT_SEND_ONCE: such a right cannot be made here, the caller's moves. Returns
 * MACH_MSG_SUCCESS, MACH_SEND_TIMED_OUT, MACH_SEND_INVALID_DEST (dead port), MACH_SEND_NO_BUFFER (no
 * memory for an account), MACH_SEND_TOO_LARGE (for the node that the port is on; see
 * port_body_maximum()), MACH_SEND_INVALID_RIGHT (the message carries the receive right of the port
 * that it is sent to or waits behind; no send-once right to move). */
mach_msg_return_t mach_msg_send(struct kmsg *kmsg, struct port *remote, struct port *local,
                                enum port_disposition disposition, uint64_t deadline_ns);

/* As mach_msg_send(), with a send-once right of the caller's, which is gone on success, reference and
 * all. It has its place in the queue: never waits. Also MACH_SEND_INVALID_RIGHT: this node has no
 * send-once right to `remote`; MACH_SEND_NO_BUFFER: too much waits for the port's node. */
mach_msg_return_t mach_msg_send_once(struct kmsg *kmsg, struct port *remote, struct port *local,
                                     enum port_disposition disposition);

/* Answer: send `kmsg` with `right`, as both came from kmsg_take_reply_port() and
 * kmsg_reply_disposition(), without waiting. The right is given back whatever happens; on failure
 * the message stays the caller's. */
mach_msg_return_t mach_msg_reply(struct kmsg *kmsg, struct port *reply,
                                 enum port_disposition right);

/* As mach_msg_send() without waiting, with a reply right of the caller's, which is gone on success:
 * whoever receives the message answers in the caller's place. `reply` may be null. */
mach_msg_return_t mach_msg_forward(struct kmsg *kmsg, struct port *remote, struct port *reply,
                                   enum port_disposition right);

/* Take the oldest message of a port (or of any member of a set). The message is the caller's.
 * Returns MACH_MSG_SUCCESS, MACH_RCV_TIMED_OUT, MACH_RCV_PORT_DIED, MACH_RCV_PORT_CHANGED (set
 * destroyed, or the port's receive right moved away), MACH_RCV_INTERRUPTED (port_set_interrupt()).
 * Only the owner of the receive right receives. */
mach_msg_return_t mach_msg_receive(struct port *port, struct kmsg **kmsg, uint64_t deadline_ns);
mach_msg_return_t mach_msg_receive_set(struct port_set *set, struct kmsg **kmsg,
                                       uint64_t deadline_ns);
/* As mach_msg_receive_set(); *context is what port_set_context() gave the port that it came to. */
mach_msg_return_t mach_msg_receive_member(struct port_set *set, struct kmsg **kmsg, void **context,
                                          uint64_t deadline_ns);

#endif
