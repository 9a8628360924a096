/* SPDX-License-Identifier: MIT
 *
 * The part of the heap that only the core uses: blocks that are counted by what they hold, so that
 * a leak has a name and the node's statistics cost nothing on the message path. Private to core;
 * everybody else uses kernel/host.h.
 */
#ifndef CORE_HEAP_H
#define CORE_HEAP_H

#include "list.h"
#include <kernel/host.h>

enum heap_kind {
    HEAP_OTHER = 0,
    HEAP_KMSG = 1,
    HEAP_PORT = 2,
    HEAP_NODE = 3,
    HEAP_KINDS = 4,
};

/* Make the heap in `arena` and set host->heap. 0, or ERROR_INVALID: misaligned, or too small or
 * too large. */
int heap_open(struct mach_host *host, void *arena, size_t arena_bytes) MUST_CHECK;

/* The arena is its owner's again, with whatever it holds. */
void heap_close(struct mach_host *host);

void *heap_allocate_kind(struct mach_host *host, size_t bytes, enum heap_kind kind);

/* Free every block of a list whose links are the blocks' first members, under one acquisition of
 * the lock. */
void heap_free_list(struct mach_host *host, struct list *blocks);

/* Blocks of that kind in use now. */
uint64_t heap_count(struct mach_host *host, enum heap_kind kind);

/* Tests: walk every block and free list; the first broken rule panics. */
void heap_check(struct mach_host *host);

#endif
