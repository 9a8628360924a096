/* SPDX-License-Identifier: MIT
 *
 * Requests to the kernel port and to `echo`, well-formed and hostile, on one node and between two.
 */
#include "native.h"
#include "unit.h"
#include "whole_node.h"

#include <abi/flipc.h>
#include <abi/services.h>
#include <kernel/service.h>
#include <string.h>

#define ARENA_BYTES (4u << 20)

struct kernel_client {
    struct test_node node;
    struct port *port;
};

static void client_open(struct kernel_client *client)
{
    test_node_open(&client->node, 1, 0x100000001, ARENA_BYTES, false);
    client->port = port_from_name(&client->node.host, NAME_WELL_KNOWN(1, NAME_SERIAL_KERNEL));
    EXPECT(client->port != NULL);
}

static void client_close(struct kernel_client *client)
{
    port_release(client->port);
    test_node_close(&client->node);
}

static int status_of(struct kernel_client *client, int32_t id, const void *body, size_t len_bytes)
{
    return test_call_status(&client->node.host, client->port, id, body, len_bytes);
}

static void test_echo_returns_the_bytes(void)
{
    struct kernel_client client;
    uint8_t sent[256], back[256];

    client_open(&client);
    for (size_t i = 0; i < sizeof(sent); i++) {
        sent[i] = (uint8_t)(i * 7);
    }
    for (size_t size = 0; size <= sizeof(sent); size += 51) {
        memset(back, 0, sizeof(back));
        EXPECT(test_call(&client.node.host, client.port, KERNEL_ECHO, sent, size, back,
                         sizeof(back)) == (long)size);
        EXPECT(memcmp(sent, back, size) == 0);
    }
    client_close(&client);
}

struct heap_wanted {
    struct mach_host *host;
    size_t used_bytes;
};

static bool heap_is_back(void *context)
{
    struct heap_wanted *wanted = context;

    return heap_statistics(wanted->host).used_bytes == wanted->used_bytes;
}

static void test_echo_without_reply_port_is_dropped(void)
{
    struct kernel_client client;

    client_open(&client);
    struct heap_wanted wanted = {&client.node.host, heap_statistics(&client.node.host).used_bytes};
    struct kmsg *message = kmsg_allocate(&client.node.host, 8);
    kmsg_set_id(message, KERNEL_ECHO);
    EXPECT(mach_msg_send(message, client.port, NULL, PORT_NONE, 0) == MACH_MSG_SUCCESS);
    /* An answered echo behind it shows that the service went on. */
    uint8_t byte = 1;
    EXPECT(test_call(&client.node.host, client.port, KERNEL_ECHO, &byte, 1, &byte, 1) == 1);
    EXPECT(test_wait(heap_is_back, &wanted));
    client_close(&client);
}

static void test_requests_of_a_wrong_size_are_invalid(void)
{
    struct kernel_client client;
    static const int32_t ids[] = {KERNEL_PING, KERNEL_STATISTICS, KERNEL_LOOKUP};
    static const size_t right_sizes[] = {24, 8, 32};
    uint8_t zeros[64] = {0};

    client_open(&client);
    for (size_t i = 0; i < 3; i++) {
        for (size_t size = 0; size < sizeof(zeros); size++) {
            if (size != right_sizes[i]) {
                EXPECT(status_of(&client, ids[i], zeros, size) == ERROR_INVALID);
            }
        }
    }
    EXPECT(status_of(&client, 2099, zeros, 8) == ERROR_INVALID);
    EXPECT(status_of(&client, -1, zeros, 8) == ERROR_INVALID);
    client_close(&client);
}

static void test_statistics_of_the_node(void)
{
    struct kernel_client client;
    struct statistics_request request = {.kind = STATISTICS_NODE};
    struct {
        struct service_status status;
        struct node_statistics_body node;
    } reply = {.status = service_status_of(1)};

    client_open(&client);
    EXPECT(test_call(&client.node.host, client.port, KERNEL_STATISTICS, &request, sizeof(request),
                     &reply, sizeof(reply)) == (long)sizeof(reply));
    EXPECT((int32_t)NATIVE(reply.status.status) == ERROR_NONE);
    EXPECT(NATIVE(reply.node.heap_size_bytes) > NATIVE(reply.node.heap_used_bytes));
    EXPECT(NATIVE(reply.node.ports) >= 2);
    STORE(request.kind, 9);
    EXPECT(status_of(&client, KERNEL_STATISTICS, &request, sizeof(request)) == ERROR_INVALID);
    request = (struct statistics_request){.kind = le32_of(STATISTICS_LINK), .index = le32_of(0)};
    EXPECT(status_of(&client, KERNEL_STATISTICS, &request, sizeof(request)) == ERROR_DOWN);
    client_close(&client);
}

static void test_lookup_names_loaded_servers(void)
{
    struct kernel_client client;
    struct lookup_request request = {.name = "echo"};
    struct lookup_reply reply = {.port_name = 0};

    client_open(&client);
    EXPECT(status_of(&client, KERNEL_LOOKUP, &request, sizeof(request)) == ERROR_NOT_FOUND);
    EXPECT(kern_server_load(&client.node.host, "echo") == ERROR_NONE);
    EXPECT(test_call(&client.node.host, client.port, KERNEL_LOOKUP, &request, sizeof(request),
                     &reply, sizeof(reply)) == (long)sizeof(reply));
    EXPECT((int32_t)NATIVE(reply.status.status) == ERROR_NONE);
    EXPECT(NAME_NODE(NATIVE(reply.port_name)) == 1);
    struct port *echo = port_from_name(&client.node.host, NATIVE(reply.port_name));
    EXPECT(echo != NULL);
    uint32_t word = 0x12345678, back = 0;
    EXPECT(test_call(&client.node.host, echo, KERNEL_ECHO, &word, 4, &back, 4) == 4);
    EXPECT(back == word);
    EXPECT(test_call_status(&client.node.host, echo, 1, &word, 4) == ERROR_INVALID);
    port_release(echo);
    memset(request.name, 'e', sizeof(request.name)); /* no NUL */
    EXPECT(status_of(&client, KERNEL_LOOKUP, &request, sizeof(request)) == ERROR_INVALID);
    client_close(&client);
}

static struct ping_reply ping(struct kernel_client *client, const struct ping_request *request)
{
    struct ping_reply reply = {.status.status = le32_of(1)};

    EXPECT(test_call(&client->node.host, client->port, KERNEL_PING, request, sizeof(*request),
                     &reply, sizeof(reply)) == (long)sizeof(reply));
    return reply;
}

static void test_ping_of_ourselves(void)
{
    struct kernel_client client;
    struct ping_request request = {.node_id = le32_of(1),
                                   .count = le32_of(50),
                                   .size_bytes = le32_of(61),
                                   .timeout_ns = le64_of(TEST_CALL_NS)};

    client_open(&client);
    struct ping_reply reply = ping(&client, &request);
    EXPECT((int32_t)NATIVE(reply.status.status) == ERROR_NONE);
    EXPECT(NATIVE(reply.answered) == 50);
    EXPECT(NATIVE(reply.min_ns) <= NATIVE(reply.max_ns));
    EXPECT(NATIVE(reply.total_ns) >= NATIVE(reply.max_ns));
    EXPECT(NATIVE(reply.total_ns) <= 50 * NATIVE(reply.max_ns));
    for (int i = 0; i < 20; i++) { /* slots are used again */
        EXPECT(NATIVE(ping(&client, &request).answered) == 50);
    }
    client_close(&client);
}

static void test_ping_of_a_port(void)
{
    struct kernel_client client;
    struct ping_port_request request = {
        .count = le32_of(20), .size_bytes = le32_of(61), .timeout_ns = le64_of(TEST_CALL_NS)};
    struct ping_reply reply;

    client_open(&client);
    REQUIRE(kern_server_load(&client.node.host, "echo") == 0);
    request.port_name = le64_of(kern_server_service_name(&client.node.host, "echo"));
    EXPECT(test_call(&client.node.host, client.port, KERNEL_PING_PORT, &request, sizeof(request),
                     &reply, sizeof(reply)) == (long)sizeof(reply));
    EXPECT(NATIVE(reply.status.status) == 0 && NATIVE(reply.answered) == 20);
    request.port_name = le64_of(NAME_NULL);
    EXPECT(test_call(&client.node.host, client.port, KERNEL_PING_PORT, &request, sizeof(request),
                     &reply, sizeof(reply)) == (long)sizeof(reply));
    EXPECT((int32_t)NATIVE(reply.status.status) == ERROR_NOT_FOUND);
    client_close(&client);
}

static void test_hostile_pings(void)
{
    struct kernel_client client;
    struct ping_request request = {.node_id = le32_of(1),
                                   .count = le32_of(0),
                                   .size_bytes = le32_of(8),
                                   .timeout_ns = le64_of(TEST_SECOND_NS)};

    client_open(&client);
    EXPECT((int32_t)NATIVE(ping(&client, &request).status.status) == ERROR_INVALID);
    STORE(request.count, 1);
    STORE(request.size_bytes, UINT32_MAX);
    EXPECT((int32_t)NATIVE(ping(&client, &request).status.status) == ERROR_INVALID);
    STORE(request.size_bytes, 8);
    STORE(request.node_id, 7); /* not known here */
    EXPECT((int32_t)NATIVE(ping(&client, &request).status.status) == ERROR_NOT_FOUND);
    STORE(request.node_id, 0x10001);
    EXPECT((int32_t)NATIVE(ping(&client, &request).status.status) == ERROR_INVALID);
    client_close(&client);
}

static void test_panic_and_hang_are_passed_on(void)
{
    struct kernel_client client;

    client_open(&client);
    for (int32_t id = KERNEL_PANIC; id <= KERNEL_HANG; id++) {
        struct kmsg *message = kmsg_allocate(&client.node.host, 0);
        kmsg_set_id(message, id);
        EXPECT(mach_msg_send(message, client.port, NULL, PORT_NONE, 0) == MACH_MSG_SUCCESS);
    }
    uint8_t byte = 0;
    EXPECT(test_call(&client.node.host, client.port, KERNEL_ECHO, &byte, 1, &byte, 1) == 1);
    EXPECT(client.node.panics == 1);
    EXPECT(client.node.hangs == 1);
    EXPECT(client.node.asked_by == 1);
    client_close(&client);
}

static void test_ping_between_two_nodes(void)
{
    struct kernel_client client;
    struct test_node other;
    struct test_cable cable;
    struct ping_request request = {.node_id = le32_of(2),
                                   .count = le32_of(100),
                                   .size_bytes = le32_of(64),
                                   .timeout_ns = le64_of(TEST_CALL_NS)};

    client_open(&client);
    test_node_open(&other, 2, 0x100000001, ARENA_BYTES, false);
    test_cable_open(&cable, &client.node, &other);
    struct ping_reply reply = ping(&client, &request);
    EXPECT((int32_t)NATIVE(reply.status.status) == ERROR_NONE);
    EXPECT(NATIVE(reply.answered) == 100);
    test_cable_close(&cable);
    test_node_close(&other);
    client_close(&client);
}

static void test_ping_of_a_silent_node_times_out_and_holds_nobody_up(void)
{
    struct kernel_client client;
    struct test_node other;
    struct test_cable cable;
    struct ping_request request = {.node_id = le32_of(2),
                                   .count = le32_of(1),
                                   .size_bytes = le32_of(8),
                                   .timeout_ns = le64_of(TEST_SECOND_NS / 5)};
    struct port *reply_port;

    client_open(&client);
    test_node_open(&other, 2, 0x100000001, ARENA_BYTES, false);
    test_cable_open(&cable, &client.node, &other);
    __atomic_store_n(&cable.stop, true, __ATOMIC_RELEASE); /* a cable that carries nothing */
    EXPECT(port_create(&client.node.host, &reply_port) == ERROR_NONE);
    port_set_limit(reply_port, 16);
    for (int i = 0; i < 9; i++) { /* one more than run at a time */
        struct kmsg *message = kmsg_allocate(&client.node.host, sizeof(request));
        memcpy(kmsg_body(message), &request, sizeof(request));
        kmsg_set_id(message, KERNEL_PING);
        EXPECT(mach_msg_send(message, client.port, reply_port, PORT_SEND_ONCE, 0) ==
               MACH_MSG_SUCCESS);
    }
    uint8_t byte = 0;
    EXPECT(test_call(&client.node.host, client.port, KERNEL_ECHO, &byte, 1, &byte, 1) == 1);
    int timed_out = 0, full = 0;
    for (int i = 0; i < 9; i++) {
        struct kmsg *answer;
        EXPECT(mach_msg_receive(reply_port, &answer, clock_now_ns() + TEST_CALL_NS) ==
               MACH_MSG_SUCCESS);
        int32_t status;
        memcpy(&status, kmsg_body(answer), sizeof(status));
        timed_out += status == ERROR_TIMED_OUT;
        full += status == ERROR_FULL;
        kmsg_free(answer);
    }
    EXPECT(timed_out == 8);
    EXPECT(full == 1);
    port_destroy(reply_port);
    test_cable_close(&cable);
    test_node_close(&other);
    client_close(&client);
}

static const struct unit_test kernel_service_tests[] = {
    {"echo returns the bytes", test_echo_returns_the_bytes},
    {"echo without reply port is dropped", test_echo_without_reply_port_is_dropped},
    {"requests of a wrong size are invalid", test_requests_of_a_wrong_size_are_invalid},
    {"statistics of the node", test_statistics_of_the_node},
    {"lookup names loaded servers", test_lookup_names_loaded_servers},
    {"ping of ourselves", test_ping_of_ourselves},
    {"ping of a port", test_ping_of_a_port},
    {"hostile pings", test_hostile_pings},
    {"panic and hang are passed on", test_panic_and_hang_are_passed_on},
    {"ping between two nodes", test_ping_between_two_nodes},
    {"ping of a silent node times out and holds nobody up",
     test_ping_of_a_silent_node_times_out_and_holds_nobody_up},
};
UNIT_SUITE("kernel_service", kernel_service_tests);
