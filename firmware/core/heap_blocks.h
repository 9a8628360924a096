/* SPDX-License-Identifier: MIT
 *
 * The blocks of the heap and the two-level index of the free ones. Private to core/heap*.c;
 * core/heap.c says what the whole is and which rules hold. Called with the heap lock held.
 */
#ifndef CORE_HEAP_BLOCKS_H
#define CORE_HEAP_BLOCKS_H

#include "heap.h"
#include "poison.h"

#define ALIGNMENT 16u
#define BLOCK_MINIMUM 16u /* payload: room for the two free-list pointers */
#define SECOND_BITS 4u
#define SECOND_COUNT (1u << SECOND_BITS)
#define FIRST_SHIFT 8u       /* sizes below 256 lie in first level 0, in steps of 16 */
#define FIRST_COUNT 30u      /* sizes below 2^37 */
#define RECENT_MAXIMUM 1024u /* payload bytes */
#define RECENT_COUNT (RECENT_MAXIMUM / 16u + 1u)
#define RECENT_SHARE 16u /* at most a 16th of the arena is kept unmerged */

#define BLOCK_FREE ((size_t)1)   /* in a TLSF list */
#define BLOCK_RECENT ((size_t)2) /* in a list of recently freed blocks */
#define BLOCK_KIND_SHIFT 2u
#define BLOCK_FLAGS ((size_t)(ALIGNMENT - 1u))

struct block {
    size_t size_and_flags; /* payload bytes; flags below, or a kind << BLOCK_KIND_SHIFT */
    struct block *before;  /* the block below in memory; null: the first */
    _Alignas(
        ALIGNMENT) struct block *next; /* of a free block: its list. The payload begins here. */
    struct block *previous;
};

#define BLOCK_HEADER offsetof(struct block, next)

_Static_assert(BLOCK_HEADER == ALIGNMENT, "payloads are aligned as headers are");
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

/* Enter a block that is in no list; take one out. */
COLD void block_insert(struct heap *heap, struct block *block);
COLD void block_remove(struct heap *heap, struct block *block);

/* Any block of the smallest list whose blocks all have `size` bytes; null: there is none. */
COLD struct block *block_find(struct heap *heap, size_t size);

/* Of a block in no list: give back what it has beyond `size`; or unite it with free neighbours and
 * enter what comes of it. */
COLD void block_trim(struct heap *heap, struct block *block, size_t size);
COLD void block_merge(struct heap *heap, struct block *block);

/* The lists, the bitmaps and the classes agree, or panic. */
COLD void blocks_check_lists(struct heap *heap);

#endif
