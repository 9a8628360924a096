/* SPDX-License-Identifier: MIT
 *
 * The heap: two-level segregated fit (M. Masmano et al., "TLSF: a New Dynamic Memory Allocator for
 * Real-Time Systems", 2004) behind short lists of recently freed small blocks.
 *
 * Invariants
 * - The arena after struct heap is one chain of blocks, each a header and a payload of a multiple
 *   of 16 bytes; the last is an empty sentinel in use. Two free blocks are never neighbours.
 * - A free block of size s is in the list (first, second) of s; the bitmaps have a bit for each
 *   list that is not empty. Searching rounds the size up to the next list, so the first block
 *   found fits: no list is ever walked.
 * - A freed block of at most RECENT_MAXIMUM bytes goes to the list of its exact size first and
 *   stays unmerged there: the next message of that size takes a dozen instructions. Bytes kept so
 *   are bounded; when the arena runs out all are merged once and the search is repeated.
 * - used_bytes counts what was handed out (payloads), not what is kept in lists.
 *
 * The lock is a leaf: nothing is called with it held. Callers hold no other lock (kernel/thread.h).
 */
#include "heap_blocks.h"
#include <kernel/panic.h>

int heap_open(struct mach_host *host, void *arena, size_t arena_bytes)
{
    struct heap *heap = arena;
    struct block *first, *sentinel;
    size_t head = (sizeof(*heap) + ALIGNMENT - 1u) & ~(size_t)(ALIGNMENT - 1u);

    arena_bytes &= ~(size_t)(ALIGNMENT - 1u);
    if (arena == NULL || ((uintptr_t)arena & (ALIGNMENT - 1u)) != 0 ||
        arena_bytes < head + 2u * BLOCK_HEADER + BLOCK_MINIMUM ||
        (uint64_t)arena_bytes >> (FIRST_SHIFT + FIRST_COUNT - 1u) != 0)
        return ERROR_INVALID;
    memory_unpoison(arena, arena_bytes);
    *heap = (struct heap){0};
    lock_init(&heap->lock);
    first = (struct block *)(void *)((char *)arena + head);
    first->size_and_flags = arena_bytes - head - 2u * BLOCK_HEADER;
    first->before = NULL;
    sentinel = block_after(first);
    sentinel->size_and_flags = 0;
    sentinel->before = first;
    heap->first = first;
    heap->size_bytes = block_size(first);
    heap->recent_limit_bytes = heap->size_bytes / RECENT_SHARE;
    block_insert(heap, first);
    host->heap = heap;
    return 0;
}

void heap_close(struct mach_host *host)
{
    struct heap *heap = host->heap;

    memory_unpoison(heap, (size_t)((char *)block_payload(heap->first) - (char *)heap) +
                              heap->size_bytes + BLOCK_HEADER);
    host->heap = NULL;
}

COLD static bool failure_is_due(struct heap *heap)
{
    if (heap->fail_after > 1) {
        heap->fail_after--;
        return false;
    }
    if (!heap->fail_sticky)
        heap->fail_after = 0;
    return true;
}

COLD static void recent_merge_all(struct heap *heap)
{
    for (size_t i = 0; i < RECENT_COUNT; i++) {
        struct block *block;

        while ((block = heap->recent[i]) != NULL) {
            heap->recent[i] = block->next;
            block_show(block);
            block_merge(heap, block);
        }
    }
    heap->recent_bytes = 0;
}

/* From the index of merged blocks. */
COLD static struct block *block_take_merged(struct heap *heap, size_t size)
{
    struct block *block;

    block = block_find(heap, size);
    if (block == NULL && heap->recent_bytes != 0) {
        recent_merge_all(heap);
        block = block_find(heap, size);
    }
    if (block == NULL)
        return NULL;
    block_remove(heap, block);
    block_trim(heap, block, size);
    return block;
}

static struct block *block_take(struct heap *heap, size_t size)
{
    struct block *block;

    if (size <= RECENT_MAXIMUM && (block = heap->recent[size / ALIGNMENT]) != NULL) {
        heap->recent[size / ALIGNMENT] = block->next;
        heap->recent_bytes -= size;
        block_show(block);
        return block;
    }
    return block_take_merged(heap, size);
}

void *heap_allocate_kind(struct mach_host *host, size_t bytes, enum heap_kind kind)
{
    struct heap *heap = host->heap;
    struct block *block = NULL;
    size_t size;

    if (bytes > heap->size_bytes)
        return NULL;
    size = bytes < BLOCK_MINIMUM ? BLOCK_MINIMUM : (bytes + ALIGNMENT - 1u) & ~BLOCK_FLAGS;
    lock_acquire(&heap->lock);
    if (heap->fail_after == 0 || !failure_is_due(heap))
        block = block_take(heap, size);
    if (block != NULL) {
        size = block_size(block);
        block->size_and_flags = size | (size_t)kind << BLOCK_KIND_SHIFT;
        heap->counts[kind]++;
        heap->used_bytes += size;
        if (heap->used_bytes > heap->peak_bytes)
            heap->peak_bytes = heap->used_bytes;
    }
    lock_release(&heap->lock);
    if (block == NULL)
        return NULL;
    memory_poison((char *)block_payload(block) + bytes, size - bytes);
    return block_payload(block);
}

void *heap_allocate(struct mach_host *host, size_t bytes)
{
    return heap_allocate_kind(host, bytes, HEAP_OTHER);
}

static void free_locked(struct heap *heap, struct block *block)
{
    size_t size = block_size(block);

    panic_unless((block->size_and_flags & (BLOCK_FREE | BLOCK_RECENT)) == 0);
    block_show(block);
    heap->counts[(block->size_and_flags & BLOCK_FLAGS) >> BLOCK_KIND_SHIFT]--;
    heap->used_bytes -= size;
    if (size <= RECENT_MAXIMUM && heap->recent_bytes + size <= heap->recent_limit_bytes) {
        block->size_and_flags = size | BLOCK_RECENT;
        block->next = heap->recent[size / ALIGNMENT];
        heap->recent[size / ALIGNMENT] = block;
        heap->recent_bytes += size;
        block_hide(block);
    } else {
        block_merge(heap, block);
    }
}

void heap_free(struct mach_host *host, void *payload)
{
    struct heap *heap = host->heap;

    if (payload == NULL)
        return;
    lock_acquire(&heap->lock);
    free_locked(heap, block_of(payload));
    lock_release(&heap->lock);
}

void heap_free_list(struct mach_host *host, struct list *blocks)
{
    struct heap *heap = host->heap;
    struct list *link = blocks->next;

    if (list_is_empty(blocks))
        return;
    lock_acquire(&heap->lock);
    while (link != blocks) {
        struct list *next = link->next;

        free_locked(heap, block_of(link));
        link = next;
    }
    lock_release(&heap->lock);
    list_init(blocks);
}

struct heap_statistics heap_statistics(struct mach_host *host)
{
    struct heap *heap = host->heap;
    struct heap_statistics statistics;

    lock_acquire(&heap->lock);
    statistics.size_bytes = heap->size_bytes;
    statistics.used_bytes = heap->used_bytes;
    statistics.peak_bytes = heap->peak_bytes;
    lock_release(&heap->lock);
    return statistics;
}

uint64_t heap_count(struct mach_host *host, enum heap_kind kind)
{
    struct heap *heap = host->heap;
    uint64_t count;

    lock_acquire(&heap->lock);
    count = heap->counts[kind];
    lock_release(&heap->lock);
    return count;
}

void heap_fail_after(struct mach_host *host, uint64_t n, bool sticky)
{
    struct heap *heap = host->heap;

    lock_acquire(&heap->lock);
    heap->fail_after = n;
    heap->fail_sticky = sticky;
    lock_release(&heap->lock);
}

/* --- Self-check ------------------------------------------------------------------------------- */

void heap_check(struct mach_host *host)
{
    struct heap *heap = host->heap;
    struct block *before = NULL;
    size_t used = 0, recent = 0, total = 0;

    lock_acquire(&heap->lock);
    for (struct block *block = heap->first;; block = block_after(block)) {
        size_t flags = block->size_and_flags & (BLOCK_FREE | BLOCK_RECENT);

        panic_unless(block->before == before);
        if (block_size(block) == 0)
            break;
        total += block_size(block) + BLOCK_HEADER;
        if (flags == BLOCK_FREE)
            panic_unless(before == NULL || !(before->size_and_flags & BLOCK_FREE));
        else if (flags == BLOCK_RECENT)
            recent += block_size(block);
        else
            used += block_size(block);
        before = block;
    }
    panic_unless(total == heap->size_bytes + BLOCK_HEADER);
    panic_unless(used == heap->used_bytes && recent == heap->recent_bytes);
    blocks_check_lists(heap);
    lock_release(&heap->lock);
}
