/* SPDX-License-Identifier: MIT
 *
 * Traffic messages byte by byte. The digests are the literals of tests/data/vectors/traffic.json,
 * which drive the Python side too.
 */
#include "unit.h"

#include <abi/services.h>
#include <servers/traffic/content.h>
#include <string.h>

#define SIZE_MAXIMUM 160u

union body {
    uint64_t words[SIZE_MAXIMUM / 8];
    uint8_t bytes[SIZE_MAXIMUM];
    struct traffic_header header;
};

static struct traffic_header header_of(uint64_t seed, uint64_t sequence, uint32_t check)
{
    return (struct traffic_header){.check = check,
                                   .stream_id = 4,
                                   .sequence = sequence,
                                   .source_incarnation = 0x100000001,
                                   .seed = seed};
}

static void test_what_was_written_checks(void)
{
    for (uint32_t check = 0; check <= 1; check++) {
        for (size_t size = sizeof(struct traffic_header); size <= 80; size++) {
            union body body = {.words = {0}};
            struct traffic_header header = header_of(99, 5, check);
            uint64_t hash = traffic_content_write(&body, size, &header);
            EXPECT(body.header.hash == hash);
            EXPECT(body.header.magic == TRAFFIC_MAGIC);
            EXPECT(traffic_content_check(&body, size));
            EXPECT(!traffic_content_check(&body, size + 1));
        }
    }
}

static void test_every_changed_content_byte_shows(void)
{
    union body body;
    struct traffic_header header = header_of(1, 0, TRAFFIC_CHECK_CONTENT);
    const size_t size = 48 + 29;

    traffic_content_write(&body, size, &header);
    for (size_t i = sizeof(header); i < size; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            body.bytes[i] ^= (uint8_t)(1u << bit);
            EXPECT(!traffic_content_check(&body, size));
            body.bytes[i] ^= (uint8_t)(1u << bit);
        }
    }
    EXPECT(traffic_content_check(&body, size));
}

static void test_a_foreign_header_shows(void)
{
    for (uint32_t check = 0; check <= 1; check++) {
        union body body = {.words = {0}};
        struct traffic_header header = header_of(1, 7, check);
        traffic_content_write(&body, 64, &header);
        body.header.sequence++;
        EXPECT(!traffic_content_check(&body, 64));
        body.header.sequence--;
        body.header.seed ^= 1;
        EXPECT(!traffic_content_check(&body, 64));
        body.header.seed ^= 1;
        body.header.hash ^= 1ull << 63;
        EXPECT(!traffic_content_check(&body, 64));
    }
}

static void test_header_check_ignores_the_content(void)
{
    union body body = {.words = {0}};
    struct traffic_header header = header_of(1, 7, TRAFFIC_CHECK_HEADER);

    memset(&body, 0xa5, sizeof(body));
    traffic_content_write(&body, 64, &header);
    EXPECT(body.bytes[63] == 0xa5);
    body.bytes[63] = 0;
    EXPECT(traffic_content_check(&body, 64));
}

static const struct unit_test traffic_content_tests[] = {
    {"what was written checks", test_what_was_written_checks},
    {"every changed content byte shows", test_every_changed_content_byte_shows},
    {"a foreign header shows", test_a_foreign_header_shows},
    {"header check ignores the content", test_header_check_ignores_the_content},
};
UNIT_SUITE("traffic_content", traffic_content_tests);
