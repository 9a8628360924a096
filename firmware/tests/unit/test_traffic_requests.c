/* SPDX-License-Identifier: MIT
 *
 * Requests to the traffic server that make no sense, and a start without memory.
 */
#include "traffic_client.h"
#include "unit.h"
#include <abi/flipc.h>

static void test_hostile_starts(void)
{
    struct traffic_client client;
    struct stream_plan plan;
    uint8_t zeros[128] = {0};

    client_open(&client);
    const struct stream_plan good = client_plan_to(client.name);
    for (size_t size = 0; size < sizeof(zeros); size++) {
        if (size != sizeof(plan)) {
            EXPECT(client_status(&client, TRAFFIC_START, zeros, size) == ERROR_INVALID);
        }
    }
    EXPECT(client_start(&client, (const struct stream_plan *)(const void *)zeros) == ERROR_INVALID);
    plan = good;
    plan.size_bytes = 47;
    EXPECT(client_start(&client, &plan) == ERROR_INVALID);
    plan.size_bytes = MESSAGE_BODY_MAXIMUM + 1;
    EXPECT(client_start(&client, &plan) == ERROR_INVALID);
    plan = good;
    plan.window = 0;
    EXPECT(client_start(&client, &plan) == ERROR_INVALID);
    plan.window = 65;
    EXPECT(client_start(&client, &plan) == ERROR_INVALID);
    plan = good;
    plan.check = 2;
    EXPECT(client_start(&client, &plan) == ERROR_INVALID);
    plan = good;
    plan.stream_id |= 1ull << 63;
    EXPECT(client_start(&client, &plan) == ERROR_INVALID);
    plan = good;
    plan.destination = NAME_MAKE(1, 9, 12345);
    EXPECT(client_start(&client, &plan) == ERROR_NOT_FOUND);
    plan.destination = NAME_NULL;
    EXPECT(client_start(&client, &plan) == ERROR_NOT_FOUND);
    plan = good;
    EXPECT(client_start(&client, &plan) == ERROR_NONE);
    EXPECT(client_start(&client, &plan) == ERROR_EXISTS);
    client_close(&client);
}

static void test_hostile_requests(void)
{
    struct traffic_client client;
    uint8_t zeros[64] = {0};

    client_open(&client);
    for (int32_t id = TRAFFIC_STOP; id <= TRAFFIC_CLOSE; id++) {
        for (size_t size = 0; size < sizeof(zeros); size++) {
            EXPECT(client_status(&client, id, zeros, size) < 0);
        }
    }
    EXPECT(client_status(&client, 2299, zeros, 8) == ERROR_INVALID);
    EXPECT(client_stop(&client, CLIENT_STREAM, 0).status == ERROR_NOT_FOUND);
    EXPECT(client_close_stream(&client, CLIENT_STREAM, BLACKBOX_LEDGER_SOURCE) == ERROR_NOT_FOUND);
    EXPECT(client_close_stream(&client, CLIENT_STREAM, BLACKBOX_LEDGER_SINK) == ERROR_NOT_FOUND);
    EXPECT(client_close_stream(&client, CLIENT_STREAM, 7) == ERROR_INVALID);
    client_close(&client);
}

static void test_a_start_without_memory_leaves_nothing(void)
{
    struct traffic_client client;
    struct stream_plan plan;
    int error = ERROR_NO_MEMORY;

    client_open(&client);
    plan = client_plan_to(client.name);
    plan.count = 1;
    for (uint64_t n = 1; error != ERROR_NONE && n < 50; n++) {
        /* Take the call's own allocations out of the way: the request and its reply port come
         * first. */
        heap_fail_after(&client.node.host, n + 2, false);
        error = client_start(&client, &plan);
        heap_fail_after(&client.node.host, 0, false);
        EXPECT(error == ERROR_NONE || error == ERROR_NO_MEMORY || error == 1);
    }
    client_wait_closed(&client);
    EXPECT(client_ledger(&client, CLIENT_STREAM, BLACKBOX_LEDGER_SOURCE).acked == 1);
    client_close(&client);
}

static const struct unit_test request_tests[] = {
    {"hostile starts", test_hostile_starts},
    {"hostile requests", test_hostile_requests},
    {"a start without memory leaves nothing", test_a_start_without_memory_leaves_nothing},
};
UNIT_SUITE("traffic_requests", request_tests);
