/* SPDX-License-Identifier: MIT
 *
 * The account of every notification. I15: they are told when they are true, and once; a send-once
 * right ends in a message or in one. oracle_quiet.c looks whether all that are due were told.
 */
#include "core/notify.h"
#include "core/port.h"
#include "oracle.h"

struct oracle_request oracle_requests[REQUESTS_MAXIMUM];
uint32_t oracle_request_count;

void requests_open(void)
{
    oracle_request_count = 0;
}

static uint32_t held_by(uint32_t port, uint32_t life)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < oracle_right_count; i++) {
        count += oracle_rights[i].port == port && oracle_rights[i].life == life &&
                 oracle_rights[i].state == RIGHT_HELD;
    }
    return count;
}

/* Somebody has a send right, or a message brings one, of which the home has to know. */
static bool has_sure_senders(uint32_t port)
{
    for (uint32_t i = 0; oracle_ports[port].senders != 0 && i < oracle_right_count; i++) {
        const struct oracle_right *right = &oracle_rights[i];

        if (right->port == port && right_is_send(right) && !right->is_by_name &&
            !right_is_shaky(right)) {
            return true;
        }
    }
    return false;
}

/* A request ends with the proxy that it was made of; without senders, no-senders is true. */
void requests_review(uint32_t port)
{
    for (uint32_t i = 0; i < oracle_request_count; i++) {
        struct oracle_request *request = &oracle_requests[i];

        if (request->port != port || request->is_over) {
            continue;
        }
        if (oracle_ports[port].users == 0 && !has_sure_senders(port)) {
            request->was_true = true;
        }
        if (request->is_for_dead && !oracle_ports[port].is_dead &&
            oracle_ports[port].life != request->life && held_by(port, request->life) == 0) {
            request->may_lapse = true;
        }
    }
}

/* --- Send-once rights
 * ----------------------------------------------------------------------------- */

struct once_count rights_count_once(uint32_t port)
{
    struct once_count count = {0};

    for (uint32_t i = 0; i < oracle_right_count; i++) {
        const struct oracle_right *right = &oracle_rights[i];

        if (right->port != port || right->kind != PORT_SEND_ONCE) {
            continue;
        }
        count.made++;
        if (right_is_shaky(right)) {
            count.shaky++;
        } else if (right->state == RIGHT_HELD) {
            count.firm++;
        }
    }
    return count;
}

void rights_check_once(uint32_t port)
{
    const struct oracle_port *of = &oracle_ports[port];
    struct once_count count;

    if (oracle_is_partial || oracle_memory_was_short || oracle_port_is_foreign(port) ||
        (of->is_exposed && nodes_have_suspects())) {
        return;
    }
    sim_exercised(15);
    count = rights_count_once(port);
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
    bool is_by_name = right < SIM_FOREIGN && oracle_rights[right].is_by_name;

    if (oracle_request_count == REQUESTS_MAXIMUM || life_is_suspect(life)) {
        return SIM_NONE;
    }
    oracle_requests[oracle_request_count] = (struct oracle_request){
        .port = port,
        .notify = notify,
        .life = life,
        .moves = oracle_ports[port].moves,
        .name = of->name, /* not port_name(): that would give it one for good */
        .is_for_dead = right != SIM_FOREIGN,
        .may_lapse = is_by_name, /* whoever is on no account is not told */
        .was_true = oracle_ports[port].senders + oracle_ports[port].users == 0};
    return oracle_request_count++;
}

void oracle_not_asked(uint32_t request)
{
    if (request != SIM_NONE) {
        oracle_requests[request].is_over = true;
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

    return request->name == name || request->name == 0 || (port != NULL && port->name == name);
}

/* Once; what was told in a life that is over may still be in the queue of a port that moved. */
static bool may_be_told(const struct oracle_request *request)
{
    return !request->is_told && (!request->is_over || life_is_over(request->life));
}

/* The one that a notification answers. Of ports without a name it may be any: one of which it is true,
 * if there is one. */
static struct oracle_request *find_request(uint32_t notify, bool is_for_dead, uint64_t name)
{
    struct oracle_request *found = NULL;

    for (uint32_t i = 0; i < oracle_request_count; i++) {
        struct oracle_request *request = &oracle_requests[i];

        if (!may_be_told(request) || request->notify != notify ||
            request->is_for_dead != is_for_dead || !has_name(request, name)) {
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
    for (uint32_t i = 0; i < oracle_right_count; i++) {
        const struct oracle_right *right = &oracle_rights[i];

        if (right->port == port && right->kind == PORT_SEND && right->state == RIGHT_HELD &&
            !right_is_shaky(right) && !right->is_by_name) {
            return true;
        }
    }
    return false;
}

static void check_told(const struct oracle_request *request, uint32_t node)
{
    if (oracle_memory_was_short || oracle_is_partial || oracle_port_is_foreign(request->port)) {
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
        rights_check_once(notify);
        return;
    }
    request = find_request(notify, id == NOTIFY_DEAD_NAME, name);
    if (request == NULL) {
        if (!oracle_is_partial && !oracle_port_is_foreign(notify)) {
            sim_violated(15, "node %u was told %u of %llx, which nobody asked, or twice",
                         sim_nodes[node].id, id, (unsigned long long)name);
        }
        return;
    }
    request->is_over = request->is_told = true;
    check_told(request, node);
}
