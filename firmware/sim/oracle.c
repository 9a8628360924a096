/* SPDX-License-Identifier: MIT
 *
 * The account of every message: who sent it, whereto, in which order, what came of it. It knows
 * what the nodes cannot know (who lives, what was sent) and compares. I1 to I4 and I8.
 *
 * A send may give way after its message was queued, so a message is known from before its send
 * begins. A receive that brings rights may give way before its entry here.
 */
#include "oracle.h"
#include "arch/sim/fiber.h"
#include "core/kmsg.h"
#include "core/node.h"
#include "core/port.h"

#include <string.h>

#define BODY_MAGIC 0x4d4c4e53u

struct body {
    uint32_t magic;
    uint32_t message;
    uint64_t seed;
    uint64_t words[];
};

struct oracle_port oracle_ports[PORTS_MAXIMUM];
uint32_t oracle_port_count;
struct oracle_message oracle_messages[MESSAGES_MAXIMUM];
uint32_t oracle_message_count;
bool oracle_memory_was_short;

void oracle_open(void)
{
    oracle_port_count = 0;
    oracle_message_count = 0;
    oracle_memory_was_short = false;
    rights_open();
}

void oracle_excuse_failures(uint32_t node)
{
    (void)node; /* and whoever talks to it */
    oracle_memory_was_short = true;
}

/* --- Ports
 * ---------------------------------------------------------------------------------------- */

uint32_t oracle_port(struct port *of, uint32_t life, uint32_t service_of_node)
{
    struct oracle_port *port = &oracle_ports[oracle_port_count];

    if (oracle_port_count == PORTS_MAXIMUM) {
        return SIM_NONE;
    }
    port->port = of;
    port->name = 0;
    port->life = life;
    port->service_of = service_of_node;
    port->moves = 0;
    port->senders = 0;
    port->users = 0;
    port->once_told = 0;
    port->once_arrived = 0;
    memset(port->homes, 0, sizeof(port->homes));
    memset(port->guessers, 0, sizeof(port->guessers));
    life_add(port->homes, life);
    port->is_exposed = service_of_node != SIM_NONE;
    port->is_dead = false;
    port->is_gone = false;
    port->is_astray = false;
    port->lives_reset = 0;
    return oracle_port_count++;
}

/* I8: no two ports of the world have one name. Serials rise within a life. */
void oracle_port_named(uint32_t index, uint64_t name)
{
    struct oracle_port *port = &oracle_ports[index];
    const struct sim_life *life = &sim_lives[port->life];

    if (name == 0 || port->name == name) {
        return;
    }
    sim_exercised(8);
    for (uint32_t i = oracle_port_count; i-- != 0;) {
        if (i != index && oracle_ports[i].name == name) {
            sim_violated(8, "name %llx was given out twice", (unsigned long long)name);
        }
    }
    if (port->name != 0 || NAME_NODE(name) != sim_nodes[life->node].id ||
        NAME_TAG(name) != NAME_TAG_OF_INCARNATION(life->incarnation)) {
        sim_violated(8, "name %llx is not one of its life %llx", (unsigned long long)name,
                     (unsigned long long)life->incarnation);
    }
    port->name = name;
    port->is_exposed = true;
}

void oracle_port_died(uint32_t port)
{
    oracle_ports[port].is_dead = true;
    oracle_ports[port].port = NULL;
}

void oracle_port_gone(uint32_t port)
{
    oracle_ports[port].is_gone = true;
}

bool oracle_port_is_dead(uint32_t port)
{
    return oracle_ports[port].is_dead;
}

bool oracle_port_is_gone(uint32_t port)
{
    return oracle_ports[port].is_gone;
}

uint32_t oracle_port_life(uint32_t port)
{
    return oracle_ports[port].life;
}

/* The newer half is picked from more often: most of the old ones are dead. */
uint32_t oracle_pick(uint32_t pick, uint64_t *name)
{
    uint32_t range = oracle_port_count < 32 ? oracle_port_count : 32;

    for (uint32_t i = 0; i < range; i++) {
        uint32_t index = oracle_port_count - 1 - (pick + i) % range;

        if (oracle_ports[index].name != 0 && oracle_ports[index].service_of == SIM_NONE) {
            *name = oracle_ports[index].name;
            return index;
        }
    }
    return SIM_NONE;
}

uint32_t oracle_service_port(uint32_t life)
{
    for (uint32_t i = oracle_port_count; i-- != 0;) {
        if (oracle_ports[i].life == life && oracle_ports[i].service_of != SIM_NONE) {
            return i;
        }
    }
    return SIM_NONE;
}

/* --- Sending
 * -------------------------------------------------------------------------------------- */

static uint64_t content(uint64_t seed, uint64_t index)
{
    uint64_t value = (seed + index) * 0x9e3779b97f4a7c15ull;

    return value ^ value >> 29;
}

/* Read without the lock: this must not let another fiber run. Between two lives a node knows nothing. */
static bool is_declared_dead(uint32_t index, uint32_t life)
{
    struct sim_node *node = &sim_nodes[index];
    const struct node_slot *slot;

    if (node_is_agent(index)) {
        return node->told_dead[life];
    }
    if (node->host.nodes == NULL) {
        return false;
    }
    slot = node_slot_of(&node->host, sim_nodes[sim_lives[life].node].id);
    return slot != NULL && slot->dead_incarnation >= sim_lives[life].incarnation;
}

static bool is_over_or_declared(uint32_t node, uint32_t life)
{
    return life_is_over(life) || is_declared_dead(node, life);
}

/* It was there, and may know it no more or not yet. */
static bool is_strange(uint32_t node, uint32_t life)
{
    return life_is_over(life) || (sim_lives[life].node != node &&
                                  (is_declared_dead(node, life) || !sim_nodes[node].told_up[life]));
}

static bool is_suspect(uint32_t node, uint32_t life)
{
    (void)node;
    return life_is_suspect(life);
}

bool oracle_port_any_home(uint32_t port, bool (*is)(uint32_t node, uint32_t life), uint32_t node)
{
    for (uint32_t life = 0; life < sim_life_count; life++) {
        if (life_is_among(oracle_ports[port].homes, life) && is(node, life)) {
            return true;
        }
    }
    return false;
}

bool oracle_port_is_foreign(uint32_t port)
{
    return oracle_ports[port].is_astray || oracle_port_any_home(port, is_suspect, 0);
}

bool oracle_port_may_be_dead(uint32_t port, uint32_t node)
{
    const struct oracle_port *of = &oracle_ports[port];

    return of->is_dead || (oracle_memory_was_short && of->moves != 0) ||
           oracle_port_any_home(port, is_over_or_declared, node) ||
           (sim_nodes[node].life != SIM_NONE && life_is_misled(of, sim_nodes[node].life));
}

bool oracle_port_has_moved(uint32_t port)
{
    return oracle_ports[port].moves != 0;
}

/* A node knows itself: what leads to one of its past lives is dead, and no reason to refuse. */
static bool is_strange_home(uint32_t node, uint32_t life)
{
    return sim_lives[life].node != node && is_strange(node, life);
}

/* Whoever was to receive it may not know one of the nodes that its rights lead to. */
static bool may_be_stranded(const struct oracle_message *message)
{
    uint32_t life = oracle_ports[message->port].life;

    for (uint32_t i = 0; i < message->right_count; i++) {
        uint32_t port = message->rights[i] < SIM_FOREIGN ? oracle_right_port(message->rights[i])
                        : i == 0                         ? message->reply_port
                                                         : SIM_NONE;

        if (port != SIM_NONE && oracle_port_any_home(port, is_strange_home, sim_lives[life].node)) {
            return true;
        }
    }
    return false;
}

/* May this message fail? It was sent to a living port of a living life by one that lives. */
static bool may_fail(const struct oracle_message *message)
{
    const struct oracle_port *port = &oracle_ports[message->port];
    uint32_t node = sim_lives[message->life].node;

    return oracle_memory_was_short || oracle_port_may_be_dead(message->port, node) ||
           (port->moves != 0 && oracle_port_any_home(message->port, is_strange, node)) ||
           life_is_misled(port, message->life) || rights_are_shaky(message) ||
           message->is_stranded || may_be_stranded(message);
}

/* A suspect had a hand in it: what is said to have become of it proves nothing. */
static bool is_of_suspect(const struct oracle_message *message)
{
    return message->port == SIM_NONE || message->is_diverted || life_is_suspect(message->life) ||
           oracle_port_is_foreign(message->port);
}

/* It may be settled an instant before its receiver says so; oracle_check_end() looks again. */
static void settled(struct oracle_message *message, uint32_t index)
{
    sim.result->settled++;
    if (message->received > 1) {
        sim_violated(3, "message %u was settled and received %u times", index, message->received);
    }
}

static void failed(struct oracle_message *message, uint32_t index)
{
    sim.result->failures++;
    if (message->received != 0) {
        sim_violated(3, "message %u was received and reported as failed", index);
    } else if (!may_fail(message)) {
        sim_violated(3, "message %u failed; its port and both lives live", index);
    }
}

static void unknown(struct oracle_message *message, uint32_t index)
{
    sim.result->unknown++;
    if (!oracle_port_any_home(message->port, is_declared_dead, sim_lives[message->life].node)) {
        sim_violated(3, "message %u has an unknown outcome; both lives live", index);
    }
}

void oracle_outcome(uint32_t index, enum message_outcome outcome)
{
    struct oracle_message *message = &oracle_messages[index];

    trace(sim_lives[message->life].node, TRACE_OUTCOME, index, (uint64_t)outcome, 0);
    sim_exercised(3);
    if (message->outcome != 0 || message->state == MESSAGE_NOT_SENT ||
        life_is_over(message->life)) {
        sim_violated(3, "message %u got outcome %u after %u", index, (unsigned)outcome,
                     message->outcome);
        return;
    }
    message->state = MESSAGE_SENT; /* if its send has not returned yet */
    message->outcome = (uint8_t)outcome;
    if (outcome != MESSAGE_SETTLED) {
        rights_failed(message, outcome == MESSAGE_FAILED);
    }
    if (is_of_suspect(message)) {
        if (outcome == MESSAGE_SETTLED && message->received == 0) {
            rights_astray(message);
        }
        return;
    }
    switch (outcome) {
    case MESSAGE_SETTLED:
        settled(message, index);
        break;
    case MESSAGE_FAILED:
        failed(message, index);
        break;
    case MESSAGE_UNKNOWN:
        unknown(message, index);
        break;
    }
}

uint32_t oracle_message(uint32_t node, void *bytes, size_t size, uint32_t port, uint32_t reply_port)
{
    struct body *body = bytes;
    uint32_t words = (uint32_t)((size - sizeof(*body)) / sizeof(uint64_t));
    struct oracle_message *message = &oracle_messages[oracle_message_count];

    if (oracle_message_count == MESSAGES_MAXIMUM || size < sizeof(*body)) {
        return SIM_NONE;
    }
    *message = (struct oracle_message){.seed = fiber_random(),
                                       .port = port,
                                       .reply_port = reply_port,
                                       .life = sim_nodes[node].life,
                                       .size = (uint32_t)size,
                                       .by = SIM_NONE,
                                       .used = SIM_NONE,
                                       .rights = {SIM_NONE},
                                       .right_count = 1,
                                       .state = MESSAGE_PREPARED};
    body->magic = BODY_MAGIC;
    body->message = oracle_message_count;
    body->seed = message->seed;
    for (uint32_t i = 0; i < words; i++) {
        body->words[i] = content(message->seed, i);
    }
    return oracle_message_count++;
}

void oracle_diverted(uint32_t index)
{
    oracle_messages[index].is_diverted = true;
}

void oracle_sent(uint32_t index)
{
    struct oracle_message *message = &oracle_messages[index];

    message->state = MESSAGE_SENT;
    message->ended = oracle_message_count;
    message->is_stranded |= message->port < SIM_FOREIGN && may_be_stranded(message);
    sim.result->sent++;
    trace(sim_lives[message->life].node, TRACE_SEND, index, message->port, message->size);
}

void oracle_unsent(uint32_t index)
{
    if (oracle_messages[index].state == MESSAGE_SENT) {
        sim_violated(3, "message %u was sent, and was not", index);
    }
    oracle_messages[index].state = MESSAGE_NOT_SENT;
    rights_unsent(&oracle_messages[index]);
}

/* --- Receiving
 * ------------------------------------------------------------------------------------ */

/* Null: nobody sent this (I4). */
static struct oracle_message *identify(const struct oracle_arrival *arrival)
{
    const struct body *body = arrival->body;
    size_t size = arrival->size;
    struct oracle_message *message;

    sim_exercised(4);
    if (size < sizeof(*body) || body->magic != BODY_MAGIC ||
        body->message >= oracle_message_count) {
        sim_violated(4, "a message of %zu bytes that nobody sent", size);
        return NULL;
    }
    message = &oracle_messages[body->message];
    if (message->state == MESSAGE_NOT_SENT || message->size != size ||
        message->seed != body->seed) {
        sim_violated(4, "message %u is not as it was sent", body->message);
        return NULL;
    }
    for (uint32_t i = 0; i < (size - sizeof(*body)) / sizeof(uint64_t); i++) {
        if (body->words[i] != content(message->seed, i)) {
            sim_violated(4, "message %u was changed at word %u of %zu bytes", body->message, i,
                         size);
            return NULL;
        }
    }
    return message;
}

static void check_source(const struct oracle_message *message, const struct oracle_arrival *arrival,
                         uint32_t index)
{
    const struct sim_life *life = &sim_lives[message->life];

    if (arrival->source_node != sim_nodes[life->node].id ||
        arrival->source_incarnation != life->incarnation) {
        sim_violated(4, "message %u of node %u says that node %u sent it", index,
                     sim_nodes[life->node].id, arrival->source_node);
    }
}

/* I1: messages of one life arrive at a port in the order in which they were sent to it. Whose sends
 * overlapped have none. */
static void check_order(const struct oracle_message *message, uint32_t index)
{
    struct oracle_port *port = &oracle_ports[message->port];

    sim_exercised(1);
    for (; port->lives_reset <= message->life; port->lives_reset++) {
        port->received[port->lives_reset] = 0;
    }
    if (message->by < SIM_FOREIGN && right_is_unaccounted(&oracle_rights[message->by])) {
        return; /* a home that the port came back to does not know that it refused the life before */
    }
    if (message->ended != 0 && port->received[message->life] > message->ended) {
        sim_violated(1, "message %u came after a later one of its port, %u", index,
                     port->received[message->life] - 1u);
    }
    if (port->received[message->life] <= index) {
        port->received[message->life] = index + 1u;
    }
}

/* I6: what it has of a life that it was told dead came before that; what it has of a new life came
 * after the death of the old one was told. */
static void check_life(const struct oracle_message *message, const struct sim_node *node,
                       uint32_t index)
{
    const struct sim_life *life = &sim_lives[message->life];
    const struct sim_known *known = &node->known[life->node];

    if (life->node == node->index) {
        return;
    }
    if (known->dead != 0 || known->up != 0) {
        sim_exercised(6);
    }
    if (node->told_dead[message->life] && !message->is_accepted &&
        !oracle_ports[message->port].is_dead && oracle_ports[message->port].moves == 0) {
        sim_violated(6, "message %u came from life %llx after it was told dead", index,
                     (unsigned long long)life->incarnation);
    }
    if (known->up != 0 && known->up < life->incarnation && known->dead < known->up) {
        sim_violated(6, "message %u came from life %llx before the death of %llx was told", index,
                     (unsigned long long)life->incarnation, (unsigned long long)known->up);
    }
}

/* The right to answer is there exactly if the port it leads to is. Whether a suspect's port is, nobody
 * knows: while the suspect is hostile it may tell whoever has a right to its port that the port died. */
static void check_reply(const struct oracle_message *message, bool is_there, uint32_t node,
                        uint32_t index)
{
    if (is_there && message->reply_port == SIM_NONE) {
        sim_violated(4, "message %u brought a right that nobody sent", index);
    }
    if (!is_there && message->reply_port != SIM_NONE &&
        !oracle_port_may_be_dead(message->reply_port, node) &&
        !oracle_port_is_foreign(message->reply_port) && !life_is_over(message->life) &&
        !oracle_port_has_moved(message->reply_port) && !rights_are_shaky(message)) {
        sim_violated(4, "message %u lost its reply right", index);
    }
}

/* A suspect has what somebody honest sent: its rights are nobody's account any more. */
static void note_foreign(const struct oracle_arrival *arrival)
{
    const struct body *body = arrival->body;

    if (sim_nodes[arrival->node].is_suspect && arrival->size >= sizeof(*body) &&
        body->magic == BODY_MAGIC && body->message < oracle_message_count) {
        rights_received(&oracle_messages[body->message], sim_nodes[arrival->node].life);
    }
}

uint32_t oracle_received(struct oracle_arrival *arrival)
{
    uint32_t node = arrival->node;
    struct oracle_message *message;
    uint32_t index;

    sim.result->received++;
    arrival->message = SIM_NONE;
    if (node_id_is_suspect(arrival->source_node) || sim_nodes[node].is_suspect) {
        note_foreign(arrival);
        return SIM_FOREIGN;
    }
    message = identify(arrival);
    if (message == NULL) {
        return SIM_NONE;
    }
    index = (uint32_t)(message - oracle_messages);
    trace(node, TRACE_RECEIVE, index, message->port, 0);
    sim_exercised(2);
    if (message->received++ != 0) {
        sim_violated(2, "message %u was received twice", index);
    }
    arrival->message = index;
    rights_received(message, sim_nodes[node].life);
    check_source(message, arrival, index);
    if (message->port == SIM_NONE) {
        return SIM_NONE;
    }
    if (arrival->is_set ? oracle_ports[message->port].life != sim_nodes[node].life
                        : message->port != arrival->port) {
        sim_violated(4, "message %u to port %u came to port %u", index, message->port,
                     arrival->port);
    }
    check_order(message, index);
    check_life(message, &sim_nodes[node], index);
    check_reply(message, arrival->has_reply, node, index);
    return message->reply_port;
}

void oracle_accepted(const void *bytes, size_t size, uint32_t life)
{
    const struct body *body = bytes;

    if (size >= sizeof(*body) && body->message < oracle_message_count &&
        oracle_messages[body->message].life == life) {
        oracle_messages[body->message].is_accepted = true;
    }
}

static void accept_queue(const struct list *queue, uint32_t life)
{
    for (struct list *link = queue->next; link != queue; link = link->next) {
        struct kmsg *kmsg = kmsg_of_queue(link);

        oracle_accepted(kmsg_body(kmsg), kmsg_body_size(kmsg), life);
    }
}

void oracle_life_died(uint32_t node, uint32_t life)
{
    for (uint32_t i = 0; i < oracle_port_count; i++) {
        if (oracle_ports[i].life == sim_nodes[node].life && oracle_ports[i].port != NULL) {
            accept_queue(&oracle_ports[i].port->queue, life);
            accept_queue(&oracle_ports[i].port->doubted, life);
        }
    }
}

/* --- The end
 * -------------------------------------------------------------------------------------- */

/* It still waits for an outcome that must come. Nobody answers whom nobody believes. */
static bool is_open(const struct oracle_message *message)
{
    return message->state == MESSAGE_SENT && message->outcome == 0 &&
           !life_is_over(message->life) && !node_is_discredited(sim_lives[message->life].node);
}

bool oracle_is_settled(void)
{
    for (uint32_t i = 0; i < oracle_message_count; i++) {
        if (is_open(&oracle_messages[i])) {
            return false;
        }
    }
    return true;
}

static void outcome_is_missing(const struct oracle_message *message, uint32_t index)
{
    uint64_t to =
        message->port != SIM_NONE ? sim_lives[oracle_ports[message->port].life].incarnation : 0;

    sim_violated(3, "message %u from life %llx to %llx has no outcome, received %u times", index,
                 (unsigned long long)sim_lives[message->life].incarnation, (unsigned long long)to,
                 message->received);
}

static bool is_over(uint32_t node, uint32_t life)
{
    (void)node;
    return life_is_over(life);
}

/* A node took it, and crashed before its program was given it. */
static bool may_be_in_between(const struct oracle_message *message)
{
    return message->received == 0 && oracle_port_any_home(message->port, is_over, 0);
}

void oracle_check_end(void)
{
    for (uint32_t i = 0; i < oracle_message_count && !sim.is_over; i++) {
        if (oracle_messages[i].outcome == MESSAGE_SETTLED && oracle_messages[i].received != 1 &&
            !is_of_suspect(&oracle_messages[i]) && !may_be_in_between(&oracle_messages[i])) {
            sim_violated(3, "message %u was settled and received %u times", i,
                         oracle_messages[i].received);
        } else if (is_open(&oracle_messages[i])) {
            outcome_is_missing(&oracle_messages[i], i);
        }
    }
}
