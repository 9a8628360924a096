/* SPDX-License-Identifier: MIT
 *
 * Every allocation on the way of a message fails once: the n-th from the start, for n = 1, 2, ...
 * until nothing fails any more. Whatever fails says so, nothing is lost without an outcome, and
 * everything is freed.
 */
#include "core/heap.h"
#include "core/node.h"
#include "core/port.h"
#include "hosts.h"
#include "native.h"
#include "unit.h"
#include <stdlib.h>
#include <string.h>

#define ATTEMPTS_MAXIMUM 100u

/* Bring a host up and down with a failing allocation; true: it came up. */
static bool host_comes_up(uint8_t *arena, size_t arena_bytes)
{
    struct mach_host_configuration configuration = test_configuration(1, 1);
    struct mach_host host;
    int error;

    configuration.arena = arena;
    configuration.arena_bytes = arena_bytes;
    error = mach_host_initialize(&host, &configuration);
    if (error != 0)
        EXPECT(error == ERROR_NO_MEMORY || error == ERROR_INVALID);
    else
        mach_host_destroy(&host);
    return error == 0;
}

static void a_host_that_lacks_memory_at_any_point_does_not_come_up(void)
{
    size_t size = 1u << 15;
    uint8_t *arena = aligned_alloc(16, size);
    unsigned failures = 0;

    for (size_t bytes = 0; bytes <= size; bytes += 64) {
        if (!host_comes_up(arena, bytes))
            failures++;
    }
    EXPECT(failures > 50 && failures < size / 64);
    free(arena);
}

/* One call from end 0 to end 1 and back, as far as it goes; every step may fail. */
struct call {
    struct pair pair;
    struct port *server;
    struct outcomes outcomes;
    bool answered;
};

static bool transfer(struct pair *pair, int from)
{
    mnl_msg_t msg = mnl_msg_try_to_node(pair->nodes[from], 0);
    kern_return_t result;
    int tries = 0;

    if (msg == MNL_MSG_NULL)
        return false;
    /* A link without memory drops the frame and comes again. */
    do {
        result = mnl_msg_from_node_bounded(pair->nodes[1 - from], msg, sizeof(*msg) + msg->size, 0);
    } while (result == KERN_RESOURCE_SHORTAGE && ++tries < 5);
    EXPECT_EQUAL(result, KERN_SUCCESS);
    mnl_msg_complete(pair->nodes[from], msg, 0);
    return true;
}

static void transfer_all(struct pair *pair)
{
    bool moved;

    do {
        pair_headers(pair, 0);
        pair_headers(pair, 1);
        moved = transfer(pair, 0);
        moved |= transfer(pair, 1);
    } while (moved);
}

static void answer(struct call *call)
{
    struct kmsg *kmsg;
    struct port *reply;

    if (mach_msg_receive(call->server, &kmsg, 0) != MACH_MSG_SUCCESS)
        return;
    reply = kmsg_take_reply_port(kmsg);
    REQUIRE(reply != NULL);
    EXPECT_EQUAL(mach_msg_reply(kmsg, reply, PORT_SEND_ONCE), MACH_MSG_SUCCESS);
}

static void ask(struct call *call)
{
    struct mach_host *host = call->pair.hosts[0];
    struct port *proxy = port_from_name(host, port_name(call->server));
    struct port *client = NULL;
    struct kmsg *kmsg = kmsg_allocate(host, 8);
    int error = port_create(host, &client);

    EXPECT(error == 0 || (error == ERROR_NO_MEMORY && client == NULL));
    if (proxy != NULL && kmsg != NULL && client != NULL) {
        kmsg_set_completion(kmsg, outcomes_count, &call->outcomes);
        EXPECT_EQUAL(mach_msg_send(kmsg, proxy, client, PORT_SEND_ONCE, 0), MACH_MSG_SUCCESS);
        transfer_all(&call->pair);
        answer(call);
        transfer_all(&call->pair);
        /* A right that died with the request is told instead of an answer. */
        EXPECT_EQUAL(mach_msg_receive(client, &kmsg, 0), MACH_MSG_SUCCESS);
        call->answered = kmsg_id(kmsg) != NOTIFY_SEND_ONCE;
        EXPECT_EQUAL(call->outcomes.settled + call->outcomes.failed, 1);
        EXPECT_EQUAL(call->answered, call->outcomes.settled);
    }
    kmsg_free(kmsg);
    if (proxy != NULL)
        port_release(proxy);
    if (client != NULL)
        port_destroy(client);
}

/* The proxies that are kept for the next call. */
static void free_spares(struct pair *pair)
{
    for (int i = 0; i < 2; i++) {
        struct mach_host *host = pair->hosts[i];
        struct node *node = node_of_handle(pair->nodes[i]);
        struct port *spare = node->spare;

        if (spare != NULL)
            list_remove(&spare->first.of_node);
        port_spare_forget(node);
        heap_free(host, spare);
    }
}

/* Host `failing` fails its n-th allocation. True: it did not come to that. */
static bool call_with_failure(int failing, uint64_t n)
{
    struct call call = {.pair = pair_create()};
    struct heap_statistics before[2];

    REQUIRE(port_create(call.pair.hosts[1], &call.server) == 0);
    EXPECT(port_name(call.server) != 0);
    for (int i = 0; i < 2; i++)
        before[i] = heap_statistics(call.pair.hosts[i]);
    heap_fail_after(call.pair.hosts[failing], n, false);
    ask(&call);
    heap_fail_after(call.pair.hosts[failing], 0, false);
    transfer_all(&call.pair);
    free_spares(&call.pair);
    for (int i = 0; i < 2; i++)
        EXPECT_EQUAL(heap_statistics(call.pair.hosts[i]).used_bytes, before[i].used_bytes);
    port_destroy(call.server);
    pair_destroy(&call.pair);
    return call.answered;
}

/* A receiver that lacks memory for a frame is asked again and succeeds; every other failure ends
 * the call with an outcome. */
static void every_allocation_of_a_call_may_fail(void)
{
    for (int failing = 0; failing < 2; failing++) {
        unsigned failures = 0;

        for (uint64_t n = 1; n <= 10; n++) {
            if (!call_with_failure(failing, n))
                failures++;
        }
        EXPECT(call_with_failure(failing, ATTEMPTS_MAXIMUM));
        EXPECT_EQUAL(failures, failing == 0 ? 3 : 1);
    }
}

static void a_refusal_needs_no_memory(void)
{
    struct pair pair = pair_create();
    struct port *nobody = port_from_name(pair.hosts[0], NAME_WELL_KNOWN(2, 50));
    struct outcomes outcomes = {0};
    mnl_msg_t msg, copy;

    EXPECT_EQUAL(test_send_counted(nobody, 0, &outcomes), MACH_MSG_SUCCESS);
    msg = pair_fetch(&pair, 0);
    copy = pair_copy(&pair, 1, msg);
    mnl_msg_complete(pair.nodes[0], msg, 0);
    heap_fail_after(pair.hosts[1], 1, true);
    EXPECT_EQUAL(pair_deliver(&pair, 1, copy), KERN_SUCCESS);
    msg = pair_fetch(&pair, 1);
    REQUIRE(msg != MNL_MSG_NULL);
    EXPECT_EQUAL(pair_deliver(&pair, 0, pair_copy(&pair, 0, msg)), KERN_SUCCESS);
    mnl_msg_complete(pair.nodes[1], msg, 0);
    EXPECT_EQUAL(outcomes.failed, 1);
    heap_fail_after(pair.hosts[1], 0, false);
    port_release(nobody);
    pair_settle(&pair);
    pair_destroy(&pair);
}

static void a_reply_port_without_memory_for_its_proxy_refuses_the_message(void)
{
    struct pair pair = pair_create();
    struct port *server, *proxy, *client;
    struct outcomes outcomes = {0};
    struct kmsg *kmsg = test_message(pair.hosts[0], 1);
    const struct flipc_nak_body *body;
    mnl_msg_t msg, copy;

    REQUIRE(port_create(pair.hosts[1], &server) == 0);
    REQUIRE(port_create(pair.hosts[0], &client) == 0);
    proxy = port_from_name(pair.hosts[0], port_name(server));
    kmsg_set_completion(kmsg, outcomes_count, &outcomes);
    EXPECT_EQUAL(mach_msg_send(kmsg, proxy, client, PORT_SEND, 0), MACH_MSG_SUCCESS);
    msg = pair_fetch(&pair, 0);
    copy = pair_copy(&pair, 1, msg);
    mnl_msg_complete(pair.nodes[0], msg, 0);
    heap_fail_after(pair.hosts[1], 1, true);
    EXPECT_EQUAL(pair_deliver(&pair, 1, copy), KERN_SUCCESS);
    EXPECT_EQUAL(mach_msg_receive(server, &kmsg, 0), MACH_RCV_TIMED_OUT);
    heap_fail_after(pair.hosts[1], 0, false);
    msg = pair_fetch(&pair, 1);
    REQUIRE(msg != MNL_MSG_NULL);
    body = MNL_MSG_PAYLOAD(msg);
    EXPECT_EQUAL(NATIVE(body->reason), FLIPC_NAK_NO_RESOURCES);
    EXPECT_EQUAL(pair_deliver(&pair, 0, pair_copy(&pair, 0, msg)), KERN_SUCCESS);
    mnl_msg_complete(pair.nodes[1], msg, 0);
    EXPECT_EQUAL(outcomes.failed, 1);
    port_release(proxy);
    port_destroy(client);
    port_destroy(server);
    pair_settle(&pair);
    EXPECT_EQUAL(test_statistics(pair.hosts[0]).ports, 0);
    pair_destroy(&pair);
}

static void everything_that_makes_something_says_when_it_cannot(void)
{
    struct mach_host *host = test_host_create(1, 1);
    mnl_node_info_t node = test_node_create(host, 2, 1);
    struct port_set *set;
    struct port *port;

    heap_fail_after(host, 1, true);
    EXPECT(port_create(host, &port) == ERROR_NO_MEMORY && port == NULL);
    EXPECT(port_set_create(host, &set) == ERROR_NO_MEMORY && set == NULL);
    EXPECT(kmsg_allocate(host, 1) == NULL);
    EXPECT(mnl_msg_alloc(1, 0) == MNL_MSG_NULL);
    EXPECT(mnl_instantiate(3, 0) == MNL_NODE_NULL);
    EXPECT(port_from_name(host, NAME_WELL_KNOWN(2, 1)) == NULL);
    heap_fail_after(host, 0, false);
    mnl_node_release(node, 0);
    test_host_destroy(host);
}

static const struct unit_test memory_tests[] = {
    {"a host that lacks memory at any point does not come up",
     a_host_that_lacks_memory_at_any_point_does_not_come_up},
    {"every allocation of a call may fail", every_allocation_of_a_call_may_fail},
    {"a refusal needs no memory", a_refusal_needs_no_memory},
    {"a reply port without memory for its proxy refuses the message",
     a_reply_port_without_memory_for_its_proxy_refuses_the_message},
    {"everything that makes something says when it cannot",
     everything_that_makes_something_says_when_it_cannot},
};
UNIT_SUITE("memory", memory_tests);
