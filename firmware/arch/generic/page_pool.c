/* SPDX-License-Identifier: MIT
 *
 * Pages at the end of RAM for stacks and page tables: a bitmap, first fit. Small and rarely used;
 * not the heap.
 */
#include <arch/machine.h>
#include <kernel/arch.h>

static bool page_used(const struct page_pool *pool, size_t index)
{
    return (pool->used[index / 64] >> (index % 64) & 1) != 0;
}

static void pages_mark(struct page_pool *pool, size_t first, size_t count, bool used)
{
    for (size_t i = first; i < first + count; i++) {
        uint64_t bit = 1ull << (i % 64);

        panic_unless(page_used(pool, i) != used);
        pool->used[i / 64] ^= bit;
    }
}

void page_pool_initialise(struct page_pool *pool, uint8_t *start, size_t page_count)
{
    panic_unless(page_count <= MACHINE_PAGE_MAXIMUM);
    pool->start = start;
    pool->page_count = page_count;
}

void *page_allocate(size_t page_count)
{
    struct page_pool *pool = &machine()->pages;
    size_t run = 0;

    if (page_count == 0)
        return NULL;
    for (size_t i = 0; i < pool->page_count; i++) {
        run = page_used(pool, i) ? 0 : run + 1;
        if (run == page_count) {
            pages_mark(pool, i + 1 - page_count, page_count, true);
            return pool->start + (i + 1 - page_count) * ARCH_PAGE_SIZE;
        }
    }
    return NULL;
}

void page_free(void *pages, size_t page_count)
{
    struct page_pool *pool = &machine()->pages;
    size_t first = (size_t)((uint8_t *)pages - pool->start) / ARCH_PAGE_SIZE;

    panic_unless(first < pool->page_count && page_count <= pool->page_count - first);
    pages_mark(pool, first, page_count, false);
}
