/* SPDX-License-Identifier: MIT
 *
 * The memory and text functions that the compiler and the core use, with the meaning of the C
 * standard. The guest's own move one register at a time, which is what the emulator translates best.
 */
#ifndef KERNEL_STRING_H
#define KERNEL_STRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict destination, const void *restrict source, size_t len_bytes);
void *memmove(void *destination, const void *source, size_t len_bytes);
void *memset(void *destination, int value, size_t len_bytes);
int memcmp(const void *left, const void *right, size_t len_bytes);
size_t strlen(const char *text);
int strcmp(const char *left, const char *right);
int strncmp(const char *left, const char *right, size_t len_bytes);

/* Freestanding code would call a function even for eight bytes: let the compiler copy small
 * constant sizes in place. */
#define memcpy(destination, source, len_bytes) __builtin_memcpy(destination, source, len_bytes)
#define memmove(destination, source, len_bytes) __builtin_memmove(destination, source, len_bytes)
#define memset(destination, value, len_bytes) __builtin_memset(destination, value, len_bytes)

#define COPY_INLINE_MAXIMUM 256u

/* memcpy() for what is mostly short, a multiple of 8 bytes and aligned to them: a call costs as
 * much as copying it, so that is done in place. */
static inline void copy_inline(void *restrict destination, const void *restrict source,
                               size_t len_bytes)
{
    typedef uint64_t __attribute__((may_alias)) word;
    word *to = destination;
    const word *from = source;
    bool is_odd = (((uintptr_t)to | (uintptr_t)from | len_bytes) % sizeof(*to)) != 0;

    if (is_odd || len_bytes > COPY_INLINE_MAXIMUM) {
        memcpy(destination, source, len_bytes);
        return;
    }
    for (; len_bytes >= 8 * sizeof(*to); len_bytes -= 8 * sizeof(*to), to += 8, from += 8) {
        to[0] = from[0];
        to[1] = from[1];
        to[2] = from[2];
        to[3] = from[3];
        to[4] = from[4];
        to[5] = from[5];
        to[6] = from[6];
        to[7] = from[7];
    }
    if ((len_bytes & 4 * sizeof(*to)) != 0) {
        to[0] = from[0];
        to[1] = from[1];
        to[2] = from[2];
        to[3] = from[3];
        to += 4;
        from += 4;
    }
    if ((len_bytes & 2 * sizeof(*to)) != 0) {
        to[0] = from[0];
        to[1] = from[1];
        to += 2;
        from += 2;
    }
    if ((len_bytes & sizeof(*to)) != 0) {
        to[0] = from[0];
    }
}

#endif
