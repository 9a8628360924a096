/* SPDX-License-Identifier: MIT
 *
 * The operations that send: messages with rights and without, ports that move, notifications that are
 * asked for.
 */
#include "core/kmsg.h"
#include "core/port.h"
#include "program.h"

#define BURST_MAXIMUM 32u

/* The right to answer: to a port of one's own, or one that came from elsewhere. */
static struct program_port *add_reply(struct program *program, uint32_t how,
                                      struct program_sending *sending)
{
    struct program_port *slot = &program->ports[(how >> 8) % PROGRAM_PORTS];
    uint32_t wants = how & 3u;

    if (wants == 0 || wants == 3 || !slot_is_live(slot->state)) {
        return NULL;
    }
    program_enter_port(slot);
    slot->lenders++;
    sending->local = slot->port;
    sending->reply_port = slot->id;
    sending->disposition = wants == 1 ? PORT_SEND : PORT_SEND_ONCE;
    return slot;
}

static void pass_on_reply(struct program *program, uint32_t how, const struct program_right *to,
                          struct program_sending *sending)
{
    struct program_right *slot = &program->rights[(how >> 8) % PROGRAM_RIGHTS];
    struct program_right lifted;

    if ((how & 3u) != 3 || slot == to || (to != NULL && to->kind != PORT_SEND) ||
        !program_lift_right(slot, &lifted)) {
        return;
    }
    sending->local = lifted.port;
    sending->reply_port = lifted.id;
    sending->disposition = lifted.kind;
    sending->is_passed_on = true;
    sending->reply_right = lifted.right;
}

static bool send_to_service(struct program *program, uint32_t node, struct program_sending *sending)
{
    uint32_t port;
    struct port *right = program_service(program, node, &port);
    bool is_sent;

    if (right == NULL) {
        program_send_nowhere(program, sending);
        return false;
    }
    sending->right = right;
    sending->kind = PORT_SEND;
    sending->port = port;
    is_sent = program_send(program, sending);
    port_release(right);
    return is_sent;
}

static void operate_send_rights(struct program *program, const struct sim_entry *entry)
{
    uint32_t to = entry->arguments[0];
    struct program_right *slot =
        (to & SIM_TO_SERVICE) != 0 ? NULL : &program->rights[to % PROGRAM_RIGHTS];
    struct program_sending sending = {.reply_port = SIM_NONE,
                                      .reply_right = SIM_NONE,
                                      .by = SIM_NONE,
                                      .duration_ns = entry->duration_ns};
    struct program_port *reply;
    bool is_sent;

    if (slot != NULL && !slot_is_live(slot->state)) {
        return;
    }
    sending.kmsg = program_pack(program, entry, slot, &sending);
    if (sending.kmsg == NULL) {
        return;
    }
    reply = add_reply(program, entry->arguments[3], &sending);
    pass_on_reply(program, entry->arguments[3], slot, &sending);
    is_sent = slot != NULL ? program_send_by(program, slot, &sending)
                           : send_to_service(program, to % SIM_TO_SERVICE, &sending);
    if (reply != NULL) {
        reply->lenders--;
        program_leave_port(reply);
    }
    if (sending.is_passed_on && !is_sent) {
        program_keep(program, sending.local, sending.disposition, sending.reply_right,
                     sending.reply_port);
    }
}

/* SEND says less: no cargo, and its reply in words of its own. */
static void operate_send(struct program *program, const struct sim_entry *entry)
{
    struct sim_entry send = *entry;

    send.arguments[0] = entry->arguments[0] % PROGRAM_RIGHTS;
    send.arguments[2] = 0;
    send.arguments[3] = entry->arguments[2] % 3u | (entry->arguments[3] % PROGRAM_PORTS) << 8;
    operate_send_rights(program, &send);
}

static void operate_move(struct program *program, const struct sim_entry *entry)
{
    struct sim_entry move = *entry;

    move.arguments[0] = SIM_TO_SERVICE | entry->arguments[1] % SIM_TO_SERVICE;
    move.arguments[1] = 0;
    move.arguments[2] = SIM_GIVE_RECEIVE | (entry->arguments[0] % PROGRAM_PORTS) << 3;
    move.arguments[3] = 0;
    operate_send_rights(program, &move);
}

static void operate_right_make(struct program *program, const struct sim_entry *entry)
{
    struct program_right *right = &program->rights[entry->arguments[0] % PROGRAM_RIGHTS];
    const struct program_port *port = &program->ports[entry->arguments[1] % PROGRAM_PORTS];

    if (right->state == SLOT_EMPTY && slot_is_live(port->state)) {
        *right = (struct program_right){
            .port = port->port, .id = port->id, .kind = PORT_SEND, .state = SLOT_LIVE};
        right->right = oracle_right(program->node->life, port->id, PORT_SEND, SIM_NONE);
        port_reference(port->port);
    }
}

static void operate_burst(struct program *program, const struct sim_entry *entry)
{
    struct program_right *slot = &program->rights[entry->arguments[0] % PROGRAM_RIGHTS];
    uint32_t count = 1 + entry->arguments[2] % BURST_MAXIMUM;

    for (uint32_t i = 0; i < count && slot_is_live(slot->state); i++) {
        struct program_sending sending = {.kmsg = program_message(program, entry->arguments[1]),
                                          .reply_port = SIM_NONE,
                                          .reply_right = SIM_NONE,
                                          .by = SIM_NONE,
                                          .duration_ns = entry->duration_ns};

        if (sending.kmsg == NULL || !program_send_by(program, slot, &sending)) {
            break;
        }
        if (entry->arguments[3] != 0) {
            program_sleep(entry->arguments[3] * SIM_US);
        }
    }
}

static void operate_stream(struct program *program, const struct sim_entry *entry)
{
    uint32_t count = 1 + entry->arguments[2] % 32u;
    uint32_t port;
    struct port *right = program_service(program, entry->arguments[0], &port);

    for (uint32_t i = 0; right != NULL && i < count; i++) {
        struct kmsg *kmsg = program_message(program, entry->arguments[1]);

        if (kmsg == NULL || !program_send_plain(program, kmsg, right, port, entry->duration_ns)) {
            break;
        }
        if (entry->arguments[3] != 0) {
            program_sleep(entry->arguments[3] * SIM_US);
        }
    }
    if (right != NULL) {
        port_release(right);
    }
}

static void operate_ask_senders(struct program *program, const struct sim_entry *entry)
{
    struct program_port *slot = &program->ports[entry->arguments[0] % PROGRAM_PORTS];
    struct program_port *notify = &program->ports[entry->arguments[1] % PROGRAM_PORTS];
    uint32_t request;

    if (!slot_is_live(slot->state) || !slot_is_live(notify->state)) {
        return;
    }
    program_enter_port(slot);
    program_enter_port(notify);
    request = oracle_asked(program->node->life, slot->id, notify->id, slot->port, SIM_FOREIGN);
    if (port_notify_no_senders(slot->port, notify->port) != ERROR_NONE) {
        oracle_not_asked(request);
    }
    program_leave_port(notify);
    program_leave_port(slot);
}

static void operate_ask_dead(struct program *program, const struct sim_entry *entry)
{
    struct program_right *slot = &program->rights[entry->arguments[0] % PROGRAM_RIGHTS];
    struct program_port *notify = &program->ports[entry->arguments[1] % PROGRAM_PORTS];
    uint32_t request;

    if (!slot_is_live(slot->state) || !slot_is_live(notify->state)) {
        return;
    }
    slot->users++;
    program_enter_port(notify);
    request = oracle_asked(program->node->life, slot->id, notify->id, slot->port, slot->right);
    if (port_notify_dead(slot->port, notify->port) != ERROR_NONE) {
        oracle_not_asked(request);
    }
    program_leave_port(notify);
    program_leave_right(slot);
}

void program_perform_rights(struct program *program, const struct sim_entry *entry)
{
    switch ((enum sim_kind)entry->kind) {
    case SIM_OP_SEND:
        operate_send(program, entry);
        break;
    case SIM_OP_SEND_RIGHTS:
        operate_send_rights(program, entry);
        break;
    case SIM_OP_MOVE:
        operate_move(program, entry);
        break;
    case SIM_OP_RIGHT_MAKE:
        operate_right_make(program, entry);
        break;
    case SIM_OP_STREAM:
        operate_stream(program, entry);
        break;
    case SIM_OP_BURST:
        operate_burst(program, entry);
        break;
    case SIM_OP_ASK_SENDERS:
        operate_ask_senders(program, entry);
        break;
    case SIM_OP_ASK_DEAD:
        operate_ask_dead(program, entry);
        break;
    default:
        break; /* a fault: fault.c */
    }
}
