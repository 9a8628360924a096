/* SPDX-License-Identifier: MIT
 *
 * The registry of kernel servers, with servers that only count.
 */
#include "unit.h"
#include "whole_node.h"

#include <kernel/server_module.h>
#include <kernel/service.h>

#define ARENA_BYTES (1u << 20)

struct counter {
    int loads;
    int unloads;
    int load_error;
};

static struct counter counter;

static int counting_load(struct mach_host *host, void **instance)
{
    (void)host;
    counter.loads++;
    *instance = &counter;
    return counter.load_error;
}

static void counting_unload(struct mach_host *host, void *instance)
{
    (void)host;
    EXPECT(instance == &counter);
    counter.unloads++;
}

static struct port *no_port(void *instance)
{
    (void)instance;
    return NULL;
}

static struct port *passing;

static int passing_load(struct mach_host *host, void **instance)
{
    (void)instance;
    return port_create(host, &passing);
}

static void passing_unload(struct mach_host *host, void *instance)
{
    (void)host;
    (void)instance;
    port_destroy(passing);
}

static struct port *passing_port(void *instance)
{
    (void)instance;
    return passing;
}

static const struct phy_operations test_phy = {.kind = "test-cable", .mtu = 256};

static const struct kern_server counting_server = {.name = "test-counting",
                                                   .version = 3,
                                                   .load = counting_load,
                                                   .unload = counting_unload,
                                                   .service_port = no_port};
KERN_SERVER(counting_server);

static const struct kern_server permanent_server = {.name = "test-permanent", .phy = &test_phy};
KERN_SERVER(permanent_server);

static void node_open(struct test_node *node)
{
    counter = (struct counter){.loads = 0};
    test_node_open(node, 1, 1, ARENA_BYTES, false);
}

static void test_the_image_has_a_table(void)
{
    EXPECT(kern_server_find("test-counting") == &counting_server);
    EXPECT(kern_server_find("echo") != NULL);
    EXPECT(kern_server_find("traffic") != NULL);
    EXPECT(kern_server_find("test-count") == NULL);
    EXPECT(kern_server_find("") == NULL);
    EXPECT(kern_server_find_phy("test-cable") == &test_phy);
    EXPECT(kern_server_find_phy("test-counting") == NULL);
}

static void test_load_and_unload_once(void)
{
    struct test_node node;

    node_open(&node);
    EXPECT(kern_server_load(&node.host, "test-counting") == ERROR_NONE);
    EXPECT(kern_server_load(&node.host, "test-counting") == ERROR_EXISTS);
    EXPECT(counter.loads == 1);
    EXPECT(kern_server_service_name(&node.host, "test-counting") == 0);
    EXPECT(kern_server_unload(&node.host, "test-counting") == ERROR_NONE);
    EXPECT(kern_server_unload(&node.host, "test-counting") == ERROR_NOT_FOUND);
    EXPECT(counter.unloads == 1);
    EXPECT(kern_server_load(&node.host, "test-counting") == ERROR_NONE);
    EXPECT(counter.loads == 2);
    test_node_close(&node);
    EXPECT(counter.unloads == 2);
}

static const struct kern_server passing_server = {.name = "test-passing",
                                                  .load = passing_load,
                                                  .unload = passing_unload,
                                                  .service_port = passing_port};
KERN_SERVER(passing_server);

static struct kmsg *question(struct test_node *node)
{
    struct kmsg *message = kmsg_allocate(&node->host, 8);

    EXPECT(message != NULL);
    kmsg_set_id(message, 77);
    return message;
}

/* What comes to a declared port goes on to the record's own, or is answered. */
static void test_a_message_is_passed_on(void)
{
    struct test_node node;
    struct port *declared;
    struct port *reply;
    struct kmsg *message;

    node_open(&node);
    EXPECT(port_create(&node.host, &declared) == ERROR_NONE);
    EXPECT(port_create(&node.host, &reply) == ERROR_NONE);
    EXPECT(port_name(reply) != 0);
    size_t used = heap_statistics(&node.host).used_bytes;
    for (int loaded = 0; loaded < 2; loaded++) {
        if (loaded) {
            EXPECT(kern_server_load(&node.host, "test-passing") == ERROR_NONE);
        }
        EXPECT(mach_msg_send(question(&node), declared, reply, PORT_SEND_ONCE, 0) ==
               MACH_MSG_SUCCESS);
        EXPECT(mach_msg_receive(declared, &message, 0) == MACH_MSG_SUCCESS);
        kern_server_pass(message, (uintptr_t)&passing_server);
    }
    EXPECT(mach_msg_receive(reply, &message, 0) == MACH_MSG_SUCCESS); /* to the first one */
    EXPECT(kmsg_id(message) == 77 + SERVICE_REPLY_OFFSET);
    kmsg_free(message);
    EXPECT(mach_msg_receive(passing, &message, 0) == MACH_MSG_SUCCESS);
    EXPECT(kmsg_id(message) == 77);
    EXPECT(kmsg_reply_disposition(message) == PORT_SEND_ONCE);
    service_answer_status(&node.host, message, ERROR_NONE);
    EXPECT(mach_msg_receive(reply, &message, 0) == MACH_MSG_SUCCESS);
    kmsg_free(message);
    EXPECT(kern_server_unload(&node.host, "test-passing") == ERROR_NONE);
    EXPECT(heap_statistics(&node.host).used_bytes == used);
    port_destroy(declared);
    port_destroy(reply);
    test_node_close(&node);
}

static void test_an_unknown_server_is_not_found(void)
{
    struct test_node node;

    node_open(&node);
    EXPECT(kern_server_load(&node.host, "nothing") == ERROR_NOT_FOUND);
    EXPECT(kern_server_unload(&node.host, "nothing") == ERROR_NOT_FOUND);
    EXPECT(kern_server_service_name(&node.host, "nothing") == 0);
    test_node_close(&node);
}

static void test_a_driver_stays(void)
{
    struct test_node node;

    node_open(&node);
    EXPECT(kern_server_load(&node.host, "test-permanent") == ERROR_NONE);
    EXPECT(kern_server_unload(&node.host, "test-permanent") == ERROR_UNSUPPORTED);
    test_node_close(&node);
}

static void test_a_failed_load_leaves_nothing(void)
{
    struct test_node node;

    node_open(&node);
    size_t used = heap_statistics(&node.host).used_bytes;
    counter.load_error = ERROR_FULL;
    EXPECT(kern_server_load(&node.host, "test-counting") == ERROR_FULL);
    EXPECT(heap_statistics(&node.host).used_bytes == used);
    counter.load_error = ERROR_NONE;
    heap_fail_after(&node.host, 1, false);
    EXPECT(kern_server_load(&node.host, "test-counting") == ERROR_NO_MEMORY);
    EXPECT(kern_server_load(&node.host, "test-counting") == ERROR_NONE);
    test_node_close(&node);
}

static void test_real_servers_fail_cleanly_without_memory(void)
{
    static const char *const names[] = {"echo", "traffic"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct test_node node;
        node_open(&node);
        size_t used = heap_statistics(&node.host).used_bytes;
        int error = ERROR_NO_MEMORY;
        for (uint64_t n = 1; error != ERROR_NONE && n < 100; n++) {
            heap_fail_after(&node.host, n, false);
            error = kern_server_load(&node.host, names[i]);
            EXPECT(error == ERROR_NONE || error == ERROR_NO_MEMORY);
            EXPECT(error == ERROR_NONE || heap_statistics(&node.host).used_bytes == used);
        }
        heap_fail_after(&node.host, 0, false);
        EXPECT(error == ERROR_NONE);
        EXPECT(kern_server_service_name(&node.host, names[i]) != 0);
        EXPECT(kern_server_unload(&node.host, names[i]) == ERROR_NONE);
        EXPECT(heap_statistics(&node.host).used_bytes == used);
        test_node_close(&node);
    }
}

static const struct unit_test kern_server_tests[] = {
    {"the image has a table", test_the_image_has_a_table},
    {"load and unload once", test_load_and_unload_once},
    {"a message is passed on", test_a_message_is_passed_on},
    {"an unknown server is not found", test_an_unknown_server_is_not_found},
    {"a driver stays", test_a_driver_stays},
    {"a failed load leaves nothing", test_a_failed_load_leaves_nothing},
    {"real servers fail cleanly without memory", test_real_servers_fail_cleanly_without_memory},
};
UNIT_SUITE("kern_server", kern_server_tests);
