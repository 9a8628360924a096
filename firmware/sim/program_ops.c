/* SPDX-License-Identifier: MIT
 *
 * The operations of the programs. Each means something whatever came before it: what is not there
 * is made or passed over, so any part of a schedule is a schedule.
 */
#include "core/kmsg.h"
#include "core/node.h"
#include "core/port.h"
#include "program.h"

#define BODY_MINIMUM 16u
#define BODY_MAXIMUM 12000u
#define REPLY_BYTES 40u
#define PATIENCE_NS (50 * SIM_MS) /* beyond a call's deadline: the node has other things to do */

static bool is_live(enum slot_state state)
{
    return state == SLOT_LIVE;
}

/* --- Slots
 * ---------------------------------------------------------------------------------------- */

void program_enter_port(struct program_port *slot)
{
    slot->users++;
    port_reference(slot->port); /* without the lock: whoever waits for it may find no port */
    oracle_port_used(slot->id, 1);
}

void program_leave_port(struct program_port *slot)
{
    struct port *port = slot->port;

    oracle_port_used(slot->id, -1);
    if (--slot->users == 0 && slot->state == SLOT_DYING) {
        slot->state = SLOT_EMPTY;
    }
    port_release(port);
}

void program_drop_port(struct program *program, struct program_port *slot)
{
    uint32_t id = slot->id;

    (void)program;
    if (!is_live(slot->state)) {
        return;
    }
    slot->state = slot->users == 0 ? SLOT_EMPTY : SLOT_DYING;
    oracle_port_died(id);
    port_destroy(slot->port);
    oracle_port_gone(id);
}

static void end_right(const struct program_right *slot)
{
    oracle_right_ended(slot->right);
    port_release_right(slot->port, slot->kind);
}

void program_leave_right(struct program_right *slot)
{
    if (--slot->users == 0 && slot->state == SLOT_DYING) {
        slot->state = SLOT_EMPTY;
        end_right(slot);
    }
}

void program_drop_right(struct program *program, struct program_right *slot)
{
    (void)program;
    if (is_live(slot->state)) {
        slot->state = SLOT_DYING;
        slot->users++;
        program_leave_right(slot);
    }
}

bool program_lift_right(struct program_right *slot, struct program_right *lifted)
{
    if (!is_live(slot->state) || slot->users != 0) {
        return false;
    }
    *lifted = *slot;
    slot->state = SLOT_EMPTY;
    return true;
}

/* A set may be destroyed under those who wait in it, not under those who are about to enter. */
void program_drop_set(struct program *program, struct program_set *slot)
{
    struct port_set *set = slot->set;

    (void)program;
    if (is_live(slot->state) && slot->users == set->receivers_waiting) {
        slot->state = slot->users == 0 ? SLOT_EMPTY : SLOT_DYING;
        port_set_destroy(set);
    }
}

static void leave_set(struct program_set *slot)
{
    if (--slot->users == 0 && slot->state == SLOT_DYING) {
        slot->state = SLOT_EMPTY;
    }
}

/* --- Calls that wait
 * ------------------------------------------------------------------------------ */

struct call {
    uint64_t begin_ns;
    uint64_t deadline_ns;
};

static struct call call_begin(uint64_t duration_ns)
{
    struct call call = {.begin_ns = clock_now_ns()};

    call.deadline_ns = duration_ns == 0 ? 0 : call.begin_ns + duration_ns;
    return call;
}

/* I10: no call outlives its bound; and none gives up before it. */
static void call_end(const struct program *program, const struct call *call, bool timed_out,
                     const char *what)
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

static bool is_known_dead(const struct program *program, uint32_t port)
{
    return program->node->told_dead[oracle_port_life(port)];
}

static bool is_own(const struct program *program, uint32_t port)
{
    return oracle_port_life(port) == program->node->life;
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

/* SIM_NONE: there is no account for it. */
static uint32_t account(const struct program *program, struct kmsg *kmsg, uint32_t port,
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

static void unpack(struct program *program, struct kmsg *kmsg, uint32_t message)
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
    unpack(program, sending->kmsg, message);
    kmsg_free(sending->kmsg);
}

bool program_send(struct program *program, const struct program_sending *sending)
{
    struct port *right = sending->right;
    uint32_t port = sending->port;
    uint32_t message = account(program, sending->kmsg, port, sending->reply_port);
    bool was_dead =
        !oracle_port_has_moved(port) && !oracle_right_is_late(sending->by) &&
        (is_own(program, port) ? oracle_port_is_gone(port) : is_known_dead(program, port));
    struct call call = call_begin(sending->is_passed_on ? 0 : sending->duration_ns);
    bool was_diverted = is_diverted(program, right);
    mach_msg_return_t result;

    if (message == SIM_NONE) {
        program_unpack(program, sending->kmsg, sending->cargo, sending->cargo_count);
        kmsg_free(sending->kmsg); /* there is no account left for it */
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
    call_end(program, &call, result == MACH_SEND_TIMED_OUT, "a send");
    check_destination(program, port, right, was_dead, result);
    check_right(program, sending, result);
    port_release(right);
    if (result != MACH_MSG_SUCCESS) {
        unpack_unsent(program, sending, message);
    }
    return result == MACH_MSG_SUCCESS;
}

static bool send(struct program *program, struct kmsg *kmsg, struct port *right, uint32_t port,
                 struct port *local, uint32_t reply_port, enum port_disposition disposition,
                 uint64_t duration_ns)
{
    struct program_sending sending = {.kmsg = kmsg,
                                      .right = right,
                                      .kind = PORT_SEND,
                                      .port = port,
                                      .by = SIM_NONE,
                                      .local = local,
                                      .reply_port = reply_port,
                                      .disposition = disposition,
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

    if (is_live(slot->state) && slot->kind == PORT_SEND) {
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
        program_unpack(program, sending->kmsg, sending->cargo, sending->cargo_count);
        kmsg_free(sending->kmsg);
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

static void operate_send(struct program *program, const struct sim_entry *entry)
{
    struct program_right *slot = &program->rights[entry->arguments[0] % PROGRAM_RIGHTS];
    struct program_port *reply = &program->ports[entry->arguments[3] % PROGRAM_PORTS];
    uint32_t wants = entry->arguments[2] % 3u;
    struct program_sending sending;
    struct kmsg *kmsg;

    if (!is_live(slot->state)) {
        return;
    }
    kmsg = program_message(program, entry->arguments[1]);
    if (kmsg == NULL) {
        return;
    }
    sending = (struct program_sending){
        .kmsg = kmsg, .reply_port = SIM_NONE, .reply_right = SIM_NONE, .by = SIM_NONE};
    if (wants != 0 && is_live(reply->state)) {
        program_enter_port(reply);
        reply->lenders++;
        sending.local = reply->port;
        sending.reply_port = reply->id;
        sending.disposition = wants == 1 ? PORT_SEND : PORT_SEND_ONCE;
    }
    sending.duration_ns = entry->duration_ns;
    (void)program_send_by(program, slot, &sending);
    if (sending.local != NULL) {
        reply->lenders--;
        program_leave_port(reply);
    }
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

static void operate_stream(struct program *program, const struct sim_entry *entry)
{
    uint32_t count = 1 + entry->arguments[2] % 32u;
    uint32_t port;
    struct port *right = program_service(program, entry->arguments[0], &port);

    for (uint32_t i = 0; right != NULL && i < count; i++) {
        struct kmsg *kmsg = program_message(program, entry->arguments[1]);

        if (kmsg == NULL ||
            !send(program, kmsg, right, port, NULL, SIM_NONE, PORT_NONE, entry->duration_ns)) {
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
    message = account(program, answer, SIM_NONE, SIM_NONE);
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
        end_right(reply);
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
    unpack(program, kmsg, message);
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
    struct call call = call_begin(entry->duration_ns);
    struct kmsg *kmsg;
    mach_msg_return_t result;

    if (!is_live(slot->state)) {
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
    call_end(program, &call, result == MACH_RCV_TIMED_OUT, "a receive");
    program_leave_port(slot);
}

static void operate_set_receive(struct program *program, const struct sim_entry *entry)
{
    void *context = NULL;
    struct program_set *slot = &program->sets[entry->arguments[0] % PROGRAM_SETS];
    struct call call = call_begin(entry->duration_ns);
    struct kmsg *kmsg;
    mach_msg_return_t result;

    if (!is_live(slot->state)) {
        return;
    }
    slot->users++;
    result = mach_msg_receive_member(slot->set, &kmsg, &context, call.deadline_ns);
    if (result == MACH_MSG_SUCCESS) {
        program_take(program, kmsg,
                     (struct program_way){.port = (uint32_t)(uintptr_t)context - 1u});
    }
    check_receive(program, result, slot->state == SLOT_DYING, MACH_RCV_PORT_CHANGED);
    call_end(program, &call, result == MACH_RCV_TIMED_OUT, "a receive");
    leave_set(slot);
}

/* Send what was received on as another message, in the same memory, if it has no rights. */
static void forward(struct program *program, struct kmsg *kmsg, const struct program_port *from,
                    const struct program_right *to, uint64_t duration_ns)
{
    struct program_right reply;
    uint32_t message, reply_port = take_account(program, kmsg, from->id, &message);

    reply = take_reply(program, kmsg, message, reply_port);
    if (kmsg_part_count(kmsg) == 0) {
        (void)send(program, kmsg, to->port, to->id, NULL, SIM_NONE, PORT_NONE, duration_ns);
    } else {
        unpack(program, kmsg, message);
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

    if (!is_live(from->state) || !is_live(to->state) || to->kind != PORT_SEND) {
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

/* Null: no memory, or no account left. */
static struct port *make_port(struct program *program, uint32_t *id)
{
    struct port *port;

    if (port_create(program->host, &port) != ERROR_NONE) {
        return NULL;
    }
    *id = oracle_port(port, program->node->life, SIM_NONE);
    if (*id == SIM_NONE) {
        port_destroy(port);
        return NULL;
    }
    return port;
}

/* A remote procedure call: a port for the answer, and its end before or after the answer comes. */
static void operate_call(struct program *program, const struct sim_entry *entry)
{
    struct call call;
    struct port *reply;
    struct kmsg *kmsg;
    uint32_t id, port;
    struct port *right = program_service(program, entry->arguments[0], &port);

    if (right == NULL) {
        return;
    }
    reply = make_port(program, &id);
    if (reply == NULL) {
        port_release(right);
        return;
    }
    kmsg = program_message(program, entry->arguments[1]);
    call = call_begin(entry->duration_ns);
    if (kmsg != NULL &&
        send(program, kmsg, right, port, reply, id, PORT_SEND_ONCE, entry->duration_ns)) {
        mach_msg_return_t result = mach_msg_receive(reply, &kmsg, call.deadline_ns);

        if (result == MACH_MSG_SUCCESS) {
            program_take(program, kmsg, (struct program_way){.port = id});
        }
        check_receive(program, result, false, MACH_RCV_PORT_DIED);
        call_end(program, &call, result == MACH_RCV_TIMED_OUT, "a call");
    }
    oracle_port_died(id);
    port_destroy(reply);
    port_release(right);
}

/* --- Ports, rights, sets
 * -------------------------------------------------------------------------- */

static void operate_port_create(struct program *program, const struct sim_entry *entry)
{
    struct program_port *slot = &program->ports[entry->arguments[0] % PROGRAM_PORTS];
    struct port *port;
    uint32_t id;

    if (slot->state != SLOT_EMPTY) {
        return;
    }
    port = make_port(program, &id);
    if (port == NULL) {
        return;
    }
    if (slot->state != SLOT_EMPTY) { /* somebody else was first */
        oracle_port_died(id);
        port_destroy(port);
        return;
    }
    port_set_limit(port, 1 + entry->arguments[1] % 16u);
    program_mark_port(port, id);
    if (entry->arguments[2] % 2u == 0) {
        oracle_port_named(id, port_name(port));
    }
    if (slot->state != SLOT_EMPTY) {
        oracle_port_died(id);
        port_destroy(port);
        return;
    }
    *slot = (struct program_port){.port = port, .id = id, .state = SLOT_LIVE};
}

static void operate_port_limit(struct program *program, const struct sim_entry *entry)
{
    struct program_port *slot = &program->ports[entry->arguments[0] % PROGRAM_PORTS];

    if (is_live(slot->state)) {
        program_enter_port(slot);
        port_set_limit(slot->port, 1 + entry->arguments[1] % 16u);
        program_leave_port(slot);
    }
}

static void operate_right_get(struct program *program, const struct sim_entry *entry)
{
    struct program_right *slot = &program->rights[entry->arguments[0] % PROGRAM_RIGHTS];
    uint64_t name;
    uint32_t id = oracle_pick(entry->arguments[1], &name);
    bool was_dead;
    struct port *right;

    if (id == SIM_NONE || slot->state != SLOT_EMPTY) {
        return;
    }
    was_dead = !oracle_port_has_moved(id) &&
               (is_own(program, id) ? oracle_port_is_gone(id) : is_known_dead(program, id));
    right = port_from_name(program->host, name);
    if (right == NULL) {
        return;
    }
    if (was_dead && !oracle_port_is_foreign(id)) {
        sim_violated(8, "node %u got a right by a dead name", program->node->id);
    }
    if (slot->state != SLOT_EMPTY) {
        port_release(right);
        return;
    }
    *slot = (struct program_right){.port = right,
                                   .id = id,
                                   .right = oracle_right_by_name(program->node->life, id),
                                   .kind = PORT_SEND,
                                   .state = SLOT_LIVE};
}

static void operate_set_create(struct program *program, const struct sim_entry *entry)
{
    struct program_set *slot = &program->sets[entry->arguments[0] % PROGRAM_SETS];
    struct port_set *set;

    if (slot->state != SLOT_EMPTY || port_set_create(program->host, &set) != ERROR_NONE) {
        return;
    }
    if (slot->state != SLOT_EMPTY) {
        port_set_destroy(set);
        return;
    }
    *slot = (struct program_set){.set = set, .state = SLOT_LIVE};
}

static void operate_set_insert(struct program *program, const struct sim_entry *entry)
{
    struct program_set *set = &program->sets[entry->arguments[0] % PROGRAM_SETS];
    struct program_port *port = &program->ports[entry->arguments[1] % PROGRAM_PORTS];

    if (!is_live(set->state) || !is_live(port->state)) {
        return;
    }
    set->users++;
    program_enter_port(port);
    (void)port_set_insert(set->set, port->port); /* a port that is in a set already stays there */
    program_leave_port(port);
    leave_set(set);
}

static void operate_set_remove(struct program *program, const struct sim_entry *entry)
{
    struct program_port *port = &program->ports[entry->arguments[0] % PROGRAM_PORTS];

    if (is_live(port->state)) {
        program_enter_port(port);
        port_set_remove(port->port);
        program_leave_port(port);
    }
}

void program_perform(struct program *program, const struct sim_entry *entry)
{
    uint32_t slot = entry->arguments[0];

    sim.result->operations++;
    sim.result->fired[entry->kind]++;
    switch ((enum sim_kind)entry->kind) {
    case SIM_OP_PORT_CREATE:
        operate_port_create(program, entry);
        break;
    case SIM_OP_PORT_DESTROY:
        program_drop_port(program, &program->ports[slot % PROGRAM_PORTS]);
        break;
    case SIM_OP_PORT_LIMIT:
        operate_port_limit(program, entry);
        break;
    case SIM_OP_RIGHT_GET:
        operate_right_get(program, entry);
        break;
    case SIM_OP_RIGHT_DROP:
        program_drop_right(program, &program->rights[slot % PROGRAM_RIGHTS]);
        break;
    case SIM_OP_SEND:
        operate_send(program, entry);
        break;
    case SIM_OP_RECEIVE:
        operate_receive(program, entry);
        break;
    case SIM_OP_FORWARD:
        operate_forward(program, entry);
        break;
    case SIM_OP_SET_CREATE:
        operate_set_create(program, entry);
        break;
    case SIM_OP_SET_DESTROY:
        program_drop_set(program, &program->sets[slot % PROGRAM_SETS]);
        break;
    case SIM_OP_SET_INSERT:
        operate_set_insert(program, entry);
        break;
    case SIM_OP_SET_REMOVE:
        operate_set_remove(program, entry);
        break;
    case SIM_OP_SET_RECEIVE:
        operate_set_receive(program, entry);
        break;
    case SIM_OP_STREAM:
        operate_stream(program, entry);
        break;
    case SIM_OP_CALL:
        operate_call(program, entry);
        break;
    default:
        program_perform_rights(program, entry);
        break;
    }
}
