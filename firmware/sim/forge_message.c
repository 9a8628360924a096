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
#define UNSETTLED_MAXIMUM 40u
#define ACK_WORDS (sizeof(struct flipc_ack_body) / sizeof(le32))

/* Where the parts of a message lie in a payload. */
struct forged_message {
    struct wire_mnl_header mnl;
    union {
        struct {
            struct wire_mach_header mach;
            uint8_t body[BODY_MAXIMUM];
        } ipc;
        le32 ack[ACK_WORDS + UNSETTLED_MAXIMUM];
        struct flipc_nak_body nak;
        struct node_death_body death;
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

static uint32_t make_ipc(struct forged_message *message, const struct forge_target *target)
{
    uint32_t body_bytes = forge_below(BODY_MAXIMUM + 1u);
    uint32_t size = (uint32_t)sizeof(message->payload.ipc.mach) + body_bytes;
    uint64_t remote = any_name(target);
    uint64_t local = forge_one_in(3) ? 0 : any_name(target);
    uint32_t disposition = local == 0 ? PORT_NONE : (forge_one_in(2) ? PORT_SEND : PORT_SEND_ONCE);

    message->mnl.cmd = FLIPC_IPC;
    message->mnl.object = le64_of(remote);
    message->payload.ipc.mach = (struct wire_mach_header){
        .bits = le32_of(word(MACH_BITS(PORT_SEND, disposition))),
        .size = le32_of(word(size)),
        .remote = le64_of(forge_one_in(16) ? any_name(target) : remote),
        .local = le64_of(local),
        .local_home = le16_of((uint16_t)word(0)),
        .sender = le16_of((uint16_t)word(0)),
        .id = le32_of((uint32_t)fiber_random()),
    };
    for (uint32_t i = 0; i < body_bytes; i++) {
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
        .reason = le32_of(word(FLIPC_NAK_UNKNOWN_NAME + forge_below(5))),
        .resend_to = le32_of(word((uint32_t)-1)),
        .reserved = le32_of(word(0)),
    };
    return sizeof(message->payload.nak);
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
    switch (forge_below(8)) {
    case 0:
        return make_snapshot(message, target);
    case 1:
        return make_nak(message, target);
    case 2:
        return make_death(message);
    case 3:
        return make_nonsense(message);
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
