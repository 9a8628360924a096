/* SPDX-License-Identifier: MIT
 *
 * The frame codec; kernel/frame.h. Pure functions over private copies.
 */
#include <kernel/frame.h>

_Static_assert(offsetof(struct frame_header, type) % sizeof(uint64_t) == 0 &&
                   offsetof(struct frame_header, payload_crc) ==
                       offsetof(struct frame_header, type) + 3 * sizeof(uint64_t) &&
                   FRAME_VARIABLE_SIZE == 4 * CRC32C_CHANGE_WORDS,
               "the variable half is three pairs of words and the payload's CRC");

void frame_crc_restart(struct frame_crc *before, uint32_t constant_crc)
{
    const struct frame_header zero = {.type = 0};

    *before = (struct frame_crc){.crc = frame_header_crc(&zero, constant_crc)};
}

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
