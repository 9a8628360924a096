/* SPDX-License-Identifier: MIT
 *
 * Several hosts for unit tests, each of which knows every other, joined by hand: a test moves the
 * messages. Ids are 1 .. count; an index is an id less one. No threads, no clock.
 */
#ifndef MESH_H
#define MESH_H

#include "hosts.h"

#define MESH_MAXIMUM 4

struct mesh {
    unsigned count;
    struct mach_host *hosts[MESH_MAXIMUM];
    mnl_node_info_t nodes[MESH_MAXIMUM][MESH_MAXIMUM]; /* [at][of] */
    uint64_t lives[MESH_MAXIMUM];                      /* launch numbers */
    bool cut[MESH_MAXIMUM][MESH_MAXIMUM];              /* [from][to]: nothing is moved */
};

struct mesh mesh_create(unsigned count);
/* Ends everything and expects that nothing is left. */
void mesh_destroy(struct mesh *mesh);

/* A new port of a host. */
struct port *mesh_port(struct mesh *mesh, unsigned which);

/* Move one message, or everything until nothing moves. */
bool mesh_move_one(struct mesh *mesh, unsigned from, unsigned to);
void mesh_settle(struct mesh *mesh);

/* Tell `to` what `from` has settled, and no more. */
void mesh_headers(struct mesh *mesh, unsigned from, unsigned to);

/* Tell the others that the node is dead; then begin its next life, empty. */
void mesh_kill(struct mesh *mesh, unsigned which);

/* Expect that a host has nothing but what every host has. */
void mesh_expect_empty(struct mesh *mesh, unsigned which);

/* Send a right to the door of host `to`; take the right of the next message at a door, null: dead. */
void mesh_send_right(struct mesh *mesh, unsigned from, struct port *port,
                     enum port_transfer transfer, unsigned to);
struct port *mesh_take_right(struct mesh *mesh, unsigned at, enum port_disposition right);

/* The same at once, with everything moved before and after. */
struct port *mesh_give_right(struct mesh *mesh, unsigned from, struct port *port,
                             enum port_transfer transfer, unsigned to);

/* A send right at host `to` to a port of host `from`, brought there by a message. */
struct port *mesh_give(struct mesh *mesh, unsigned from, struct port *port, unsigned to);

/* The port on which each host receives what others give it; made when first needed. */
struct port *mesh_door(struct mesh *mesh, unsigned which);

#endif
