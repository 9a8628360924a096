/* SPDX-License-Identifier: MIT
 *
 * The memory and text functions that the compiler and the core use, with the meaning of the C
 * standard. The guest's own move one register at a time, which is what the emulator translates best.
 */
#ifndef KERNEL_STRING_H
#define KERNEL_STRING_H

#include <stddef.h>

void *memcpy(void *restrict destination, const void *restrict source, size_t len_bytes);
void *memmove(void *destination, const void *source, size_t len_bytes);
void *memset(void *destination, int value, size_t len_bytes);
int memcmp(const void *left, const void *right, size_t len_bytes);
size_t strlen(const char *text);
int strcmp(const char *left, const char *right);
int strncmp(const char *left, const char *right, size_t len_bytes);

/* Freestanding code would call a function even for eight bytes: let the compiler copy small
 * constant sizes in place. */
#define memcpy(destination, source, len_bytes) __builtin_memcpy(destination, source, len_bytes)
#define memmove(destination, source, len_bytes) __builtin_memmove(destination, source, len_bytes)
#define memset(destination, value, len_bytes) __builtin_memset(destination, value, len_bytes)

#endif
