/* SPDX-License-Identifier: MIT
 *
 * Forged frames. A hostile node's own frames are changed on their way into the cable, and volleys of
 * others come between them: every type, built from what the node sent last, so that identity, epoch
 * and number are those which the victim expects unless they are what is forged.
 *
 * A node's claim to a life that it never had cannot be told from the truth; a bold forger makes any
 * claim, others only such as the next life of the node surpasses, so that its links must come back.
 */
#include "forge.h"
#include "arch/sim/fiber.h"
#include "core/link_manager_private.h"
#include "core/node.h"

#include <string.h>

#define VOLLEY_MAXIMUM 6u
#define FLOOD_MAXIMUM 30u
#define CHANGES_MAXIMUM 3u
#define BAD_CHECKSUM_ONE_IN 8u

/* What went out last in each direction. */
struct sent_last {
    struct frame_header header;
    struct train_record record;
    bool is_known;
    bool is_trained;      /* `record` is there */
    uint32_t next_seq;    /* that the victim expects of DATA, if it took all */
    uint64_t stingy_life; /* of the victim, to which this was said before: */
    le32 flipc_ack;
    le32 flipc_credit;
};

static struct sent_last sent[SIM_LINKS_MAXIMUM][2];

struct forger {
    uint32_t permille;
    uint32_t active; /* so many entries have it hostile */
    bool is_bold;
    bool is_stingy;
    bool is_asking; /* its volleys are questions and nothing else */
};

static struct forger forgers[SIM_NODES_MAXIMUM];

void forge_open(void)
{
    memset(sent, 0, sizeof(sent));
    memset(forgers, 0, sizeof(forgers));
    for (uint32_t i = 0; i < sim.settings->node_count; i++) {
        sim_nodes[i].is_suspect = false;
        sim_nodes[i].is_hostile = false;
        sim_nodes[i].forged_incarnation = 0;
    }
    for (uint32_t i = 0; i < sim.entry_count; i++) {
        if (sim.entries[i].kind == SIM_FAULT_HOSTILE) {
            sim_nodes[sim.entries[i].target % sim.settings->node_count].is_suspect = true;
        }
    }
}

/* --- Numbers
 * -------------------------------------------------------------------------------------- */

uint64_t forge_number(uint64_t honest)
{
    uint64_t value = fiber_random();

    switch (value % 9u) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX;
    case 2:
        return honest + 1u;
    case 3:
        return honest - 1u;
    case 4:
        return honest ^ 1ull << (value >> 8) % 64u;
    case 5:
        return honest + 0x80000000u;
    case 6:
        return honest + (value >> 8) % 100u;
    case 7:
        return (value >> 8) % 100u;
    default:
        return value;
    }
}

/* A life for the forger: one that it may have had, will soon have, or never. */
static uint64_t incarnation(uint32_t node, uint64_t honest)
{
    uint64_t claimed = forge_number(honest);

    if (!forgers[node].is_bold && claimed >> 32 > honest >> 32) {
        claimed = honest + forge_below(4);
    }
    return claimed;
}

/* --- Changes
 * -------------------------------------------------------------------------------------- */

static le32 forged32(le32 honest)
{
    return le32_of((uint32_t)forge_number(le32_load(honest)));
}

static le16 forged16(le16 honest)
{
    return le16_of((uint16_t)forge_number(le16_load(honest)));
}

static void change_identity(struct frame_header *header, uint32_t node)
{
    switch (forge_below(8)) {
    case 0:
        header->magic = forged16(header->magic);
        break;
    case 1:
        header->version = (uint8_t)forge_number(header->version);
        break;
    case 2:
        header->src_node = forge_one_in(2) ? header->dst_node : forged16(header->src_node);
        break;
    case 3:
        header->dst_node = forge_one_in(2) ? header->src_node : forged16(header->dst_node);
        break;
    case 4:
        header->src_incarnation = le64_of(incarnation(node, le64_load(header->src_incarnation)));
        break;
    case 5:
        header->dst_incarnation = le64_of(forge_number(le64_load(header->dst_incarnation)));
        break;
    case 6:
        header->src_epoch = forged32(header->src_epoch);
        break;
    default:
        header->dst_epoch = forged32(header->dst_epoch);
        break;
    }
}

static void change_header(struct frame_header *header, uint32_t node)
{
    switch (forge_below(12)) {
    case 0:
        header->type = (uint8_t)(forge_one_in(4) ? forge_number(header->type) : forge_below(9));
        break;
    case 1:
        header->flags = (uint8_t)forge_number(header->flags);
        break;
    case 2:
        header->length = forged32(header->length);
        break;
    case 3:
        header->seq = forged32(header->seq);
        break;
    case 4:
        header->ack = forged32(header->ack);
        break;
    case 5:
        header->flipc_ack = forged32(header->flipc_ack);
        break;
    case 6:
        header->flipc_credit = forged32(header->flipc_credit);
        break;
    case 7:
        header->reserved0 = (uint8_t)fiber_random();
        header->route = forged16(header->route);
        break;
    default:
        change_identity(header, node);
        break;
    }
}

/* One word, mostly near the beginning, where the fields are; or the length. */
static void change_payload(struct forgery *forgery)
{
    uint32_t words = forgery->length / 4u;
    le32 value;
    uint32_t at;

    if (forge_one_in(5)) {
        forgery->length = forge_one_in(3) ? forge_below(SIM_MTU_MAXIMUM + 1u)
                                          : (uint32_t)forge_number(forgery->length) % 128u;
        return;
    }
    if (words == 0) {
        return;
    }
    at = 4u * forge_below(forge_one_in(3) || words < 26u ? words : 26u);
    memcpy(&value, forgery->payload + at, sizeof(value));
    value = forged32(value);
    memcpy(forgery->payload + at, &value, sizeof(value));
}

static void change(struct forgery *forgery, uint32_t node)
{
    for (uint32_t i = 1u + forge_below(CHANGES_MAXIMUM); i != 0; i--) {
        if (forgery->length != 0 && forge_one_in(2)) {
            change_payload(forgery);
        } else {
            change_header(&forgery->header, node);
        }
    }
}

/* --- Into the cable
 * ------------------------------------------------------------------------------- */

static bool is_changed_life(const struct frame_header *header, const struct sim_node *node)
{
    return le16_load(header->src_node) == node->id &&
           le64_load(header->src_incarnation) != node_life(node)->incarnation;
}

/* Checksums over whatever was written; lengths agree unless they were forged. */
static void seal(struct forgery *forgery, bool is_length_kept)
{
    struct frame_header *header = &forgery->header;

    if (!is_length_kept) {
        header->length = le32_of(forgery->length);
    }
    header->payload_crc =
        le32_of(forgery->length != 0 ? crc32c(0, forgery->payload, forgery->length) : 0);
    header->header_crc = le32_of(frame_header_crc(header, frame_constant_crc(header)));
    if (forge_one_in(BAD_CHECKSUM_ONE_IN)) {
        le32 *sum = forge_one_in(2) ? &header->header_crc : &header->payload_crc;

        *sum = forged32(*sum);
    }
}

static void put(uint32_t link, uint32_t from, uint32_t node, struct forgery *forgery,
                bool is_length_kept)
{
    struct sim_node *forger = &sim_nodes[node];
    struct sim_direction *direction = &sim_cables[link].directions[from];
    uint64_t claimed = le64_load(forgery->header.src_incarnation);

    if (!direction->carrier || direction->count >= SIM_QUEUE_FRAMES) {
        return;
    }
    seal(forgery, is_length_kept);
    if (is_changed_life(&forgery->header, forger) && claimed > forger->forged_incarnation) {
        forger->forged_incarnation = claimed;
    }
    sim.result->fired[SIM_FAULT_HOSTILE]++;
    damage_send(link, from, &forgery->header, forgery->payload, forgery->length, fiber_now_ns());
}

/* --- Frames of its own
 * ---------------------------------------------------------------------------- */

static void remember(struct sent_last *last, const struct frame_header *header, const void *payload,
                     size_t payload_bytes)
{
    bool is_new_epoch = !last->is_known || header->type == FRAME_TRAIN ||
                        le32_load(header->src_epoch) != le32_load(last->header.src_epoch);
    uint32_t next_seq = header->type == FRAME_TRAIN
                            ? 0
                            : le32_load(header->seq) + (header->type == FRAME_DATA ? 1u : 0u);

    if (is_new_epoch || (int32_t)(next_seq - last->next_seq) > 0) {
        last->next_seq = next_seq;
    }
    last->header = *header;
    last->is_known = true;
    if (header->type == FRAME_TRAIN && payload_bytes == sizeof(last->record)) {
        memcpy(&last->record, payload, sizeof(last->record));
        last->is_trained = true;
    }
}

/* As if nothing were ever settled since the first frame to this life. */
static void withhold(struct sent_last *last, struct frame_header *header)
{
    uint64_t life = le64_load(header->dst_incarnation);

    if (life == 0) {
        return;
    }
    if (last->stingy_life != life) {
        last->stingy_life = life;
        last->flipc_ack = header->flipc_ack;
        last->flipc_credit = header->flipc_credit;
    }
    header->flipc_ack = last->flipc_ack;
    header->flipc_credit = last->flipc_credit;
    header->header_crc = le32_of(frame_header_crc(header, frame_constant_crc(header)));
}

void forge_send(uint32_t link, uint32_t from, const void *header, const void *payload,
                size_t payload_bytes)
{
    uint32_t node = sim.settings->links[link].ends[from];
    struct frame_header said;
    struct forgery forgery;

    if (!sim_nodes[node].is_suspect) {
        damage_send(link, from, header, payload, payload_bytes, fiber_now_ns());
        return;
    }
    memcpy(&said, header, sizeof(said));
    if (sim_nodes[node].is_hostile && forgers[node].is_stingy) {
        withhold(&sent[link][from], &said);
    }
    remember(&sent[link][from], &said, payload, payload_bytes);
    if (!sim_nodes[node].is_hostile || forge_below(1000) >= forgers[node].permille) {
        damage_send(link, from, &said, payload, payload_bytes, fiber_now_ns());
        return;
    }
    memset(&forgery, 0, sizeof(forgery));
    forgery.header = said;
    if (payload_bytes != 0) {
        memcpy(forgery.payload, payload, payload_bytes);
    }
    forgery.length = (uint32_t)payload_bytes;
    change(&forgery, node);
    put(link, from, node, &forgery, forge_one_in(3));
}

/* --- Frames of nobody
 * ----------------------------------------------------------------------------- */

static struct forge_target target_of(uint32_t link, uint32_t from)
{
    const struct sim_link_settings *settings = &sim.settings->links[link];
    struct forge_target target = {.node = settings->ends[1 - from], .forger = settings->ends[from]};
    struct sim_node *victim = &sim_nodes[target.node];
    const struct node_slot *slot = victim->is_ready && !node_is_agent(target.node)
                                       ? node_slot_of(&victim->host, sim_nodes[target.forger].id)
                                       : NULL;

    if (slot != NULL && slot->live != NULL) {
        target.is_known = true;
        target.sequence = slot->live->flow.next_expected;
        target.sent = slot->live->flow.next_sequence;
    }
    return target;
}

/* Another epoch, another life, other parameters. */
static void make_train(struct forgery *forgery, const struct sent_last *last, uint32_t node)
{
    struct frame_header *header = &forgery->header;

    header->type = FRAME_TRAIN;
    header->flags = (uint8_t)(forge_one_in(2) ? FRAME_FLAG_CONFIRMED : 0);
    header->src_epoch = le32_of(le32_load(header->src_epoch) + forge_below(3));
    header->seq = le32_of(1u + forge_below(1000));
    if (forge_one_in(6)) {
        header->src_incarnation = le64_of(incarnation(node, le64_load(header->src_incarnation)));
    }
    forgery->length = sizeof(last->record);
    memcpy(forgery->payload, &last->record, sizeof(last->record));
    if (!forge_one_in(3)) {
        change_payload(forgery);
    }
}

static void make_refusal(struct forgery *forgery, const struct forge_target *target)
{
    const struct sim_node *victim = &sim_nodes[target->node];
    uint64_t refused = victim->life != SIM_NONE ? node_life(victim)->incarnation : 1;
    uint32_t reason = 1u + forge_below(9);
    struct refuse_record record = {.reason = le32_of(reason),
                                   .incarnation =
                                       le64_of(forge_one_in(3) ? forge_number(refused) : refused)};

    /* The victim takes another life, and there are not so many. */
    if (reason == LINK_REFUSAL_STALE &&
        (sim_life_count > SIM_LIVES_MAXIMUM / 2 || !forge_one_in(4))) {
        record.reason = le32_of(LINK_REFUSAL_PARAMETERS);
    }
    forgery->header.type = FRAME_REFUSE;
    forgery->header.flags = 0;
    forgery->length = sizeof(record);
    memcpy(forgery->payload, &record, sizeof(record));
}

/* The word of a cable, which only a cable has. */
static void make_cable_frame(struct forgery *forgery)
{
    struct cable_record_frame record = {.direction = le32_of(forge_below(4)),
                                        .carrier = le32_of(forge_below(3)),
                                        .generation = le32_of((uint32_t)forge_number(4)),
                                        .flags = le32_of(forge_below(3))};

    forgery->header.type = FRAME_CABLE;
    forgery->header.src_node = le16_of(FRAME_CABLE_NODE);
    forgery->length = sizeof(record);
    memcpy(forgery->payload, &record, sizeof(record));
}

static void make_data(struct forgery *forgery, struct sent_last *last,
                      const struct forge_target *target, uint32_t index)
{
    forgery->header.type = FRAME_DATA;
    forgery->header.flags = (uint8_t)(forge_one_in(8) ? forge_below(8) : 3u);
    forgery->header.seq = le32_of(last->next_seq++);
    forge_message(forgery, target, index);
}

static void make_plain(struct forgery *forgery)
{
    static const uint8_t types[] = {FRAME_ACK, FRAME_ACK, FRAME_ACK, FRAME_NAK, FRAME_DOWN};

    forgery->header.type = types[forge_below(sizeof(types))];
    forgery->header.flags = 0;
}

static void make_frame(struct forgery *forgery, struct sent_last *last,
                       const struct forge_target *target, uint32_t index)
{
    memset(forgery, 0, sizeof(*forgery));
    forgery->header = last->header;
    switch (forge_below(8)) {
    case 0:
        make_plain(forgery);
        break;
    case 1:
        if (last->is_trained) {
            make_train(forgery, last, target->forger);
        }
        break;
    case 2:
        if (forge_one_in(4)) {
            make_refusal(forgery, target);
        } else if (forge_one_in(4)) {
            make_cable_frame(forgery);
        } else {
            make_plain(forgery);
        }
        break;
    default:
        make_data(forgery, last, target, index);
        break;
    }
}

/* Questions that cost the victim an answer each, as fast as it takes them. */
static void flood(uint32_t link, uint32_t from, struct sent_last *last,
                  const struct forge_target *target)
{
    for (uint32_t i = 0, count = 1u + forge_below(FLOOD_MAXIMUM); i < count; i++) {
        struct forgery forgery;

        memset(&forgery, 0, sizeof(forgery));
        forgery.header = last->header;
        forgery.header.type = FRAME_DATA;
        forgery.header.flags = FRAME_FLAG_FIRST | FRAME_FLAG_LAST;
        forgery.header.seq = le32_of(last->next_seq++);
        forge_request(&forgery, target, i);
        put(link, from, target->forger, &forgery, false);
    }
}

/* What the victim's acks say, once nothing is on its way to it. */
static void catch_up(uint32_t link, uint32_t from, struct sent_last *last,
                     const struct forge_target *target)
{
    const struct sim_node *victim = &sim_nodes[target->node];

    for (uint32_t i = 0; target->is_known && i < victim->link_count; i++) {
        const struct link *end = &victim->host.links->links[i].link;

        if (victim->world_links[i] == link && link_rx_is_up(end) &&
            sim_cables[link].directions[from].count == 0) {
            last->next_seq = end->rx_next;
        }
    }
}

static void fire(uint32_t link, uint32_t from)
{
    struct sent_last *last = &sent[link][from];
    struct forge_target target = target_of(link, from);

    catch_up(link, from, last, &target);
    if (target.is_known && last->header.type != FRAME_TRAIN &&
        (forgers[target.forger].is_asking || forge_one_in(3))) {
        flood(link, from, last, &target);
        network_schedule_wake(link, 1 - from);
        return;
    }
    for (uint32_t i = 0, count = 1u + forge_below(VOLLEY_MAXIMUM); i < count; i++) {
        struct forgery forgery;
        bool is_changed;

        make_frame(&forgery, last, &target, i);
        is_changed = forge_one_in(4);
        if (is_changed) {
            change(&forgery, target.forger);
        }
        put(link, from, target.forger, &forgery, is_changed && forge_one_in(3));
    }
    network_schedule_wake(link, 1 - from);
}

/* --- A hostile node
 * ------------------------------------------------------------------------------- */

void forge_volley(uint32_t index)
{
    const struct sim_entry *entry = &sim.entries[index];
    uint32_t node = entry->target % sim.settings->node_count;
    const struct sim_node *forger = &sim_nodes[node];

    if (!forger->is_hostile || entry->arguments[1] == 0) {
        return;
    }
    for (uint32_t i = 0; i < forger->link_count; i++) {
        uint32_t link = forger->world_links[i];
        uint32_t from = sim.settings->links[link].ends[0] == node ? 0 : 1;

        if (forger->life != SIM_NONE && sent[link][from].is_known) {
            fire(link, from);
        }
    }
    timeline_add(fiber_now_ns() + entry->arguments[1] * SIM_US, TIMELINE_FORGE, index, 0);
}

void forge_begin(uint32_t index)
{
    const struct sim_entry *entry = &sim.entries[index];
    uint32_t node = entry->target % sim.settings->node_count;

    forgers[node].active++;
    forgers[node].permille = entry->arguments[0];
    forgers[node].is_bold = entry->arguments[2] != 0;
    forgers[node].is_stingy = entry->arguments[3] != 0;
    forgers[node].is_asking = entry->arguments[3] == 2;
    sim_nodes[node].is_hostile = true;
    forge_volley(index);
}

void forge_end(uint32_t index)
{
    uint32_t node = sim.entries[index].target % sim.settings->node_count;

    if (--forgers[node].active == 0) {
        sim_nodes[node].is_hostile = false;
    }
}
