/* SPDX-License-Identifier: MIT
 *
 * The functions of kernel/mach_node_link.h that move messages and flow state: thin faces over
 * FLIPC.
 */
#include "heap.h"
#include "kmsg.h"
#include "node.h"
#include <kernel/string.h>

/* --- Buffers ---------------------------------------------------------------------------------- */

mnl_msg_t mnl_msg_alloc(int payload, uint32_t flags)
{
    struct mach_host *host = thread_current_host();
    struct kmsg *kmsg;

    (void)flags;
    if (host == NULL || payload < 0)
        return MNL_MSG_NULL;
    kmsg = kmsg_allocate_payload(host, (size_t)payload);
    return kmsg == NULL ? MNL_MSG_NULL : msg_of_kmsg(kmsg);
}

void mnl_msg_free(mnl_msg_t msg, uint32_t flags)
{
    (void)flags;
    if (msg != MNL_MSG_NULL)
        kmsg_free(kmsg_of_msg(msg));
}

/* --- From the node ---------------------------------------------------------------------------- */

kern_return_t mnl_msg_take_from_node(mnl_node_info_t handle, mnl_msg_t msg, size_t length,
                                     uint32_t flags)
{
    struct node *node = node_of_handle(handle);

    (void)flags;
    if (msg == MNL_MSG_NULL)
        return KERN_INVALID_ARGUMENT;
    if (node == NULL) {
        kmsg_free(kmsg_of_msg(msg));
        return KERN_INVALID_ARGUMENT;
    }
    return flipc_receive(node, kmsg_of_msg(msg), length);
}

kern_return_t mnl_msg_from_node_bounded(mnl_node_info_t handle, mnl_msg_t msg, size_t length,
                                        uint32_t flags)
{
    struct node *node = node_of_handle(handle);
    struct kmsg *kmsg;

    (void)flags;
    if (node == NULL || msg == MNL_MSG_NULL || length < sizeof(*msg) ||
        length - sizeof(*msg) > KMSG_PAYLOAD_MAXIMUM)
        return KERN_INVALID_ARGUMENT;
    kmsg = kmsg_allocate_payload(node->host, length - sizeof(*msg));
    if (kmsg == NULL)
        return KERN_RESOURCE_SHORTAGE;
    memcpy(&kmsg->header, msg, length);
    return mnl_msg_take_from_node(handle, msg_of_kmsg(kmsg), length, 0);
}

void mnl_msg_from_node(mnl_node_info_t handle, mnl_msg_t msg, uint32_t flags)
{
    if (msg != MNL_MSG_NULL)
        (void)mnl_msg_from_node_bounded(handle, msg,
                                        sizeof(*msg) + (size_t)mnl_msg_payload_bytes(msg), flags);
}

/* --- To the node ------------------------------------------------------------------------------ */

mnl_msg_t mnl_msg_try_to_node(mnl_node_info_t handle, uint32_t flags)
{
    struct node *node = node_of_handle(handle);
    mnl_msg_t msg;

    (void)flags;
    if (node == NULL)
        return MNL_MSG_NULL;
    ipc_lock(node->host);
    msg = flipc_fetch(node);
    node->fetched_count += msg != MNL_MSG_NULL;
    ipc_unlock(node->host);
    return msg;
}

bool mnl_has_to_node(mnl_node_info_t handle)
{
    return node_is_kicked(node_of_handle(handle));
}

void mnl_set_transmitter(mnl_node_info_t handle, const struct mnl_transmitter *transmitter)
{
    struct node *node = node_of_handle(handle);

    ipc_lock(node->host);
    node->transmitter = *transmitter;
    ipc_unlock(node->host);
}

mnl_msg_t mnl_msg_to_node(mnl_node_info_t handle, uint32_t flags)
{
    struct node *node = node_of_handle(handle);
    mnl_msg_t msg = MNL_MSG_NULL;

    (void)flags;
    if (node == NULL)
        return MNL_MSG_NULL;
    ipc_lock(node->host);
    while (node->state == NODE_REGISTERED && !node->is_detached) {
        uint64_t deadline_ns = flipc_snapshot_tick(node);

        msg = flipc_fetch(node);
        if (msg != MNL_MSG_NULL)
            break;
        node->fetchers_waiting++;
        (void)condition_wait(&node->fetch, &node->host->ipc->lock, deadline_ns);
        node->fetchers_waiting--;
    }
    node->fetched_count += msg != MNL_MSG_NULL;
    ipc_unlock(node->host);
    return msg;
}

void mnl_msg_complete(mnl_node_info_t handle, mnl_msg_t msg, uint32_t flags)
{
    struct node *node = node_of_handle(handle);
    struct deferred deferred;

    (void)flags;
    if (node == NULL || msg == MNL_MSG_NULL)
        return;
    deferred_init(&deferred);
    ipc_lock(node->host);
    flipc_complete(node, msg, &deferred);
    node->fetched_count--;
    ipc_unlock(node->host);
    deferred_run(node->host, &deferred);
}

/* --- Flow ------------------------------------------------------------------------------------- */

/* What is read for a frame is remembered, so that mnl_flow_acknowledged() knows what left. */
static uint32_t read_for_frame(const uint32_t *word, uint32_t *read)
{
    uint32_t value = word_load(word);

    word_store(read, value);
    return value;
}

uint32_t mnl_flow_ack(mnl_node_info_t handle)
{
    struct flow *flow = &node_of_handle(handle)->flow;

    return read_for_frame(&flow->ack, &flow->ack_read);
}

uint32_t mnl_flow_credit(mnl_node_info_t handle)
{
    struct flow *flow = &node_of_handle(handle)->flow;

    return read_for_frame(&flow->credit, &flow->credit_read);
}

uint32_t mnl_flow_next(mnl_node_info_t handle)
{
    return word_load(&node_of_handle(handle)->flow.next_expected);
}

void mnl_flow_peer(mnl_node_info_t handle, uint32_t flipc_ack, uint32_t flipc_credit)
{
    struct node *node = node_of_handle(handle);
    struct deferred deferred;

    if (word_load(&node->flow.peer_ack) == flipc_ack &&
        word_load(&node->flow.peer_credit) == flipc_credit)
        return;
    deferred_init(&deferred);
    ipc_lock(node->host);
    if (node->state == NODE_REGISTERED &&
        !flipc_peer_told(node, flipc_ack, flipc_credit, &deferred))
        node->host->nodes->counters.dropped++;
    ipc_unlock(node->host);
    deferred_run(node->host, &deferred);
}

uint64_t mnl_flow_ack_deadline_ns(mnl_node_info_t handle)
{
    return flipc_ack_deadline_ns(node_of_handle(handle));
}

void mnl_flow_acknowledged(mnl_node_info_t handle, uint64_t now_ns)
{
    flipc_acknowledged(node_of_handle(handle), now_ns);
}

void mnl_flow_resume(mnl_node_info_t handle, uint32_t flipc_next)
{
    struct node *node = node_of_handle(handle);

    ipc_lock(node->host);
    if (node->state == NODE_REGISTERED)
        flipc_resume(node, flipc_next);
    ipc_unlock(node->host);
}
