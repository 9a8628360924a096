/* SPDX-License-Identifier: MIT
 *
 * Small statements of docs/spec/gaps.md that no other test makes.
 */
#include "core/heap.h"
#include "core/kmsg.h"
#include "core/port.h"
#include "hosts.h"
#include "unit.h"
#include <stdlib.h>
#include <string.h>

/* From an arena that holds nothing to one that holds a host: each size fails whole or works. */
static void a_host_is_brought_up_whole_or_not_at_all(void)
{
    void *arena = aligned_alloc(16, TEST_ARENA_BYTES);
    unsigned failed = 0, worked = 0;

    REQUIRE(arena != NULL);
    for (size_t bytes = 4096; bytes <= 65536; bytes += 1024) {
        struct mach_host_configuration configuration = test_configuration(1, 1);
        struct mach_host *host = malloc(sizeof(*host));
        int error;

        configuration.arena = arena;
        configuration.arena_bytes = bytes;
        REQUIRE(host != NULL);
        error = mach_host_initialize(host, &configuration);
        if (error != 0) {
            EXPECT(error == ERROR_NO_MEMORY || error == ERROR_INVALID);
            failed++;
        } else {
            thread_set_host(host);
            mnl_node_release(mnl_instantiate(2, 0), 0);
            thread_set_host(NULL);
            mach_host_destroy(host);
            worked++;
        }
        free(host);
    }
    EXPECT(failed != 0 && worked != 0);
    free(arena);
}

static void without_memory_there_is_no_node_and_registering_needs_none(void)
{
    struct mach_host *host = test_host_create(1, 1);
    mnl_node_info_t node = test_node_instantiate(2);

    heap_fail_after(host, 1, true);
    EXPECT(mnl_instantiate(3, 0) == MNL_NODE_NULL);
    EXPECT(mnl_msg_alloc(8, 0) == MNL_MSG_NULL);
    EXPECT_EQUAL(mnl_register(node, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_set_link_state(node, MNL_LINK_UP, 0), KERN_SUCCESS);
    EXPECT_EQUAL(mnl_terminate(node, 0), KERN_SUCCESS);
    heap_fail_after(host, 0, false);
    mnl_node_release(node, 0);
    test_host_destroy(host);
}

/* Ports behind this one in its bucket of the name table. */
static unsigned chain_behind(const struct port *port)
{
    unsigned count = 0;

    for (port = port->name_next; port != NULL; port = port->name_next)
        count++;
    return count;
}

/* Names of one node differ in few bits; a lookup must not walk them all. */
static void the_names_of_one_node_are_spread(void)
{
    struct mach_host *host = test_host_create(1, 1);
    struct port *ports[512];

    for (unsigned i = 0; i < 512; i++) {
        REQUIRE(port_create(host, &ports[i]) == 0);
        REQUIRE(port_name(ports[i]) != 0);
    }
    for (unsigned i = 0; i < 512; i++)
        EXPECT(chain_behind(ports[i]) < 8);
    for (unsigned i = 0; i < 512; i++) {
        struct port *found = port_from_name(host, port_name(ports[i]));

        EXPECT(found == ports[i]);
        if (found != NULL)
            port_release(found);
        port_destroy(ports[i]);
    }
    test_host_destroy(host);
}

static void a_received_message_is_copied_and_its_buffer_left_alone(void)
{
    struct talk talk = talk_create();
    union {
        uint8_t bytes[256];
        struct mnl_msg msg;
    } buffer, before;
    mnl_msg_t fetched;
    size_t length;

    EXPECT_EQUAL(test_send(talk.proxy, 77), MACH_MSG_SUCCESS);
    fetched = pair_fetch(&talk.pair, 0);
    REQUIRE(fetched != MNL_MSG_NULL);
    length = sizeof(*fetched) + fetched->size;
    REQUIRE(length <= sizeof(buffer));
    memcpy(&buffer, fetched, length);
    memcpy(&before, fetched, length);
    mnl_msg_complete(talk.pair.nodes[0], fetched, 0);
    thread_set_host(talk.pair.hosts[1]);
    mnl_msg_from_node(talk.pair.nodes[1], &buffer.msg, 0);
    EXPECT(memcmp(&buffer, &before, length) == 0);
    memset(&buffer, 0xff, sizeof(buffer)); /* the driver uses it again */
    EXPECT(test_receive(talk.principal, 77));
    talk_destroy(&talk);
}

/* What a driver writes into a buffer does not decide how it is freed. */
static void a_buffer_is_freed_as_what_it_is(void)
{
    struct mach_host *host = test_host_create(1, 1);

    for (uint8_t cmd = 0; cmd < 8; cmd++) {
        mnl_msg_t msg = mnl_msg_alloc(64, 0);

        REQUIRE(msg != MNL_MSG_NULL);
        msg->sub = MNL_SUB_FLIPC;
        msg->cmd = cmd;
        msg->size = UINT32_MAX;
        mnl_msg_free(msg, 0);
    }
    EXPECT_EQUAL(test_statistics(host).messages, 0);
    test_host_destroy(host);
}

/* A block that held a message of another node holds none of its past when it is used again. */
static void a_reused_message_has_forgotten_its_source(void)
{
    struct talk talk = talk_create();
    struct mach_host *host = talk.pair.hosts[1];
    struct kmsg *kmsg;

    EXPECT_EQUAL(test_send(talk.proxy, 1), MACH_MSG_SUCCESS);
    EXPECT(pair_move_one(&talk.pair, 0));
    REQUIRE(mach_msg_receive(talk.principal, &kmsg, 0) == MACH_MSG_SUCCESS);
    EXPECT_EQUAL(kmsg_source_node(kmsg), 1);
    kmsg_free(kmsg);
    for (unsigned i = 0; i < 4; i++) {
        kmsg = test_message(host, i);
        EXPECT(kmsg->source == NULL && kmsg->remote == NULL && kmsg->local == NULL);
        EXPECT_EQUAL(kmsg_source_node(kmsg), 2);
        EXPECT(kmsg->completion == NULL && kmsg->held == 0);
        kmsg_free(kmsg);
    }
    talk_destroy(&talk);
}

static const struct unit_test row_tests[] = {
    {"a host is brought up whole or not at all", a_host_is_brought_up_whole_or_not_at_all},
    {"without memory there is no node, and registering needs none",
     without_memory_there_is_no_node_and_registering_needs_none},
    {"the names of one node are spread", the_names_of_one_node_are_spread},
    {"a received message is copied and its buffer left alone",
     a_received_message_is_copied_and_its_buffer_left_alone},
    {"a buffer is freed as what it is", a_buffer_is_freed_as_what_it_is},
    {"a reused message has forgotten its source", a_reused_message_has_forgotten_its_source},
};
UNIT_SUITE("rows", row_tests);
