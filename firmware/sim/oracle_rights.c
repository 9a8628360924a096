/* SPDX-License-Identifier: MIT
 *
 * The account of every right. I14: a right that was sent is there, leads where it led, and is one.
 * oracle_quiet.c looks whether homes know who holds.
 *
 * The world knows of the end of a right an instant before or after its node does: what is said to be
 * wrong is wrong either way.
 */
#include "core/port.h"
#include "oracle.h"

struct oracle_right oracle_rights[RIGHTS_MAXIMUM];
uint32_t oracle_right_count;
bool oracle_is_partial;

void rights_open(void)
{
    oracle_right_count = 0;
    oracle_is_partial = false;
    requests_open();
}

bool right_is_unaccounted(const struct oracle_right *right)
{
    return right->is_by_name && oracle_ports[right->port].moves != 0;
}

bool right_is_shaky(const struct oracle_right *right)
{
    return right->is_shaky || right_is_unaccounted(right) ||
           life_is_misled(&oracle_ports[right->port], right->life);
}

static void set_state(struct oracle_right *right, enum right_state state)
{
    struct oracle_port *port = &oracle_ports[right->port];
    bool was_send = right_is_send(right) && !right->is_by_name;

    right->state = (uint8_t)state;
    if (was_send && !right_is_send(right)) {
        port->senders--;
    } else if (!was_send && right_is_send(right) && !right->is_by_name) {
        port->senders++;
    }
    requests_review(right->port);
}

void oracle_port_used(uint32_t port, int change)
{
    oracle_ports[port].users += (uint32_t)change;
    if (change < 0) {
        requests_review(port);
    }
}

/* --- Rights
 * --------------------------------------------------------------------------------------- */

uint32_t oracle_right(uint32_t life, uint32_t port, enum port_disposition kind, uint32_t of)
{
    struct oracle_right *right = &oracle_rights[oracle_right_count];

    if (life_is_suspect(life) || port == SIM_NONE || port == SIM_FOREIGN) {
        return SIM_NONE;
    }
    if (oracle_right_count == RIGHTS_MAXIMUM) {
        oracle_is_partial = true;
        return SIM_NONE;
    }
    *right = (struct oracle_right){
        .port = port, .life = life, .giver = SIM_NONE, .kind = (uint8_t)kind, .state = RIGHT_ENDED};
    if (of != SIM_NONE) {
        right->giver = oracle_rights[of].giver;
        right->is_shaky = right_is_shaky(&oracle_rights[of]);
        right->is_late = oracle_rights[of].is_late;
        right->is_by_name = oracle_rights[of].is_by_name;
    }
    set_state(right, RIGHT_HELD);
    return oracle_right_count++;
}

uint32_t oracle_right_by_name(uint32_t life, uint32_t port)
{
    uint32_t right = oracle_right(life, port, PORT_SEND, SIM_NONE);

    if (right != SIM_NONE && (oracle_ports[port].life != life || oracle_ports[port].is_dead)) {
        set_state(&oracle_rights[right], RIGHT_ENDED);
        oracle_rights[right].is_by_name = true;
        set_state(&oracle_rights[right], RIGHT_HELD);
        life_add(oracle_ports[port].guessers, life);
    }
    return right;
}

void oracle_right_ended(uint32_t right)
{
    if (right < SIM_FOREIGN) {
        set_state(&oracle_rights[right], RIGHT_ENDED);
    }
}

void oracle_right_unmade(uint32_t right)
{
    oracle_right_ended(right);
    if (right < SIM_FOREIGN) {
        oracle_rights[right].kind = PORT_NONE;
    }
}

uint32_t oracle_right_port(uint32_t right)
{
    return right < SIM_FOREIGN ? oracle_rights[right].port : SIM_NONE;
}

bool oracle_right_is_firm(uint32_t right)
{
    return right != SIM_NONE && !right_is_shaky(&oracle_rights[right]) &&
           !oracle_memory_was_short && !oracle_port_is_foreign(oracle_rights[right].port);
}

bool oracle_right_is_late(uint32_t right)
{
    return right < SIM_FOREIGN && oracle_rights[right].is_late;
}

/* --- Messages with rights
 * ------------------------------------------------------------------------- */

static void carry(uint32_t message, uint32_t right)
{
    uint32_t to = oracle_messages[message].port;

    if (right < SIM_FOREIGN) {
        oracle_ports[oracle_rights[right].port].is_exposed |=
            to == SIM_NONE || oracle_port_is_foreign(to) || oracle_messages[message].is_diverted;
        set_state(&oracle_rights[right], RIGHT_CARRIED);
        oracle_rights[right].moves = oracle_ports[oracle_rights[right].port].moves;
        if (oracle_rights[right].kind == PORT_RECEIVE) {
            oracle_ports[oracle_rights[right].port].moves++;
            oracle_ports[oracle_rights[right].port].port = NULL;
        }
    }
}

void oracle_carries(uint32_t message, uint32_t right)
{
    struct oracle_message *of = &oracle_messages[message];

    of->rights[of->right_count++] = right;
    carry(message, right);
}

void oracle_carries_reply(uint32_t message, uint32_t right)
{
    oracle_messages[message].rights[0] = right;
    carry(message, right);
}

void oracle_uses(uint32_t message, uint32_t right)
{
    oracle_messages[message].by = right;
    if (right < SIM_FOREIGN && oracle_rights[right].kind == PORT_SEND_ONCE) {
        oracle_messages[message].used = right;
        set_state(&oracle_rights[right], RIGHT_USED);
    }
}

const uint32_t *oracle_cargo(uint32_t message, uint32_t *count)
{
    if (message == SIM_NONE) {
        return NULL;
    }
    *count = oracle_messages[message].right_count - 1u;
    return oracle_messages[message].rights + 1;
}

uint32_t oracle_carried_reply(uint32_t message)
{
    return oracle_messages[message].rights[0];
}

enum port_disposition oracle_right_kind(uint32_t right)
{
    return right < SIM_FOREIGN ? (enum port_disposition)oracle_rights[right].kind : PORT_NONE;
}

/* Who does not know the node that a port moved to loses it. */
static void note_strangers(struct oracle_port *port, uint32_t home)
{
    for (uint32_t i = 0; i < sim.settings->node_count; i++) {
        const struct sim_node *node = &sim_nodes[i];

        if (i != sim_lives[home].node && node->life != SIM_NONE &&
            (!node->told_up[home] || node->told_dead[home])) {
            life_add(port->guessers, node->life);
        }
    }
}

static void receive_right_came(struct oracle_right *right, uint32_t life)
{
    struct oracle_port *port = &oracle_ports[right->port];

    life_add(port->homes, life);
    if (!port->is_dead) {
        port->life = life;
        port->port = NULL;
        port->is_astray = false;
        note_strangers(port, life);
    }
}

void rights_received(struct oracle_message *message, uint32_t life)
{
    for (uint32_t i = 0; i < message->right_count; i++) {
        struct oracle_right *right;

        if (message->rights[i] >= SIM_FOREIGN) {
            continue;
        }
        right = &oracle_rights[message->rights[i]];
        right->is_shaky = right_is_shaky(right);
        if (life_is_misled(&oracle_ports[right->port], right->life)) {
            life_add(oracle_ports[right->port].guessers, life);
        }
        if (right->life != life) {
            right->giver = right->life;
        }
        right->life = life;
        right->is_late = sim_nodes[sim_lives[life].node].told_dead[oracle_ports[right->port].life];
        set_state(right, life_is_suspect(life) ? RIGHT_ENDED : RIGHT_HELD);
        if (right->kind == PORT_RECEIVE) {
            receive_right_came(right, life);
        } else if (right->kind == PORT_SEND_ONCE) {
            rights_check_once(right->port);
        }
        right->is_shaky |= life_is_suspect(life);
    }
    if (message->used != SIM_NONE) {
        oracle_ports[oracle_rights[message->used].port].once_arrived++;
        rights_check_once(oracle_rights[message->used].port);
    }
}

/* Its core may have been given the message, or its forger has made up that it was: from then on a
 * suspect speaks for the ports in it, until somebody honest receives them. */
void rights_astray(const struct oracle_message *message)
{
    for (uint32_t i = 0; i < message->right_count; i++) {
        if (message->rights[i] < SIM_FOREIGN &&
            oracle_rights[message->rights[i]].kind == PORT_RECEIVE) {
            oracle_ports[oracle_rights[message->rights[i]].port].is_astray = true;
        }
    }
}

static void port_lost(uint32_t port)
{
    oracle_port_died(port);
    oracle_port_gone(port);
}

void rights_failed(struct oracle_message *message, bool is_certain)
{
    for (uint32_t i = 0; i < message->right_count; i++) {
        struct oracle_right *right;

        if (message->rights[i] >= SIM_FOREIGN) {
            continue;
        }
        right = &oracle_rights[message->rights[i]];
        if (message->received != 0) {
            if (right->kind == PORT_RECEIVE) { /* it is dead for all who knew it here */
                port_lost(right->port);
            }
            continue;
        }
        right->is_shaky |= !is_certain;
        set_state(right, RIGHT_ENDED);
        if (right->kind == PORT_RECEIVE) { /* or with somebody who is declared dead */
            port_lost(right->port);
        }
    }
    if (message->used != SIM_NONE) {
        /* Used here, and refused where the port is now: nobody there knows what it was sent with. */
        oracle_rights[message->used].is_shaky |=
            !is_certain || oracle_ports[message->port].moves != 0;
        set_state(&oracle_rights[message->used], RIGHT_ENDED);
    }
}

/* Moved rights are the sender's again, who finds them in the message; so are the made ones. */
void rights_unsent(struct oracle_message *message)
{
    for (uint32_t i = 0; i < message->right_count; i++) {
        if (message->rights[i] < SIM_FOREIGN) {
            struct oracle_right *right = &oracle_rights[message->rights[i]];

            set_state(right, RIGHT_HELD);
            if (right->kind == PORT_RECEIVE) {
                oracle_ports[right->port].moves--;
            }
        }
    }
    if (message->used != SIM_NONE) {
        set_state(&oracle_rights[message->used], RIGHT_HELD);
        message->used = SIM_NONE;
    }
}

bool rights_are_shaky(const struct oracle_message *message)
{
    bool any = message->by != SIM_NONE && right_is_shaky(&oracle_rights[message->by]);

    for (uint32_t i = 0; i < message->right_count; i++) {
        any |=
            message->rights[i] < SIM_FOREIGN && right_is_shaky(&oracle_rights[message->rights[i]]);
    }
    return any;
}

/* --- Deaths
 * --------------------------------------------------------------------------------------- */

void rights_life_ended(uint32_t life)
{
    for (uint32_t i = 0; i < oracle_right_count; i++) {
        struct oracle_right *right = &oracle_rights[i];

        if (right->giver == life) {
            right->is_shaky = true;
        }
        if (right->life == life && right->state != RIGHT_ENDED) {
            right->is_shaky |= right->state != RIGHT_HELD; /* it may arrive yet */
            set_state(right, RIGHT_ENDED);
        }
    }
    for (uint32_t i = 0; i < oracle_request_count; i++) {
        oracle_requests[i].is_over |= oracle_requests[i].life == life;
    }
}

void rights_told_dead(uint32_t node, uint32_t life)
{
    for (uint32_t i = 0; i < oracle_right_count; i++) {
        struct oracle_right *right = &oracle_rights[i];

        if (right->life == life || right->giver == life ||
            (right->life == sim_nodes[node].life &&
             life_is_among(oracle_ports[right->port].homes, life))) {
            right->is_shaky = true;
        }
    }
}

/* --- Arrival
 * -------------------------------------------------------------------------------------- */

/* Was the port at the node, and went on? What its next home had sent there before is lost. */
static bool has_left(const struct oracle_port *port, uint32_t node)
{
    uint32_t life = sim_nodes[node].life;

    return port->life != life && life_is_among(port->homes, life);
}

/* Its port's home itself sent it, and has the port since: whatever became of lives that the port was at
 * before, it leads there. */
static bool is_from_home(const struct oracle_right *right, uint32_t node)
{
    const struct oracle_port *port = &oracle_ports[right->port];

    return right->giver == port->life && right->moves == port->moves && !port->is_dead &&
           !life_is_over(port->life) && !sim_nodes[node].told_dead[port->life];
}

void oracle_right_arrived(uint32_t node, uint32_t right, const struct port *port,
                          enum port_disposition kind)
{
    struct oracle_port *of;

    if (right == SIM_NONE) {
        return;
    }
    sim_exercised(14);
    if (right == SIM_FOREIGN) {
        if (port != NULL) {
            sim_violated(14, "node %u was given a right where there was none", sim_nodes[node].id);
        }
        return;
    }
    of = &oracle_ports[oracle_rights[right].port];
    if (port == NULL) {
        if ((!oracle_port_may_be_dead(oracle_rights[right].port, node) ||
             is_from_home(&oracle_rights[right], node)) &&
            oracle_right_is_firm(right) && !has_left(of, node)) {
            sim_violated(14, "a right to port %u was lost on its way to node %u",
                         oracle_rights[right].port, sim_nodes[node].id);
        }
        if (oracle_rights[right].kind == PORT_RECEIVE && !of->is_dead) {
            port_lost(oracle_rights[right].port);
        }
        set_state(&oracle_rights[right], RIGHT_ENDED);
        return;
    }
    if (kind != (enum port_disposition)oracle_rights[right].kind) {
        sim_violated(14, "a right to port %u came as one of kind %u", oracle_rights[right].port,
                     (unsigned)kind);
    }
    if (kind == PORT_RECEIVE) {
        of->port = of->is_dead || node_is_agent(node) ? NULL : (struct port *)(uintptr_t)port;
        set_state(&oracle_rights[right], RIGHT_ENDED); /* the port's own account goes on */
    } else if (of->port != NULL && !of->is_dead && !life_is_over(of->life) &&
               oracle_right_is_firm(right) && port != of->port && port->name != of->port->name) {
        sim_violated(14, "a right to port %u, %llx, leads to %llx", oracle_rights[right].port,
                     (unsigned long long)of->port->name, (unsigned long long)port->name);
    }
}
