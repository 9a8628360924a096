/* SPDX-License-Identifier: MIT
 *
 * A bare cable; see channel.h. The rings are those of phys/ivshmem, whose rules about sessions,
 * sleeping and doorbells are in docs/spec/cable.md.
 */
#include "channel.h"

#include <kernel/string.h>
#include <kernel/thread.h>

#define SESSION_TIME_BITS 26u /* milliseconds: 18 hours */
#define NS_PER_MS 1000000ull

/* --- Sessions --------------------------------------------------------------------------------- */

/* Launch (3 bits), boot count (3), time of this life in milliseconds: rises within a life, whatever
 * drivers it had. */
static uint32_t next_session(struct channel *channel)
{
    uint32_t session = channel->session_base |
                       ((uint32_t)(clock_now_ns() / NS_PER_MS) & ((1u << SESSION_TIME_BITS) - 1u));

    if ((int32_t)(session - channel->session_last) <= 0)
        session = channel->session_last + 1u;
    channel->session_last = session != 0 ? session : 1u;
    return channel->session_last;
}

static void begin_session(struct channel *channel)
{
    ring_producer_start(&channel->tx, &channel->tx_view.ring, next_session(channel),
                        channel->tx_view.generation);
    channel->tx_is_broken = false;
    channel->tx_session = 0;
    ivshmem_device_ring(&channel->device, channel->tx_view.doorbell);
}

/* A session that somebody followed for this end before, a former life or driver, was heard by
 * nobody who is here: its writer is to begin another one. */
static void open_reader(struct channel *channel)
{
    const struct cable_ring_control *control = channel->rx_view.ring.control;
    uint32_t session = shared_load32(&control->session);
    uint32_t seen = shared_load32(&control->session_seen);

    ring_consumer_open(&channel->rx, &channel->rx_view.ring, channel->rx_view.generation, 1,
                       CHANNEL_RECORD_MAXIMUM);
    if (session != 0 && (seen == session || seen == CABLE_SESSION_LEFT(session))) {
        channel->rx.session = session;
        ring_consumer_refuse(&channel->rx);
        ivshmem_device_ring(&channel->device, channel->rx_view.doorbell);
    }
}

static void follow_tx(struct channel *channel)
{
    if (cable_view_changed(&channel->tx_view)) {
        channel->tx_session = 0;
        channel->tx_is_open =
            cable_view_read(&channel->tx_view) == ERROR_NONE && channel->tx_view.usable;
        if (channel->tx_is_open)
            begin_session(channel);
    }
    if (!channel->tx_is_open)
        return;
    bool is_followed = ring_producer_followed(&channel->tx);
    if (channel->tx_is_broken || (channel->tx_session != 0 && !is_followed) ||
        (!is_followed && !ring_producer_is_announced(&channel->tx, channel->tx_view.generation))) {
        begin_session(channel);
    } else if (is_followed) {
        channel->tx_session = channel->tx.session;
    }
}

static void follow_rx(struct channel *channel)
{
    if (cable_view_changed(&channel->rx_view)) {
        channel->rx_session = 0;
        channel->rx_is_open =
            cable_view_read(&channel->rx_view) == ERROR_NONE && channel->rx_view.usable;
        if (channel->rx_is_open)
            open_reader(channel);
    }
    if (channel->rx_is_open && ring_consumer_session_changed(&channel->rx)) {
        channel->rx_session = ring_consumer_follow(&channel->rx) ? channel->rx.session : 0;
        ivshmem_device_ring(&channel->device, channel->rx_view.doorbell);
    }
}

void channel_follow(struct channel *channel)
{
    follow_tx(channel);
    follow_rx(channel);
}

void channel_refuse(struct channel *channel)
{
    if (channel->rx_session == 0)
        return;
    ring_consumer_refuse(&channel->rx);
    channel->rx_session = 0;
    ivshmem_device_ring(&channel->device, channel->rx_view.doorbell);
}

/* --- Writing ---------------------------------------------------------------------------------- */

int channel_put(struct channel *channel, const void *head, size_t head_bytes, const void *body,
                size_t body_bytes, bool is_control)
{
    uint32_t length = (uint32_t)(head_bytes + body_bytes);
    uint8_t *record;

    if (channel->tx_session == 0 || channel->tx_is_broken)
        return ERROR_DOWN;
    int error =
        ring_producer_reserve(&channel->tx, length, is_control ? 0 : CABLE_RING_RESERVE, &record);
    if (error == ERROR_GARBAGE) {
        channel->tx_is_broken = true;
        return ERROR_DOWN;
    }
    if (error != ERROR_NONE)
        return error;
    memcpy(record, head, head_bytes);
    if (body_bytes != 0)
        memcpy(record + head_bytes, body, body_bytes);
    ring_producer_commit(&channel->tx, length);
    ring_producer_publish(&channel->tx);
    if (ring_producer_must_wake(&channel->tx))
        ivshmem_device_ring(&channel->device, channel->tx_view.doorbell);
    return ERROR_NONE;
}

bool channel_found_room(struct channel *channel)
{
    if (channel->tx_session == 0 || !ring_producer_has_room(&channel->tx))
        return false;
    channel->tx.wants = 0;
    return true;
}

/* --- Reading ---------------------------------------------------------------------------------- */

int channel_next(struct channel *channel, const uint8_t **record, uint32_t *length)
{
    return channel->rx_session != 0 ? ring_consumer_next(&channel->rx, record, length) : 0;
}

bool channel_take(struct channel *channel)
{
    shared_fence_acquire();
    if (cable_view_changed(&channel->rx_view) || ring_consumer_session_changed(&channel->rx))
        return false;
    ring_consumer_release(&channel->rx);
    ring_consumer_publish(&channel->rx);
    if (ring_consumer_must_wake(&channel->rx))
        ivshmem_device_ring(&channel->device, channel->rx_view.doorbell);
    return true;
}

/* --- Sleeping --------------------------------------------------------------------------------- */

static bool has_news(const struct channel *channel)
{
    if (cable_view_changed(&channel->tx_view) || cable_view_changed(&channel->rx_view))
        return true;
    if (channel->tx_is_open && (channel->tx_is_broken ||
                                ring_producer_followed(&channel->tx) != (channel->tx_session != 0)))
        return true;
    return channel->rx_is_open &&
           (ring_consumer_session_changed(&channel->rx) ||
            (channel->rx_session != 0 && ring_consumer_has_more(&channel->rx)));
}

bool channel_arm(struct channel *channel)
{
    if (channel->rx_session != 0)
        ring_consumer_arm(&channel->rx);
    if (channel->tx_session != 0)
        ring_producer_ask_room(&channel->tx);
    shared_fence_full();
    if (channel->rx_session != 0 && ring_consumer_must_wake(&channel->rx))
        ivshmem_device_ring(&channel->device, channel->rx_view.doorbell);
    return has_news(channel) || (channel->tx_session != 0 && ring_producer_has_room(&channel->tx));
}

void channel_disarm(struct channel *channel)
{
    if (channel->rx_session != 0)
        ring_consumer_disarm(&channel->rx);
    if (channel->tx_session != 0)
        ring_producer_awake(&channel->tx);
}

/* --- Life ------------------------------------------------------------------------------------- */

int channel_open(struct channel *channel, unsigned slot, uint64_t incarnation,
                 interrupt_handler handler, void *context)
{
    *channel = (struct channel){
        .session_base = ((uint32_t)(incarnation >> 32) & 7u) << 29 | ((uint32_t)incarnation & 7u)
                                                                         << SESSION_TIME_BITS,
    };
    channel->session_last = channel->session_base;
    int error = ivshmem_device_open(&channel->device, slot, handler, context);
    if (error != ERROR_NONE)
        return error;
    const struct cable_end *end = channel->device.end;
    uint8_t *region = channel->device.region;
    cable_view_open(&channel->tx_view, region, end, &end->tx, CHANNEL_RECORD_MAXIMUM);
    cable_view_open(&channel->rx_view, region, end, &end->rx, CHANNEL_RECORD_MAXIMUM);
    return ERROR_NONE;
}

void channel_leave(struct channel *channel)
{
    if (channel->tx_is_open) {
        ring_producer_stop(&channel->tx);
        ivshmem_device_ring(&channel->device, channel->tx_view.doorbell);
    }
    channel_refuse(channel);
    channel->tx_is_open = false;
    channel->rx_is_open = false;
    channel->tx_session = 0;
}

void channel_close(struct channel *channel)
{
    channel_leave(channel);
    ivshmem_device_close(&channel->device);
}
