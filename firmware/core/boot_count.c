/* SPDX-License-Identifier: MIT
 *
 * The boot count: what makes two lives of one power-up distinct. Pure but for the record that it is
 * given.
 */
#include <kernel/boot.h>
#include <kernel/crc32c.h>
#include <stddef.h>

/* The record is valid again only once the checksum is written, last. A reset between the stores
 * costs the count, which is why they are adjacent. */
uint32_t boot_count_raise(struct boot_count *record)
{
    struct boot_count next = *record;
    uint32_t check = crc32c(0, &next, offsetof(struct boot_count, check));

    if (next.magic != BOOT_COUNT_MAGIC || next.check != check)
        next.count = 0;
    next.magic = BOOT_COUNT_MAGIC;
    next.count++;
    next.check = crc32c(0, &next, offsetof(struct boot_count, check));
    *(volatile struct boot_count *)record = next;
    return next.count;
}
