/* SPDX-License-Identifier: MIT
 *
 * The ports of a server, loaded or not: their names, what waits in them, who serves them.
 */
#include "fake_loader.h"
#include "unit.h"

#include <abi/flipc.h>
#include <string.h>

/* --- Names ------------------------------------------------------------------------------------ */

static void an_advertised_name_belongs_to_one_server(void)
{
    struct fake_loader loader;
    struct loader_reservation first, second, again;

    loader_open(&loader, 0);
    REQUIRE(loader_reserve(&loader, "p", 2, 0, &first) == 0);
    struct {
        struct server_reserve_request head;
        struct server_reserve_port port;
    } body = {.head = {.name = "q", .code_bytes = le32_of(1), .port_count = le32_of(1)},
              .port = {.name = "p1", .flags = le32_of(SERVER_PORT_ADVERTISED)}};
    EXPECT_EQUAL(
        test_call_status(&loader.node.host, loader.servers, SERVERS_RESERVE, &body, sizeof(body)),
        ERROR_EXISTS);
    body.port.flags = le32_of(0);
    EXPECT_EQUAL(
        test_call_status(&loader.node.host, loader.servers, SERVERS_RESERVE, &body, sizeof(body)),
        0);
    REQUIRE(loader_reserve(&loader, "r", 0, 0, &second) == 0);

    /* The same server again, for another build: ports of the same names stay. */
    REQUIRE(loader_reserve(&loader, "p", 1, 0, &again) == 0);
    EXPECT(again.id == first.id && again.ports[0] == first.ports[0]);
    EXPECT(loader_look_up(&loader, "p0") == first.ports[0] && loader_look_up(&loader, "p1") == 0);

    struct server_list_reply head;
    uint8_t list[sizeof(head) + 3 * sizeof(le32)];
    EXPECT_EQUAL(loader_ask(&loader, SERVERS_LIST, NULL, 0, list, sizeof(list)),
                 (long)sizeof(list));
    memcpy(&head, list, sizeof(head));
    EXPECT_EQUAL(le32_load(head.count), 3);
    loader_close(&loader);
}

/* What the node server gives a right to when asked for a service of this node; null: nothing. */
static struct port *asked_of_node_server(struct mach_host *host, const char *name)
{
    struct node_lookup_request request = {.node_id = le32_of(host->node_id)};
    struct port *server =
        port_from_name(host, NAME_WELL_KNOWN(host->node_id, NAME_SERIAL_BOOTSTRAP));
    struct kmsg *message = kmsg_allocate(host, sizeof(request));
    enum port_disposition right;
    struct port *reply = NULL, *found = NULL;

    REQUIRE(server != NULL && message != NULL && port_create(host, &reply) == 0);
    strncpy(request.name, name, sizeof(request.name) - 1);
    memcpy(kmsg_body(message), &request, sizeof(request));
    kmsg_set_id(message, NODE_LOOKUP);
    REQUIRE(mach_msg_send(message, server, reply, PORT_SEND_ONCE, 0) == MACH_MSG_SUCCESS);
    REQUIRE(mach_msg_receive(reply, &message, clock_now_ns() + TEST_CALL_NS) == MACH_MSG_SUCCESS);
    if (kmsg_part_count(message) == 1) {
        found = kmsg_take_port(message, 0, 0, &right);
    }
    kmsg_free(message);
    port_destroy(reply);
    port_release(server);
    return found;
}

static void the_node_server_finds_what_a_server_advertises(void)
{
    struct fake_loader loader;
    struct loader_reservation reserved;

    loader_open(&loader, 0);
    REQUIRE(kern_server_load(&loader.node.host, "node") == 0);
    EXPECT(asked_of_node_server(&loader.node.host, "p0") == NULL);
    REQUIRE(loader_reserve(&loader, "p", 1, 0, &reserved) == 0);
    struct port *found = asked_of_node_server(&loader.node.host, "p0");
    REQUIRE(found != NULL);
    EXPECT(port_name(found) == reserved.ports[0]);
    port_release(found);
    EXPECT_EQUAL(loader_by_id(&loader, SERVERS_RELEASE, reserved.id), 0);
    EXPECT(asked_of_node_server(&loader.node.host, "p0") == NULL);
    loader_close(&loader);
}

/* --- Messages --------------------------------------------------------------------------------- */

static int32_t received[8];
static int received_count; /* atomic */

static void record_handler(struct kmsg *message, uintptr_t argument)
{
    (void)argument;
    received[received_count % 8] = kmsg_id(message);
    __atomic_add_fetch(&received_count, 1, __ATOMIC_RELEASE);
    kmsg_free(message);
}

static bool four_came(void *context)
{
    (void)context;
    return __atomic_load_n(&received_count, __ATOMIC_ACQUIRE) == 4;
}

static void the_first_message_asks_for_the_server_and_waits_for_it(void)
{
    struct fake_loader loader;
    struct loader_reservation reserved;
    struct server_attach_reply attached;
    struct loader_first_message first;

    loader_open(&loader, 0);
    loader_attach(&loader);
    REQUIRE(loader_expect(&loader, SERVERS_ATTACH + 100, &attached, sizeof(attached)) ==
            sizeof(attached));
    EXPECT(memcmp(attached.build_id, loader_build_id, sizeof(loader_build_id)) == 0);
    EXPECT_EQUAL(le64_load(attached.area_address), (uintptr_t)loader.area);
    REQUIRE(loader_reserve(&loader, "lazy", 2, SERVER_FLAG_ARM, &reserved) == 0);
    struct port *port = loader_port(&loader, &reserved, 1);

    received_count = 0;
    for (int32_t i = 0; i < 4; i++) {
        loader_post(&loader, port, 500 + i, MACH_MSG_SUCCESS);
    }
    loader_post(&loader, port, 504, MACH_SEND_TIMED_OUT); /* the limit that RESERVE gave */
    REQUIRE(loader_expect(&loader, LOADER_FIRST_MESSAGE, &first, sizeof(first)) == sizeof(first));
    EXPECT(le32_load(first.server_id) == reserved.id && le32_load(first.port) == 1);
    struct server_command map = loader_command(SERVER_PORT_PROC, 1, (uintptr_t)record_handler, 0);
    EXPECT_EQUAL(loader_load(&loader, reserved.id, &map, 1).status, 0);
    EXPECT(test_wait(four_came, NULL));
    for (int32_t i = 0; i < 4; i++) {
        EXPECT_EQUAL(received[i], 500 + i);
    }

    /* Unloaded and armed: the next one asks again, once. */
    EXPECT_EQUAL(loader_unload(&loader, reserved.id, SERVER_UNLOAD_ARM, NULL, 0).status, 0);
    loader_post(&loader, port, 505, MACH_MSG_SUCCESS);
    loader_post(&loader, port, 506, MACH_MSG_SUCCESS);
    REQUIRE(loader_expect(&loader, LOADER_FIRST_MESSAGE, &first, sizeof(first)) == sizeof(first));
    EXPECT_EQUAL(loader_by_id(&loader, SERVERS_ARM, reserved.id), 0); /* a load failed, say */
    REQUIRE(loader_expect(&loader, LOADER_FIRST_MESSAGE, &first, sizeof(first)) == sizeof(first));
    EXPECT_EQUAL(loader_by_id(&loader, SERVERS_RELEASE, reserved.id), 0);
    EXPECT(port_is_dead(port) && !port_has_messages(loader.inbox));
    port_release(port);
    loader_close(&loader);
}

static int twice_service(struct kmsg *request, struct kmsg *answer, uintptr_t argument)
{
    uint32_t value;

    if (kmsg_body_size(request) != sizeof(value)) {
        return KERN_SERVER_NO_REPLY;
    }
    memcpy(&value, kmsg_body(request), sizeof(value));
    value = value * 2 + (uint32_t)argument;
    EXPECT(kmsg_set_body_size(answer, sizeof(value)) == ERROR_NONE);
    memcpy(kmsg_body(answer), &value, sizeof(value));
    return 0;
}

static void smap_sends_the_answer_that_the_function_made(void)
{
    struct fake_loader loader;
    struct loader_reservation reserved;
    uint32_t value = 20, answer = 0;

    loader_open(&loader, 0);
    REQUIRE(loader_reserve(&loader, "twice", 1, 0, &reserved) == 0);
    struct server_command map = loader_command(SERVER_PORT_SERV, 0, (uintptr_t)twice_service, 2);
    EXPECT_EQUAL(loader_load(&loader, reserved.id, &map, 1).status, 0);
    struct port *port = loader_port(&loader, &reserved, 0);
    EXPECT(test_call(&loader.node.host, port, 700, &value, 4, &answer, 4) == 4 && answer == 42);
    size_t used_bytes = heap_statistics(&loader.node.host).used_bytes;
    for (int i = 0; i < 4; i++) { /* no reply: both messages are freed */
        loader_post(&loader, port, 700, MACH_MSG_SUCCESS);
    }
    EXPECT(test_call(&loader.node.host, port, 700, &value, 4, &answer, 4) == 4);
    loader_expect_heap(&loader, used_bytes);
    port_release(port);
    loader_close(&loader);
}

static const struct unit_test server_port_tests[] = {
    {"an advertised name belongs to one server", an_advertised_name_belongs_to_one_server},
    {"the node server finds what a server advertises",
     the_node_server_finds_what_a_server_advertises},
    {"the first message asks for the server and waits for it",
     the_first_message_asks_for_the_server_and_waits_for_it},
    {"SMAP sends the answer that the function made", smap_sends_the_answer_that_the_function_made},
};
UNIT_SUITE("server_ports", server_port_tests);
