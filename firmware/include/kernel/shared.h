/* SPDX-License-Identifier: MIT
 *
 * Words that somebody else reads or writes at the same time: a peer's CPU through shared memory, or
 * a device through DMA. All are little-endian. Not for registers (kernel/mmio.h), not for data
 * between our own threads (kernel/thread.h).
 *
 * The ordering argument, once for all users. A writer fills memory with plain stores and then
 * announces it by a release store to an index; a reader that loads the index with acquire and sees
 * that value sees the memory as well. A reader gives memory back in the same way: its plain loads
 * stand before a release store to its own index. What was copied out is judged by words loaded
 * *after* the copy, which an acquire load cannot order: shared_fence_acquire() stands between. Two
 * sides that each store a flag and then look at the other's word ("I sleep" against "there is
 * more") may both miss each other under acquire and release; shared_fence_full() between the store
 * and the load excludes it.
 *
 * A node runs with -smp 1,maxcpus=2: with one possible CPU the emulator drops fences.
 */
#ifndef KERNEL_SHARED_H
#define KERNEL_SHARED_H

#include <kernel/little_endian.h>

#define SHARED_ACCESSORS(width)                                                                    \
    static inline uint##width##_t shared_load##width(const le##width *word)                        \
    {                                                                                              \
        return LITTLE_ENDIAN_SWAP##width(__atomic_load_n(&word->stored, __ATOMIC_RELAXED));        \
    }                                                                                              \
    static inline void shared_store##width(le##width *word, uint##width##_t value)                 \
    {                                                                                              \
        __atomic_store_n(&word->stored, LITTLE_ENDIAN_SWAP##width(value), __ATOMIC_RELAXED);       \
    }                                                                                              \
    static inline uint##width##_t shared_load##width##_acquire(const le##width *word)              \
    {                                                                                              \
        return LITTLE_ENDIAN_SWAP##width(__atomic_load_n(&word->stored, __ATOMIC_ACQUIRE));        \
    }                                                                                              \
    static inline void shared_store##width##_release(le##width *word, uint##width##_t value)       \
    {                                                                                              \
        __atomic_store_n(&word->stored, LITTLE_ENDIAN_SWAP##width(value), __ATOMIC_RELEASE);       \
    }

SHARED_ACCESSORS(16)
SHARED_ACCESSORS(32)

#if __SIZEOF_POINTER__ == 8
SHARED_ACCESSORS(64)
#else
/* A 32-bit CPU writes the upper half, then the lower, and reads in the other order. A reader may
 * find the upper half of one value with the lower half of another: only words of which that cannot
 * be mistaken for a value are touched by both sides at the same time (docs/spec/blackbox.md, 2.1). */
static inline le32 *shared_half(const le64 *word, unsigned half)
{
    return (le32 *)(uintptr_t)word + half; /* little-endian: 0 is the lower */
}

static inline uint64_t shared_load64_acquire(const le64 *word)
{
    uint32_t lower = shared_load32_acquire(shared_half(word, 0));

    return (uint64_t)shared_load32_acquire(shared_half(word, 1)) << 32 | lower;
}

static inline void shared_store64(le64 *word, uint64_t value)
{
    shared_store32(shared_half(word, 1), (uint32_t)(value >> 32));
    shared_store32(shared_half(word, 0), (uint32_t)value);
}

static inline void shared_store64_release(le64 *word, uint64_t value)
{
    shared_store32_release(shared_half(word, 1), (uint32_t)(value >> 32));
    shared_store32_release(shared_half(word, 0), (uint32_t)value);
}
#endif

#undef SHARED_ACCESSORS

/* Earlier loads before later loads and stores. */
static inline void shared_fence_acquire(void)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
}

/* Everything earlier before everything later, stores before loads included. */
static inline void shared_fence_full(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

#endif
