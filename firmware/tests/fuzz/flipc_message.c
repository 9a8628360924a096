/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: a host, two peers and node 0 that say what the input says, and threads of the host
 * that receive, answer, send, pass rights on and look names up. Promised: whatever arrives, each call
 * says one of the documented things, and when all peers are dead nothing of them is left.
 *
 * The input is a list of actions: a byte that names it, then its operands. Missing operands read as
 * 0.
 *   0 message   from whom, length, bytes over a message that is right in every respect
 *   1 raw       from whom, length, bytes
 *   2 receive   and keep the rights that it brought
 *   3 send      a message that wants an answer, with a right or two
 *   4 fetch     what the link to somebody has to send
 *   5 told      by somebody: ack, credit
 *   6 resume    towards somebody: sequence number
 *   7 name      8 bytes, looked up
 *   8 complex   from whom, its descriptors: all well-formed but for what the input damages
 *   9 rights    from whom, entries about names that mean something
 *  10 node      from whom, a command with the body that it should have
 *  11 answer    with a right that was kept
 *  12 release   a right that was kept
 *  13 ask       for a notification, or end a port
 *
 * Built with -fsanitize=fuzzer,address,undefined; corpus in corpus/flipc_message.
 */
#include "core/heap.h"
#include "core/node.h"
#include <kernel/node.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BYTES (1u << 20)
#define LIFE 0x100000001ull
#define MESSAGE_MAXIMUM 512u
#define RIGHTS 6u
#define PEERS 3u
#define ACTIONS 14u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *next;
    size_t left;
};

struct kept {
    struct port *port; /* null: none */
    enum port_disposition right;
};

struct bench {
    struct mach_host host;
    mnl_node_info_t nodes[PEERS];
    struct port *port;
    uint64_t name;
    struct kept kept[RIGHTS];
};

static const uint32_t peer_ids[PEERS] = {0, 2, 3};

static _Alignas(64) uint8_t arena[ARENA_BYTES];

static void must(bool holds)
{
    if (!holds)
        abort();
}

static uint64_t take(struct input *input, size_t bytes)
{
    uint64_t value = 0;

    for (size_t i = 0; i < bytes && input->left != 0; i++, input->left--)
        value |= (uint64_t)*input->next++ << 8 * i;
    return value;
}

static mnl_node_info_t make_node(uint32_t id)
{
    mnl_node_info_t node = mnl_instantiate((mach_node_id_t)id, 0);

    must(node != MNL_NODE_NULL);
    node->datamodel = MNL_DATAMODEL_LP64;
    node->byteorder = MNL_BYTEORDER_LITTLE;
    node->proto_vers_min = 1;
    node->proto_vers_max = 1;
    must(mnl_set_incarnation(node, LIFE, 0) == KERN_SUCCESS);
    must(mnl_register(node, 0) == KERN_SUCCESS);
    must(mnl_set_link_state(node, MNL_LINK_UP, 0) == KERN_SUCCESS);
    return node;
}

static void begin(struct bench *bench)
{
    struct mach_host_configuration configuration = {
        .node_id = 1,
        .incarnation = LIFE,
        .seed = 1,
        .constants = {.nodes_max = 8,
                      .window = 8,
                      .keepalive_ns = 100000000,
                      .link_down_after_ns = 1000000000,
                      .dead_after_ns = 3000000000,
                      .ack_delay_ns = 100000,
                      .ack_count = 4},
        .arena = arena,
        .arena_bytes = sizeof(arena),
    };

    memset(bench, 0, sizeof(*bench));
    must(mach_host_initialize(&bench->host, &configuration) == 0);
    thread_set_host(&bench->host);
    for (unsigned i = 0; i < PEERS; i++)
        bench->nodes[i] = make_node(peer_ids[i]);
    must(port_create(&bench->host, &bench->port) == 0);
    bench->name = port_name(bench->port);
}

/* Of a port that means something to the host, or to somebody. */
static uint64_t take_name(struct bench *bench, struct input *input)
{
    unsigned what = (unsigned)take(input, 1);
    uint32_t serial = 4u + (what >> 6);

    switch (what % 6u) {
    case 0:
        return bench->name;
    case 1:
        return NAME_MAKE(2, NAME_TAG_OF_INCARNATION(LIFE), serial);
    case 2:
        return NAME_MAKE(3, NAME_TAG_OF_INCARNATION(LIFE), serial);
    case 3: {
        struct port *port = bench->kept[what / 6u % RIGHTS].port;

        return port == NULL ? NAME_WELL_KNOWN(1, NAME_SERIAL_KERNEL) : port_name(port);
    }
    case 4:
        return NAME_NULL;
    default:
        return take(input, 8);
    }
}

static void keep(struct bench *bench, struct port *port, enum port_disposition right)
{
    unsigned slot = 0;

    if (port == NULL)
        return;
    while (slot < RIGHTS && bench->kept[slot].port != NULL)
        slot++;
    if (slot < RIGHTS)
        bench->kept[slot] = (struct kept){.port = port, .right = right};
    else
        port_release_right(port, right);
}

/* --- What peers say --------------------------------------------------------------------------- */

/* The bytes of one message and how many they are. */
struct message {
    uint8_t bytes[MESSAGE_MAXIMUM];
    size_t length;
};

static void append(struct message *message, const void *bytes, size_t count)
{
    must(count <= sizeof(message->bytes) - message->length);
    memcpy(message->bytes + message->length, bytes, count);
    message->length += count;
}

/* Now that its length is known, say it, change what the input says, and deliver it. */
static void deliver(struct bench *bench, struct input *input, unsigned who, uint8_t sub,
                    uint8_t command, uint64_t object, struct message *message)
{
    struct wire_mnl_header header = {
        .sub = sub,
        .cmd = command,
        .flags = MNL_FLAG_SEQUENCED,
        .node_id = le32_of(peer_ids[who]),
        .object = le64_of(object),
        .options = le32_of(mnl_flow_next(bench->nodes[who])),
        .size = le32_of((uint32_t)(message->length - sizeof(header))),
    };
    size_t changes = take(input, 1) % 8u;
    kern_return_t result;

    memcpy(message->bytes, &header, sizeof(header));
    for (size_t i = 0; i < changes; i++) {
        size_t at = take(input, 2) % message->length;

        message->bytes[at] = (uint8_t)take(input, 1);
    }
    result = mnl_msg_from_node_bounded(bench->nodes[who], (mnl_msg_t)(void *)message->bytes,
                                       message->length, 0);
    must(result == KERN_SUCCESS || result == KERN_INVALID_ARGUMENT || result == KERN_NODE_DOWN ||
         result == KERN_FAILURE || result == KERN_RESOURCE_SHORTAGE);
}

static unsigned take_peer(struct input *input)
{
    return (unsigned)take(input, 1) % PEERS;
}

static struct message message_begin(void)
{
    return (struct message){.length = sizeof(struct wire_mnl_header)};
}

/* A Mach header to a port that the input names, with a reply right half of the time. Its size is the
 * whole message's: `bytes` more follow. */
static uint64_t append_mach(struct bench *bench, struct input *input, struct message *message,
                            uint32_t bits, size_t bytes)
{
    unsigned how = (unsigned)take(input, 1);
    uint64_t remote = how & 4u ? take_name(bench, input) : bench->name;
    uint64_t local = how & 1u ? take_name(bench, input) : NAME_NULL;
    uint32_t local_right = how & 2u ? PORT_SEND : PORT_SEND_ONCE;
    struct wire_mach_header mach = {
        .bits = le32_of(bits | (how & 8u ? PORT_SEND_ONCE : PORT_SEND) |
                        (local == NAME_NULL ? 0 : local_right << 8)),
        .size = le32_of((uint32_t)(sizeof(mach) + bytes)),
        .remote = le64_of(remote),
        .local = le64_of(local),
        .local_home = le16_of(local == NAME_NULL ? 0 : (uint16_t)(how >> 4 & 7u)),
    };

    append(message, &mach, sizeof(mach));
    return remote;
}

static void say_plain(struct bench *bench, struct input *input)
{
    unsigned who = take_peer(input);
    struct message message = message_begin();
    uint64_t remote = append_mach(bench, input, &message, 0, 16);

    message.length += 16;
    deliver(bench, input, who, MNL_SUB_FLIPC, FLIPC_IPC, remote, &message);
}

static void say_raw(struct bench *bench, struct input *input)
{
    unsigned who = take_peer(input);
    struct message message = message_begin();
    size_t count = take(input, 1);
    uint8_t bytes[256];
    uint8_t sub = (uint8_t)take(input, 1);
    uint8_t command = (uint8_t)take(input, 1);

    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)take(input, 1);
    append(&message, bytes, count);
    deliver(bench, input, who, sub, command, bench->name, &message);
}

static struct wire_descriptor take_descriptor(struct bench *bench, struct input *input)
{
    unsigned how = (unsigned)take(input, 1);
    uint8_t right = (uint8_t)(PORT_RECEIVE + (how >> 2) % 3u);
    struct wire_descriptor descriptor = {.type = (uint8_t)(how % 3u)};

    if (descriptor.type == WIRE_PORT) {
        descriptor.disposition = right;
        descriptor.name = le64_of(take_name(bench, input));
        descriptor.home = le16_of(right == PORT_RECEIVE ? 0 : (uint16_t)(how >> 5));
        descriptor.count = le32_of(right == PORT_RECEIVE ? 4u : 0u);
    } else {
        descriptor.disposition = descriptor.type == WIRE_PORTS ? right : 0;
        descriptor.count = le32_of(how >> 5);
    }
    return descriptor;
}

/* The data of an out-of-line descriptor. */
static void append_data(struct bench *bench, struct input *input, struct message *message,
                        const struct wire_descriptor *of)
{
    static const uint8_t nothing[8];

    if (of->type == WIRE_BYTES && le32_load(of->count) != 0)
        append(message, nothing, sizeof(nothing)); /* 1 to 7 bytes, filled up */
    for (uint32_t i = 0; of->type == WIRE_PORTS && i < le32_load(of->count); i++) {
        struct wire_descriptor port = {
            .disposition = of->disposition,
            .name = le64_of(take_name(bench, input)),
            .count = le32_of(of->disposition == PORT_RECEIVE ? 4u : 0u),
        };

        append(message, &port, sizeof(port));
    }
}

static void say_complex(struct bench *bench, struct input *input)
{
    unsigned who = take_peer(input);
    struct wire_descriptor descriptors[4];
    struct wire_complex complex = {.descriptor_count = le32_of(1u + (uint32_t)take(input, 1) % 3u)};
    size_t count = le32_load(complex.descriptor_count);
    struct message parts = {.length = 0};
    struct message message = message_begin();
    uint64_t remote;

    for (size_t i = 0; i < count; i++) {
        descriptors[i] = take_descriptor(bench, input);
        append_data(bench, input, &parts, &descriptors[i]);
        if (parts.length > MESSAGE_MAXIMUM / 2)
            return;
    }
    remote = append_mach(bench, input, &message, MACH_BITS_COMPLEX,
                         sizeof(complex) + count * sizeof(descriptors[0]) + parts.length);
    append(&message, &complex, sizeof(complex));
    append(&message, descriptors, count * sizeof(descriptors[0]));
    append(&message, parts.bytes, parts.length);
    deliver(bench, input, who, MNL_SUB_FLIPC, FLIPC_IPC, remote, &message);
}

static void say_rights(struct bench *bench, struct input *input)
{
    unsigned who = take_peer(input);
    struct message message = message_begin();
    struct flipc_rights_body body = {.count = le32_of((uint32_t)take(input, 1) % 8u)};

    append(&message, &body, sizeof(body));
    for (uint32_t i = 0; i < le32_load(body.count); i++) {
        struct flipc_rights_entry entry = {
            .name = le64_of(take_name(bench, input)),
            .operation = le32_of((uint32_t)take(input, 1) % (RIGHTS_GO + 2u)),
        };
        uint32_t value = (uint32_t)take(input, 1);

        entry.value = le32_of(value == 255u ? UINT32_MAX : value);
        append(&message, &entry, sizeof(entry));
    }
    deliver(bench, input, who, MNL_SUB_FLIPC, FLIPC_RIGHTS, 0, &message);
}

static void say_node(struct bench *bench, struct input *input)
{
    unsigned who = take_peer(input);
    uint8_t command = (uint8_t)(1u + take(input, 1) % NODE_LEAVE);
    struct message message = message_begin();
    struct node_hello_body hello = {.incarnation = le64_of(LIFE),
                                    .protocol_minimum = 1,
                                    .protocol_maximum = 1,
                                    .data_model = MNL_DATAMODEL_LP64,
                                    .byte_order = MNL_BYTEORDER_LITTLE};
    struct node_bootstrap_body bootstrap = {
        .name = le64_of(NAME_WELL_KNOWN(peer_ids[who], NAME_SERIAL_BOOTSTRAP))};
    struct node_death_body death = {.node_id = le32_of((uint32_t)take(input, 1) % 4u),
                                    .incarnation = le64_of(LIFE)};

    if (command == NODE_HELLO)
        append(&message, &hello, sizeof(hello));
    else if (command == NODE_DEATH)
        append(&message, &death, sizeof(death));
    else if (command == NODE_LEAVE)
        append(&message, &hello.incarnation, sizeof(hello.incarnation));
    else
        append(&message, &bootstrap, sizeof(bootstrap));
    deliver(bench, input, who, MNL_SUB_NODE, command, 0, &message);
}

/* --- What the host does ----------------------------------------------------------------------- */

static void keep_all(struct bench *bench, struct kmsg *message)
{
    enum port_disposition right = kmsg_reply_disposition(message);

    keep(bench, kmsg_take_reply_port(message), right);
    for (uint32_t i = 0; i < kmsg_part_count(message); i++) {
        struct message_part part = kmsg_part(message, i);

        for (uint32_t k = 0; part.type != MESSAGE_BYTES && k < part.count; k++) {
            struct port *port = kmsg_take_port(message, i, k, &right);

            keep(bench, port, right);
        }
    }
}

static void receive(struct bench *bench, struct input *input)
{
    const struct kept *kept = &bench->kept[take(input, 1) % RIGHTS];
    struct port *port = kept->right == PORT_RECEIVE ? kept->port : bench->port;
    struct kmsg *message;

    if (mach_msg_receive(port, &message, 0) != MACH_MSG_SUCCESS)
        return;
    keep_all(bench, message);
    kmsg_free(message);
}

static enum port_transfer move_of(enum port_disposition right)
{
    return right == PORT_RECEIVE     ? PORT_MOVE_RECEIVE
           : right == PORT_SEND_ONCE ? PORT_MOVE_SEND_ONCE
                                     : PORT_MOVE_SEND;
}

/* With a right of a slot, moved or copied, and one to the host's own port. */
static struct kmsg *take_message(struct bench *bench, struct input *input)
{
    struct kept *kept = &bench->kept[take(input, 1) % RIGHTS];
    bool copies = kept->right == PORT_SEND && take(input, 1) % 2u != 0;
    struct message_item items[] = {
        {.type = MESSAGE_PORT, .transfer = PORT_MAKE_SEND, .port = bench->port},
        {.type = MESSAGE_PORT,
         .transfer = copies ? PORT_COPY_SEND : move_of(kept->right),
         .port = kept->port},
    };
    struct kmsg *message;

    if (kept->port == NULL)
        return kmsg_allocate(&bench->host, 24);
    if (kmsg_create(&bench->host, 24, items, sizeof(items) / sizeof(items[0]), &message) != 0)
        return NULL;
    if (!copies)
        *kept = (struct kept){.port = NULL};
    return message;
}

static void send_one(struct bench *bench, struct input *input)
{
    const struct kept *to = &bench->kept[take(input, 1) % RIGHTS];
    struct port *port = to->right == PORT_SEND ? to->port : NULL;
    struct kmsg *message = take_message(bench, input);

    if (message == NULL)
        return;
    if (port == NULL || port != to->port) /* or it went into the message */
        port = port_from_name(&bench->host, NAME_WELL_KNOWN(2, NAME_SERIAL_KERNEL));
    else
        port_retain(port);
    if (port == NULL ||
        mach_msg_send(message, port, bench->port, PORT_SEND_ONCE, 0) != MACH_MSG_SUCCESS)
        kmsg_free(message);
    if (port != NULL)
        port_release(port);
}

static void fetch(struct bench *bench, struct input *input)
{
    mnl_node_info_t node = bench->nodes[take_peer(input)];
    mnl_msg_t message = mnl_msg_try_to_node(node, 0);

    mnl_msg_complete(node, message, 0);
}

static void drop(struct kept *kept)
{
    if (kept->port != NULL)
        port_release_right(kept->port, kept->right);
    *kept = (struct kept){.port = NULL};
}

static void look_up(struct bench *bench, struct input *input)
{
    uint64_t name = take(input, 8);
    struct kept *kept = &bench->kept[take(input, 1) % RIGHTS];

    drop(kept);
    *kept = (struct kept){.port = port_from_name(&bench->host, name), .right = PORT_SEND};
}

static void answer(struct bench *bench, struct input *input)
{
    struct kept *to = &bench->kept[take(input, 1) % RIGHTS];
    struct kept used = *to;
    struct kmsg *message;

    if (used.port == NULL || used.right == PORT_RECEIVE)
        return;
    *to = (struct kept){.port = NULL};
    message = take_message(bench, input);
    if (message == NULL)
        keep(bench, used.port, used.right);
    else if (mach_msg_reply(message, used.port, used.right) != MACH_MSG_SUCCESS)
        kmsg_free(message);
}

static void ask(struct bench *bench, struct input *input)
{
    unsigned what = (unsigned)take(input, 1);
    struct kept *kept = &bench->kept[what / 4u % RIGHTS];
    int error = 0;

    switch (what % 4u) {
    case 0:
        error = port_notify_no_senders(bench->port, bench->port);
        break;
    case 1:
        if (kept->port != NULL)
            error = port_notify_dead(kept->port, bench->port);
        break;
    case 2: {
        struct port *port;

        error = port_create(&bench->host, &port);
        if (error == 0)
            keep(bench, port, PORT_RECEIVE);
        break;
    }
    default:
        port_destroy(bench->port);
        error = port_create(&bench->host, &bench->port);
        must(error == 0);
        bench->name = port_name(bench->port);
        break;
    }
    must(error == 0 || error == ERROR_NO_MEMORY || error == ERROR_INVALID || error == ERROR_EXISTS);
}

static void act(struct bench *bench, struct input *input)
{
    switch (take(input, 1) % ACTIONS) {
    case 0:
        say_plain(bench, input);
        break;
    case 1:
        say_raw(bench, input);
        break;
    case 2:
        receive(bench, input);
        break;
    case 3:
        send_one(bench, input);
        break;
    case 4:
        fetch(bench, input);
        break;
    case 5: {
        mnl_node_info_t node = bench->nodes[take_peer(input)];
        uint32_t ack = (uint32_t)take(input, 4);

        mnl_flow_peer(node, ack, (uint32_t)take(input, 4));
        break;
    }
    case 6: {
        mnl_node_info_t node = bench->nodes[take_peer(input)];

        mnl_flow_resume(node, (uint32_t)take(input, 4));
        break;
    }
    case 7:
        look_up(bench, input);
        break;
    case 8:
        say_complex(bench, input);
        break;
    case 9:
        say_rights(bench, input);
        break;
    case 10:
        say_node(bench, input);
        break;
    case 11:
        answer(bench, input);
        break;
    case 12:
        drop(&bench->kept[take(input, 1) % RIGHTS]);
        break;
    default:
        ask(bench, input);
        break;
    }
}

static void end(struct bench *bench)
{
    for (unsigned i = 0; i < RIGHTS; i++)
        drop(&bench->kept[i]);
    port_destroy(bench->port);
    for (unsigned i = 0; i < PEERS; i++)
        mnl_node_release(bench->nodes[i], 0);
    heap_check(&bench->host);
    must(heap_count(&bench->host, HEAP_KMSG) == 0);
    must(heap_count(&bench->host, HEAP_PORT) == 0);
    must(heap_count(&bench->host, HEAP_NODE) == 0);
    mach_host_destroy(&bench->host);
    thread_set_host(NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {.next = data, .left = size};
    struct bench bench;

    begin(&bench);
    while (input.left != 0)
        act(&bench, &input);
    end(&bench);
    return 0;
}
