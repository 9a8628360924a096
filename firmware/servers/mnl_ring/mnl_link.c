/* SPDX-License-Identifier: MIT
 *
 * A link driver on the published interface, the sole link of its peer; see mnl_link.h.
 *
 * Two threads. The *follower* does everything but fetching: it follows the cable, says who we are,
 * registers the life that answers, raises and lowers its directions, and hands over what arrives. The
 * *sender*, one for each life, fetches with mnl_msg_to_node() and writes. Null there means that the
 * life is over, or that this driver is being taken out (mnl_is_detached()); either way the sender
 * ends, and the follower draws the conclusion.
 *
 * Nothing is lost: what a session held when it ended is asked for again by the WELCOME to the next
 * one (mnl_flow_resume()), and what arrives twice the node layer drops.
 *
 * `lock` guards the channel and the handshake, which both threads use; neither waits with it held.
 */
#include "mnl_link.h"
#include "channel.h"
#include "handshake.h"

#include <abi/frame.h>
#include <kernel/blackbox.h>
#include <kernel/host.h>
#include <kernel/ipc.h>
#include <kernel/mach_node_link.h>
#include <kernel/node.h>
#include <kernel/string.h>
#include <kernel/thread.h>

#define PIECE_BYTES (CHANNEL_RECORD_MAXIMUM - (uint32_t)sizeof(struct ring_piece))
#define MESSAGE_BYTES_MAXIMUM (MESSAGE_BODY_MAXIMUM + 64u)
#define TURN_RECORDS 32u /* then others may run */

struct assembly {
    mnl_msg_t message; /* null: none has begun */
    uint32_t total_bytes;
    uint32_t got_bytes;
};

struct mnl_link {
    struct mach_host *host;
    uint32_t index;
    uint32_t peer_id;
    struct lock lock;
    struct channel channel;
    struct handshake handshake;
    struct event wake; /* the follower: a doorbell, the sender's end, no room, stop */
    struct event room; /* the sender: there is room, or another session */
    struct thread *follower;
    bool must_stop;  /* atomic */
    bool is_retired; /* by the follower: the kernel took its peer away, another driver may come */

    /* The peer's life; the follower's. */
    mnl_node_info_t node; /* null: none */
    uint64_t incarnation;
    struct thread *sender;
    bool sender_ended; /* atomic */
    int bits;          /* MNL_LINK_* that are up */
    struct assembly assembly;
    struct blackbox_record told; /* the last state that was recorded */
};

static bool flag_is_set(const bool *flag)
{
    return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

static void flag_set(bool *flag)
{
    __atomic_store_n(flag, true, __ATOMIC_RELEASE);
}

/* --- The sender ------------------------------------------------------------------------------- */

/* Write one piece in session `session`. False: that session is over. */
static bool write_piece(struct mnl_link *link, uint32_t session, const struct ring_piece *piece,
                        const uint8_t *bytes, uint32_t count)
{
    for (;;) {
        int error = ERROR_DOWN;

        lock_acquire(&link->lock);
        if (link->handshake.welcomed && link->handshake.tx_session == session)
            error = channel_put(&link->channel, piece, sizeof(*piece), bytes, count, false);
        lock_release(&link->lock);
        if (error != ERROR_FULL)
            return error == ERROR_NONE;
        event_signal(&link->wake); /* it asks for a doorbell before it sleeps */
        (void)event_wait(&link->room, DEADLINE_NEVER);
    }
}

static void write_message(struct mnl_link *link, mnl_msg_t message)
{
    const uint8_t *bytes = (const uint8_t *)message;
    uint32_t total_bytes = (uint32_t)MNL_MSG_SIZE + mnl_msg_payload_bytes(message);
    uint32_t session;

    lock_acquire(&link->lock);
    session = link->handshake.tx_session;
    lock_release(&link->lock);
    for (uint32_t offset = 0; offset < total_bytes; offset += PIECE_BYTES) {
        uint32_t left = total_bytes - offset;
        const struct ring_piece piece = {
            .kind = le32_of(RING_PIECE),
            .total_bytes = le32_of(total_bytes),
            .offset = le32_of(offset),
        };
        if (!write_piece(link, session, &piece, bytes + offset,
                         left < PIECE_BYTES ? left : PIECE_BYTES))
            return;
    }
}

static void sender_main(void *argument)
{
    struct mnl_link *link = argument;
    mnl_msg_t message;

    while ((message = mnl_msg_to_node(link->node, 0)) != MNL_MSG_NULL) {
        write_message(link, message);
        mnl_msg_complete(link->node, message, 0);
    }
    flag_set(&link->sender_ended);
    event_signal(&link->wake);
}

/* --- Directions ------------------------------------------------------------------------------- */

/* What the node layer answers can only be that the life is over: the sender learns it, too. */
static void raise_bit(struct mnl_link *link, int bit)
{
    if ((link->bits & bit) == 0 && mnl_set_link_state(link->node, bit, 0) == KERN_SUCCESS)
        link->bits |= bit;
}

static void lower_bit(struct mnl_link *link, int bit)
{
    if ((link->bits & bit) != 0)
        (void)mnl_set_link_down(link->node, bit, 0);
    link->bits &= ~bit;
}

static void drop_assembly(struct mnl_link *link)
{
    mnl_msg_free(link->assembly.message, 0);
    link->assembly = (struct assembly){.message = MNL_MSG_NULL};
}

/* For whoever watches the link from outside, as the link manager tells of its own. */
static void tell_state(struct mnl_link *link)
{
    const struct blackbox_record record = {
        .kind = BLACKBOX_EVENT_LINK_STATE,
        .link = link->index,
        .peer = link->peer_id,
        .arg0 = (uint64_t)link->bits,
        .arg1 = (uint64_t)link->channel.rx_session << 32 | link->channel.tx_session,
        .arg2 = link->bits == (int)MNL_LINK_UP ? LINK_REASON_TRAINED
                : link->is_retired             ? LINK_REASON_DRIVER_STOPPED
                                               : LINK_REASON_CARRIER,
    };

    if (record.arg0 != link->told.arg0 || record.arg1 != link->told.arg1) {
        link->told = record;
        blackbox_event(link->host, &record);
    }
}

/* --- Lives ------------------------------------------------------------------------------------ */

/* The sender has got, or soon gets, null. */
static void end_life(struct mnl_link *link)
{
    if (link->node == MNL_NODE_NULL)
        return;
    lower_bit(link, MNL_LINK_UP);
    lock_acquire(&link->lock);
    link->handshake.welcomed = false;
    lock_release(&link->lock);
    event_signal(&link->room);
    thread_join(link->sender);
    mnl_node_release(link->node, 0);
    drop_assembly(link);
    link->node = MNL_NODE_NULL;
    link->sender = NULL;
}

static mnl_node_info_t register_life(const struct mnl_link *link, uint64_t incarnation,
                                     const struct ring_hello *hello)
{
    mnl_node_info_t node = mnl_attach((mach_node_id_t)link->peer_id, incarnation, 0);

    if (node != MNL_NODE_NULL)
        return node;
    node = mnl_instantiate((mach_node_id_t)link->peer_id, 0);
    if (node == MNL_NODE_NULL)
        return MNL_NODE_NULL;
    node->datamodel = hello->datamodel;
    node->byteorder = hello->byteorder;
    node->proto_vers_min = le32_load(hello->version_min);
    node->proto_vers_max = le32_load(hello->version_max);
    if (mnl_set_incarnation(node, incarnation, 0) != KERN_SUCCESS ||
        mnl_set_flow(node, MNL_FLOW_IN_MESSAGES, 0) != KERN_SUCCESS ||
        mnl_set_message_max(node, le32_load(hello->message_max), 0) != KERN_SUCCESS ||
        mnl_register(node, 0) != KERN_SUCCESS) {
        mnl_node_release(node, 0);
        return MNL_NODE_NULL;
    }
    return node;
}

/* The peer says that it lives as `incarnation`. False: nobody is to talk to that life. */
static bool enter_life(struct mnl_link *link, uint64_t incarnation, const struct ring_hello *hello)
{
    mnl_node_info_t node;

    if (link->node != MNL_NODE_NULL && link->incarnation == incarnation)
        return true;
    node = register_life(link, incarnation, hello); /* ends an older life, and so its sender */
    if (node == MNL_NODE_NULL)
        return false;
    end_life(link);
    link->node = node;
    link->incarnation = incarnation;
    link->sender_ended = false;
    if (thread_create(link->host, "mnl_ring send", sender_main, link, &link->sender) == ERROR_NONE)
        return true;
    (void)mnl_detach(node, 0); /* for the next HELLO */
    link->node = MNL_NODE_NULL;
    return false;
}

/* --- What arrives ----------------------------------------------------------------------------- */

static bool on_hello(struct mnl_link *link, const struct ring_hello *hello)
{
    uint64_t incarnation = handshake_life(&link->handshake, hello);

    if (incarnation == 0 || !enter_life(link, incarnation, hello))
        return false;
    lock_acquire(&link->lock);
    handshake_accept(&link->handshake, incarnation);
    lock_release(&link->lock);
    raise_bit(link, MNL_LINK_RX);
    return true;
}

static void on_welcome(struct mnl_link *link, const struct ring_welcome *welcome)
{
    bool is_ours;

    lock_acquire(&link->lock);
    is_ours = handshake_welcomes(&link->handshake, welcome);
    lock_release(&link->lock);
    if (is_ours) {
        mnl_flow_resume(link->node, le32_load(welcome->next));
        raise_bit(link, MNL_LINK_TX);
    }
}

/* `bytes` lie in the ring: copied here, judged by the caller's channel_take(). */
static bool on_piece(struct mnl_link *link, const struct ring_piece *piece, const uint8_t *bytes,
                     uint32_t count)
{
    struct assembly *assembly = &link->assembly;
    uint32_t total_bytes = le32_load(piece->total_bytes);

    if (assembly->message == MNL_MSG_NULL) {
        if (total_bytes < (uint32_t)MNL_MSG_SIZE || total_bytes > MESSAGE_BYTES_MAXIMUM)
            return false;
        *assembly = (struct assembly){
            .message = mnl_msg_alloc((int)total_bytes - MNL_MSG_SIZE, 0),
            .total_bytes = total_bytes,
        };
        if (assembly->message == MNL_MSG_NULL)
            return false; /* the peer sends it again */
    }
    if (total_bytes != assembly->total_bytes || le32_load(piece->offset) != assembly->got_bytes ||
        count > total_bytes - assembly->got_bytes)
        return false;
    memcpy((uint8_t *)assembly->message + assembly->got_bytes, bytes, count);
    assembly->got_bytes += count;
    return true;
}

static bool deliver_whole(struct mnl_link *link)
{
    struct assembly whole = link->assembly;

    if (whole.message == MNL_MSG_NULL || whole.got_bytes != whole.total_bytes)
        return true;
    link->assembly = (struct assembly){.message = MNL_MSG_NULL};
    kern_return_t result = mnl_msg_take_from_node(link->node, whole.message, whole.total_bytes, 0);
    /* What a life that is over, or a direction that is down, does not take is not the peer's fault. */
    return result != KERN_INVALID_ARGUMENT && result != KERN_RESOURCE_SHORTAGE;
}

/* One record. False: the peer, or what it says, cannot be used until it begins anew. */
static bool receive(struct mnl_link *link, const uint8_t *record, uint32_t length)
{
    union {
        struct ring_hello hello;
        struct ring_welcome welcome;
        struct ring_piece piece;
    } head;
    size_t head_bytes = length < sizeof(head) ? length : sizeof(head);
    bool is_good = true;

    memcpy(&head, record, head_bytes);
    int kind = handshake_kind(&link->handshake, &head, length);
    if (kind == RING_PIECE)
        is_good = on_piece(link, &head.piece, record + sizeof(head.piece),
                           length - (uint32_t)sizeof(head.piece));
    if (!is_good || !channel_take(&link->channel))
        return false; /* or it is from another session: the next look finds that out */
    switch (kind) {
    case RING_HELLO:
        return on_hello(link, &head.hello);
    case RING_WELCOME:
        on_welcome(link, &head.welcome);
        return true;
    case RING_PIECE:
        return deliver_whole(link);
    default:
        return false;
    }
}

/* True: there may be more. */
static bool receive_some(struct mnl_link *link)
{
    for (uint32_t i = 0; i < TURN_RECORDS; i++) {
        const uint8_t *record;
        uint32_t length;
        int found = channel_next(&link->channel, &record, &length);

        if (found == 0)
            return false;
        if (found < 0 || !receive(link, record, length)) {
            lock_acquire(&link->lock);
            channel_refuse(&link->channel);
            lock_release(&link->lock);
            return true;
        }
    }
    return true;
}

/* --- The follower ----------------------------------------------------------------------------- */

static void follow_sessions(struct mnl_link *link)
{
    struct channel *channel = &link->channel;
    bool tx_changed, rx_changed;

    lock_acquire(&link->lock);
    channel_follow(channel);
    tx_changed = channel->tx_session != link->handshake.tx_session;
    rx_changed = channel->rx_session != link->handshake.rx_session;
    if (rx_changed)
        handshake_set_rx(&link->handshake, channel->rx_session);
    if (tx_changed)
        handshake_set_tx(&link->handshake, channel->tx_session);
    lock_release(&link->lock);
    if (rx_changed) {
        lower_bit(link, MNL_LINK_RX);
        drop_assembly(link);
    }
    if (tx_changed) {
        lower_bit(link, MNL_LINK_TX);
        event_signal(&link->room); /* a sender may hold a piece of the old session */
    }
}

static void introduce(struct mnl_link *link)
{
    uint32_t next = link->node != MNL_NODE_NULL ? mnl_flow_next(link->node) : 0;
    struct ring_hello record;
    size_t length;

    lock_acquire(&link->lock);
    while ((length = handshake_due(&link->handshake, next, &record)) != 0 &&
           channel_put(&link->channel, &record, length, NULL, 0, true) == ERROR_NONE)
        handshake_sent(&link->handshake, &record);
    if (channel_found_room(&link->channel))
        event_signal(&link->room);
    lock_release(&link->lock);
}

/* The sender got null: the life is over, or it is another driver's from now on. */
static void on_sender_ended(struct mnl_link *link)
{
    link->is_retired = mnl_is_detached(link->node);
    link->bits = MNL_LINK_DOWN;
    end_life(link);
    if (link->is_retired) {
        lock_acquire(&link->lock);
        channel_leave(&link->channel);
        lock_release(&link->lock);
    }
}

/* True: there is more to do at once. */
static bool turn(struct mnl_link *link)
{
    bool more;

    follow_sessions(link);
    more = receive_some(link);
    if (link->node != MNL_NODE_NULL && flag_is_set(&link->sender_ended))
        on_sender_ended(link);
    if (!link->is_retired)
        introduce(link);
    tell_state(link);
    return more && !link->is_retired;
}

static void sleep_until_news(struct mnl_link *link)
{
    bool has_news;

    lock_acquire(&link->lock);
    has_news = channel_arm(&link->channel);
    lock_release(&link->lock);
    if (!has_news)
        (void)event_wait(&link->wake, DEADLINE_NEVER);
    lock_acquire(&link->lock);
    channel_disarm(&link->channel);
    lock_release(&link->lock);
}

static void follower_main(void *argument)
{
    struct mnl_link *link = argument;

    while (!flag_is_set(&link->must_stop)) {
        if (link->is_retired)
            (void)event_wait(&link->wake, DEADLINE_NEVER);
        else if (turn(link))
            thread_yield();
        else
            sleep_until_news(link);
    }
    if (link->node != MNL_NODE_NULL)
        (void)mnl_detach(link->node, 0);
    end_life(link);
    link->is_retired = true;
    channel_close(&link->channel);
    tell_state(link);
}

/* --- Life of the link ------------------------------------------------------------------------- */

static void on_doorbell(void *context)
{
    struct mnl_link *link = context;

    event_signal(&link->wake);
}

static struct ring_hello self_of(const struct mach_host *host)
{
    return (struct ring_hello){
        .incarnation = le64_of(host->incarnation),
        .node_id = le32_of(host->node_id),
        .message_max = le32_of(MESSAGE_BYTES_MAXIMUM),
        .version_min = le32_of(MNL_PROTOCOL_V1),
        .version_max = le32_of(MNL_PROTOCOL_V1),
        .datamodel = MNL_DATAMODEL_LOCAL,
        .byteorder = MNL_BYTEORDER_LOCAL,
    };
}

int mnl_link_start(struct mach_host *host, uint32_t index, const struct boot_link *boot,
                   struct mnl_link **out)
{
    struct mnl_link *link = heap_allocate(host, sizeof(*link));
    const struct ring_hello self = self_of(host);

    if (link == NULL)
        return ERROR_NO_MEMORY;
    *link = (struct mnl_link){.host = host, .index = index, .peer_id = boot->peer};
    lock_init(&link->lock);
    event_init(&link->wake);
    event_init(&link->room);
    handshake_open(&link->handshake, &self, boot->peer);
    int error = channel_open(&link->channel, boot->slot, host->incarnation, on_doorbell, link);
    if (error == ERROR_NONE) {
        error = thread_create(host, "mnl_ring", follower_main, link, &link->follower);
        if (error != ERROR_NONE)
            channel_close(&link->channel);
    }
    if (error != ERROR_NONE) {
        heap_free(host, link);
        return error;
    }
    *out = link;
    return ERROR_NONE;
}

void mnl_link_stop(struct mnl_link *link)
{
    flag_set(&link->must_stop);
    event_signal(&link->wake);
    thread_join(link->follower);
    heap_free(link->host, link);
}
