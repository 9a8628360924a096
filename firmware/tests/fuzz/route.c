/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: what a forwarder decides about any bytes. Accepted outcomes are a link of the
 * route's record, never the one by which the frame came, and the documented drops.
 *
 * The input: link by which it came (1), seal (1: bit 0, the header gets the right magic, version
 * and CRC), then the frame. Built with -fsanitize=fuzzer,address,undefined; corpus in corpus/route.
 */
#include <kernel/frame.h>
#include <kernel/route.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct boot_transit transits[] = {
    {.route = 1, .ends = {1, 3}, .links = {1, 2}},
    {.route = 2, .ends = {1, 4}, .links = {1, 3}},
    {.route = 0x1234, .ends = {5, 6}, .links = {0, 4}},
};

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check_passed(uint32_t link, uint32_t out, const struct frame_header *header)
{
    const struct boot_transit *transit = transits;

    while (transit->route != le16_load(header->route))
        must(++transit < transits + sizeof(transits) / sizeof(transits[0]));
    must(out != link);
    must((transit->links[0] == link && transit->links[1] == out) ||
         (transit->links[1] == link && transit->links[0] == out));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame_header header = {0};
    uint32_t out = UINT32_MAX;
    uint32_t fault;
    size_t length;

    if (size < 2)
        return 0;
    length = size - 2;
    memcpy(&header, data + 2, length < sizeof(header) ? length : sizeof(header));
    if ((data[1] & 1u) != 0) {
        header.magic = le16_of(FRAME_MAGIC);
        header.version = FRAME_VERSION;
        header.header_crc = le32_of(frame_header_crc(&header, frame_constant_crc(&header)));
    }
    fault = route_next(transits, sizeof(transits) / sizeof(transits[0]), data[0], &header, length,
                       &out);
    if (fault == 0)
        check_passed(data[0], out, &header);
    else
        must(fault == LINK_DROP_BAD_HEADER || fault == LINK_DROP_BAD_LENGTH ||
             fault == LINK_DROP_WRONG_NODE || fault == LINK_DROP_WRONG_PEER);
    return 0;
}
