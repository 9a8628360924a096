/* SPDX-License-Identifier: MIT
 *
 * Hosts for unit tests: one, or two that are joined by hand - a test moves each message itself, so
 * it decides what is lost, repeated or late. No threads, no clock.
 */
#ifndef HOSTS_H
#define HOSTS_H

#include <abi/flipc.h>
#include <kernel/host.h>
#include <kernel/ipc.h>
#include <kernel/mach_node_link.h>
#include <kernel/node.h>

#define TEST_ARENA_BYTES (8u << 20)
#define TEST_WINDOW 64u
#define TEST_ACK_COUNT 16u
#define TEST_ACK_DELAY_NS 100000u
#define TEST_KERNEL_PORT(host) NAME_WELL_KNOWN((host)->node_id, NAME_SERIAL_KERNEL)
#define TEST_INCARNATION(launch) ((uint64_t)(launch) << 32 | 1u)

/* A configuration with the usual constants; arena and arena_bytes are the caller's to set. */
struct mach_host_configuration test_configuration(uint32_t node_id, uint64_t incarnation);

/* A host of its own, made the current one of this thread; ended with everything that it allocated.
 */
struct mach_host *test_host_create(uint32_t node_id, uint64_t incarnation);
void test_host_destroy(struct mach_host *host);

/* A node of the current host as mnl_instantiate() gives it, its description filled in, not yet
 * registered. */
mnl_node_info_t test_node_instantiate(uint32_t node_id);

/* A node that is registered with `host`, both link bits up, its incarnation known. */
mnl_node_info_t test_node_create(struct mach_host *host, uint32_t node_id, uint64_t incarnation);

/* Two hosts (ids 1 and 2) that know each other. Index 0 or 1 is an end; `node` is what that end has
 * of the other. */
struct pair {
    struct mach_host *hosts[2];
    mnl_node_info_t nodes[2];
};

struct pair pair_create(void);
void pair_destroy(struct pair *pair);

/* Fetch what end `from` has to send (null: nothing), and give the other end a message as a link
 * would: header words, then the message, which is taken over. Returns what mnl_msg_take_from_node()
 * did. */
mnl_msg_t pair_fetch(struct pair *pair, int from);
mnl_msg_t pair_copy(struct pair *pair, int to, mnl_msg_t msg);
kern_return_t pair_deliver(struct pair *pair, int to, mnl_msg_t msg);

/* Move one message, acknowledge by headers only, everything until nothing moves. */
bool pair_move_one(struct pair *pair, int from);
void pair_headers(struct pair *pair, int from);
void pair_settle(struct pair *pair);

/* A message with a body of one number; send it to `port` without waiting; receive one without
 * waiting and check its number. */
struct kmsg *test_message(struct mach_host *host, uint64_t number);
mach_msg_return_t test_send(struct port *port, uint64_t number);
uint64_t test_number(struct kmsg *kmsg);
bool test_receive(struct port *port, uint64_t number);

/* An item that carries one port; whether the next message at a port, without waiting, is the
 * notification `id`. */
struct message_item test_port_item(struct port *port, enum port_transfer transfer);
bool test_notified(struct port *port, int32_t id);

/* Outcomes, counted by a message_completion whose context is this. */
struct outcomes {
    unsigned settled;
    unsigned failed;
    unsigned unknown;
};
void outcomes_count(void *context, enum message_outcome outcome);
mach_msg_return_t test_send_counted(struct port *port, uint64_t number, struct outcomes *outcomes);

/* A pair in which end 1 has a principal under the kernel's well-known name, and end 0 a proxy for
 * it. */
struct talk {
    struct pair pair;
    struct port *principal;
    struct port *proxy;
};

struct talk talk_create(void);
void talk_destroy(struct talk *talk); /* expects that nothing is left but what every host has */

/* Messages, ports, nodes and names that the host has. */
struct node_statistics test_statistics(struct mach_host *host);

#endif
