/* SPDX-License-Identifier: MIT
 *
 * Two nodes and a cable; see two_nodes.h.
 */
#include "two_nodes.h"
#include "hosts.h"
#include "unit.h"

struct two two_of(enum boot_link_kind kind, struct network_node *first, struct network_node *second)
{
    struct two two = {.cable = memory_cable_create(0, kind, 1), .nodes = {first, second}};

    for (int i = 0; i < 2; i++)
        network_plug(two.nodes[i], two.cable, i, two.nodes[1 - i]->node_id);
    return two;
}

struct two two_create(enum boot_link_kind kind)
{
    return two_of(kind, network_node_create(1, TEST_INCARNATION(1)),
                  network_node_create(2, TEST_INCARNATION(1)));
}

struct two two_mortals(enum boot_link_kind kind)
{
    return two_of(kind, network_mortal_create(1, TEST_INCARNATION(1)),
                  network_mortal_create(2, TEST_INCARNATION(1)));
}

void two_start(struct two *two)
{
    memory_cable_splice(two->cable);
    network_start(two->nodes[0]);
    network_start(two->nodes[1]);
    REQUIRE(network_wait_up(two->nodes[0], 0));
    REQUIRE(network_wait_up(two->nodes[1], 0));
}

void two_destroy(struct two *two)
{
    network_node_destroy(two->nodes[0]);
    network_node_destroy(two->nodes[1]);
    memory_cable_destroy(two->cable);
}
