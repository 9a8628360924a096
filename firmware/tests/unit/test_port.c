/* SPDX-License-Identifier: MIT
 *
 * Ports, sets and messages within one host.
 */
#include "core/port.h"
#include "hosts.h"
#include "unit.h"

#define MS 1000000ull

static struct port *new_port(struct mach_host *host)
{
    struct port *port;

    REQUIRE(port_create(host, &port) == 0);
    return port;
}

static void messages_arrive_in_order(void)
{
    struct mach_host *host = test_host_create(1, 1);
    struct port *port = new_port(host);

    for (uint64_t i = 0; i < PORT_LIMIT_DEFAULT; i++)
        EXPECT_EQUAL(test_send(port, i), MACH_MSG_SUCCESS);
    for (uint64_t i = 0; i < PORT_LIMIT_DEFAULT; i++)
        EXPECT(test_receive(port, i));
    port_destroy(port);
    EXPECT_EQUAL(test_statistics(host).ports, 0);
    test_host_destroy(host);
}

static void a_full_queue_times_out_and_keeps_the_message(void)
{
    struct mach_host *host = test_host_create(1, 1);
    struct port *port = new_port(host);
    struct kmsg *kmsg;
    uint64_t start_ns;

    port_set_limit(port, 2);
    EXPECT_EQUAL(test_send(port, 0), MACH_MSG_SUCCESS);
    EXPECT_EQUAL(test_send(port, 1), MACH_MSG_SUCCESS);
    EXPECT_EQUAL(test_send(port, 2), MACH_SEND_TIMED_OUT);
    kmsg = test_message(host, 2);
    start_ns = clock_now_ns();
    EXPECT_EQUAL(mach_msg_send(kmsg, port, NULL, PORT_NONE, start_ns + 5 * MS),
                 MACH_SEND_TIMED_OUT);
    EXPECT(clock_now_ns() >= start_ns + 5 * MS);
    EXPECT_EQUAL(test_number(kmsg), 2);
    kmsg_free(kmsg);
    port_set_limit(port, 3);
    EXPECT_EQUAL(test_send(port, 3), MACH_MSG_SUCCESS);
    port_destroy(port);
    EXPECT_EQUAL(test_statistics(host).messages, 0);
    test_host_destroy(host);
}

static void an_empty_port_times_out(void)
{
    struct mach_host *host = test_host_create(1, 1);
    struct port *port = new_port(host);
    struct port_set *set;
    struct kmsg *kmsg;

    REQUIRE(port_set_create(host, &set) == 0);
    EXPECT_EQUAL(mach_msg_receive(port, &kmsg, 0), MACH_RCV_TIMED_OUT);
    EXPECT(kmsg == NULL);
    EXPECT_EQUAL(mach_msg_receive(port, &kmsg, clock_now_ns() + MS), MACH_RCV_TIMED_OUT);
    EXPECT_EQUAL(mach_msg_receive_set(set, &kmsg, 0), MACH_RCV_TIMED_OUT);
    EXPECT_EQUAL(mach_msg_receive_set(set, &kmsg, clock_now_ns() + MS), MACH_RCV_TIMED_OUT);
    port_set_destroy(set);
    port_destroy(port);
    test_host_destroy(host);
}

static void a_dead_port_fails_its_messages_and_refuses_new_ones(void)
{
    struct mach_host *host = test_host_create(1, 1);
    struct port *port = new_port(host);
    struct outcomes outcomes = {0};

    port_retain(port);
    EXPECT_EQUAL(test_send_counted(port, 0, &outcomes), MACH_MSG_SUCCESS);
    EXPECT_EQUAL(test_send_counted(port, 1, &outcomes), MACH_MSG_SUCCESS);
    EXPECT(test_receive(port, 0));
    EXPECT(!port_is_dead(port));
    port_destroy(port);
    EXPECT(port_is_dead(port));
    EXPECT_EQUAL(outcomes.settled, 1);
    EXPECT_EQUAL(outcomes.failed, 1);
    EXPECT_EQUAL(test_send_counted(port, 2, &outcomes), MACH_SEND_INVALID_DEST);
    EXPECT_EQUAL(outcomes.settled + outcomes.failed + outcomes.unknown, 2);
    EXPECT_EQUAL(port_name(port), 0);
    port_release(port);
    EXPECT_EQUAL(test_statistics(host).ports, 0);
    EXPECT_EQUAL(test_statistics(host).messages, 0);
    test_host_destroy(host);
}

static void a_reply_right_travels_with_its_disposition(void)
{
    struct mach_host *host = test_host_create(1, 1);
    struct port *server = new_port(host), *client = new_port(host), *reply;
    struct kmsg *kmsg = test_message(host, 1);

    EXPECT_EQUAL(mach_msg_send(kmsg, server, client, PORT_SEND_ONCE, 0), MACH_MSG_SUCCESS);
    EXPECT_EQUAL(mach_msg_receive(server, &kmsg, 0), MACH_MSG_SUCCESS);
    EXPECT_EQUAL(kmsg_reply_disposition(kmsg), PORT_SEND_ONCE);
    EXPECT_EQUAL(kmsg_source_node(kmsg), 1);
    reply = kmsg_take_reply_port(kmsg);
    EXPECT(reply == client);
    EXPECT(kmsg_take_reply_port(kmsg) == NULL);
    /* The same message is the answer. */
    EXPECT_EQUAL(mach_msg_reply(kmsg, reply, PORT_SEND_ONCE), MACH_MSG_SUCCESS);
    EXPECT_EQUAL(mach_msg_receive(client, &kmsg, 0), MACH_MSG_SUCCESS);
    EXPECT_EQUAL(kmsg_reply_disposition(kmsg), PORT_NONE);
    kmsg_free(kmsg);
    /* A right that nobody takes goes with its message. */
    kmsg = test_message(host, 2);
    EXPECT_EQUAL(mach_msg_send(kmsg, server, client, PORT_SEND, 0), MACH_MSG_SUCCESS);
    port_destroy(client);
    port_destroy(server);
    EXPECT_EQUAL(test_statistics(host).ports, 0);
    EXPECT_EQUAL(test_statistics(host).messages, 0);
    test_host_destroy(host);
}

static void body_sizes_are_bounded_by_what_was_allocated(void)
{
    struct mach_host *host = test_host_create(1, 1);
    struct kmsg *kmsg = kmsg_allocate(host, 100);

    EXPECT_EQUAL(kmsg_body_size(kmsg), 100);
    EXPECT_EQUAL(kmsg_set_body_size(kmsg, 0), 0);
    EXPECT_EQUAL(kmsg_body_size(kmsg), 0);
    EXPECT_EQUAL(kmsg_set_body_size(kmsg, 100), 0);
    EXPECT(kmsg_set_body_size(kmsg, 101) == ERROR_INVALID);
    EXPECT_EQUAL(kmsg_body_size(kmsg), 100);
    kmsg_free(kmsg);
    kmsg = kmsg_allocate(host, MESSAGE_BODY_MAXIMUM);
    EXPECT(kmsg != NULL);
    kmsg_free(kmsg);
    EXPECT(kmsg_allocate(host, MESSAGE_BODY_MAXIMUM + 1u) == NULL);
    kmsg_free(NULL);
    test_host_destroy(host);
}

static void members_of_a_set_take_turns(void)
{
    struct mach_host *host = test_host_create(1, 1);
    struct port *ports[3];
    struct port_set *set;
    struct kmsg *kmsg;

    REQUIRE(port_set_create(host, &set) == 0);
    for (uint64_t i = 0; i < 3; i++) {
        ports[i] = new_port(host);
        for (uint64_t k = 0; k < 3; k++)
            EXPECT_EQUAL(test_send(ports[i], 10 * k + i), MACH_MSG_SUCCESS);
        EXPECT_EQUAL(port_set_insert(set, ports[i]), 0);
    }
    EXPECT(port_set_insert(set, ports[0]) == ERROR_EXISTS);
    for (uint64_t k = 0; k < 3; k++) {
        for (uint64_t i = 0; i < 3; i++) {
            EXPECT_EQUAL(mach_msg_receive_set(set, &kmsg, 0), MACH_MSG_SUCCESS);
            EXPECT_EQUAL(test_number(kmsg), 10 * k + i);
            kmsg_free(kmsg);
        }
    }
    EXPECT_EQUAL(mach_msg_receive_set(set, &kmsg, 0), MACH_RCV_TIMED_OUT);
    /* A port that left, or died, brings nothing more. */
    port_set_remove(ports[0]);
    EXPECT_EQUAL(test_send(ports[0], 1), MACH_MSG_SUCCESS);
    EXPECT_EQUAL(test_send(ports[1], 2), MACH_MSG_SUCCESS);
    port_destroy(ports[1]);
    EXPECT_EQUAL(mach_msg_receive_set(set, &kmsg, 0), MACH_RCV_TIMED_OUT);
    EXPECT(test_receive(ports[0], 1));
    EXPECT_EQUAL(test_send(ports[2], 3), MACH_MSG_SUCCESS);
    port_set_destroy(set);
    EXPECT(test_receive(ports[2], 3));
    port_destroy(ports[0]);
    port_destroy(ports[2]);
    EXPECT_EQUAL(test_statistics(host).ports, 0);
    test_host_destroy(host);
}

/* --- Threads ---------------------------------------------------------------------------------- */

struct waiter {
    struct port *port;
    struct port_set *set;
    mach_msg_return_t result;
};

static void wait_in_receive(void *argument)
{
    struct waiter *waiter = argument;
    struct kmsg *kmsg;

    if (waiter->set != NULL)
        waiter->result = mach_msg_receive_set(waiter->set, &kmsg, DEADLINE_NEVER);
    else
        waiter->result = mach_msg_receive(waiter->port, &kmsg, DEADLINE_NEVER);
    kmsg_free(kmsg);
}

static void wait_in_send(void *argument)
{
    struct waiter *waiter = argument;
    struct kmsg *kmsg = test_message(thread_current_host(), 0);

    waiter->result = mach_msg_send(kmsg, waiter->port, NULL, PORT_NONE, DEADLINE_NEVER);
    if (waiter->result != MACH_MSG_SUCCESS)
        kmsg_free(kmsg);
}

/* Until so many threads wait: they tell under the lock before they do. */
static void await_count(struct mach_host *host, const uint32_t *count, uint32_t wanted)
{
    bool reached = false;

    while (!reached) {
        ipc_lock(host);
        reached = *count == wanted;
        ipc_unlock(host);
        thread_yield();
    }
}

static void everyone_who_waits_wakes_when_the_port_dies(void)
{
    struct mach_host *host = test_host_create(1, 1);
    struct waiter waiters[4] = {{0}};
    struct thread *threads[4];
    struct port *full = new_port(host), *empty = new_port(host);
    struct port_set *set;

    REQUIRE(port_set_create(host, &set) == 0);
    port_retain(full);
    port_set_limit(full, 1);
    EXPECT_EQUAL(test_send(full, 0), MACH_MSG_SUCCESS);
    waiters[0].port = waiters[1].port = full;
    waiters[2].port = empty;
    waiters[3].set = set;
    for (int i = 0; i < 4; i++)
        REQUIRE(thread_create(host, "waiter", i < 2 ? wait_in_send : wait_in_receive, &waiters[i],
                              &threads[i]) == 0);
    await_count(host, &full->senders_waiting, 2);
    await_count(host, &empty->receivers_waiting, 1);
    await_count(host, &set->receivers_waiting, 1);
    port_destroy(full);
    port_destroy(empty);
    port_set_destroy(set);
    for (int i = 0; i < 4; i++)
        thread_join(threads[i]);
    EXPECT_EQUAL(waiters[0].result, MACH_SEND_INVALID_DEST);
    EXPECT_EQUAL(waiters[1].result, MACH_SEND_INVALID_DEST);
    EXPECT_EQUAL(waiters[2].result, MACH_RCV_PORT_DIED);
    EXPECT_EQUAL(waiters[3].result, MACH_RCV_PORT_CHANGED);
    port_release(full);
    test_host_destroy(host);
}

/* More senders than messages: the room that a death makes is not for them. */
static void every_sender_that_waits_wakes_when_the_node_dies(void)
{
    struct mach_host *host = test_host_create(1, 1);
    mnl_node_info_t node = test_node_create(host, 2, 1);
    struct port *proxy = port_from_name(host, NAME_WELL_KNOWN(2, 1));
    struct waiter waiters[4] = {{0}};
    struct thread *threads[4];

    port_set_limit(proxy, 1);
    EXPECT_EQUAL(test_send(proxy, 0), MACH_MSG_SUCCESS);
    for (int i = 0; i < 4; i++) {
        waiters[i].port = proxy;
        REQUIRE(thread_create(host, "waiter", wait_in_send, &waiters[i], &threads[i]) == 0);
    }
    await_count(host, &proxy->senders_waiting, 4);
    EXPECT_EQUAL(mnl_terminate(node, 0), KERN_SUCCESS);
    for (int i = 0; i < 4; i++) {
        thread_join(threads[i]);
        EXPECT_EQUAL(waiters[i].result, MACH_SEND_INVALID_DEST);
    }
    port_release(proxy);
    mnl_node_release(node, 0);
    EXPECT_EQUAL(test_statistics(host).messages, 0);
    test_host_destroy(host);
}

#define STORM_MESSAGES 20000u
#define STORM_SENDERS 3u

struct storm_sender {
    struct port *port;
    uint64_t index;
    uint64_t received;
};

static void storm_send(void *argument)
{
    struct storm_sender *sender = argument;

    for (uint64_t i = 0; i < STORM_MESSAGES; i++) {
        struct kmsg *kmsg = test_message(thread_current_host(), sender->index << 32 | i);

        REQUIRE(mach_msg_send(kmsg, sender->port, NULL, PORT_NONE, DEADLINE_NEVER) ==
                MACH_MSG_SUCCESS);
    }
}

static void blocked_senders_go_on_when_there_is_room(void)
{
    struct mach_host *host = test_host_create(1, 1);
    struct port *port = new_port(host);
    struct storm_sender senders[STORM_SENDERS];
    struct thread *threads[STORM_SENDERS];
    bool ordered = true;

    port_set_limit(port, 3);
    for (uint64_t i = 0; i < STORM_SENDERS; i++) {
        senders[i] = (struct storm_sender){.port = port, .index = i};
        REQUIRE(thread_create(host, "sender", storm_send, &senders[i], &threads[i]) == 0);
    }
    for (unsigned i = 0; i < STORM_SENDERS * STORM_MESSAGES; i++) {
        struct kmsg *kmsg;
        uint64_t number;

        REQUIRE(mach_msg_receive(port, &kmsg, DEADLINE_NEVER) == MACH_MSG_SUCCESS);
        number = test_number(kmsg);
        kmsg_free(kmsg);
        ordered &= (uint32_t)number == senders[number >> 32].received++;
    }
    for (unsigned i = 0; i < STORM_SENDERS; i++)
        thread_join(threads[i]);
    EXPECT(ordered);
    port_destroy(port);
    EXPECT_EQUAL(test_statistics(host).messages, 0);
    test_host_destroy(host);
}

static const struct unit_test port_tests[] = {
    {"messages arrive in order", messages_arrive_in_order},
    {"a full queue times out and keeps the message", a_full_queue_times_out_and_keeps_the_message},
    {"an empty port times out", an_empty_port_times_out},
    {"a dead port fails its messages and refuses new ones",
     a_dead_port_fails_its_messages_and_refuses_new_ones},
    {"a reply right travels with its disposition", a_reply_right_travels_with_its_disposition},
    {"body sizes are bounded by what was allocated", body_sizes_are_bounded_by_what_was_allocated},
    {"members of a set take turns", members_of_a_set_take_turns},
    {"everyone who waits wakes when the port dies", everyone_who_waits_wakes_when_the_port_dies},
    {"every sender that waits wakes when the node dies",
     every_sender_that_waits_wakes_when_the_node_dies},
    {"blocked senders go on when there is room", blocked_senders_go_on_when_there_is_room},
};
UNIT_SUITE("port", port_tests);
