/* SPDX-License-Identifier: MIT
 *
 * Cables as the link manager meets them: two PHY drivers behind kernel/phy.h. The ring reports its
 * carrier itself and loses nothing; the stream learns of it by CABLE frames, like its models.
 *
 * The cable belongs to the world, not to a node: it outlives crashes. A direction has carrier while
 * no fault cuts it and both machines are powered; each change of that is a new generation and
 * empties it.
 */
#include "network.h"
#include "arch/sim/fiber.h"

#include <string.h>

struct sim_cable sim_cables[SIM_LINKS_MAXIMUM];

static struct sim_frame frames[SIM_FRAMES_MAXIMUM];
static uint16_t free_frame;
static uint32_t frames_used; /* above it never used since the process began */
static uint64_t frame_count;

/* --- Frames
 * --------------------------------------------------------------------------------------- */

uint16_t frame_take(void)
{
    uint16_t frame = free_frame;

    if (frame != FRAME_NONE) {
        free_frame = frames[frame].next;
        return frame;
    }
    return frames_used < SIM_FRAMES_MAXIMUM ? (uint16_t)frames_used++ : FRAME_NONE;
}

void frame_give(uint16_t frame)
{
    frames[frame].next = free_frame;
    free_frame = frame;
}

struct sim_frame *frame_at(uint16_t frame)
{
    return &frames[frame];
}

/* In the order of arrival, behind what arrives at the same time. */
void queue_insert(struct sim_direction *direction, uint16_t frame)
{
    uint16_t *place = &direction->head;

    if (direction->count != 0 && frames[direction->tail].arrival_ns <= frames[frame].arrival_ns) {
        place = &frames[direction->tail].next;
    } else {
        for (uint32_t i = 0;
             i < direction->count && frames[*place].arrival_ns <= frames[frame].arrival_ns; i++) {
            place = &frames[*place].next;
        }
    }
    frames[frame].next = direction->count != 0 ? *place : FRAME_NONE;
    if (frames[frame].next == FRAME_NONE) {
        direction->tail = frame;
    }
    *place = frame;
    direction->count++;
}

/* Overtakes one; arrival times stay in order. */
void queue_insert_before_last(struct sim_direction *direction, uint16_t frame)
{
    uint64_t arrival_ns = frames[frame].arrival_ns;
    uint16_t *place = &direction->head;

    if (direction->count == 0 || frames[direction->tail].is_of_cable) {
        queue_insert(direction, frame);
        return;
    }
    while (*place != direction->tail) {
        place = &frames[*place].next;
    }
    frames[frame].arrival_ns = frames[direction->tail].arrival_ns;
    frames[direction->tail].arrival_ns = arrival_ns;
    frames[frame].next = direction->tail;
    *place = frame;
    direction->count++;
}

static uint16_t queue_take(struct sim_direction *direction)
{
    uint16_t frame = direction->head;

    direction->head = frames[frame].next;
    direction->count--;
    return frame;
}

/* What the cable itself said stays: it is in the hands of the reader's side. */
static void queue_drop(struct sim_direction *direction)
{
    struct sim_direction kept = {.head = FRAME_NONE, .tail = FRAME_NONE};

    while (direction->count != 0) {
        uint16_t frame = queue_take(direction);

        if (frames[frame].is_of_cable) {
            queue_insert(&kept, frame);
        } else {
            frame_give(frame);
        }
    }
    direction->head = kept.head;
    direction->tail = kept.tail;
    direction->count = kept.count;
}

/* --- Waking
 * --------------------------------------------------------------------------------------- */

static bool is_stream(uint32_t link)
{
    return sim.settings->links[link].kind == SIM_LINK_STREAM;
}

/* The direction that an end receives from. */
static struct sim_direction *incoming(const struct phy *phy)
{
    return &sim_cables[phy->link].directions[1 - phy->end];
}

static struct sim_direction *outgoing(const struct phy *phy)
{
    return &sim_cables[phy->link].directions[phy->end];
}

void network_schedule_wake(uint32_t link, uint32_t end)
{
    struct phy *phy = &sim_cables[link].ends[end];
    const struct sim_direction *direction = incoming(phy);
    uint64_t arrival_ns;

    if (direction->count == 0) {
        return;
    }
    arrival_ns = frames[direction->head].arrival_ns;
    if (phy->is_started && direction->damage.jams == 0 && arrival_ns < phy->wake_ns) {
        phy->wake_ns = arrival_ns;
        timeline_add(arrival_ns, TIMELINE_WAKE, link, end);
    }
}

void network_signal(struct phy *phy)
{
    if (phy->is_started && phy->is_agent) {
        agent_wake();
    } else if (phy->is_started) {
        event_signal(phy->client.wake);
    }
}

static bool is_waiting(const struct phy *phy)
{
    const struct sim_direction *direction = incoming(phy);

    return direction->count != 0 && direction->damage.jams == 0 &&
           frames[direction->head].arrival_ns <= fiber_now_ns();
}

void network_wake(uint32_t link, uint32_t end)
{
    struct phy *phy = &sim_cables[link].ends[end];
    uint32_t rate = incoming(phy)->damage.rates[SIM_FAULT_DOORBELL];

    phy->wake_ns = SIM_NEVER;
    if (!is_waiting(phy)) {
        network_schedule_wake(link, end);
    } else if (rate != 0 && fiber_random() % 1000u < rate) {
        sim.result->fired[SIM_FAULT_DOORBELL]++;
    } else {
        network_signal(phy);
    }
}

/* --- Carrier
 * -------------------------------------------------------------------------------------- */

/* The cable says to end `to` how direction `direction` of that end is. */
static void say(uint32_t link, uint32_t to, uint32_t direction, const struct sim_direction *state)
{
    struct sim_cable *cable = &sim_cables[link];
    struct sim_direction *queue = &cable->directions[1 - to];
    struct cable_record_frame record = {.direction = le32_of(direction),
                                        .carrier = le32_of(state->carrier),
                                        .generation = le32_of(state->generation),
                                        .flags = le32_of(cable->taps != 0 ? 1u : 0u)};
    struct frame_header header = {.magic = le16_of(FRAME_MAGIC),
                                  .version = FRAME_VERSION,
                                  .src_node = le16_of(FRAME_CABLE_NODE),
                                  .type = FRAME_CABLE,
                                  .length = le32_of(sizeof(record)),
                                  .payload_crc = le32_of(crc32c(0, &record, sizeof(record)))};
    uint16_t frame = frame_take();

    if (frame == FRAME_NONE || !cable->ends[to].is_started) {
        if (frame != FRAME_NONE) {
            frame_give(frame);
        }
        return;
    }
    header.header_crc = le32_of(frame_header_crc(&header, frame_constant_crc(&header)));
    memcpy(frames[frame].bytes, &header, sizeof(header));
    memcpy(frames[frame].bytes + sizeof(header), &record, sizeof(record));
    frames[frame].length = sizeof(header) + sizeof(record);
    frames[frame].is_of_cable = true;
    frames[frame].arrival_ns = fiber_now_ns();
    queue_insert(queue, frame);
    network_schedule_wake(link, to);
}

static void tell(uint32_t link, uint32_t from)
{
    struct sim_cable *cable = &sim_cables[link];

    if (is_stream(link)) {
        say(link, from, CABLE_DIRECTION_TX, &cable->directions[from]);
        say(link, 1 - from, CABLE_DIRECTION_RX, &cable->directions[from]);
    } else {
        network_signal(&cable->ends[0]);
        network_signal(&cable->ends[1]);
    }
}

/* A direction's carrier follows from cuts and power; `is_new`: it is another one in any case. */
static void refresh(uint32_t link, uint32_t from, bool is_new)
{
    struct sim_cable *cable = &sim_cables[link];
    struct sim_direction *direction = &cable->directions[from];
    bool carrier = direction->cuts == 0 && cable->is_powered[0] && cable->is_powered[1];

    if (carrier == direction->carrier && !is_new) {
        return;
    }
    direction->carrier = carrier;
    direction->generation++;
    queue_drop(direction);
    tell(link, from);
}

void network_cut(uint32_t link, uint32_t directions, int change)
{
    for (uint32_t from = 0; from < 2; from++) {
        if ((directions & 1u << from) != 0) {
            sim_cables[link].directions[from].cuts += (uint32_t)change;
            refresh(link, from, false);
        }
    }
}

/* Tapped, or no longer, is a new generation of both directions. */
void network_tap(uint32_t link, int change)
{
    struct sim_cable *cable = &sim_cables[link];
    bool was_checked = cable->taps != 0;

    cable->taps += (uint32_t)change;
    if (was_checked != (cable->taps != 0)) {
        refresh(link, 0, true);
        refresh(link, 1, true);
    }
}

/* --- Power
 * ---------------------------------------------------------------------------------------- */

static void unplug(struct phy *phy)
{
    if (phy->held != FRAME_NONE) {
        frame_give(phy->held);
    }
    *phy =
        (struct phy){.link = phy->link, .end = phy->end, .held = FRAME_NONE, .wake_ns = SIM_NEVER};
}

/* A machine that nobody sees die takes with it what was on its way to it. */
static void power_end(uint32_t link, uint32_t end, bool is_on, bool is_visible)
{
    struct sim_cable *cable = &sim_cables[link];

    if (!is_on) {
        unplug(&cable->ends[end]);
        queue_drop(&cable->directions[1 - end]);
    }
    if (is_visible) {
        cable->is_powered[end] = is_on;
    }
    /* A ring's new session is a flap to the other end, whatever the carrier said. */
    bool is_new = is_on && !is_stream(link);
    refresh(link, 0, is_new);
    refresh(link, 1, is_new);
}

void network_power(uint32_t node, bool is_on, bool is_visible)
{
    const struct sim_node *of = &sim_nodes[node];

    for (uint32_t i = 0; i < of->link_count; i++) {
        uint32_t link = of->world_links[i];

        power_end(link, sim.settings->links[link].ends[0] == node ? 0 : 1, is_on, is_visible);
    }
}

void network_disturb(uint32_t link, uint64_t until_ns)
{
    if (until_ns > sim_cables[link].disturbed_ns) {
        sim_cables[link].disturbed_ns = until_ns;
    }
}

uint64_t network_disturbed_ns(uint32_t link)
{
    uint64_t until_ns = sim_cables[link].disturbed_ns;

    for (uint32_t end = 0; end < 2; end++) {
        uint64_t node_ns = sim_nodes[sim.settings->links[link].ends[end]].disturbed_ns;

        until_ns = node_ns > until_ns ? node_ns : until_ns;
    }
    return until_ns;
}

uint32_t network_index(uint32_t node, uint32_t boot_link)
{
    return sim_nodes[node].world_links[boot_link];
}

bool network_is_up(uint32_t link)
{
    const uint32_t *ends = sim.settings->links[link].ends;

    if (node_is_discredited(ends[0]) || node_is_discredited(ends[1])) {
        return true;
    }
    for (uint32_t end = 0; end < 2; end++) {
        struct sim_node *node = &sim_nodes[ends[end]];

        if (node->life == SIM_NONE || !node->is_ready ||
            (node_is_agent(node->index) && !agent_link_is_up(link))) {
            return false;
        }
        for (uint32_t i = 0; i < node->link_count; i++) {
            if (node->world_links[i] == link && !node_is_agent(node->index) &&
                !link_manager_is_up(&node->host, i)) {
                return false;
            }
        }
    }
    return true;
}

uint64_t network_frames(void)
{
    return frame_count;
}

void network_open(void)
{
    memset(sim_cables, 0, sizeof(sim_cables));
    free_frame = FRAME_NONE;
    frames_used = 0;
    frame_count = 0;
    for (uint32_t link = 0; link < sim.settings->link_count; link++) {
        for (uint32_t end = 0; end < 2; end++) {
            sim_cables[link].ends[end] =
                (struct phy){.link = link, .end = end, .held = FRAME_NONE, .wake_ns = SIM_NEVER};
        }
    }
}

/* --- The drivers
 * ---------------------------------------------------------------------------------- */

/* An end begins to listen. */
static void plug_in(struct phy *phy)
{
    const struct sim_cable *cable = &sim_cables[phy->link];

    phy->is_started = true;
    if (is_stream(phy->link)) {
        say(phy->link, phy->end, CABLE_DIRECTION_TX, &cable->directions[phy->end]);
        say(phy->link, phy->end, CABLE_DIRECTION_RX, &cable->directions[1 - phy->end]);
    }
    network_schedule_wake(phy->link, phy->end);
}

static int start(struct mach_host *host, const struct boot_link *link,
                 const struct phy_client *client, struct phy **out)
{
    struct phy *phy = &sim_cables[link->slot / 2].ends[link->slot % 2];

    (void)host;
    phy->client = *client;
    *out = phy;
    plug_in(phy);
    return ERROR_NONE;
}

static void stop(struct phy *phy)
{
    unplug(phy);
}

static int send(struct phy *phy, const void *header, const void *payload, size_t payload_bytes)
{
    struct sim_direction *direction = outgoing(phy);
    uint32_t room = payload_bytes == 0 ? SIM_QUEUE_FRAMES + SIM_QUEUE_RESERVE : SIM_QUEUE_FRAMES;

    if (!direction->carrier && !is_stream(phy->link)) {
        return ERROR_DOWN;
    }
    if (direction->count >= room || (direction->damage.fulls != 0 && payload_bytes != 0)) {
        sim.result->fired[SIM_FAULT_FULL] += direction->damage.fulls != 0;
        direction->is_space_wanted = true;
        return ERROR_FULL;
    }
    frame_count++;
    trace_hash((uint64_t)le32_load(((const struct frame_header *)header)->header_crc) << 8 |
               phy->link);
    if (direction->carrier) {
        forge_send(phy->link, phy->end, header, payload, payload_bytes);
        network_schedule_wake(phy->link, 1 - phy->end);
    }
    return ERROR_NONE;
}

static void flush(struct phy *phy)
{
    (void)phy;
}

static void report(struct phy *phy, struct sim_reported *reported, uint32_t direction,
                   const struct sim_direction *state)
{
    bool checked = sim_cables[phy->link].taps != 0;

    if (reported->is_known && reported->generation == state->generation &&
        reported->carrier == state->carrier && reported->checked == checked) {
        return;
    }
    *reported = (struct sim_reported){.generation = state->generation,
                                      .is_known = true,
                                      .carrier = state->carrier,
                                      .checked = checked};
    phy->client.carrier(phy->client.context, direction, state->carrier, state->generation, checked);
}

/* The frame is what it was only if the direction was not cut since it was taken out. */
static bool confirm(struct phy *phy)
{
    const struct sim_direction *direction = incoming(phy);

    return direction->carrier && direction->generation == phy->held_generation;
}

/* The node may die in the middle of it: everything is looked at again after each frame. */
static void hand_over(struct phy *phy)
{
    struct sim_direction *direction = incoming(phy);
    struct phy *sender = &sim_cables[phy->link].ends[1 - phy->end];
    const struct sim_frame *frame;

    phy->held = queue_take(direction);
    phy->held_generation = direction->generation;
    frame = &frames[phy->held];
    if (direction->is_space_wanted && direction->damage.fulls == 0) {
        direction->is_space_wanted = false;
        network_signal(sender);
    }
    phy->client.frame(phy->client.context, frame->bytes, frame->length,
                      is_stream(phy->link) ? NULL : confirm, phy);
    frame_give(phy->held);
    phy->held = FRAME_NONE;
}

static bool poll(struct phy *phy, size_t budget_bytes)
{
    size_t taken_bytes = 0;

    if (!is_stream(phy->link)) {
        report(phy, &phy->tx, PHY_DIRECTION_TX, outgoing(phy));
        report(phy, &phy->rx, PHY_DIRECTION_RX, incoming(phy));
    }
    while (taken_bytes < budget_bytes && is_waiting(phy)) {
        taken_bytes += frames[incoming(phy)->head].length;
        hand_over(phy);
    }
    network_schedule_wake(phy->link, phy->end);
    return is_waiting(phy);
}

/* --- The agent's ends
 * ----------------------------------------------------------------------------- */

struct phy *network_plug(uint32_t link, uint32_t node, const struct phy_client *client)
{
    struct phy *phy = &sim_cables[link].ends[sim.settings->links[link].ends[0] == node ? 0 : 1];

    phy->client = *client;
    phy->is_agent = true;
    plug_in(phy);
    return phy;
}

int network_send(struct phy *phy, const void *header, const void *payload, size_t payload_bytes)
{
    return send(phy, header, payload, payload_bytes);
}

void network_poll(struct phy *phy)
{
    (void)poll(phy, SIZE_MAX);
}

static bool is_reported(const struct sim_reported *reported, const struct sim_direction *state)
{
    return reported->is_known && reported->generation == state->generation &&
           reported->carrier == state->carrier;
}

static bool arm(struct phy *phy)
{
    return is_waiting(phy) || (!is_stream(phy->link) && (!is_reported(&phy->tx, outgoing(phy)) ||
                                                         !is_reported(&phy->rx, incoming(phy))));
}

static void disarm(struct phy *phy)
{
    (void)phy;
}

#define SIM_PHY(kind_name, is_lossless)                                                            \
    {                                                                                              \
        .kind = (kind_name), .mtu = SIM_MTU_MAXIMUM, .lossless = (is_lossless), .start = start,    \
        .stop = stop, .send = send, .flush = flush, .poll = poll, .arm = arm, .disarm = disarm     \
    }

static const struct phy_operations ring = SIM_PHY("ivshmem", true);
static const struct phy_operations stream = SIM_PHY("virtio-serial", false);

const struct phy_operations *network_find_phy(const char *kind)
{
    return strcmp(kind, ring.kind) == 0 ? &ring : &stream;
}
