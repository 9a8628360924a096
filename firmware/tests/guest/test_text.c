/* SPDX-License-Identifier: MIT
 *
 * The formatter, the memory functions and the checksum, as compiled for this CPU.
 */
#include "selftest.h"
#include <kernel/crc32c.h>
#include <kernel/format.h>
#include <kernel/shared.h>
#include <kernel/string.h>

static bool formats_to(const char *expected, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool formats_to(const char *expected, const char *format, ...)
{
    char text[64];
    va_list arguments;
    size_t length;

    va_start(arguments, format);
    length = format_text_list(text, sizeof(text), format, arguments);
    va_end(arguments);
    return strcmp(text, expected) == 0 && length == strlen(expected);
}

static void format_case(struct selftest *test)
{
    char small[4];

    CHECK(test, formats_to("a 1 -2 3", "%c %d %i %u", 'a', 1, -2, 3u));
    CHECK(test, formats_to("00ff FF  7|7  |", "%04x %X %2d|%-3d|", 255, 255, 7, 7));
    CHECK(test, formats_to("18446744073709551615", "%llu", ~0ull));
    CHECK(test, formats_to("-9223372036854775808", "%lld", (long long)(1ull << 63)));
    CHECK(test, formats_to("5 6 7 8", "%lu %zu %llu %u", 5ul, (size_t)6, 7ull, 8u));
    CHECK(test, formats_to("-007", "%04d", -7));
    CHECK(test, formats_to("ab abc|  x", "%.2s %s|%3s", "abc", "abc", "x"));
    CHECK(test, formats_to("100% 0x0", "100%% %p", (void *)0));
    CHECK(test, formats_to("-1 255", "%hhd %hhu", (signed char)-1, (unsigned char)255));
    CHECK(test, format_text(small, sizeof(small), "%s", "long") == 3);
    CHECK(test, strcmp(small, "lon") == 0);
}

#define AREA 256u

static void fill(uint8_t *area)
{
    for (unsigned i = 0; i < AREA; i++)
        area[i] = (uint8_t)(i * 7 + 3);
}

/* Moving `length` bytes by hand, the slow and obvious way. */
static void move_slowly(uint8_t *area, unsigned to, unsigned from, unsigned length)
{
    uint8_t copy[AREA];

    for (unsigned i = 0; i < length; i++)
        copy[i] = area[from + i];
    for (unsigned i = 0; i < length; i++)
        area[to + i] = copy[i];
}

/* The sizes reach past a round of eight words; the offsets cover every alignment and overlap both
 * ways. */
static void memory_functions_case(struct selftest *test)
{
    uint8_t area[AREA], expected[AREA], source[AREA];

    for (unsigned length = 0; length <= 150; length += length < 20 ? 1 : 13) {
        for (unsigned to = 0; to < 24; to += 3) {
            for (unsigned from = 0; from < 24; from += 5) {
                fill(area);
                fill(expected);
                fill(source);
                move_slowly(expected, to, from, length);
                memmove(area + to, area + from, length);
                CHECK(test, memcmp(area, expected, AREA) == 0);
                fill(area);
                memcpy(area + to, source + from, length);
                CHECK(test, memcmp(area, expected, AREA) == 0);
            }
        }
    }
    for (unsigned at = 0; at < 9; at++) {
        fill(area);
        memset(area + at, 0x5a, 77);
        for (unsigned i = 0; i < AREA; i++) {
            bool inside = i >= at && i < at + 77;

            CHECK(test, area[i] == (inside ? 0x5a : (uint8_t)(i * 7 + 3)));
        }
    }
    CHECK(test, memcmp("abcdefghij", "abcdefghiz", 10) < 0);
    CHECK(test, memcmp("\xff", "\x01", 1) > 0);
    CHECK(test, strncmp("abc", "abd", 2) == 0 && strcmp("abc", "ab") > 0);
}

/* RFC 3720 appendix B.4, and every way to cut and align a buffer. */
static void crc32c_case(struct selftest *test)
{
    uint8_t bytes[AREA];
    uint32_t whole;

    CHECK(test, crc32c(0, "123456789", 9) == 0xe3069283);
    memset(bytes, 0, 32);
    CHECK(test, crc32c(0, bytes, 32) == 0x8a9136aa);
    memset(bytes, 0xff, 32);
    CHECK(test, crc32c(0, bytes, 32) == 0x62a8ab43);
    for (unsigned i = 0; i < 32; i++)
        bytes[i] = (uint8_t)i;
    CHECK(test, crc32c(0, bytes, 32) == 0x46dd794e);
    fill(bytes);
    whole = crc32c(0, bytes, AREA);
    for (unsigned cut = 0; cut <= AREA; cut++)
        CHECK(test, crc32c(crc32c(0, bytes, cut), bytes + cut, AREA - cut) == whole);
}

/* Words that leave the CPU, by their bytes, and a product and a quotient of 64 bits, which CPUs with
 * narrower registers make up. */
static void little_endian_case(struct selftest *test)
{
    static const uint8_t bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    le16 two = le16_of(0x0201);
    le32 four = le32_of(0x04030201);
    le64 eight = le64_of(0x0807060504030201);
    volatile uint64_t large = 0xfedcba9876543210;
    volatile int64_t negative = -1000000000007;

    CHECK(test, memcmp(&two, bytes, 2) == 0 && le16_load(two) == 0x0201);
    CHECK(test, memcmp(&four, bytes, 4) == 0 && le32_load(four) == 0x04030201);
    CHECK(test, memcmp(&eight, bytes, 8) == 0 && le64_load(eight) == 0x0807060504030201);
    shared_store64_release(&eight, 0x1122334455667788);
    CHECK(test, ((const uint8_t *)&eight)[0] == 0x88 && ((const uint8_t *)&eight)[7] == 0x11);
    CHECK(test, shared_load64_acquire(&eight) == 0x1122334455667788);
    CHECK(test, large / 1000000007u == 18364758415ull && large % 1000000007u == 939755815u);
    CHECK(test, large / 0x100000001ull == 0xfedcba97 && large % 0x100000001ull == 0x77777779);
    CHECK(test, negative / 10 == -100000000000 && negative % 10 == -7);
}

const struct selftest_case selftest_text_cases[] = {
    {"format", format_case},
    {"memory_functions", memory_functions_case},
    {"crc32c", crc32c_case},
    {"little_endian", little_endian_case},
    {NULL, NULL},
};
