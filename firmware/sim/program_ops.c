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

void program_leave_port(struct program_port *slot)
{
    if (--slot->users == 0 && slot->state == SLOT_DYING) {
        slot->state = SLOT_EMPTY;
        port_release(slot->port);
    }
}

void program_drop_port(struct program *program, struct program_port *slot)
{
    (void)program;
    if (!is_live(slot->state)) {
        return;
    }
    slot->state = SLOT_DYING;
    slot->users++;
    oracle_port_died(slot->id);
    port_destroy(slot->port);
    oracle_port_gone(slot->id);
    program_leave_port(slot);
}

static void leave_right(struct program_right *slot)
{
    if (--slot->users == 0 && slot->state == SLOT_DYING) {
        slot->state = SLOT_EMPTY;
        port_release(slot->port);
    }
}

void program_drop_right(struct program *program, struct program_right *slot)
{
    (void)program;
    if (is_live(slot->state)) {
        slot->state = SLOT_DYING;
        slot->users++;
        leave_right(slot);
    }
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

static bool is_of_suspect(uint32_t port)
{
    return sim_nodes[sim_lives[oracle_port_life(port)].node].is_suspect;
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
    const struct sim_life *life = &sim_lives[oracle_port_life(port)];

    if (is_of_suspect(port) || is_diverted(program, right)) {
        return;
    }
    sim_exercised(8);
    if (was_dead && result != MACH_SEND_INVALID_DEST) {
        sim_violated(8, "node %u sent to a dead right and got %d", program->node->id, (int)result);
    }
    if (result != MACH_SEND_INVALID_DEST) {
        return;
    }
    if (!oracle_port_is_dead(port) &&
        (is_own(program, port) ||
         !node_is_declared_dead(program->host, sim_nodes[life->node].id, life->incarnation))) {
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

/* Send `kmsg`, which is taken over, to `port` by `right`; a send-once right is used up by it. */
static bool send_by(struct program *program, struct kmsg *kmsg, struct port *right,
                    enum port_disposition kind, uint32_t port, struct port *local,
                    uint32_t reply_port, enum port_disposition disposition, uint64_t duration_ns)
{
    uint32_t message = account(program, kmsg, port, reply_port);
    bool was_dead =
        is_own(program, port) ? oracle_port_is_gone(port) : is_known_dead(program, port);
    struct call call = call_begin(duration_ns);
    bool was_diverted = is_diverted(program, right);
    mach_msg_return_t result;

    if (message == SIM_NONE) {
        kmsg_free(kmsg);
        return false;
    }
    port_retain(right); /* a send-once right is gone afterwards */
    result = kind == PORT_SEND_ONCE
                 ? mach_msg_send_once(kmsg, right, local, disposition)
                 : mach_msg_send(kmsg, right, local, disposition, call.deadline_ns);
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
    port_release(right);
    if (result != MACH_MSG_SUCCESS) {
        kmsg_set_completion(kmsg, NULL, NULL);
        kmsg_free(kmsg);
    }
    return result == MACH_MSG_SUCCESS;
}

static bool send(struct program *program, struct kmsg *kmsg, struct port *right, uint32_t port,
                 struct port *local, uint32_t reply_port, enum port_disposition disposition,
                 uint64_t duration_ns)
{
    return send_by(program, kmsg, right, PORT_SEND, port, local, reply_port, disposition,
                   duration_ns);
}

static struct kmsg *make_message(struct program *program, uint32_t bytes)
{
    uint32_t size = bytes % (BODY_MAXIMUM - BODY_MINIMUM) + BODY_MINIMUM;

    return kmsg_allocate(program->host, size & ~7u);
}

static void operate_send(struct program *program, const struct sim_entry *entry)
{
    struct program_right *slot = &program->rights[entry->arguments[0] % PROGRAM_RIGHTS];
    struct program_port *reply = &program->ports[entry->arguments[3] % PROGRAM_PORTS];
    uint32_t wants = entry->arguments[2] % 3u;
    struct kmsg *kmsg;

    if (!is_live(slot->state)) {
        return;
    }
    kmsg = make_message(program, entry->arguments[1]);
    if (kmsg == NULL || !is_live(slot->state)) {
        kmsg_free(kmsg);
        return;
    }
    slot->users++;
    if (wants != 0 && is_live(reply->state)) {
        reply->users++;
        (void)send(program, kmsg, slot->port, slot->id, reply->port, reply->id,
                   wants == 1 ? PORT_SEND : PORT_SEND_ONCE, entry->duration_ns);
        program_leave_port(reply);
    } else {
        (void)send(program, kmsg, slot->port, slot->id, NULL, SIM_NONE, PORT_NONE,
                   entry->duration_ns);
    }
    leave_right(slot);
}

/* A right to a node's service port and which port it is, of the life that the node layer knows. */
static struct port *service_right(struct program *program, uint32_t node, uint32_t *port)
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
    struct port *right = service_right(program, entry->arguments[0], &port);

    for (uint32_t i = 0; right != NULL && i < count; i++) {
        struct kmsg *kmsg = make_message(program, entry->arguments[1]);

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
    struct kmsg *answer = make_message(program, REPLY_BYTES);
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
                             bool is_set)
{
    struct oracle_arrival arrival = {.body = kmsg_body(kmsg),
                                     .size = kmsg_body_size(kmsg),
                                     .source_node = kmsg_source_node(kmsg),
                                     .source_incarnation = kmsg_source_incarnation(kmsg),
                                     .has_reply = kmsg->local != NULL,
                                     .is_set = is_set,
                                     .node = program->node->index,
                                     .port = port};

    return oracle_received(&arrival);
}

/* The kernel's own message: a send-once right died unused. */
static bool is_notification(struct kmsg *kmsg)
{
    return kmsg_id(kmsg) == NOTIFY_SEND_ONCE && kmsg_body_size(kmsg) == 0;
}

/* False: the right is still there. */
static bool answer(struct program *program, struct port *reply, enum port_disposition right,
                   uint32_t reply_port)
{
    struct kmsg *kmsg;

    if (reply_port == SIM_FOREIGN) {
        return answer_foreign(program, reply, right);
    }
    kmsg = reply_port == SIM_NONE ? NULL : make_message(program, REPLY_BYTES);
    return kmsg != NULL &&
           send_by(program, kmsg, reply, right, reply_port, NULL, SIM_NONE, PORT_NONE, 0) &&
           right == PORT_SEND_ONCE;
}

void program_take(struct program *program, struct kmsg *kmsg, uint32_t port, bool is_set)
{
    enum port_disposition right;
    uint32_t reply_port;
    struct port *reply;

    if (is_notification(kmsg)) {
        kmsg_free(kmsg);
        return;
    }
    reply_port = take_account(program, kmsg, port, is_set);
    right = kmsg_reply_disposition(kmsg);
    reply = kmsg_take_reply_port(kmsg);
    kmsg_free(kmsg);
    if (reply != NULL && !answer(program, reply, right, reply_port)) {
        port_release_right(reply, right);
    }
}

static void check_receive(const struct program *program, mach_msg_return_t result, bool is_over,
                          mach_msg_return_t over)
{
    bool is_right =
        result == MACH_MSG_SUCCESS || result == MACH_RCV_TIMED_OUT || (is_over && result == over);

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
    slot->users++;
    result = mach_msg_receive(slot->port, &kmsg, call.deadline_ns);
    if (result == MACH_MSG_SUCCESS) {
        program_take(program, kmsg, slot->id, false);
    }
    check_receive(program, result, slot->state == SLOT_DYING, MACH_RCV_PORT_DIED);
    call_end(program, &call, result == MACH_RCV_TIMED_OUT, "a receive");
    program_leave_port(slot);
}

static void operate_set_receive(struct program *program, const struct sim_entry *entry)
{
    struct program_set *slot = &program->sets[entry->arguments[0] % PROGRAM_SETS];
    struct call call = call_begin(entry->duration_ns);
    struct kmsg *kmsg;
    mach_msg_return_t result;

    if (!is_live(slot->state)) {
        return;
    }
    slot->users++;
    result = mach_msg_receive_set(slot->set, &kmsg, call.deadline_ns);
    if (result == MACH_MSG_SUCCESS) {
        program_take(program, kmsg, SIM_NONE, true);
    }
    check_receive(program, result, slot->state == SLOT_DYING, MACH_RCV_PORT_CHANGED);
    call_end(program, &call, result == MACH_RCV_TIMED_OUT, "a receive");
    leave_set(slot);
}

/* Send what was received on as another message, in the same memory. */
static void forward(struct program *program, struct kmsg *kmsg, const struct program_port *from,
                    const struct program_right *to, uint64_t duration_ns)
{
    enum port_disposition right;
    struct port *reply;

    (void)take_account(program, kmsg, from->id, false);
    right = kmsg_reply_disposition(kmsg);
    reply = kmsg_take_reply_port(kmsg);
    (void)send(program, kmsg, to->port, to->id, NULL, SIM_NONE, PORT_NONE, duration_ns);
    if (reply != NULL) {
        port_release_right(reply, right);
    }
}

/* Receive, then send the same memory on as another message. */
static void operate_forward(struct program *program, const struct sim_entry *entry)
{
    struct program_port *from = &program->ports[entry->arguments[0] % PROGRAM_PORTS];
    struct program_right *to = &program->rights[entry->arguments[1] % PROGRAM_RIGHTS];
    struct kmsg *kmsg;

    if (!is_live(from->state) || !is_live(to->state)) {
        return;
    }
    from->users++;
    to->users++;
    if (mach_msg_receive(from->port, &kmsg, 0) == MACH_MSG_SUCCESS) {
        if (is_notification(kmsg)) {
            kmsg_free(kmsg);
        } else {
            forward(program, kmsg, from, to, entry->duration_ns);
        }
    }
    leave_right(to);
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
    struct port *right = service_right(program, entry->arguments[0], &port);

    if (right == NULL) {
        return;
    }
    reply = make_port(program, &id);
    if (reply == NULL) {
        port_release(right);
        return;
    }
    kmsg = make_message(program, entry->arguments[1]);
    call = call_begin(entry->duration_ns);
    if (kmsg != NULL &&
        send(program, kmsg, right, port, reply, id, PORT_SEND_ONCE, entry->duration_ns)) {
        mach_msg_return_t result = mach_msg_receive(reply, &kmsg, call.deadline_ns);

        if (result == MACH_MSG_SUCCESS) {
            program_take(program, kmsg, id, false);
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
    port_retain(port);
    port_set_limit(port, 1 + entry->arguments[1] % 16u);
    oracle_port_named(id, port_name(port));
    if (slot->state != SLOT_EMPTY) {
        oracle_port_died(id);
        port_destroy(port);
        port_release(port);
        return;
    }
    *slot = (struct program_port){.port = port, .id = id, .state = SLOT_LIVE};
}

static void operate_port_limit(struct program *program, const struct sim_entry *entry)
{
    struct program_port *slot = &program->ports[entry->arguments[0] % PROGRAM_PORTS];

    if (is_live(slot->state)) {
        slot->users++;
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
    was_dead = is_own(program, id) ? oracle_port_is_gone(id) : is_known_dead(program, id);
    right = port_from_name(program->host, name);
    if (right == NULL) {
        return;
    }
    if (was_dead && !is_of_suspect(id)) {
        sim_violated(8, "node %u got a right by a dead name", program->node->id);
    }
    if (slot->state != SLOT_EMPTY) {
        port_release(right);
        return;
    }
    *slot = (struct program_right){.port = right, .id = id, .state = SLOT_LIVE};
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
    port->users++;
    (void)port_set_insert(set->set, port->port); /* a port that is in a set already stays there */
    program_leave_port(port);
    leave_set(set);
}

static void operate_set_remove(struct program *program, const struct sim_entry *entry)
{
    struct program_port *port = &program->ports[entry->arguments[0] % PROGRAM_PORTS];

    if (is_live(port->state)) {
        port->users++;
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
        break; /* a fault: fault.c */
    }
}
