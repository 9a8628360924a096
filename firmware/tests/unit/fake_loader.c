/* SPDX-License-Identifier: MIT
 *
 * The loader's side of a node in this process; see fake_loader.h.
 */
#include "fake_loader.h"
#include "unit.h"

#include <abi/flipc.h>
#include <kernel/service.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BYTES (4u << 20)

struct fake_server fake_server;

const uint8_t loader_build_id[SERVER_BUILD_ID_BYTES] = "twenty bytes of test";

/* --- The node --------------------------------------------------------------------------------- */

static int fake_protect(void *context, uint8_t *start, size_t len_bytes,
                        enum arch_mmu_attribute attribute)
{
    struct fake_loader *loader = context;

    EXPECT((size_t)(start - loader->area) % ARCH_PAGE_SIZE == 0 && len_bytes % ARCH_PAGE_SIZE == 0);
    for (size_t i = 0; i < len_bytes / ARCH_PAGE_SIZE; i++) {
        loader->pages[(size_t)(start - loader->area) / ARCH_PAGE_SIZE + i] = attribute;
    }
    return ERROR_NONE;
}

static bool fake_is_kernel_code(void *context, uint64_t address)
{
    struct fake_loader *loader = context;

    (void)address;
    return !loader->has_foreign_code;
}

void loader_open(struct fake_loader *loader, uint32_t node_id)
{
    struct server_platform platform = {
        .context = loader,
        .area_bytes = LOADER_AREA_PAGES * ARCH_PAGE_SIZE,
        .build_id = loader_build_id,
        .protect = fake_protect,
        .is_kernel_code = fake_is_kernel_code,
    };

    *loader = (struct fake_loader){0};
    fake_server = (struct fake_server){0};
    loader->area = aligned_alloc(ARCH_PAGE_SIZE, LOADER_AREA_PAGES * ARCH_PAGE_SIZE);
    REQUIRE(loader->area != NULL);
    platform.area = loader->area;
    test_node_open(&loader->node, node_id, 1, ARENA_BYTES, false);
    REQUIRE(server_table_start(&loader->node.host, &platform) == ERROR_NONE);
    loader->servers =
        port_from_name(&loader->node.host, NAME_WELL_KNOWN(node_id, NAME_SERIAL_SERVERS));
    REQUIRE(loader->servers != NULL);
    REQUIRE(port_create(&loader->node.host, &loader->inbox) == ERROR_NONE);
}

void loader_close(struct fake_loader *loader)
{
    port_destroy(loader->inbox);
    port_release(loader->servers);
    server_table_stop(&loader->node.host);
    test_node_close(&loader->node);
    free(loader->area);
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

void loader_expect_heap(struct fake_loader *loader, size_t used_bytes)
{
    struct heap_expectation expected = {.host = &loader->node.host, .used_bytes = used_bytes};

    EXPECT(test_wait(heap_is_small_enough, &expected));
}

/* --- Messages --------------------------------------------------------------------------------- */

long loader_ask(struct fake_loader *loader, int32_t id, const void *body, size_t len_bytes,
                void *answer, size_t answer_bytes)
{
    return test_call(&loader->node.host, loader->servers, id, body, len_bytes, answer,
                     answer_bytes);
}

void loader_attach(struct fake_loader *loader)
{
    struct kmsg *message = kmsg_allocate(&loader->node.host, 0);

    REQUIRE(message != NULL);
    kmsg_set_id(message, SERVERS_ATTACH);
    REQUIRE(mach_msg_send(message, loader->servers, loader->inbox, PORT_SEND, 0) ==
            MACH_MSG_SUCCESS);
}

long loader_expect(struct fake_loader *loader, int32_t id, void *body, size_t len_bytes)
{
    struct kmsg *message;
    long size = -1;

    if (mach_msg_receive(loader->inbox, &message, clock_now_ns() + TEST_CALL_NS) !=
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

void loader_post(struct fake_loader *loader, struct port *port, int32_t id,
                 mach_msg_return_t expected)
{
    struct kmsg *message = kmsg_allocate(&loader->node.host, 0);

    REQUIRE(message != NULL);
    kmsg_set_id(message, id);
    mach_msg_return_t result = mach_msg_send(message, port, NULL, PORT_NONE, 0);
    EXPECT_EQUAL(result, expected);
    if (result != MACH_MSG_SUCCESS) {
        kmsg_free(message);
    }
}

/* --- Requests --------------------------------------------------------------------------------- */

int loader_reserve(struct fake_loader *loader, const char *name, uint32_t port_count,
                   uint32_t flags, struct loader_reservation *reserved)
{
    uint8_t body[sizeof(struct server_reserve_request) +
                 SERVER_PORTS_MAXIMUM * sizeof(struct server_reserve_port)] = {0};
    uint8_t answer[sizeof(struct server_reserve_reply) + SERVER_PORTS_MAXIMUM * 8] = {0};
    struct server_reserve_request head = {
        .code_bytes = le32_of(1),
        .const_bytes = le32_of(LOADER_PAGE),
        .data_bytes = le32_of(LOADER_PAGE - 1),
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
    long size = loader_ask(loader, SERVERS_RESERVE, body,
                           sizeof(head) + port_count * sizeof(struct server_reserve_port), answer,
                           sizeof(answer));
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

struct server_command loader_command(uint32_t id, uint32_t port, uintptr_t function,
                                     uintptr_t argument)
{
    return (struct server_command){.id = le32_of(id),
                                   .port = le32_of(port),
                                   .function = le64_of(function),
                                   .argument = le64_of(argument)};
}

struct loader_outcome loader_load_as(struct fake_loader *loader, uint32_t id, const uint8_t *build,
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
    (void)loader_ask(loader, SERVERS_LOAD, body, sizeof(head) + commands_bytes + 64, &reply,
                     sizeof(reply));
    return (struct loader_outcome){
        .status = (int32_t)le32_load(reply.status.status),
        .done = le32_load(reply.done),
        .value = (int32_t)le32_load(reply.value),
        .com_port = le64_load(reply.com_port),
    };
}

struct loader_outcome loader_load(struct fake_loader *loader, uint32_t id,
                                  const struct server_command *commands, uint32_t count)
{
    return loader_load_as(loader, id, loader_build_id, commands, count);
}

struct loader_outcome loader_unload(struct fake_loader *loader, uint32_t id, uint32_t flags,
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
    (void)loader_ask(loader, SERVERS_UNLOAD, body, sizeof(head) + count * sizeof(*commands), &reply,
                     sizeof(reply));
    return (struct loader_outcome){
        .status = (int32_t)le32_load(reply.status.status),
        .done = le32_load(reply.done),
        .value = (int32_t)le32_load(reply.value),
    };
}

int loader_by_id(struct fake_loader *loader, int32_t request_id, uint32_t id)
{
    struct server_id_request body = {.server_id = le32_of(id)};

    return test_call_status(&loader->node.host, loader->servers, request_id, &body, sizeof(body));
}

struct server_info_reply loader_info(struct fake_loader *loader, uint32_t id)
{
    struct server_id_request body = {.server_id = le32_of(id)};
    struct server_info_reply reply = {.status = service_status_of(1)};

    (void)loader_ask(loader, SERVERS_INFO, &body, sizeof(body), &reply, sizeof(reply));
    return reply;
}

bool loader_has_state(struct fake_loader *loader, uint32_t id, enum server_state state)
{
    struct server_info_reply reply = loader_info(loader, id);

    return le32_load(reply.status.status) == 0 && le32_load(reply.state) == (uint32_t)state;
}

struct port *loader_port(struct fake_loader *loader, const struct loader_reservation *reserved,
                         uint32_t index)
{
    struct port *port = port_from_name(&loader->node.host, reserved->ports[index]);

    REQUIRE(port != NULL);
    return port;
}

uint64_t loader_look_up(struct fake_loader *loader, const char *name)
{
    return server_table_lookup(&loader->node.host, name);
}

/* --- The server ------------------------------------------------------------------------------- */

int fake_server_call(uintptr_t argument)
{
    fake_server.arguments[fake_server.calls++ % 8] = argument;
    return fake_server.call_result;
}

int fake_server_read_instance(uintptr_t address)
{
    memcpy(&fake_server.instance, (void *)address, sizeof(kern_server_t));
    return 0;
}

void fake_server_echo(struct kmsg *message, uintptr_t argument)
{
    fake_server.arguments[0] = argument;
    service_echo(message);
}

struct port *loader_open_server(struct fake_loader *loader, struct loader_reservation *reserved)
{
    struct server_attach_reply attached;

    loader_open(loader, 0);
    loader_attach(loader);
    REQUIRE(loader_expect(loader, SERVERS_ATTACH + 100, &attached, sizeof(attached)) > 0);
    REQUIRE(loader_reserve(loader, "talks", 1, 0, reserved) == 0);
    uintptr_t place = (uintptr_t)reserved->address + LOADER_DATA_OFFSET;
    struct server_command commands[] = {
        loader_command(SERVER_INSTANCE, 0, place, 0),
        loader_command(SERVER_CALL, 0, (uintptr_t)fake_server_read_instance, place),
        loader_command(SERVER_PORT_PROC, 0, (uintptr_t)fake_server_echo, 0),
    };
    struct loader_outcome loaded = loader_load(loader, reserved->id, commands, 3);
    REQUIRE(loaded.status == 0);
    struct port *com = port_from_name(&loader->node.host, loaded.com_port);
    REQUIRE(com != NULL);
    return com;
}
