/* SPDX-License-Identifier: MIT
 *
 * Words of kernel/little_endian.h by their type, so that a test reads as what it compares. Kernel code
 * names the width.
 */
#ifndef UNIT_NATIVE_H
#define UNIT_NATIVE_H

#include <kernel/little_endian.h>

/* The value of a le16, le32 or le64. */
#define NATIVE(word) _Generic((word), le16 : le16_load, le32 : le32_load, le64 : le64_load)(word)

/* Store a value in one. */
#define STORE(word, value)                                                                         \
    ((word) = _Generic((word), le16 : le16_of, le32 : le32_of, le64 : le64_of)(value))

#endif
