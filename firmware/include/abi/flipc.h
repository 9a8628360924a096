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
};

enum node_command {
    NODE_DEATH = 1,
};

enum flipc_nak_reason {
    FLIPC_NAK_UNKNOWN_NAME = 1,
    FLIPC_NAK_DEAD_PORT = 2,
    FLIPC_NAK_NO_RESOURCES = 3,
    FLIPC_NAK_BAD_MESSAGE = 4,
    FLIPC_NAK_NOT_PRINCIPAL = 5,
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

/* The wire form of a Mach message header: LP64 layout with 64-bit names. */
struct wire_mach_header {
    le32 bits;
    le32 size;
    le64 remote;
    le64 local;
    le32 voucher;
    le32 id;
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
/* Launch number * 256 + boot count, mod 65535: neighbouring lives differ however they followed each
 * other. */
#define NAME_TAG_OF_INCARNATION(incarnation)                                                       \
    ((uint16_t)(1u + (((uint64_t)(incarnation) >> 32) * 256u + (uint32_t)(incarnation)) % 65535u))

_Static_assert(sizeof(struct wire_mnl_header) == 24, "mnl header");
_Static_assert(sizeof(struct flipc_ack_body) == 16, "ack body");
_Static_assert(sizeof(struct flipc_nak_body) == 16, "nak body");
_Static_assert(sizeof(struct node_death_body) == 16, "death body");
_Static_assert(sizeof(struct wire_mach_header) == 32, "Mach header");

#endif
