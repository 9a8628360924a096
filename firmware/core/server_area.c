/* SPDX-License-Identifier: MIT
 *
 * See server_area.h.
 */
#include "server_area.h"

#include <kernel/arch.h>
#include <kernel/host.h>
#include <kernel/panic.h>
#include <kernel/string.h>

static size_t pages_of(size_t len_bytes)
{
    return len_bytes / ARCH_PAGE_SIZE + (len_bytes % ARCH_PAGE_SIZE != 0 ? 1 : 0);
}

int server_area_open(struct server_area *area, struct mach_host *host, uint8_t *start,
                     size_t len_bytes)
{
    size_t page_count = len_bytes / ARCH_PAGE_SIZE;

    if (page_count == 0 || (uintptr_t)start % ARCH_PAGE_SIZE != 0) {
        return ERROR_INVALID;
    }
    uint8_t *used = heap_allocate(host, page_count);
    if (used == NULL) {
        return ERROR_NO_MEMORY;
    }
    memset(used, 0, page_count);
    *area =
        (struct server_area){.host = host, .start = start, .page_count = page_count, .used = used};
    return ERROR_NONE;
}

void server_area_close(struct server_area *area)
{
    heap_free(area->host, area->used);
    area->used = NULL;
}

uint8_t *server_area_allocate(struct server_area *area, size_t len_bytes)
{
    size_t wanted = pages_of(len_bytes);
    size_t run = 0;

    for (size_t i = 0; wanted != 0 && i < area->page_count; i++) {
        run = area->used[i] != 0 ? 0 : run + 1;
        if (run == wanted) {
            size_t first = i + 1 - wanted;
            memset(area->used + first, 1, wanted);
            return area->start + first * ARCH_PAGE_SIZE;
        }
    }
    return NULL;
}

void server_area_free(struct server_area *area, uint8_t *range, size_t len_bytes)
{
    if (range == NULL) {
        return;
    }
    size_t first = (size_t)(range - area->start) / ARCH_PAGE_SIZE;
    size_t count = pages_of(len_bytes);
    panic_unless(first < area->page_count && count <= area->page_count - first);
    for (size_t i = first; i < first + count; i++) {
        panic_unless(area->used[i] != 0);
        area->used[i] = 0;
    }
}
