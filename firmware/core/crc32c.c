/* SPDX-License-Identifier: MIT
 *
 * CRC-32C, eight bytes a round by eight tables ("slicing by 8", Kounavis and Berry 2005). Pure.
 *
 * slices[k][i] is what byte i does to the checksum when k more bytes follow it. That is linear over
 * GF(2), so a whole table follows from its eight entries with one bit set, which are successive
 * powers of x modulo the polynomial 0x1edc6f41 (reflected: 0x82f63b78). crc32c_changes[w] would be
 * slices[4 * w + 3].
 */
#include <kernel/crc32c.h>
#include <kernel/little_endian.h>

#define BIT(index, bit, power) (((index) >> (bit)&1u) != 0 ? (power) : 0u)

/* The entry for byte `i`, from those for bytes 1, 2, 4 .. 128. */
#define ENTRY(i, p0, p1, p2, p3, p4, p5, p6, p7)                                                   \
    BIT(i, 0, p0) ^ BIT(i, 1, p1) ^ BIT(i, 2, p2) ^ BIT(i, 3, p3) ^ BIT(i, 4, p4) ^                \
        BIT(i, 5, p5) ^ BIT(i, 6, p6) ^ BIT(i, 7, p7)

#define ENTRIES_4(i, ...)                                                                          \
    ENTRY(i, __VA_ARGS__), ENTRY((i) + 1, __VA_ARGS__), ENTRY((i) + 2, __VA_ARGS__),               \
        ENTRY((i) + 3, __VA_ARGS__)
#define ENTRIES_16(i, ...)                                                                         \
    ENTRIES_4(i, __VA_ARGS__), ENTRIES_4((i) + 4, __VA_ARGS__), ENTRIES_4((i) + 8, __VA_ARGS__),   \
        ENTRIES_4((i) + 12, __VA_ARGS__)
#define ENTRIES_64(i, ...)                                                                         \
    ENTRIES_16(i, __VA_ARGS__), ENTRIES_16((i) + 16, __VA_ARGS__),                                 \
        ENTRIES_16((i) + 32, __VA_ARGS__), ENTRIES_16((i) + 48, __VA_ARGS__)
#define SLICE(...)                                                                                 \
    {                                                                                              \
        ENTRIES_64(0u, __VA_ARGS__), ENTRIES_64(64u, __VA_ARGS__), ENTRIES_64(128u, __VA_ARGS__),  \
            ENTRIES_64(192u, __VA_ARGS__)                                                          \
    }

static const uint32_t slices[8][256] = {
    /* clang-format off */
    SLICE(0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf, 0x105ec76f, 0x20bd8ede, 0x417b1dbc, 0x82f63b78),
    SLICE(0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8, 0x3fc5f181, 0x7f8be302, 0xff17c604, 0xfbc3faf9),
    SLICE(0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5, 0x70a27d8a, 0xe144fb14, 0xc76580d9, 0x8b277743),
    SLICE(0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, 0xe964b13d, 0xd725148b, 0xaba65fe7, 0x52a0c93f),
    SLICE(0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91, 0x8f2261d3, 0x1ba8b557, 0x37516aae, 0x6ea2d55c),
    SLICE(0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f, 0xc00c303e, 0x85f4168d, 0x0e045beb, 0x1c08b7d6),
    SLICE(0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53, 0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a, 0xf56e0ef4),
    SLICE(0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, 0x847609b4, 0x0d006599, 0x1a00cb32, 0x34019664),
    /* clang-format on */
};

const uint32_t crc32c_changes[CRC32C_CHANGE_WORDS][256] = {
    /* clang-format off */
    SLICE(0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, 0xe964b13d, 0xd725148b, 0xaba65fe7, 0x52a0c93f),
    SLICE(0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, 0x847609b4, 0x0d006599, 0x1a00cb32, 0x34019664),
    SLICE(0x3171d430, 0x62e3a860, 0xc5c750c0, 0x8e62d771, 0x1929d813, 0x3253b026, 0x64a7604c, 0xc94ec098),
    SLICE(0xf20c0dfe, 0xe1f46d0d, 0xc604aceb, 0x89e52f27, 0x162628bf, 0x2c4c517e, 0x5898a2fc, 0xb13145f8),
    SLICE(0x3743f7bd, 0x6e87ef7a, 0xdd0fdef4, 0xbff3cb19, 0x7a0be0c3, 0xf417c186, 0xedc3f5fd, 0xde6b9d0b),
    SLICE(0xba4fc28e, 0x7173f3ed, 0xe2e7e7da, 0xc023b945, 0x85ab047b, 0x0eba7e07, 0x1d74fc0e, 0x3ae9f81c),
    SLICE(0xa2158b34, 0x41c76099, 0x838ec132, 0x02f1f495, 0x05e3e92a, 0x0bc7d254, 0x178fa4a8, 0x2f1f4950),
    /* clang-format on */
};

/* A round of the loop costs an emulator more than its instructions. */
#define UNROLLED_BYTES 32u

static uint32_t add_byte(uint32_t crc, uint8_t byte)
{
    return crc >> 8 ^ slices[0][(crc ^ byte) & 0xff];
}

/* `word` holds eight bytes of data, the first in its low bits. */
static inline uint32_t add_word(uint32_t crc, uint64_t word)
{
    word ^= crc;
    return slices[7][word & 0xff] ^ slices[6][word >> 8 & 0xff] ^ slices[5][word >> 16 & 0xff] ^
           slices[4][word >> 24 & 0xff] ^ slices[3][word >> 32 & 0xff] ^
           slices[2][word >> 40 & 0xff] ^ slices[1][word >> 48 & 0xff] ^ slices[0][word >> 56];
}

static inline uint64_t load_little_endian(const uint8_t *aligned)
{
    return le64_load(*(const le64 *)(const void *)aligned);
}

uint32_t crc32c(uint32_t state, const void *data, size_t len_bytes)
{
    const uint8_t *bytes = data;
    uint32_t crc = ~state;

    for (; len_bytes > 0 && (uintptr_t)bytes % sizeof(uint64_t) != 0; len_bytes--)
        crc = add_byte(crc, *bytes++);
    for (; len_bytes >= UNROLLED_BYTES; len_bytes -= UNROLLED_BYTES, bytes += UNROLLED_BYTES) {
        crc = add_word(crc, load_little_endian(bytes));
        crc = add_word(crc, load_little_endian(bytes + 8));
        crc = add_word(crc, load_little_endian(bytes + 16));
        crc = add_word(crc, load_little_endian(bytes + 24));
    }
    for (; len_bytes >= sizeof(uint64_t); len_bytes -= sizeof(uint64_t), bytes += sizeof(uint64_t))
        crc = add_word(crc, load_little_endian(bytes));
    for (; len_bytes > 0; len_bytes--)
        crc = add_byte(crc, *bytes++);
    return ~crc;
}
