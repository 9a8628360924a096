/* SPDX-License-Identifier: MIT
 *
 * memcpy and its family for guests. Not in the host build, where the C library's are used.
 *
 * One register an access, eight accesses a round: an emulator translates each access on its own, so
 * what counts is bytes per access. Accesses may be unaligned: all our machines handle that in
 * ordinary memory, and the alternatives (bytes, or shifting two words together) cost more than it
 * does. Device registers are never copied with these.
 */
#include <kernel/string.h>
#include <stdint.h>

#undef memcpy
#undef memmove
#undef memset
#undef memcmp

#define WORD sizeof(word)

typedef uintptr_t word; /* as wide as a register */

#if defined(__riscv)
#if __riscv_xlen == 64
#define LOAD_WORD "ld"
#define STORE_WORD "sd"
#else
#define LOAD_WORD "lw"
#define STORE_WORD "sw"
#endif
#endif

static inline word load(const uint8_t *address)
{
#if defined(__riscv)
    /* The compiler would take a misaligned access apart into bytes. */
    word value;

    __asm__(LOAD_WORD " %0, %1" : "=r"(value) : "m"(*(const word *)(const void *)address));
    return value;
#else
    typedef word unaligned __attribute__((aligned(1), may_alias));

    return *(const unaligned *)(const void *)address;
#endif
}

static inline void store(uint8_t *address, word value)
{
#if defined(__riscv)
    __asm__(STORE_WORD " %1, %0" : "=m"(*(word *)(void *)address) : "r"(value));
#else
    typedef word unaligned __attribute__((aligned(1), may_alias));

    *(unaligned *)(void *)address = value;
#endif
}

static inline void copy_word(uint8_t *to, const uint8_t *from, size_t index)
{
    store(to + index * WORD, load(from + index * WORD));
}

/* Upwards, so it also serves memmove() to a lower address: a round of eight loads comes before its
 * stores. */
static inline void copy_up(uint8_t *to, const uint8_t *from, size_t len_bytes)
{
    for (; len_bytes >= 8 * WORD; len_bytes -= 8 * WORD, to += 8 * WORD, from += 8 * WORD) {
        word w0 = load(from), w1 = load(from + WORD), w2 = load(from + 2 * WORD),
             w3 = load(from + 3 * WORD), w4 = load(from + 4 * WORD), w5 = load(from + 5 * WORD),
             w6 = load(from + 6 * WORD), w7 = load(from + 7 * WORD);

        store(to, w0);
        store(to + WORD, w1);
        store(to + 2 * WORD, w2);
        store(to + 3 * WORD, w3);
        store(to + 4 * WORD, w4);
        store(to + 5 * WORD, w5);
        store(to + 6 * WORD, w6);
        store(to + 7 * WORD, w7);
    }
    for (; len_bytes >= WORD; len_bytes -= WORD, to += WORD, from += WORD)
        copy_word(to, from, 0);
    for (; len_bytes > 0; len_bytes--)
        *to++ = *from++;
}

static inline void copy_down(uint8_t *to, const uint8_t *from, size_t len_bytes)
{
    while (len_bytes % WORD != 0) {
        len_bytes--;
        to[len_bytes] = from[len_bytes];
    }
    for (; len_bytes >= WORD; len_bytes -= WORD)
        store(to + len_bytes - WORD, load(from + len_bytes - WORD));
}

void *memcpy(void *restrict destination, const void *restrict source, size_t len_bytes)
{
    copy_up(destination, source, len_bytes);
    return destination;
}

void *memmove(void *destination, const void *source, size_t len_bytes)
{
    if ((uintptr_t)destination - (uintptr_t)source >= len_bytes)
        copy_up(destination, source, len_bytes);
    else
        copy_down(destination, source, len_bytes);
    return destination;
}

void *memset(void *destination, int value, size_t len_bytes)
{
    word pattern = (word)0x0101010101010101ull * (uint8_t)value;
    uint8_t *to = destination;

    for (; len_bytes >= 4 * WORD; len_bytes -= 4 * WORD, to += 4 * WORD) {
        store(to, pattern);
        store(to + WORD, pattern);
        store(to + 2 * WORD, pattern);
        store(to + 3 * WORD, pattern);
    }
    for (; len_bytes >= WORD; len_bytes -= WORD, to += WORD)
        store(to, pattern);
    for (; len_bytes > 0; len_bytes--)
        *to++ = (uint8_t)value;
    return destination;
}

int memcmp(const void *left, const void *right, size_t len_bytes)
{
    const uint8_t *a = left;
    const uint8_t *b = right;

    while (len_bytes >= WORD && load(a) == load(b)) {
        a += WORD;
        b += WORD;
        len_bytes -= WORD;
    }
    for (; len_bytes > 0; len_bytes--, a++, b++)
        if (*a != *b)
            return *a < *b ? -1 : 1;
    return 0;
}

size_t strlen(const char *text)
{
    size_t length = 0;

    while (text[length] != '\0')
        length++;
    return length;
}

int strcmp(const char *left, const char *right)
{
    return strncmp(left, right, SIZE_MAX);
}

int strncmp(const char *left, const char *right, size_t len_bytes)
{
    for (; len_bytes > 0; len_bytes--, left++, right++) {
        if (*left != *right)
            return (uint8_t)*left < (uint8_t)*right ? -1 : 1;
        if (*left == '\0')
            break;
    }
    return 0;
}
