/* SPDX-License-Identifier: MIT
 *
 * The boot area: what the orchestrator leaves in a node's RAM before power-up, and the one word the
 * firmware keeps there across resets. Specified in docs/spec/boot.md.
 *
 * All offsets are from the first byte of RAM (x86_64: 0, aarch64 of either
 * byte order: 0x40000000, riscv64 and riscv32: 0x80000000).
 * The image lies below BOOT_AREA_OFFSET, the heap above BOOT_HEAP_OFFSET. All words are
 * little-endian.
 *
 * Rule for BOOT_VERSION: raised when a field moves or changes meaning; a new key in the text does
 * not raise it.
 */
#ifndef ABI_BOOT_H
#define ABI_BOOT_H

#include <kernel/little_endian.h>
#include <stdint.h>

#define BOOT_AREA_OFFSET 0x800000u     /* boot page, written by the orchestrator only */
#define BOOT_COUNT_OFFSET 0x801000u    /* boot count page, written by the firmware only */
#define BOOT_BLACKBOX_OFFSET 0x810000u /* two black boxes, see abi/blackbox.h */
#define BOOT_BLACKBOX_SIZE 0x40000u
#define BOOT_HEAP_OFFSET 0x900000u /* heap: from here to the end of RAM */
#define BOOT_RAM_MINIMUM 0x1000000u

#define BOOT_MAGIC 0x31544f4f424c4e4dull /* "MNLBOOT1" */
#define BOOT_VERSION 1u
#define BOOT_TEXT_MAXIMUM 4032u

/* The boot page. `text` is ASCII, `length` bytes of lines "key=value\n"; the keys are listed in
 * docs/spec/boot.md. */
struct boot_page {
    le64 magic;
    le32 version;
    le32 length;   /* bytes of text, at most BOOT_TEXT_MAXIMUM */
    le32 text_crc; /* CRC-32C of the text */
    le32 reserved[11];
    char text[BOOT_TEXT_MAXIMUM];
};

#define BOOT_COUNT_MAGIC 0x544e554f434c4e4dull /* "MNLCOUNT" */

/* The boot count. Raised by one before anything else a boot does; a record whose magic or checksum
 * is wrong counts as 0 (RAM was lost), so the first boot of a life has count 1. */
struct boot_count {
    le64 magic;
    le32 count;
    le32 check; /* CRC-32C of the 12 bytes before it */
};

/* The black box of a boot. Boots take turns, so each leaves the account of the one before alone. */
#define BOOT_BLACKBOX_OF(boot_count)                                                               \
    (BOOT_BLACKBOX_OFFSET + (((boot_count)&1u) != 0 ? 0u : BOOT_BLACKBOX_SIZE))

_Static_assert(BOOT_BLACKBOX_OFFSET + 2 * BOOT_BLACKBOX_SIZE <= BOOT_HEAP_OFFSET, "both fit");
_Static_assert(sizeof(struct boot_page) == 4096, "boot page is one page");
_Static_assert(sizeof(struct boot_count) == 16, "boot count record");

#endif
