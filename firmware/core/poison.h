/* SPDX-License-Identifier: MIT
 *
 * Telling AddressSanitizer what the heap has not given out, so that it sees misuse inside the
 * arena, too. Nothing in every other build. Private to core.
 */
#ifndef CORE_POISON_H
#define CORE_POISON_H

#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISON_ENABLED 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define POISON_ENABLED 1
#endif

#ifdef POISON_ENABLED
void __asan_poison_memory_region(void const volatile *address, size_t len_bytes);
void __asan_unpoison_memory_region(void const volatile *address, size_t len_bytes);
#define memory_poison(address, len_bytes) __asan_poison_memory_region((address), (len_bytes))
#define memory_unpoison(address, len_bytes) __asan_unpoison_memory_region((address), (len_bytes))
#else
#define memory_poison(address, len_bytes) ((void)(address), (void)(len_bytes))
#define memory_unpoison(address, len_bytes) ((void)(address), (void)(len_bytes))
#endif

#endif
