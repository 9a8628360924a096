/* SPDX-License-Identifier: MIT
 *
 * Forged mnl messages: every kind that a peer can send, with numbers, names, counts and sizes that
 * are right, nearly right or absurd. docs/spec/flipc.md says what each should be.
 */
#include "arch/sim/fiber.h"
#include "core/kmsg.h"
#include "core/node.h"
#include "forge.h"

#include <string.h>

#define BODY_MAXIMUM 256u
#define COMPLEX_MAXIMUM 640u /* bytes of a complex body */
#define UNSETTLED_MAXIMUM 40u
#define DESCRIPTORS_MAXIMUM 6u
#define ARRAY_MAXIMUM 5u
#define ENTRIES_MAXIMUM 12u
#define ACK_WORDS (sizeof(struct flipc_ack_body) / sizeof(le32))

/* Where the parts of a message lie in a payload. */
struct forged_message {
    struct wire_mnl_header mnl;
    union {
        struct {
            struct wire_mach_header mach;
            uint8_t body[COMPLEX_MAXIMUM];
        } ipc;
        le32 ack[ACK_WORDS + UNSETTLED_MAXIMUM];
        struct flipc_nak_body nak;
        struct {
            le32 count;
            le32 reserved;
            struct flipc_rights_entry entries[ENTRIES_MAXIMUM];
        } rights;
        struct node_death_body death;
        struct node_bootstrap_body bootstrap;
        struct node_leave_body leave;
        uint8_t bytes[BODY_MAXIMUM];
    } payload;
};

_Static_assert(sizeof(struct forged_message) <= SIM_MTU_MAXIMUM, "fits one frame");

/* Now and then what a field should be, mostly; else something else. */
static uint32_t word(uint32_t honest)
{
    return forge_one_in(6) ? (uint32_t)forge_number(honest) : honest;
}

/* A port that exists, may exist, or cannot. */
static uint64_t any_name(const struct forge_target *target)
{
    const struct sim_node *victim = &sim_nodes[target->node];
    const struct sim_node *forger = &sim_nodes[target->forger];
    uint64_t name = 0;

    switch (forge_below(8)) {
    case 0:
    case 1:
        return NAME_WELL_KNOWN(victim->id, PROGRAM_SERVICE_SERIAL);
    case 2:
    case 3:
        (void)oracle_pick(forge_below(64), &name);
        return name;
    case 4:
        return NAME_MAKE(
            forger->id,
            forger->life != SIM_NONE ? NAME_TAG_OF_INCARNATION(node_life(forger)->incarnation) : 1u,
            fiber_random());
    case 5:
        return NAME_MAKE(victim->id, fiber_random(), forge_below(64));
    case 6:
        return forge_number(NAME_WELL_KNOWN(victim->id, PROGRAM_SERVICE_SERIAL));
    default:
        return fiber_random();
    }
}

static uint32_t any_node(void)
{
    return sim.settings->first_id + forge_below(sim.settings->node_count);
}

/* Where a port is: with the sender, at any node, at none. */
static le16 any_home(void)
{
    uint32_t node = any_node();

    switch (forge_below(4)) {
    case 0:
        return le16_of((uint16_t)WIRE_HOME(node));
    case 1:
        return le16_of((uint16_t)forge_number(WIRE_HOME(node)));
    default:
        return le16_of(0);
    }
}

/* --- Complex messages
 * ----------------------------------------------------------------------------- */

/* A body in the making: descriptors in front, what they describe behind. */
struct complex_body {
    struct wire_descriptor descriptors[DESCRIPTORS_MAXIMUM];
    uint32_t count;
    struct wire_descriptor data[DESCRIPTORS_MAXIMUM * ARRAY_MAXIMUM];
    uint32_t data_count;
};

/* A right of any kind, or of `disposition`, to a port that the victim may know: the same as before,
 * now and then. */
static struct wire_descriptor any_port(const struct forge_target *target, uint32_t disposition,
                                       const struct wire_descriptor *before)
{
    struct wire_descriptor port = {.type = (uint8_t)word(WIRE_PORT), .home = any_home()};

    port.disposition = (uint8_t)word(disposition);
    port.count = le32_of(word(disposition == PORT_RECEIVE ? 1u + forge_below(16) : 0));
    port.name = before != NULL && forge_one_in(3) ? before->name : le64_of(any_name(target));
    if (disposition == PORT_RECEIVE && !forge_one_in(4)) {
        port.home = le16_of(0);
    }
    return port;
}

static uint32_t any_disposition(void)
{
    return forge_one_in(8) ? forge_below(32) : PORT_RECEIVE + forge_below(3);
}

static void add_descriptor(struct complex_body *body, const struct forge_target *target)
{
    struct wire_descriptor *descriptor = &body->descriptors[body->count];
    uint32_t disposition = any_disposition();
    uint32_t count = 1u + forge_below(ARRAY_MAXIMUM);

    switch (forge_below(6)) {
    case 0:
        *descriptor = (struct wire_descriptor){
            .type = WIRE_BYTES, .count = le32_of(word(count * (uint32_t)sizeof(*descriptor)))};
        body->data_count += count;
        break;
    case 1:
        *descriptor = (struct wire_descriptor){.type = WIRE_PORTS,
                                               .disposition = (uint8_t)word(disposition),
                                               .count = le32_of(word(count))};
        for (uint32_t i = 0; i < count; i++) {
            body->data[body->data_count++] =
                any_port(target, disposition, i != 0 ? &body->data[body->data_count - 1] : NULL);
        }
        break;
    default:
        *descriptor = any_port(target, disposition, body->count != 0 ? descriptor - 1 : NULL);
        break;
    }
    body->count++;
}

/* Returns the bytes of the body: what its parts say, nearly, or something else. */
static uint32_t make_complex(uint8_t *to, const struct forge_target *target)
{
    struct complex_body body;
    struct wire_complex head;
    uint32_t bytes = sizeof(head), inline_bytes = 8u * forge_below(4);

    memset(&body, 0, sizeof(body));
    for (uint32_t i = forge_below(DESCRIPTORS_MAXIMUM + 1u); i != 0; i--) {
        add_descriptor(&body, target);
    }
    head = (struct wire_complex){.descriptor_count = le32_of(word(body.count)),
                                 .inline_bytes = le32_of(word(inline_bytes))};
    memcpy(to, &head, sizeof(head));
    memcpy(to + bytes, body.descriptors, body.count * sizeof(body.descriptors[0]));
    bytes += body.count * (uint32_t)sizeof(body.descriptors[0]);
    memset(to + bytes, 0x5a, inline_bytes);
    bytes += inline_bytes;
    memcpy(to + bytes, body.data, body.data_count * sizeof(body.data[0]));
    return bytes + body.data_count * (uint32_t)sizeof(body.data[0]);
}

/* --- Messages
 * ------------------------------------------------------------------------------------- */

static uint32_t make_ipc(struct forged_message *message, const struct forge_target *target)
{
    bool is_complex = forge_one_in(2);
    uint32_t body_bytes = is_complex ? make_complex(message->payload.ipc.body, target)
                                     : forge_below(BODY_MAXIMUM + 1u);
    uint32_t size = (uint32_t)sizeof(message->payload.ipc.mach) + body_bytes;
    uint32_t with = forge_one_in(8) ? PORT_SEND_ONCE : PORT_SEND;
    uint64_t remote = any_name(target);
    uint64_t local = forge_one_in(3) ? 0 : any_name(target);
    uint32_t disposition = local == 0 ? PORT_NONE : (forge_one_in(2) ? PORT_SEND : PORT_SEND_ONCE);

    message->mnl.cmd = FLIPC_IPC;
    message->mnl.object = le64_of(remote);
    message->payload.ipc.mach = (struct wire_mach_header){
        .bits = le32_of(word(MACH_BITS(with, disposition) | (is_complex ? MACH_BITS_COMPLEX : 0) |
                             (forge_one_in(8) ? MACH_BITS_RESUMED : 0))),
        .size = le32_of(word(size)),
        .remote = le64_of(forge_one_in(16) ? any_name(target) : remote),
        .local = le64_of(local),
        .local_home = local == 0 ? le16_of((uint16_t)word(0)) : any_home(),
        .sender = le16_of((uint16_t)word(0)),
        .id = le32_of((uint32_t)fiber_random()),
    };
    for (uint32_t i = 0; i < body_bytes && !is_complex; i++) {
        message->payload.ipc.body[i] = (uint8_t)fiber_random();
    }
    return size;
}

static uint32_t make_snapshot(struct forged_message *message, const struct forge_target *target)
{
    uint32_t count = forge_below(UNSETTLED_MAXIMUM + 1u);
    uint32_t number = target->sent - count - forge_below(4);

    message->mnl.cmd = FLIPC_ACK;
    message->mnl.flags = forge_one_in(8) ? MNL_FLAG_SEQUENCED : 0;
    message->payload.ack[0] = le32_of(word(target->sent));       /* next_expected */
    message->payload.ack[1] = le32_of(word(target->sent + 64u)); /* credit */
    message->payload.ack[2] = le32_of(word(count));
    for (uint32_t i = 0; i < count; i++) {
        message->payload.ack[ACK_WORDS + i] = le32_of(word(number));
        number += forge_below(3);
    }
    return (uint32_t)((ACK_WORDS + count) * sizeof(le32));
}

static uint32_t make_nak(struct forged_message *message, const struct forge_target *target)
{
    message->mnl.cmd = FLIPC_NAK;
    message->payload.nak = (struct flipc_nak_body){
        .sequence = le32_of(word(target->sent - 1u - forge_below(8))),
        .reason = le32_of(word(FLIPC_NAK_UNKNOWN_NAME + forge_below(FLIPC_NAK_NO_RIGHT))),
        .resend_to = le32_of(word(forge_one_in(2) ? (uint32_t)-1 : any_node())),
        .reserved = le32_of(word(0)),
    };
    return sizeof(message->payload.nak);
}

/* Accounts of rights that the forger has, had, or never heard of. */
static uint32_t make_rights(struct forged_message *message, const struct forge_target *target)
{
    uint32_t count = forge_below(ENTRIES_MAXIMUM + 1u);

    message->mnl.cmd = FLIPC_RIGHTS;
    message->payload.rights.count = le32_of(word(count));
    message->payload.rights.reserved = le32_of(word(0));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t operation = RIGHTS_ADD_SEND + forge_below(RIGHTS_GO);

        message->payload.rights.entries[i] = (struct flipc_rights_entry){
            .name = le64_of(any_name(target)),
            .operation = le32_of(word(operation)),
            .value = le32_of(operation == RIGHTS_PORT_MOVED ? word(WIRE_HOME(any_node()))
                                                            : word(1u + forge_below(3)))};
    }
    return (uint32_t)(offsetof(struct forged_message, payload.rights.entries) -
                      offsetof(struct forged_message, payload) +
                      count * sizeof(struct flipc_rights_entry));
}

/* Bootstrap ports of others, and that the forger is about to end. */
static uint32_t make_node(struct forged_message *message, const struct forge_target *target)
{
    const struct sim_node *forger = &sim_nodes[target->forger];

    message->mnl.sub = MNL_SUB_NODE;
    if (!forge_one_in(4)) {
        message->mnl.cmd = (uint8_t)(forge_one_in(2) ? NODE_BOOTSTRAP_UP : NODE_BOOTSTRAP_DOWN);
        message->payload.bootstrap.name = le64_of(any_name(target));
        return sizeof(message->payload.bootstrap);
    }
    message->mnl.cmd = NODE_LEAVE;
    message->payload.leave.incarnation = le64_of(
        forge_number(forger->life != SIM_NONE ? node_life(forger)->incarnation : fiber_random()));
    return sizeof(message->payload.leave);
}

/* A word that only node 0 may say, about somebody who lives. */
static uint32_t make_death(struct forged_message *message)
{
    const struct sim_node *about = &sim_nodes[forge_below(sim.settings->node_count)];
    uint64_t incarnation = about->life != SIM_NONE ? node_life(about)->incarnation : fiber_random();

    message->mnl.sub = MNL_SUB_NODE;
    message->mnl.cmd = NODE_DEATH;
    message->payload.death = (struct node_death_body){.node_id = le32_of(about->id),
                                                      .cause = le32_of(word(NODE_DEATH_HOST)),
                                                      .incarnation = le64_of(incarnation)};
    return sizeof(message->payload.death);
}

static uint32_t make_nonsense(struct forged_message *message)
{
    uint32_t bytes = forge_below(BODY_MAXIMUM + 1u);

    message->mnl.sub = (uint8_t)fiber_random();
    message->mnl.cmd = (uint8_t)fiber_random();
    for (uint32_t i = 0; i < bytes; i++) {
        message->payload.bytes[i] = (uint8_t)fiber_random();
    }
    return bytes;
}

static uint32_t make_payload(struct forged_message *message, const struct forge_target *target)
{
    switch (forge_below(12)) {
    case 0:
        return make_snapshot(message, target);
    case 1:
        return make_nak(message, target);
    case 2:
        return make_death(message);
    case 3:
        return make_nonsense(message);
    case 4:
    case 5:
    case 6:
        return make_rights(message, target);
    case 7:
        return make_node(message, target);
    default:
        return make_ipc(message, target);
    }
}

void forge_request(struct forgery *forgery, const struct forge_target *target, uint32_t index)
{
    uint32_t body_bytes = 8u * forge_below(64);
    uint32_t size = (uint32_t)sizeof(struct wire_mach_header) + body_bytes;
    le64 remote = le64_of(NAME_WELL_KNOWN(sim_nodes[target->node].id, PROGRAM_SERVICE_SERIAL));
    uint64_t life = le64_load(forgery->header.src_incarnation);
    uint64_t local =
        NAME_MAKE(sim_nodes[target->forger].id, NAME_TAG_OF_INCARNATION(life), fiber_random());
    struct wire_mnl_header mnl = {.sub = MNL_SUB_FLIPC,
                                  .cmd = FLIPC_IPC,
                                  .flags = MNL_FLAG_SEQUENCED,
                                  .node_id = le32_of(sim_nodes[target->forger].id),
                                  .object = remote,
                                  .options = le32_of(target->sequence + index),
                                  .size = le32_of(size)};
    struct wire_mach_header mach = {.bits = le32_of(MACH_BITS(PORT_SEND, PORT_SEND_ONCE)),
                                    .size = le32_of(size),
                                    .remote = remote,
                                    .local = le64_of(local)};

    memcpy(forgery->payload, &mnl, sizeof(mnl));
    memcpy(forgery->payload + sizeof(mnl), &mach, sizeof(mach));
    memset(forgery->payload + sizeof(mnl) + sizeof(mach), 0x5a, body_bytes);
    forgery->length = (uint32_t)sizeof(mnl) + size;
}

void forge_message(struct forgery *forgery, const struct forge_target *target, uint32_t index)
{
    struct forged_message message;
    uint32_t size;

    memset(&message, 0, sizeof(message));
    message.mnl = (struct wire_mnl_header){
        .sub = MNL_SUB_FLIPC,
        .flags = MNL_FLAG_SEQUENCED,
        .node_id = le32_of(word(sim_nodes[target->forger].id)),
        .options = le32_of(word(target->sequence + index)),
    };
    size = make_payload(&message, target);
    message.mnl.size = le32_of(word(size));
    forgery->length = (uint32_t)sizeof(message.mnl) + size;
    memcpy(forgery->payload, &message, forgery->length);
}
