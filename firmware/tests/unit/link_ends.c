/* SPDX-License-Identifier: MIT
 *
 * Two ends of a link joined by hand; see link_ends.h.
 */
#include "link_ends.h"
#include "hosts.h"
#include "unit.h"
#include <kernel/phy.h>
#include <stdlib.h>
#include <string.h>

#define FLOW_CREDIT 64u
#define ACK_RESERVE 4u

/* --- The owner of an end ---------------------------------------------------------------------- */

static int end_transmit(void *context, const struct frame_header *header, const void *payload,
                        size_t payload_bytes)
{
    struct end *end = context;
    struct end_frame *frame = &end->wire[end->wire_count];
    size_t room = end->wire_room + (payload_bytes == 0 ? ACK_RESERVE : 0);

    if (end->wire_count >= room)
        return ERROR_FULL;
    frame->length = sizeof(*header) + payload_bytes;
    frame->bytes = malloc(frame->length);
    REQUIRE(frame->bytes != NULL);
    memcpy(frame->bytes, header, sizeof(*header));
    if (payload_bytes != 0)
        memcpy(frame->bytes + sizeof(*header), payload, payload_bytes);
    end->wire_count++;
    return ERROR_NONE;
}

static struct mnl_msg *end_allocate(void *context, uint32_t total_bytes)
{
    struct end *end = context;
    struct mnl_msg *message = end->has_no_memory ? NULL : malloc(total_bytes);

    end->allocated += message != NULL;
    return message;
}

static void end_release(void *context, struct mnl_msg *message)
{
    struct end *end = context;

    end->released++;
    free(message);
}

static uint8_t pattern(uint64_t number, uint32_t offset)
{
    return (uint8_t)(number * 131 + offset);
}

/* What the sender knows of message `number`, as far as the size tells; numbers rise. */
static bool is_intact(const struct mnl_msg *message, uint32_t total_bytes)
{
    const uint8_t *payload = (const uint8_t *)message + sizeof(*message);

    if (message->size != total_bytes - sizeof(*message))
        return false;
    for (uint32_t i = 0; i < message->size; i++) {
        if (payload[i] != pattern(message->object, i))
            return false;
    }
    return true;
}

static enum link_delivery end_deliver(void *context, struct mnl_msg *message, uint32_t total_bytes)
{
    struct end *end = context;

    end->wrong += !is_intact(message, total_bytes) || message->object != end->delivered;
    end->delivered++;
    free(message);
    return end->delivery;
}

static void end_complete(void *context, struct mnl_msg *message)
{
    struct end *end = context;

    end->completed++;
    free(message);
}

static void end_state(void *context, const struct link_event *event)
{
    struct end *end = context;

    end->last_reason = event->reason;
    end->state_changes++;
}

static void end_trained(void *context, uint64_t incarnation, const struct train_record *record,
                        bool new_life)
{
    (void)context;
    (void)incarnation;
    (void)record;
    (void)new_life;
}

static void end_refused(void *context, enum link_refusal reason, uint64_t incarnation, bool by_us)
{
    (void)context;
    (void)reason;
    (void)incarnation;
    (void)by_us;
}

static void end_dropped(void *context, enum link_drop reason, uint32_t count)
{
    (void)context;
    (void)reason;
    (void)count;
}

static int end_admit(void *context, uint64_t incarnation, const struct train_record *record)
{
    (void)context;
    (void)incarnation;
    (void)record;
    return LINK_ADMIT_ACCEPT;
}

static void end_flow_read(void *context, uint32_t *ack, uint32_t *credit)
{
    (void)context;
    *ack = 0;
    *credit = FLOW_CREDIT;
}

static void end_flow_sent(void *context, uint64_t now_ns)
{
    (void)context;
    (void)now_ns;
}

static void end_flow_peer(void *context, uint32_t ack, uint32_t credit)
{
    (void)context;
    EXPECT_EQUAL(ack, 0);
    EXPECT_EQUAL(credit, FLOW_CREDIT);
}

static uint32_t end_flow_next(void *context)
{
    (void)context;
    return 0;
}

static uint64_t end_flow_deadline_ns(void *context)
{
    (void)context;
    return DEADLINE_NEVER;
}

static const struct link_operations operations = {
    .transmit = end_transmit,
    .allocate = end_allocate,
    .release = end_release,
    .deliver = end_deliver,
    .complete = end_complete,
    .state = end_state,
    .trained = end_trained,
    .refused = end_refused,
    .dropped = end_dropped,
    .admit = end_admit,
    .flow_read = end_flow_read,
    .flow_sent = end_flow_sent,
    .flow_peer = end_flow_peer,
    .flow_next = end_flow_next,
    .flow_deadline_ns = end_flow_deadline_ns,
};

/* --- Both ends -------------------------------------------------------------------------------- */

struct ends *ends_create(bool with_replay, bool with_crc)
{
    struct ends *ends = calloc(1, sizeof(*ends));

    REQUIRE(ends != NULL);
    ends->now_ns = 1000000000;
    for (uint32_t i = 0; i < 2; i++) {
        struct link_configuration configuration = {
            .node_id = i + 1,
            .peer_id = 2 - i,
            .incarnation = TEST_INCARNATION(1),
            .constants = test_configuration(i + 1, TEST_INCARNATION(1)).constants,
            .mtu = ENDS_MTU,
            .message_max = ENDS_MESSAGE_MAX,
            .wants_payload_crc = with_crc,
            .offers_replay = with_replay,
            .byte_order = MNL_BYTEORDER_LITTLE,
            .data_model = MNL_DATAMODEL_LP64,
        };
        struct end *end = &ends->end[i];

        end->now_ns = &ends->now_ns;
        end->wire_room = ENDS_WIRE_FRAMES - ACK_RESERVE;
        REQUIRE(link_initialize(&end->link, &configuration, &operations, end) == ERROR_NONE);
    }
    return ends;
}

void ends_drop(struct ends *ends, int from)
{
    struct end *end = &ends->end[from];

    REQUIRE(end->wire_count > 0);
    free(end->wire[0].bytes);
    end->wire_count--;
    memmove(end->wire, end->wire + 1, end->wire_count * sizeof(end->wire[0]));
}

void ends_destroy(struct ends *ends)
{
    for (int i = 0; i < 2; i++)
        link_close(&ends->end[i].link, ends->now_ns);
    for (int i = 0; i < 2; i++) {
        struct end *end = &ends->end[i];

        while (end->wire_count > 0)
            ends_drop(ends, i);
        EXPECT_EQUAL(end->allocated, end->released + end->delivered);
        EXPECT_EQUAL(end->sent, end->completed);
    }
    free(ends);
}

void ends_splice(struct ends *ends)
{
    for (int i = 0; i < 2; i++) {
        struct link *link = &ends->end[i].link;
        uint32_t generation = link->tx_cable.generation + 1;

        link_carrier(link, PHY_DIRECTION_TX, true, generation, false, ends->now_ns);
        link_carrier(link, PHY_DIRECTION_RX, true, generation, false, ends->now_ns);
    }
}

bool ends_move(struct ends *ends, int from)
{
    struct end *source = &ends->end[from], *sink = &ends->end[1 - from];
    struct end_frame frame;

    if (source->wire_count == 0)
        return false;
    frame = source->wire[0];
    source->wire_count--;
    memmove(source->wire, source->wire + 1, source->wire_count * sizeof(source->wire[0]));
    link_receive(&sink->link, frame.bytes, frame.length, NULL, NULL, ends->now_ns);
    free(frame.bytes);
    link_pump(&sink->link, SIZE_MAX, ends->now_ns);
    link_pump(&source->link, SIZE_MAX, ends->now_ns); /* its PHY has room */
    return true;
}

void ends_settle(struct ends *ends)
{
    bool moved = true;

    while (moved) {
        moved = ends_move(ends, 0);
        moved |= ends_move(ends, 1);
    }
}

void ends_pass(struct ends *ends, uint64_t duration_ns)
{
    uint64_t until_ns = ends->now_ns + duration_ns;

    ends_settle(ends);
    for (;;) {
        uint64_t next_ns = until_ns;

        for (int i = 0; i < 2; i++) {
            uint64_t deadline_ns = link_next_deadline_ns(&ends->end[i].link);

            next_ns = deadline_ns < next_ns ? deadline_ns : next_ns;
        }
        ends->now_ns = next_ns > ends->now_ns ? next_ns : ends->now_ns;
        for (int i = 0; i < 2; i++) {
            link_tick(&ends->end[i].link, ends->now_ns);
            link_pump(&ends->end[i].link, SIZE_MAX, ends->now_ns);
        }
        ends_settle(ends);
        if (ends->now_ns >= until_ns)
            return;
    }
}

void ends_train(struct ends *ends)
{
    ends_splice(ends);
    ends_settle(ends);
    for (int i = 0; i < 2; i++)
        REQUIRE(link_tx_is_up(&ends->end[i].link) && link_rx_is_up(&ends->end[i].link));
}

int ends_send(struct ends *ends, int from, uint32_t total_bytes, size_t budget_bytes)
{
    struct end *end = &ends->end[from];
    struct mnl_msg *message = malloc(total_bytes);
    int status;

    REQUIRE(message != NULL && total_bytes >= sizeof(*message));
    memset(message, 0, sizeof(*message));
    message->object = end->sent;
    message->size = total_bytes - (uint32_t)sizeof(*message);
    for (uint32_t i = 0; i < message->size; i++)
        ((uint8_t *)MNL_MSG_PAYLOAD(message))[i] = pattern(end->sent, i);
    end->sent++; /* link_send() may complete it at once */
    status = link_send(&end->link, message, total_bytes, budget_bytes, ends->now_ns);
    if (status != ERROR_NONE) {
        end->sent--;
        free(message);
    }
    return status;
}
