/* SPDX-License-Identifier: MIT
 *
 * Content and hash of traffic messages. Content: xorshift64* (Vigna, "An experimental exploration
 * of Marsaglia's xorshift generators, scrambled"). Mixing: the finaliser of splitmix64 (Steele,
 * Lea, Flood, "Fast splittable pseudorandom number generators"). Neither is for security: a
 * changed, missing or foreign byte must show.
 */
#include "content.h"

#include <kernel/string.h>

#define GOLDEN 0x9e3779b97f4a7c15ull /* 2^64 / golden ratio */

typedef le64 body_word; /* bodies are 8-byte aligned */

static uint64_t rotate_left(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

static uint64_t finalise(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static uint64_t mix(uint64_t a, uint64_t b, uint64_t c)
{
    return finalise(a ^ rotate_left(b, 24) ^ rotate_left(c, 48));
}

static uint64_t content_seed(const struct traffic_header *header)
{
    uint64_t state = le64_load(header->seed) ^ le64_load(header->sequence) * GOLDEN;

    return state != 0 ? state : GOLDEN; /* xorshift stays at 0 for ever */
}

static uint64_t content_next(uint64_t *state)
{
    uint64_t s = *state;

    s ^= s >> 12;
    s ^= s << 25;
    s ^= s >> 27;
    *state = s;
    return s * 0x2545f4914f6cdd1dull;
}

/* The last bytes of a content that is no multiple of eight long: the low ones of the next word. */
static uint64_t tail_mask(size_t tail_bytes)
{
    return (1ull << 8 * tail_bytes) - 1;
}

static uint64_t content_fill(body_word *words, size_t len_bytes,
                             const struct traffic_header *header, uint64_t hash)
{
    uint64_t state = content_seed(header);
    size_t whole = len_bytes / sizeof(*words);
    size_t tail_bytes = len_bytes % sizeof(*words);

    for (size_t i = 0; i < whole; i++) {
        uint64_t word = content_next(&state);
        words[i] = le64_of(word);
        hash = finalise(hash ^ word);
    }
    if (tail_bytes != 0) {
        uint64_t word = content_next(&state) & tail_mask(tail_bytes);
        le64 last = le64_of(word);
        memcpy(words + whole, &last, tail_bytes);
        hash = finalise(hash ^ word);
    }
    return hash;
}

/* Compares with what should be there and hashes that: a message that passes has the hash its source
 * computed. */
static bool content_matches(const body_word *words, size_t len_bytes,
                            const struct traffic_header *header, uint64_t hash)
{
    uint64_t state = content_seed(header);
    size_t whole = len_bytes / sizeof(*words);
    size_t tail_bytes = len_bytes % sizeof(*words);
    uint64_t difference = 0;

    for (size_t i = 0; i < whole; i++) {
        uint64_t expected = content_next(&state);
        difference |= le64_load(words[i]) ^ expected;
        hash = finalise(hash ^ expected);
    }
    if (tail_bytes != 0) {
        uint64_t expected = content_next(&state) & tail_mask(tail_bytes);
        le64 last = le64_of(0);
        memcpy(&last, words + whole, tail_bytes);
        difference |= le64_load(last) ^ expected;
        hash = finalise(hash ^ expected);
    }
    return difference == 0 && hash == le64_load(header->hash);
}

static uint64_t header_hash(const struct traffic_header *header, size_t len_bytes)
{
    return mix(le64_load(header->seed), le64_load(header->sequence), len_bytes);
}

uint64_t traffic_content_write(void *body, size_t len_bytes, const struct traffic_header *header)
{
    struct traffic_header *written = body;
    body_word *content = (body_word *)(void *)(written + 1);

    uint64_t hash = header_hash(header, len_bytes);

    if (le32_load(header->check) == TRAFFIC_CHECK_CONTENT) {
        hash = content_fill(content, len_bytes - sizeof(*header), header, hash);
    }
    *written = *header;
    written->magic = le32_of(TRAFFIC_MAGIC);
    written->hash = le64_of(hash);
    return hash;
}

bool traffic_content_check(const void *body, size_t len_bytes)
{
    const struct traffic_header *header = body;
    const body_word *content = (const body_word *)(const void *)(header + 1);
    uint64_t hash = header_hash(header, len_bytes);

    if (le32_load(header->check) == TRAFFIC_CHECK_HEADER) {
        return hash == le64_load(header->hash);
    }
    return content_matches(content, len_bytes - sizeof(*header), header, hash);
}

uint64_t traffic_hash_add(uint64_t running, uint64_t hash)
{
    return finalise(running ^ hash);
}
