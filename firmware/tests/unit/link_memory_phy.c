/* SPDX-License-Identifier: MIT
 *
 * A cable in memory; see link_memory_phy.h. One lock a cable guards everything; frames are handed
 * to the link manager without it.
 */
#include "link_memory_phy.h"
#include "native.h"
#include "unit.h"
#include <kernel/frame.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define ACK_RESERVE_BYTES 1024u
#define MTU 4096u

struct memory_frame {
    struct memory_frame *next;
    uint32_t generation;
    size_t length;
    uint8_t bytes[];
};

/* What one end sends. */
struct memory_direction {
    struct memory_frame *head;
    size_t queued_bytes;
    bool carrier;
    bool is_mute;
    bool has_space_wanted;
    uint32_t generation;
};

/* One end, as its link manager holds it. */
struct phy {
    struct memory_cable *cable;
    int end;
    bool is_started;
    struct phy_client client;
    uint32_t seen_generation[2]; /* by the index of the sending end */
    bool seen_carrier[2];
};

struct memory_cable {
    pthread_mutex_t lock;
    uint32_t index;
    enum boot_link_kind kind;
    struct memory_direction directions[2];
    struct phy ends[2];
    struct memory_faults faults;
    uint64_t random;
};

static struct memory_cable *cables[MEMORY_CABLES_MAXIMUM];

/* --- The cable -------------------------------------------------------------------------------- */

struct memory_cable *memory_cable_create(uint32_t index, enum boot_link_kind kind, uint64_t seed)
{
    struct memory_cable *cable = calloc(1, sizeof(*cable));

    REQUIRE(cable != NULL && index < MEMORY_CABLES_MAXIMUM && cables[index] == NULL);
    REQUIRE(pthread_mutex_init(&cable->lock, NULL) == 0);
    cable->index = index;
    cable->kind = kind;
    cable->random = seed * 2 + 1;
    for (int end = 0; end < 2; end++)
        cable->ends[end] = (struct phy){.cable = cable, .end = end};
    cables[index] = cable;
    return cable;
}

static void drop_queue(struct memory_direction *direction)
{
    while (direction->head != NULL) {
        struct memory_frame *frame = direction->head;

        direction->head = frame->next;
        free(frame);
    }
    direction->queued_bytes = 0;
}

void memory_cable_destroy(struct memory_cable *cable)
{
    for (int end = 0; end < 2; end++) {
        REQUIRE(!cable->ends[end].is_started);
        drop_queue(&cable->directions[end]);
    }
    cables[cable->index] = NULL;
    pthread_mutex_destroy(&cable->lock);
    free(cable);
}

uint32_t memory_cable_slot(const struct memory_cable *cable, int end)
{
    return cable->index * 2 + (uint32_t)end;
}

enum boot_link_kind memory_cable_kind(const struct memory_cable *cable)
{
    return cable->kind;
}

static void wake(struct memory_cable *cable, int end)
{
    if (cable->ends[end].is_started)
        event_signal(cable->ends[end].client.wake);
}

void memory_cable_set(struct memory_cable *cable, int from, bool up)
{
    struct memory_direction *direction = &cable->directions[from];

    pthread_mutex_lock(&cable->lock);
    direction->generation++;
    direction->carrier = up;
    drop_queue(direction);
    wake(cable, 0);
    wake(cable, 1);
    pthread_mutex_unlock(&cable->lock);
}

void memory_cable_splice(struct memory_cable *cable)
{
    memory_cable_set(cable, 0, true);
    memory_cable_set(cable, 1, true);
}

void memory_cable_cut(struct memory_cable *cable)
{
    memory_cable_set(cable, 0, false);
    memory_cable_set(cable, 1, false);
}

void memory_cable_mute(struct memory_cable *cable, int from, bool is_mute)
{
    pthread_mutex_lock(&cable->lock);
    cable->directions[from].is_mute = is_mute;
    pthread_mutex_unlock(&cable->lock);
}

void memory_cable_fault(struct memory_cable *cable, struct memory_faults faults)
{
    pthread_mutex_lock(&cable->lock);
    cable->faults = faults;
    pthread_mutex_unlock(&cable->lock);
}

/* Put a frame at the end of the queue, or before the last one. */
static void enqueue(struct memory_direction *direction, const void *header, size_t header_bytes,
                    const void *payload, size_t payload_bytes, bool is_swapped)
{
    struct memory_frame *frame = malloc(sizeof(*frame) + header_bytes + payload_bytes);
    struct memory_frame **place = &direction->head;

    REQUIRE(frame != NULL);
    frame->generation = direction->generation;
    frame->length = header_bytes + payload_bytes;
    memcpy(frame->bytes, header, header_bytes);
    if (payload_bytes != 0)
        memcpy(frame->bytes + header_bytes, payload, payload_bytes);
    while (*place != NULL && !(is_swapped && (*place)->next == NULL))
        place = &(*place)->next;
    frame->next = *place;
    *place = frame;
    direction->queued_bytes += frame->length;
}

void memory_cable_inject(struct memory_cable *cable, int to, const void *bytes, size_t length)
{
    pthread_mutex_lock(&cable->lock);
    if (cable->directions[1 - to].carrier)
        enqueue(&cable->directions[1 - to], bytes, length, NULL, 0, false);
    wake(cable, to);
    pthread_mutex_unlock(&cable->lock);
}

/* --- Sending ---------------------------------------------------------------------------------- */

static uint64_t next_random(struct memory_cable *cable)
{
    cable->random ^= cable->random << 13;
    cable->random ^= cable->random >> 7;
    cable->random ^= cable->random << 17;
    return cable->random;
}

static bool happens(struct memory_cable *cable, uint32_t per_mille)
{
    return per_mille != 0 && next_random(cable) % 1000 < per_mille;
}

static int phy_send(struct phy *phy, const void *header, const void *payload, size_t payload_bytes)
{
    struct memory_cable *cable = phy->cable;
    struct memory_direction *direction = &cable->directions[phy->end];
    size_t total_bytes = FRAME_HEADER_SIZE + payload_bytes;
    size_t limit_bytes = MEMORY_RING_BYTES + (payload_bytes == 0 ? ACK_RESERVE_BYTES : 0);
    int status = ERROR_NONE;

    pthread_mutex_lock(&cable->lock);
    if (!direction->carrier) {
        status = ERROR_DOWN;
    } else if (direction->queued_bytes + total_bytes > limit_bytes) {
        direction->has_space_wanted = true;
        status = ERROR_FULL;
    } else if (!direction->is_mute && !happens(cable, cable->faults.loss)) {
        bool is_swapped = happens(cable, cable->faults.swap);

        enqueue(direction, header, FRAME_HEADER_SIZE, payload, payload_bytes, is_swapped);
        if (happens(cable, cable->faults.damage))
            direction->head->bytes[next_random(cable) % direction->head->length] ^= 0x10;
        if (happens(cable, cable->faults.duplicate))
            enqueue(direction, header, FRAME_HEADER_SIZE, payload, payload_bytes, false);
    }
    pthread_mutex_unlock(&cable->lock);
    return status;
}

static void phy_flush(struct phy *phy)
{
    pthread_mutex_lock(&phy->cable->lock);
    wake(phy->cable, 1 - phy->end);
    pthread_mutex_unlock(&phy->cable->lock);
}

/* --- Receiving -------------------------------------------------------------------------------- */

static bool phy_confirm(struct phy *phy)
{
    struct memory_cable *cable = phy->cable;
    int from = 1 - phy->end;
    bool is_same;

    pthread_mutex_lock(&cable->lock);
    is_same = cable->directions[from].carrier &&
              cable->directions[from].generation == phy->seen_generation[from];
    pthread_mutex_unlock(&cable->lock);
    return is_same;
}

/* The cable of a stream speaks by frames. */
static void tell_by_frame(struct phy *phy, uint32_t direction, bool up, uint32_t generation)
{
    struct {
        struct frame_header header;
        struct cable_record_frame record;
    } frame = {
        .header = {.magic = le16_of(FRAME_MAGIC),
                   .version = FRAME_VERSION,
                   .src_node = le16_of(FRAME_CABLE_NODE),
                   .type = FRAME_CABLE,
                   .length = le32_of(sizeof(frame.record))},
        .record = {.direction = le32_of(direction),
                   .carrier = le32_of(up),
                   .generation = le32_of(generation),
                   .flags = le32_of(1)},
    };

    STORE(frame.header.payload_crc, crc32c(0, &frame.record, sizeof(frame.record)));
    STORE(frame.header.header_crc,
          frame_header_crc(&frame.header, frame_constant_crc(&frame.header)));
    phy->client.frame(phy->client.context, (const uint8_t *)&frame, sizeof(frame), NULL, phy);
}

static void tell_carrier(struct phy *phy, int from)
{
    struct memory_cable *cable = phy->cable;
    uint32_t direction = from == phy->end ? PHY_DIRECTION_TX : PHY_DIRECTION_RX;
    uint32_t generation;
    bool up;

    pthread_mutex_lock(&cable->lock);
    generation = cable->directions[from].generation;
    up = cable->directions[from].carrier;
    pthread_mutex_unlock(&cable->lock);
    if (generation == phy->seen_generation[from] && up == phy->seen_carrier[from])
        return;
    phy->seen_generation[from] = generation;
    phy->seen_carrier[from] = up;
    if (cable->kind == BOOT_LINK_VIRTIO_SERIAL)
        tell_by_frame(phy, direction, up, generation);
    else
        phy->client.carrier(phy->client.context, direction, up, generation, false);
}

/* The oldest frame of the generation that the end knows; null: none. */
static struct memory_frame *take_frame(struct phy *phy)
{
    struct memory_direction *direction = &phy->cable->directions[1 - phy->end];
    struct memory_frame *frame;

    pthread_mutex_lock(&phy->cable->lock);
    frame = direction->generation == phy->seen_generation[1 - phy->end] ? direction->head : NULL;
    if (frame != NULL) {
        direction->head = frame->next;
        direction->queued_bytes -= frame->length;
        if (direction->has_space_wanted) {
            direction->has_space_wanted = false;
            wake(phy->cable, 1 - phy->end);
        }
    }
    pthread_mutex_unlock(&phy->cable->lock);
    return frame;
}

static bool phy_poll(struct phy *phy, size_t budget_bytes)
{
    struct memory_frame *frame;
    size_t taken_bytes = 0;

    tell_carrier(phy, 0);
    tell_carrier(phy, 1);
    while (taken_bytes < budget_bytes && (frame = take_frame(phy)) != NULL) {
        taken_bytes += frame->length;
        phy->client.frame(phy->client.context, frame->bytes, frame->length, phy_confirm, phy);
        free(frame);
    }
    return taken_bytes >= budget_bytes;
}

static bool phy_arm(struct phy *phy)
{
    struct memory_cable *cable = phy->cable;
    bool is_awake;

    pthread_mutex_lock(&cable->lock);
    is_awake = cable->directions[1 - phy->end].head != NULL;
    for (int from = 0; from < 2; from++)
        is_awake |= cable->directions[from].generation != phy->seen_generation[from];
    pthread_mutex_unlock(&cable->lock);
    return is_awake;
}

static void phy_disarm(struct phy *phy)
{
    (void)phy;
}

/* --- Start and stop --------------------------------------------------------------------------- */

static int phy_start(struct mach_host *host, const struct boot_link *link,
                     const struct phy_client *client, struct phy **phy)
{
    struct memory_cable *cable =
        link->slot / 2 < MEMORY_CABLES_MAXIMUM ? cables[link->slot / 2] : NULL;
    struct phy *end;

    (void)host;
    if (cable == NULL)
        return ERROR_NOT_FOUND;
    end = &cable->ends[link->slot % 2];
    pthread_mutex_lock(&cable->lock);
    *end = (struct phy){
        .cable = cable, .end = (int)(link->slot % 2), .is_started = true, .client = *client};
    pthread_mutex_unlock(&cable->lock);
    *phy = end;
    return ERROR_NONE;
}

static void phy_stop(struct phy *phy)
{
    pthread_mutex_lock(&phy->cable->lock);
    phy->is_started = false;
    pthread_mutex_unlock(&phy->cable->lock);
}

#define MEMORY_PHY(name, is_lossless)                                                              \
    {                                                                                              \
        .kind = (name), .mtu = MTU, .lossless = (is_lossless), .start = phy_start,                 \
        .stop = phy_stop, .send = phy_send, .flush = phy_flush, .poll = phy_poll, .arm = phy_arm,  \
        .disarm = phy_disarm,                                                                      \
    }

static const struct phy_operations operations[] = {MEMORY_PHY("ivshmem", true),
                                                   MEMORY_PHY("virtio-serial", false)};

const struct phy_operations *memory_find_phy(const char *kind)
{
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
        if (strcmp(operations[i].kind, kind) == 0)
            return &operations[i];
    }
    return NULL;
}
