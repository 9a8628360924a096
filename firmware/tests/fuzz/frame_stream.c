/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: frames out of a byte stream. Promised for every input, whole or in pieces: the same
 * frames, and each byte is in a frame, skipped, or still waiting. The first byte is the size of the
 * pieces; a header CRC that is 0 is made right, since no fuzzer finds one.
 *
 * Built with -fsanitize=fuzzer,address,undefined; corpus in corpus/frame_stream.
 */
#include "phys/stream/frame_stream.c" /* drivers are not in the host library */
#include <stdlib.h>

#define MTU 512u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct heard {
    uint8_t buffer[FRAME_HEADER_SIZE + MTU];
    struct frame_stream stream;
    size_t frames, frame_bytes, skipped_bytes;
    uint32_t digest; /* of all frames, in order */
};

static void on_frame(void *context, const uint8_t *frame, size_t length)
{
    struct heard *heard = context;

    if (length < FRAME_HEADER_SIZE || length > sizeof(heard->buffer))
        abort();
    heard->frames++;
    heard->frame_bytes += length;
    heard->digest = crc32c(heard->digest, frame, length);
}

static void on_skipped(void *context, size_t count)
{
    struct heard *heard = context;

    heard->skipped_bytes += count;
}

static void hear(struct heard *heard, const uint8_t *data, size_t size, size_t piece)
{
    *heard = (struct heard){0};
    heard->stream = (struct frame_stream){
        .buffer = heard->buffer,
        .mtu = MTU,
        .context = heard,
        .frame = on_frame,
        .skipped = on_skipped,
    };
    for (size_t at = 0; at < size; at += piece)
        frame_stream_push(&heard->stream, data + at, piece < size - at ? piece : size - at);
    if (heard->frame_bytes + heard->skipped_bytes + heard->stream.have_bytes != size)
        abort();
}

static void seal(uint8_t *data, size_t size)
{
    for (size_t at = 0; at + FRAME_HEADER_SIZE <= size; at++) {
        uint8_t *crc = data + at + OFFSET_HEADER_CRC;
        uint32_t value;

        if (data[at] != (FRAME_MAGIC & 0xff) || data[at + 1] != FRAME_MAGIC >> 8 ||
            read_le32(crc) != 0)
            continue;
        value = crc32c(0, data + at, OFFSET_HEADER_CRC);
        for (unsigned i = 0; i < 4; i++)
            crc[i] = (uint8_t)(value >> 8 * i);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct heard whole, pieces;
    uint8_t *copy;

    if (size < 2)
        return 0;
    copy = malloc(size - 1);
    if (copy == NULL)
        return 0;
    memcpy(copy, data + 1, size - 1);
    seal(copy, size - 1);
    hear(&whole, copy, size - 1, size - 1);
    hear(&pieces, copy, size - 1, 1u + data[0]);
    /* Not the bytes skipped: pieces may still wait where the whole knows better. */
    if (whole.frames != pieces.frames || whole.digest != pieces.digest)
        abort();
    free(copy);
    return 0;
}
