/* SPDX-License-Identifier: MIT
 *
 * NODE messages and the node special port; see node_notice.h and kernel/node.h.
 */
#include "node_notice.h"
#include "port.h"
#include <abi/services.h>
#include <kernel/string.h>

/* struct node.untold, in the order in which they are told. */
enum notice {
    NOTICE_HELLO = 1,
    NOTICE_BOOTSTRAP = 2,
    NOTICE_LEAVE = 4,
};

union notice_payload {
    struct node_hello_body hello;
    struct node_bootstrap_body bootstrap;
    struct node_leave_body leave;
};

struct kmsg *node_notice_allocate(struct mach_host *host)
{
    return kmsg_allocate_standing(host, sizeof(union notice_payload));
}

static void tell(struct node *node, uint8_t notices)
{
    node->untold |= notices;
    node_kick(node);
}

void node_notice_up(struct node *node)
{
    if (node->host->nodes->bootstrap != NULL)
        tell(node, NOTICE_HELLO | NOTICE_BOOTSTRAP);
}

/* --- Out -------------------------------------------------------------------------------------- */

static struct node_hello_body hello_of(const struct mach_host *host)
{
    return (struct node_hello_body){.incarnation = le64_of(host->incarnation),
                                    .protocol_minimum = MNL_PROTOCOL_V1,
                                    .protocol_maximum = MNL_PROTOCOL_V1,
                                    .data_model = MNL_DATAMODEL_LOCAL,
                                    .byte_order = MNL_BYTEORDER_LOCAL};
}

/* Returns the command; the size goes to *size_bytes. */
static uint8_t write_notice(struct node *node, union notice_payload *payload, size_t *size_bytes)
{
    struct mach_host *host = node->host;

    if (node->untold & NOTICE_HELLO) {
        node->untold &= (uint8_t)~NOTICE_HELLO;
        payload->hello = hello_of(host);
        *size_bytes = sizeof(payload->hello);
        return NODE_HELLO;
    }
    if (node->untold & NOTICE_BOOTSTRAP) {
        node->untold &= (uint8_t)~NOTICE_BOOTSTRAP;
        payload->bootstrap.name = le64_of(NAME_WELL_KNOWN(host->node_id, NAME_SERIAL_BOOTSTRAP));
        *size_bytes = sizeof(payload->bootstrap);
        return host->nodes->bootstrap != NULL ? NODE_BOOTSTRAP_UP : NODE_BOOTSTRAP_DOWN;
    }
    node->untold = 0;
    payload->leave.incarnation = le64_of(host->incarnation);
    *size_bytes = sizeof(payload->leave);
    return NODE_LEAVE;
}

struct kmsg *node_notice_take(struct node *node)
{
    struct kmsg *kmsg = node->flow.notice;
    size_t size_bytes;
    uint8_t command = write_notice(node, (union notice_payload *)(void *)&kmsg->mach, &size_bytes);

    kmsg->header = (struct wire_mnl_header){.sub = MNL_SUB_NODE,
                                            .cmd = command,
                                            .flags = MNL_FLAG_SEQUENCED,
                                            .node_id = le32_of(node->host->node_id),
                                            .size = le32_of((uint32_t)size_bytes)};
    node->flow.notice_busy = true;
    return kmsg;
}

void node_notice_settled(struct node *node)
{
    node->flow.notice_busy = false;
    if (node->untold != 0)
        node_kick(node);
}

static void tell_all(struct mach_host *host, uint8_t notices)
{
    for (uint32_t id = 0; id < host->nodes->slot_count; id++) {
        struct node *node = node_live(host, id);

        if (node != NULL && node->told_up)
            tell(node, notices);
    }
}

void node_leave(struct mach_host *host)
{
    ipc_lock(host);
    tell_all(host, NOTICE_LEAVE);
    ipc_unlock(host);
}

/* --- Registration messages -------------------------------------------------------------------- */

/* The bootstrap port, with a reference; null: none. */
static struct port *bootstrap_port(struct mach_host *host)
{
    struct port *port;

    ipc_lock(host);
    port = host->nodes->bootstrap;
    if (port != NULL)
        port_reference(port);
    ipc_unlock(host);
    return port;
}

/* One that finds no memory or no room is lost: the server asks for what it needs by name. */
static void register_node(struct mach_host *host, enum node_registration identifier,
                          uint32_t node_id)
{
    struct node_registration_body body = {.identifier = le32_of(identifier),
                                          .node_id = le32_of(node_id)};
    struct port *port = bootstrap_port(host), *theirs = NULL;
    struct kmsg *kmsg = port == NULL ? NULL : kmsg_allocate(host, sizeof(body));

    if (kmsg != NULL) {
        if (identifier == NODE_REGISTRATION_REMOTE)
            theirs = port_from_name(host, NAME_WELL_KNOWN(node_id, NAME_SERIAL_BOOTSTRAP));
        ipc_lock(host);
        if (node_live(host, node_id) != NULL) {
            body.data_model = node_live(host, node_id)->info.datamodel;
            body.byte_order = node_live(host, node_id)->info.byteorder;
        }
        ipc_unlock(host);
        if (identifier == NODE_REGISTRATION_LOCAL) {
            body.data_model = MNL_DATAMODEL_LOCAL;
            body.byte_order = MNL_BYTEORDER_LOCAL;
        }
        memcpy(kmsg_body(kmsg), &body, sizeof(body));
        kmsg_set_id(kmsg, NODE_REGISTRATION_ID);
        if (mach_msg_send(kmsg, port, theirs, PORT_SEND, 0) != MACH_MSG_SUCCESS)
            kmsg_free(kmsg);
    }
    if (theirs != NULL)
        port_release(theirs);
    if (port != NULL)
        port_release(port);
}

static bool knows_bootstrap(struct mach_host *host, uint32_t node_id)
{
    const struct node *node;
    bool knows;

    ipc_lock(host);
    node = node_live(host, node_id);
    knows = node != NULL && node->bootstrap_up;
    ipc_unlock(host);
    return knows;
}

int node_set_bootstrap(struct mach_host *host, struct port *port)
{
    int error = port_publish(port, NAME_WELL_KNOWN(host->node_id, NAME_SERIAL_BOOTSTRAP));

    if (error != 0)
        return error;
    ipc_lock(host);
    port_reference(port);
    port->holds++;
    host->nodes->bootstrap = port;
    tell_all(host, NOTICE_HELLO | NOTICE_BOOTSTRAP);
    ipc_unlock(host);
    register_node(host, NODE_REGISTRATION_LOCAL, host->node_id);
    for (uint32_t id = 0; id < host->nodes->slot_count; id++) {
        if (knows_bootstrap(host, id))
            register_node(host, NODE_REGISTRATION_REMOTE, id);
    }
    return 0;
}

void node_clear_bootstrap(struct mach_host *host)
{
    struct port *port;

    ipc_lock(host);
    port = host->nodes->bootstrap;
    host->nodes->bootstrap = NULL;
    if (port != NULL) {
        port->holds--;
        tell_all(host, NOTICE_BOOTSTRAP);
    }
    ipc_unlock(host);
    if (port != NULL)
        port_release(port);
}

void node_bootstrap_gone(struct mach_host *host, uint32_t node_id)
{
    register_node(host, NODE_REGISTRATION_GONE, node_id);
}

/* --- In --------------------------------------------------------------------------------------- */

bool node_notice_is_sound(const struct node *node, const struct wire_mnl_header *header,
                          const void *payload)
{
    uint32_t size_bytes = le32_load(header->size);
    union notice_payload copy;

    if (size_bytes > sizeof(copy))
        return false;
    memcpy(&copy, payload, size_bytes);
    switch (header->cmd) {
    case NODE_HELLO:
        return size_bytes == sizeof(copy.hello) &&
               le64_load(copy.hello.incarnation) == node->incarnation &&
               copy.hello.protocol_minimum != 0 && copy.hello.protocol_minimum <= MNL_PROTOCOL_V1 &&
               copy.hello.protocol_maximum >= MNL_PROTOCOL_V1 &&
               copy.hello.data_model == node->info.datamodel &&
               copy.hello.byte_order == node->info.byteorder;
    case NODE_BOOTSTRAP_UP:
    case NODE_BOOTSTRAP_DOWN:
        return size_bytes == sizeof(copy.bootstrap) &&
               le64_load(copy.bootstrap.name) == NAME_WELL_KNOWN(node->id, NAME_SERIAL_BOOTSTRAP);
    case NODE_LEAVE:
        return size_bytes == sizeof(copy.leave) &&
               le64_load(copy.leave.incarnation) == node->incarnation;
    default:
        return false;
    }
}

/* True: it is another state than before. */
static bool note_bootstrap(struct mach_host *host, uint32_t node_id, uint64_t incarnation, bool up)
{
    struct node *node;
    bool changed;

    ipc_lock(host);
    node = node_live(host, node_id);
    changed = node != NULL && node->incarnation == incarnation && node->bootstrap_up != up;
    if (changed)
        node->bootstrap_up = up;
    ipc_unlock(host);
    return changed;
}

void node_notice_received(struct mach_host *host, uint32_t node_id, uint64_t incarnation,
                          uint8_t command)
{
    switch (command) {
    case NODE_BOOTSTRAP_UP:
        if (note_bootstrap(host, node_id, incarnation, true))
            register_node(host, NODE_REGISTRATION_REMOTE, node_id);
        break;
    case NODE_BOOTSTRAP_DOWN:
        if (note_bootstrap(host, node_id, incarnation, false))
            node_bootstrap_gone(host, node_id);
        break;
    case NODE_LEAVE:
        (void)node_declare_dead(host, node_id, incarnation, NODE_DEATH_LEFT);
        break;
    default:
        break; /* a greeting is only checked */
    }
}
