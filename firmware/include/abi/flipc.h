/* SPDX-License-Identifier: MIT
 *
 * What travels inside DATA frames: mnl messages, names, FLIPC commands. Specified in
 * docs/spec/flipc.md.
 */
#ifndef ABI_FLIPC_H
#define ABI_FLIPC_H

#include <kernel/little_endian.h>
#include <stdint.h>

#define MNL_SUB_NODE 1u
#define MNL_SUB_FLIPC 2u
#define MNL_SUB_VMSYS 3u
#define MNL_FLAG_SEQUENCED 1u

enum flipc_command {
    FLIPC_IPC = 1,
    FLIPC_ACK = 2,
    FLIPC_NAK = 3,
    FLIPC_RIGHTS = 4, /* accounts of rights */
};

enum node_command {
    NODE_DEATH = 1,
    NODE_HELLO = 2,          /* struct node_hello_body */
    NODE_BOOTSTRAP_UP = 3,   /* struct node_bootstrap_body: the node has a bootstrap port */
    NODE_BOOTSTRAP_DOWN = 4, /* the same: it has none any more */
    NODE_LEAVE = 5,          /* struct node_leave_body: this life ends */
};

enum flipc_nak_reason {
    FLIPC_NAK_UNKNOWN_NAME = 1,
    FLIPC_NAK_DEAD_PORT = 2,
    FLIPC_NAK_NO_RESOURCES = 3,
    FLIPC_NAK_BAD_MESSAGE = 4,
    FLIPC_NAK_NOT_PRINCIPAL = 5,
    FLIPC_NAK_MOVED = 6, /* begin anew at node resend_to, where the port is now */
    /* it carries a right to a port of a node that the destination cannot reach */
    FLIPC_NAK_NO_ROUTE = 7,
    FLIPC_NAK_NO_RIGHT = 8, /* sent with a send-once right that its sender does not have */
};

#define FLIPC_WINDOW_DEFAULT 64u
#define FLIPC_WINDOW_MAXIMUM 256u
#define FLIPC_CONTROL_RESERVE 16u /* control messages may run this far beyond the credit */

/* The header of a message between nodes: struct mnl_msg of kernel/mach_node_link.h, word by word.
 */
struct wire_mnl_header {
    uint8_t sub; /* MNL_SUB_* */
    uint8_t cmd;
    uint8_t qos;
    uint8_t flags;
    le32 node_id;
    le64 object;
    le32 options;
    le32 size;
};

struct flipc_ack_body {
    le32 next_expected;
    le32 credit;
    le32 count;
    le32 reserved;
    le32 unsettled[]; /* count entries, ascending */
};

struct flipc_nak_body {
    le32 sequence;
    le32 reason; /* enum flipc_nak_reason */
    le32 resend_to;
    le32 reserved;
};

struct node_death_body {
    le32 node_id;
    le32 cause; /* enum node_death_cause */
    le64 incarnation;
};

/* All must be what training told. */
struct node_hello_body {
    le64 incarnation;
    uint8_t protocol_minimum;
    uint8_t protocol_maximum;
    uint8_t data_model;
    uint8_t byte_order;
    le32 reserved;
};

struct node_bootstrap_body {
    le64 name; /* well-known serial 1 */
};

struct node_leave_body {
    le64 incarnation;
};

/* The wire form of a Mach message header: LP64 layout with 64-bit names. */
struct wire_mach_header {
    le32 bits;
    le32 size;
    le64 remote;
    le64 local;
    le16 local_home; /* where the reply port's receive right is: WIRE_HOME() */
    le16 sender;     /* who on the source node sent it; 0: its kernel */
    le32 id;
};

/* A home on the wire: 0 means the node that created the message, so that the usual case is zero. */
#define WIRE_HOME(node_id) ((uint16_t)((node_id) + 1u))
#define WIRE_HOME_NODE(home) ((uint32_t)(home)-1u)

/* The first message to a port after one came back as moved: nothing that its source sent to the port
 * before is on its way any more. */
#define MACH_BITS_RESUMED 0x40000000u

/* What follows the Mach header when MACH_BITS_COMPLEX is set: this, the descriptors, the inline
 * body, and the data of the out-of-line descriptors in their order; each part starts at a multiple
 * of 8 bytes, and what fills it up is zero. */
#define MACH_BITS_COMPLEX 0x80000000u
struct wire_complex {
    le32 descriptor_count; /* 1 .. MESSAGE_DESCRIPTORS_MAXIMUM */
    le32 inline_bytes;
};

enum wire_descriptor_type {
    WIRE_PORT = 0,
    WIRE_BYTES = 1, /* out-of-line bytes */
    /* out-of-line array of ports: its data are `count` descriptors of type WIRE_PORT */
    WIRE_PORTS = 2,
};

struct wire_descriptor {
    uint8_t type;        /* enum wire_descriptor_type */
    uint8_t disposition; /* of ports: 16 receive, 17 send, 18 send-once; else 0 */
    le16 home;           /* of WIRE_PORT: WIRE_HOME(); else 0 */
    /* Bytes, or ports; of WIRE_PORT with a receive right: the port's limit, else 0. */
    le32 count;
    le64 name; /* of WIRE_PORT: the port, NAME_NULL: none or dead; else 0 */
};

#define MESSAGE_DESCRIPTORS_MAXIMUM 64u
#define MESSAGE_RIGHTS_MAXIMUM 256u /* all ports of a message, those out of line included */

/* FLIPC_RIGHTS: entries are taken in their order. */
enum flipc_rights_operation {
    RIGHTS_ADD_SEND = 1, /* I hold `value` more send rights to your port */
    RIGHTS_ADD_ONCE = 2, /* ... send-once rights */
    /* `value` send rights that you gave me need no account with you any more */
    RIGHTS_DROP_SEND = 3,
    RIGHTS_DROP_ONCE = 4,  /* ... send-once rights: another node has an account of them now */
    RIGHTS_DEAD_ONCE = 5,  /* `value` send-once rights died unused */
    RIGHTS_PORT_DEAD = 6,  /* the port is dead */
    RIGHTS_PORT_MOVED = 7, /* the port is at WIRE_HOME `value` now */
    RIGHTS_STAY = 8,       /* the port came to me: tell those who ask you where it is */
    RIGHTS_GO = 9,         /* nobody will ask you any more */
};

struct flipc_rights_entry {
    le64 name;
    le32 operation; /* enum flipc_rights_operation */
    le32 value;
};

#define FLIPC_RIGHTS_MAXIMUM 64u
struct flipc_rights_body {
    le32 count; /* 0 .. FLIPC_RIGHTS_MAXIMUM */
    le32 reserved;
    struct flipc_rights_entry entries[];
};

/* Notifications: ids of messages that the kernel sends; the numbers are Mach's. */
enum notify_id {
    NOTIFY_NO_SENDERS = 70, /* body: struct notify_body */
    NOTIFY_SEND_ONCE = 71,  /* a send-once right to the receiving port died unused; no body */
    NOTIFY_DEAD_NAME = 72,  /* body: struct notify_body */
};

struct notify_body {
    le64 name; /* of the port that it is about; NAME_NULL: it has none */
};

#define NAME_NULL 0ull
#define NAME_SERIAL_BOOTSTRAP 1u
#define NAME_SERIAL_KERNEL 2u
#define NAME_SERIAL_SERVERS 3u
#define NAME_MAKE(node, tag, serial)                                                               \
    ((uint64_t)(uint16_t)(node) << 48 | (uint64_t)(uint16_t)(tag) << 32 | (uint32_t)(serial))
#define NAME_NODE(name) ((uint16_t)((name) >> 48))
#define NAME_TAG(name) ((uint16_t)((name) >> 32))
#define NAME_SERIAL(name) ((uint32_t)(name))
#define NAME_WELL_KNOWN(node, serial) NAME_MAKE(node, 0, serial)
#define NAME_TAGS 65535u /* that ordinary names have: 1 .. 65535 */
/* Launch number * 256 + boot count, mod 65535: neighbouring lives differ however they followed each
 * other. */
#define NAME_TAG_OF_INCARNATION(incarnation)                                                       \
    ((uint16_t)(1u +                                                                               \
                (((uint64_t)(incarnation) >> 32) * 256u + (uint32_t)(incarnation)) % NAME_TAGS))

_Static_assert(sizeof(struct wire_mnl_header) == 24, "mnl header");
_Static_assert(sizeof(struct flipc_ack_body) == 16, "ack body");
_Static_assert(sizeof(struct flipc_nak_body) == 16, "nak body");
_Static_assert(sizeof(struct node_death_body) == 16, "death body");
_Static_assert(sizeof(struct node_hello_body) == 16, "hello body");
_Static_assert(sizeof(struct node_bootstrap_body) == 8, "bootstrap body");
_Static_assert(sizeof(struct node_leave_body) == 8, "leave body");
_Static_assert(sizeof(struct wire_mach_header) == 32, "Mach header");
_Static_assert(sizeof(struct wire_complex) == 8, "complex header");
_Static_assert(sizeof(struct wire_descriptor) == 16, "descriptor");
_Static_assert(sizeof(struct flipc_rights_entry) == 16, "rights entry");

#endif
