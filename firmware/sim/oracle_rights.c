/* SPDX-License-Identifier: MIT
 *
 * The account of every right, and of every notification that was asked for. I14: a right that was
 * sent is there, leads where it led, and is one; homes know who holds. I15: notifications are told
 * when they are true, once, and when all is quiet every one of them was told.
 *
 * The world knows of the end of a right an instant before or after its node does: what is said to be
 * wrong is wrong either way.
 */
#include "arch/sim/fiber.h"
#include "core/node.h"
#include "core/notify.h"
#include "core/port.h"
#include "oracle.h"

#define RIGHTS_MAXIMUM 8192u
#define REQUESTS_MAXIMUM 1024u

enum right_state {
    RIGHT_HELD,    /* a program has it */
    RIGHT_CARRIED, /* a message has it */
    RIGHT_USED,    /* a send-once right: a message was sent with it */
    RIGHT_ENDED,
};

struct oracle_right {
    uint32_t port;
    uint32_t life;  /* that has it, or sent it */
    uint32_t giver; /* life that it came from; SIM_NONE: it was made where it is */
    uint8_t kind;   /* enum port_disposition */
    uint8_t state;  /* enum right_state */
    bool is_shaky;
    bool is_late;    /* its holder had been told that its port's life is dead */
    bool is_by_name; /* got by a name, or comes from such a one: its home does not know of it */
};

struct oracle_request {
    uint32_t port;
    uint32_t notify;
    uint32_t life;  /* that asked */
    uint32_t moves; /* of the port, then */
    uint64_t name;
    bool is_for_dead; /* else for no senders */
    bool was_true;    /* at some time since: nobody had a send right */
    bool is_over;     /* it was told, or refused */
    bool may_lapse;   /* nobody has to tell it any more: its proxy may be gone */
};

static struct oracle_right rights[RIGHTS_MAXIMUM];
static uint32_t right_count;
static struct oracle_request requests[REQUESTS_MAXIMUM];
static uint32_t request_count;
static bool is_partial; /* not every right is in the books */

void rights_open(void)
{
    right_count = 0;
    request_count = 0;
    is_partial = false;
}

/* --- Senders
 * -------------------------------------------------------------------------------------- */

static uint32_t held_by(uint32_t port, uint32_t life)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < right_count; i++) {
        count += rights[i].port == port && rights[i].life == life && rights[i].state == RIGHT_HELD;
    }
    return count;
}

static bool is_shaky(const struct oracle_right *right)
{
    return right->is_shaky || life_is_misled(&oracle_ports[right->port], right->life);
}

/* Does its home know of it, when all is quiet? */
static bool is_counted(const struct oracle_right *right)
{
    return right->state == RIGHT_HELD && !is_shaky(right) &&
           (!right->is_by_name || right->giver != SIM_NONE);
}

static uint32_t counted_by(uint32_t port, uint32_t life)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < right_count; i++) {
        count += rights[i].port == port && rights[i].life == life && is_counted(&rights[i]);
    }
    return count;
}

static bool has_requests(uint32_t port)
{
    for (uint32_t i = 0; i < request_count; i++) {
        if (requests[i].port == port && !requests[i].is_over) {
            return true;
        }
    }
    return false;
}

/* A request ends with the proxy that it was made of; without senders, no-senders is true. */
static void review_requests(uint32_t port)
{
    for (uint32_t i = 0; i < request_count; i++) {
        struct oracle_request *request = &requests[i];

        if (request->port != port || request->is_over) {
            continue;
        }
        if (oracle_ports[port].senders + oracle_ports[port].users == 0) {
            request->was_true = true;
        }
        if (request->is_for_dead && !oracle_ports[port].is_dead &&
            oracle_ports[port].life != request->life && held_by(port, request->life) == 0) {
            request->may_lapse = true;
        }
    }
}

static void fewer_senders(uint32_t port)
{
    if (request_count != 0 && has_requests(port)) {
        review_requests(port);
    }
}

static bool is_send(const struct oracle_right *right)
{
    return right->kind == PORT_SEND &&
           (right->state == RIGHT_HELD || right->state == RIGHT_CARRIED);
}

static void set_state(struct oracle_right *right, enum right_state state)
{
    struct oracle_port *port = &oracle_ports[right->port];
    bool was_send = is_send(right) && !right->is_by_name;

    right->state = (uint8_t)state;
    if (was_send && !is_send(right)) {
        port->senders--;
    } else if (!was_send && is_send(right) && !right->is_by_name) {
        port->senders++;
    }
    fewer_senders(right->port);
}

void oracle_port_used(uint32_t port, int change)
{
    oracle_ports[port].users += (uint32_t)change;
    if (change < 0) {
        fewer_senders(port);
    }
}

/* --- Rights
 * --------------------------------------------------------------------------------------- */

uint32_t oracle_right(uint32_t life, uint32_t port, enum port_disposition kind, uint32_t of)
{
    struct oracle_right *right = &rights[right_count];

    if (life_is_suspect(life) || port == SIM_NONE || port == SIM_FOREIGN) {
        return SIM_NONE;
    }
    if (right_count == RIGHTS_MAXIMUM) {
        is_partial = true;
        return SIM_NONE;
    }
    *right = (struct oracle_right){
        .port = port, .life = life, .giver = SIM_NONE, .kind = (uint8_t)kind, .state = RIGHT_ENDED};
    if (of != SIM_NONE) {
        right->giver = rights[of].giver;
        right->is_shaky = is_shaky(&rights[of]);
        right->is_late = rights[of].is_late;
        right->is_by_name = rights[of].is_by_name;
    }
    set_state(right, RIGHT_HELD);
    return right_count++;
}

uint32_t oracle_right_by_name(uint32_t life, uint32_t port)
{
    uint32_t right = oracle_right(life, port, PORT_SEND, SIM_NONE);

    if (right != SIM_NONE && (oracle_ports[port].life != life || oracle_ports[port].is_dead)) {
        set_state(&rights[right], RIGHT_ENDED);
        rights[right].is_by_name = true;
        set_state(&rights[right], RIGHT_HELD);
        life_add(oracle_ports[port].guessers, life);
    }
    return right;
}

void oracle_right_ended(uint32_t right)
{
    if (right < SIM_FOREIGN) {
        set_state(&rights[right], RIGHT_ENDED);
    }
}

void oracle_right_unmade(uint32_t right)
{
    oracle_right_ended(right);
    if (right < SIM_FOREIGN) {
        rights[right].kind = PORT_NONE;
    }
}

uint32_t oracle_right_port(uint32_t right)
{
    return right < SIM_FOREIGN ? rights[right].port : SIM_NONE;
}

bool oracle_right_is_firm(uint32_t right)
{
    return right != SIM_NONE && !is_shaky(&rights[right]) && !oracle_memory_was_short &&
           !oracle_port_is_foreign(rights[right].port);
}

bool oracle_right_is_late(uint32_t right)
{
    return right < SIM_FOREIGN && rights[right].is_late;
}

/* --- Messages with rights
 * ------------------------------------------------------------------------- */

static bool has_suspects(void)
{
    for (uint32_t i = 0; i < sim.settings->node_count; i++) {
        if (sim_nodes[i].is_suspect) {
            return true;
        }
    }
    return false;
}

static void carry(uint32_t message, uint32_t right)
{
    uint32_t to = oracle_messages[message].port;

    if (right < SIM_FOREIGN) {
        oracle_ports[rights[right].port].is_exposed |=
            to == SIM_NONE || oracle_port_is_foreign(to) || oracle_messages[message].is_diverted;
        set_state(&rights[right], RIGHT_CARRIED);
        if (rights[right].kind == PORT_RECEIVE) {
            oracle_ports[rights[right].port].moves++;
            oracle_ports[rights[right].port].port = NULL;
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
    if (right < SIM_FOREIGN && rights[right].kind == PORT_SEND_ONCE) {
        oracle_messages[message].used = right;
        set_state(&rights[right], RIGHT_USED);
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
    return right < SIM_FOREIGN ? (enum port_disposition)rights[right].kind : PORT_NONE;
}

static void check_once(uint32_t port);

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

    if (!port->is_dead) {
        port->life = life;
        port->port = NULL;
        port->is_astray = false;
        life_add(port->homes, life);
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
        right = &rights[message->rights[i]];
        right->is_shaky = is_shaky(right);
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
            check_once(right->port);
        }
        right->is_shaky |= life_is_suspect(life);
    }
    if (message->used != SIM_NONE) {
        oracle_ports[rights[message->used].port].once_arrived++;
        check_once(rights[message->used].port);
    }
}

/* Its core may have been given the message, or its forger has made up that it was: from then on a
 * suspect speaks for the ports in it, until somebody honest receives them. */
void rights_astray(const struct oracle_message *message)
{
    for (uint32_t i = 0; i < message->right_count; i++) {
        if (message->rights[i] < SIM_FOREIGN && rights[message->rights[i]].kind == PORT_RECEIVE) {
            oracle_ports[rights[message->rights[i]].port].is_astray = true;
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
        right = &rights[message->rights[i]];
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
        rights[message->used].is_shaky |= !is_certain || oracle_ports[message->port].moves != 0;
        set_state(&rights[message->used], RIGHT_ENDED);
    }
}

/* Moved rights are the sender's again, who finds them in the message; so are the made ones. */
void rights_unsent(struct oracle_message *message)
{
    for (uint32_t i = 0; i < message->right_count; i++) {
        if (message->rights[i] < SIM_FOREIGN) {
            struct oracle_right *right = &rights[message->rights[i]];

            set_state(right, RIGHT_HELD);
            if (right->kind == PORT_RECEIVE) {
                oracle_ports[right->port].moves--;
            }
        }
    }
    if (message->used != SIM_NONE) {
        set_state(&rights[message->used], RIGHT_HELD);
        message->used = SIM_NONE;
    }
}

bool rights_are_shaky(const struct oracle_message *message)
{
    bool any = message->by != SIM_NONE && is_shaky(&rights[message->by]);

    for (uint32_t i = 0; i < message->right_count; i++) {
        any |= message->rights[i] < SIM_FOREIGN && is_shaky(&rights[message->rights[i]]);
    }
    return any;
}

/* --- Deaths
 * --------------------------------------------------------------------------------------- */

void rights_life_ended(uint32_t life)
{
    for (uint32_t i = 0; i < right_count; i++) {
        struct oracle_right *right = &rights[i];

        if (right->giver == life) {
            right->is_shaky = true;
        }
        if (right->life == life && right->state != RIGHT_ENDED) {
            right->is_shaky |= right->state != RIGHT_HELD; /* it may arrive yet */
            set_state(right, RIGHT_ENDED);
        }
    }
    for (uint32_t i = 0; i < request_count; i++) {
        requests[i].is_over |= requests[i].life == life;
    }
}

void rights_told_dead(uint32_t node, uint32_t life)
{
    for (uint32_t i = 0; i < right_count; i++) {
        struct oracle_right *right = &rights[i];

        if (right->life == life || right->giver == life ||
            (right->life == sim_nodes[node].life &&
             life_is_among(oracle_ports[right->port].homes, life))) {
            right->is_shaky = true;
        }
    }
}

/* --- Arrival
 * -------------------------------------------------------------------------------------- */

static uint64_t name_of(const struct port *port)
{
    return port->name; /* not port_name(): that would give it one for good */
}

/* Was the port at the node, and went on? What its next home had sent there before is lost. */
static bool has_left(const struct oracle_port *port, uint32_t node)
{
    uint32_t life = sim_nodes[node].life;

    return port->life != life && life_is_among(port->homes, life);
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
    of = &oracle_ports[rights[right].port];
    if (port == NULL) {
        if (!oracle_port_may_be_dead(rights[right].port, node) && oracle_right_is_firm(right) &&
            !has_left(of, node)) {
            sim_violated(14, "a right to port %u was lost on its way to node %u",
                         rights[right].port, sim_nodes[node].id);
        }
        if (rights[right].kind == PORT_RECEIVE && !of->is_dead) {
            port_lost(rights[right].port);
        }
        set_state(&rights[right], RIGHT_ENDED);
        return;
    }
    if (kind != (enum port_disposition)rights[right].kind) {
        sim_violated(14, "a right to port %u came as one of kind %u", rights[right].port,
                     (unsigned)kind);
    }
    if (kind == PORT_RECEIVE) {
        of->port = of->is_dead || node_is_agent(node) ? NULL : (struct port *)(uintptr_t)port;
        set_state(&rights[right], RIGHT_ENDED); /* the port's own account goes on */
    } else if (of->port != NULL && !of->is_dead && !life_is_over(of->life) &&
               oracle_right_is_firm(right) && port != of->port &&
               name_of(port) != name_of(of->port)) {
        sim_violated(14, "a right to port %u, %llx, leads to %llx", rights[right].port,
                     (unsigned long long)name_of(of->port), (unsigned long long)name_of(port));
    }
}

/* --- Send-once rights
 * ----------------------------------------------------------------------------- */

struct once_count {
    uint32_t made;
    uint32_t shaky;
    uint32_t firm; /* held by somebody who lives */
};

static struct once_count count_once(uint32_t port)
{
    struct once_count count = {0};

    for (uint32_t i = 0; i < right_count; i++) {
        const struct oracle_right *right = &rights[i];

        if (right->port != port || right->kind != PORT_SEND_ONCE) {
            continue;
        }
        count.made++;
        if (is_shaky(right)) {
            count.shaky++;
        } else if (right->state == RIGHT_HELD) {
            count.firm++;
        }
    }
    return count;
}

/* Each ends once: in a message, or by being told dead. */
static void check_once(uint32_t port)
{
    const struct oracle_port *of = &oracle_ports[port];
    struct once_count count;

    if (is_partial || oracle_memory_was_short || oracle_port_is_foreign(port) ||
        (of->is_exposed && has_suspects())) {
        return;
    }
    sim_exercised(15);
    count = count_once(port);
    if (of->once_told + of->once_arrived + count.firm > count.made + count.shaky) {
        sim_violated(15,
                     "port %u: %u send-once rights were made; %u are held, %u were used and %u "
                     "were told dead",
                     port, count.made, count.firm, of->once_arrived, of->once_told);
    }
}

/* --- Notifications
 * -------------------------------------------------------------------------------- */

uint32_t oracle_asked(uint32_t life, uint32_t port, uint32_t notify, const struct port *of,
                      uint32_t right)
{
    bool is_by_name = right < SIM_FOREIGN && rights[right].is_by_name;

    if (request_count == REQUESTS_MAXIMUM || life_is_suspect(life)) {
        return SIM_NONE;
    }
    requests[request_count] = (struct oracle_request){
        .port = port,
        .notify = notify,
        .life = life,
        .moves = oracle_ports[port].moves,
        .name = name_of(of),
        .is_for_dead = right != SIM_FOREIGN,
        .may_lapse = is_by_name, /* whoever is on no account is not told */
        .was_true = oracle_ports[port].senders + oracle_ports[port].users == 0};
    return request_count++;
}

void oracle_not_asked(uint32_t request)
{
    if (request != SIM_NONE) {
        requests[request].is_over = true;
    }
}

static bool is_true(const struct oracle_request *request)
{
    return request->is_for_dead
               ? oracle_port_may_be_dead(request->port, sim_lives[request->life].node)
               : request->was_true;
}

static bool has_name(const struct oracle_request *request, uint64_t name)
{
    const struct port *port = oracle_ports[request->port].port;

    return request->name == name || request->name == 0 || (port != NULL && name_of(port) == name);
}

/* The one that a notification answers. Of ports without a name it may be any: one of which it is true,
 * if there is one. */
static struct oracle_request *find_request(uint32_t notify, bool is_for_dead, uint64_t name)
{
    struct oracle_request *found = NULL;

    for (uint32_t i = 0; i < request_count; i++) {
        struct oracle_request *request = &requests[i];

        if (request->is_over || request->notify != notify || request->is_for_dead != is_for_dead ||
            !has_name(request, name)) {
            continue;
        }
        if (found == NULL || (is_true(request) && (!is_true(found) || request->name == name))) {
            found = request;
        }
    }
    return found;
}

/* Rights that nobody was ever entitled to forget. */
static bool has_firm_senders(uint32_t port)
{
    for (uint32_t i = 0; i < right_count; i++) {
        const struct oracle_right *right = &rights[i];

        if (right->port == port && right->kind == PORT_SEND && right->state == RIGHT_HELD &&
            !is_shaky(right) && !right->is_by_name) {
            return true;
        }
    }
    return false;
}

static void check_told(const struct oracle_request *request, uint32_t node)
{
    if (oracle_memory_was_short || is_partial || oracle_port_is_foreign(request->port)) {
        return;
    }
    if (request->is_for_dead) {
        if (!oracle_port_may_be_dead(request->port, sim_lives[request->life].node)) {
            sim_violated(15, "node %u was told that port %u is dead; it lives", sim_nodes[node].id,
                         request->port);
        }
    } else if (!request->was_true && has_firm_senders(request->port)) {
        sim_violated(15, "node %u was told that nobody can send to port %u", sim_nodes[node].id,
                     request->port);
    }
}

void oracle_told(uint32_t node, uint32_t notify, uint32_t id, uint64_t name)
{
    struct oracle_request *request;

    if (notify == SIM_NONE || sim_nodes[node].is_suspect) {
        return;
    }
    sim_exercised(15);
    if (id == NOTIFY_SEND_ONCE) {
        oracle_ports[notify].once_told++;
        check_once(notify);
        return;
    }
    request = find_request(notify, id == NOTIFY_DEAD_NAME, name);
    if (request == NULL) {
        if (!is_partial && !oracle_port_is_foreign(notify)) {
            sim_violated(15, "node %u was told %u of %llx, which nobody asked, or twice",
                         sim_nodes[node].id, id, (unsigned long long)name);
        }
        return;
    }
    request->is_over = true;
    check_told(request, node);
}

/* --- When all is quiet
 * ---------------------------------------------------------------------------- */

/* Ports about which nobody can be wrong: they and all that they ever were at live. */
static bool is_judged(uint32_t port)
{
    const struct oracle_port *of = &oracle_ports[port];

    return !of->is_dead && of->port != NULL && !life_is_over(of->life) &&
           !oracle_port_is_foreign(port) &&
           !oracle_port_may_be_dead(port, sim_lives[of->life].node);
}

/* A node gives its send rights back with its last right of any kind to the port. */
static bool keeps_senders(const struct oracle_right *right)
{
    return right->kind == PORT_SEND_ONCE && right->state == RIGHT_HELD &&
           right->life != oracle_ports[right->port].life;
}

struct holders {
    uint32_t any;  /* who may have send rights in the world */
    uint32_t firm; /* of them, those that the home must know of */
};

static struct holders count_holders(uint32_t port)
{
    struct holders holders = {.any = oracle_ports[port].users};

    holders.firm = holders.any;
    for (uint32_t i = 0; i < request_count && oracle_ports[port].moves != 0; i++) {
        holders.any += requests[i].notify == port && !requests[i].is_over; /* a former home's */
    }
    for (uint32_t i = 0; i < right_count; i++) {
        const struct oracle_right *right = &rights[i];

        if (right->port == port && (is_send(right) || keeps_senders(right))) {
            holders.any++;
            holders.firm += is_send(right) && is_counted(right);
        }
    }
    return holders;
}

/* Somebody cannot follow it to where it moved, and what that one had stays on an account. */
static bool has_lost_holders(const struct oracle_port *port)
{
    uint64_t any = 0;

    for (uint32_t i = 0; i < LIFE_WORDS; i++) {
        any |= port->guessers[i];
    }
    return port->moves != 0 && any != 0;
}

/* What is wrong with a port; null: nothing. */
static const char *fault_of_port(uint32_t port)
{
    const struct port *of = oracle_ports[port].port;
    struct holders holders = count_holders(port);
    struct once_count once = count_once(port);
    bool has_senders = of->given.send != 0 || of->references != of->holds + of->once;
    uint32_t has_once = of->once + of->given.once;
    uint32_t ended = oracle_ports[port].once_told + oracle_ports[port].once_arrived;

    if (holders.firm != 0 && !has_senders) {
        return "its home knows of no sender, and there are";
    }
    if (holders.any == 0 && has_senders && !has_lost_holders(&oracle_ports[port])) {
        return "its home takes somebody for a sender";
    }
    if (has_once < once.firm || has_once > once.firm + once.shaky) {
        return "its home counts other send-once rights than there are";
    }
    if (ended + once.firm + once.shaky < once.made) {
        return "a send-once right ended without a word";
    }
    return NULL;
}

static const char *fault_of_request(const struct oracle_request *request)
{
    const struct oracle_port *port = &oracle_ports[request->port];

    if (request->is_over || request->may_lapse || life_is_over(request->life) ||
        !is_judged(request->notify)) {
        return NULL;
    }
    if (request->is_for_dead) {
        return port->is_dead && counted_by(request->port, request->life) != 0
                   ? "nobody was told that it is dead"
                   : NULL;
    }
    if (!is_judged(request->port) || port->moves != request->moves || !request->was_true ||
        count_holders(request->port).any != 0) {
        return NULL;
    }
    return "nobody was told that it has no senders";
}

/* Calls `found` for the first fault; true: there is none. */
static bool judge(void (*found)(uint32_t port, const char *what))
{
    for (uint32_t i = 0; i < oracle_port_count; i++) {
        const char *what = is_judged(i) ? fault_of_port(i) : NULL;

        if (what != NULL) {
            found(i, what);
            return false;
        }
    }
    for (uint32_t i = 0; i < request_count; i++) {
        const char *what = fault_of_request(&requests[i]);

        if (what != NULL) {
            found(requests[i].port, what);
            return false;
        }
    }
    return true;
}

static bool are_judged(void)
{
    return !is_partial && !oracle_memory_was_short && !has_suspects();
}

static void ignore(uint32_t port, const char *what)
{
    (void)port;
    (void)what;
}

static void report(uint32_t port, const char *what)
{
    sim_violated(14, "port %u, %llx at node %u: %s", port,
                 (unsigned long long)oracle_ports[port].name,
                 sim_nodes[sim_lives[oracle_ports[port].life].node].id, what);
}

bool oracle_rights_are_right(void)
{
    return !are_judged() || judge(ignore);
}

bool oracle_rights_come_back(void)
{
    for (uint32_t i = 0; i < oracle_port_count; i++) {
        if (has_lost_holders(&oracle_ports[i])) {
            return false;
        }
    }
    return are_judged();
}

void oracle_check_rights(void)
{
    if (are_judged() && right_count != 0) {
        sim_exercised(14);
        (void)judge(report);
    }
}
