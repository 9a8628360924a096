/* SPDX-License-Identifier: MIT
 *
 * The heap: two-level segregated fit (M. Masmano et al., "TLSF: a New Dynamic Memory Allocator for
 * Real-Time Systems", 2004) behind short lists of recently freed small blocks.
 *
 * Invariants
 * - The arena after struct heap is one chain of blocks, each a header and a payload of a multiple
 * of 16 bytes; the last is an empty sentinel in use. Two free blocks are never neighbours.
 * - A free block of size s is in the list (first, second) of s; the bitmaps have a bit for each
 * list that is not empty. Searching rounds the size up to the next list, so the first block found
 * fits: no list is ever walked.
 * - A freed block of at most RECENT_MAXIMUM bytes goes to the list of its exact size first and
 * stays unmerged there: the next message of that size takes a dozen instructions. Bytes kept so are
 * bounded; when the arena runs out all are merged once and the search is repeated.
 * - used_bytes counts what was handed out (payloads), not what is kept in lists.
 *
 * The lock is a leaf: nothing is called with it held. Callers hold no other lock (kernel/thread.h).
 */
#include "heap.h"
#include "poison.h"
#include <kernel/panic.h>

#define ALIGNMENT 16u
#define BLOCK_MINIMUM 16u /* payload: room for the two free-list pointers */
#define SECOND_BITS 4u
#define SECOND_COUNT (1u << SECOND_BITS)
#define FIRST_SHIFT 8u       /* sizes below 256 lie in first level 0, in steps of 16 */
#define FIRST_COUNT 30u      /* up to 2^37 bytes */
#define RECENT_MAXIMUM 1024u /* payload bytes */
#define RECENT_COUNT (RECENT_MAXIMUM / 16u + 1u)
#define RECENT_SHARE 16u /* at most a 16th of the arena is kept unmerged */

#define BLOCK_FREE ((size_t)1)   /* in a TLSF list */
#define BLOCK_RECENT ((size_t)2) /* in a list of recently freed blocks */
#define BLOCK_KIND_SHIFT 2u
#define BLOCK_FLAGS ((size_t)(ALIGNMENT - 1u))

struct block {
    size_t size_and_flags; /* payload bytes; BLOCK_FREE, BLOCK_RECENT, or the kind <<
                              BLOCK_KIND_SHIFT */
    struct block *before;  /* the block below in memory; null: the first */
    struct block *next;    /* of a free block: its list. The payload begins here. */
    struct block *previous;
};

#define BLOCK_HEADER offsetof(struct block, next)

_Static_assert(BLOCK_HEADER <= ALIGNMENT, "header fits in front of an aligned payload");
_Static_assert(sizeof(struct block) - BLOCK_HEADER <= BLOCK_MINIMUM, "links fit the payload");
_Static_assert(HEAP_KINDS << BLOCK_KIND_SHIFT <= ALIGNMENT, "kind fits the flags");

struct heap {
    struct lock lock;
    uint32_t first_bitmap;
    uint32_t second_bitmaps[FIRST_COUNT];
    struct block *free[FIRST_COUNT][SECOND_COUNT];
    struct block *recent[RECENT_COUNT]; /* by payload size / 16 */
    size_t recent_bytes;
    size_t recent_limit_bytes;
    struct block *first;
    size_t size_bytes;
    size_t used_bytes;
    size_t peak_bytes;
    uint64_t counts[HEAP_KINDS];
    uint64_t fail_after; /* 0: none; n: the n-th allocation from now fails */
    bool fail_sticky;
};

/* --- Blocks ----------------------------------------------------------------------------------- */

static inline size_t block_size(const struct block *block)
{
    return block->size_and_flags & ~BLOCK_FLAGS;
}

static inline void *block_payload(struct block *block)
{
    return (char *)block + BLOCK_HEADER;
}

static inline struct block *block_of(void *payload)
{
    return (struct block *)(void *)((char *)payload - BLOCK_HEADER);
}

static inline struct block *block_after(struct block *block)
{
    return (struct block *)(void *)((char *)block_payload(block) + block_size(block));
}

/* All of a free payload but the links. */
static inline void block_hide(struct block *block)
{
    memory_poison((char *)block_payload(block) + BLOCK_MINIMUM, block_size(block) - BLOCK_MINIMUM);
}

static inline void block_show(struct block *block)
{
    memory_unpoison(block_payload(block), block_size(block));
}

/* --- The two-level index ---------------------------------------------------------------------- */

struct class
{
    uint32_t first;
    uint32_t second;
};

static inline struct class class_of(size_t size)
{
    uint32_t highest;

    if (size < (1u << FIRST_SHIFT))
        return (struct class){0, (uint32_t)(size / ALIGNMENT)};
    highest = 63u - (uint32_t)__builtin_clzll(size);
    return (struct class){highest - FIRST_SHIFT + 1u,
                          (uint32_t)(size >> (highest - SECOND_BITS)) & (SECOND_COUNT - 1u)};
}

static void list_insert(struct heap *heap, struct block *block)
{
    struct class class = class_of(block_size(block));
    struct block **head = &heap->free[class.first][class.second];

    block->size_and_flags = block_size(block) | BLOCK_FREE;
    block->previous = NULL;
    block->next = *head;
    if (*head != NULL)
        (*head)->previous = block;
    *head = block;
    heap->first_bitmap |= 1u << class.first;
    heap->second_bitmaps[class.first] |= 1u << class.second;
    block_hide(block);
}

static void list_take(struct heap *heap, struct block *block)
{
    struct class class = class_of(block_size(block));

    block_show(block);
    block->size_and_flags = block_size(block);
    if (block->next != NULL)
        block->next->previous = block->previous;
    if (block->previous != NULL) {
        block->previous->next = block->next;
        return;
    }
    heap->free[class.first][class.second] = block->next;
    if (block->next != NULL)
        return;
    heap->second_bitmaps[class.first] &= ~(1u << class.second);
    if (heap->second_bitmaps[class.first] == 0)
        heap->first_bitmap &= ~(1u << class.first);
}

/* Any block of the smallest list whose blocks all fit. */
static struct block *list_find(struct heap *heap, size_t size)
{
    struct class class;
    uint32_t bits;

    if (size >= (1u << FIRST_SHIFT)) {
        uint32_t highest = 63u - (uint32_t)__builtin_clzll(size);

        size += ((size_t)1 << (highest - SECOND_BITS)) - 1u;
    }
    class = class_of(size);
    if (class.first >= FIRST_COUNT)
        return NULL;
    bits = heap->second_bitmaps[class.first] & (~0u << class.second);
    if (bits == 0) {
        bits = heap->first_bitmap & (class.first == 31u ? 0u : ~0u << (class.first + 1u));
        if (bits == 0)
            return NULL;
        class.first = (uint32_t)__builtin_ctz(bits);
        bits = heap->second_bitmaps[class.first];
    }
    return heap->free[class.first][__builtin_ctz(bits)];
}

/* --- Splitting and merging -------------------------------------------------------------------- */

/* `block` is in no list. Give back what it has beyond `size`. */
static void block_trim(struct heap *heap, struct block *block, size_t size)
{
    struct block *rest;
    size_t rest_size;

    if (block_size(block) < size + BLOCK_HEADER + BLOCK_MINIMUM)
        return;
    rest_size = block_size(block) - size - BLOCK_HEADER;
    block->size_and_flags = size;
    rest = block_after(block);
    rest->size_and_flags = rest_size;
    rest->before = block;
    block_after(rest)->before = rest;
    list_insert(heap, rest);
}

static void block_merge(struct heap *heap, struct block *block)
{
    struct block *before = block->before;
    struct block *after = block_after(block);

    block->size_and_flags = block_size(block);
    if (after->size_and_flags & BLOCK_FREE) {
        list_take(heap, after);
        block->size_and_flags += BLOCK_HEADER + block_size(after);
    }
    if (before != NULL && (before->size_and_flags & BLOCK_FREE)) {
        list_take(heap, before);
        before->size_and_flags += BLOCK_HEADER + block_size(block);
        block = before;
    }
    block_after(block)->before = block;
    list_insert(heap, block);
}

static void recent_merge_all(struct heap *heap)
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

/* --- The interface ---------------------------------------------------------------------------- */

int heap_open(struct mach_host *host, void *arena, size_t arena_bytes)
{
    struct heap *heap = arena;
    struct block *first, *sentinel;
    size_t head = (sizeof(*heap) + ALIGNMENT - 1u) & ~(size_t)(ALIGNMENT - 1u);

    arena_bytes &= ~(size_t)(ALIGNMENT - 1u);
    if (arena == NULL || ((uintptr_t)arena & (ALIGNMENT - 1u)) != 0 ||
        arena_bytes < head + 2u * BLOCK_HEADER + BLOCK_MINIMUM)
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
    list_insert(heap, first);
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

static bool failure_is_due(struct heap *heap)
{
    if (heap->fail_after == 0)
        return false;
    if (heap->fail_after > 1) {
        heap->fail_after--;
        return false;
    }
    if (!heap->fail_sticky)
        heap->fail_after = 0;
    return true;
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
    block = list_find(heap, size);
    if (block == NULL && heap->recent_bytes != 0) {
        recent_merge_all(heap);
        block = list_find(heap, size);
    }
    if (block == NULL)
        return NULL;
    list_take(heap, block);
    block_trim(heap, block, size);
    return block;
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
    if (!failure_is_due(heap))
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

static void check_lists(struct heap *heap)
{
    for (uint32_t first = 0; first < FIRST_COUNT; first++) {
        for (uint32_t second = 0; second < SECOND_COUNT; second++) {
            struct block *head = heap->free[first][second];

            panic_unless((head != NULL) == ((heap->second_bitmaps[first] >> second & 1u) != 0));
            for (struct block *block = head; block != NULL; block = block->next) {
                struct class class = class_of(block_size(block));

                panic_unless(class.first == first && class.second == second);
                panic_unless(block->size_and_flags & BLOCK_FREE);
            }
        }
        panic_unless((heap->second_bitmaps[first] != 0) ==
                     ((heap->first_bitmap >> first & 1u) != 0));
    }
}

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
    check_lists(heap);
    lock_release(&heap->lock);
}
