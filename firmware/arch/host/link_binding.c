/* SPDX-License-Identifier: MIT
 *
 * What the Python package emulator.core needs of the link protocol besides its own functions: sizes
 * to check its declarations against, and the parts that the headers have as inline functions. Host
 * only.
 */
#include "link_binding.h"

#include <kernel/frame.h>
#include <stdlib.h>

const struct link_binding_sizes link_binding_sizes = {
    .configuration = sizeof(struct link_configuration),
    .operations = sizeof(struct link_operations),
    .event = sizeof(struct link_event),
    .statistics = sizeof(struct link_statistics),
};

struct link *link_binding_create(const struct link_configuration *configuration,
                                 const struct link_operations *operations, void *context)
{
    struct link *link = malloc(sizeof(*link));

    if (link != NULL && link_initialize(link, configuration, operations, context) != ERROR_NONE) {
        free(link);
        return NULL;
    }
    return link;
}

void link_binding_destroy(struct link *link)
{
    free(link);
}

bool link_binding_keeps_messages(const struct link *link)
{
    return link_tx_is_up(link) && link->tx_replay;
}

void frame_binding_seal(struct frame_header *header)
{
    header->header_crc = le32_of(frame_header_crc(header, frame_constant_crc(header)));
}
