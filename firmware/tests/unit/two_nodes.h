/* SPDX-License-Identifier: MIT
 *
 * Two nodes with link managers and the cable between them: link_network.h's most usual case.
 */
#ifndef TWO_NODES_H
#define TWO_NODES_H

#include "link_network.h"

struct two {
    struct memory_cable *cable;
    struct network_node *nodes[2];
};

/* Not running, the cable cut. Nodes 1 and 2 in their first lives; the same as mortals, see
 * network_mortal_create(); any others, which are taken over. */
struct two two_create(enum boot_link_kind kind);
struct two two_mortals(enum boot_link_kind kind);
struct two two_of(enum boot_link_kind kind, struct network_node *first,
                  struct network_node *second);
void two_destroy(struct two *two);

/* Splice the cable, start both, and wait until it is up in both directions. */
void two_start(struct two *two);

#endif
