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

    if (le64_load(next.magic) != BOOT_COUNT_MAGIC || le32_load(next.check) != check)
        next.count = le32_of(0);
    next.magic = le64_of(BOOT_COUNT_MAGIC);
    le32_add(&next.count, 1);
    next.check = le32_of(crc32c(0, &next, offsetof(struct boot_count, check)));
    *(volatile struct boot_count *)record = next;
    return le32_load(next.count);
}
