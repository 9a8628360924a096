/* SPDX-License-Identifier: MIT
 *
 * Micro benchmark of the message layer: two hosts in one thread, no link. Everything that both
 * kernels do for a message is in the figure - allocate, send, fetch, one copy, accept, receive,
 * settle, free - and nothing else.
 */
#include <abi/flipc.h>
#include <kernel/host.h>
#include <kernel/ipc.h>
#include <kernel/mach_node_link.h>
#include <kernel/thread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BYTES (16u << 20)
#define ROUNDS 5
#define BATCH 16u
#define BATCH_BYTES (192u * 1024u) /* below what may wait for a node */

struct bench {
    struct mach_host hosts[2];
    mnl_node_info_t nodes[2];
    struct port *server;
    struct port *client;
    struct port *proxy;
    struct port *carried[4];
};

static void require(int holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "bench: %s failed\n", what);
    exit(1);
}

static void bring_up(struct bench *bench)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct mach_host_configuration configuration = {
            .node_id = i + 1,
            .incarnation = 1,
            .seed = 1,
            .constants = {.nodes_max = 64,
                          .window = 64,
                          .keepalive_ns = 100000000,
                          .link_down_after_ns = 1000000000,
                          .dead_after_ns = 3000000000,
                          .ack_delay_ns = 100000,
                          .ack_count = 16},
            .arena = aligned_alloc(16, ARENA_BYTES),
            .arena_bytes = ARENA_BYTES,
        };

        require(mach_host_initialize(&bench->hosts[i], &configuration) == 0, "host");
        thread_set_host(&bench->hosts[i]);
        bench->nodes[i] = mnl_instantiate((mach_node_id_t)(2 - i), 0);
        bench->nodes[i]->datamodel = MNL_DATAMODEL_LP64;
        bench->nodes[i]->byteorder = MNL_BYTEORDER_LITTLE;
        bench->nodes[i]->proto_vers_min = bench->nodes[i]->proto_vers_max = 1;
        require(mnl_set_incarnation(bench->nodes[i], 1, 0) == 0 &&
                    mnl_register(bench->nodes[i], 0) == 0 &&
                    mnl_set_link_state(bench->nodes[i], MNL_LINK_UP, 0) == 0,
                "node");
    }
    require(port_create(&bench->hosts[1], &bench->server) == 0, "port");
    require(port_create(&bench->hosts[0], &bench->client) == 0, "port");
    bench->proxy = port_from_name(&bench->hosts[0], port_name(bench->server));
    require(bench->proxy != NULL, "proxy");
    for (unsigned i = 0; i < 4; i++)
        require(port_create(&bench->hosts[0], &bench->carried[i]) == 0, "port");
}

/* What a link does, without a link. */
static void carry(struct bench *bench, int from)
{
    mnl_node_info_t source = bench->nodes[from], sink = bench->nodes[1 - from];
    mnl_msg_t msg, copy;

    thread_set_host(&bench->hosts[1 - from]);
    while ((msg = mnl_msg_try_to_node(source, 0)) != MNL_MSG_NULL) {
        size_t length = sizeof(*msg) + msg->size;

        mnl_flow_peer(sink, mnl_flow_ack(source), mnl_flow_credit(source));
        copy = mnl_msg_alloc((int)msg->size, 0);
        memcpy(copy, msg, length);
        mnl_msg_complete(source, msg, 0);
        require(mnl_msg_take_from_node(sink, copy, length, 0) == 0, "take");
        mnl_flow_acknowledged(source, 1);
    }
    mnl_flow_peer(sink, mnl_flow_ack(source), mnl_flow_credit(source));
    mnl_flow_acknowledged(source, 1);
}

static void send_one(struct bench *bench, size_t size_bytes, struct port *reply)
{
    struct kmsg *kmsg = kmsg_allocate(&bench->hosts[0], size_bytes);

    require(kmsg != NULL &&
                mach_msg_send(kmsg, bench->proxy, reply, reply != NULL ? PORT_SEND_ONCE : PORT_NONE,
                              0) == MACH_MSG_SUCCESS,
            "send");
}

static void one_way(struct bench *bench, size_t size_bytes, unsigned count)
{
    unsigned batch = size_bytes * BATCH <= BATCH_BYTES ? BATCH : BATCH_BYTES / size_bytes;
    struct kmsg *kmsg;

    for (unsigned i = 0; i < count; i += batch) {
        for (unsigned k = 0; k < batch; k++)
            send_one(bench, size_bytes, NULL);
        carry(bench, 0);
        while (mach_msg_receive(bench->server, &kmsg, 0) == MACH_MSG_SUCCESS)
            kmsg_free(kmsg);
        carry(bench, 1);
    }
}

static void round_trips(struct bench *bench, size_t size_bytes, unsigned count)
{
    struct kmsg *kmsg;
    struct port *reply;

    for (unsigned i = 0; i < count; i++) {
        send_one(bench, size_bytes, bench->client);
        carry(bench, 0);
        require(mach_msg_receive(bench->server, &kmsg, 0) == MACH_MSG_SUCCESS, "receive");
        reply = kmsg_take_reply_port(kmsg);
        require(mach_msg_reply(kmsg, reply, PORT_SEND_ONCE) == MACH_MSG_SUCCESS, "reply");
        carry(bench, 1);
        require(mach_msg_receive(bench->client, &kmsg, 0) == MACH_MSG_SUCCESS, "answer");
        kmsg_free(kmsg);
    }
}

/* Frees a message, and its four rights with it; keeps them if `kept` is empty. */
static void take_rights(struct kmsg *kmsg, struct port **kept)
{
    enum port_disposition right;

    for (uint32_t k = 0; kept != NULL && k < 4; k++) {
        if (kept[k] == NULL)
            kept[k] = kmsg_take_port(kmsg, k, 0, &right);
        require(kept[k] != NULL, "right");
    }
    kmsg_free(kmsg);
}

/* One way with four port rights, which end with their message: in `kept`, which may be null, the
 * receiver keeps one to each port. */
static void rights(struct bench *bench, size_t size_bytes, unsigned count, struct port **kept)
{
    struct message_item items[4];
    struct kmsg *kmsg;

    for (unsigned i = 0; i < 4; i++)
        items[i] = (struct message_item){
            .type = MESSAGE_PORT, .transfer = PORT_MAKE_SEND, .port = bench->carried[i]};
    for (unsigned i = 0; i < count; i += BATCH) {
        for (unsigned k = 0; k < BATCH; k++)
            require(kmsg_create(&bench->hosts[0], size_bytes, items, 4, &kmsg) == 0 &&
                        mach_msg_send(kmsg, bench->proxy, NULL, PORT_NONE, 0) == MACH_MSG_SUCCESS,
                    "send");
        carry(bench, 0);
        while (mach_msg_receive(bench->server, &kmsg, 0) == MACH_MSG_SUCCESS)
            take_rights(kmsg, kept);
        carry(bench, 1);
    }
}

static void four_rights(struct bench *bench, size_t size_bytes, unsigned count)
{
    struct port *kept[4] = {NULL};

    rights(bench, size_bytes, count, kept);
    for (unsigned i = 0; i < 4; i++)
        port_release(kept[i]);
    carry(bench, 1);
}

/* To ports that the receiver does not know: each right makes a proxy, and ends it. */
static void four_new_rights(struct bench *bench, size_t size_bytes, unsigned count)
{
    rights(bench, size_bytes, count, NULL);
}

static void report(struct bench *bench, const char *name, size_t size_bytes, unsigned count,
                   void (*run)(struct bench *, size_t, unsigned))
{
    double best_ns = 0;

    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start_ns = clock_now_ns();
        double each_ns;

        run(bench, size_bytes, count);
        each_ns = (double)(clock_now_ns() - start_ns) / count;
        if (round == 0 || each_ns < best_ns)
            best_ns = each_ns;
    }
    printf("%-16s %7zu B  %9.1f ns  %12.0f /s\n", name, size_bytes, best_ns, 1e9 / best_ns);
}

int main(void)
{
    static struct bench bench;

    bring_up(&bench);
    report(&bench, "one way", 64, 200000, one_way);
    report(&bench, "one way", 4096, 50000, one_way);
    report(&bench, "one way", 65536, 6000, one_way);
    report(&bench, "four rights", 64, 100000, four_rights);
    report(&bench, "four new rights", 64, 50000, four_new_rights);
    report(&bench, "round trip", 64, 100000, round_trips);
    return 0;
}
