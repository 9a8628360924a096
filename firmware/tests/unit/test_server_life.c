/* SPDX-License-Identifier: MIT
 *
 * The life of a loaded server, driven by messages: reserved, loaded, failed, unloaded, released, or
 * ended with its host.
 */
#include "fake_loader.h"
#include "unit.h"

#include <kernel/thread.h>
#include <string.h>

static void a_server_lives_from_reserve_to_release(void)
{
    struct fake_loader loader;
    struct loader_reservation reserved;

    loader_open(&loader, 0);
    size_t used_bytes = heap_statistics(&loader.node.host).used_bytes;
    REQUIRE(loader_reserve(&loader, "echo", 1, 0, &reserved) == 0);
    EXPECT(reserved.address == (uintptr_t)loader.area);
    EXPECT(loader_has_state(&loader, reserved.id, SERVER_ALLOCATED));
    EXPECT(loader_look_up(&loader, "echo0") == reserved.ports[0] && reserved.ports[0] != 0);
    EXPECT(loader_look_up(&loader, "echo") == 0);
    EXPECT(loader.pages[0] == ARCH_MMU_NONE && loader.pages[2] == ARCH_MMU_NONE);

    struct server_command commands[] = {
        loader_command(SERVER_INSTANCE, 0, reserved.address + LOADER_DATA_OFFSET + 16, 0),
        loader_command(SERVER_VERSION, 0, 0, SERVER_INTERFACE_VERSION),
        loader_command(SERVER_WIRE, 0, 0, 0),
        loader_command(SERVER_CALL, 0, (uintptr_t)fake_server_read_instance,
                       reserved.address + LOADER_DATA_OFFSET + 16),
        loader_command(SERVER_CALL, 0, (uintptr_t)fake_server_call, 7),
        loader_command(SERVER_PORT_PROC, 0, (uintptr_t)fake_server_echo, 9),
    };
    struct loader_outcome loaded = loader_load(&loader, reserved.id, commands, 6);
    EXPECT(loaded.status == 0 && loaded.done == 6 && loaded.com_port != 0);
    EXPECT(loader_has_state(&loader, reserved.id, SERVER_LOADED));
    EXPECT(loader.pages[0] == ARCH_MMU_CODE && loader.pages[1] == ARCH_MMU_CONST &&
           loader.pages[2] == ARCH_MMU_DATA);
    EXPECT(loader.area[0] == 0xc3 && loader.area[63] == 0xc3 && loader.area[64] == 0);
    EXPECT(fake_server.instance != NULL &&
           kern_server_host(fake_server.instance) == &loader.node.host);
    EXPECT(fake_server.calls == 1 && fake_server.arguments[0] == 7);

    struct port *port = loader_port(&loader, &reserved, 0);
    char answer[8] = {0};
    EXPECT(test_call(&loader.node.host, port, KERNEL_ECHO, "hello", 5, answer, 8) == 5);
    EXPECT(strcmp(answer, "hello") == 0 && fake_server.arguments[0] == 9);
    EXPECT_EQUAL(le64_load(loader_info(&loader, reserved.id).messages), 1);
    EXPECT_EQUAL(loader_load(&loader, reserved.id, commands, 6).status, ERROR_BUSY);
    EXPECT_EQUAL(loader_by_id(&loader, SERVERS_RELEASE, reserved.id), ERROR_BUSY);
    EXPECT_EQUAL(loader_reserve(&loader, "echo", 0, 0, &reserved), ERROR_EXISTS);

    struct server_command end = loader_command(SERVER_CALL, 0, (uintptr_t)fake_server_call, 8);
    struct loader_outcome unloaded = loader_unload(&loader, reserved.id, 0, &end, 1);
    EXPECT(unloaded.status == 0 && unloaded.done == 1);
    EXPECT(fake_server.calls == 2 && fake_server.arguments[1] == 8);
    EXPECT(loader_has_state(&loader, reserved.id, SERVER_ALLOCATED));
    EXPECT(loader.pages[0] == ARCH_MMU_NONE && loader.pages[2] == ARCH_MMU_NONE);
    EXPECT(loader_look_up(&loader, "echo0") == reserved.ports[0]);
    EXPECT_EQUAL(loader_by_id(&loader, SERVERS_RELEASE, reserved.id), 0);
    EXPECT_EQUAL(loader_by_id(&loader, SERVERS_INFO, reserved.id), ERROR_NOT_FOUND);
    EXPECT(loader_look_up(&loader, "echo0") == 0 && port_is_dead(port));
    port_release(port);
    loader_expect_heap(&loader, used_bytes);
    loader_close(&loader);
}

static void a_loaded_server_ends_with_its_host(void)
{
    struct fake_loader loader;
    struct loader_reservation reserved;

    loader_open(&loader, 0);
    REQUIRE(loader_reserve(&loader, "left", 2, 0, &reserved) == 0);
    struct server_command map = loader_command(SERVER_PORT_PROC, 1, (uintptr_t)fake_server_echo, 0);
    EXPECT_EQUAL(loader_load(&loader, reserved.id, &map, 1).status, 0);
    loader_close(&loader);
}

static void a_call_that_fails_fails_the_load(void)
{
    struct fake_loader loader;
    struct loader_reservation reserved;

    loader_open(&loader, 0);
    REQUIRE(loader_reserve(&loader, "bad", 1, 0, &reserved) == 0);
    fake_server.call_result = 42;
    struct server_command commands[] = {
        loader_command(SERVER_PORT_PROC, 0, (uintptr_t)fake_server_echo, 0),
        loader_command(SERVER_CALL, 0, (uintptr_t)fake_server_call, 1),
        loader_command(SERVER_CALL, 0, (uintptr_t)fake_server_call, 2),
    };
    struct loader_outcome failed = loader_load(&loader, reserved.id, commands, 3);
    EXPECT(failed.status == ERROR_FAILED && failed.done == 1 && failed.value == 42);
    EXPECT(fake_server.calls == 1 && loader_has_state(&loader, reserved.id, SERVER_FAILED));

    /* Its unload command fails, too: nothing goes before somebody forces it. */
    struct loader_outcome kept = loader_unload(&loader, reserved.id, 0, &commands[1], 2);
    EXPECT(kept.status == ERROR_FAILED && kept.done == 0 && kept.value == 42);
    EXPECT(loader_has_state(&loader, reserved.id, SERVER_FAILED));
    EXPECT(loader.pages[0] == ARCH_MMU_CODE);
    struct loader_outcome forced =
        loader_unload(&loader, reserved.id, SERVER_UNLOAD_FORCE, &commands[1], 2);
    EXPECT(forced.status == ERROR_FAILED && forced.value == 42);
    EXPECT(loader_has_state(&loader, reserved.id, SERVER_ALLOCATED));
    EXPECT(loader.pages[0] == ARCH_MMU_NONE);
    fake_server.call_result = 0;
    EXPECT_EQUAL(loader_load(&loader, reserved.id, commands, 3).status, 0);
    loader_close(&loader);
}

static void a_shutdown_needs_no_script(void)
{
    struct fake_loader loader;
    struct loader_reservation reserved;
    struct port *com = loader_open_server(&loader, &reserved);

    loader_post(&loader, com, SERVER_SHUTDOWN, MACH_MSG_SUCCESS);
    uint64_t deadline_ns = clock_now_ns() + TEST_CALL_NS;
    while (!loader_has_state(&loader, reserved.id, SERVER_ALLOCATED) &&
           clock_now_ns() < deadline_ns) {
        thread_yield();
    }
    EXPECT(loader_has_state(&loader, reserved.id, SERVER_ALLOCATED));
    EXPECT(port_is_dead(com));
    port_release(com);
    loader_close(&loader);
}

static void an_address_is_found_in_its_server(void)
{
    struct fake_loader loader;
    struct loader_reservation reserved;
    struct port *com = loader_open_server(&loader, &reserved);
    struct mach_host *host = &loader.node.host;
    uint64_t offset = 0;
    const char *name = server_table_locate(host, reserved.address + 0x321, &offset);

    EXPECT(name != NULL && strcmp(name, "talks") == 0 && offset == 0x321);
    EXPECT(server_table_locate(host, reserved.address - 1, &offset) == NULL);
    EXPECT(server_table_locate(host, reserved.address + 3 * LOADER_PAGE, &offset) == NULL);
    port_release(com);
    loader_close(&loader);
}

/* Each allocation on the way fails once: a status, nothing left, and the next try works. */
static void without_memory_nothing_is_left(void)
{
    struct fake_loader loader;
    struct loader_reservation reserved;

    loader_open(&loader, 0);
    struct mach_host *host = &loader.node.host;
    size_t used_bytes = heap_statistics(host).used_bytes;
    int failures = 0;

    for (uint64_t n = 1; n < 60; n++) {
        heap_fail_after(host, n, false);
        int error = loader_reserve(&loader, "thin", 1, 0, &reserved);
        struct loader_outcome loaded = {.status = 1};
        if (error == 0) {
            struct server_command map =
                loader_command(SERVER_PORT_PROC, 0, (uintptr_t)fake_server_echo, 0);
            loaded = loader_load(&loader, reserved.id, &map, 1);
        }
        heap_fail_after(host, 0, false);
        failures += error != 0 || loaded.status != 0 ? 1 : 0;
        if (loaded.status == 0) {
            EXPECT_EQUAL(loader_unload(&loader, reserved.id, 0, NULL, 0).status, 0);
        }
        /* An answer may have been what there was no memory for; then the server is there. */
        struct server_list_reply head;
        uint8_t list[sizeof(head) + sizeof(le32)] = {0};
        if (loader_ask(&loader, SERVERS_LIST, NULL, 0, list, sizeof(list)) == (long)sizeof(list)) {
            le32 id;
            memcpy(&id, list + sizeof(head), sizeof(id));
            if (loader_has_state(&loader, le32_load(id), SERVER_LOADED)) {
                EXPECT_EQUAL(loader_unload(&loader, le32_load(id), 0, NULL, 0).status, 0);
            }
            EXPECT_EQUAL(loader_by_id(&loader, SERVERS_RELEASE, le32_load(id)), 0);
        }
        loader_expect_heap(&loader, used_bytes);
    }
    EXPECT(failures > 5);
    loader_close(&loader);
}

static const struct unit_test server_life_tests[] = {
    {"a server lives from RESERVE to RELEASE", a_server_lives_from_reserve_to_release},
    {"a loaded server ends with its host", a_loaded_server_ends_with_its_host},
    {"a CALL that fails fails the load", a_call_that_fails_fails_the_load},
    {"a shutdown needs no script", a_shutdown_needs_no_script},
    {"an address is found in its server", an_address_is_found_in_its_server},
    {"without memory nothing is left", without_memory_nothing_is_left},
};
UNIT_SUITE("server_life", server_life_tests);
