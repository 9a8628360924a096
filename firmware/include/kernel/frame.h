/* SPDX-License-Identifier: MIT
 *
 * The frame codec: checksums and checks of the 64-byte header of abi/frame.h. It knows nothing of
 * links or states.
 *
 * The header's CRC is split: bytes 0 to 31 do not change within an epoch, so a sender keeps the CRC
 * state over them and pays for 28 bytes a frame.
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
