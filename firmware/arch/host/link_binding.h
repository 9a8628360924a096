/* SPDX-License-Identifier: MIT
 *
 * The link protocol for the Python package emulator.core; see link_binding.c.
 */
#ifndef HOST_LINK_BINDING_H
#define HOST_LINK_BINDING_H

#include <kernel/link.h>

struct link_binding_sizes {
    uint32_t configuration;
    uint32_t operations;
    uint32_t event;
    uint32_t statistics;
};
extern const struct link_binding_sizes link_binding_sizes;

/* Null: no memory, or a value out of range. */
struct link *link_binding_create(const struct link_configuration *configuration,
                                 const struct link_operations *operations, void *context);
void link_binding_destroy(struct link *link); /* after link_close() */

/* Does complete() of a message mean that the peer's end has it (transmit direction up, with
 * replay)? */
bool link_binding_keeps_messages(const struct link *link);

/* Put the CRC of its other fields into a header. */
void frame_binding_seal(struct frame_header *header);

#endif
