/* SPDX-License-Identifier: MIT
 *
 * Frames out of a byte stream; see frame_stream.h. A frame that lies whole in what arrived is
 * handed out where it is; one that is cut by the end of it is collected in the buffer. More than a
 * header is collected only under a valid header, so whatever is skipped there is shorter than a
 * header.
 */
#include "frame_stream.h"
#include <abi/frame.h>
#include <kernel/crc32c.h>
#include <kernel/string.h>

#define OFFSET_LENGTH __builtin_offsetof(struct frame_header, length)
#define OFFSET_HEADER_CRC __builtin_offsetof(struct frame_header, header_crc)

static uint32_t read_le32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

/* How many bytes the frame at `data` has, judged by the `have_bytes` that are there (at least 1):
 * its length once the header is complete, FRAME_HEADER_SIZE while it may still become one, 0: no
 * frame begins here. */
static size_t frame_length_at(const struct frame_stream *stream, const uint8_t *data,
                              size_t have_bytes)
{
    static const uint8_t start[3] = {FRAME_MAGIC & 0xff, FRAME_MAGIC >> 8, FRAME_VERSION};
    uint32_t payload_bytes;

    for (size_t i = 0; i < sizeof(start) && i < have_bytes; i++)
        if (data[i] != start[i])
            return 0;
    if (have_bytes < FRAME_HEADER_SIZE)
        return FRAME_HEADER_SIZE;
    payload_bytes = read_le32(data + OFFSET_LENGTH);
    if (payload_bytes > stream->mtu ||
        crc32c(0, data, OFFSET_HEADER_CRC) != read_le32(data + OFFSET_HEADER_CRC))
        return 0;
    return FRAME_HEADER_SIZE + (size_t)payload_bytes;
}

static void keep(struct frame_stream *stream, const uint8_t *data, size_t len_bytes,
                 size_t wanted_bytes)
{
    memmove(stream->buffer, data, len_bytes);
    stream->have_bytes = len_bytes;
    stream->wanted_bytes = wanted_bytes;
}

/* Frames that stand whole in `data`; the beginning of one at its end is kept. Works on the buffer
 * itself, too. */
static void take_whole_frames(struct frame_stream *stream, const uint8_t *data, size_t len_bytes)
{
    stream->have_bytes = 0;
    while (len_bytes != 0) {
        size_t length = frame_length_at(stream, data, len_bytes);

        if (length > len_bytes) {
            keep(stream, data, len_bytes, length);
            return;
        }
        if (length == 0) {
            stream->skipped_bytes++;
            length = 1;
        } else {
            stream->frame(stream->context, data, length);
        }
        data += length;
        len_bytes -= length;
    }
}

void frame_stream_push(struct frame_stream *stream, const uint8_t *data, size_t len_bytes)
{
    stream->skipped_bytes = 0;
    while (stream->have_bytes != 0 && len_bytes != 0) {
        size_t missing_bytes = stream->wanted_bytes - stream->have_bytes;
        size_t taken_bytes = missing_bytes < len_bytes ? missing_bytes : len_bytes;

        memcpy(stream->buffer + stream->have_bytes, data, taken_bytes);
        stream->have_bytes += taken_bytes;
        data += taken_bytes;
        len_bytes -= taken_bytes;
        if (stream->have_bytes == stream->wanted_bytes)
            take_whole_frames(stream, stream->buffer, stream->have_bytes);
    }
    if (len_bytes != 0)
        take_whole_frames(stream, data, len_bytes);
    if (stream->skipped_bytes != 0)
        stream->skipped(stream->context, stream->skipped_bytes);
}

void frame_stream_reset(struct frame_stream *stream)
{
    stream->have_bytes = 0;
}
