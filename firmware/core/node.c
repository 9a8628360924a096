/* SPDX-License-Identifier: MIT
 *
 * The life of a node handle: instantiated, registered, dead, released. The functions of
 * kernel/mach_node_link.h that change it are here; those that move messages are in mnl.c.
 */
#include "node.h"
#include "heap.h"
#include "name_table.h"
#include "node_notice.h"
#include "port.h"

kern_return_t node_allows(const struct node *node, enum node_call call)
{
    static const uint8_t answers[][3] = {
#define CALL(call, instantiated, registered, dead, next)                                           \
    [NODE_CALL_##call] = {KERN_##instantiated, KERN_##registered, KERN_##dead},
        NODE_LIFE(CALL)
#undef CALL
    };

    return answers[call][node->is_detached ? NODE_DEAD : node->state];
}

/* May the struct be freed although nobody released its handle? Only of a driver that cannot: one
 * that knows the published functions alone never tells an incarnation, and one that is gone. */
static bool is_reapable(const struct node *node, uint32_t node_id)
{
    return node->id == node_id && node->state == NODE_DEAD &&
           (!node->knows_incarnation || node->is_detached) && !node->is_leaving &&
           node->fetchers_waiting == 0 && node->fetched_count == 0;
}

static void node_free(struct node *node)
{
    struct mach_host *host = node->host;

    heap_free(host, node->flow.rights);
    heap_free(host, node->flow.notice);
    heap_free(host, node);
}

/* Free the dead lives of an id but the last one, whose handle still has to answer that it is dead.
 */
static void reap_antecedents(struct mach_host *host, uint32_t node_id)
{
    struct list *handles = &host->nodes->handles;
    struct list reaped;
    bool is_last = true;

    list_init(&reaped);
    ipc_lock(host);
    for (struct list *link = handles->previous, *before; link != handles; link = before) {
        struct node *node = LIST_CONTAINER(link, struct node, handle);

        before = link->previous;
        if (!is_reapable(node, node_id))
            continue;
        if (!is_last) {
            list_remove(link);
            list_append(&reaped, link);
        }
        is_last = false;
    }
    ipc_unlock(host);
    while (!list_is_empty(&reaped)) {
        struct list *link = reaped.next;

        list_remove(link);
        node_free(LIST_CONTAINER(link, struct node, handle));
    }
}

mnl_node_info_t mnl_instantiate(mach_node_id_t nid, uint32_t flags)
{
    struct mach_host *host = thread_current_host();
    struct node *node;
    struct kmsg *rights, *notice;

    (void)flags;
    if (host == NULL || nid < 0 || node_slot_of(host, (uint32_t)nid) == NULL)
        return MNL_NODE_NULL;
    reap_antecedents(host, (uint32_t)nid);
    node = heap_allocate_kind(host, sizeof(*node), HEAP_NODE);
    if (node == NULL)
        return MNL_NODE_NULL;
    rights = flow_rights_allocate(host);
    notice = node_notice_allocate(host);
    if (rights == NULL || notice == NULL) {
        heap_free(host, rights);
        heap_free(host, notice);
        heap_free(host, node);
        return MNL_NODE_NULL;
    }
    *node = (struct node){
        .info = {.node_id = nid},
        .host = host,
        .id = (uint32_t)nid,
        .message_max = UINT32_MAX,
        .owner = thread_owner(),
    };
    list_init(&node->handle);
    list_init(&node->proxies);
    list_init(&node->shares);
    condition_init(&node->fetch);
    flow_init(&node->flow, &host->constants);
    node->flow.rights = rights;
    node->flow.notice = notice;
    ipc_lock(host);
    list_append(&host->nodes->handles, &node->handle);
    ipc_unlock(host);
    return &node->info;
}

/* --- Before registration ---------------------------------------------------------------------- */

kern_return_t mnl_set_incarnation(mnl_node_info_t handle, uint64_t incarnation, uint32_t flags)
{
    struct node *node = node_of_handle(handle);
    kern_return_t result;

    (void)flags;
    if (node == NULL || incarnation == 0)
        return KERN_INVALID_ARGUMENT;
    ipc_lock(node->host);
    result = node_allows(node, NODE_CALL_SET_INCARNATION);
    if (incarnation <= node_slot_of(node->host, node->id)->dead_incarnation)
        result = KERN_NODE_DOWN;
    if (result == KERN_SUCCESS) {
        node->incarnation = incarnation;
        node->knows_incarnation = true;
        node->flow_in_headers = true;
    }
    ipc_unlock(node->host);
    return result;
}

kern_return_t mnl_set_message_max(mnl_node_info_t handle, uint32_t bytes, uint32_t flags)
{
    struct node *node = node_of_handle(handle);
    kern_return_t result;

    (void)flags;
    if (node == NULL || bytes < sizeof(struct mnl_msg) + sizeof(struct wire_mach_header))
        return KERN_INVALID_ARGUMENT;
    ipc_lock(node->host);
    result = node_allows(node, NODE_CALL_SET_MESSAGE_MAX);
    if (result == KERN_SUCCESS)
        node->message_max = bytes;
    ipc_unlock(node->host);
    return result;
}

static bool info_is_complete(const struct node *node)
{
    const struct mnl_node_info *info = &node->info;

    return info->node_id == (mach_node_id_t)node->id && info->datamodel != 0 &&
           info->datamodel <= MNL_DATAMODEL_LP64 && info->byteorder != MNL_BYTEORDER_UNKNOWN &&
           info->byteorder <= MNL_BYTEORDER_BIG && info->proto_vers_min != 0 &&
           info->proto_vers_min <= MNL_PROTOCOL_V1 && info->proto_vers_max >= MNL_PROTOCOL_V1;
}

static kern_return_t register_locked(struct node *node)
{
    struct node_slot *slot = node_slot_of(node->host, node->id);
    kern_return_t result = node_allows(node, NODE_CALL_REGISTER);

    if (result != KERN_SUCCESS)
        return result;
    if (!info_is_complete(node))
        return KERN_INVALID_ARGUMENT;
    if (slot->live != NULL || slot->closing != 0)
        return KERN_FAILURE;
    if (!node->knows_incarnation)
        node->incarnation = slot->dead_incarnation + 1u;
    else if (node->incarnation <= slot->dead_incarnation)
        return KERN_NODE_DOWN;
    node->state = NODE_REGISTERED;
    node->names = node->id << 16 | NAME_TAG_OF_INCARNATION(node->incarnation);
    slot->live = node;
    return KERN_SUCCESS;
}

/* The living incarnation that this one follows; 0: none that it may end. */
static uint64_t superseded_incarnation(const struct node *node)
{
    const struct node *live = node_slot_of(node->host, node->id)->live;

    if (node->state != NODE_INSTANTIATED || !node->knows_incarnation || live == NULL ||
        !live->knows_incarnation || live->incarnation >= node->incarnation ||
        !info_is_complete(node))
        return 0;
    return live->incarnation;
}

kern_return_t mnl_register(mnl_node_info_t handle, uint32_t flags)
{
    struct node *node = node_of_handle(handle);
    kern_return_t result;
    uint64_t older;
    bool up;

    (void)flags;
    if (node == NULL)
        return KERN_INVALID_ARGUMENT;
    ipc_lock(node->host);
    older = superseded_incarnation(node);
    ipc_unlock(node->host);
    if (older != 0)
        (void)node_declare_dead(node->host, node->id, older, NODE_DEATH_INCARNATION);
    ipc_lock(node->host);
    result = register_locked(node);
    up = result == KERN_SUCCESS && node_becomes_up(node);
    ipc_unlock(node->host);
    if (up)
        node_tell_up(node->host, node->id, node->incarnation);
    return result;
}

/* --- Link bits -------------------------------------------------------------------------------- */

bool node_becomes_up(struct node *node)
{
    if (node->state != NODE_REGISTERED || node->link != NODE_GATE_PUBLISH || node->told_up)
        return false;
    node->told_up = true;
    node_notice_up(node);
    return true;
}

void node_kick(struct node *node)
{
    if (node->kicked)
        return;
    node_set_kicked(node, true);
    if (node->fetchers_waiting != 0)
        condition_signal(&node->fetch);
    event_signal(&node->host->link_event);
}

kern_return_t mnl_set_link_state(mnl_node_info_t handle, int link, uint32_t flags)
{
    struct node *node = node_of_handle(handle);
    kern_return_t result;
    bool up = false;

    (void)flags;
    if (node == NULL || link <= 0 || link > (int)MNL_LINK_UP)
        return KERN_INVALID_ARGUMENT;
    ipc_lock(node->host);
    result = node_allows(node, NODE_CALL_SET_LINK_STATE);
    if (result == KERN_SUCCESS && (node->link & link) != 0)
        result = KERN_INVALID_ARGUMENT;
    if (result == KERN_SUCCESS) {
        node->link |= (uint8_t)link;
        node_set_kicked(node, false);
        node_kick(node);
        up = node_becomes_up(node);
    }
    ipc_unlock(node->host);
    if (up)
        node_tell_up(node->host, node->id, node->incarnation);
    return result;
}

kern_return_t mnl_set_link_down(mnl_node_info_t handle, int link, uint32_t flags)
{
    struct node *node = node_of_handle(handle);
    kern_return_t result;

    (void)flags;
    if (node == NULL || link <= 0 || link > (int)MNL_LINK_UP)
        return KERN_INVALID_ARGUMENT;
    ipc_lock(node->host);
    result = node_allows(node, NODE_CALL_SET_LINK_DOWN);
    if (result == KERN_SUCCESS)
        node->link &= (uint8_t)~link;
    ipc_unlock(node->host);
    return result;
}

/* --- Sleep ------------------------------------------------------------------------------------ */

static kern_return_t set_suspended(mnl_node_info_t handle, bool suspended)
{
    struct node *node = node_of_handle(handle);
    kern_return_t result;

    if (node == NULL)
        return KERN_INVALID_ARGUMENT;
    ipc_lock(node->host);
    result = node_allows(node, suspended ? NODE_CALL_SUSPEND : NODE_CALL_RESUME);
    if (result == KERN_SUCCESS && node->is_suspended == suspended)
        result = KERN_FAILURE;
    if (result == KERN_SUCCESS) {
        node->is_suspended = suspended;
        node_set_kicked(node, false);
        node_kick(node);
    }
    ipc_unlock(node->host);
    return result;
}

kern_return_t mnl_suspend(mnl_node_info_t handle, uint32_t flags)
{
    (void)flags;
    return set_suspended(handle, true);
}

kern_return_t mnl_resume(mnl_node_info_t handle, uint32_t flags)
{
    (void)flags;
    return set_suspended(handle, false);
}

bool mnl_is_suspended(mnl_node_info_t handle)
{
    struct node *node = node_of_handle(handle);
    bool suspended;

    if (node == NULL)
        return false;
    ipc_lock(node->host);
    suspended = node->is_suspended;
    ipc_unlock(node->host);
    return suspended;
}

/* --- The end ---------------------------------------------------------------------------------- */

void node_end(struct node *node, struct deferred *deferred)
{
    struct node_slot *slot = node_slot_of(node->host, node->id);

    if (slot->live == node)
        slot->live = NULL;
    node->state = NODE_DEAD;
    node->link = MNL_LINK_DOWN;
    node->is_suspended = false;
    flipc_abandon(node, deferred);
    condition_broadcast(&node->fetch);
}

/* What was never registered was nobody's peer: its incarnation may be tried again. */
static kern_return_t end_unregistered(struct node *node)
{
    struct mach_host *host = node->host;
    struct deferred deferred;
    kern_return_t result = KERN_FAILURE;

    deferred_init(&deferred);
    ipc_lock(host);
    if (node->state == NODE_DEAD) {
        result = KERN_NODE_DOWN;
    } else if (node->state == NODE_INSTANTIATED) {
        node_end(node, &deferred);
        result = KERN_SUCCESS;
    }
    ipc_unlock(host);
    deferred_run(host, &deferred);
    return result;
}

kern_return_t mnl_terminate(mnl_node_info_t handle, uint32_t flags)
{
    struct node *node = node_of_handle(handle);
    kern_return_t result;

    (void)flags;
    if (node == NULL)
        return KERN_INVALID_ARGUMENT;
    if (mnl_is_detached(handle))
        return KERN_NODE_DOWN;
    result = end_unregistered(node);
    if (result != KERN_FAILURE)
        return result;
    /* Somebody else may have declared it dead since; then the handle is dead already. */
    return node_declare_dead(node->host, node->id, node->incarnation, NODE_DEATH_DRIVER) == 0
               ? KERN_SUCCESS
               : KERN_NODE_DOWN;
}

void mnl_node_release(mnl_node_info_t handle, uint32_t flags)
{
    struct node *node = node_of_handle(handle);

    if (node == NULL || mnl_is_detached(handle))
        return;
    ipc_lock(node->host);
    node->is_leaving = true;
    ipc_unlock(node->host);
    (void)mnl_terminate(handle, flags);
    ipc_lock(node->host);
    list_remove(&node->handle);
    ipc_unlock(node->host);
    node_free(node);
}
