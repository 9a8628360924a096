/* SPDX-License-Identifier: MIT
 *
 * A split virtqueue, driver's side; see virtqueue.h, and kernel/shared.h for the ordering.
 */
#include "virtqueue.h"
#include <kernel/string.h>

void virtqueue_initialise(struct virtqueue *queue, struct virtqueue_memory *memory, uint16_t size)
{
    *queue = (struct virtqueue){.memory = memory, .size = size};
    memset(memory, 0, sizeof(*memory));
    virtqueue_interrupts(queue, false);
}

void virtqueue_give(struct virtqueue *queue, uint16_t buffer, void *address, uint32_t len_bytes,
                    bool device_writes)
{
    struct virtqueue_memory *memory = queue->memory;
    struct virtqueue_descriptor *descriptor = &memory->descriptors[buffer];

    shared_store64(&descriptor->address, (uintptr_t)address);
    shared_store32(&descriptor->length, len_bytes);
    shared_store16(&descriptor->flags, device_writes ? VIRTQUEUE_DESCRIPTOR_WRITE : 0);
    shared_store16(&memory->available.ring[queue->available % queue->size], buffer);
    queue->available++;
    queue->given |= 1u << buffer;
    shared_store16_release(&memory->available.index, queue->available);
}

bool virtqueue_has_used(const struct virtqueue *queue)
{
    return shared_load16_acquire(&queue->memory->used.index) != queue->used;
}

int virtqueue_take(struct virtqueue *queue, uint16_t *buffer, uint32_t *len_bytes)
{
    const struct virtqueue_used_element *element;
    uint32_t id;

    if (!virtqueue_has_used(queue))
        return 0;
    element = &queue->memory->used.ring[queue->used % queue->size];
    id = shared_load32(&element->id);
    if (id >= queue->size || (queue->given >> id & 1) == 0)
        return ERROR_GARBAGE;
    queue->used++;
    queue->given &= ~(1u << id);
    *buffer = (uint16_t)id;
    *len_bytes = shared_load32(&element->length);
    return 1;
}

/* The device may have gone to sleep between our index and this look, or seen the index: the fence
 * excludes neither of both. */
bool virtqueue_must_notify(const struct virtqueue *queue)
{
    shared_fence_full();
    return (shared_load16(&queue->memory->used.flags) & VIRTQUEUE_NO_NOTIFY) == 0;
}

void virtqueue_interrupts(struct virtqueue *queue, bool wanted)
{
    shared_store16(&queue->memory->available.flags, wanted ? 0 : VIRTQUEUE_NO_INTERRUPT);
}
