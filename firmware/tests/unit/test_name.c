/* SPDX-License-Identifier: MIT
 *
 * Names: uniqueness, well-known names, lives, and what a name finds.
 */
#include "hosts.h"
#include "unit.h"

static void names_are_unique_and_found_again(void)
{
    struct mach_host *host = test_host_create(3, TEST_INCARNATION(7));
    struct port *ports[500];

    for (uint32_t i = 0; i < 500; i++) {
        uint64_t name;

        REQUIRE(port_create(host, &ports[i]) == 0);
        name = port_name(ports[i]);
        EXPECT_EQUAL(NAME_NODE(name), 3);
        EXPECT_EQUAL(NAME_TAG(name), NAME_TAG_OF_INCARNATION(TEST_INCARNATION(7)));
        EXPECT_EQUAL(NAME_SERIAL(name), i + 1);
        EXPECT_EQUAL(port_name(ports[i]), name);
    }
    EXPECT_EQUAL(test_statistics(host).names, 500);
    for (uint32_t i = 0; i < 500; i++) {
        struct port *found = port_from_name(host, port_name(ports[i]));

        EXPECT(found == ports[i]);
        port_release(found);
    }
    for (uint32_t i = 0; i < 500; i++)
        port_destroy(ports[i]);
    EXPECT_EQUAL(test_statistics(host).names, 0);
    test_host_destroy(host);
}

static void the_name_of_a_dead_port_finds_nothing_and_is_never_given_again(void)
{
    struct mach_host *host = test_host_create(1, 1);
    struct port *port, *other;
    uint64_t name;

    REQUIRE(port_create(host, &port) == 0);
    name = port_name(port);
    port_destroy(port);
    EXPECT(port_from_name(host, name) == NULL);
    REQUIRE(port_create(host, &other) == 0);
    EXPECT(port_name(other) != name);
    port_destroy(other);
    test_host_destroy(host);
}

static void a_port_is_published_once_under_a_name_of_this_node(void)
{
    struct mach_host *host = test_host_create(2, 1);
    struct port *port, *other, *found;

    REQUIRE(port_create(host, &port) == 0);
    REQUIRE(port_create(host, &other) == 0);
    EXPECT(port_publish(port, NAME_WELL_KNOWN(1, NAME_SERIAL_KERNEL)) == ERROR_INVALID);
    EXPECT(port_publish(port, NAME_WELL_KNOWN(2, 0)) == ERROR_INVALID);
    EXPECT(port_publish(port, NAME_MAKE(2, 1, 2)) == ERROR_INVALID);
    EXPECT_EQUAL(port_publish(port, TEST_KERNEL_PORT(host)), 0);
    EXPECT(port_publish(port, NAME_WELL_KNOWN(2, NAME_SERIAL_BOOTSTRAP)) == ERROR_INVALID);
    EXPECT(port_publish(other, TEST_KERNEL_PORT(host)) == ERROR_EXISTS);
    found = port_from_name(host, TEST_KERNEL_PORT(host));
    EXPECT(found == port);
    port_release(found);
    port_destroy(port);
    EXPECT_EQUAL(port_publish(other, TEST_KERNEL_PORT(host)), 0);
    port_destroy(other);
    test_host_destroy(host);
}

static void names_of_other_nodes_need_a_living_node_of_that_life(void)
{
    struct mach_host *host = test_host_create(1, TEST_INCARNATION(1));
    uint64_t life = TEST_INCARNATION(5);
    uint64_t name = NAME_MAKE(2, NAME_TAG_OF_INCARNATION(life), 9);
    mnl_node_info_t node;
    struct port *port, *same;

    EXPECT(port_from_name(host, NAME_NULL) == NULL);
    EXPECT(port_from_name(host, NAME_WELL_KNOWN(2, 0)) == NULL);
    EXPECT(port_from_name(host, name) == NULL);
    EXPECT(port_from_name(host, NAME_WELL_KNOWN(63, 1)) == NULL);
    EXPECT(port_from_name(host, NAME_WELL_KNOWN(64, 1)) == NULL);
    node = test_node_create(host, 2, life);
    EXPECT(port_from_name(host, NAME_MAKE(2, NAME_TAG_OF_INCARNATION(TEST_INCARNATION(4)), 9)) ==
           NULL);
    port = port_from_name(host, name);
    same = port_from_name(host, name);
    EXPECT(port != NULL && port == same);
    EXPECT_EQUAL(port_name(port), name);
    port_release(same);
    port_release(port);
    EXPECT_EQUAL(test_statistics(host).ports, 0);
    EXPECT_EQUAL(test_statistics(host).names, 0);
    mnl_node_release(node, 0);
    EXPECT(port_from_name(host, name) == NULL);
    test_host_destroy(host);
}

static void neighbouring_lives_have_different_tags(void)
{
    for (uint64_t launch = 1; launch < 200; launch++) {
        for (uint64_t boot = 1; boot < 20; boot++) {
            uint16_t tag = NAME_TAG_OF_INCARNATION(launch << 32 | boot);

            EXPECT(tag != 0);
            EXPECT(tag != NAME_TAG_OF_INCARNATION(launch << 32 | (boot + 1)));
            for (uint64_t later = 1; later < 5; later++)
                EXPECT(tag != NAME_TAG_OF_INCARNATION((launch + 1) << 32 | later));
        }
    }
}

static const struct unit_test name_tests[] = {
    {"names are unique and found again", names_are_unique_and_found_again},
    {"the name of a dead port finds nothing and is never given again",
     the_name_of_a_dead_port_finds_nothing_and_is_never_given_again},
    {"a port is published once under a name of this node",
     a_port_is_published_once_under_a_name_of_this_node},
    {"names of other nodes need a living node of that life",
     names_of_other_nodes_need_a_living_node_of_that_life},
    {"neighbouring lives have different tags", neighbouring_lives_have_different_tags},
};
UNIT_SUITE("name", name_tests);
