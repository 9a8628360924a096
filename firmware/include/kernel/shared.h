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

#include <stdint.h>

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define SHARED_SWAP16(value) __builtin_bswap16(value)
#define SHARED_SWAP32(value) __builtin_bswap32(value)
#define SHARED_SWAP64(value) __builtin_bswap64(value)
#else
#define SHARED_SWAP16(value) (value)
#define SHARED_SWAP32(value) (value)
#define SHARED_SWAP64(value) (value)
#endif

#define SHARED_ACCESSORS(width)                                                                    \
    static inline uint##width##_t shared_load##width(const uint##width##_t *word)                  \
    {                                                                                              \
        return SHARED_SWAP##width(__atomic_load_n(word, __ATOMIC_RELAXED));                        \
    }                                                                                              \
    static inline void shared_store##width(uint##width##_t *word, uint##width##_t value)           \
    {                                                                                              \
        __atomic_store_n(word, SHARED_SWAP##width(value), __ATOMIC_RELAXED);                       \
    }                                                                                              \
    static inline uint##width##_t shared_load##width##_acquire(const uint##width##_t *word)        \
    {                                                                                              \
        return SHARED_SWAP##width(__atomic_load_n(word, __ATOMIC_ACQUIRE));                        \
    }                                                                                              \
    static inline void shared_store##width##_release(uint##width##_t *word, uint##width##_t value) \
    {                                                                                              \
        __atomic_store_n(word, SHARED_SWAP##width(value), __ATOMIC_RELEASE);                       \
    }

SHARED_ACCESSORS(16)
SHARED_ACCESSORS(32)
SHARED_ACCESSORS(64)

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
