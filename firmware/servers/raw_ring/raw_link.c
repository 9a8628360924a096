/* SPDX-License-Identifier: MIT
 *
 * A bare shared-memory cable and the two measurements on it; see raw_link.h.
 *
 * The loops are as lean as the memory model allows: one copy in, one copy out, one release store
 * per record and side, no fence (nobody sleeps), the clock read once in BATCH round trips. Waiting
 * spins without arch_relax(), which leaves the emulator's translated code and costs more than what
 * is waited for.
 */
#include "raw_link.h"
#include <kernel/string.h>
#include <kernel/thread.h>

/* larger records move in pieces, so that both ends copy at the same time */
#define PIECE_BYTES 16384u
#define BATCH 16u           /* round trips between two looks at the clock */
#define SPINS_A_LOOK 16384u /* fruitless looks at the ring between two looks at everything else */

/* --- Life ------------------------------------------------------------------------------------- */

static void open_views(struct raw_link *link)
{
    const struct cable_end *end = link->device.end;

    cable_view_open(&link->tx_view, link->device.region, end, &end->tx, PIECE_BYTES);
    cable_view_open(&link->rx_view, link->device.region, end, &end->rx, PIECE_BYTES);
}

int raw_link_open(struct raw_link *link, unsigned slot, uint64_t incarnation, le64 *buffer)
{
    int error;

    *link = (struct raw_link){.buffer = buffer};
    link->session_base =
        (uint32_t)(incarnation >> 32 & 0xfff) << 20 | (uint32_t)(incarnation & 0xff) << 12;
    error = ivshmem_device_open(&link->device, slot, NULL, NULL);
    if (error == 0)
        open_views(link);
    return error;
}

void raw_link_restart(struct raw_link *link)
{
    if (link->tx_open)
        ring_producer_stop(&link->tx);
    link->tx_open = false;
    link->rx_open = false;
    open_views(link);
}

void raw_link_close(struct raw_link *link)
{
    raw_link_restart(link);
    ivshmem_device_close(&link->device);
}

static uint32_t next_session(struct raw_link *link)
{
    uint32_t session;

    do {
        session = link->session_base | (link->session_count++ & 0xfff);
    } while (session == 0);
    return session;
}

static void open_directions(struct raw_link *link)
{
    if (cable_view_changed(&link->tx_view)) {
        link->tx_open = cable_view_read(&link->tx_view) == 0 && link->tx_view.usable;
        if (link->tx_open)
            ring_producer_start(&link->tx, &link->tx_view.ring, next_session(link),
                                link->tx_view.generation);
    }
    if (cable_view_changed(&link->rx_view)) {
        link->rx_open = cable_view_read(&link->rx_view) == 0 && link->rx_view.usable;
        if (link->rx_open)
            ring_consumer_open(&link->rx, &link->rx_view.ring, link->rx_view.generation, 1,
                               PIECE_BYTES);
    }
    if (link->rx_open && ring_consumer_session_changed(&link->rx))
        (void)ring_consumer_follow(&link->rx);
}

static bool in_step(const struct raw_link *link)
{
    return link->tx_open && link->rx_open && link->rx.session != 0 &&
           ring_producer_followed(&link->tx);
}

int raw_link_wait(struct raw_link *link, uint64_t deadline_ns)
{
    for (;;) {
        open_directions(link);
        if (in_step(link))
            return 0;
        if (clock_now_ns() >= deadline_ns)
            return ERROR_TIMED_OUT;
        thread_yield();
    }
}

/* --- Records ---------------------------------------------------------------------------------- */

/* Between looks at the ring that found nothing. 0: look again. */
static int look_around(struct raw_link *link, uint32_t *spins, uint64_t deadline_ns)
{
    if (++*spins % SPINS_A_LOOK != 0)
        return 0;
    if (cable_view_changed(&link->tx_view) || cable_view_changed(&link->rx_view) ||
        ring_consumer_session_changed(&link->rx) || !ring_producer_followed(&link->tx))
        return ERROR_DOWN;
    if (clock_now_ns() >= deadline_ns)
        return ERROR_TIMED_OUT;
    thread_yield();
    return 0;
}

static inline uint32_t piece_at(const struct raw_run *run, uint32_t offset)
{
    uint32_t left = run->size_bytes - offset;

    return left < PIECE_BYTES ? left : PIECE_BYTES;
}

static inline int put_piece(struct raw_link *link, const struct raw_run *run, uint32_t offset)
{
    uint32_t length = piece_at(run, offset);
    uint32_t spins = 0;
    uint8_t *record;
    int error;

    while ((error = ring_producer_reserve(&link->tx, length, 0, &record)) == ERROR_FULL) {
        error = look_around(link, &spins, run->deadline_ns);
        if (error != 0)
            return error;
    }
    if (error != 0)
        return error;
    memcpy(record, (const uint8_t *)link->buffer + offset, length);
    ring_producer_commit(&link->tx, length);
    ring_producer_publish(&link->tx);
    return 0;
}

static inline int get_piece(struct raw_link *link, const struct raw_run *run, uint32_t offset)
{
    uint32_t spins = 0;
    const uint8_t *record;
    uint32_t length;
    int found;

    while ((found = ring_consumer_next(&link->rx, &record, &length)) == 0) {
        int error = look_around(link, &spins, run->deadline_ns);

        if (error != 0)
            return error;
    }
    if (found < 0 || length != piece_at(run, offset))
        return ERROR_GARBAGE;
    memcpy((uint8_t *)link->buffer + offset, record, length);
    ring_consumer_release(&link->rx);
    ring_consumer_publish(&link->rx);
    return 0;
}

static inline int put(struct raw_link *link, const struct raw_run *run, uint64_t number)
{
    int error = 0;

    link->buffer[0] = le64_of(number);
    for (uint32_t at = 0; at < run->size_bytes && error == 0; at += PIECE_BYTES)
        error = put_piece(link, run, at);
    return error;
}

static inline int get(struct raw_link *link, const struct raw_run *run, uint64_t number)
{
    int error = 0;

    for (uint32_t at = 0; at < run->size_bytes && error == 0; at += PIECE_BYTES)
        error = get_piece(link, run, at);
    if (error == 0 && le64_load(link->buffer[0]) != number)
        error = ERROR_GARBAGE;
    return error;
}

/* Until the consumer has taken everything. */
static int drain(struct raw_link *link, const struct raw_run *run)
{
    uint32_t spins = 0;

    while (shared_load32_acquire(&link->tx.memory.control->tail) != link->tx.head) {
        int error = look_around(link, &spins, run->deadline_ns);

        if (error != 0)
            return error;
    }
    return 0;
}

/* --- Measurements ----------------------------------------------------------------------------- */

static int ping(struct raw_link *link, const struct raw_run *run, struct raw_result *result)
{
    uint64_t start_ns = clock_now_ns();
    uint64_t batch_start_ns = start_ns;

    result->min_ns = UINT64_MAX;
    for (uint64_t i = 0; i < run->count; i++) {
        int error = put(link, run, i);

        if (error == 0)
            error = get(link, run, i);
        if (error != 0)
            return error;
        if ((i + 1) % BATCH == 0) {
            uint64_t now_ns = clock_now_ns();
            uint64_t mean_ns = (now_ns - batch_start_ns) / BATCH;

            if (mean_ns < result->min_ns)
                result->min_ns = mean_ns;
            if (mean_ns > result->max_ns)
                result->max_ns = mean_ns;
            batch_start_ns = now_ns;
        }
    }
    result->total_ns = clock_now_ns() - start_ns;
    if (run->count < BATCH)
        result->min_ns = result->max_ns = result->total_ns / run->count;
    return 0;
}

static int pong(struct raw_link *link, const struct raw_run *run, struct raw_result *result)
{
    uint64_t start_ns = 0;

    for (uint64_t i = 0; i < run->count; i++) {
        int error = get(link, run, i);

        if (error == 0)
            error = put(link, run, i);
        if (error != 0)
            return error;
        if (i == 0)
            start_ns = clock_now_ns();
    }
    result->total_ns = clock_now_ns() - start_ns;
    return drain(link, run);
}

int raw_pingpong(struct raw_link *link, enum raw_role role, const struct raw_run *run,
                 struct raw_result *result)
{
    *result = (struct raw_result){0};
    return role == RAW_ROLE_ACTIVE ? ping(link, run, result) : pong(link, run, result);
}

static int produce(struct raw_link *link, const struct raw_run *run, struct raw_result *result)
{
    uint64_t start_ns = clock_now_ns();
    int error = 0;

    for (uint64_t i = 0; i < run->count && error == 0; i++)
        error = put(link, run, i);
    if (error == 0)
        error = drain(link, run);
    result->total_ns = clock_now_ns() - start_ns;
    return error;
}

static int consume(struct raw_link *link, const struct raw_run *run, struct raw_result *result)
{
    uint64_t start_ns = 0;
    int error = 0;

    for (uint64_t i = 0; i < run->count && error == 0; i++) {
        error = get(link, run, i);
        if (i == 0)
            start_ns = clock_now_ns();
    }
    result->total_ns = clock_now_ns() - start_ns;
    return error;
}

int raw_stream(struct raw_link *link, enum raw_role role, const struct raw_run *run,
               struct raw_result *result)
{
    *result = (struct raw_result){0};
    return role == RAW_ROLE_ACTIVE ? produce(link, run, result) : consume(link, run, result);
}
