/* SPDX-License-Identifier: MIT
 *
 * What a sink of the traffic server makes of messages that the test made by hand: repeated,
 * missing, corrupt, of no stream.
 */
#include "native.h"
#include "traffic_client.h"
#include "unit.h"
#include <string.h>

struct crafted {
    struct traffic_header header;
    uint8_t content[16];
};

static struct crafted craft(uint64_t stream_id, uint64_t sequence)
{
    struct crafted message = {.content = {0}};
    struct traffic_header header = {.check = le32_of(TRAFFIC_CHECK_CONTENT),
                                    .stream_id = le64_of(stream_id),
                                    .sequence = le64_of(sequence),
                                    .source_incarnation = le64_of(CLIENT_INCARNATION),
                                    .seed = le64_of(5)};

    traffic_content_write(&message, sizeof(message), &header);
    return message;
}

static void data_send(struct traffic_client *client, const void *body, size_t len_bytes)
{
    struct kmsg *message = kmsg_allocate(&client->node.host, len_bytes);

    EXPECT(message != NULL);
    memcpy(kmsg_body(message), body, len_bytes);
    kmsg_set_id(message, TRAFFIC_DATA);
    EXPECT(mach_msg_send(message, client->port, NULL, PORT_NONE, DEADLINE_NEVER) ==
           MACH_MSG_SUCCESS);
}

static void sequence_send(struct traffic_client *client, uint64_t sequence)
{
    struct crafted message = craft(CLIENT_STREAM, sequence);

    data_send(client, &message, sizeof(message));
}

static void test_duplicates_are_counted(void)
{
    struct traffic_client client;

    client_open(&client);
    sequence_send(&client, 0);
    sequence_send(&client, 1);
    uint64_t hash = client_sink(&client).running_hash;
    sequence_send(&client, 1);
    sequence_send(&client, 0);
    struct native_ledger ledger = client_sink(&client);
    EXPECT(ledger.received == 2 && ledger.duplicates == 2 && ledger.gaps == 0);
    EXPECT(ledger.next_sequence == 2 && ledger.running_hash == hash);
    client_close(&client);
}

static void test_gaps_are_counted(void)
{
    struct traffic_client client;

    client_open(&client);
    sequence_send(&client, 3); /* also when it is the first */
    sequence_send(&client, 4);
    sequence_send(&client, 9);
    sequence_send(&client, 5); /* late: below the next expected */
    struct native_ledger ledger = client_sink(&client);
    EXPECT(ledger.received == 3 && ledger.gaps == 7 && ledger.duplicates == 1);
    EXPECT(ledger.next_sequence == 10);
    EXPECT(ledger.received + ledger.gaps == ledger.next_sequence);
    client_close(&client);
}

static void test_corrupt_messages_change_nothing_else(void)
{
    struct traffic_client client;

    client_open(&client);
    sequence_send(&client, 0);
    struct native_ledger before = client_sink(&client);
    struct crafted message = craft(CLIENT_STREAM, 1);
    message.content[7] ^= 1;
    data_send(&client, &message, sizeof(message));
    message = craft(CLIENT_STREAM, 1);
    le64_add(&message.header.source_incarnation, 1); /* speaks for another life */
    data_send(&client, &message, sizeof(message));
    message = craft(CLIENT_STREAM, 1);
    le64_add(&message.header.seed, 1);
    traffic_content_write(&message, sizeof(message), &message.header); /* of another stream */
    data_send(&client, &message, sizeof(message));
    struct native_ledger after = client_sink(&client);
    EXPECT(after.corrupt == 3);
    after.corrupt = before.corrupt;
    EXPECT(memcmp(&before, &after, sizeof(after)) == 0);
    sequence_send(&client, 1);
    EXPECT(client_sink(&client).received == 2 && client_sink(&client).gaps == 0);
    client_close(&client);
}

struct refusals_wanted {
    struct traffic_client *client;
    uint64_t count;
};

static bool has_refused(void *context)
{
    struct refusals_wanted *wanted = context;
    struct test_event last;

    return test_node_count_events(&wanted->client->node, BLACKBOX_EVENT_STREAM_REFUSED, &last) !=
               0 &&
           last.arg1 == wanted->count;
}

static void test_what_has_no_ledger_is_told(void)
{
    struct traffic_client client;
    struct crafted message = craft(CLIENT_STREAM, 0);

    client_open(&client);
    data_send(&client, &message, 0);
    data_send(&client, &message, sizeof(message.header) - 1);
    STORE(message.header.magic, ~TRAFFIC_MAGIC);
    data_send(&client, &message, sizeof(message));
    message = craft(CLIENT_STREAM, 0);
    STORE(message.header.check, 2);
    data_send(&client, &message, sizeof(message));
    message = craft(CLIENT_STREAM | 1ull << 63, 0);
    data_send(&client, &message, sizeof(message));
    message = craft(CLIENT_STREAM, 0);
    message.content[0] ^= 1; /* a stream does not begin with a message that nobody sent */
    data_send(&client, &message, sizeof(message));
    struct refusals_wanted wanted = {.client = &client, .count = 6};
    EXPECT(test_wait(has_refused, &wanted));
    for (uint32_t i = 0; i < BLACKBOX_LEDGER_COUNT; i++) {
        EXPECT(NATIVE(test_node_ledgers(&client.node)[i].role) == BLACKBOX_LEDGER_FREE);
    }
    client_close(&client);
}

static void test_the_65th_stream_is_refused(void)
{
    struct traffic_client client;
    struct stream_plan plan;
    struct test_event last;

    client_open(&client);
    for (uint64_t i = 0; i < BLACKBOX_LEDGER_COUNT; i++) {
        struct crafted message = craft(i, 0);
        data_send(&client, &message, sizeof(message));
    }
    struct crafted message = craft(100, 0);
    data_send(&client, &message, sizeof(message));
    plan = client_plan_to(client.name);
    plan.stream_id = 101;
    EXPECT(client_start(&client, &plan) == ERROR_FULL);
    struct refusals_wanted wanted = {.client = &client, .count = 1};
    EXPECT(test_wait(has_refused, &wanted));
    (void)test_node_count_events(&client.node, BLACKBOX_EVENT_STREAM_REFUSED, &last);
    EXPECT(last.arg0 == 100 && last.arg2 == CLIENT_INCARNATION && last.peer == 1);
    EXPECT(client_close_stream(&client, 7, BLACKBOX_LEDGER_SINK) == ERROR_NONE);
    data_send(&client, &message, sizeof(message)); /* there is room again */
    EXPECT(client_ledger(&client, 100, BLACKBOX_LEDGER_SINK).received == 1);
    client_close(&client);
}

static const struct unit_test sink_tests[] = {
    {"duplicates are counted", test_duplicates_are_counted},
    {"gaps are counted", test_gaps_are_counted},
    {"corrupt messages change nothing else", test_corrupt_messages_change_nothing_else},
    {"what has no ledger is told", test_what_has_no_ledger_is_told},
    {"the 65th stream is refused", test_the_65th_stream_is_refused},
};
UNIT_SUITE("traffic_sink", sink_tests);
