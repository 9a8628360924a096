/* SPDX-License-Identifier: MIT
 *
 * When all is quiet: homes and holders agree (I14), and every notification that is due was told (I15).
 */
#include "core/port.h"
#include "oracle.h"

/* Does its home know of it, when all is quiet? */
static bool is_counted(const struct oracle_right *right)
{
    return right->state == RIGHT_HELD && !right_is_shaky(right) &&
           (!right->is_by_name || right->giver != SIM_NONE);
}

static uint32_t counted_by(uint32_t port, uint32_t life)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < oracle_right_count; i++) {
        count += oracle_rights[i].port == port && oracle_rights[i].life == life &&
                 is_counted(&oracle_rights[i]);
    }
    return count;
}

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
    for (uint32_t i = 0; i < oracle_request_count && oracle_ports[port].moves != 0; i++) {
        holders.any +=
            oracle_requests[i].notify == port && !oracle_requests[i].is_over; /* a former home's */
    }
    for (uint32_t i = 0; i < oracle_right_count; i++) {
        const struct oracle_right *right = &oracle_rights[i];

        if (right->port == port && (right_is_send(right) || keeps_senders(right))) {
            holders.any++;
            holders.firm += right_is_send(right) && is_counted(right);
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
    struct once_count once = rights_count_once(port);
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
    for (uint32_t i = 0; i < oracle_request_count; i++) {
        const char *what = fault_of_request(&oracle_requests[i]);

        if (what != NULL) {
            found(oracle_requests[i].port, what);
            return false;
        }
    }
    return true;
}

static bool are_judged(void)
{
    return !oracle_is_partial && !oracle_memory_was_short && !nodes_have_suspects();
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
    if (are_judged() && oracle_right_count != 0) {
        sim_exercised(14);
        (void)judge(report);
    }
}
