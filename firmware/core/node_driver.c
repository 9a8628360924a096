/* SPDX-License-Identifier: MIT
 *
 * Drivers that come and go while a life of their peer goes on: taking a node from one driver, giving
 * it to the next, and what a kernel server that is a driver leaves behind.
 *
 * A detached node is registered and has no direction up, so senders wait at their limit and nothing
 * is lost. Its handle belongs to nobody: mnl_attach() gives it out again, and if the life ends
 * first, the next but one of that id frees it (node.c, reap_antecedents()).
 */
#include "node.h"

kern_return_t mnl_set_flow(mnl_node_info_t handle, int flow, uint32_t flags)
{
    struct node *node = node_of_handle(handle);
    kern_return_t result;

    (void)flags;
    if (node == NULL || (flow != MNL_FLOW_IN_HEADERS && flow != MNL_FLOW_IN_MESSAGES))
        return KERN_INVALID_ARGUMENT;
    ipc_lock(node->host);
    result = node_allows(node, NODE_CALL_SET_FLOW);
    if (result == KERN_SUCCESS && !node->knows_incarnation)
        result = KERN_INVALID_ARGUMENT;
    if (result == KERN_SUCCESS)
        node->flow_in_headers = flow == MNL_FLOW_IN_HEADERS;
    ipc_unlock(node->host);
    return result;
}

/* --- Going ------------------------------------------------------------------------------------ */

static void detach(struct node *node)
{
    node->link = MNL_LINK_DOWN;
    node->is_detached = true;
    node->owner = NULL;
    node_set_kicked(node, false);
    condition_broadcast(&node->fetch);
}

kern_return_t mnl_detach(mnl_node_info_t handle, uint32_t flags)
{
    struct node *node = node_of_handle(handle);
    kern_return_t result;

    (void)flags;
    if (node == NULL)
        return KERN_INVALID_ARGUMENT;
    ipc_lock(node->host);
    result = node_allows(node, NODE_CALL_DETACH);
    if (result == KERN_SUCCESS)
        detach(node);
    ipc_unlock(node->host);
    return result;
}

bool mnl_is_detached(mnl_node_info_t handle)
{
    struct node *node = node_of_handle(handle);
    bool detached;

    if (node == NULL)
        return false;
    ipc_lock(node->host);
    detached = node->is_detached;
    ipc_unlock(node->host);
    return detached;
}

uint32_t node_driver_lives(struct mach_host *host, const struct server *driver)
{
    struct list *handles = &host->nodes->handles;
    uint32_t count = 0;

    ipc_lock(host);
    for (struct list *link = handles->next; link != handles; link = link->next) {
        const struct node *node = LIST_CONTAINER(link, struct node, handle);

        count += node->owner == driver && node->state == NODE_REGISTERED;
    }
    ipc_unlock(host);
    return count;
}

/* Whoever had fetched messages or waited for one is no more. A message that had its outcome while it
 * was fetched is known to nobody and lost to the heap. */
static void forget_fetched(struct node *node)
{
    struct flow *flow = &node->flow;

    for (struct list *link = flow->outstanding.next; link != &flow->outstanding; link = link->next)
        kmsg_of_queue(link)->held = 0;
    flow->snapshot_held = false;
    node->fetched_count = 0;
    node->fetchers_waiting = 0;
}

void node_detach_driver(struct mach_host *host, const struct server *driver, bool is_gone)
{
    struct list *handles = &host->nodes->handles;
    struct deferred deferred;

    deferred_init(&deferred);
    ipc_lock(host);
    for (struct list *link = handles->next; link != handles; link = link->next) {
        struct node *node = LIST_CONTAINER(link, struct node, handle);

        if (node->owner != driver)
            continue;
        if (is_gone)
            forget_fetched(node);
        if (is_gone && node->state == NODE_INSTANTIATED)
            node_end(node, &deferred);
        if (is_gone || node->state == NODE_REGISTERED)
            detach(node);
    }
    ipc_unlock(host);
    deferred_run(host, &deferred);
}

/* --- Coming ----------------------------------------------------------------------------------- */

mnl_node_info_t mnl_attach(mach_node_id_t nid, uint64_t incarnation, uint32_t flags)
{
    struct mach_host *host = thread_current_host();
    struct node_slot *slot;
    struct node *node;

    (void)flags;
    if (host == NULL || nid < 0)
        return MNL_NODE_NULL;
    slot = node_slot_of(host, (uint32_t)nid);
    if (slot == NULL)
        return MNL_NODE_NULL;
    ipc_lock(host);
    node = slot->live;
    if (node != NULL && (node->incarnation != incarnation || !node->is_detached ||
                         node->fetchers_waiting != 0 || node->fetched_count != 0))
        node = NULL;
    if (node != NULL) {
        node->is_detached = false;
        node->owner = thread_owner();
    }
    ipc_unlock(host);
    return node != NULL ? &node->info : MNL_NODE_NULL;
}
