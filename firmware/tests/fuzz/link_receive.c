/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: one end of a link that was trained, and a peer, a cable and an owner that do what
 * the input says. Accepted outcomes are the documented ones only: no fault, no buffer leaked or
 * ended twice, no message larger than announced.
 *
 * The input is a list of actions: a byte whose low three bits name the action, then its operands.
 *   0 raw      length (2), bytes                              a frame as it stands
 *   1 sealed   type, flags, epochs, seq, ack, length (2), payload   a frame with right identity and
 * checksums 2 time     units of 100 us (2), tick 3 send     size (2) of an mnl message 4 carrier
 * direction and state, generation 5 room     frames that the PHY takes before it is full 6 owner
 * answers to admit(), allocate() and deliver() 7 dead     the owner declares an incarnation dead,
 * or garbage The first byte chooses the configuration. Missing operands read as 0.
 *
 * Built with -fsanitize=fuzzer,address,undefined; corpus in corpus/link_receive.
 */
#include <kernel/frame.h>
#include <kernel/link.h>
#include <kernel/mach_node_link.h>
#include <kernel/phy.h>
#include <stdlib.h>
#include <string.h>

#define LIFE 0x100000001ull
#define MTU 1024u
#define MESSAGE_MAX 8192u
#define ROOM_DEFAULT 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *next;
    size_t left;
};

struct owner {
    struct link link;
    uint64_t now_ns;
    uint32_t room;
    uint32_t answers; /* of the owner, action 6 */
    size_t buffers;
    size_t messages;
};

static void must(bool holds)
{
    if (!holds)
        abort();
}

static uint32_t take(struct input *input, size_t bytes)
{
    uint32_t value = 0;

    for (size_t i = 0; i < bytes && input->left > 0; i++, input->left--)
        value |= (uint32_t)*input->next++ << 8 * i;
    return value;
}

/* --- The owner -------------------------------------------------------------------------------- */

static int owner_transmit(void *context, const struct frame_header *header, const void *payload,
                          size_t payload_bytes)
{
    struct owner *owner = context;
    uint32_t crc = crc32c(0, payload, payload_bytes);

    must(owner->link.tx_cable.up && le32_load(header->length) == payload_bytes &&
         payload_bytes <= MTU);
    must(frame_check_header(header, sizeof(*header) + payload_bytes, MTU) == 0);
    must(le32_load(header->payload_crc) == 0 || le32_load(header->payload_crc) == crc);
    if (owner->room == 0 && payload_bytes != 0)
        return ERROR_FULL;
    owner->room -= owner->room != 0;
    return ERROR_NONE;
}

static struct mnl_msg *owner_allocate(void *context, uint32_t total_bytes)
{
    struct owner *owner = context;

    must(total_bytes >= sizeof(struct mnl_msg) && total_bytes <= MESSAGE_MAX);
    if ((owner->answers & 1) != 0)
        return NULL;
    owner->buffers++;
    return malloc(total_bytes);
}

static void owner_release(void *context, struct mnl_msg *message)
{
    struct owner *owner = context;

    owner->buffers--;
    free(message);
}

static enum link_delivery owner_deliver(void *context, struct mnl_msg *message,
                                        uint32_t total_bytes)
{
    struct owner *owner = context;

    must(message->size + sizeof(*message) == total_bytes);
    owner_release(owner, message);
    return (enum link_delivery)(owner->answers >> 1 & 3);
}

static void owner_complete(void *context, struct mnl_msg *message)
{
    struct owner *owner = context;

    owner->messages--;
    free(message);
}

static void owner_state(void *context, const struct link_event *event)
{
    struct owner *owner = context;

    must(event->rx_up == link_rx_is_up(&owner->link));
    must(event->tx_up == link_tx_is_up(&owner->link));
}

static void owner_trained(void *context, uint64_t incarnation, const struct train_record *record,
                          bool new_life)
{
    (void)context;
    (void)new_life;
    must(incarnation != 0 && le32_load(record->mtu) >= FRAME_MTU_MINIMUM);
}

static void owner_refused(void *context, enum link_refusal reason, uint64_t incarnation, bool by_us)
{
    (void)context;
    (void)incarnation;
    (void)by_us;
    must(reason >= LINK_REFUSAL_VERSION && reason <= LINK_REFUSAL_INCARNATION);
}

static void owner_dropped(void *context, enum link_drop reason, uint32_t count)
{
    (void)context;
    must(reason > 0 && reason < LINK_DROP_COUNT && count == 1);
}

static int owner_admit(void *context, uint64_t incarnation, const struct train_record *record)
{
    static const int answers[] = {LINK_ADMIT_ACCEPT, LINK_ADMIT_HOLD, LINK_REFUSAL_STALE,
                                  LINK_REFUSAL_DUPLICATE_ID};
    const struct owner *owner = context;

    (void)record;
    must(incarnation != 0);
    return answers[owner->answers >> 3 & 3];
}

static void owner_flow_read(void *context, uint32_t *ack, uint32_t *credit)
{
    (void)context;
    *ack = 1;
    *credit = 65;
}

static void owner_flow_sent(void *context, uint64_t now_ns)
{
    (void)context;
    (void)now_ns;
}

static void owner_flow_peer(void *context, uint32_t ack, uint32_t credit)
{
    (void)context;
    (void)ack;
    (void)credit;
}

static uint32_t owner_flow_next(void *context)
{
    (void)context;
    return 1;
}

static uint64_t owner_flow_deadline_ns(void *context)
{
    (void)context;
    return DEADLINE_NEVER;
}

static const struct link_operations operations = {
    .transmit = owner_transmit,
    .allocate = owner_allocate,
    .release = owner_release,
    .deliver = owner_deliver,
    .complete = owner_complete,
    .state = owner_state,
    .trained = owner_trained,
    .refused = owner_refused,
    .dropped = owner_dropped,
    .admit = owner_admit,
    .flow_read = owner_flow_read,
    .flow_sent = owner_flow_sent,
    .flow_peer = owner_flow_peer,
    .flow_next = owner_flow_next,
    .flow_deadline_ns = owner_flow_deadline_ns,
};

/* --- Frames ----------------------------------------------------------------------------------- */

/* In memory of its own, so that a read past the end is seen. */
static void give(struct owner *owner, const uint8_t *frame, size_t length)
{
    uint8_t *copy = malloc(length != 0 ? length : 1);

    must(copy != NULL);
    memcpy(copy, frame, length);
    link_receive(&owner->link, copy, length, NULL, NULL, owner->now_ns);
    free(copy);
}

static void give_raw(struct owner *owner, struct input *input)
{
    size_t length = take(input, 2);

    if (length > input->left)
        length = input->left;
    give(owner, input->next, length);
    input->next += length;
    input->left -= length;
}

static void seal(uint8_t *frame, struct frame_header *header)
{
    const uint8_t *payload = frame + sizeof(*header);

    header->magic = le16_of(FRAME_MAGIC);
    header->version = FRAME_VERSION;
    header->payload_crc = le32_of(crc32c(0, payload, le32_load(header->length)));
    header->header_crc = le32_of(frame_header_crc(header, frame_constant_crc(header)));
    memcpy(frame, header, sizeof(*header));
}

/* The identity that the link expects, but for what the operands say. */
static void give_sealed(struct owner *owner, struct input *input)
{
    uint8_t frame[sizeof(struct frame_header) + MTU];
    struct frame_header header = {
        .src_node = le16_of(2),
        .dst_node = le16_of(1),
        .src_incarnation = le64_of(LIFE),
        .dst_incarnation = le64_of(LIFE),
        .type = (uint8_t)take(input, 1),
        .flags = (uint8_t)take(input, 1),
    };
    uint32_t epochs = take(input, 1);

    uint32_t length;

    header.src_epoch = le32_of(owner->link.peer_epoch + (epochs & 3) - 1);
    header.dst_epoch = le32_of((epochs & 4) != 0 ? 0 : owner->link.tx_epoch - (epochs >> 3 & 1));
    le64_add(&header.src_incarnation, epochs >> 4 & 3);
    le64_add(&header.dst_incarnation, epochs >> 6 & 1);
    header.seq = le32_of(owner->link.rx_next + take(input, 1) - 1);
    header.ack = le32_of(owner->link.tx_base + take(input, 1));
    length = take(input, 2) % (MTU + 1);
    header.length = le32_of(length);
    for (uint32_t i = 0; i < length; i++)
        frame[sizeof(header) + i] = (uint8_t)take(input, 1);
    seal(frame, &header);
    give(owner, frame, sizeof(header) + length);
}

/* The peer's TRAIN of its epoch 1, as an answer to ours. */
static void give_train(struct owner *owner)
{
    uint8_t frame[sizeof(struct frame_header) + sizeof(struct train_record)];
    const struct link_configuration *configuration = &owner->link.configuration;
    struct train_record record = {
        .version_min = le32_of(1),
        .version_max = le32_of(1),
        .byte_order = 1,
        .data_model = 2,
        .flags = le16_of(link_tx_is_up(&owner->link) ? 0 : TRAIN_FLAG_REPLAY),
        .mtu = le32_of(MTU),
        .message_max = le32_of(MESSAGE_MAX),
        .nodes_max = le32_of(configuration->constants.nodes_max),
        .window = le32_of(configuration->constants.window),
        .keepalive_ns = le64_of(configuration->constants.keepalive_ns),
        .link_down_after_ns = le64_of(configuration->constants.link_down_after_ns),
        .dead_after_ns = le64_of(configuration->constants.dead_after_ns),
        .ack_delay_ns = le64_of(configuration->constants.ack_delay_ns),
        .ack_count = le32_of(configuration->constants.ack_count),
    };
    struct frame_header header = {.src_node = le16_of(2),
                                  .dst_node = le16_of(1),
                                  .src_incarnation = le64_of(LIFE),
                                  .dst_incarnation = le64_of(LIFE),
                                  .src_epoch = le32_of(1),
                                  .dst_epoch = le32_of(1),
                                  .type = FRAME_TRAIN,
                                  .seq = le32_of(1),
                                  .length = le32_of(sizeof(record))};

    memcpy(frame + sizeof(header), &record, sizeof(record));
    seal(frame, &header);
    give(owner, frame, sizeof(frame));
}

/* --- Actions ---------------------------------------------------------------------------------- */

static void send_message(struct owner *owner, struct input *input)
{
    uint32_t total_bytes = (uint32_t)sizeof(struct mnl_msg) + take(input, 2) % MESSAGE_MAX;
    struct mnl_msg *message = calloc(1, total_bytes);

    must(message != NULL);
    message->size = total_bytes - (uint32_t)sizeof(*message);
    owner->messages++;
    if (link_send(&owner->link, message, total_bytes, MTU, owner->now_ns) != ERROR_NONE)
        owner_complete(owner, message);
}

static void act(struct owner *owner, struct input *input)
{
    uint32_t operand;

    switch (take(input, 1) & 7) {
    case 0:
        give_raw(owner, input);
        break;
    case 1:
        give_sealed(owner, input);
        break;
    case 2:
        owner->now_ns += take(input, 2) * 100000ull;
        link_tick(&owner->link, owner->now_ns);
        break;
    case 3:
        send_message(owner, input);
        break;
    case 4:
        operand = take(input, 1);
        link_carrier(&owner->link, 1 + (operand & 1), (operand & 2) != 0, take(input, 1),
                     (operand & 4) != 0, owner->now_ns);
        break;
    case 5:
        owner->room = take(input, 1);
        link_pump(&owner->link, 4 * MTU, owner->now_ns);
        break;
    case 6:
        owner->answers = take(input, 1);
        break;
    case 7:
        operand = take(input, 1);
        if ((operand & 1) != 0)
            link_garbage(&owner->link, owner->now_ns);
        else
            link_peer_died(&owner->link, LIFE + (operand >> 1 & 3) - 1, owner->now_ns);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct owner owner = {.now_ns = 1000000000, .room = ROOM_DEFAULT};
    uint32_t choice = take(&input, 1);
    struct link_configuration configuration = {
        .node_id = 1,
        .peer_id = 2,
        .incarnation = LIFE,
        .constants = {64, 64, 100000000, 1000000000, 3000000000, 100000, 16},
        .mtu = MTU,
        .message_max = MESSAGE_MAX,
        .wants_payload_crc = (choice & 1) != 0,
        .offers_replay = (choice & 2) != 0,
        .cable_frames = (choice & 4) != 0,
        .byte_order = 1,
        .data_model = 2,
    };

    must(link_initialize(&owner.link, &configuration, &operations, &owner) == ERROR_NONE);
    link_carrier(&owner.link, PHY_DIRECTION_TX, true, 1, false, owner.now_ns);
    link_carrier(&owner.link, PHY_DIRECTION_RX, true, 1, false, owner.now_ns);
    give_train(&owner);
    must(link_tx_is_up(&owner.link) && link_rx_is_up(&owner.link));
    while (input.left > 0)
        act(&owner, &input);
    link_close(&owner.link, owner.now_ns);
    must(owner.buffers == 0 && owner.messages == 0);
    return 0;
}
