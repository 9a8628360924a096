/* SPDX-License-Identifier: MIT
 *
 * The driver's side of a virtqueue against a device that this file plays: well, and badly.
 */
#include "drivers/virtio/virtqueue.h"
#include "native.h"
#include "unit.h"
#include <string.h>

#define SIZE 8u

struct bench {
    struct virtqueue_memory memory;
    struct virtqueue queue;
    uint8_t buffers[SIZE][64];
    uint16_t seen; /* the device's position in the available ring */
};

static void start(struct bench *bench)
{
    memset(bench, 0xa5, sizeof(*bench));
    bench->seen = 0;
    virtqueue_initialise(&bench->queue, &bench->memory, SIZE);
}

/* The device: the next buffer given, or -1. */
static int device_next(struct bench *bench)
{
    if (NATIVE(bench->memory.available.index) == bench->seen)
        return -1;
    return NATIVE(bench->memory.available.ring[bench->seen++ % SIZE]);
}

static void device_return(struct bench *bench, uint32_t buffer, uint32_t len_bytes)
{
    uint16_t index = NATIVE(bench->memory.used.index);

    bench->memory.used.ring[index % SIZE] =
        (struct virtqueue_used_element){le32_of(buffer), le32_of(len_bytes)};
    STORE(bench->memory.used.index, (uint16_t)(index + 1));
}

static void buffers_go_and_come_back_in_any_order(void)
{
    struct bench bench;
    uint16_t buffer;
    uint32_t len_bytes;

    start(&bench);
    EXPECT(!virtqueue_has_used(&bench.queue));
    for (uint16_t i = 0; i < SIZE; i++)
        virtqueue_give(&bench.queue, i, bench.buffers[i], 64, i % 2 != 0);
    for (uint16_t i = 0; i < SIZE; i++) {
        const struct virtqueue_descriptor *descriptor = &bench.memory.descriptors[i];

        EXPECT_EQUAL(device_next(&bench), i);
        EXPECT_EQUAL(NATIVE(descriptor->address), (uintptr_t)bench.buffers[i]);
        EXPECT_EQUAL(NATIVE(descriptor->length), 64);
        EXPECT_EQUAL(NATIVE(descriptor->flags), i % 2 != 0 ? VIRTQUEUE_DESCRIPTOR_WRITE : 0u);
    }
    for (uint32_t i = 0; i < SIZE; i++)
        device_return(&bench, SIZE - 1 - i, i);
    for (uint32_t i = 0; i < SIZE; i++) {
        EXPECT_EQUAL(virtqueue_take(&bench.queue, &buffer, &len_bytes), 1);
        EXPECT_EQUAL(buffer, SIZE - 1 - i);
        EXPECT_EQUAL(len_bytes, i);
    }
    EXPECT_EQUAL(virtqueue_take(&bench.queue, &buffer, &len_bytes), 0);
}

static void indices_wrap_around(void)
{
    struct bench bench;
    uint16_t buffer;
    uint32_t len_bytes;

    start(&bench);
    for (uint32_t i = 0; i < 70000; i++) {
        uint16_t mine = (uint16_t)(i % SIZE);

        virtqueue_give(&bench.queue, mine, bench.buffers[mine], 64, false);
        REQUIRE(device_next(&bench) == mine);
        device_return(&bench, mine, 0);
        REQUIRE(virtqueue_take(&bench.queue, &buffer, &len_bytes) == 1 && buffer == mine);
    }
}

static void a_buffer_the_device_does_not_have_is_garbage(void)
{
    static const uint32_t wrong[] = {1, SIZE, 0xffffffffu};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct bench bench;
        uint16_t buffer;
        uint32_t len_bytes;

        start(&bench);
        virtqueue_give(&bench.queue, 0, bench.buffers[0], 64, true);
        device_return(&bench, wrong[i], 1);
        EXPECT_EQUAL(virtqueue_take(&bench.queue, &buffer, &len_bytes),
                     (unsigned long long)ERROR_GARBAGE);
    }
}

static void a_buffer_returned_twice_is_garbage(void)
{
    struct bench bench;
    uint16_t buffer;
    uint32_t len_bytes;

    start(&bench);
    virtqueue_give(&bench.queue, 3, bench.buffers[3], 64, true);
    device_return(&bench, 3, 1);
    device_return(&bench, 3, 1);
    EXPECT_EQUAL(virtqueue_take(&bench.queue, &buffer, &len_bytes), 1);
    EXPECT_EQUAL(virtqueue_take(&bench.queue, &buffer, &len_bytes),
                 (unsigned long long)ERROR_GARBAGE);
}

static void notices_and_interrupts_follow_the_flags(void)
{
    struct bench bench;

    start(&bench);
    EXPECT_EQUAL(NATIVE(bench.memory.available.flags), VIRTQUEUE_NO_INTERRUPT);
    virtqueue_interrupts(&bench.queue, true);
    EXPECT_EQUAL(NATIVE(bench.memory.available.flags), 0);
    virtqueue_interrupts(&bench.queue, false);
    EXPECT_EQUAL(NATIVE(bench.memory.available.flags), VIRTQUEUE_NO_INTERRUPT);
    EXPECT(virtqueue_must_notify(&bench.queue));
    STORE(bench.memory.used.flags, VIRTQUEUE_NO_NOTIFY);
    EXPECT(!virtqueue_must_notify(&bench.queue));
}

static const struct unit_test tests[] = {
    {"buffers go and come back in any order", buffers_go_and_come_back_in_any_order},
    {"indices wrap around", indices_wrap_around},
    {"a buffer the device does not have is garbage", a_buffer_the_device_does_not_have_is_garbage},
    {"a buffer returned twice is garbage", a_buffer_returned_twice_is_garbage},
    {"notices and interrupts follow the flags", notices_and_interrupts_follow_the_flags},
};
UNIT_SUITE("virtqueue", tests);
