/* SPDX-License-Identifier: MIT
 *
 * A split virtqueue (Virtio 1.1, section 2.6), driver's side, one descriptor a buffer. Pure memory
 * code: telling the device is the transport's.
 *
 * Descriptor i always stands for the driver's buffer i, so a buffer is named by its number
 * everywhere. What the device returns is checked against what it was given. One thread a queue.
 */
#ifndef DRIVERS_VIRTIO_VIRTQUEUE_H
#define DRIVERS_VIRTIO_VIRTQUEUE_H

#include <kernel/error.h>
#include <kernel/shared.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIRTQUEUE_SIZE_MAXIMUM 32u

struct virtqueue_descriptor {
    le64 address;
    le32 length;
    le16 flags;
    le16 next;
};

#define VIRTQUEUE_DESCRIPTOR_WRITE 2u /* VIRTQ_DESC_F_WRITE: the device writes */
#define VIRTQUEUE_NO_INTERRUPT 1u     /* VIRTQ_AVAIL_F_NO_INTERRUPT */
#define VIRTQUEUE_NO_NOTIFY 1u        /* VIRTQ_USED_F_NO_NOTIFY */

struct virtqueue_used_element {
    le32 id;
    le32 length;
};

/* What both sides see. The parts are written by the driver, the driver and the device. */
struct virtqueue_memory {
    struct virtqueue_descriptor descriptors[VIRTQUEUE_SIZE_MAXIMUM];
    struct {
        le16 flags;
        le16 index;
        le16 ring[VIRTQUEUE_SIZE_MAXIMUM];
    } available;
    struct {
        le16 flags;
        le16 index;
        struct virtqueue_used_element ring[VIRTQUEUE_SIZE_MAXIMUM];
    } used __attribute__((aligned(4)));
} __attribute__((aligned(16)));

struct virtqueue {
    struct virtqueue_memory *memory;
    uint16_t size;      /* a power of two, at most VIRTQUEUE_SIZE_MAXIMUM */
    uint16_t available; /* buffers ever given, modulo 2^16 */
    uint16_t used;      /* buffers ever taken back, modulo 2^16 */
    uint32_t given;     /* bit i: the device has buffer i */
};

/* An empty queue that asks for no interrupts. `size` is a power of two, at most
 * VIRTQUEUE_SIZE_MAXIMUM. */
void virtqueue_initialise(struct virtqueue *queue, struct virtqueue_memory *memory, uint16_t size);

/* Give buffer `buffer` to the device, which does not have it, to read, or to write if
 * `device_writes`. */
void virtqueue_give(struct virtqueue *queue, uint16_t buffer, void *address, uint32_t len_bytes,
                    bool device_writes);

/* Take a buffer back. 1: `*buffer`, of which the device wrote `*len_bytes`; 0: none; ERROR_GARBAGE:
 * the device returned what it does not have. */
int virtqueue_take(struct virtqueue *queue, uint16_t *buffer, uint32_t *len_bytes) MUST_CHECK;

/* Did the device return something that was not taken yet? */
bool virtqueue_has_used(const struct virtqueue *queue);

/* After giving: does the device want to be told? */
bool virtqueue_must_notify(const struct virtqueue *queue);

/* Ask for an interrupt at the next return, or not. After asking, the caller fences and looks once
 * more. */
void virtqueue_interrupts(struct virtqueue *queue, bool wanted);

_Static_assert(sizeof(struct virtqueue_descriptor) == 16, "virtq_desc");
_Static_assert(sizeof(struct virtqueue_used_element) == 8, "virtq_used_elem");
_Static_assert(VIRTQUEUE_SIZE_MAXIMUM <= 32, "one bit a buffer");

#endif
