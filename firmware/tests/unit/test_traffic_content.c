/* SPDX-License-Identifier: MIT
 *
 * Traffic messages byte by byte. The literals were computed by the other implementation,
 * emulator/protocol/traffic.py.
 */
#include "native.h"
#include "unit.h"

#include <abi/services.h>
#include <servers/traffic/content.h>
#include <string.h>

#define SIZE_MAXIMUM 4096u

union body {
    uint64_t words[SIZE_MAXIMUM / 8];
    uint8_t bytes[SIZE_MAXIMUM];
    struct traffic_header header;
};

static struct traffic_header header_of(uint64_t seed, uint64_t sequence, uint32_t check)
{
    return (struct traffic_header){.check = le32_of(check),
                                   .stream_id = le64_of(4),
                                   .sequence = le64_of(sequence),
                                   .source_incarnation = le64_of(0x100000001),
                                   .seed = le64_of(seed)};
}

static void test_what_was_written_checks(void)
{
    for (uint32_t check = 0; check <= 1; check++) {
        for (size_t size = sizeof(struct traffic_header); size <= 80; size++) {
            union body body = {.words = {0}};
            struct traffic_header header = header_of(99, 5, check);
            uint64_t hash = traffic_content_write(&body, size, &header);
            EXPECT(NATIVE(body.header.hash) == hash);
            EXPECT(NATIVE(body.header.magic) == TRAFFIC_MAGIC);
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
        le64_add(&body.header.sequence, 1);
        EXPECT(!traffic_content_check(&body, 64));
        le64_add(&body.header.sequence, (uint64_t)-1);
        STORE(body.header.seed, NATIVE(body.header.seed) ^ 1);
        EXPECT(!traffic_content_check(&body, 64));
        STORE(body.header.seed, NATIVE(body.header.seed) ^ 1);
        STORE(body.header.hash, NATIVE(body.header.hash) ^ 1ull << 63);
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

struct digest_vector {
    uint64_t seed;
    uint64_t count;
    size_t size_bytes;
    uint32_t check;
    uint64_t digest;
};

static const struct digest_vector digest_vectors[] = {
    {0x0ull, 1, 48, 0, 0xb26e6c351926bc59ull},
    {0x1ull, 1, 64, 0, 0xa5afb569ab7e5333ull},
    {0x1ull, 1000, 64, 0, 0x52fa89a79f7897c6ull},
    {0x5ull, 1000, 64, 1, 0x760fd5a84d62abc0ull},
    {0x0ull, 1, 56, 1, 0x08c1ce746c288a24ull}, /* the generator's seed is 0 */
    {0xffffffffffffffffull, 10, 48, 1, 0x619b32cd1e56e4ceull},
    {0x123456789abcdefull, 17, 61, 1, 0x43e80b5112bf4c26ull},
    {0x7ull, 3, 4096, 1, 0x4e707b89ddc8ca3cull},
};

static void test_digests_are_those_of_the_other_implementation(void)
{
    for (size_t i = 0; i < sizeof(digest_vectors) / sizeof(digest_vectors[0]); i++) {
        const struct digest_vector *vector = &digest_vectors[i];
        uint64_t running = 0;
        for (uint64_t sequence = 0; sequence < vector->count; sequence++) {
            union body body = {.words = {0}};
            struct traffic_header header = header_of(vector->seed, sequence, vector->check);
            running = traffic_hash_add(running,
                                       traffic_content_write(&body, vector->size_bytes, &header));
        }
        EXPECT_EQUAL(running, vector->digest);
    }
}

static void test_a_message_has_these_bytes(void)
{
    static const uint8_t expected[61] = {
        0x48, 0x54, 0x52, 0x46, 0x01, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00,
        0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x63, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0xdb, 0xe2, 0x73, 0x5a, 0x8f, 0x0f, 0x80, 0xe4, 0x0d, 0x79, 0xe7, 0x03,
        0xf9, 0x2d, 0x35, 0xd0, 0xa8, 0x4c, 0x9e, 0xeb, 0x97};
    union body body = {.words = {0}};
    struct traffic_header header = header_of(99, 5, TRAFFIC_CHECK_CONTENT);

    traffic_content_write(&body, sizeof(expected), &header);
    EXPECT(memcmp(&body, expected, sizeof(expected)) == 0);
}

static const struct unit_test traffic_content_tests[] = {
    {"what was written checks", test_what_was_written_checks},
    {"every changed content byte shows", test_every_changed_content_byte_shows},
    {"a foreign header shows", test_a_foreign_header_shows},
    {"header check ignores the content", test_header_check_ignores_the_content},
    {"digests are those of the other implementation",
     test_digests_are_those_of_the_other_implementation},
    {"a message has these bytes", test_a_message_has_these_bytes},
};
UNIT_SUITE("traffic_content", traffic_content_tests);
