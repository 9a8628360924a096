/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: the cable page, written by whoever shares the region. The input is a list of words
 * for it: an offset in words, then the value. Promised: a direction that is called usable names a
 * ring that lies in the region, behind the page, with room for the largest frame.
 *
 * Built with -fsanitize=fuzzer,address,undefined; corpus in corpus/cable_page.
 */
#include "phys/ivshmem/cable.c" /* drivers are not in the host library */
#include <stdlib.h>
#include <string.h>

#define FRAME_MAXIMUM 16448u
#define PAGE_WORDS (sizeof(struct cable_page) / sizeof(le32))
#define RECORD_BYTES 5u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static _Alignas(4096) uint8_t region[CABLE_REGION_SIZE];

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void make_page(void)
{
    struct cable_page *page = (struct cable_page *)(void *)region;

    memset(page, 0, sizeof(*page));
    page->magic = le64_of(CABLE_MAGIC);
    page->version = le32_of(CABLE_VERSION);
    page->region_size = le32_of(CABLE_REGION_SIZE);
    for (uint32_t i = 0; i < CABLE_END_COUNT; i++) {
        struct cable_direction direction = {.generation = le32_of(1),
                                            .carrier = le32_of(1),
                                            .ring_offset = le32_of(0x1000u + 0x41000u * i),
                                            .ring_size = le32_of(CABLE_RING_DATA_SIZE)};

        page->ends[i].ivshmem_id = le32_of(i + 1);
        page->ends[i].tx = direction;
        page->ends[1 - i].rx = direction;
    }
}

static void look(const struct cable_end *end, const struct cable_direction *direction)
{
    struct cable_view view;
    const uint8_t *limit = region + CABLE_REGION_SIZE;

    cable_view_open(&view, region, end, direction, FRAME_MAXIMUM);
    if (cable_view_read(&view) != 0) {
        must(!view.usable);
        return;
    }
    if (!view.usable)
        return;
    must((uint8_t *)view.ring.control >= region + CABLE_RING_CONTROL_SIZE);
    must((uint8_t *)view.ring.control + CABLE_RING_CONTROL_SIZE == view.ring.data);
    must(view.ring.data <= limit && view.ring.size <= (size_t)(limit - view.ring.data));
    must((view.ring.size & (view.ring.size - 1)) == 0);
    must(view.ring.size >= 2 * ring_record_span(FRAME_MAXIMUM));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cable_end *end;

    make_page();
    for (; size >= RECORD_BYTES; data += RECORD_BYTES, size -= RECORD_BYTES)
        memcpy(region + sizeof(le32) * (data[0] % PAGE_WORDS), data + 1, sizeof(le32));
    for (uint32_t id = 0; id < 4; id++) {
        if (cable_find_end(region, id, &end) != 0)
            continue;
        must(end == &((struct cable_page *)(void *)region)->ends[0] ||
             end == &((struct cable_page *)(void *)region)->ends[1]);
        look(end, &end->tx);
        look(end, &end->rx);
    }
    return 0;
}
