/* SPDX-License-Identifier: MIT
 *
 * The frame codec; kernel/frame.h. Pure functions over private copies.
 */
#include <kernel/frame.h>

uint32_t frame_check_header(const struct frame_header *header, size_t length, uint32_t mtu)
{
    if (length < FRAME_HEADER_SIZE || header->magic != FRAME_MAGIC ||
        header->version != FRAME_VERSION) {
        return LINK_DROP_BAD_HEADER;
    }
    if (frame_header_crc(header, frame_constant_crc(header)) != header->header_crc) {
        return LINK_DROP_BAD_HEADER;
    }
    if (header->length > mtu || header->length != length - FRAME_HEADER_SIZE) {
        return LINK_DROP_BAD_LENGTH;
    }
    return 0;
}
