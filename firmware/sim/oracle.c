/* SPDX-License-Identifier: MIT
 *
 * The account of every message: who sent it, whereto, in which order, what came of it. It knows
 * what the nodes cannot know (who lives, what was sent) and compares. I1 to I4 and I8.
 *
 * Between a send or a receive and its entry here no other fiber runs (arch/sim/fiber.h), so the
 * order of entries is the order of the ports' queues.
 */
#include "arch/sim/fiber.h"
#include "core/kmsg.h"
#include "core/node.h"
#include "core/port.h"
#include "world.h"

#include <string.h>

#define PORTS_MAXIMUM 2048u
#define MESSAGES_MAXIMUM 8192u
#define BODY_MAGIC 0x4d4c4e53u

enum message_state {
    MESSAGE_PREPARED,
    MESSAGE_SENT,
    MESSAGE_NOT_SENT,
};

struct oracle_port {
    struct port *port; /* null: it is about to be destroyed, or it was */
    uint64_t name;     /* 0: none yet */
    uint32_t life;
    uint32_t service_of;                  /* node; SIM_NONE: an ordinary port */
    uint32_t order;                       /* of the message sent to it last */
    bool is_dead;                         /* or about to be */
    bool is_gone;                         /* nobody may reach it any more */
    uint32_t received[SIM_LIVES_MAXIMUM]; /* order received last, by sending life */
    uint32_t lives_reset;                 /* received[] is valid below it */
};

struct oracle_message {
    uint64_t seed;
    uint32_t port;
    uint32_t reply_port;
    uint32_t life; /* that sent it */
    uint32_t order;
    uint32_t size;
    uint8_t state;   /* enum message_state */
    uint8_t outcome; /* enum message_outcome; 0: none yet */
    uint8_t received;
    bool is_accepted; /* it was in the receiver's hands when that was told of the sender's death */
    bool is_excused;  /* it may fail: memory was short, or its reply port is a third node's */
    bool is_diverted; /* it was sent to where a suspect said that the port is */
};

struct body {
    uint32_t magic;
    uint32_t message;
    uint64_t seed;
    uint64_t words[];
};

static struct oracle_port ports[PORTS_MAXIMUM];
static uint32_t port_count;
static struct oracle_message messages[MESSAGES_MAXIMUM];
static uint32_t message_count;
static bool is_memory_short;

void oracle_open(void)
{
    port_count = 0;
    message_count = 0;
    is_memory_short = false;
}

void oracle_excuse_failures(uint32_t node)
{
    (void)node; /* and whoever talks to it */
    is_memory_short = true;
}

/* --- Ports
 * ---------------------------------------------------------------------------------------- */

uint32_t oracle_port(struct port *of, uint32_t life, uint32_t service_of_node)
{
    struct oracle_port *port = &ports[port_count];

    if (port_count == PORTS_MAXIMUM) {
        return SIM_NONE;
    }
    port->port = of;
    port->name = 0;
    port->life = life;
    port->service_of = service_of_node;
    port->order = 0;
    port->is_dead = false;
    port->is_gone = false;
    port->lives_reset = 0;
    return port_count++;
}

/* I8: no two ports of the world have one name. Serials rise within a life. */
void oracle_port_named(uint32_t index, uint64_t name)
{
    struct oracle_port *port = &ports[index];
    const struct sim_life *life = &sim_lives[port->life];

    if (name == 0 || port->name == name) {
        return;
    }
    sim_exercised(8);
    for (uint32_t i = port_count; i-- != 0;) {
        if (i != index && ports[i].name == name) {
            sim_violated(8, "name %llx was given out twice", (unsigned long long)name);
        }
    }
    if (port->name != 0 || NAME_NODE(name) != sim_nodes[life->node].id ||
        NAME_TAG(name) != NAME_TAG_OF_INCARNATION(life->incarnation)) {
        sim_violated(8, "name %llx is not one of its life %llx", (unsigned long long)name,
                     (unsigned long long)life->incarnation);
    }
    port->name = name;
}

void oracle_port_died(uint32_t port)
{
    ports[port].is_dead = true;
    ports[port].port = NULL;
}

void oracle_port_gone(uint32_t port)
{
    ports[port].is_gone = true;
}

bool oracle_port_is_dead(uint32_t port)
{
    return ports[port].is_dead;
}

bool oracle_port_is_gone(uint32_t port)
{
    return ports[port].is_gone;
}

uint32_t oracle_port_life(uint32_t port)
{
    return ports[port].life;
}

/* The newer half is picked from more often: most of the old ones are dead. */
uint32_t oracle_pick(uint32_t pick, uint64_t *name)
{
    uint32_t range = port_count < 32 ? port_count : 32;

    for (uint32_t i = 0; i < range; i++) {
        uint32_t index = port_count - 1 - (pick + i) % range;

        if (ports[index].name != 0 && ports[index].service_of == SIM_NONE) {
            *name = ports[index].name;
            return index;
        }
    }
    return SIM_NONE;
}

uint32_t oracle_service_port(uint32_t life)
{
    for (uint32_t i = port_count; i-- != 0;) {
        if (ports[i].life == life && ports[i].service_of != SIM_NONE) {
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

static bool is_over(uint32_t life)
{
    return sim_lives[life].end_ns != SIM_NEVER;
}

/* Read without the lock: this must not let another fiber run. */
static bool is_declared_dead(const struct oracle_message *message, uint32_t life)
{
    struct sim_node *node = &sim_nodes[sim_lives[message->life].node];
    const struct node_slot *slot;

    if (node_is_agent(node->index)) {
        return node->told_dead[life];
    }
    slot = node_slot_of(&node->host, sim_nodes[sim_lives[life].node].id);
    return slot != NULL && slot->dead_incarnation >= sim_lives[life].incarnation;
}

/* May this message fail? It was sent to a living port of a living life by one that lives. */
static bool may_fail(const struct oracle_message *message)
{
    const struct oracle_port *port = &ports[message->port];

    return message->is_excused || is_memory_short || port->is_dead || is_over(port->life) ||
           is_declared_dead(message, port->life);
}

static bool life_is_suspect(uint32_t life)
{
    return sim_nodes[sim_lives[life].node].is_suspect;
}

/* A suspect had a hand in it: what is said to have become of it proves nothing. */
static bool is_of_suspect(const struct oracle_message *message)
{
    return message->port == SIM_NONE || message->is_diverted || life_is_suspect(message->life) ||
           life_is_suspect(ports[message->port].life);
}

/* A message within a node is settled as it is handed over, an instant before it is received. */
static void settled(struct oracle_message *message, uint32_t index)
{
    bool is_local = ports[message->port].life == message->life;

    sim.result->settled++;
    if (message->received != (is_local ? 0 : 1)) {
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
    if (!is_declared_dead(message, ports[message->port].life)) {
        sim_violated(3, "message %u has an unknown outcome; both lives live", index);
    }
}

void oracle_outcome(uint32_t index, enum message_outcome outcome)
{
    struct oracle_message *message = &messages[index];

    trace(sim_lives[message->life].node, TRACE_OUTCOME, index, (uint64_t)outcome, 0);
    sim_exercised(3);
    if (message->outcome != 0 || message->state != MESSAGE_SENT || is_over(message->life)) {
        sim_violated(3, "message %u got outcome %u after %u", index, (unsigned)outcome,
                     message->outcome);
        return;
    }
    message->outcome = (uint8_t)outcome;
    if (is_of_suspect(message)) {
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
    struct oracle_message *message = &messages[message_count];

    if (message_count == MESSAGES_MAXIMUM || size < sizeof(*body)) {
        return SIM_NONE;
    }
    *message = (struct oracle_message){.seed = fiber_random(),
                                       .port = port,
                                       .reply_port = reply_port,
                                       .life = sim_nodes[node].life,
                                       .size = (uint32_t)size,
                                       .state = MESSAGE_PREPARED};
    message->is_excused = reply_port != SIM_NONE && ports[reply_port].life != message->life;
    body->magic = BODY_MAGIC;
    body->message = message_count;
    body->seed = message->seed;
    for (uint32_t i = 0; i < words; i++) {
        body->words[i] = content(message->seed, i);
    }
    return message_count++;
}

void oracle_diverted(uint32_t index)
{
    messages[index].is_diverted = true;
}

void oracle_sent(uint32_t index)
{
    struct oracle_message *message = &messages[index];

    message->state = MESSAGE_SENT;
    message->order = message->port != SIM_NONE ? ++ports[message->port].order : 0;
    sim.result->sent++;
    trace(sim_lives[message->life].node, TRACE_SEND, index, message->port, message->size);
}

void oracle_unsent(uint32_t index)
{
    messages[index].state = MESSAGE_NOT_SENT;
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
    if (size < sizeof(*body) || body->magic != BODY_MAGIC || body->message >= message_count) {
        sim_violated(4, "a message of %zu bytes that nobody sent", size);
        return NULL;
    }
    message = &messages[body->message];
    if (message->state != MESSAGE_SENT || message->size != size || message->seed != body->seed) {
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

/* I1: messages of one life arrive at a port in the order in which they were sent to it. */
static void check_order(const struct oracle_message *message, uint32_t index)
{
    struct oracle_port *port = &ports[message->port];

    sim_exercised(1);
    for (; port->lives_reset <= message->life; port->lives_reset++) {
        port->received[port->lives_reset] = 0;
    }
    if (message->order <= port->received[message->life]) {
        sim_violated(1, "message %u came after a later one of its port", index);
    }
    port->received[message->life] = message->order;
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
    if (node->told_dead[message->life] && !message->is_accepted && !ports[message->port].is_dead) {
        sim_violated(6, "message %u came from life %llx after it was told dead", index,
                     (unsigned long long)life->incarnation);
    }
    if (known->up != 0 && known->up < life->incarnation && known->dead < known->up) {
        sim_violated(6, "message %u came from life %llx before the death of %llx was told", index,
                     (unsigned long long)life->incarnation, (unsigned long long)known->up);
    }
}

/* The right to answer is there exactly if the port it leads to is. */
static void check_reply(const struct oracle_message *message, bool is_there, uint32_t index)
{

    if (is_there && message->reply_port == SIM_NONE) {
        sim_violated(4, "message %u brought a right that nobody sent", index);
    }
    if (!is_there && message->reply_port != SIM_NONE && !ports[message->reply_port].is_dead &&
        !is_over(message->life) && !message->is_excused) {
        sim_violated(4, "message %u lost its reply right", index);
    }
}

uint32_t oracle_received(const struct oracle_arrival *arrival)
{
    uint32_t node = arrival->node;
    struct oracle_message *message;
    uint32_t index;

    sim.result->received++;
    if (node_id_is_suspect(arrival->source_node) || sim_nodes[node].is_suspect) {
        return SIM_FOREIGN;
    }
    message = identify(arrival);
    if (message == NULL) {
        return SIM_NONE;
    }
    index = (uint32_t)(message - messages);
    trace(node, TRACE_RECEIVE, index, message->port, 0);
    sim_exercised(2);
    if (message->received++ != 0) {
        sim_violated(2, "message %u was received twice", index);
    }
    check_source(message, arrival, index);
    if (message->port == SIM_NONE) {
        return SIM_NONE;
    }
    if (arrival->is_set ? ports[message->port].life != sim_nodes[node].life
                        : message->port != arrival->port) {
        sim_violated(4, "message %u to port %u came to port %u", index, message->port,
                     arrival->port);
    }
    check_order(message, index);
    check_life(message, &sim_nodes[node], index);
    check_reply(message, arrival->has_reply, index);
    return message->reply_port;
}

void oracle_accepted(const void *bytes, size_t size, uint32_t life)
{
    const struct body *body = bytes;

    if (size >= sizeof(*body) && body->message < message_count &&
        messages[body->message].life == life) {
        messages[body->message].is_accepted = true;
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
    for (uint32_t i = 0; i < port_count; i++) {
        if (ports[i].life == sim_nodes[node].life && ports[i].port != NULL) {
            accept_queue(&ports[i].port->queue, life);
        }
    }
}

/* --- The end
 * -------------------------------------------------------------------------------------- */

/* It still waits for an outcome that must come. Nobody answers whom nobody believes. */
static bool is_open(const struct oracle_message *message)
{
    return message->state == MESSAGE_SENT && message->outcome == 0 && !is_over(message->life) &&
           !node_is_discredited(sim_lives[message->life].node);
}

bool oracle_is_settled(void)
{
    for (uint32_t i = 0; i < message_count; i++) {
        if (is_open(&messages[i])) {
            return false;
        }
    }
    return true;
}

static void outcome_is_missing(const struct oracle_message *message, uint32_t index)
{
    uint64_t to = message->port != SIM_NONE ? sim_lives[ports[message->port].life].incarnation : 0;

    sim_violated(3, "message %u from life %llx to %llx has no outcome, received %u times", index,
                 (unsigned long long)sim_lives[message->life].incarnation, (unsigned long long)to,
                 message->received);
}

void oracle_check_end(void)
{
    for (uint32_t i = 0; i < message_count && !sim.is_over; i++) {
        if (messages[i].outcome == MESSAGE_SETTLED && messages[i].received != 1 &&
            !is_of_suspect(&messages[i])) {
            sim_violated(3, "message %u was settled and received %u times", i,
                         messages[i].received);
        } else if (is_open(&messages[i])) {
            outcome_is_missing(&messages[i], i);
        }
    }
}
