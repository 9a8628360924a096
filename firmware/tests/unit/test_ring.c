/* SPDX-License-Identifier: MIT
 *
 * The shared-memory ring: each promise of docs/spec/cable.md section 1 on its own, then long random
 * runs of both ends with restarts, then two threads (which the thread sanitizer watches).
 */
#include "native.h"
#include "ring_bench.h"
#include "unit.h"
#include <pthread.h>
#include <sched.h>
#include <string.h>

#define SIZE 4096u

static void a_frame_arrives_as_written_and_in_order(void)
{
    struct ring_bench bench;
    uint64_t number;

    ring_bench_create(&bench, SIZE, 1);
    ring_bench_start(&bench, 7);
    for (uint64_t i = 0; i < 3; i++)
        EXPECT_EQUAL(ring_bench_write(&bench, i, 100 + (uint32_t)i, 0), 0);
    EXPECT(!ring_bench_read(&bench, &number)); /* not published yet */
    ring_producer_publish(&bench.producer);
    for (uint64_t i = 0; i < 3; i++) {
        EXPECT(ring_bench_read(&bench, &number));
        EXPECT_EQUAL(number, i);
    }
    EXPECT(!ring_bench_read(&bench, &number));
    ring_bench_destroy(&bench);
}

static void every_length_goes_round_the_end(void)
{
    struct ring_bench bench;
    uint64_t number, sent = 0;

    ring_bench_create(&bench, SIZE, 2);
    ring_bench_start(&bench, 7);
    for (uint32_t length = BENCH_FRAME_MINIMUM; length <= BENCH_FRAME_MAXIMUM; length++) {
        for (unsigned i = 0; i < 3; i++) {
            EXPECT_EQUAL(ring_bench_write(&bench, sent, length, 0), 0);
            ring_producer_publish(&bench.producer);
            EXPECT(ring_bench_read(&bench, &number));
            EXPECT_EQUAL(number, sent);
            sent++;
        }
    }
    EXPECT_EQUAL(bench.producer.head, bench.consumer.tail);
    ring_bench_destroy(&bench);
}

static void a_full_ring_says_so_until_there_is_room(void)
{
    struct ring_bench bench;
    uint64_t number, sent = 0;
    uint8_t *frame;

    ring_bench_create(&bench, SIZE, 3);
    ring_bench_start(&bench, 7);
    EXPECT(!ring_producer_has_room(&bench.producer)); /* nobody was turned away */
    while (ring_bench_write(&bench, sent, 248, 0) == 0)
        sent++;
    EXPECT_EQUAL(sent, SIZE / 256);
    ring_producer_publish(&bench.producer);
    EXPECT_EQUAL(ring_producer_reserve(&bench.producer, 248, 0, &frame),
                 (unsigned long long)ERROR_FULL);
    EXPECT(!ring_producer_has_room(&bench.producer));
    EXPECT(ring_bench_read(&bench, &number));
    EXPECT(ring_producer_has_room(&bench.producer));
    EXPECT_EQUAL(ring_bench_write(&bench, sent, 248, 0), 0);
    ring_bench_destroy(&bench);
}

static void reserved_room_is_left_for_acknowledgements(void)
{
    struct ring_bench bench;
    uint64_t sent = 0;

    ring_bench_create(&bench, SIZE, 4);
    ring_bench_start(&bench, 7);
    while (ring_bench_write(&bench, sent, 248, CABLE_RING_RESERVE) == 0)
        sent++;
    EXPECT_EQUAL(sent, (SIZE - CABLE_RING_RESERVE) / 256);
    EXPECT_EQUAL(ring_bench_write(&bench, sent, 64, 0), 0);
    ring_bench_destroy(&bench);
}

static void nothing_moves_before_the_session_is_followed(void)
{
    struct ring_bench bench;

    ring_bench_create(&bench, SIZE, 5);
    STORE(bench.memory.control->session, 0);
    ring_consumer_open(&bench.consumer, &bench.memory, BENCH_GENERATION, BENCH_FRAME_MINIMUM,
                       BENCH_FRAME_MAXIMUM);
    EXPECT(!ring_consumer_session_changed(&bench.consumer));
    EXPECT(!ring_consumer_follow(&bench.consumer));
    ring_producer_start(&bench.producer, &bench.memory, 9, BENCH_GENERATION);
    EXPECT(!ring_producer_followed(&bench.producer));
    EXPECT(ring_consumer_follow(&bench.consumer));
    EXPECT(ring_producer_followed(&bench.producer));
    EXPECT(!ring_consumer_session_changed(&bench.consumer));
    ring_producer_stop(&bench.producer);
    EXPECT(ring_consumer_session_changed(&bench.consumer));
    EXPECT(!ring_consumer_follow(&bench.consumer));
    ring_bench_destroy(&bench);
}

static void a_restarted_producer_starts_an_empty_ring(void)
{
    struct ring_bench bench;
    uint64_t number;

    ring_bench_create(&bench, SIZE, 6);
    ring_bench_start(&bench, 7);
    EXPECT_EQUAL(ring_bench_write(&bench, 1, 100, 0), 0);
    ring_producer_publish(&bench.producer);
    ring_producer_start(&bench.producer, &bench.memory, 8, BENCH_GENERATION);
    EXPECT(ring_consumer_session_changed(&bench.consumer));
    EXPECT(ring_consumer_follow(&bench.consumer));
    EXPECT(!ring_bench_read(&bench, &number));
    EXPECT_EQUAL(ring_bench_write(&bench, 2, 100, 0), 0);
    ring_producer_publish(&bench.producer);
    EXPECT(ring_bench_read(&bench, &number));
    EXPECT_EQUAL(number, 2);
    ring_bench_destroy(&bench);
}

static void a_restarted_consumer_starts_at_the_head(void)
{
    struct ring_bench bench;
    uint64_t number;

    ring_bench_create(&bench, SIZE, 7);
    ring_bench_start(&bench, 7);
    EXPECT_EQUAL(ring_bench_write(&bench, 1, 100, 0), 0);
    ring_producer_publish(&bench.producer);
    ring_consumer_open(&bench.consumer, &bench.memory, BENCH_GENERATION, BENCH_FRAME_MINIMUM,
                       BENCH_FRAME_MAXIMUM);
    EXPECT(ring_consumer_follow(&bench.consumer));
    EXPECT(ring_producer_followed(&bench.producer)); /* it need not even know */
    EXPECT(!ring_bench_read(&bench, &number));
    EXPECT_EQUAL(ring_bench_write(&bench, 2, 100, 0), 0);
    ring_producer_publish(&bench.producer);
    EXPECT(ring_bench_read(&bench, &number));
    EXPECT_EQUAL(number, 2);
    ring_bench_destroy(&bench);
}

static void a_refused_session_is_not_followed_again(void)
{
    struct ring_bench bench;

    ring_bench_create(&bench, SIZE, 8);
    ring_bench_start(&bench, 7);
    ring_consumer_refuse(&bench.consumer);
    EXPECT(!ring_producer_followed(&bench.producer));
    EXPECT(!ring_consumer_session_changed(&bench.consumer));
    EXPECT(!ring_consumer_follow(&bench.consumer));
    ring_producer_start(&bench.producer, &bench.memory, 8, BENCH_GENERATION);
    EXPECT(ring_consumer_session_changed(&bench.consumer));
    EXPECT(ring_consumer_follow(&bench.consumer));
    ring_bench_destroy(&bench);
}

static void a_session_of_another_generation_is_not_followed(void)
{
    struct ring_bench bench;

    ring_bench_create(&bench, SIZE, 13);
    ring_bench_start(&bench, 7);
    /* The consumer sees the cut first: what the producer still does under the old generation is not
     * for it. */
    ring_consumer_open(&bench.consumer, &bench.memory, BENCH_GENERATION + 1, BENCH_FRAME_MINIMUM,
                       BENCH_FRAME_MAXIMUM);
    EXPECT(!ring_consumer_session_changed(&bench.consumer));
    EXPECT(!ring_consumer_follow(&bench.consumer));
    ring_producer_start(&bench.producer, &bench.memory, 8, BENCH_GENERATION + 1);
    EXPECT(ring_consumer_session_changed(&bench.consumer));
    EXPECT(ring_consumer_follow(&bench.consumer));
    /* The producer sees the next one first. */
    ring_producer_start(&bench.producer, &bench.memory, 9, BENCH_GENERATION + 2);
    EXPECT(ring_consumer_session_changed(&bench.consumer));
    EXPECT(!ring_consumer_follow(&bench.consumer));
    EXPECT(!ring_consumer_session_changed(&bench.consumer));
    ring_bench_destroy(&bench);
}

static void a_sleeping_consumer_is_rung_once_a_sleep(void)
{
    struct ring_bench bench;

    ring_bench_create(&bench, SIZE, 9);
    ring_bench_start(&bench, 7);
    for (unsigned i = 0; i < 3; i++) {
        ring_consumer_disarm(&bench.consumer);
        EXPECT(!ring_producer_must_wake(&bench.producer));
        ring_consumer_arm(&bench.consumer);
        EXPECT(ring_producer_must_wake(&bench.producer));
        EXPECT(!ring_producer_must_wake(&bench.producer));
    }
    /* The same for one that died asleep and sleeps again in its next life. */
    ring_consumer_open(&bench.consumer, &bench.memory, BENCH_GENERATION, BENCH_FRAME_MINIMUM,
                       BENCH_FRAME_MAXIMUM);
    EXPECT(ring_consumer_follow(&bench.consumer));
    ring_consumer_arm(&bench.consumer);
    EXPECT(ring_producer_must_wake(&bench.producer));
    ring_bench_destroy(&bench);
}

static void a_producer_without_room_is_rung_once_a_sleep(void)
{
    struct ring_bench bench;
    uint64_t sent = 0;

    ring_bench_create(&bench, SIZE, 10);
    ring_bench_start(&bench, 7);
    ring_producer_ask_room(&bench.producer); /* nothing was turned away: nothing is asked */
    EXPECT(!ring_consumer_must_wake(&bench.consumer));
    while (ring_bench_write(&bench, sent, 248, 0) == 0)
        sent++;
    for (unsigned i = 0; i < 3; i++) {
        ring_producer_ask_room(&bench.producer);
        EXPECT(ring_consumer_must_wake(&bench.consumer));
        EXPECT(!ring_consumer_must_wake(&bench.consumer));
        ring_producer_awake(&bench.producer);
        EXPECT(!ring_consumer_must_wake(&bench.consumer));
    }
    ring_bench_destroy(&bench);
}

static void byte_counts_wrap_around(void)
{
    struct ring_bench bench;
    uint64_t number, sent = 0;

    ring_bench_create(&bench, SIZE, 11);
    ring_bench_start(&bench, 7);
    /* As after almost 4 GiB. */
    bench.producer.head = bench.producer.published = bench.producer.tail = 0xfffff000u;
    bench.consumer.head = bench.consumer.tail = 0xfffff000u;
    ring_producer_publish(&bench.producer);
    ring_consumer_publish(&bench.consumer);
    for (; sent < 100; sent++) {
        EXPECT_EQUAL(ring_bench_write(&bench, sent, 500, 0), 0);
        ring_producer_publish(&bench.producer);
        EXPECT(ring_bench_read(&bench, &number));
        EXPECT_EQUAL(number, sent);
    }
    EXPECT(bench.producer.head < 0xfffff000u);
    ring_bench_destroy(&bench);
}

/* Random lengths, batches and restarts of both ends: in every session what is read is what was
 * written, in order, and nothing is missing unless the consumer was restarted. */
static void random_run(uint64_t seed)
{
    struct ring_bench bench;
    uint64_t next = 0, expected = 0, number;
    uint32_t session = 1;
    bool may_skip = false;

    ring_bench_create(&bench, seed % 2 != 0 ? 4096 : 16384, seed);
    ring_bench_start(&bench, session);
    for (unsigned step = 0; step < 2000; step++) {
        uint64_t choice = ring_bench_random(&bench) >> 20;

        if (choice % 100 < 45) {
            uint32_t length =
                BENCH_FRAME_MINIMUM +
                (uint32_t)(choice >> 8) % (BENCH_FRAME_MAXIMUM - BENCH_FRAME_MINIMUM + 1);

            if (ring_bench_write(&bench, next, length, 0) == 0)
                next++;
        } else if (choice % 100 < 65) {
            ring_producer_publish(&bench.producer);
        } else if (choice % 100 < 98) {
            if (!ring_bench_read(&bench, &number))
                continue;
            EXPECT(may_skip ? number >= expected && number < next : number == expected);
            may_skip = false;
            expected = number + 1;
        } else if (choice % 2 != 0) {
            ring_producer_start(&bench.producer, &bench.memory, ++session, BENCH_GENERATION);
            EXPECT(ring_consumer_session_changed(&bench.consumer));
            EXPECT(ring_consumer_follow(&bench.consumer));
            EXPECT(ring_producer_followed(&bench.producer));
            expected = next;
            may_skip = false;
        } else {
            ring_consumer_open(&bench.consumer, &bench.memory, BENCH_GENERATION,
                               BENCH_FRAME_MINIMUM, BENCH_FRAME_MAXIMUM);
            EXPECT(ring_consumer_follow(&bench.consumer));
            may_skip = true;
        }
    }
    ring_bench_destroy(&bench);
}

static void random_runs_keep_order_and_content(void)
{
    for (uint64_t seed = 1; seed <= 200; seed++)
        random_run(seed);
}

/* --- Threads ---------------------------------------------------------------------------------- */

#define THREAD_FRAMES 30000u

static void *produce(void *argument)
{
    struct ring_bench *bench = argument;
    uint64_t random = 99;

    while (!ring_producer_followed(&bench->producer))
        sched_yield();
    for (uint64_t number = 0; number < THREAD_FRAMES; number++) {
        uint32_t length;

        random = random * 6364136223846793005u + 1442695040888963407u;
        length = BENCH_FRAME_MINIMUM + (uint32_t)(random >> 40) % 300;
        while (ring_bench_write(bench, number, length, 0) != 0) {
            ring_producer_publish(&bench->producer);
            sched_yield();
        }
        if (number % 5 == 0)
            ring_producer_publish(&bench->producer);
    }
    ring_producer_publish(&bench->producer);
    return NULL;
}

static void two_threads_agree(void)
{
    struct ring_bench bench;
    uint64_t number, expected = 0;
    pthread_t producer;

    ring_bench_create(&bench, SIZE, 12);
    ring_consumer_open(&bench.consumer, &bench.memory, BENCH_GENERATION, BENCH_FRAME_MINIMUM,
                       BENCH_FRAME_MAXIMUM);
    ring_producer_start(&bench.producer, &bench.memory, 5, BENCH_GENERATION);
    REQUIRE(pthread_create(&producer, NULL, produce, &bench) == 0);
    REQUIRE(ring_consumer_follow(&bench.consumer));
    while (expected < THREAD_FRAMES) {
        if (!ring_bench_read(&bench, &number)) {
            sched_yield();
            continue;
        }
        REQUIRE(number == expected);
        expected++;
    }
    pthread_join(producer, NULL);
    ring_bench_destroy(&bench);
}

static const struct unit_test tests[] = {
    {"a frame arrives as written and in order", a_frame_arrives_as_written_and_in_order},
    {"every length goes round the end", every_length_goes_round_the_end},
    {"a full ring says so until there is room", a_full_ring_says_so_until_there_is_room},
    {"reserved room is left for acknowledgements", reserved_room_is_left_for_acknowledgements},
    {"nothing moves before the session is followed", nothing_moves_before_the_session_is_followed},
    {"a restarted producer starts an empty ring", a_restarted_producer_starts_an_empty_ring},
    {"a restarted consumer starts at the head", a_restarted_consumer_starts_at_the_head},
    {"a refused session is not followed again", a_refused_session_is_not_followed_again},
    {"a session of another generation is not followed",
     a_session_of_another_generation_is_not_followed},
    {"a sleeping consumer is rung once a sleep", a_sleeping_consumer_is_rung_once_a_sleep},
    {"a producer without room is rung once a sleep", a_producer_without_room_is_rung_once_a_sleep},
    {"byte counts wrap around", byte_counts_wrap_around},
    {"random runs keep order and content", random_runs_keep_order_and_content},
    {"two threads agree", two_threads_agree},
};
UNIT_SUITE("ring", tests);
