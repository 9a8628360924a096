/* SPDX-License-Identifier: MIT
 *
 * The ring against an other side that writes what it likes. Promised: nothing outside the ring is
 * touched (the ring's memory is a heap block of its own, so the address sanitizer judges that),
 * work is bounded, and each end says GARBAGE instead of believing.
 */
#include "ring_bench.h"
#include "unit.h"
#include <string.h>

#define SIZE 4096u

/* What one consumer call may give: garbage, nothing, or a frame inside the ring. */
static int next_is_sane(struct ring_bench *bench)
{
    const uint8_t *frame;
    uint32_t length;
    int found = ring_consumer_next(&bench->consumer, &frame, &length);

    EXPECT(found == 0 || found == 1 || found == ERROR_GARBAGE);
    if (found == 1) {
        EXPECT(length >= BENCH_FRAME_MINIMUM && length <= BENCH_FRAME_MAXIMUM);
        EXPECT(frame >= bench->memory.data + sizeof(struct cable_record));
        EXPECT(frame + length <= bench->memory.data + bench->memory.size);
    }
    return found;
}

struct bad_head {
    const char *what;
    uint32_t head;
};

static void a_head_that_cannot_be_is_garbage(void)
{
    static const struct bad_head heads[] = {
        {"beyond the size", SIZE + 8},
        {"backwards", 0u - 8u},
        {"not a multiple of 8", 12},
        {"far", 0x80000000u},
    };

    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        struct ring_bench bench;

        ring_bench_create(&bench, SIZE, 20 + i);
        ring_bench_start(&bench, 7);
        shared_store32_release(&bench.memory.control->head, heads[i].head);
        unit_expect(next_is_sane(&bench) == ERROR_GARBAGE, __FILE__, __LINE__, heads[i].what);
        ring_bench_destroy(&bench);
    }
}

struct bad_record {
    const char *what;
    uint32_t at;     /* offset of the record */
    uint32_t length; /* what it says */
    uint32_t head;   /* published */
};

static void a_record_that_cannot_be_is_garbage(void)
{
    static const struct bad_record records[] = {
        {"length 0", 0, 0, 1024},
        {"shorter than a frame", 0, BENCH_FRAME_MINIMUM - 1, 1024},
        {"longer than a frame", 0, BENCH_FRAME_MAXIMUM + 1, 2048},
        {"longer than what is there", 0, 500, 256},
        {"a length that overflows", 0, 0xfffffff8u, 1024},
        {"a marker at the beginning", 0, CABLE_RECORD_WRAP, SIZE},
        {"a marker beyond what is there", 1024, CABLE_RECORD_WRAP, 2048},
        {"a record across the end", SIZE - 256, 300, SIZE + 64},
    };

    for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
        struct ring_bench bench;
        const struct bad_record *bad = &records[i];

        ring_bench_create(&bench, SIZE, 30 + i);
        ring_bench_start(&bench, 7);
        bench.consumer.head = bench.consumer.tail = bad->at;
        memcpy(bench.memory.data + bad->at, &bad->length, sizeof(bad->length));
        shared_store32_release(&bench.memory.control->head, bad->head);
        unit_expect(next_is_sane(&bench) == ERROR_GARBAGE, __FILE__, __LINE__, bad->what);
        ring_bench_destroy(&bench);
    }
}

static void nothing_but_markers_is_garbage(void)
{
    struct ring_bench bench;

    ring_bench_create(&bench, SIZE, 40);
    ring_bench_start(&bench, 7);
    memset(bench.memory.data, 0xff, SIZE);
    bench.consumer.head = bench.consumer.tail = 512;
    shared_store32_release(&bench.memory.control->head, 512 + SIZE);
    EXPECT_EQUAL(next_is_sane(&bench), (unsigned long long)ERROR_GARBAGE);
    ring_bench_destroy(&bench);
}

static void a_tail_that_cannot_be_is_garbage(void)
{
    static const uint32_t tails[] = {0u - 8u, 8 + 512, 4, 0x80000000u};

    for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        struct ring_bench bench;
        uint8_t *frame;

        ring_bench_create(&bench, SIZE, 50 + i);
        ring_bench_start(&bench, 7);
        EXPECT_EQUAL(ring_bench_write(&bench, 1, 504, 0), 0);
        ring_producer_publish(&bench.producer);
        shared_store32_release(&bench.memory.control->tail, tails[i]);
        EXPECT_EQUAL(ring_producer_reserve(&bench.producer, 900, SIZE - 900, &frame),
                     (unsigned long long)ERROR_GARBAGE);
        EXPECT(ring_producer_has_room(&bench.producer) || bench.producer.wants == 0);
        ring_bench_destroy(&bench);
    }
}

/* A consumer that makes room by words alone cannot make the producer write beyond what is free. */
static void a_tail_backwards_after_progress_is_garbage(void)
{
    struct ring_bench bench;
    uint64_t number;
    uint8_t *frame;

    ring_bench_create(&bench, SIZE, 60);
    ring_bench_start(&bench, 7);
    for (uint64_t i = 0; i < 4; i++)
        EXPECT_EQUAL(ring_bench_write(&bench, i, 1000, 0), 0);
    ring_producer_publish(&bench.producer);
    EXPECT(ring_bench_read(&bench, &number));
    EXPECT_EQUAL(ring_bench_write(&bench, 4, 1000, 0), 0);
    shared_store32_release(&bench.memory.control->tail, 0);
    EXPECT_EQUAL(ring_producer_reserve(&bench.producer, 1000, 0, &frame),
                 (unsigned long long)ERROR_GARBAGE);
    ring_bench_destroy(&bench);
}

/* Both ends run while somebody writes into everything they share. */
static void random_words_change(uint64_t seed)
{
    struct ring_bench bench;
    uint32_t session = 1;

    ring_bench_create(&bench, SIZE, seed);
    ring_bench_start(&bench, session);
    for (unsigned step = 0; step < 3000; step++) {
        uint64_t choice = ring_bench_random(&bench) >> 16;
        le32 *words = choice % 3 == 0 ? (le32 *)(void *)bench.memory.control
                                      : (le32 *)(void *)bench.memory.data;
        uint32_t count = choice % 3 == 0 ? sizeof(struct cable_ring_control) / 4 : SIZE / 4;

        if (choice >> 4 & 1)
            shared_store32(&words[(choice >> 8) % count],
                           (choice >> 5 & 1) != 0 ? (uint32_t)(choice >> 10) % (2 * SIZE)
                                                  : (uint32_t)(choice >> 9));
        if (ring_bench_write(&bench, step, BENCH_FRAME_MINIMUM + choice % 900, 0) ==
                ERROR_GARBAGE ||
            !ring_producer_followed(&bench.producer))
            ring_producer_start(&bench.producer, &bench.memory, ++session, BENCH_GENERATION);
        ring_producer_publish(&bench.producer);
        (void)ring_producer_must_wake(&bench.producer);
        (void)ring_consumer_must_wake(&bench.consumer);
        if (ring_consumer_session_changed(&bench.consumer)) {
            (void)ring_consumer_follow(&bench.consumer);
        } else if (next_is_sane(&bench) == ERROR_GARBAGE) {
            ring_consumer_refuse(&bench.consumer);
        } else if (bench.consumer.span != 0) {
            ring_consumer_release(&bench.consumer);
            ring_consumer_publish(&bench.consumer);
        }
    }
    ring_bench_destroy(&bench);
}

static void random_writes_by_the_other_side_do_no_harm(void)
{
    for (uint64_t seed = 1; seed <= 100; seed++)
        random_words_change(seed);
}

/* After all that, a new session works. */
static void a_new_session_follows_garbage(void)
{
    struct ring_bench bench;
    uint64_t number;

    ring_bench_create(&bench, SIZE, 70);
    ring_bench_start(&bench, 7);
    shared_store32_release(&bench.memory.control->head, 4);
    EXPECT_EQUAL(next_is_sane(&bench), (unsigned long long)ERROR_GARBAGE);
    ring_consumer_refuse(&bench.consumer);
    EXPECT(!ring_producer_followed(&bench.producer));
    ring_producer_start(&bench.producer, &bench.memory, 8, BENCH_GENERATION);
    EXPECT(ring_consumer_follow(&bench.consumer));
    EXPECT_EQUAL(ring_bench_write(&bench, 3, 64, 0), 0);
    ring_producer_publish(&bench.producer);
    EXPECT(ring_bench_read(&bench, &number));
    EXPECT_EQUAL(number, 3);
    ring_bench_destroy(&bench);
}

/* The session that is followed is no more, whoever did that: the producer learns of it. */
static void a_session_that_is_changed_is_not_followed_any_more(void)
{
    struct ring_bench bench;

    ring_bench_create(&bench, SIZE, 60);
    ring_bench_start(&bench, 7);
    EXPECT(ring_producer_followed(&bench.producer));
    shared_store32(&bench.memory.control->generation, 0x5a5a);
    shared_store32_release(&bench.memory.control->session, 8);
    EXPECT(ring_consumer_session_changed(&bench.consumer));
    EXPECT(!ring_consumer_follow(&bench.consumer));
    EXPECT(!ring_producer_followed(&bench.producer));
    ring_bench_destroy(&bench);
}

/* What makes a producer begin again that nobody follows. */
static void words_of_a_session_that_are_changed_are_noticed(void)
{
    struct ring_bench bench;
    uint32_t generation;

    ring_bench_create(&bench, SIZE, 61);
    ring_bench_start(&bench, 7);
    generation = shared_load32(&bench.memory.control->generation);
    EXPECT(ring_producer_is_announced(&bench.producer, generation));
    shared_store32(&bench.memory.control->generation, generation + 1);
    EXPECT(!ring_producer_is_announced(&bench.producer, generation));
    shared_store32(&bench.memory.control->generation, generation);
    shared_store32(&bench.memory.control->session, 0);
    EXPECT(!ring_producer_is_announced(&bench.producer, generation));
    ring_bench_destroy(&bench);
}

static void a_consumer_says_again_what_it_follows_before_it_sleeps(void)
{
    struct ring_bench bench;

    ring_bench_create(&bench, SIZE, 62);
    ring_bench_start(&bench, 7);
    shared_store32(&bench.memory.control->session_seen, 9);
    EXPECT(!ring_producer_followed(&bench.producer));
    ring_consumer_arm(&bench.consumer);
    EXPECT(ring_producer_followed(&bench.producer));
    ring_bench_destroy(&bench);
}

static const struct unit_test tests[] = {
    {"a head that cannot be is garbage", a_head_that_cannot_be_is_garbage},
    {"a record that cannot be is garbage", a_record_that_cannot_be_is_garbage},
    {"nothing but markers is garbage", nothing_but_markers_is_garbage},
    {"a tail that cannot be is garbage", a_tail_that_cannot_be_is_garbage},
    {"a tail backwards after progress is garbage", a_tail_backwards_after_progress_is_garbage},
    {"random writes by the other side do no harm", random_writes_by_the_other_side_do_no_harm},
    {"a new session follows garbage", a_new_session_follows_garbage},
    {"a session that is changed is not followed any more",
     a_session_that_is_changed_is_not_followed_any_more},
    {"words of a session that are changed are noticed",
     words_of_a_session_that_are_changed_are_noticed},
    {"a consumer says again what it follows before it sleeps",
     a_consumer_says_again_what_it_follows_before_it_sleeps},
};
UNIT_SUITE("ring, hostile", tests);
