/* SPDX-License-Identifier: MIT
 *
 * The frame codec: checksums and checks of the 64-byte header of abi/frame.h. It knows nothing of
 * links or states.
 *
 * The header's CRC is split: bytes 0 to 31 do not change within an epoch, so both ends keep the CRC
 * state over them. Of the other 28 most are as in the frame before, and the rest counted on, which
 * changes the lowest byte of a word: both ends also remember these and their CRC, and add what the
 * changed bytes do to it.
 */
#ifndef KERNEL_FRAME_H
#define KERNEL_FRAME_H

#include <abi/frame.h>
#include <kernel/crc32c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the header behind the constant part that its CRC covers. */
#define FRAME_VARIABLE_SIZE (FRAME_HEADER_SIZE - FRAME_CONSTANT_SIZE - sizeof(uint32_t))

/* The CRC state over the constant part, for frame_header_crc(). */
static inline uint32_t frame_constant_crc(const struct frame_header *header)
{
    return crc32c(0, header, FRAME_CONSTANT_SIZE);
}

/* What `header_crc` has to be, given frame_constant_crc() of its first half. */
static inline uint32_t frame_header_crc(const struct frame_header *header, uint32_t constant_crc)
{
    return crc32c(constant_crc, &header->type, FRAME_VARIABLE_SIZE);
}

/* The 28 bytes of the frame before, as numbers, and its CRC. */
struct frame_crc {
    uint64_t pairs[3]; /* of words: type and flags, length; seq, ack; flipc_ack, flipc_credit */
    uint32_t payload_crc;
    uint32_t crc;
};

/* Forget the frame before: the constant half changed, and has this CRC state now. */
void frame_crc_restart(struct frame_crc *before, uint32_t constant_crc);

/* frame_header_crc(header, constant_crc), and remember. `constant_crc` is that of the last
 * frame_crc_restart(). */
static inline uint32_t frame_crc_next(struct frame_crc *before, const struct frame_header *header,
                                      uint32_t constant_crc)
{
    uint32_t payload_crc = le32_load(header->payload_crc);
    uint64_t d0, d1, d2;
    le64 pairs[3];
    uint32_t crc = before->crc;

    __builtin_memcpy(pairs, &header->type, sizeof(pairs));
    d0 = le64_load(pairs[0]) ^ before->pairs[0];
    d1 = le64_load(pairs[1]) ^ before->pairs[1];
    d2 = le64_load(pairs[2]) ^ before->pairs[2];
    if (((d0 | d1 | d2) & 0xffffff00ffffff00ull) != 0 || payload_crc != before->payload_crc) {
        crc = frame_header_crc(header, constant_crc);
    } else {
        crc ^= crc32c_changes[6][d0 & 0xff] ^ crc32c_changes[5][d0 >> 32] ^
               crc32c_changes[4][d1 & 0xff] ^ crc32c_changes[3][d1 >> 32] ^
               crc32c_changes[2][d2 & 0xff] ^ crc32c_changes[1][d2 >> 32];
    }
    before->pairs[0] ^= d0;
    before->pairs[1] ^= d1;
    before->pairs[2] ^= d2;
    before->payload_crc = payload_crc;
    before->crc = crc;
    return crc;
}

/* Judge a header of a frame of `length` bytes, header included, whose payload may have `mtu` bytes.
 * The payload is not looked at. 0 or the enum link_drop that fits. */
uint32_t frame_check_header(const struct frame_header *header, size_t length, uint32_t mtu);

/* Must the payload CRC of this frame match? Always, except that DATA of an unchecked direction
 * carries 0. */
static inline bool frame_payload_is_covered(const struct frame_header *header, bool checked)
{
    return header->type != FRAME_DATA || checked || le32_load(header->payload_crc) != 0;
}

#endif
