/* SPDX-License-Identifier: MIT
 *
 * A whole node in this process for tests: host, black box, kernel service, servers; two of them
 * joined by a link in memory; and a client that calls services.
 */
#ifndef WHOLE_NODE_H
#define WHOLE_NODE_H

#include <abi/blackbox.h>
#include <abi/boot.h>
#include <kernel/blackbox.h>
#include <kernel/host.h>
#include <kernel/ipc.h>
#include <kernel/kern_server.h>
#include <kernel/kernel_service.h>
#include <kernel/mach_node_link.h>

#define TEST_SECOND_NS 1000000000ull
#define TEST_CALL_NS (10 * TEST_SECOND_NS) /* longer than any call takes */

struct test_node {
    struct mach_host host;
    void *arena;
    uint8_t *box;
    struct kernel_service *service;
    uint32_t panics; /* asked for through the kernel service */
    uint32_t hangs;
    uint32_t asked_by;
};

/* Bring up node `node_id` with `arena_bytes` of heap; `trace`: an event for every traffic message.
 * Makes it the host of the calling thread. Aborts the test program on failure: nothing else could
 * be tested. */
void test_node_open(struct test_node *node, uint32_t node_id, uint64_t incarnation,
                    size_t arena_bytes, bool trace);

/* Take everything down, servers first. */
void test_node_close(struct test_node *node);

const struct blackbox_header *test_node_header(const struct test_node *node);
const struct blackbox_event *test_node_events(const struct test_node *node);
struct blackbox_ledger *test_node_ledgers(const struct test_node *node);

/* An event that was read out of the box. */
struct test_event {
    uint16_t kind;
    uint16_t link;
    uint32_t peer;
    uint64_t arg0;
    uint64_t arg1;
    uint64_t arg2;
};

/* Number of events of a kind in the box, up to its size; `last` (may be null) gets the newest. */
uint32_t test_node_count_events(const struct test_node *node, uint16_t kind,
                                struct test_event *last);

/* Call a service and wait for its answer. Returns the answer's body size, or -1: no answer in time,
 * or another id. */
long test_call(struct mach_host *host, struct port *port, int32_t id, const void *body,
               size_t len_bytes, void *answer, size_t answer_bytes);

/* The status that begins an answer; 1: there was no answer. */
int test_call_status(struct mach_host *host, struct port *port, int32_t id, const void *body,
                     size_t len_bytes);

/* Two nodes joined through mnl_* by a thread a direction. */
struct test_cable {
    struct test_node *nodes[2];
    mnl_node_info_t peers[2]; /* peers[i]: the other node as nodes[i] knows it */
    struct thread *threads[2];
    struct test_cable_end {
        struct test_cable *cable;
        uint32_t from;
    } ends[2];
    bool stop;
};

void test_cable_open(struct test_cable *cable, struct test_node *a, struct test_node *b);
void test_cable_close(struct test_cable *cable);

/* Wait until `condition(context)` holds; false: it did not within ten seconds. */
bool test_wait(bool (*condition)(void *context), void *context);

#endif
