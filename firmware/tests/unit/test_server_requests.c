/* SPDX-License-Identifier: MIT
 *
 * What the kernel half of the loader refuses: commands and requests that make no sense, and anybody
 * but node 0.
 */
#include "fake_loader.h"
#include "unit.h"

#include <string.h>

static int load_one(struct fake_loader *loader, uint32_t id, struct server_command only)
{
    struct loader_outcome outcome = loader_load(loader, id, &only, 1);

    EXPECT_EQUAL(loader_unload(loader, id, 0, NULL, 0).status, 0);
    EXPECT(outcome.status == 0 || outcome.done == 0);
    return outcome.status;
}

static void commands_that_make_no_sense_are_refused(void)
{
    struct fake_loader loader;
    struct loader_reservation reserved;

    loader_open(&loader, 0);
    REQUIRE(loader_reserve(&loader, "odd", 1, 0, &reserved) == 0);
    uintptr_t address = (uintptr_t)reserved.address;
    const struct server_command refused[] = {
        loader_command(SERVER_INSTANCE, 0, address, 0), /* code */
        loader_command(SERVER_INSTANCE, 0, address + LOADER_DATA_OFFSET + 4, 0),
        loader_command(SERVER_INSTANCE, 0, address + 3 * LOADER_PAGE, 0),
        loader_command(SERVER_PORT_PROC, 1, (uintptr_t)fake_server_echo, 0),
        loader_command(SERVER_PORT_SERV, 50, (uintptr_t)fake_server_call, 0),
        loader_command(99, 0, 0, 0),
        loader_command(SERVER_SHUTDOWN, 0, 0, 0),
    };
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        EXPECT_EQUAL(load_one(&loader, reserved.id, refused[i]), ERROR_INVALID);
    }
    EXPECT_EQUAL(load_one(&loader, reserved.id, loader_command(SERVER_VERSION, 0, 0, 1)),
                 ERROR_UNSUPPORTED);
    EXPECT_EQUAL(load_one(&loader, reserved.id, loader_command(SERVER_LOAD_OBJC, 0, 0, 0)),
                 ERROR_UNSUPPORTED);
    loader.has_foreign_code = true; /* only the server's own pages hold code */
    const struct server_command foreign[] = {
        loader_command(SERVER_CALL, 0, (uintptr_t)fake_server_call, 0),
        loader_command(SERVER_CALL, 0, address + LOADER_PAGE, 0), /* const */
        loader_command(SERVER_PORT_PROC, 0, (uintptr_t)fake_server_echo, 0),
        loader_command(SERVER_PORT_DEATH_PROC, 0, (uintptr_t)fake_server_call, 0),
    };
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
        EXPECT_EQUAL(load_one(&loader, reserved.id, foreign[i]), ERROR_INVALID);
    }
    EXPECT(fake_server.calls == 0);
    loader_close(&loader);
}

static void requests_that_make_no_sense_are_refused(void)
{
    static const int32_t sized[] = {SERVERS_RELEASE, SERVERS_WRITE, SERVERS_LOAD,
                                    SERVERS_UNLOAD,  SERVERS_INFO,  SERVERS_ARM,
                                    SERVERS_RESERVE, 2399,          2409};
    struct fake_loader loader;
    struct loader_reservation reserved;
    uint8_t junk[4] = {0};

    loader_open(&loader, 0);
    size_t used_bytes = heap_statistics(&loader.node.host).used_bytes;
    for (size_t i = 0; i < sizeof(sized) / sizeof(sized[0]); i++) {
        EXPECT_EQUAL(test_call_status(&loader.node.host, loader.servers, sized[i], junk, 4),
                     ERROR_INVALID);
    }
    EXPECT_EQUAL(loader_by_id(&loader, SERVERS_RELEASE, 1), ERROR_NOT_FOUND);
    EXPECT_EQUAL(loader_by_id(&loader, SERVERS_ARM, 1), ERROR_NOT_FOUND);
    EXPECT_EQUAL(loader_load(&loader, 1, NULL, 0).status, ERROR_NOT_FOUND);
    EXPECT_EQUAL(loader_unload(&loader, 1, 0, NULL, 0).status, ERROR_NOT_FOUND);

    struct server_reserve_request wanted = {.name = "big", .code_bytes = le32_of(1u << 20)};
    EXPECT_EQUAL(test_call_status(&loader.node.host, loader.servers, SERVERS_RESERVE, &wanted,
                                  sizeof(wanted)),
                 ERROR_NO_MEMORY); /* the area has a quarter of that */
    wanted.const_bytes = le32_of(1);
    EXPECT_EQUAL(test_call_status(&loader.node.host, loader.servers, SERVERS_RESERVE, &wanted,
                                  sizeof(wanted)),
                 ERROR_INVALID);
    wanted = (struct server_reserve_request){.name = "empty"};
    EXPECT_EQUAL(test_call_status(&loader.node.host, loader.servers, SERVERS_RESERVE, &wanted,
                                  sizeof(wanted)),
                 ERROR_INVALID);
    memset(wanted.name, 'x', sizeof(wanted.name));
    wanted.code_bytes = le32_of(1);
    EXPECT_EQUAL(test_call_status(&loader.node.host, loader.servers, SERVERS_RESERVE, &wanted,
                                  sizeof(wanted)),
                 ERROR_INVALID);
    EXPECT_EQUAL(loader_reserve(&loader, "twins", 11, 0, &reserved),
                 ERROR_INVALID); /* 0 comes twice */
    loader_expect_heap(&loader, used_bytes);

    REQUIRE(loader_reserve(&loader, "one", 1, 0, &reserved) == 0);
    EXPECT_EQUAL(
        loader_load_as(&loader, reserved.id, (const uint8_t *)"another kernel, sure.", NULL, 0)
            .status,
        ERROR_STALE);
    EXPECT_EQUAL(loader_unload(&loader, reserved.id, 0, NULL, 0).status, ERROR_BUSY);
    struct server_write_request write = {.server_id = le32_of(reserved.id),
                                         .offset = le32_of(3 * LOADER_PAGE + 1)};
    EXPECT_EQUAL(
        test_call_status(&loader.node.host, loader.servers, SERVERS_WRITE, &write, sizeof(write)),
        ERROR_INVALID);
    loader_close(&loader);
}

static void only_node_0_may_ask(void)
{
    struct fake_loader loader;

    loader_open(&loader, 3);
    EXPECT_EQUAL(test_call_status(&loader.node.host, loader.servers, SERVERS_LIST, NULL, 0),
                 ERROR_DENIED);
    loader_close(&loader);
}

static const struct unit_test server_request_tests[] = {
    {"commands that make no sense are refused", commands_that_make_no_sense_are_refused},
    {"requests that make no sense are refused", requests_that_make_no_sense_are_refused},
    {"only node 0 may ask", only_node_0_may_ask},
};
UNIT_SUITE("server_requests", server_request_tests);
