/* SPDX-License-Identifier: MIT
 *
 * A small text formatter: %d %i %u %x %X %p %s %c %%, flags `0` and `-`, a width, a precision for
 * %s, lengths hh h l ll z. No floating point, no %n.
 */
#ifndef KERNEL_FORMAT_H
#define KERNEL_FORMAT_H

#include <stdarg.h>
#include <stddef.h>

/* Write at most size_bytes - 1 bytes and a NUL to `buffer` (size_bytes at least 1). Returns the
 * bytes written, without the NUL: what does not fit is cut, and an unknown conversion is copied as
 * it stands and ends the formatting. */
size_t format_text(char *buffer, size_t size_bytes, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
size_t format_text_list(char *buffer, size_t size_bytes, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

#endif
