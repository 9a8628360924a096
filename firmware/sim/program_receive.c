/* SPDX-License-Identifier: MIT
 *
 * How the programs receive: messages into their accounts, their rights out of them, answers, and the
 * operations that wait for a message.
 */
#include "core/kmsg.h"
#include "core/port.h"
#include "program.h"

#define REPLY_BYTES 40u

/* --- Receiving
 * ------------------------------------------------------------------------------------ */

/* Whoever asks is answered, wherever the right leads that a suspect sent. False: the right is still
 * there. */
static bool answer_foreign(struct program *program, struct port *reply, enum port_disposition right)
{
    struct kmsg *answer = program_message(program, REPLY_BYTES);
    uint32_t message;

    if (answer == NULL) {
        return false;
    }
    message = program_account(program, answer, SIM_NONE, SIM_NONE);
    if (message != SIM_NONE &&
        (right == PORT_SEND_ONCE
             ? mach_msg_send_once(answer, reply, NULL, PORT_NONE)
             : mach_msg_send(answer, reply, NULL, PORT_NONE, 0)) == MACH_MSG_SUCCESS) {
        oracle_sent(message);
        return right == PORT_SEND_ONCE;
    }
    if (message != SIM_NONE) {
        oracle_unsent(message);
    }
    kmsg_set_completion(answer, NULL, NULL);
    kmsg_free(answer);
    return false;
}

static uint32_t take_account(const struct program *program, struct kmsg *kmsg, uint32_t port,
                             uint32_t *message)
{
    struct oracle_arrival arrival = {.body = kmsg_body(kmsg),
                                     .size = kmsg_body_size(kmsg),
                                     .source_node = kmsg_source_node(kmsg),
                                     .source_incarnation = kmsg_source_incarnation(kmsg),
                                     .has_reply = kmsg->local != NULL,
                                     .node = program->node->index,
                                     .port = port};
    uint32_t reply_port = oracle_received(&arrival);

    *message = arrival.message;
    return reply_port;
}

/* False: the right is still there. */
static bool answer(struct program *program, struct program_right *to)
{
    struct program_sending sending = {.right = to->port,
                                      .kind = to->kind,
                                      .port = to->id,
                                      .by = to->right,
                                      .reply_port = SIM_NONE,
                                      .reply_right = SIM_NONE};

    if (to->id == SIM_FOREIGN) {
        return answer_foreign(program, to->port, to->kind);
    }
    sending.kmsg = to->id == SIM_NONE ? NULL : program_message(program, REPLY_BYTES);
    return sending.kmsg != NULL && program_send(program, &sending) && to->kind == PORT_SEND_ONCE;
}

/* The right to answer of a message that came. */
static struct program_right take_reply(const struct program *program, struct kmsg *kmsg,
                                       uint32_t message, uint32_t reply_port)
{
    struct program_right reply = {.id = reply_port, .right = SIM_NONE};

    reply.kind = kmsg_reply_disposition(kmsg);
    reply.port = kmsg_take_reply_port(kmsg);
    if (message != SIM_NONE) {
        reply.right = oracle_carried_reply(message);
        oracle_right_arrived(program->node->index, reply.right, reply.port, reply.kind);
    }
    return reply;
}

static void end_reply(const struct program_right *reply)
{
    if (reply->port != NULL) {
        program_end_right(reply);
    }
}

void program_take(struct program *program, struct kmsg *kmsg, struct program_way way)
{
    struct program_right reply;
    uint32_t reply_port, message;

    if (program_take_notification(program, kmsg, way.port)) {
        return;
    }
    reply_port = take_account(program, kmsg, way.port, &message);
    reply = take_reply(program, kmsg, message, reply_port);
    program_unpack_message(program, kmsg, message);
    kmsg_free(kmsg);
    if (reply.port != NULL && way.is_answer_kept && reply_port < SIM_FOREIGN) {
        program_keep(program, reply.port, reply.kind, reply.right, reply_port);
    } else if (reply.port != NULL && !answer(program, &reply)) {
        end_reply(&reply);
    }
}

static void check_receive(const struct program *program, mach_msg_return_t result, bool is_over,
                          mach_msg_return_t over)
{
    bool is_right = result == MACH_MSG_SUCCESS || result == MACH_RCV_TIMED_OUT ||
                    (is_over && (result == over || result == MACH_RCV_PORT_CHANGED));

    if (!is_right) {
        sim_violated(10, "a receive of node %u returned %d", program->node->id, (int)result);
    }
}

static void operate_receive(struct program *program, const struct sim_entry *entry)
{
    struct program_port *slot = &program->ports[entry->arguments[0] % PROGRAM_PORTS];
    struct program_call call = program_call_begin(entry->duration_ns);
    struct kmsg *kmsg;
    mach_msg_return_t result;

    if (!slot_is_live(slot->state)) {
        return;
    }
    program_enter_port(slot);
    result = mach_msg_receive(slot->port, &kmsg, call.deadline_ns);
    if (result == MACH_MSG_SUCCESS) {
        program_take(program, kmsg,
                     (struct program_way){.port = slot->id,
                                          .is_answer_kept = entry->arguments[1] % 2u != 0});
    }
    check_receive(program, result, slot->state == SLOT_DYING, MACH_RCV_PORT_DIED);
    program_call_end(program, &call, result == MACH_RCV_TIMED_OUT, "a receive");
    program_leave_port(slot);
}

static void operate_set_receive(struct program *program, const struct sim_entry *entry)
{
    void *context = NULL;
    struct program_set *slot = &program->sets[entry->arguments[0] % PROGRAM_SETS];
    struct program_call call = program_call_begin(entry->duration_ns);
    struct kmsg *kmsg;
    mach_msg_return_t result;

    if (!slot_is_live(slot->state)) {
        return;
    }
    slot->users++;
    result = mach_msg_receive_member(slot->set, &kmsg, &context, call.deadline_ns);
    if (result == MACH_MSG_SUCCESS) {
        program_take(program, kmsg,
                     (struct program_way){.port = (uint32_t)(uintptr_t)context - 1u});
    }
    check_receive(program, result, slot->state == SLOT_DYING, MACH_RCV_PORT_CHANGED);
    program_call_end(program, &call, result == MACH_RCV_TIMED_OUT, "a receive");
    program_leave_set(slot);
}

/* Send what was received on as another message, in the same memory, if it has no rights. */
static void forward(struct program *program, struct kmsg *kmsg, const struct program_port *from,
                    const struct program_right *to, uint64_t duration_ns)
{
    struct program_right reply;
    uint32_t message, reply_port = take_account(program, kmsg, from->id, &message);

    reply = take_reply(program, kmsg, message, reply_port);
    if (kmsg_part_count(kmsg) == 0) {
        (void)program_send_plain(program, kmsg, to->port, to->id, duration_ns);
    } else {
        program_unpack_message(program, kmsg, message);
        kmsg_free(kmsg);
    }
    end_reply(&reply);
}

/* Receive, then send the same memory on as another message. */
static void operate_forward(struct program *program, const struct sim_entry *entry)
{
    struct program_port *from = &program->ports[entry->arguments[0] % PROGRAM_PORTS];
    struct program_right *to = &program->rights[entry->arguments[1] % PROGRAM_RIGHTS];
    struct kmsg *kmsg;

    if (!slot_is_live(from->state) || !slot_is_live(to->state) || to->kind != PORT_SEND) {
        return;
    }
    to->users++;
    program_enter_port(from);
    if (mach_msg_receive(from->port, &kmsg, 0) == MACH_MSG_SUCCESS &&
        !program_take_notification(program, kmsg, from->id)) {
        forward(program, kmsg, from, to, entry->duration_ns);
    }
    program_leave_right(to);
    program_leave_port(from);
}

/* A remote procedure call: a port for the answer, and its end before or after the answer comes. */
static void operate_call(struct program *program, const struct sim_entry *entry)
{
    struct program_sending sending = {.kind = PORT_SEND,
                                      .by = SIM_NONE,
                                      .disposition = PORT_SEND_ONCE,
                                      .reply_right = SIM_NONE,
                                      .duration_ns = entry->duration_ns};
    struct program_call call;
    struct port *reply;
    struct kmsg *kmsg;
    uint32_t id;

    sending.right = program_service(program, entry->arguments[0], &sending.port);
    if (sending.right == NULL) {
        return;
    }
    reply = program_make_port(program, &id);
    if (reply == NULL) {
        port_release(sending.right);
        return;
    }
    sending.local = reply;
    sending.reply_port = id;
    sending.kmsg = program_message(program, entry->arguments[1]);
    call = program_call_begin(entry->duration_ns);
    if (sending.kmsg != NULL && program_send(program, &sending)) {
        mach_msg_return_t result = mach_msg_receive(reply, &kmsg, call.deadline_ns);

        if (result == MACH_MSG_SUCCESS) {
            program_take(program, kmsg, (struct program_way){.port = id});
        }
        check_receive(program, result, false, MACH_RCV_PORT_DIED);
        program_call_end(program, &call, result == MACH_RCV_TIMED_OUT, "a call");
    }
    program_unmake_port(reply, id);
    port_release(sending.right);
}

void program_perform_receive(struct program *program, const struct sim_entry *entry)
{
    switch ((enum sim_kind)entry->kind) {
    case SIM_OP_RECEIVE:
        operate_receive(program, entry);
        break;
    case SIM_OP_SET_RECEIVE:
        operate_set_receive(program, entry);
        break;
    case SIM_OP_FORWARD:
        operate_forward(program, entry);
        break;
    default:
        operate_call(program, entry);
        break;
    }
}
