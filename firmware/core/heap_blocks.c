/* SPDX-License-Identifier: MIT
 *
 * The two-level index of free blocks, splitting and merging. Part of the heap: see core/heap.c.
 */
#include "heap_blocks.h"
#include <kernel/panic.h>

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

void block_insert(struct heap *heap, struct block *block)
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

void block_remove(struct heap *heap, struct block *block)
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

struct block *block_find(struct heap *heap, size_t size)
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

void block_trim(struct heap *heap, struct block *block, size_t size)
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
    block_insert(heap, rest);
}

void block_merge(struct heap *heap, struct block *block)
{
    struct block *before = block->before;
    struct block *after = block_after(block);

    block->size_and_flags = block_size(block);
    if (after->size_and_flags & BLOCK_FREE) {
        block_remove(heap, after);
        block->size_and_flags += BLOCK_HEADER + block_size(after);
    }
    if (before != NULL && (before->size_and_flags & BLOCK_FREE)) {
        block_remove(heap, before);
        before->size_and_flags += BLOCK_HEADER + block_size(block);
        block = before;
    }
    block_after(block)->before = block;
    block_insert(heap, block);
}

/* --- Self-check ------------------------------------------------------------------------------- */

void blocks_check_lists(struct heap *heap)
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
