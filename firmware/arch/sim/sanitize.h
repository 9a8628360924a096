/* SPDX-License-Identifier: MIT
 *
 * Telling AddressSanitizer of changes of stack. Nothing in every other build.
 */
#ifndef SIM_SANITIZE_H
#define SIM_SANITIZE_H

#include <stdbool.h>
#include <stddef.h>

struct fiber_sanitizer {
    void *fake_stack;
    const void *bottom;
    size_t size_bytes;
};

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZE_FIBERS 1
#endif
#endif

#ifdef SANITIZE_FIBERS

void __sanitizer_start_switch_fiber(void **fake_stack_save, const void *bottom, size_t size);
void __sanitizer_finish_switch_fiber(void *fake_stack_save, const void **bottom_old,
                                     size_t *size_old);
void __asan_unpoison_memory_region(void const volatile *address, size_t len_bytes);

/* A fiber begins on a stack that may have been left anywhere. */
static inline void sanitizer_prepare(struct fiber_sanitizer *self, const void *bottom,
                                     size_t size_bytes)
{
    __asan_unpoison_memory_region(bottom, size_bytes);
    *self = (struct fiber_sanitizer){.bottom = bottom, .size_bytes = size_bytes};
}

/* Before the change; `for_ever`: `self` will not come back. */
static inline void sanitizer_leave(struct fiber_sanitizer *self, const struct fiber_sanitizer *to,
                                   bool for_ever)
{
    __sanitizer_start_switch_fiber(for_ever ? NULL : &self->fake_stack, to->bottom, to->size_bytes);
}

/* After it; `from` (may be null) learns which stack it has. */
static inline void sanitizer_arrive(struct fiber_sanitizer *self, struct fiber_sanitizer *from)
{
    const void *bottom;
    size_t size_bytes;

    __sanitizer_finish_switch_fiber(self->fake_stack, &bottom, &size_bytes);
    if (from != NULL) {
        from->bottom = bottom;
        from->size_bytes = size_bytes;
    }
}

#else

static inline void sanitizer_prepare(struct fiber_sanitizer *self, const void *bottom,
                                     size_t size_bytes)
{
    (void)self;
    (void)bottom;
    (void)size_bytes;
}

static inline void sanitizer_leave(struct fiber_sanitizer *self, const struct fiber_sanitizer *to,
                                   bool for_ever)
{
    (void)self;
    (void)to;
    (void)for_ever;
}

static inline void sanitizer_arrive(struct fiber_sanitizer *self, struct fiber_sanitizer *from)
{
    (void)self;
    (void)from;
}

#endif
#endif
