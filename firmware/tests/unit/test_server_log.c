/* SPDX-License-Identifier: MIT
 *
 * The parts of the loader's kernel half that stand alone: the ranges of the area, and the log of a
 * server with writers at the same time.
 */
#include "unit.h"

#include <core/server_area.h>
#include <core/server_log.h>
#include <kernel/arch.h>
#include <kernel/host.h>
#include <kernel/thread.h>
#include <stdlib.h>
#include <string.h>

#include "hosts.h"

#define PAGES 8u
#define WRITERS 4u
#define WRITES 2000u

/* --- Ranges ----------------------------------------------------------------------------------- */

static void ranges_are_found_given_back_and_found_again(void)
{
    struct mach_host *host = test_host_create(1, TEST_INCARNATION(1));
    uint8_t *memory = aligned_alloc(ARCH_PAGE_SIZE, PAGES * ARCH_PAGE_SIZE);
    struct server_area area;

    REQUIRE(server_area_open(&area, host, memory, PAGES * ARCH_PAGE_SIZE) == ERROR_NONE);
    uint8_t *first = server_area_allocate(&area, 1);
    uint8_t *second = server_area_allocate(&area, 3 * ARCH_PAGE_SIZE);
    uint8_t *third = server_area_allocate(&area, 4 * ARCH_PAGE_SIZE);
    EXPECT(first == memory);
    EXPECT(second == memory + ARCH_PAGE_SIZE);
    EXPECT(third == memory + 4 * ARCH_PAGE_SIZE);
    EXPECT(server_area_allocate(&area, 1) == NULL);
    EXPECT(server_area_allocate(&area, 0) == NULL);
    server_area_free(&area, first, 1);
    EXPECT(server_area_allocate(&area, ARCH_PAGE_SIZE + 1) == NULL);
    server_area_free(&area, second, 3 * ARCH_PAGE_SIZE);
    EXPECT(server_area_allocate(&area, 4 * ARCH_PAGE_SIZE) == memory);
    server_area_free(&area, NULL, 5);
    server_area_close(&area);
    test_host_destroy(host);
    free(memory);
}

static void an_area_is_at_least_one_page_on_a_page(void)
{
    struct mach_host *host = test_host_create(1, TEST_INCARNATION(1));
    uint8_t *memory = aligned_alloc(ARCH_PAGE_SIZE, PAGES * ARCH_PAGE_SIZE);
    struct server_area area;

    EXPECT(server_area_open(&area, host, memory, ARCH_PAGE_SIZE - 1) == ERROR_INVALID);
    EXPECT(server_area_open(&area, host, memory + 8, ARCH_PAGE_SIZE) == ERROR_INVALID);
    heap_fail_after(host, 1, false);
    EXPECT(server_area_open(&area, host, memory, ARCH_PAGE_SIZE) == ERROR_NO_MEMORY);
    test_host_destroy(host);
    free(memory);
}

/* --- Log -------------------------------------------------------------------------------------- */

static struct server_log_entry entry_of(uint64_t number)
{
    return (struct server_log_entry){.time_ns = le64_of(number), .level = le32_of(1)};
}

static void only_what_is_urgent_enough_is_wanted(void)
{
    struct mach_host *host = test_host_create(1, TEST_INCARNATION(1));
    struct server_log log = {.ring = NULL};

    EXPECT(!server_log_wants(&log, 0));
    EXPECT(!server_log_wants(&log, UINT32_MAX));
    REQUIRE(server_log_set_level(&log, host, 5) == ERROR_NONE);
    EXPECT(!server_log_wants(&log, 4));
    EXPECT(server_log_wants(&log, 5));
    EXPECT(server_log_wants(&log, UINT32_MAX));
    REQUIRE(server_log_set_level(&log, host, 0) == ERROR_NONE);
    EXPECT(!server_log_wants(&log, UINT32_MAX));
    server_log_close(&log, host);
    heap_fail_after(host, 1, false);
    EXPECT(server_log_set_level(&log, host, 1) == ERROR_NO_MEMORY);
    EXPECT(!server_log_wants(&log, 1));
    test_host_destroy(host);
}

static void a_full_log_keeps_the_oldest_and_counts_the_rest(void)
{
    struct mach_host *host = test_host_create(1, TEST_INCARNATION(1));
    struct server_log log = {.ring = NULL};
    struct server_log_entry entry;

    REQUIRE(server_log_set_level(&log, host, 1) == ERROR_NONE);
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < SERVER_LOG_SLOTS + 7; i++) {
            struct server_log_entry added = entry_of(i);
            EXPECT(server_log_add(&log, &added) == (i < SERVER_LOG_SLOTS));
        }
        EXPECT_EQUAL(server_log_count(&log), SERVER_LOG_SLOTS);
        EXPECT_EQUAL(log.lost, 7u * (uint32_t)(round + 1));
        for (uint64_t i = 0; i < SERVER_LOG_SLOTS; i++) {
            EXPECT(server_log_take(&log, &entry, 1) == 1 && le64_load(entry.time_ns) == i);
        }
        EXPECT_EQUAL(server_log_take(&log, &entry, 1), 0);
    }
    server_log_close(&log, host);
    test_host_destroy(host);
}

struct writer {
    struct server_log *log;
    uint64_t number;
    uint32_t kept;
};

static void writer_main(void *argument)
{
    struct writer *writer = argument;

    for (uint64_t i = 0; i < WRITES; i++) {
        struct server_log_entry entry = entry_of(writer->number << 32 | i);
        writer->kept += server_log_add(writer->log, &entry) ? 1 : 0;
        thread_yield();
    }
}

/* Everything kept comes out once, each writer's in its order. */
static void writers_at_the_same_time_lose_nothing_unsaid(void)
{
    struct mach_host *host = test_host_create(1, TEST_INCARNATION(1));
    struct server_log log = {.ring = NULL};
    struct writer writers[WRITERS];
    struct thread *threads[WRITERS];
    uint64_t next[WRITERS] = {0};
    uint32_t taken = 0, kept = 0;

    REQUIRE(server_log_set_level(&log, host, 1) == ERROR_NONE);
    for (uint64_t i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.log = &log, .number = i};
        REQUIRE(thread_create(host, "writer", writer_main, &writers[i], &threads[i]) == 0);
    }
    for (uint32_t total = 0; total < WRITERS * WRITES;
         total = taken + __atomic_load_n(&log.lost, __ATOMIC_RELAXED)) {
        struct server_log_entry entry;
        if (server_log_take(&log, &entry, 1) == 0) {
            thread_yield();
            continue;
        }
        uint64_t number = le64_load(entry.time_ns);
        EXPECT((number & UINT32_MAX) >= next[number >> 32]);
        next[number >> 32] = (number & UINT32_MAX) + 1;
        taken++;
    }
    for (uint32_t i = 0; i < WRITERS; i++) {
        thread_join(threads[i]);
        kept += writers[i].kept;
    }
    EXPECT_EQUAL(taken, kept);
    EXPECT_EQUAL(kept + log.lost, WRITERS * WRITES);
    server_log_close(&log, host);
    test_host_destroy(host);
}

static const struct unit_test server_log_tests[] = {
    {"ranges are found, given back and found again", ranges_are_found_given_back_and_found_again},
    {"an area is at least one page, on a page", an_area_is_at_least_one_page_on_a_page},
    {"only what is urgent enough is wanted", only_what_is_urgent_enough_is_wanted},
    {"a full log keeps the oldest and counts the rest",
     a_full_log_keeps_the_oldest_and_counts_the_rest},
    {"writers at the same time lose nothing unsaid", writers_at_the_same_time_lose_nothing_unsaid},
};
UNIT_SUITE("server_log", server_log_tests);
