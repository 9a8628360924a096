/* SPDX-License-Identifier: MIT
 *
 * The operations of the programs on what is in their slots. Each means something whatever came before
 * it: what is not there is made or passed over, so any part of a schedule is a schedule.
 */
#include "core/kmsg.h"
#include "core/port.h"
#include "program.h"

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

void program_drop_port(struct program_port *slot)
{
    if (!slot_is_live(slot->state)) {
        return;
    }
    slot->state = slot->users == 0 ? SLOT_EMPTY : SLOT_DYING;
    program_unmake_port(slot->port, slot->id);
}

void program_end_right(const struct program_right *slot)
{
    oracle_right_ended(slot->right);
    port_release_right(slot->port, slot->kind);
}

void program_leave_right(struct program_right *slot)
{
    if (--slot->users == 0 && slot->state == SLOT_DYING) {
        slot->state = SLOT_EMPTY;
        program_end_right(slot);
    }
}

void program_drop_right(struct program_right *slot)
{
    if (slot_is_live(slot->state)) {
        slot->state = SLOT_DYING;
        slot->users++;
        program_leave_right(slot);
    }
}

bool program_lift_right(struct program_right *slot, struct program_right *lifted)
{
    if (!slot_is_live(slot->state) || slot->users != 0) {
        return false;
    }
    *lifted = *slot;
    slot->state = SLOT_EMPTY;
    return true;
}

/* A set may be destroyed under those who wait in it, not under those who are about to enter. */
void program_drop_set(struct program_set *slot)
{
    struct port_set *set = slot->set;

    if (slot_is_live(slot->state) && slot->users == set->receivers_waiting) {
        slot->state = slot->users == 0 ? SLOT_EMPTY : SLOT_DYING;
        port_set_destroy(set);
    }
}

void program_leave_set(struct program_set *slot)
{
    if (--slot->users == 0 && slot->state == SLOT_DYING) {
        slot->state = SLOT_EMPTY;
    }
}

struct port *program_make_port(struct program *program, uint32_t *id)
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

void program_unmake_port(struct port *port, uint32_t id)
{
    oracle_port_died(id);
    port_destroy(port);
    oracle_port_gone(id);
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
    port = program_make_port(program, &id);
    if (port == NULL) {
        return;
    }
    port_set_limit(port, 1 + entry->arguments[1] % 16u);
    program_mark_port(port, id);
    if (entry->arguments[2] % 2u == 0) {
        oracle_port_named(id, port_name(port));
    }
    if (slot->state != SLOT_EMPTY) { /* somebody else was first */
        program_unmake_port(port, id);
        return;
    }
    *slot = (struct program_port){.port = port, .id = id, .state = SLOT_LIVE};
}

static void operate_port_limit(struct program *program, const struct sim_entry *entry)
{
    struct program_port *slot = &program->ports[entry->arguments[0] % PROGRAM_PORTS];

    if (slot_is_live(slot->state)) {
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
    was_dead = program_knows_dead(program, id);
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

    if (!slot_is_live(set->state) || !slot_is_live(port->state)) {
        return;
    }
    set->users++;
    program_enter_port(port);
    (void)port_set_insert(set->set, port->port); /* a port that is in a set already stays there */
    program_leave_port(port);
    program_leave_set(set);
}

static void operate_set_remove(struct program *program, const struct sim_entry *entry)
{
    struct program_port *port = &program->ports[entry->arguments[0] % PROGRAM_PORTS];

    if (slot_is_live(port->state)) {
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
        program_drop_port(&program->ports[slot % PROGRAM_PORTS]);
        break;
    case SIM_OP_PORT_LIMIT:
        operate_port_limit(program, entry);
        break;
    case SIM_OP_RIGHT_GET:
        operate_right_get(program, entry);
        break;
    case SIM_OP_RIGHT_DROP:
        program_drop_right(&program->rights[slot % PROGRAM_RIGHTS]);
        break;
    case SIM_OP_SET_CREATE:
        operate_set_create(program, entry);
        break;
    case SIM_OP_SET_DESTROY:
        program_drop_set(&program->sets[slot % PROGRAM_SETS]);
        break;
    case SIM_OP_SET_INSERT:
        operate_set_insert(program, entry);
        break;
    case SIM_OP_SET_REMOVE:
        operate_set_remove(program, entry);
        break;
    case SIM_OP_RECEIVE:
    case SIM_OP_SET_RECEIVE:
    case SIM_OP_FORWARD:
    case SIM_OP_CALL:
        program_perform_receive(program, entry);
        break;
    default:
        program_perform_rights(program, entry);
        break;
    }
}
