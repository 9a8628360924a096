/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: a host, a peer and node 0 that say what the input says, and threads of the host that
 * receive, answer, send and look names up. Promised: whatever arrives, each call says one of the
 * documented things, and when both peers are dead nothing of them is left.
 *
 * The input is a list of actions: a byte that names it, then its operands. Missing operands read as
 * 0.
 *   0 message   from whom, length, bytes over a message that is right in every respect
 *   1 raw       from whom, length, bytes
 *   2 receive   and answer
 *   3 send      a message that wants an answer
 *   4 fetch     what the link to somebody has to send
 *   5 told      by somebody: ack, credit
 *   6 resume    towards somebody: sequence number
 *   7 name      8 bytes, looked up
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
#define RIGHTS 4u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *next;
    size_t left;
};

struct bench {
    struct mach_host host;
    mnl_node_info_t nodes[2]; /* node 0 and node 2 */
    struct port *port;
    uint64_t name;
    struct port *rights[RIGHTS]; /* answers go here; null: none */
};

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
    bench->nodes[0] = make_node(0);
    bench->nodes[1] = make_node(2);
    must(port_create(&bench->host, &bench->port) == 0);
    bench->name = port_name(bench->port);
}

static uint32_t id_of(unsigned who)
{
    return who == 0 ? 0 : 2;
}

/* --- Actions ---------------------------------------------------------------------------------- */

static void deliver(struct bench *bench, struct input *input, bool is_right)
{
    unsigned who = (unsigned)take(input, 1) & 1u;
    size_t length = take(input, 1);
    uint8_t bytes[MESSAGE_MAXIMUM] = {0};
    size_t total =
        is_right ? sizeof(struct wire_mnl_header) + sizeof(struct wire_mach_header) + 16 : length;
    struct wire_mnl_header header = {.sub = MNL_SUB_FLIPC,
                                     .cmd = FLIPC_IPC,
                                     .flags = MNL_FLAG_SEQUENCED,
                                     .node_id = le32_of(id_of(who)),
                                     .object = le64_of(bench->name),
                                     .options = le32_of(mnl_flow_next(bench->nodes[who])),
                                     .size = le32_of((uint32_t)(total - sizeof(header)))};
    struct wire_mach_header mach = {
        .bits = le32_of(PORT_SEND), .size = header.size, .remote = header.object};
    kern_return_t result;

    if (is_right) {
        memcpy(bytes, &header, sizeof(header));
        memcpy(bytes + sizeof(header), &mach, sizeof(mach));
        for (size_t i = 0; i < length && input->left != 0; i++) {
            size_t at = take(input, 1) % total;

            bytes[at] = (uint8_t)take(input, 1);
        }
    } else {
        for (size_t i = 0; i < length; i++)
            bytes[i] = (uint8_t)take(input, 1);
    }
    result = mnl_msg_from_node_bounded(bench->nodes[who], (mnl_msg_t)(void *)bytes, total, 0);
    must(result == KERN_SUCCESS || result == KERN_INVALID_ARGUMENT || result == KERN_NODE_DOWN ||
         result == KERN_FAILURE || result == KERN_RESOURCE_SHORTAGE);
}

static void receive_and_answer(struct bench *bench)
{
    struct kmsg *message;
    struct port *reply;

    if (mach_msg_receive(bench->port, &message, 0) != MACH_MSG_SUCCESS)
        return;
    reply = kmsg_take_reply_port(message);
    if (reply == NULL || mach_msg_send(message, reply, NULL, PORT_NONE, 0) != MACH_MSG_SUCCESS)
        kmsg_free(message);
    if (reply != NULL)
        port_release(reply);
}

static void send_one(struct bench *bench, struct input *input)
{
    unsigned slot = (unsigned)take(input, 1) % RIGHTS;
    struct port *to = bench->rights[slot] != NULL
                          ? bench->rights[slot]
                          : port_from_name(&bench->host, NAME_WELL_KNOWN(2, NAME_SERIAL_KERNEL));
    struct kmsg *message = kmsg_allocate(&bench->host, 24);

    if (to == NULL || message == NULL ||
        mach_msg_send(message, to, bench->port, PORT_SEND_ONCE, 0) != MACH_MSG_SUCCESS)
        kmsg_free(message);
    if (to != NULL && to != bench->rights[slot])
        port_release(to);
}

static void fetch(struct bench *bench, struct input *input)
{
    mnl_node_info_t node = bench->nodes[take(input, 1) & 1u];
    mnl_msg_t message = mnl_msg_try_to_node(node, 0);

    mnl_msg_complete(node, message, 0);
}

static void look_up(struct bench *bench, struct input *input)
{
    uint64_t name = take(input, 8);
    unsigned slot = (unsigned)take(input, 1) % RIGHTS;

    if (bench->rights[slot] != NULL)
        port_release(bench->rights[slot]);
    bench->rights[slot] = port_from_name(&bench->host, name);
}

static void act(struct bench *bench, struct input *input)
{
    switch (take(input, 1) & 7u) {
    case 0:
        deliver(bench, input, true);
        break;
    case 1:
        deliver(bench, input, false);
        break;
    case 2:
        receive_and_answer(bench);
        break;
    case 3:
        send_one(bench, input);
        break;
    case 4:
        fetch(bench, input);
        break;
    case 5: {
        mnl_node_info_t node = bench->nodes[take(input, 1) & 1u];
        uint32_t ack = (uint32_t)take(input, 4);

        mnl_flow_peer(node, ack, (uint32_t)take(input, 4));
        break;
    }
    case 6: {
        mnl_node_info_t node = bench->nodes[take(input, 1) & 1u];

        mnl_flow_resume(node, (uint32_t)take(input, 4));
        break;
    }
    default:
        look_up(bench, input);
        break;
    }
}

static void end(struct bench *bench)
{
    for (unsigned i = 0; i < RIGHTS; i++)
        if (bench->rights[i] != NULL)
            port_release(bench->rights[i]);
    port_destroy(bench->port);
    for (unsigned i = 0; i < 2; i++)
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
