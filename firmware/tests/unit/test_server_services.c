/* SPDX-License-Identifier: MIT
 *
 * What a loaded server's code asks of the kernel half through its handle: to log, to be called
 * later, to be told of a port's death, to give up.
 */
#include "fake_loader.h"
#include "unit.h"

#include <string.h>

/* --- The log ---------------------------------------------------------------------------------- */

static const char *logged_format; /* an address in the image */

static int log_twice(uintptr_t level)
{
    kern_server_log(fake_server.instance, (uint32_t)level, logged_format, 1, 2, 3, 4, (uint64_t)-5);
    kern_server_log(fake_server.instance, 1, "not in the image", 0, 0, 0, 0, 0);
    return 0;
}

static int com_call(struct fake_loader *loader, struct port *com, uintptr_t argument)
{
    struct server_command body = loader_command(SERVER_CALL, 0, (uintptr_t)log_twice, argument);

    return test_call_status(&loader->node.host, com, SERVER_CALL, &body, sizeof(body));
}

static int set_level(struct fake_loader *loader, struct port *com, uint32_t level)
{
    struct server_log_level_request body = {.level = le32_of(level)};

    return test_call_status(&loader->node.host, com, SERVER_LOG_LEVEL, &body, sizeof(body));
}

static void what_a_server_logs_reaches_the_one_who_asked(void)
{
    struct fake_loader loader;
    struct loader_reservation reserved;
    struct port *com = loader_open_server(&loader, &reserved);
    struct {
        struct loader_log_data head;
        struct server_log_entry entries[4];
    } data;
    struct mach_host *host = &loader.node.host;

    logged_format = (const char *)(uintptr_t)reserved.address + 0x123;
    EXPECT_EQUAL(test_call_status(host, com, SERVER_GET_LOG, NULL, 0), ERROR_UNSUPPORTED);
    EXPECT_EQUAL(com_call(&loader, com, 9), 0); /* off: nothing is kept */
    EXPECT_EQUAL(set_level(&loader, com, 5), 0);
    EXPECT_EQUAL(test_call_status(host, com, SERVER_GET_LOG, NULL, 0), 0);
    EXPECT_EQUAL(test_call_status(host, com, SERVER_GET_LOG, NULL, 0), ERROR_EXISTS);
    EXPECT_EQUAL(com_call(&loader, com, 9), 0);
    EXPECT_EQUAL(loader_expect(&loader, LOADER_LOG_DATA, &data, sizeof(data)),
                 (long)(sizeof(data.head) + sizeof(data.entries[0])));
    EXPECT(le32_load(data.head.server_id) == reserved.id && le32_load(data.head.count) == 1);
    EXPECT(le32_load(data.entries[0].format) == 0x123 && le32_load(data.entries[0].level) == 9);
    EXPECT(le64_load(data.entries[0].arguments[4]) == (uint64_t)-5);
    EXPECT(le64_load(data.entries[0].time_ns) <= clock_now_ns());

    /* What was logged while nobody read comes at once, all of it. */
    EXPECT_EQUAL(set_level(&loader, com, 1), 0);
    EXPECT_EQUAL(com_call(&loader, com, 9), 0);
    EXPECT_EQUAL(test_call_status(host, com, SERVER_GET_LOG, NULL, 0), 0);
    EXPECT_EQUAL(loader_expect(&loader, LOADER_LOG_DATA, &data, sizeof(data)),
                 (long)(sizeof(data.head) + 2 * sizeof(data.entries[0])));
    EXPECT_EQUAL(le32_load(data.entries[1].format), SERVER_FORMAT_UNKNOWN);

    /* Switched off: whoever waits is told that nothing comes. */
    EXPECT_EQUAL(test_call_status(host, com, SERVER_GET_LOG, NULL, 0), 0);
    EXPECT_EQUAL(set_level(&loader, com, 0), 0);
    EXPECT_EQUAL(loader_expect(&loader, LOADER_LOG_DATA, &data, sizeof(data)),
                 (long)sizeof(data.head));
    EXPECT_EQUAL(le32_load(data.head.count), 0);
    port_release(com);
    loader_close(&loader);
}

/* --- Callouts --------------------------------------------------------------------------------- */

static int callout_order[KERN_SERVER_CALLOUTS];
static int callout_count; /* atomic */

static void count_callout(void *argument)
{
    callout_order[callout_count] = (int)(intptr_t)argument;
    __atomic_store_n(&callout_count, callout_count + 1, __ATOMIC_RELEASE);
}

static int ask_for_callouts(uintptr_t count)
{
    for (uintptr_t i = 0; i < count; i++) {
        if (kern_server_callout(fake_server.instance, count_callout, (void *)i) != ERROR_NONE) {
            return (int)i;
        }
    }
    return 0;
}

static bool callouts_ran(void *context)
{
    (void)context;
    return __atomic_load_n(&callout_count, __ATOMIC_ACQUIRE) == (int)KERN_SERVER_CALLOUTS;
}

static void callouts_run_in_order_and_are_bounded(void)
{
    struct fake_loader loader;
    struct loader_reservation reserved;
    struct port *com = loader_open_server(&loader, &reserved);
    struct server_command body =
        loader_command(SERVER_CALL, 0, (uintptr_t)ask_for_callouts, KERN_SERVER_CALLOUTS + 1);
    struct server_command_reply reply;

    callout_count = 0;
    EXPECT_EQUAL(
        test_call(&loader.node.host, com, SERVER_CALL, &body, sizeof(body), &reply, sizeof(reply)),
        (long)sizeof(reply));
    EXPECT_EQUAL(le32_load(reply.value), KERN_SERVER_CALLOUTS);
    EXPECT(test_wait(callouts_ran, NULL));
    for (int i = 0; i < (int)KERN_SERVER_CALLOUTS; i++) {
        EXPECT_EQUAL(callout_order[i], i);
    }
    port_release(com);
    loader_close(&loader);
}

/* --- Deaths ----------------------------------------------------------------------------------- */

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
    if (argument != 0 &&
        kern_server_map_port(fake_server.instance, watched_port, fake_server_echo, 5) != 0) {
        return -100;
    }
    return kern_server_watch(fake_server.instance, watched_port);
}

static bool a_death_was_told(void *context)
{
    return __atomic_load_n(&death_count, __ATOMIC_ACQUIRE) == *(int *)context;
}

static int com_watch(struct fake_loader *loader, struct port *com, uintptr_t argument)
{
    struct server_command body = loader_command(SERVER_CALL, 0, (uintptr_t)watch_and_map, argument);
    struct server_command_reply reply = {.value = le32_of(1)};

    (void)test_call(&loader->node.host, com, SERVER_CALL, &body, sizeof(body), &reply,
                    sizeof(reply));
    return (int32_t)le32_load(reply.value);
}

static void the_death_of_a_watched_port_is_told_once(void)
{
    struct fake_loader loader;
    struct loader_reservation reserved;
    struct port *com = loader_open_server(&loader, &reserved);
    struct server_command death =
        loader_command(SERVER_PORT_DEATH_PROC, 0, (uintptr_t)count_death, 0);
    char answer[8] = {0};

    death_count = 0;
    EXPECT_EQUAL(
        test_call_status(&loader.node.host, com, SERVER_PORT_DEATH_PROC, &death, sizeof(death)), 0);
    for (int round = 1; round <= 2; round++) {
        REQUIRE(port_create(&loader.node.host, &watched_port) == ERROR_NONE);
        port_retain(watched_port);
        uint64_t name = port_name(watched_port);
        EXPECT_EQUAL(com_watch(&loader, com, 1), 0);
        EXPECT_EQUAL(com_watch(&loader, com, 0), ERROR_EXISTS);
        EXPECT(test_call(&loader.node.host, watched_port, KERNEL_ECHO, "run", 4, answer, 8) == 4);
        port_destroy(watched_port);
        EXPECT(test_wait(a_death_was_told, &round));
        EXPECT(died[round - 1] == name);
        EXPECT_EQUAL(com_watch(&loader, com, 0), ERROR_DOWN);
        port_release(watched_port);
    }
    port_release(com);
    loader_close(&loader);
}

/* A death function that, the first time, puts another port in the place of the one that died. */
static struct port *successor;

static bool watch_successor(uint64_t name)
{
    (void)name;
    if (death_count == 0) {
        kern_server_unwatch(fake_server.instance, watched_port);
        EXPECT_EQUAL(kern_server_watch(fake_server.instance, successor), 0);
    }
    __atomic_add_fetch(&death_count, 1, __ATOMIC_RELEASE);
    return true;
}

static void a_death_function_may_watch_another_port(void)
{
    struct fake_loader loader;
    struct loader_reservation reserved;
    struct port *com = loader_open_server(&loader, &reserved);
    struct server_command death =
        loader_command(SERVER_PORT_DEATH_PROC, 0, (uintptr_t)watch_successor, 0);
    int deaths;

    death_count = 0;
    EXPECT_EQUAL(
        test_call_status(&loader.node.host, com, SERVER_PORT_DEATH_PROC, &death, sizeof(death)), 0);
    REQUIRE(port_create(&loader.node.host, &watched_port) == ERROR_NONE);
    REQUIRE(port_create(&loader.node.host, &successor) == ERROR_NONE);
    port_retain(watched_port);
    EXPECT_EQUAL(com_watch(&loader, com, 0), 0);
    port_destroy(watched_port);
    deaths = 1;
    EXPECT(test_wait(a_death_was_told, &deaths));
    port_release(watched_port);
    port_destroy(successor);
    deaths = 2;
    EXPECT(test_wait(a_death_was_told, &deaths));
    port_release(com);
    loader_close(&loader);
}

/* --- Giving up -------------------------------------------------------------------------------- */

static int give_up(uintptr_t argument)
{
    (void)argument;
    kern_server_panic(fake_server.instance, "out of \"luck\"");
    kern_server_panic(fake_server.instance, "again");
    return 0;
}

static void a_server_that_gives_up_is_not_served_and_told_once(void)
{
    struct fake_loader loader;
    struct loader_reservation reserved;
    struct port *com = loader_open_server(&loader, &reserved);
    struct port *port = loader_port(&loader, &reserved, 0);
    struct server_command body = loader_command(SERVER_CALL, 0, (uintptr_t)give_up, 0);
    struct loader_panic told;

    EXPECT_EQUAL(test_call_status(&loader.node.host, com, SERVER_CALL, &body, sizeof(body)), 0);
    EXPECT_EQUAL(loader_expect(&loader, LOADER_PANIC, &told, sizeof(told)), (long)sizeof(told));
    EXPECT(le32_load(told.server_id) == reserved.id && strcmp(told.text, "out of \"luck\"") == 0);
    EXPECT(loader_has_state(&loader, reserved.id, SERVER_FAILED));
    loader_post(&loader, port, KERNEL_ECHO, MACH_MSG_SUCCESS);
    EXPECT(port_has_messages(port) && !port_has_messages(loader.inbox));
    EXPECT_EQUAL(loader_unload(&loader, reserved.id, 0, NULL, 0).status, 0);
    EXPECT(loader_has_state(&loader, reserved.id, SERVER_ALLOCATED) && port_has_messages(port));
    port_release(port);
    port_release(com);
    loader_close(&loader);
}

static const struct unit_test server_service_tests[] = {
    {"what a server logs reaches the one who asked", what_a_server_logs_reaches_the_one_who_asked},
    {"callouts run in order and are bounded", callouts_run_in_order_and_are_bounded},
    {"the death of a watched port is told once", the_death_of_a_watched_port_is_told_once},
    {"a death function may watch another port", a_death_function_may_watch_another_port},
    {"a server that gives up is not served, and told once",
     a_server_that_gives_up_is_not_served_and_told_once},
};
UNIT_SUITE("server_services", server_service_tests);
