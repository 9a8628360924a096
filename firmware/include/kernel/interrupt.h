/* SPDX-License-Identifier: MIT
 *
 * Message-signalled interrupts. A device raises one by writing `data` to `address`; MSI-X tables
 * hold such pairs.
 *
 * A handler runs with interrupts masked, on the interrupt stack, not as a thread: it may set flags,
 * read its device and call event_signal(), nothing else of kernel/thread.h. Edges merge: two
 * messages before the handler runs are one call.
 */
#ifndef KERNEL_INTERRUPT_H
#define KERNEL_INTERRUPT_H

#include <kernel/error.h>
#include <stddef.h>
#include <stdint.h>

struct interrupt_message {
    uint64_t address;
    uint32_t data;
};

typedef void (*interrupt_handler)(void *context);

/* Take a free vector, let `handler(context)` serve it, and describe the write that raises it in
 * `*message`. The vector is enabled on return. Returns the vector (0 or more) or ERROR_FULL. Called
 * from threads only. */
MUST_CHECK int interrupt_allocate_msi(interrupt_handler handler, void *context,
                                      struct interrupt_message *message);

/* Give a vector back: its handler is not called again. The device must have been told to stop
 * first. */
void interrupt_free_msi(int vector);

/* No handler in [start, start + len_bytes) is called again: that code goes, without having freed its
 * vectors. Called from threads only. */
void interrupt_forget(uintptr_t start, size_t len_bytes);

#endif
