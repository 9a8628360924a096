/* SPDX-License-Identifier: MIT
 *
 * Ranges of pages for the images of loadable servers: a bitmap over the area, first fit. Few and
 * rarely asked for. Private to core; one thread at a time.
 */
#ifndef CORE_SERVER_AREA_H
#define CORE_SERVER_AREA_H

#include <kernel/error.h>
#include <stddef.h>
#include <stdint.h>

struct mach_host;

struct server_area {
    struct mach_host *host;
    uint8_t *start; /* page aligned */
    size_t page_count;
    uint8_t *used; /* a byte a page */
};

/* Whole pages of [start, start + len_bytes), all free. 0, ERROR_INVALID (not one page) or
 * ERROR_NO_MEMORY. */
int server_area_open(struct server_area *area, struct mach_host *host, uint8_t *start,
                     size_t len_bytes) MUST_CHECK;
void server_area_close(struct server_area *area);

/* Contiguous pages; null: no such run, or 0 asked for. */
uint8_t *server_area_allocate(struct server_area *area, size_t len_bytes);
/* A range as it was allocated; null is allowed. */
void server_area_free(struct server_area *area, uint8_t *range, size_t len_bytes);

#endif
