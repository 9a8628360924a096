/* SPDX-License-Identifier: MIT
 *
 * The frame codec; kernel/frame.h. Pure functions over private copies.
 */
#include <kernel/frame.h>

uint32_t frame_check_header(const struct frame_header *header, size_t length, uint32_t mtu)
{
    uint32_t payload_bytes = le32_load(header->length);

    if (length < FRAME_HEADER_SIZE || le16_load(header->magic) != FRAME_MAGIC ||
        header->version != FRAME_VERSION) {
        return LINK_DROP_BAD_HEADER;
    }
    if (frame_header_crc(header, frame_constant_crc(header)) != le32_load(header->header_crc)) {
        return LINK_DROP_BAD_HEADER;
    }
    if (payload_bytes > mtu || payload_bytes != length - FRAME_HEADER_SIZE) {
        return LINK_DROP_BAD_LENGTH;
    }
    return 0;
}
