/* SPDX-License-Identifier: MIT
 *
 * Rights into messages and out of them. What a program gives it lifts out of its slot before it does
 * anything that may wait, so nobody gives it twice; what comes is kept where a slot is free.
 */
#include "core/kmsg.h"
#include "core/notify.h"
#include "core/port.h"
#include "program.h"

/* --- Slots
 * ---------------------------------------------------------------------------------------- */

static void end_kept(struct port *port, enum port_disposition kind, uint32_t right, uint32_t id)
{
    if (kind == PORT_RECEIVE && id != SIM_NONE) {
        oracle_port_died(id);
    }
    oracle_right_ended(right);
    port_release_right(port, kind);
    if (kind == PORT_RECEIVE && id != SIM_NONE) {
        oracle_port_gone(id);
    }
}

void program_mark_port(struct port *port, uint32_t id)
{
    port_set_context(port, (void *)(uintptr_t)(id + 1u));
}

static bool keep_port(struct program *program, struct port *port, uint32_t id)
{
    program_mark_port(port, id);
    for (uint32_t i = 0; i < PROGRAM_PORTS; i++) {
        if (program->ports[i].state == SLOT_EMPTY) {
            program->ports[i] = (struct program_port){.port = port, .id = id, .state = SLOT_LIVE};
            return true;
        }
    }
    return false;
}

static bool keep_right(struct program *program, const struct program_right *right)
{
    for (uint32_t i = 0; i < PROGRAM_RIGHTS; i++) {
        if (program->rights[i].state == SLOT_EMPTY) {
            program->rights[i] = *right;
            return true;
        }
    }
    return false;
}

void program_keep(struct program *program, struct port *port, enum port_disposition kind,
                  uint32_t right, uint32_t id)
{
    struct program_right kept = {
        .port = port, .id = id, .right = right, .kind = kind, .state = SLOT_LIVE};
    bool has_place =
        id != SIM_NONE && !sim.is_closing &&
        (kind == PORT_RECEIVE ? keep_port(program, port, id) : keep_right(program, &kept));

    if (!has_place) {
        end_kept(port, kind, right, id);
    }
}

/* Empty a port's slot; its receive right is the caller's. */
static bool lift_port(struct program_port *slot, struct program_port *lifted)
{
    if (!slot_is_live(slot->state) || slot->lenders != 0) {
        return false;
    }
    *lifted = *slot;
    slot->state = slot->users == 0 ? SLOT_EMPTY : SLOT_DYING;
    return true;
}

/* --- Packing
 * -------------------------------------------------------------------------------------- */

/* One thing that goes into a message. What is moved was lifted out of its slot; of what is copied or
 * made, the port has a reference until the message has its own. */
struct item {
    enum port_transfer transfer;
    struct port *port; /* null: no right */
    uint32_t id;
    uint32_t right; /* moved: its number; copied: of what */
    uint32_t bytes; /* 1 + how many out of line; 0: it is a right */
};

struct cargo {
    struct item items[SIM_CARGO];
    uint32_t count;
};

static bool is_moved(enum port_transfer transfer)
{
    return transfer == PORT_MOVE_RECEIVE || transfer == PORT_MOVE_SEND ||
           transfer == PORT_MOVE_SEND_ONCE;
}

static void add_item(struct cargo *cargo, struct item item)
{
    if (item.port != NULL && !is_moved(item.transfer)) {
        port_reference(item.port); /* without the lock, as in program_enter_port() */
        oracle_port_used(item.id, 1);
    }
    cargo->items[cargo->count++] = item;
}

static void forget_reference(const struct item *item)
{
    if (item->port != NULL && !is_moved(item->transfer)) {
        oracle_port_used(item->id, -1);
        port_release(item->port);
    }
}

/* A port that moves without an account, a suspect's, is lost to the oracle. */
static uint32_t lift_account(const struct program *program, uint32_t id)
{
    uint32_t right = oracle_right(program->node->life, id, PORT_RECEIVE, SIM_NONE);

    if (right == SIM_NONE) {
        oracle_port_died(id);
        oracle_port_gone(id);
    }
    return right;
}

static void add_of_port(struct program *program, struct program_port *slot, enum sim_give how,
                        struct cargo *cargo)
{
    struct program_port lifted;

    if (how == SIM_GIVE_RECEIVE && lift_port(slot, &lifted)) {
        add_item(cargo, (struct item){.transfer = PORT_MOVE_RECEIVE,
                                      .port = lifted.port,
                                      .id = lifted.id,
                                      .right = lift_account(program, lifted.id)});
    } else if (how != SIM_GIVE_RECEIVE && slot_is_live(slot->state)) {
        add_item(cargo, (struct item){.transfer = how == SIM_GIVE_MAKE ? PORT_MAKE_SEND
                                                                       : PORT_MAKE_SEND_ONCE,
                                      .port = slot->port,
                                      .id = slot->id,
                                      .right = SIM_NONE});
    }
}

static void add_of_right(struct program_right *slot, enum sim_give how, struct cargo *cargo)
{
    struct program_right lifted;

    if (how == SIM_GIVE_COPY && slot_is_live(slot->state) && slot->kind == PORT_SEND) {
        add_item(cargo, (struct item){.transfer = PORT_COPY_SEND,
                                      .port = slot->port,
                                      .id = slot->id,
                                      .right = slot->right});
    } else if (how == SIM_GIVE_MOVE && program_lift_right(slot, &lifted)) {
        add_item(cargo, (struct item){.transfer = lifted.kind == PORT_SEND ? PORT_MOVE_SEND
                                                                           : PORT_MOVE_SEND_ONCE,
                                      .port = lifted.port,
                                      .id = lifted.id,
                                      .right = lifted.right});
    }
}

/* Of the destination's own slot nothing is given: its right may be used up. */
static void pack(struct program *program, uint32_t what, const struct program_right *to,
                 struct cargo *cargo)
{
    for (; what != 0; what >>= 8) {
        enum sim_give how = (enum sim_give)(what & 7u);
        uint32_t slot = what >> 3 & 31u;
        struct program_right *right = &program->rights[slot % PROGRAM_RIGHTS];

        switch (how) {
        case SIM_GIVE_RECEIVE:
        case SIM_GIVE_MAKE:
        case SIM_GIVE_MAKE_ONCE:
            add_of_port(program, &program->ports[slot % PROGRAM_PORTS], how, cargo);
            break;
        case SIM_GIVE_MOVE:
        case SIM_GIVE_COPY:
            if (right != to) {
                add_of_right(right, how, cargo);
            }
            break;
        case SIM_GIVE_NULL:
            add_item(cargo, (struct item){.transfer = PORT_COPY_SEND, .right = SIM_FOREIGN});
            break;
        case SIM_GIVE_BYTES:
            add_item(cargo, (struct item){.bytes = 1u + 8u * slot});
            break;
        case SIM_GIVE_NOTHING:
            break;
        }
    }
}

/* Those under the first one's transfer come first, and become one array. */
static uint32_t gather(struct cargo *cargo)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < cargo->count; i++) {
        struct item item = cargo->items[i];

        if (item.bytes != 0 || item.transfer != cargo->items[0].transfer) {
            continue;
        }
        for (uint32_t at = i; at > count; at--) {
            cargo->items[at] = cargo->items[at - 1];
        }
        cargo->items[count++] = item;
    }
    return count;
}

static const uint8_t out_of_line[8 * 32];

static struct kmsg *create(struct program *program, uint32_t bytes, const struct cargo *cargo,
                           uint32_t in_array)
{
    struct message_item items[SIM_CARGO];
    struct port *ports[SIM_CARGO];
    uint32_t count = 0;
    struct kmsg *kmsg;

    if (cargo->count == 0) {
        return program_message(program, bytes);
    }
    for (uint32_t i = 0; i < cargo->count; i++) {
        const struct item *item = &cargo->items[i];

        ports[i] = item->port;
        if (i < in_array && i != 0) {
            continue;
        }
        items[count++] = (struct message_item){
            .type = i < in_array       ? MESSAGE_PORTS
                    : item->bytes != 0 ? MESSAGE_BYTES
                                       : MESSAGE_PORT,
            .transfer = item->transfer,
            .count = item->bytes != 0 ? item->bytes - 1u : in_array,
            .port = item->port,
            .bytes = out_of_line,
            .ports = ports,
        };
    }
    return kmsg_create(program->host, program_body_bytes(bytes), items, count, &kmsg) == ERROR_NONE
               ? kmsg
               : NULL;
}

/* There is no message: what was moved is kept as if it had come. */
static void keep_items(struct program *program, const struct cargo *cargo)
{
    for (uint32_t i = 0; i < cargo->count; i++) {
        const struct item *item = &cargo->items[i];
        enum port_disposition kind = item->transfer == PORT_MOVE_RECEIVE ? PORT_RECEIVE
                                     : item->transfer == PORT_MOVE_SEND  ? PORT_SEND
                                                                         : PORT_SEND_ONCE;

        if (item->bytes == 0 && item->port != NULL && is_moved(item->transfer)) {
            if (kind == PORT_RECEIVE) {
                oracle_right_ended(item->right);
            }
            program_keep(program, item->port, kind, kind == PORT_RECEIVE ? SIM_NONE : item->right,
                         item->id);
        }
    }
}

/* The numbers of the rights that are in the message now. */
static void enter(const struct program *program, const struct cargo *cargo,
                  struct program_sending *sending)
{
    for (uint32_t i = 0; i < cargo->count; i++) {
        const struct item *item = &cargo->items[i];
        uint32_t right = item->right;

        if (item->bytes != 0) {
            continue;
        }
        if (item->port != NULL && !is_moved(item->transfer)) {
            right = oracle_right(program->node->life, item->id,
                                 item->transfer == PORT_MAKE_SEND_ONCE ? PORT_SEND_ONCE : PORT_SEND,
                                 item->right);
        }
        sending->cargo[sending->cargo_count++] = right;
    }
}

struct kmsg *program_pack(struct program *program, const struct sim_entry *entry,
                          const struct program_right *to, struct program_sending *sending)
{
    struct cargo cargo = {.count = 0};
    uint32_t in_array = 0;
    struct kmsg *kmsg;

    pack(program, entry->arguments[2], to, &cargo);
    if ((entry->arguments[3] & SIM_REPLY_ARRAY) != 0 && cargo.count != 0 &&
        cargo.items[0].bytes == 0) {
        in_array = gather(&cargo);
    }
    kmsg = create(program, entry->arguments[1], &cargo, in_array);
    if (kmsg == NULL) {
        keep_items(program, &cargo);
    } else {
        enter(program, &cargo, sending);
    }
    for (uint32_t i = 0; i < cargo.count; i++) {
        forget_reference(&cargo.items[i]);
    }
    return kmsg;
}

/* --- Unpacking
 * ------------------------------------------------------------------------------------ */

/* Of a suspect's message everything is given back. */
static void unpack_port(struct program *program, struct kmsg *kmsg, uint32_t part,
                        uint32_t position, uint32_t right)
{
    enum port_disposition kind;
    struct port *port = kmsg_take_port(kmsg, part, position, &kind);
    uint32_t id = oracle_right_port(right);

    oracle_right_arrived(program->node->index, right, port, kind);
    if (port != NULL) {
        program_keep(program, port, kind, kind == PORT_RECEIVE ? SIM_NONE : right, id);
    }
}

void program_unpack(struct program *program, struct kmsg *kmsg, const uint32_t *rights,
                    uint32_t count)
{
    uint32_t at = 0;

    for (uint32_t i = 0; i < kmsg_part_count(kmsg); i++) {
        struct message_part part = kmsg_part(kmsg, i);

        for (uint32_t k = 0; k < part.count && part.type != MESSAGE_BYTES; k++, at++) {
            unpack_port(program, kmsg, i, k, rights != NULL && at < count ? rights[at] : SIM_NONE);
        }
    }
    if (rights != NULL && at != count) {
        sim_violated(14, "node %u found %u rights where %u were sent", program->node->id, at,
                     count);
    }
}

bool program_take_notification(struct program *program, struct kmsg *kmsg, uint32_t port)
{
    uint32_t id = (uint32_t)kmsg_id(kmsg);
    struct notify_body body = {.name = le64_of(0)};

    if ((id != NOTIFY_SEND_ONCE && id != NOTIFY_NO_SENDERS && id != NOTIFY_DEAD_NAME) ||
        !kmsg_is_from_kernel(kmsg)) {
        return false;
    }
    if (kmsg_body_size(kmsg) == sizeof(body)) {
        __builtin_memcpy(&body, kmsg_body(kmsg), sizeof(body));
    }
    if (!node_id_is_suspect(kmsg_source_node(kmsg))) {
        oracle_told(program->node->index, port, id, le64_load(body.name));
    }
    kmsg_free(kmsg);
    return true;
}
