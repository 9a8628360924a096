/* SPDX-License-Identifier: MIT
 *
 * Frames out of a byte stream: however the bytes are cut up, every undisturbed frame comes out
 * once, in order, and every other byte is counted as skipped.
 */
#include "native.h"
#include "phys/stream/frame_stream.h"
#include "unit.h"
#include <abi/frame.h>
#include <kernel/crc32c.h>
#include <stdlib.h>
#include <string.h>

#define MTU 256u
#define FRAMES_MAXIMUM 64u

struct heard {
    uint8_t buffer[FRAME_HEADER_SIZE + MTU];
    struct frame_stream stream;
    size_t count, skipped_bytes;
    uint64_t numbers[FRAMES_MAXIMUM];
};

/* A frame is number `src_incarnation`; its payload follows from it. */
static size_t make_frame(uint8_t *to, uint64_t number, uint32_t payload_bytes)
{
    struct frame_header header = {
        .magic = le16_of(FRAME_MAGIC),
        .version = FRAME_VERSION,
        .src_incarnation = le64_of(number),
        .type = FRAME_DATA,
        .length = le32_of(payload_bytes),
    };

    STORE(header.header_crc, crc32c(0, &header, FRAME_HEADER_SIZE - sizeof(header.header_crc)));
    memcpy(to, &header, sizeof(header));
    for (uint32_t i = 0; i < payload_bytes; i++)
        to[FRAME_HEADER_SIZE + i] = (uint8_t)(number + i);
    return FRAME_HEADER_SIZE + payload_bytes;
}

static void on_frame(void *context, const uint8_t *frame, size_t length)
{
    struct heard *heard = context;
    struct frame_header header;

    REQUIRE(length >= FRAME_HEADER_SIZE && heard->count < FRAMES_MAXIMUM);
    memcpy(&header, frame, sizeof(header));
    EXPECT_EQUAL(NATIVE(header.length), length - FRAME_HEADER_SIZE);
    for (uint32_t i = 0; i < NATIVE(header.length); i++)
        EXPECT(frame[FRAME_HEADER_SIZE + i] == (uint8_t)(NATIVE(header.src_incarnation) + i));
    heard->numbers[heard->count++] = NATIVE(header.src_incarnation);
}

static void on_number(void *context, const uint8_t *frame, size_t length)
{
    struct heard *heard = context;
    struct frame_header header;

    REQUIRE(length >= FRAME_HEADER_SIZE && heard->count < FRAMES_MAXIMUM);
    memcpy(&header, frame, sizeof(header));
    heard->numbers[heard->count++] = NATIVE(header.src_incarnation);
}

static void on_skipped(void *context, size_t count)
{
    struct heard *heard = context;

    EXPECT(count != 0);
    heard->skipped_bytes += count;
}

static void start(struct heard *heard)
{
    memset(heard, 0, sizeof(*heard));
    heard->stream = (struct frame_stream){
        .buffer = heard->buffer,
        .mtu = MTU,
        .context = heard,
        .frame = on_frame,
        .skipped = on_skipped,
    };
}

/* Push in pieces of `piece` bytes, each in a block of its own for the address sanitizer. */
static void push_in_pieces(struct heard *heard, const uint8_t *bytes, size_t count, size_t piece)
{
    while (count != 0) {
        size_t length = piece < count ? piece : count;
        uint8_t *block = malloc(length);

        REQUIRE(block != NULL);
        memcpy(block, bytes, length);
        frame_stream_push(&heard->stream, block, length);
        free(block);
        bytes += length;
        count -= length;
    }
}

static void pieces_of_any_size_give_the_same_frames(void)
{
    static const uint32_t payloads[] = {0, 1, 7, 64, 255, MTU, 0, 0, 100};
    uint8_t bytes[4096];
    size_t count = 0, frames = sizeof(payloads) / sizeof(payloads[0]);
    struct heard heard;

    for (size_t i = 0; i < frames; i++)
        count += make_frame(bytes + count, i, payloads[i]);
    for (size_t piece = 1; piece <= count; piece++) {
        start(&heard);
        push_in_pieces(&heard, bytes, count, piece);
        REQUIRE(heard.count == frames);
        for (size_t i = 0; i < frames; i++)
            EXPECT_EQUAL(heard.numbers[i], i);
        EXPECT_EQUAL(heard.skipped_bytes, 0);
        EXPECT_EQUAL(heard.stream.have_bytes, 0);
    }
}

static void what_is_no_frame_is_skipped_and_counted(void)
{
    static const uint8_t garbage[] = "MMN\1MN\1 what is left of something MN\2MN\1";
    uint8_t bytes[4096];
    size_t count = 0, skipped = 0;
    struct heard heard;

    for (uint64_t i = 0; i < 5; i++) {
        memcpy(bytes + count, garbage, sizeof(garbage) - 1);
        count += sizeof(garbage) - 1;
        skipped += sizeof(garbage) - 1;
        count += make_frame(bytes + count, i, (uint32_t)i * 9);
    }
    for (size_t piece = 1; piece <= count; piece++) {
        start(&heard);
        push_in_pieces(&heard, bytes, count, piece);
        EXPECT_EQUAL(heard.count, 5);
        EXPECT_EQUAL(heard.skipped_bytes, skipped);
    }
}

struct damage {
    const char *what;
    size_t offset;
    uint8_t flip;
};

static void a_damaged_header_costs_only_its_frame(void)
{
    static const struct damage damages[] = {
        {"magic", 0, 0x01},
        {"version", 2, 0x02},
        {"length, beyond the MTU", 37, 0x80},
        {"length, possible", 36, 0x08},
        {"header CRC", 61, 0x10},
        {"incarnation", 10, 0x40},
    };

    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        uint8_t bytes[1024];
        size_t first = make_frame(bytes, 0, 50);
        size_t second = make_frame(bytes + first, 1, 50);
        size_t third = make_frame(bytes + first + second, 2, 50);
        struct heard heard;

        bytes[first + damages[i].offset] ^= damages[i].flip;
        start(&heard);
        frame_stream_push(&heard.stream, bytes, first + second + third);
        unit_expect(heard.count == 2 && heard.numbers[0] == 0 && heard.numbers[1] == 2, __FILE__,
                    __LINE__, damages[i].what);
        EXPECT_EQUAL(heard.skipped_bytes, second);
    }
}

/* A header promises bytes that were lost: the frames behind are taken for its payload until it is
 * satisfied. */
static void after_lost_bytes_the_next_whole_frame_is_found(void)
{
    uint8_t bytes[1024];
    size_t count = make_frame(bytes, 0, 4);
    struct heard heard;

    start(&heard);
    count += make_frame(bytes + count, 1, 100) - 40; /* the end of this one is lost */
    for (uint64_t i = 2; i < 5; i++)
        count += make_frame(bytes + count, i, 100);
    heard.stream.frame = on_number;
    push_in_pieces(&heard, bytes, count, 33);
    EXPECT_EQUAL(heard.count, 4);
    EXPECT_EQUAL(heard.numbers[1],
                 1); /* with 40 bytes of frame 2 in its payload, for the CRC above to see */
    EXPECT_EQUAL(heard.numbers[2], 3);
    EXPECT_EQUAL(heard.numbers[3], 4);
    EXPECT_EQUAL(heard.skipped_bytes, FRAME_HEADER_SIZE + 100 - 40);
}

static void a_reset_forgets_half_a_frame(void)
{
    uint8_t bytes[1024];
    size_t length = make_frame(bytes, 0, 100);
    struct heard heard;

    start(&heard);
    frame_stream_push(&heard.stream, bytes, length - 1);
    frame_stream_reset(&heard.stream);
    make_frame(bytes, 1, 100);
    frame_stream_push(&heard.stream, bytes, length);
    EXPECT_EQUAL(heard.count, 1);
    EXPECT_EQUAL(heard.numbers[0], 1);
    EXPECT_EQUAL(heard.skipped_bytes, 0);
}

static void random_bytes_never_make_a_frame(void)
{
    uint8_t bytes[512];
    uint64_t random = 7;
    size_t pushed = 0;
    struct heard heard;

    start(&heard);
    for (unsigned round = 0; round < 2000; round++) {
        for (size_t i = 0; i < sizeof(bytes); i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            /* Full of beginnings. */
            bytes[i] = (uint8_t) "MN\1M\0NM\1"[random >> 61];
        }
        push_in_pieces(&heard, bytes, sizeof(bytes), 1 + (random >> 33) % 200);
        pushed += sizeof(bytes);
    }
    EXPECT_EQUAL(heard.count, 0);
    EXPECT_EQUAL(heard.skipped_bytes + heard.stream.have_bytes, pushed);
    EXPECT(heard.stream.have_bytes < FRAME_HEADER_SIZE);
}

static const struct unit_test tests[] = {
    {"pieces of any size give the same frames", pieces_of_any_size_give_the_same_frames},
    {"what is no frame is skipped and counted", what_is_no_frame_is_skipped_and_counted},
    {"a damaged header costs only its frame", a_damaged_header_costs_only_its_frame},
    {"after lost bytes the next whole frame is found",
     after_lost_bytes_the_next_whole_frame_is_found},
    {"a reset forgets half a frame", a_reset_forgets_half_a_frame},
    {"random bytes never make a frame", random_bytes_never_make_a_frame},
};
UNIT_SUITE("frame stream", tests);
