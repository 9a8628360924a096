/* SPDX-License-Identifier: MIT
 *
 * The kernel half of the loader on a whole node of this process, driven by the messages of
 * docs/spec/kern_server.md. The test is node 0, so it may; its servers' code is functions of this
 * file, which pass for the kernel's.
 */
#include "unit.h"
#include "whole_node.h"

#include <abi/flipc.h>
#include <abi/server_messages.h>
#include <abi/services.h>
#include <kernel/kern_server.h>
#include <kernel/server_module.h>
#include <kernel/server_table.h>
#include <kernel/service.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BYTES (4u << 20)
#define AREA_PAGES 64u
#define PAGE ((uint32_t)ARCH_PAGE_SIZE)
#define DATA_OFFSET (2u * PAGE) /* of a server with a page each of code, const and data */

/* What the platform and the servers' code were asked; one test at a time. */
static struct {
    enum arch_mmu_attribute pages[AREA_PAGES];
    uint8_t *area;
    bool has_foreign_code;
    int calls;
    int call_result;
    uintptr_t arguments[8];
    int callouts;
    int callout_order[KERN_SERVER_CALLOUTS];
} world;

static kern_server_t instance; /* as INSTANCE left it in the image */

struct fixture {
    struct test_node node;
    struct port *servers;
    struct port *loader; /* the test's own: what comes to the loader */
};

static int fake_protect(void *context, uint8_t *start, size_t len_bytes,
                        enum arch_mmu_attribute attribute)
{
    (void)context;
    EXPECT((size_t)(start - world.area) % ARCH_PAGE_SIZE == 0 && len_bytes % ARCH_PAGE_SIZE == 0);
    for (size_t i = 0; i < len_bytes / ARCH_PAGE_SIZE; i++) {
        world.pages[(size_t)(start - world.area) / ARCH_PAGE_SIZE + i] = attribute;
    }
    return ERROR_NONE;
}

static bool fake_is_kernel_code(void *context, uint64_t address)
{
    (void)context;
    (void)address;
    return !world.has_foreign_code;
}

static const uint8_t build_id[SERVER_BUILD_ID_BYTES] = "twenty bytes of test";

static void open_node(struct fixture *fixture, uint32_t node_id)
{
    uint8_t *area = aligned_alloc(ARCH_PAGE_SIZE, AREA_PAGES * ARCH_PAGE_SIZE);
    struct server_platform platform = {
        .area = area,
        .area_bytes = AREA_PAGES * ARCH_PAGE_SIZE,
        .build_id = build_id,
        .protect = fake_protect,
        .is_kernel_code = fake_is_kernel_code,
    };

    REQUIRE(area != NULL);
    memset(&world, 0, sizeof(world));
    world.area = area;
    instance = NULL;
    test_node_open(&fixture->node, node_id, 1, ARENA_BYTES, false);
    REQUIRE(server_table_start(&fixture->node.host, &platform) == ERROR_NONE);
    fixture->servers =
        port_from_name(&fixture->node.host, NAME_WELL_KNOWN(node_id, NAME_SERIAL_SERVERS));
    REQUIRE(fixture->servers != NULL);
    REQUIRE(port_create(&fixture->node.host, &fixture->loader) == ERROR_NONE);
}

static void close_node(struct fixture *fixture)
{
    port_destroy(fixture->loader);
    port_release(fixture->servers);
    server_table_stop(&fixture->node.host);
    test_node_close(&fixture->node);
    free(world.area);
}

static long ask(struct fixture *fixture, int32_t id, const void *body, size_t len_bytes,
                void *answer, size_t answer_bytes)
{
    return test_call(&fixture->node.host, fixture->servers, id, body, len_bytes, answer,
                     answer_bytes);
}

/* Attach the test's port; what comes there is received by expect_message(). */
static void attach(struct fixture *fixture)
{
    struct kmsg *message = kmsg_allocate(&fixture->node.host, 0);

    REQUIRE(message != NULL);
    kmsg_set_id(message, SERVERS_ATTACH);
    REQUIRE(mach_msg_send(message, fixture->servers, fixture->loader, PORT_SEND, 0) ==
            MACH_MSG_SUCCESS);
}

/* The next message at the loader port must be `id`; its body is copied. Returns its size, -1: no. */
static long expect_message(struct fixture *fixture, int32_t id, void *body, size_t len_bytes)
{
    struct kmsg *message;
    long size = -1;

    if (mach_msg_receive(fixture->loader, &message, clock_now_ns() + TEST_CALL_NS) !=
        MACH_MSG_SUCCESS) {
        return -1;
    }
    EXPECT_EQUAL(kmsg_id(message), id);
    if (kmsg_id(message) == id) {
        size = (long)kmsg_body_size(message);
        memcpy(body, kmsg_body(message),
               kmsg_body_size(message) < len_bytes ? kmsg_body_size(message) : len_bytes);
    }
    kmsg_free(message);
    return size;
}

struct heap_expectation {
    struct mach_host *host;
    size_t used_bytes;
};

static bool heap_is_small_enough(void *context)
{
    const struct heap_expectation *expected = context;

    return heap_statistics(expected->host).used_bytes <= expected->used_bytes;
}

/* Whoever answered may still be putting things away. */
static void expect_heap(struct fixture *fixture, size_t used_bytes)
{
    struct heap_expectation expected = {.host = &fixture->node.host, .used_bytes = used_bytes};

    EXPECT(test_wait(heap_is_small_enough, &expected));
}

/* --- Requests --------------------------------------------------------------------------------- */

struct reservation {
    uint32_t id;
    uint64_t address;
    uint64_t ports[SERVER_PORTS_MAXIMUM];
};

/* A page each, and `port_count` advertised ports called after the server and their number. */
static int reserve(struct fixture *fixture, const char *name, uint32_t port_count, uint32_t flags,
                   struct reservation *reserved)
{
    uint8_t body[sizeof(struct server_reserve_request) +
                 SERVER_PORTS_MAXIMUM * sizeof(struct server_reserve_port)] = {0};
    uint8_t answer[sizeof(struct server_reserve_reply) + SERVER_PORTS_MAXIMUM * 8] = {0};
    struct server_reserve_request head = {
        .code_bytes = le32_of(1),
        .const_bytes = le32_of(PAGE),
        .data_bytes = le32_of(PAGE - 1),
        .flags = le32_of(flags),
        .port_count = le32_of(port_count),
    };
    struct server_reserve_reply reply;

    strncpy(head.name, name, sizeof(head.name) - 1);
    memcpy(body, &head, sizeof(head));
    for (uint32_t i = 0; i < port_count; i++) {
        struct server_reserve_port port = {.flags = le32_of(SERVER_PORT_ADVERTISED),
                                           .limit = le32_of(4)};
        strncpy(port.name, name, sizeof(port.name) - 2);
        port.name[strlen(port.name)] = (char)('0' + i % 10);
        memcpy(body + sizeof(head) + i * sizeof(port), &port, sizeof(port));
    }
    long size =
        ask(fixture, SERVERS_RESERVE, body,
            sizeof(head) + port_count * sizeof(struct server_reserve_port), answer, sizeof(answer));
    if (size < 0) {
        return 1; /* no answer */
    }
    memcpy(&reply, answer, sizeof(reply));
    if (size == (long)(sizeof(reply) + port_count * 8)) {
        reserved->id = le32_load(reply.server_id);
        reserved->address = le64_load(reply.address);
        for (uint32_t i = 0; i < port_count; i++) {
            le64 name64;
            memcpy(&name64, answer + sizeof(reply) + i * 8, 8);
            reserved->ports[i] = le64_load(name64);
        }
    } else {
        EXPECT(size == (long)sizeof(struct service_status));
    }
    return (int32_t)le32_load(reply.status.status);
}

static struct server_command command(uint32_t id, uint32_t port, uintptr_t function,
                                     uintptr_t argument)
{
    return (struct server_command){.id = le32_of(id),
                                   .port = le32_of(port),
                                   .function = le64_of(function),
                                   .argument = le64_of(argument)};
}

struct outcome {
    int status;
    uint32_t done;
    int32_t value;
    uint64_t com_port;
};

static struct outcome load_as(struct fixture *fixture, uint32_t id, const uint8_t *build,
                              const struct server_command *commands, uint32_t count)
{
    uint8_t body[sizeof(struct server_load_request) + 8 * sizeof(struct server_command) + 64];
    struct server_load_request head = {
        .server_id = le32_of(id), .image_bytes = le32_of(64), .command_count = le32_of(count)};
    struct server_load_reply reply = {.status = service_status_of(1)};
    size_t commands_bytes = count * sizeof(*commands);

    memcpy(head.build_id, build, sizeof(head.build_id));
    memcpy(body, &head, sizeof(head));
    if (count != 0) {
        memcpy(body + sizeof(head), commands, commands_bytes);
    }
    memset(body + sizeof(head) + commands_bytes, 0xc3, 64);
    (void)ask(fixture, SERVERS_LOAD, body, sizeof(head) + commands_bytes + 64, &reply,
              sizeof(reply));
    return (struct outcome){
        .status = (int32_t)le32_load(reply.status.status),
        .done = le32_load(reply.done),
        .value = (int32_t)le32_load(reply.value),
        .com_port = le64_load(reply.com_port),
    };
}

static struct outcome load(struct fixture *fixture, uint32_t id,
                           const struct server_command *commands, uint32_t count)
{
    return load_as(fixture, id, build_id, commands, count);
}

static struct outcome unload(struct fixture *fixture, uint32_t id, uint32_t flags,
                             const struct server_command *commands, uint32_t count)
{
    uint8_t body[sizeof(struct server_unload_request) + 8 * sizeof(struct server_command)];
    struct server_unload_request head = {
        .server_id = le32_of(id), .flags = le32_of(flags), .command_count = le32_of(count)};
    struct server_unload_reply reply = {.status = service_status_of(1)};

    memcpy(body, &head, sizeof(head));
    if (count != 0) {
        memcpy(body + sizeof(head), commands, count * sizeof(*commands));
    }
    (void)ask(fixture, SERVERS_UNLOAD, body, sizeof(head) + count * sizeof(*commands), &reply,
              sizeof(reply));
    return (struct outcome){
        .status = (int32_t)le32_load(reply.status.status),
        .done = le32_load(reply.done),
        .value = (int32_t)le32_load(reply.value),
    };
}

static int by_id(struct fixture *fixture, int32_t request_id, uint32_t id)
{
    struct server_id_request body = {.server_id = le32_of(id)};

    return test_call_status(&fixture->node.host, fixture->servers, request_id, &body, sizeof(body));
}

static struct server_info_reply info(struct fixture *fixture, uint32_t id)
{
    struct server_id_request body = {.server_id = le32_of(id)};
    struct server_info_reply reply = {.status = service_status_of(1)};

    (void)ask(fixture, SERVERS_INFO, &body, sizeof(body), &reply, sizeof(reply));
    return reply;
}

static bool has_state(struct fixture *fixture, uint32_t id, enum server_state state)
{
    struct server_info_reply reply = info(fixture, id);

    return le32_load(reply.status.status) == 0 && le32_load(reply.state) == (uint32_t)state;
}

/* --- Servers ---------------------------------------------------------------------------------- */

static int count_call(uintptr_t argument)
{
    world.arguments[world.calls++ % 8] = argument;
    return world.call_result;
}

static int read_instance(uintptr_t address)
{
    memcpy(&instance, (void *)address, sizeof(kern_server_t));
    return 0;
}

static void echo_handler(struct kmsg *message, uintptr_t argument)
{
    world.arguments[0] = argument;
    service_echo(message);
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

static struct port *port_called(struct fixture *fixture, const struct reservation *reserved,
                                uint32_t index)
{
    struct port *port = port_from_name(&fixture->node.host, reserved->ports[index]);

    REQUIRE(port != NULL);
    return port;
}

static uint64_t look_up(struct fixture *fixture, const char *name)
{
    return server_table_lookup(&fixture->node.host, name);
}

/* --- Tests ------------------------------------------------------------------------------------ */

static void a_server_lives_from_reserve_to_release(void)
{
    struct fixture fixture;
    struct reservation reserved;

    open_node(&fixture, 0);
    size_t used_bytes = heap_statistics(&fixture.node.host).used_bytes;
    REQUIRE(reserve(&fixture, "echo", 1, 0, &reserved) == 0);
    EXPECT(reserved.address == (uintptr_t)world.area);
    EXPECT(has_state(&fixture, reserved.id, SERVER_ALLOCATED));
    EXPECT(look_up(&fixture, "echo0") == reserved.ports[0] && reserved.ports[0] != 0);
    EXPECT(look_up(&fixture, "echo") == 0);
    EXPECT(world.pages[0] == ARCH_MMU_NONE && world.pages[2] == ARCH_MMU_NONE);

    struct server_command commands[] = {
        command(SERVER_INSTANCE, 0, reserved.address + DATA_OFFSET + 16, 0),
        command(SERVER_VERSION, 0, 0, SERVER_INTERFACE_VERSION),
        command(SERVER_WIRE, 0, 0, 0),
        command(SERVER_CALL, 0, (uintptr_t)read_instance, reserved.address + DATA_OFFSET + 16),
        command(SERVER_CALL, 0, (uintptr_t)count_call, 7),
        command(SERVER_PORT_PROC, 0, (uintptr_t)echo_handler, 9),
    };
    struct outcome loaded = load(&fixture, reserved.id, commands, 6);
    EXPECT(loaded.status == 0 && loaded.done == 6 && loaded.com_port != 0);
    EXPECT(has_state(&fixture, reserved.id, SERVER_LOADED));
    EXPECT(world.pages[0] == ARCH_MMU_CODE && world.pages[1] == ARCH_MMU_CONST &&
           world.pages[2] == ARCH_MMU_DATA);
    EXPECT(world.area[0] == 0xc3 && world.area[63] == 0xc3 && world.area[64] == 0);
    EXPECT(instance != NULL && kern_server_host(instance) == &fixture.node.host);
    EXPECT(world.calls == 1 && world.arguments[0] == 7);

    struct port *port = port_called(&fixture, &reserved, 0);
    char answer[8] = {0};
    EXPECT(test_call(&fixture.node.host, port, KERNEL_ECHO, "hello", 5, answer, 8) == 5);
    EXPECT(strcmp(answer, "hello") == 0 && world.arguments[0] == 9);
    EXPECT_EQUAL(le64_load(info(&fixture, reserved.id).messages), 1);
    EXPECT_EQUAL(load(&fixture, reserved.id, commands, 6).status, ERROR_BUSY);
    EXPECT_EQUAL(by_id(&fixture, SERVERS_RELEASE, reserved.id), ERROR_BUSY);
    EXPECT_EQUAL(reserve(&fixture, "echo", 0, 0, &reserved), ERROR_EXISTS);

    struct server_command end = command(SERVER_CALL, 0, (uintptr_t)count_call, 8);
    struct outcome unloaded = unload(&fixture, reserved.id, 0, &end, 1);
    EXPECT(unloaded.status == 0 && unloaded.done == 1);
    EXPECT(world.calls == 2 && world.arguments[1] == 8);
    EXPECT(has_state(&fixture, reserved.id, SERVER_ALLOCATED));
    EXPECT(world.pages[0] == ARCH_MMU_NONE && world.pages[2] == ARCH_MMU_NONE);
    EXPECT(look_up(&fixture, "echo0") == reserved.ports[0]);
    EXPECT_EQUAL(by_id(&fixture, SERVERS_RELEASE, reserved.id), 0);
    EXPECT_EQUAL(by_id(&fixture, SERVERS_INFO, reserved.id), ERROR_NOT_FOUND);
    EXPECT(look_up(&fixture, "echo0") == 0 && port_is_dead(port));
    port_release(port);
    expect_heap(&fixture, used_bytes);
    close_node(&fixture);
}

static void a_loaded_server_ends_with_its_host(void)
{
    struct fixture fixture;
    struct reservation reserved;

    open_node(&fixture, 0);
    REQUIRE(reserve(&fixture, "left", 2, 0, &reserved) == 0);
    struct server_command map = command(SERVER_PORT_PROC, 1, (uintptr_t)echo_handler, 0);
    EXPECT_EQUAL(load(&fixture, reserved.id, &map, 1).status, 0);
    close_node(&fixture);
}

static void a_call_that_fails_fails_the_load(void)
{
    struct fixture fixture;
    struct reservation reserved;

    open_node(&fixture, 0);
    REQUIRE(reserve(&fixture, "bad", 1, 0, &reserved) == 0);
    world.call_result = 42;
    struct server_command commands[] = {
        command(SERVER_PORT_PROC, 0, (uintptr_t)echo_handler, 0),
        command(SERVER_CALL, 0, (uintptr_t)count_call, 1),
        command(SERVER_CALL, 0, (uintptr_t)count_call, 2),
    };
    struct outcome failed = load(&fixture, reserved.id, commands, 3);
    EXPECT(failed.status == ERROR_FAILED && failed.done == 1 && failed.value == 42);
    EXPECT(world.calls == 1 && has_state(&fixture, reserved.id, SERVER_FAILED));

    /* Its unload command fails, too: nothing goes before somebody forces it. */
    struct outcome kept = unload(&fixture, reserved.id, 0, &commands[1], 2);
    EXPECT(kept.status == ERROR_FAILED && kept.done == 0 && kept.value == 42);
    EXPECT(has_state(&fixture, reserved.id, SERVER_FAILED));
    EXPECT(world.pages[0] == ARCH_MMU_CODE);
    struct outcome forced = unload(&fixture, reserved.id, SERVER_UNLOAD_FORCE, &commands[1], 2);
    EXPECT(forced.status == ERROR_FAILED && forced.value == 42);
    EXPECT(has_state(&fixture, reserved.id, SERVER_ALLOCATED));
    EXPECT(world.pages[0] == ARCH_MMU_NONE);
    world.call_result = 0;
    EXPECT_EQUAL(load(&fixture, reserved.id, commands, 3).status, 0);
    close_node(&fixture);
}

static int load_one(struct fixture *fixture, uint32_t id, struct server_command only)
{
    struct outcome outcome = load(fixture, id, &only, 1);

    EXPECT_EQUAL(unload(fixture, id, 0, NULL, 0).status, 0);
    EXPECT(outcome.status == 0 || outcome.done == 0);
    return outcome.status;
}

static void commands_that_make_no_sense_are_refused(void)
{
    struct fixture fixture;
    struct reservation reserved;

    open_node(&fixture, 0);
    REQUIRE(reserve(&fixture, "odd", 1, 0, &reserved) == 0);
    uintptr_t address = (uintptr_t)reserved.address;
    const struct server_command refused[] = {
        command(SERVER_INSTANCE, 0, address, 0), /* code */
        command(SERVER_INSTANCE, 0, address + DATA_OFFSET + 4, 0),
        command(SERVER_INSTANCE, 0, address + 3 * PAGE, 0),
        command(SERVER_PORT_PROC, 1, (uintptr_t)echo_handler, 0),
        command(SERVER_PORT_SERV, 50, (uintptr_t)twice_service, 0),
        command(99, 0, 0, 0),
        command(SERVER_SHUTDOWN, 0, 0, 0),
    };
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        EXPECT_EQUAL(load_one(&fixture, reserved.id, refused[i]), ERROR_INVALID);
    }
    EXPECT_EQUAL(load_one(&fixture, reserved.id, command(SERVER_VERSION, 0, 0, 1)),
                 ERROR_UNSUPPORTED);
    EXPECT_EQUAL(load_one(&fixture, reserved.id, command(SERVER_LOAD_OBJC, 0, 0, 0)),
                 ERROR_UNSUPPORTED);
    world.has_foreign_code = true; /* only the server's own pages hold code */
    const struct server_command foreign[] = {
        command(SERVER_CALL, 0, (uintptr_t)count_call, 0),
        command(SERVER_CALL, 0, address + PAGE, 0), /* const */
        command(SERVER_PORT_PROC, 0, (uintptr_t)echo_handler, 0),
        command(SERVER_PORT_DEATH_PROC, 0, (uintptr_t)count_call, 0),
    };
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
        EXPECT_EQUAL(load_one(&fixture, reserved.id, foreign[i]), ERROR_INVALID);
    }
    EXPECT(world.calls == 0);
    close_node(&fixture);
}

static void requests_that_make_no_sense_are_refused(void)
{
    static const int32_t sized[] = {SERVERS_RELEASE, SERVERS_WRITE, SERVERS_LOAD,
                                    SERVERS_UNLOAD,  SERVERS_INFO,  SERVERS_ARM,
                                    SERVERS_RESERVE, 2399,          2409};
    struct fixture fixture;
    struct reservation reserved;
    uint8_t junk[4] = {0};

    open_node(&fixture, 0);
    size_t used_bytes = heap_statistics(&fixture.node.host).used_bytes;
    for (size_t i = 0; i < sizeof(sized) / sizeof(sized[0]); i++) {
        EXPECT_EQUAL(test_call_status(&fixture.node.host, fixture.servers, sized[i], junk, 4),
                     ERROR_INVALID);
    }
    EXPECT_EQUAL(by_id(&fixture, SERVERS_RELEASE, 1), ERROR_NOT_FOUND);
    EXPECT_EQUAL(by_id(&fixture, SERVERS_ARM, 1), ERROR_NOT_FOUND);
    EXPECT_EQUAL(load(&fixture, 1, NULL, 0).status, ERROR_NOT_FOUND);
    EXPECT_EQUAL(unload(&fixture, 1, 0, NULL, 0).status, ERROR_NOT_FOUND);

    struct server_reserve_request wanted = {.name = "big", .code_bytes = le32_of(1u << 20)};
    EXPECT_EQUAL(test_call_status(&fixture.node.host, fixture.servers, SERVERS_RESERVE, &wanted,
                                  sizeof(wanted)),
                 ERROR_NO_MEMORY); /* the area has a quarter of that */
    wanted.const_bytes = le32_of(1);
    EXPECT_EQUAL(test_call_status(&fixture.node.host, fixture.servers, SERVERS_RESERVE, &wanted,
                                  sizeof(wanted)),
                 ERROR_INVALID);
    wanted = (struct server_reserve_request){.name = "empty"};
    EXPECT_EQUAL(test_call_status(&fixture.node.host, fixture.servers, SERVERS_RESERVE, &wanted,
                                  sizeof(wanted)),
                 ERROR_INVALID);
    memset(wanted.name, 'x', sizeof(wanted.name));
    wanted.code_bytes = le32_of(1);
    EXPECT_EQUAL(test_call_status(&fixture.node.host, fixture.servers, SERVERS_RESERVE, &wanted,
                                  sizeof(wanted)),
                 ERROR_INVALID);
    EXPECT_EQUAL(reserve(&fixture, "twins", 11, 0, &reserved), ERROR_INVALID); /* 0 comes twice */
    expect_heap(&fixture, used_bytes);

    REQUIRE(reserve(&fixture, "one", 1, 0, &reserved) == 0);
    EXPECT_EQUAL(
        load_as(&fixture, reserved.id, (const uint8_t *)"another kernel, sure.", NULL, 0).status,
        ERROR_STALE);
    EXPECT_EQUAL(unload(&fixture, reserved.id, 0, NULL, 0).status, ERROR_BUSY);
    struct server_write_request write = {.server_id = le32_of(reserved.id),
                                         .offset = le32_of(3 * PAGE + 1)};
    EXPECT_EQUAL(
        test_call_status(&fixture.node.host, fixture.servers, SERVERS_WRITE, &write, sizeof(write)),
        ERROR_INVALID);
    close_node(&fixture);
}

static void only_node_0_may_ask(void)
{
    struct fixture fixture;

    open_node(&fixture, 3);
    EXPECT_EQUAL(test_call_status(&fixture.node.host, fixture.servers, SERVERS_LIST, NULL, 0),
                 ERROR_DENIED);
    close_node(&fixture);
}

static void an_advertised_name_belongs_to_one_server(void)
{
    struct fixture fixture;
    struct reservation first, second, again;

    open_node(&fixture, 0);
    REQUIRE(reserve(&fixture, "p", 2, 0, &first) == 0);
    struct {
        struct server_reserve_request head;
        struct server_reserve_port port;
    } body = {.head = {.name = "q", .code_bytes = le32_of(1), .port_count = le32_of(1)},
              .port = {.name = "p1", .flags = le32_of(SERVER_PORT_ADVERTISED)}};
    EXPECT_EQUAL(
        test_call_status(&fixture.node.host, fixture.servers, SERVERS_RESERVE, &body, sizeof(body)),
        ERROR_EXISTS);
    body.port.flags = le32_of(0);
    EXPECT_EQUAL(
        test_call_status(&fixture.node.host, fixture.servers, SERVERS_RESERVE, &body, sizeof(body)),
        0);
    REQUIRE(reserve(&fixture, "r", 0, 0, &second) == 0);

    /* The same server again, for another build: ports of the same names stay. */
    REQUIRE(reserve(&fixture, "p", 1, 0, &again) == 0);
    EXPECT(again.id == first.id && again.ports[0] == first.ports[0]);
    EXPECT(look_up(&fixture, "p0") == first.ports[0] && look_up(&fixture, "p1") == 0);

    struct server_list_reply head;
    uint8_t list[sizeof(head) + 3 * sizeof(le32)];
    EXPECT_EQUAL(ask(&fixture, SERVERS_LIST, NULL, 0, list, sizeof(list)), (long)sizeof(list));
    memcpy(&head, list, sizeof(head));
    EXPECT_EQUAL(le32_load(head.count), 3);
    close_node(&fixture);
}

/* Send a message without a reply port. */
static void post(struct fixture *fixture, struct port *port, int32_t id, mach_msg_return_t expected)
{
    struct kmsg *message = kmsg_allocate(&fixture->node.host, 0);

    REQUIRE(message != NULL);
    kmsg_set_id(message, id);
    mach_msg_return_t result = mach_msg_send(message, port, NULL, PORT_NONE, 0);
    EXPECT_EQUAL(result, expected);
    if (result != MACH_MSG_SUCCESS) {
        kmsg_free(message);
    }
}

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
    struct fixture fixture;
    struct reservation reserved;
    struct server_attach_reply attached;
    struct loader_first_message first;

    open_node(&fixture, 0);
    attach(&fixture);
    REQUIRE(expect_message(&fixture, SERVERS_ATTACH + 100, &attached, sizeof(attached)) ==
            sizeof(attached));
    EXPECT(memcmp(attached.build_id, build_id, sizeof(build_id)) == 0);
    EXPECT_EQUAL(le64_load(attached.area_address), (uintptr_t)world.area);
    REQUIRE(reserve(&fixture, "lazy", 2, SERVER_FLAG_ARM, &reserved) == 0);
    struct port *port = port_called(&fixture, &reserved, 1);

    received_count = 0;
    for (int32_t i = 0; i < 4; i++) {
        post(&fixture, port, 500 + i, MACH_MSG_SUCCESS);
    }
    post(&fixture, port, 504, MACH_SEND_TIMED_OUT); /* the limit that RESERVE gave */
    REQUIRE(expect_message(&fixture, LOADER_FIRST_MESSAGE, &first, sizeof(first)) == sizeof(first));
    EXPECT(le32_load(first.server_id) == reserved.id && le32_load(first.port) == 1);
    struct server_command map = command(SERVER_PORT_PROC, 1, (uintptr_t)record_handler, 0);
    EXPECT_EQUAL(load(&fixture, reserved.id, &map, 1).status, 0);
    EXPECT(test_wait(four_came, NULL));
    for (int32_t i = 0; i < 4; i++) {
        EXPECT_EQUAL(received[i], 500 + i);
    }

    /* Unloaded and armed: the next one asks again, once. */
    EXPECT_EQUAL(unload(&fixture, reserved.id, SERVER_UNLOAD_ARM, NULL, 0).status, 0);
    post(&fixture, port, 505, MACH_MSG_SUCCESS);
    post(&fixture, port, 506, MACH_MSG_SUCCESS);
    REQUIRE(expect_message(&fixture, LOADER_FIRST_MESSAGE, &first, sizeof(first)) == sizeof(first));
    EXPECT_EQUAL(by_id(&fixture, SERVERS_ARM, reserved.id), 0); /* a load failed, say */
    REQUIRE(expect_message(&fixture, LOADER_FIRST_MESSAGE, &first, sizeof(first)) == sizeof(first));
    EXPECT_EQUAL(by_id(&fixture, SERVERS_RELEASE, reserved.id), 0);
    EXPECT(port_is_dead(port) && !port_has_messages(fixture.loader));
    port_release(port);
    close_node(&fixture);
}

static void smap_sends_the_answer_that_the_function_made(void)
{
    struct fixture fixture;
    struct reservation reserved;
    uint32_t value = 20, answer = 0;

    open_node(&fixture, 0);
    REQUIRE(reserve(&fixture, "twice", 1, 0, &reserved) == 0);
    struct server_command map = command(SERVER_PORT_SERV, 0, (uintptr_t)twice_service, 2);
    EXPECT_EQUAL(load(&fixture, reserved.id, &map, 1).status, 0);
    struct port *port = port_called(&fixture, &reserved, 0);
    EXPECT(test_call(&fixture.node.host, port, 700, &value, 4, &answer, 4) == 4 && answer == 42);
    size_t used_bytes = heap_statistics(&fixture.node.host).used_bytes;
    for (int i = 0; i < 4; i++) { /* no reply: both messages are freed */
        post(&fixture, port, 700, MACH_MSG_SUCCESS);
    }
    EXPECT(test_call(&fixture.node.host, port, 700, &value, 4, &answer, 4) == 4);
    expect_heap(&fixture, used_bytes);
    port_release(port);
    close_node(&fixture);
}

/* --- Log, callouts, panic --------------------------------------------------------------------- */

static const char *logged_format; /* in the image */

static int log_twice(uintptr_t level)
{
    kern_server_log(instance, (uint32_t)level, logged_format, 1, 2, 3, 4, (uint64_t)-5);
    kern_server_log(instance, 1, "not in the image", 0, 0, 0, 0, 0);
    return 0;
}

/* A loaded server with a handle in `instance`, attached; its communication port. */
static struct port *open_server(struct fixture *fixture, struct reservation *reserved)
{
    struct server_attach_reply attached;

    open_node(fixture, 0);
    attach(fixture);
    REQUIRE(expect_message(fixture, SERVERS_ATTACH + 100, &attached, sizeof(attached)) > 0);
    REQUIRE(reserve(fixture, "talks", 1, 0, reserved) == 0);
    uintptr_t place = (uintptr_t)reserved->address + DATA_OFFSET;
    struct server_command commands[] = {
        command(SERVER_INSTANCE, 0, place, 0),
        command(SERVER_CALL, 0, (uintptr_t)read_instance, place),
        command(SERVER_PORT_PROC, 0, (uintptr_t)echo_handler, 0),
    };
    struct outcome loaded = load(fixture, reserved->id, commands, 3);
    REQUIRE(loaded.status == 0);
    logged_format = (const char *)(uintptr_t)reserved->address + 0x123;
    struct port *com = port_from_name(&fixture->node.host, loaded.com_port);
    REQUIRE(com != NULL);
    return com;
}

static int com_call(struct fixture *fixture, struct port *com, uintptr_t argument)
{
    struct server_command body = command(SERVER_CALL, 0, (uintptr_t)log_twice, argument);

    return test_call_status(&fixture->node.host, com, SERVER_CALL, &body, sizeof(body));
}

static int set_level(struct fixture *fixture, struct port *com, uint32_t level)
{
    struct server_log_level_request body = {.level = le32_of(level)};

    return test_call_status(&fixture->node.host, com, SERVER_LOG_LEVEL, &body, sizeof(body));
}

static void what_a_server_logs_reaches_the_one_who_asked(void)
{
    struct fixture fixture;
    struct reservation reserved;
    struct port *com = open_server(&fixture, &reserved);
    struct {
        struct loader_log_data head;
        struct server_log_entry entries[4];
    } data;
    struct mach_host *host = &fixture.node.host;

    EXPECT_EQUAL(test_call_status(host, com, SERVER_GET_LOG, NULL, 0), ERROR_UNSUPPORTED);
    EXPECT_EQUAL(com_call(&fixture, com, 9), 0); /* off: nothing is kept */
    EXPECT_EQUAL(set_level(&fixture, com, 5), 0);
    EXPECT_EQUAL(test_call_status(host, com, SERVER_GET_LOG, NULL, 0), 0);
    EXPECT_EQUAL(test_call_status(host, com, SERVER_GET_LOG, NULL, 0), ERROR_EXISTS);
    EXPECT_EQUAL(com_call(&fixture, com, 9), 0);
    EXPECT_EQUAL(expect_message(&fixture, LOADER_LOG_DATA, &data, sizeof(data)),
                 (long)(sizeof(data.head) + sizeof(data.entries[0])));
    EXPECT(le32_load(data.head.server_id) == reserved.id && le32_load(data.head.count) == 1);
    EXPECT(le32_load(data.entries[0].format) == 0x123 && le32_load(data.entries[0].level) == 9);
    EXPECT(le64_load(data.entries[0].arguments[4]) == (uint64_t)-5);
    EXPECT(le64_load(data.entries[0].time_ns) <= clock_now_ns());

    /* What was logged while nobody read comes at once, all of it. */
    EXPECT_EQUAL(set_level(&fixture, com, 1), 0);
    EXPECT_EQUAL(com_call(&fixture, com, 9), 0);
    EXPECT_EQUAL(test_call_status(host, com, SERVER_GET_LOG, NULL, 0), 0);
    EXPECT_EQUAL(expect_message(&fixture, LOADER_LOG_DATA, &data, sizeof(data)),
                 (long)(sizeof(data.head) + 2 * sizeof(data.entries[0])));
    EXPECT_EQUAL(le32_load(data.entries[1].format), SERVER_FORMAT_UNKNOWN);

    /* Switched off: whoever waits is told that nothing comes. */
    EXPECT_EQUAL(test_call_status(host, com, SERVER_GET_LOG, NULL, 0), 0);
    EXPECT_EQUAL(set_level(&fixture, com, 0), 0);
    EXPECT_EQUAL(expect_message(&fixture, LOADER_LOG_DATA, &data, sizeof(data)),
                 (long)sizeof(data.head));
    EXPECT_EQUAL(le32_load(data.head.count), 0);
    port_release(com);
    close_node(&fixture);
}

static void count_callout(void *argument)
{
    world.callout_order[world.callouts] = (int)(intptr_t)argument;
    __atomic_store_n(&world.callouts, world.callouts + 1, __ATOMIC_RELEASE);
}

static int ask_for_callouts(uintptr_t count)
{
    for (uintptr_t i = 0; i < count; i++) {
        if (kern_server_callout(instance, count_callout, (void *)i) != ERROR_NONE) {
            return (int)i;
        }
    }
    return 0;
}

static bool callouts_ran(void *context)
{
    (void)context;
    return __atomic_load_n(&world.callouts, __ATOMIC_ACQUIRE) == (int)KERN_SERVER_CALLOUTS;
}

static void callouts_run_in_order_and_are_bounded(void)
{
    struct fixture fixture;
    struct reservation reserved;
    struct port *com = open_server(&fixture, &reserved);
    struct server_command body =
        command(SERVER_CALL, 0, (uintptr_t)ask_for_callouts, KERN_SERVER_CALLOUTS + 1);
    struct server_command_reply reply;

    EXPECT_EQUAL(
        test_call(&fixture.node.host, com, SERVER_CALL, &body, sizeof(body), &reply, sizeof(reply)),
        (long)sizeof(reply));
    EXPECT_EQUAL(le32_load(reply.value), KERN_SERVER_CALLOUTS);
    EXPECT(test_wait(callouts_ran, NULL));
    for (int i = 0; i < (int)KERN_SERVER_CALLOUTS; i++) {
        EXPECT_EQUAL(world.callout_order[i], i);
    }
    port_release(com);
    close_node(&fixture);
}

static uint64_t died[4];
static int death_count; /* atomic */
static struct port *watched_port;

static bool count_death(uint64_t name)
{
    died[death_count % 4] = name;
    __atomic_add_fetch(&death_count, 1, __ATOMIC_RELEASE);
    return death_count % 2 == 0; /* the first is left to what is usual */
}

static int watch_and_map(uintptr_t argument)
{
    if (argument != 0 && kern_server_map_port(instance, watched_port, echo_handler, 5) != 0) {
        return -100;
    }
    return kern_server_watch(instance, watched_port);
}

static bool a_death_was_told(void *context)
{
    return __atomic_load_n(&death_count, __ATOMIC_ACQUIRE) == *(int *)context;
}

static int com_watch(struct fixture *fixture, struct port *com, uintptr_t argument)
{
    struct server_command body = command(SERVER_CALL, 0, (uintptr_t)watch_and_map, argument);
    struct server_command_reply reply = {.value = le32_of(1)};

    (void)test_call(&fixture->node.host, com, SERVER_CALL, &body, sizeof(body), &reply,
                    sizeof(reply));
    return (int32_t)le32_load(reply.value);
}

static void the_death_of_a_watched_port_is_told_once(void)
{
    struct fixture fixture;
    struct reservation reserved;
    struct port *com = open_server(&fixture, &reserved);
    struct server_command death = command(SERVER_PORT_DEATH_PROC, 0, (uintptr_t)count_death, 0);
    char answer[8] = {0};

    death_count = 0;
    EXPECT_EQUAL(
        test_call_status(&fixture.node.host, com, SERVER_PORT_DEATH_PROC, &death, sizeof(death)),
        0);
    for (int round = 1; round <= 2; round++) {
        REQUIRE(port_create(&fixture.node.host, &watched_port) == ERROR_NONE);
        port_retain(watched_port);
        uint64_t name = port_name(watched_port);
        EXPECT_EQUAL(com_watch(&fixture, com, 1), 0);
        EXPECT_EQUAL(com_watch(&fixture, com, 0), ERROR_EXISTS);
        EXPECT(test_call(&fixture.node.host, watched_port, KERNEL_ECHO, "run", 4, answer, 8) == 4);
        port_destroy(watched_port);
        EXPECT(test_wait(a_death_was_told, &round));
        EXPECT(died[round - 1] == name);
        EXPECT_EQUAL(com_watch(&fixture, com, 0), ERROR_DOWN);
        port_release(watched_port);
    }
    port_release(com);
    close_node(&fixture);
}

/* A death function that, the first time, puts another port in the place of the one that died. */
static struct port *successor;

static bool watch_successor(uint64_t name)
{
    (void)name;
    if (death_count == 0) {
        kern_server_unwatch(instance, watched_port);
        EXPECT_EQUAL(kern_server_watch(instance, successor), 0);
    }
    __atomic_add_fetch(&death_count, 1, __ATOMIC_RELEASE);
    return true;
}

static void a_death_function_may_watch_another_port(void)
{
    struct fixture fixture;
    struct reservation reserved;
    struct port *com = open_server(&fixture, &reserved);
    struct server_command death = command(SERVER_PORT_DEATH_PROC, 0, (uintptr_t)watch_successor, 0);
    int deaths;

    death_count = 0;
    EXPECT_EQUAL(
        test_call_status(&fixture.node.host, com, SERVER_PORT_DEATH_PROC, &death, sizeof(death)),
        0);
    REQUIRE(port_create(&fixture.node.host, &watched_port) == ERROR_NONE);
    REQUIRE(port_create(&fixture.node.host, &successor) == ERROR_NONE);
    port_retain(watched_port);
    EXPECT_EQUAL(com_watch(&fixture, com, 0), 0);
    port_destroy(watched_port);
    deaths = 1;
    EXPECT(test_wait(a_death_was_told, &deaths));
    port_release(watched_port);
    port_destroy(successor);
    deaths = 2;
    EXPECT(test_wait(a_death_was_told, &deaths));
    port_release(com);
    close_node(&fixture);
}

static int give_up(uintptr_t argument)
{
    (void)argument;
    kern_server_panic(instance, "out of \"luck\"");
    kern_server_panic(instance, "again");
    return 0;
}

static void a_server_that_gives_up_is_not_served_and_told_once(void)
{
    struct fixture fixture;
    struct reservation reserved;
    struct port *com = open_server(&fixture, &reserved);
    struct port *port = port_called(&fixture, &reserved, 0);
    struct server_command body = command(SERVER_CALL, 0, (uintptr_t)give_up, 0);
    struct loader_panic told;

    EXPECT_EQUAL(test_call_status(&fixture.node.host, com, SERVER_CALL, &body, sizeof(body)), 0);
    EXPECT_EQUAL(expect_message(&fixture, LOADER_PANIC, &told, sizeof(told)), (long)sizeof(told));
    EXPECT(le32_load(told.server_id) == reserved.id && strcmp(told.text, "out of \"luck\"") == 0);
    EXPECT(has_state(&fixture, reserved.id, SERVER_FAILED));
    post(&fixture, port, KERNEL_ECHO, MACH_MSG_SUCCESS);
    EXPECT(port_has_messages(port) && !port_has_messages(fixture.loader));
    EXPECT_EQUAL(unload(&fixture, reserved.id, 0, NULL, 0).status, 0);
    EXPECT(has_state(&fixture, reserved.id, SERVER_ALLOCATED) && port_has_messages(port));
    port_release(port);
    port_release(com);
    close_node(&fixture);
}

static void a_shutdown_needs_no_script(void)
{
    struct fixture fixture;
    struct reservation reserved;
    struct port *com = open_server(&fixture, &reserved);

    post(&fixture, com, SERVER_SHUTDOWN, MACH_MSG_SUCCESS);
    uint64_t deadline_ns = clock_now_ns() + TEST_CALL_NS;
    while (!has_state(&fixture, reserved.id, SERVER_ALLOCATED) && clock_now_ns() < deadline_ns) {
        thread_yield();
    }
    EXPECT(has_state(&fixture, reserved.id, SERVER_ALLOCATED));
    EXPECT(port_is_dead(com));
    port_release(com);
    close_node(&fixture);
}

static void an_address_is_found_in_its_server(void)
{
    struct fixture fixture;
    struct reservation reserved;
    struct port *com = open_server(&fixture, &reserved);
    struct mach_host *host = &fixture.node.host;
    uint64_t offset = 0;
    const char *name = server_table_locate(host, reserved.address + 0x321, &offset);

    EXPECT(name != NULL && strcmp(name, "talks") == 0 && offset == 0x321);
    EXPECT(server_table_locate(host, reserved.address - 1, &offset) == NULL);
    EXPECT(server_table_locate(host, reserved.address + 3 * PAGE, &offset) == NULL);
    port_release(com);
    close_node(&fixture);
}

/* Each allocation on the way fails once: a status, nothing left, and the next try works. */
static void without_memory_nothing_is_left(void)
{
    struct fixture fixture;
    struct reservation reserved;

    open_node(&fixture, 0);
    struct mach_host *host = &fixture.node.host;
    size_t used_bytes = heap_statistics(host).used_bytes;
    int failures = 0;

    for (uint64_t n = 1; n < 60; n++) {
        heap_fail_after(host, n, false);
        int error = reserve(&fixture, "thin", 1, 0, &reserved);
        struct outcome loaded = {.status = 1};
        if (error == 0) {
            struct server_command map = command(SERVER_PORT_PROC, 0, (uintptr_t)echo_handler, 0);
            loaded = load(&fixture, reserved.id, &map, 1);
        }
        heap_fail_after(host, 0, false);
        failures += error != 0 || loaded.status != 0 ? 1 : 0;
        if (loaded.status == 0) {
            EXPECT_EQUAL(unload(&fixture, reserved.id, 0, NULL, 0).status, 0);
        }
        /* An answer may have been what there was no memory for; then the server is there. */
        struct server_list_reply head;
        uint8_t list[sizeof(head) + sizeof(le32)] = {0};
        if (ask(&fixture, SERVERS_LIST, NULL, 0, list, sizeof(list)) == (long)sizeof(list)) {
            le32 id;
            memcpy(&id, list + sizeof(head), sizeof(id));
            if (has_state(&fixture, le32_load(id), SERVER_LOADED)) {
                EXPECT_EQUAL(unload(&fixture, le32_load(id), 0, NULL, 0).status, 0);
            }
            EXPECT_EQUAL(by_id(&fixture, SERVERS_RELEASE, le32_load(id)), 0);
        }
        expect_heap(&fixture, used_bytes);
    }
    EXPECT(failures > 5);
    close_node(&fixture);
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
    struct fixture fixture;
    struct reservation reserved;

    open_node(&fixture, 0);
    REQUIRE(kern_server_load(&fixture.node.host, "node") == 0);
    EXPECT(asked_of_node_server(&fixture.node.host, "p0") == NULL);
    REQUIRE(reserve(&fixture, "p", 1, 0, &reserved) == 0);
    struct port *found = asked_of_node_server(&fixture.node.host, "p0");
    REQUIRE(found != NULL);
    EXPECT(port_name(found) == reserved.ports[0]);
    port_release(found);
    EXPECT_EQUAL(by_id(&fixture, SERVERS_RELEASE, reserved.id), 0);
    EXPECT(asked_of_node_server(&fixture.node.host, "p0") == NULL);
    close_node(&fixture);
}

static const struct unit_test server_table_tests[] = {
    {"a server lives from RESERVE to RELEASE", a_server_lives_from_reserve_to_release},
    {"a loaded server ends with its host", a_loaded_server_ends_with_its_host},
    {"a CALL that fails fails the load", a_call_that_fails_fails_the_load},
    {"commands that make no sense are refused", commands_that_make_no_sense_are_refused},
    {"requests that make no sense are refused", requests_that_make_no_sense_are_refused},
    {"only node 0 may ask", only_node_0_may_ask},
    {"an advertised name belongs to one server", an_advertised_name_belongs_to_one_server},
    {"the node server finds what a server advertises",
     the_node_server_finds_what_a_server_advertises},
    {"the first message asks for the server and waits for it",
     the_first_message_asks_for_the_server_and_waits_for_it},
    {"SMAP sends the answer that the function made", smap_sends_the_answer_that_the_function_made},
    {"what a server logs reaches the one who asked", what_a_server_logs_reaches_the_one_who_asked},
    {"callouts run in order and are bounded", callouts_run_in_order_and_are_bounded},
    {"the death of a watched port is told once", the_death_of_a_watched_port_is_told_once},
    {"a death function may watch another port", a_death_function_may_watch_another_port},
    {"a server that gives up is not served, and told once",
     a_server_that_gives_up_is_not_served_and_told_once},
    {"a shutdown needs no script", a_shutdown_needs_no_script},
    {"an address is found in its server", an_address_is_found_in_its_server},
    {"without memory nothing is left", without_memory_nothing_is_left},
};
UNIT_SUITE("server_table", server_table_tests);
