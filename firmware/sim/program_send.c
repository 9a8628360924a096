/* SPDX-License-Identifier: MIT
 *
 * How the programs send: the bounds of calls that wait, the account of each message and of the rights
 * in it, what a result may be, and what becomes of a message that was not sent.
 */
#include "core/kmsg.h"
#include "core/node.h"
#include "core/port.h"
#include "program.h"

#define BODY_MINIMUM 16u
#define BODY_MAXIMUM 12000u
#define PATIENCE_NS (50 * SIM_MS) /* beyond a call's deadline: the node has other things to do */

/* --- Calls that wait
 * ------------------------------------------------------------------------------ */

struct program_call program_call_begin(uint64_t duration_ns)
{
    struct program_call call = {.begin_ns = clock_now_ns()};

    call.deadline_ns = duration_ns == 0 ? 0 : call.begin_ns + duration_ns;
    return call;
}

/* I10 */
void program_call_end(const struct program *program, const struct program_call *call,
                      bool timed_out, const char *what)
{
    uint64_t now_ns = clock_now_ns();
    uint64_t took_ns = now_ns - call->begin_ns;
    bool is_disturbed = program->node->disturbed_ns + took_ns + PATIENCE_NS >= fiber_now_ns();

    sim_exercised(10);
    if (now_ns > call->deadline_ns + PATIENCE_NS && took_ns > PATIENCE_NS && !is_disturbed) {
        sim_violated(10, "%s of node %u took %llu ms longer than it may", what, program->node->id,
                     (unsigned long long)((now_ns - call->deadline_ns) / SIM_MS));
    }
    if (timed_out && now_ns < call->deadline_ns) {
        sim_violated(10, "%s of node %u gave up before its deadline", what, program->node->id);
    }
}
/* --- Sending
 * -------------------------------------------------------------------------------------- */

bool program_knows_dead(const struct program *program, uint32_t port)
{
    uint32_t life = oracle_port_life(port);

    if (oracle_port_has_moved(port)) {
        return false;
    }
    return life == program->node->life ? oracle_port_is_gone(port) : program->node->told_dead[life];
}

/* Is, or was, the port where only a suspect says that it is? It may say so of any port whose right it
 * sends, and whoever did not know the port believes it. Read without the lock: no other fiber runs. */
static bool is_diverted(const struct program *program, const struct port *right)
{
    if (right->kind != PORT_PROXY) {
        return false;
    }
    if (right->node != NULL) {
        return node_id_is_suspect(right->node->id);
    }
    for (uint32_t life = 0; life < sim_life_count; life++) { /* dead, with its home */
        if (program->node->told_dead[life] && sim_nodes[sim_lives[life].node].is_suspect) {
            return true;
        }
    }
    return false;
}

/* I8: a send to a right known to be dead fails as dead, and only such a send does. */
static void check_destination(const struct program *program, uint32_t port,
                              const struct port *right, bool was_dead, mach_msg_return_t result)
{
    if (program->node->is_suspect || oracle_port_is_foreign(port) || is_diverted(program, right)) {
        return;
    }
    sim_exercised(8);
    if (was_dead && result != MACH_SEND_INVALID_DEST) {
        sim_violated(8, "node %u sent to a dead right and got %d", program->node->id, (int)result);
    }
    if (result != MACH_SEND_INVALID_DEST) {
        return;
    }
    if (!oracle_port_may_be_dead(port, program->node->index)) {
        sim_violated(8, "node %u was told that a living right is dead", program->node->id);
    }
}

static void completed(void *context, enum message_outcome outcome)
{
    oracle_outcome((uint32_t)(uintptr_t)context - 1, outcome);
}

uint32_t program_account(const struct program *program, struct kmsg *kmsg, uint32_t port,
                         uint32_t reply_port)
{
    uint32_t message = oracle_message(program->node->index, kmsg_body(kmsg), kmsg_body_size(kmsg),
                                      port, reply_port);

    if (message != SIM_NONE) {
        kmsg_set_completion(kmsg, completed, (void *)(uintptr_t)(message + 1));
    }
    return message;
}

static mach_msg_return_t pass_to_kernel(const struct program_sending *sending, uint64_t deadline_ns)
{
    if (sending->kind == PORT_SEND_ONCE) {
        return mach_msg_send_once(sending->kmsg, sending->right, sending->local,
                                  sending->disposition);
    }
    if (sending->is_passed_on) {
        return mach_msg_forward(sending->kmsg, sending->right, sending->local,
                                sending->disposition);
    }
    return mach_msg_send(sending->kmsg, sending->right, sending->local, sending->disposition,
                         deadline_ns);
}

/* The rights that the message takes along. */
static void enter_rights(const struct program *program, const struct program_sending *sending,
                         uint32_t message)
{
    uint32_t reply = sending->reply_right;

    if (sending->local != NULL && reply == SIM_NONE) {
        reply =
            oracle_right(program->node->life, sending->reply_port, sending->disposition, SIM_NONE);
    }
    oracle_carries_reply(message, reply);
    for (uint32_t i = 0; i < sending->cargo_count; i++) {
        oracle_carries(message, sending->cargo[i]);
    }
    oracle_uses(message, sending->by);
}

static bool has_receive_right(const struct program_sending *sending)
{
    for (uint32_t i = 0; i < sending->cargo_count; i++) {
        if (oracle_right_kind(sending->cargo[i]) == PORT_RECEIVE) {
            return true;
        }
    }
    return false;
}

/* I14: a send-once right that is in the books is one. */
static void check_right(const struct program *program, const struct program_sending *sending,
                        mach_msg_return_t result)
{
    if (result == MACH_SEND_INVALID_RIGHT && sending->kind == PORT_SEND_ONCE &&
        sending->reply_right == SIM_NONE && !has_receive_right(sending) &&
        oracle_right_is_firm(sending->by) &&
        !oracle_port_may_be_dead(sending->port, program->node->index)) {
        sim_violated(14, "node %u has lost a send-once right to port %u", program->node->id,
                     sending->port);
    }
}

void program_unpack_message(struct program *program, struct kmsg *kmsg, uint32_t message)
{
    uint32_t count = 0;
    const uint32_t *rights = oracle_cargo(message, &count);

    program_unpack(program, kmsg, rights, count);
}

/* Not sent: what it carried is the program's again. */
static void unpack_unsent(struct program *program, const struct program_sending *sending,
                          uint32_t message)
{
    uint32_t reply = oracle_carried_reply(message);

    kmsg_set_completion(sending->kmsg, NULL, NULL);
    if (reply != sending->reply_right) {
        oracle_right_unmade(reply);
    }
    program_unpack_message(program, sending->kmsg, message);
    kmsg_free(sending->kmsg);
}

void program_send_nowhere(struct program *program, const struct program_sending *sending)
{
    program_unpack(program, sending->kmsg, sending->cargo, sending->cargo_count);
    kmsg_free(sending->kmsg);
}

bool program_send(struct program *program, const struct program_sending *sending)
{
    struct port *right = sending->right;
    uint32_t port = sending->port;
    uint32_t message = program_account(program, sending->kmsg, port, sending->reply_port);
    bool was_dead = !oracle_right_is_late(sending->by) && program_knows_dead(program, port);
    struct program_call call = program_call_begin(sending->is_passed_on ? 0 : sending->duration_ns);
    bool was_diverted = is_diverted(program, right);
    mach_msg_return_t result;

    if (message == SIM_NONE) { /* there is no account left for it */
        program_send_nowhere(program, sending);
        return false;
    }
    enter_rights(program, sending, message);
    port_retain(right); /* a send-once right is gone afterwards */
    result = pass_to_kernel(sending, call.deadline_ns);
    if (result == MACH_MSG_SUCCESS) {
        oracle_sent(message);
    } else {
        oracle_unsent(message);
    }
    if (was_diverted || is_diverted(program, right)) {
        oracle_diverted(message);
    }
    program_call_end(program, &call, result == MACH_SEND_TIMED_OUT, "a send");
    check_destination(program, port, right, was_dead, result);
    check_right(program, sending, result);
    port_release(right);
    if (result != MACH_MSG_SUCCESS) {
        unpack_unsent(program, sending, message);
    }
    return result == MACH_MSG_SUCCESS;
}

bool program_send_plain(struct program *program, struct kmsg *kmsg, struct port *right,
                        uint32_t port, uint64_t duration_ns)
{
    struct program_sending sending = {.kmsg = kmsg,
                                      .right = right,
                                      .kind = PORT_SEND,
                                      .port = port,
                                      .by = SIM_NONE,
                                      .reply_port = SIM_NONE,
                                      .reply_right = SIM_NONE,
                                      .duration_ns = duration_ns};

    return program_send(program, &sending);
}

uint32_t program_body_bytes(uint32_t bytes)
{
    return (bytes % (BODY_MAXIMUM - BODY_MINIMUM) + BODY_MINIMUM) & ~7u;
}

struct kmsg *program_message(struct program *program, uint32_t bytes)
{
    return kmsg_allocate(program->host, program_body_bytes(bytes));
}

bool program_send_by(struct program *program, struct program_right *slot,
                     struct program_sending *sending)
{
    struct program_right once;
    bool is_sent;

    if (slot_is_live(slot->state) && slot->kind == PORT_SEND) {
        sending->right = slot->port;
        sending->kind = PORT_SEND;
        sending->port = slot->id;
        sending->by = slot->right;
        slot->users++;
        is_sent = program_send(program, sending);
        program_leave_right(slot);
        return is_sent;
    }
    if (!program_lift_right(slot, &once)) {
        program_send_nowhere(program, sending);
        return false;
    }
    sending->right = once.port;
    sending->kind = PORT_SEND_ONCE;
    sending->port = once.id;
    sending->by = once.right;
    is_sent = program_send(program, sending);
    if (!is_sent) {
        program_keep(program, once.port, PORT_SEND_ONCE, once.right, once.id);
    }
    return is_sent;
}
struct port *program_service(struct program *program, uint32_t node, uint32_t *port)
{
    const struct sim_node *to = &sim_nodes[node % sim.settings->node_count];
    struct port *right =
        port_from_name(program->host, NAME_WELL_KNOWN(to->id, PROGRAM_SERVICE_SERIAL));
    uint32_t life;

    if (right == NULL) {
        return NULL;
    }
    life = right->kind == PORT_PRINCIPAL
               ? program->node->life
               : (right->node != NULL ? life_find(to->index, right->node->incarnation) : SIM_NONE);
    *port = life == SIM_NONE ? SIM_NONE : oracle_service_port(life);
    if (*port == SIM_NONE) {
        port_release(right);
        return NULL;
    }
    return right;
}
