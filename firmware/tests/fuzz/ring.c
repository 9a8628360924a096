/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: both ends of a shared-memory ring, and somebody who writes into all that they share.
 * The input is a list of actions: a byte that names it, then its operands. Promised: nothing
 * outside the ring is touched, a frame handed out lies in the ring and has a possible length, and
 * each call says one of the documented things.
 *
 * Built with -fsanitize=fuzzer,address,undefined; corpus in corpus/ring.
 */
#include "phys/ivshmem/ring.c" /* drivers are not in the host library */
#include <stdlib.h>
#include <string.h>

#define SIZE 4096u
#define LENGTH_MINIMUM 8u
#define LENGTH_MAXIMUM 1000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *next;
    size_t left;
};

struct bench {
    struct ring_memory memory;
    struct ring_producer producer;
    struct ring_consumer consumer;
    uint32_t session;
};

static uint32_t take(struct input *input, size_t count)
{
    uint32_t value = 0;

    for (size_t i = 0; i < count && input->left != 0; i++, input->left--)
        value |= (uint32_t)*input->next++ << 8 * i;
    return value;
}

static void produce(struct bench *bench, uint32_t length)
{
    uint8_t *frame;
    int error;

    length = LENGTH_MINIMUM + length % (LENGTH_MAXIMUM - LENGTH_MINIMUM + 1);
    error = ring_producer_reserve(&bench->producer, length, 0, &frame);
    if (error != 0 && error != ERROR_FULL && error != ERROR_GARBAGE)
        abort();
    if (error != 0)
        return;
    memset(frame, 0x5a, length);
    ring_producer_commit(&bench->producer, length);
}

static void consume(struct bench *bench)
{
    const uint8_t *frame;
    uint32_t length;
    int found = ring_consumer_next(&bench->consumer, &frame, &length);

    if (found == ERROR_GARBAGE) {
        ring_consumer_refuse(&bench->consumer);
    } else if (found == 1) {
        if (length < LENGTH_MINIMUM || length > LENGTH_MAXIMUM || frame < bench->memory.data ||
            frame + length > bench->memory.data + SIZE)
            abort();
        ring_consumer_release(&bench->consumer);
        ring_consumer_publish(&bench->consumer);
    } else if (found != 0) {
        abort();
    }
}

static void act(struct bench *bench, struct input *input)
{
    switch (take(input, 1) % 8) {
    case 0:
        shared_store32((le32 *)(void *)bench->memory.control +
                           take(input, 1) % (sizeof(struct cable_ring_control) / 4),
                       take(input, 4));
        break;
    case 1:
        shared_store32((le32 *)(void *)bench->memory.data + take(input, 2) % (SIZE / 4),
                       take(input, 4));
        break;
    case 2:
        ring_producer_start(&bench->producer, &bench->memory, ++bench->session, 1);
        break;
    case 3:
        ring_consumer_open(&bench->consumer, &bench->memory, 1, LENGTH_MINIMUM, LENGTH_MAXIMUM);
        break;
    case 4:
        if (ring_consumer_session_changed(&bench->consumer))
            (void)ring_consumer_follow(&bench->consumer);
        break;
    case 5:
        produce(bench, take(input, 2));
        break;
    case 6:
        ring_producer_publish(&bench->producer);
        (void)ring_producer_must_wake(&bench->producer);
        (void)ring_producer_has_room(&bench->producer);
        break;
    case 7:
        consume(bench);
        (void)ring_consumer_must_wake(&bench->consumer);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct bench bench = {.session = 1};

    bench.memory = (struct ring_memory){
        .control = aligned_alloc(64, sizeof(struct cable_ring_control)),
        .data = aligned_alloc(64, SIZE),
        .size = SIZE,
    };
    if (bench.memory.control == NULL || bench.memory.data == NULL)
        abort();
    memset(bench.memory.control, 0, sizeof(struct cable_ring_control));
    memset(bench.memory.data, 0, SIZE);
    ring_producer_start(&bench.producer, &bench.memory, bench.session, 1);
    ring_consumer_open(&bench.consumer, &bench.memory, 1, LENGTH_MINIMUM, LENGTH_MAXIMUM);
    (void)ring_consumer_follow(&bench.consumer);
    while (input.left != 0)
        act(&bench, &input);
    free(bench.memory.control);
    free(bench.memory.data);
    return 0;
}
