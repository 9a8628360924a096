/* SPDX-License-Identifier: MIT
 *
 * Words that are little-endian wherever they lie, because somebody who is not this CPU reads or
 * writes them: a peer, a device, the host. A word of that kind has a type of its own, so using one
 * without converting it does not compile, on any CPU (in an initialiser thanks to -Wmissing-braces,
 * which -Wall includes). On a little-endian one the conversions are nothing.
 *
 * For private copies and memory that one side at a time touches. Words that both touch at the same
 * time are read and written by kernel/shared.h, which takes the same types.
 *
 * Signed values are stored as their two's complement: (int32_t)le32_load(word).
 */
#ifndef KERNEL_LITTLE_ENDIAN_H
#define KERNEL_LITTLE_ENDIAN_H

#include <stdint.h>

#define LITTLE_ENDIAN_SWAP8(value) (value)
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define LITTLE_ENDIAN_SWAP16(value) __builtin_bswap16(value)
#define LITTLE_ENDIAN_SWAP32(value) __builtin_bswap32(value)
#define LITTLE_ENDIAN_SWAP64(value) __builtin_bswap64(value)
#else
#define LITTLE_ENDIAN_SWAP16(value) (value)
#define LITTLE_ENDIAN_SWAP32(value) (value)
#define LITTLE_ENDIAN_SWAP64(value) (value)
#endif

/* le16, le32, le64: `stored` is the bytes as they lie there, for this file and kernel/shared.h
 * only. */
#define LITTLE_ENDIAN_WORD(width)                                                                  \
    typedef struct {                                                                               \
        uint##width##_t stored;                                                                    \
    } le##width;                                                                                   \
    static inline uint##width##_t le##width##_load(le##width word)                                 \
    {                                                                                              \
        return LITTLE_ENDIAN_SWAP##width(word.stored);                                             \
    }                                                                                              \
    static inline le##width le##width##_of(uint##width##_t value)                                  \
    {                                                                                              \
        return (le##width){LITTLE_ENDIAN_SWAP##width(value)};                                      \
    }                                                                                              \
    static inline void le##width##_add(le##width *word, uint##width##_t difference)                \
    {                                                                                              \
        *word = le##width##_of(le##width##_load(*word) + difference);                              \
    }

LITTLE_ENDIAN_WORD(16)
LITTLE_ENDIAN_WORD(32)
LITTLE_ENDIAN_WORD(64)

#undef LITTLE_ENDIAN_WORD

#endif
