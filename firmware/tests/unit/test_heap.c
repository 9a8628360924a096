/* SPDX-License-Identifier: MIT
 *
 * The heap: alignment, exhaustion, merging, counting, injected failures, and a long random run with
 * the self-check.
 */
#include "core/heap.h"
#include "hosts.h"
#include "unit.h"
#include <stdint.h>
#include <string.h>

static void blocks_are_aligned_and_apart(void)
{
    struct mach_host *host = test_host_create(1, 1);
    uint8_t *blocks[200];

    for (size_t i = 0; i < 200; i++) {
        blocks[i] = heap_allocate(host, i * 7);
        REQUIRE(blocks[i] != NULL);
        EXPECT(((uintptr_t)blocks[i] & 15) == 0);
        memset(blocks[i], (int)i, i * 7);
    }
    for (size_t i = 0; i < 200; i++) {
        for (size_t k = 0; k < i * 7; k++)
            REQUIRE(blocks[i][k] == (uint8_t)i);
        heap_free(host, blocks[i]);
    }
    heap_check(host);
    test_host_destroy(host);
}

static void everything_freed_is_one_block_again(void)
{
    struct mach_host *host = test_host_create(1, 1);
    struct heap_statistics before = heap_statistics(host);
    void *blocks[1000];
    size_t largest = before.size_bytes - before.used_bytes - 65536;
    void *large;

    for (size_t i = 0; i < 1000; i++)
        REQUIRE((blocks[i] = heap_allocate(host, 16 + i * 3)) != NULL);
    EXPECT(heap_statistics(host).peak_bytes > before.peak_bytes);
    for (size_t i = 0; i < 1000; i++)
        heap_free(host, blocks[(i * 7) % 1000]);
    EXPECT_EQUAL(heap_statistics(host).used_bytes, before.used_bytes);
    /* Small blocks that were kept apart are merged for it; the search rounds up by at most 1/16. */
    large = heap_allocate(host, largest / 17 * 16);
    EXPECT(large != NULL);
    heap_free(host, large);
    heap_free(host, NULL);
    test_host_destroy(host);
}

static void an_exhausted_heap_says_no_and_recovers(void)
{
    struct mach_host *host = test_host_create(1, 1);
    size_t used = heap_statistics(host).used_bytes;
    struct chain {
        struct chain *next;
    } *chain = NULL, *block;
    unsigned count = 0, again = 0;

    EXPECT(heap_allocate(host, SIZE_MAX) == NULL);
    EXPECT(heap_allocate(host, TEST_ARENA_BYTES) == NULL);
    while ((block = heap_allocate(host, 1000)) != NULL) {
        block->next = chain;
        chain = block;
        count++;
    }
    EXPECT(count > 7000);
    while ((block = chain) != NULL) {
        chain = block->next;
        heap_free(host, block);
    }
    EXPECT_EQUAL(heap_statistics(host).used_bytes, used);
    while ((block = heap_allocate(host, 500)) != NULL)
        again++;
    EXPECT(again > count);
    heap_check(host);
    test_host_destroy(host);
}

#define SCATTERED 7000u

/* Small blocks that were freed first, all over the arena, are kept apart and would cut it into
 * pieces. */
static void blocks_kept_apart_are_merged_when_memory_runs_out(void)
{
    static void *blocks[SCATTERED];
    struct mach_host *host = test_host_create(1, 1);
    void *large;

    for (size_t i = 0; i < SCATTERED; i++)
        REQUIRE((blocks[i] = heap_allocate(host, 1000)) != NULL);
    for (size_t i = 0; i < SCATTERED; i += 15)
        heap_free(host, blocks[i]);
    for (size_t i = 0; i < SCATTERED; i++) {
        if (i % 15 != 0)
            heap_free(host, blocks[i]);
    }
    large = heap_allocate(host, TEST_ARENA_BYTES / 2);
    EXPECT(large != NULL);
    heap_free(host, large);
    test_host_destroy(host);
}

static void an_injected_failure_hits_the_nth_allocation(void)
{
    struct mach_host *host = test_host_create(1, 1);

    heap_fail_after(host, 3, false);
    EXPECT(heap_allocate(host, 16) != NULL);
    EXPECT(heap_allocate(host, 16) != NULL);
    EXPECT(heap_allocate(host, 16) == NULL);
    EXPECT(heap_allocate(host, 16) != NULL);
    heap_fail_after(host, 2, true);
    EXPECT(heap_allocate(host, 16) != NULL);
    EXPECT(heap_allocate(host, 16) == NULL);
    EXPECT(heap_allocate(host, 16) == NULL);
    heap_fail_after(host, 0, false);
    EXPECT(heap_allocate(host, 16) != NULL);
    test_host_destroy(host);
}

static void blocks_are_counted_by_kind(void)
{
    struct mach_host *host = test_host_create(1, 1);
    void *port = heap_allocate_kind(host, 40, HEAP_PORT);
    void *kmsg = heap_allocate_kind(host, 40, HEAP_KMSG);

    EXPECT_EQUAL(heap_count(host, HEAP_PORT), 1);
    EXPECT_EQUAL(heap_count(host, HEAP_KMSG), 1);
    heap_free(host, port);
    EXPECT_EQUAL(heap_count(host, HEAP_PORT), 0);
    heap_free(host, kmsg);
    EXPECT_EQUAL(heap_count(host, HEAP_KMSG), 0);
    test_host_destroy(host);
}

static void a_long_random_run_keeps_every_rule(void)
{
    struct mach_host *host = test_host_create(1, 1);
    struct {
        uint8_t *bytes;
        size_t size;
    } slots[256] = {0};

    for (unsigned step = 0; step < 100000; step++) {
        uint64_t random = mach_host_random(host);
        size_t i = random & 255;
        size_t size = random >> 32 & (random >> 8 & 15 ? 1023 : 262143);

        if (slots[i].bytes != NULL) {
            REQUIRE(slots[i].size == 0 || (slots[i].bytes[0] == (uint8_t)i &&
                                           slots[i].bytes[slots[i].size - 1] == (uint8_t)i));
            heap_free(host, slots[i].bytes);
        }
        slots[i].size = size;
        slots[i].bytes = heap_allocate(host, size);
        if (slots[i].bytes != NULL && size != 0)
            slots[i].bytes[0] = slots[i].bytes[size - 1] = (uint8_t)i;
        if (step % 1000 == 0)
            heap_check(host);
    }
    test_host_destroy(host);
}

static void an_arena_that_cannot_work_is_refused(void)
{
    _Alignas(16) static uint8_t arena[65536];
    struct mach_host_configuration configuration = test_configuration(1, 1);
    struct mach_host host;

    configuration.arena = arena + 8;
    configuration.arena_bytes = sizeof(arena) - 16;
    EXPECT_EQUAL(mach_host_initialize(&host, &configuration), (unsigned long long)ERROR_INVALID);
    configuration.arena = arena;
    configuration.arena_bytes = 100;
    EXPECT_EQUAL(mach_host_initialize(&host, &configuration), (unsigned long long)ERROR_INVALID);
    for (size_t size = 4096; size < 12288; size += 16) {
        int error;

        configuration.arena_bytes = size;
        error = mach_host_initialize(&host, &configuration);
        EXPECT(error == 0 || error == ERROR_NO_MEMORY || error == ERROR_INVALID);
        EXPECT(error == 0 || host.heap == NULL);
    }
    configuration.arena_bytes = sizeof(arena);
    EXPECT_EQUAL(mach_host_initialize(&host, &configuration), 0);
    mach_host_destroy(&host);
}

static void constants_out_of_range_are_refused(void)
{
    _Alignas(16) static uint8_t arena[65536];
    struct mach_host_configuration good = test_configuration(1, 1), bad;
    struct mach_host host;

    good.arena = arena;
    good.arena_bytes = sizeof(arena);
    bad = good;
    bad.node_id = 64;
    EXPECT(mach_host_initialize(&host, &bad) == ERROR_INVALID);
    bad = good;
    bad.incarnation = 0;
    EXPECT(mach_host_initialize(&host, &bad) == ERROR_INVALID);
    bad = good;
    bad.constants.window = FLIPC_WINDOW_MAXIMUM + 1;
    EXPECT(mach_host_initialize(&host, &bad) == ERROR_INVALID);
    bad = good;
    bad.constants.nodes_max = 65536;
    EXPECT(mach_host_initialize(&host, &bad) == ERROR_INVALID);
    bad = good;
    bad.constants.ack_count = 0;
    EXPECT(mach_host_initialize(&host, &bad) == ERROR_INVALID);
}

static const struct unit_test heap_tests[] = {
    {"blocks are aligned and apart", blocks_are_aligned_and_apart},
    {"everything freed is one block again", everything_freed_is_one_block_again},
    {"an exhausted heap says no and recovers", an_exhausted_heap_says_no_and_recovers},
    {"blocks kept apart are merged when memory runs out",
     blocks_kept_apart_are_merged_when_memory_runs_out},
    {"an injected failure hits the nth allocation", an_injected_failure_hits_the_nth_allocation},
    {"blocks are counted by kind", blocks_are_counted_by_kind},
    {"a long random run keeps every rule", a_long_random_run_keeps_every_rule},
    {"an arena that cannot work is refused", an_arena_that_cannot_work_is_refused},
    {"constants out of range are refused", constants_out_of_range_are_refused},
};
UNIT_SUITE("heap", heap_tests);
