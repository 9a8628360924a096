/* SPDX-License-Identifier: MIT
 *
 * CRC-32C (Castagnoli, RFC 3720 appendix B.4): crc32c(0, "123456789", 9) is 0xe3069283.
 */
#ifndef KERNEL_CRC32C_H
#define KERNEL_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of what `state` stands for followed by `data`: crc32c(crc32c(0, a, n), b, m) is the
 * checksum of a then b. */
uint32_t crc32c(uint32_t state, const void *data, size_t len_bytes);

#define CRC32C_CHANGE_WORDS 7u

/* [w][d]: what the checksum changes by (exclusive or) when a byte changes by `d` (likewise) and is
 * followed by 4 * w + 3 more bytes. A checksum is linear in that, whatever the bytes are. */
extern const uint32_t crc32c_changes[CRC32C_CHANGE_WORDS][256];

#endif
