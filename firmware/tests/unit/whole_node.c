/* SPDX-License-Identifier: MIT
 *
 * Whole nodes and cables for tests: see whole_node.h.
 */
#include "whole_node.h"
#include "hosts.h"

#include <abi/flipc.h>
#include <kernel/shared.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CABLE_IDLE_NS 1000000ull /* how long a direction with nothing to carry sleeps */

static void must(int error, const char *what)
{
    if (error != 0) {
        fprintf(stderr, "test fixture: %s: %d\n", what, error);
        abort();
    }
}

static void panic_count(void *context, uint32_t asked_by_node)
{
    struct test_node *node = context;

    node->asked_by = asked_by_node;
    node->panics++;
}

static void hang_count(void *context)
{
    struct test_node *node = context;

    node->hangs++;
}

void test_node_open(struct test_node *node, uint32_t node_id, uint64_t incarnation,
                    size_t arena_bytes, bool trace)
{
    *node = (struct test_node){.arena = aligned_alloc(4096, arena_bytes),
                               .box = aligned_alloc(4096, BOOT_BLACKBOX_SIZE)};
    struct mach_host_configuration configuration = test_configuration(node_id, incarnation);
    struct blackbox_configuration box = {.memory = node->box, .trace_messages = trace};
    struct kernel_service_operations operations = {
        .context = node, .panic = panic_count, .hang = hang_count};

    configuration.arena = node->arena;
    configuration.arena_bytes = arena_bytes;
    must(mach_host_initialize(&node->host, &configuration), "host");
    thread_set_host(&node->host);
    must(blackbox_open(&node->host, &box), "black box");
    must(kern_servers_initialize(&node->host), "servers");
    must(kernel_service_start(&node->host, &operations, &node->service), "kernel service");
}

void test_node_close(struct test_node *node)
{
    thread_set_host(&node->host);
    kern_servers_destroy(&node->host);
    kernel_service_stop(node->service);
    blackbox_close(&node->host);
    mach_host_destroy(&node->host);
    thread_set_host(NULL);
    free(node->arena);
    free(node->box);
}

const struct blackbox_header *test_node_header(const struct test_node *node)
{
    return (const struct blackbox_header *)(const void *)node->box;
}

const struct blackbox_event *test_node_events(const struct test_node *node)
{
    return (const struct blackbox_event *)(const void *)(node->box + BLACKBOX_EVENTS_OFFSET);
}

struct blackbox_ledger *test_node_ledgers(const struct test_node *node)
{
    return (struct blackbox_ledger *)(void *)(node->box + BLACKBOX_LEDGERS_OFFSET);
}

/* The reader's rule of docs/spec/blackbox.md, section 2. False: overwritten or being written. */
static bool event_read(const struct blackbox_event *slot, uint64_t sequence,
                       struct test_event *event)
{
    if (shared_load64_acquire(&slot->sequence) != sequence) {
        return false;
    }
    event->kind = shared_load16(&slot->kind);
    event->link = shared_load16(&slot->link);
    event->peer = shared_load32(&slot->peer);
    event->arg0 = shared_load64(&slot->arg0);
    event->arg1 = shared_load64(&slot->arg1);
    event->arg2 = shared_load64_acquire(&slot->arg2);
    return shared_load64(&slot->sequence) == sequence;
}

uint32_t test_node_count_events(const struct test_node *node, uint16_t kind,
                                struct test_event *last)
{
    uint64_t head = shared_load64_acquire(&test_node_header(node)->event_head);
    uint64_t first = head > BLACKBOX_EVENT_COUNT ? head - BLACKBOX_EVENT_COUNT : 0;
    uint32_t count = 0;

    for (uint64_t sequence = first; sequence < head; sequence++) {
        struct test_event event;
        const struct blackbox_event *slot =
            &test_node_events(node)[sequence % BLACKBOX_EVENT_COUNT];
        if (event_read(slot, sequence, &event) && event.kind == kind) {
            count++;
            if (last != NULL) {
                *last = event;
            }
        }
    }
    return count;
}

long test_call(struct mach_host *host, struct port *port, int32_t id, const void *body,
               size_t len_bytes, void *answer, size_t answer_bytes)
{
    struct port *reply;
    struct kmsg *message = kmsg_allocate(host, len_bytes);
    long size = -1;

    if (message == NULL || port_create(host, &reply) != 0) {
        kmsg_free(message);
        return -1;
    }
    if (len_bytes != 0) {
        memcpy(kmsg_body(message), body, len_bytes);
    }
    kmsg_set_id(message, id);
    uint64_t deadline_ns = clock_now_ns() + TEST_CALL_NS;
    if (mach_msg_send(message, port, reply, PORT_SEND_ONCE, deadline_ns) != MACH_MSG_SUCCESS) {
        kmsg_free(message);
    } else if (mach_msg_receive(reply, &message, deadline_ns) == MACH_MSG_SUCCESS) {
        if (kmsg_id(message) == id + 100) {
            size = (long)kmsg_body_size(message);
            size_t copied =
                kmsg_body_size(message) < answer_bytes ? kmsg_body_size(message) : answer_bytes;
            if (copied != 0) {
                memcpy(answer, kmsg_body(message), copied);
            }
        }
        kmsg_free(message);
    }
    port_destroy(reply);
    return size;
}

int test_call_status(struct mach_host *host, struct port *port, int32_t id, const void *body,
                     size_t len_bytes)
{
    int32_t status = 1;

    if (test_call(host, port, id, body, len_bytes, &status, sizeof(status)) <
        (long)sizeof(status)) {
        return 1;
    }
    return status;
}

/* --- Cable ------------------------------------------------------------------------------------ */

/* One message and what a frame's header carries, from `from` to the other. False: there was no
 * message. */
static bool cable_carry(struct test_cable *cable, uint32_t from)
{
    uint32_t to = 1 - from;

    thread_set_host(&cable->nodes[from]->host);
    mnl_msg_t message = mnl_msg_try_to_node(cable->peers[from], 0);
    uint32_t ack = mnl_flow_ack(cable->peers[from]);
    uint32_t credit = mnl_flow_credit(cable->peers[from]);
    mnl_flow_acknowledged(cable->peers[from], clock_now_ns());

    thread_set_host(&cable->nodes[to]->host);
    mnl_flow_peer(cable->peers[to], ack, credit);
    if (message != MNL_MSG_NULL) {
        (void)mnl_msg_from_node_bounded(cable->peers[to], message,
                                        (size_t)MNL_MSG_SIZE + message->size, 0);
    }
    thread_set_host(&cable->nodes[from]->host);
    mnl_msg_complete(cable->peers[from], message, 0);
    return message != MNL_MSG_NULL;
}

static void cable_main(void *argument)
{
    struct test_cable_end *end = argument;
    struct test_cable *cable = end->cable;
    struct mach_host *host = &cable->nodes[end->from]->host;

    while (!__atomic_load_n(&cable->stop, __ATOMIC_ACQUIRE)) {
        if (!cable_carry(cable, end->from)) {
            (void)event_wait(&host->link_event, clock_now_ns() + CABLE_IDLE_NS);
        }
    }
}

/* nodes[at] learns of the other. */
static void cable_register(struct test_cable *cable, uint32_t at)
{
    struct mach_host *peer = &cable->nodes[1 - at]->host;

    thread_set_host(&cable->nodes[at]->host);
    mnl_node_info_t node = mnl_instantiate((mach_node_id_t)peer->node_id, 0);
    if (node == MNL_NODE_NULL) {
        must(1, "mnl_instantiate");
    }
    node->datamodel = MNL_DATAMODEL_LP64;
    node->byteorder = MNL_BYTEORDER_LITTLE;
    node->proto_vers_min = MNL_PROTOCOL_V1;
    node->proto_vers_max = MNL_PROTOCOL_V1;
    must(mnl_set_incarnation(node, peer->incarnation, 0), "mnl_set_incarnation");
    must(mnl_register(node, 0), "mnl_register");
    must(mnl_set_link_state(node, MNL_LINK_UP, 0), "mnl_set_link_state");
    cable->peers[at] = node;
}

void test_cable_open(struct test_cable *cable, struct test_node *a, struct test_node *b)
{
    *cable = (struct test_cable){.nodes = {a, b}};
    cable_register(cable, 0);
    cable_register(cable, 1);
    for (uint32_t i = 0; i < 2; i++) {
        cable->ends[i] = (struct test_cable_end){.cable = cable, .from = i};
        must(thread_create(&cable->nodes[i]->host, "cable", cable_main, &cable->ends[i],
                           &cable->threads[i]),
             "cable thread");
    }
    thread_set_host(&a->host);
}

void test_cable_close(struct test_cable *cable)
{
    __atomic_store_n(&cable->stop, true, __ATOMIC_RELEASE);
    for (uint32_t i = 0; i < 2; i++) {
        thread_join(cable->threads[i]);
    }
    for (uint32_t i = 0; i < 2; i++) {
        thread_set_host(&cable->nodes[i]->host);
        (void)mnl_terminate(cable->peers[i], 0);
        mnl_node_release(cable->peers[i], 0);
    }
}

bool test_wait(bool (*condition)(void *context), void *context)
{
    uint64_t deadline_ns = clock_now_ns() + TEST_CALL_NS;
    struct event never;

    event_init(&never);
    while (!condition(context)) {
        uint64_t now_ns = clock_now_ns();
        if (now_ns >= deadline_ns) {
            return false;
        }
        (void)event_wait(&never, now_ns + CABLE_IDLE_NS);
    }
    return true;
}
