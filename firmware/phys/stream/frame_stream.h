/* SPDX-License-Identifier: MIT
 *
 * Frames out of a byte stream (docs/spec/cable.md section 2, docs/spec/link.md section 1). Bytes go
 * in as they arrive; whole frames come out. Where the bytes make no frame, one is skipped and the
 * search goes on: after any disturbance the next undisturbed frame is found. Shared by all PHYs
 * that are byte streams; does no I/O.
 *
 * A frame begins where magic and version are right, the length is possible and the header's CRC
 * fits. Nothing else is judged: the payload's CRC and what the header says are the link protocol's.
 */
#ifndef PHYS_STREAM_FRAME_STREAM_H
#define PHYS_STREAM_FRAME_STREAM_H

#include <stddef.h>
#include <stdint.h>

struct frame_stream {
    uint8_t *buffer; /* the caller's, FRAME_HEADER_SIZE + mtu bytes: what is there of an incomplete
                        frame */
    uint32_t mtu;    /* largest payload */
    size_t have_bytes;    /* in the buffer */
    size_t wanted_bytes;  /* what the buffer must hold before it is looked at again */
    size_t skipped_bytes; /* in this push */
    void *context;
    /* A frame, valid during the call, at any alignment. Must not push. */
    void (*frame)(void *context, const uint8_t *frame, size_t length);
    void (*skipped)(void *context, size_t count); /* bytes thrown away; at most once a push */
};

/* Take `len_bytes` of the stream. Hands out each frame that is complete. Linear in len_bytes but
 * for 60 bytes of CRC at each place that looks like a header. */
void frame_stream_push(struct frame_stream *stream, const uint8_t *data, size_t len_bytes);

/* Forget an incomplete frame: what follows is another stream. */
void frame_stream_reset(struct frame_stream *stream);

#endif
