/* SPDX-License-Identifier: MIT
 *
 * One link, two ends, no threads: what concerns memory, a full PHY and hostile memory. The
 * protocol's conversations are in tests/data/vectors/link, which both implementations play.
 */
#include "link_ends.h"
#include "unit.h"
#include <kernel/frame.h>
#include <kernel/phy.h>
#include <stdlib.h>
#include <string.h>

#define MS 1000000ull

/* --- Room and budget -------------------------------------------------------------------------- */

static void a_large_message_stops_at_its_budget(void)
{
    struct ends *ends = ends_create(false, false);

    ends_train(ends);
    EXPECT_EQUAL(ends_send(ends, 0, 64 * 1024, 16 * 1024), ERROR_NONE);
    EXPECT_EQUAL(ends->end[0].wire_count, 4);
    EXPECT(!link_is_ready(&ends->end[0].link));
    EXPECT(link_has_backlog(&ends->end[0].link));
    EXPECT_EQUAL(ends_send(ends, 0, 64, 1), ERROR_FULL);
    link_pump(&ends->end[0].link, 16 * 1024, ends->now_ns);
    EXPECT_EQUAL(ends->end[0].wire_count, 8);
    link_pump(&ends->end[0].link, SIZE_MAX, ends->now_ns);
    EXPECT(link_is_ready(&ends->end[0].link));
    EXPECT_EQUAL(ends->end[0].completed, 1);
    ends_settle(ends);
    EXPECT_EQUAL(ends->end[1].delivered, 1);
    EXPECT_EQUAL(ends->end[1].wrong, 0);
    ends_destroy(ends);
}

static void a_full_phy_delays_data_but_not_acks(void)
{
    struct ends *ends = ends_create(false, false);
    struct end *end = &ends->end[0];

    ends_train(ends);
    end->wire_room = 2;
    EXPECT_EQUAL(ends_send(ends, 0, 5 * ENDS_MTU, SIZE_MAX), ERROR_NONE);
    EXPECT_EQUAL(end->wire_count, 2);
    link_acknowledge(&end->link, ends->now_ns);
    EXPECT_EQUAL(end->wire_count, 3);
    ends_settle(ends);
    EXPECT_EQUAL(ends->end[1].delivered, 1);
    EXPECT_EQUAL(ends->end[1].wrong, 0);
    EXPECT_EQUAL(end->link.statistics.trained, 1);
    ends_destroy(ends);
}

static void an_ack_that_found_no_room_leaves_later(void)
{
    struct ends *ends = ends_create(false, false);
    struct end *end = &ends->end[0];
    uint64_t deadline_ns;

    ends_train(ends);
    end->wire_room = 0;
    for (int i = 0; i < 5; i++)
        link_acknowledge(&end->link, ends->now_ns);
    EXPECT_EQUAL(end->wire_count, 4);
    deadline_ns = link_next_deadline_ns(&end->link);
    EXPECT_EQUAL(deadline_ns, ends->now_ns + LINK_RETRY_INTERVAL_NS);
    link_tick(&end->link, deadline_ns);
    EXPECT_EQUAL(link_next_deadline_ns(&end->link), deadline_ns + LINK_RETRY_INTERVAL_NS);
    EXPECT(ends_move(ends, 0));
    EXPECT_EQUAL(end->wire_count, 4); /* the one that waited follows */
    ends_settle(ends);
    EXPECT(link_next_deadline_ns(&end->link) > deadline_ns + LINK_RETRY_INTERVAL_NS);
    ends_destroy(ends);
}

static void the_replay_window_is_64_frames(void)
{
    struct ends *ends = ends_create(true, true);
    struct end *end = &ends->end[0];

    ends_train(ends);
    for (int i = 0; i < 64; i++)
        EXPECT_EQUAL(ends_send(ends, 0, 64, SIZE_MAX), ERROR_NONE);
    EXPECT_EQUAL(ends_send(ends, 0, 64, SIZE_MAX), ERROR_FULL);
    EXPECT_EQUAL(end->completed, 0);
    ends_settle(ends);
    EXPECT_EQUAL(end->completed, 64);
    EXPECT_EQUAL(ends_send(ends, 0, 64, SIZE_MAX), ERROR_NONE);
    ends_destroy(ends);
}

static void the_replay_window_is_256_kib(void)
{
    struct ends *ends = ends_create(true, true);

    ends_train(ends);
    EXPECT_EQUAL(ends_send(ends, 0, 300 * 1024, SIZE_MAX), ERROR_NONE);
    EXPECT(ends->end[0].wire_count <= LINK_REPLAY_BYTES_MAXIMUM / ENDS_MTU);
    ends_settle(ends);
    EXPECT_EQUAL(ends->end[1].delivered, 1);
    EXPECT_EQUAL(ends->end[1].wrong, 0);
    ends_destroy(ends);
}

static void a_replay_into_a_full_phy_goes_on_where_it_stopped(void)
{
    struct ends *ends = ends_create(true, true);
    struct end *end = &ends->end[0];

    ends_train(ends);
    for (int i = 0; i < 20; i++)
        EXPECT_EQUAL(ends_send(ends, 0, 64, SIZE_MAX), ERROR_NONE);
    ends_drop(ends, 0);
    end->wire_room = 5;
    ends_pass(ends, 50 * MS);
    EXPECT_EQUAL(ends->end[1].delivered, 20);
    EXPECT_EQUAL(ends->end[1].wrong, 0);
    EXPECT_EQUAL(end->completed, 20);
    EXPECT(end->link.statistics.replays >= 1);
    EXPECT_EQUAL(end->link.statistics.trained, 1);
    ends_destroy(ends);
}

/* --- Memory ----------------------------------------------------------------------------------- */

static void without_memory_a_ring_retrains(void)
{
    struct ends *ends = ends_create(false, false);

    ends_train(ends);
    ends->end[1].has_no_memory = true;
    EXPECT_EQUAL(ends_send(ends, 0, 64, SIZE_MAX), ERROR_NONE);
    EXPECT(ends_move(ends, 0));
    EXPECT(!link_rx_is_up(&ends->end[1].link));
    EXPECT_EQUAL(ends->end[1].last_reason, LINK_REASON_GAP);
    EXPECT_EQUAL(ends->end[1].link.statistics.drops[LINK_DROP_NO_MEMORY], 1);
    ends_settle(ends);
    EXPECT(link_rx_is_up(&ends->end[1].link));
    EXPECT_EQUAL(ends->end[0].link.tx_epoch, 2);
    ends_destroy(ends);
}

static void without_memory_a_stream_replays(void)
{
    struct ends *ends = ends_create(true, true);

    ends_train(ends);
    ends->end[1].has_no_memory = true;
    EXPECT_EQUAL(ends_send(ends, 0, 64, SIZE_MAX), ERROR_NONE);
    ends_settle(ends);
    EXPECT(link_rx_is_up(&ends->end[1].link));
    EXPECT_EQUAL(ends->end[1].delivered, 0);
    ends->end[1].has_no_memory = false;
    ends_pass(ends, 100 * MS);
    EXPECT_EQUAL(ends->end[1].delivered, 1);
    EXPECT_EQUAL(ends->end[0].link.tx_epoch, 1);
    ends_destroy(ends);
}

static void what_the_owner_says_of_a_message_closes_the_direction(void)
{
    static const struct {
        enum link_delivery delivery;
        enum link_reason reason;
    } cases[] = {
        {LINK_DELIVERY_GARBAGE, LINK_REASON_GARBAGE},
        {LINK_DELIVERY_LOST, LINK_REASON_GAP},
        {LINK_DELIVERY_NODE_DEAD, LINK_REASON_NODE_DEAD},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ends *ends = ends_create(true, false);

        ends_train(ends);
        ends->end[1].delivery = cases[i].delivery;
        EXPECT_EQUAL(ends_send(ends, 0, 64, SIZE_MAX), ERROR_NONE);
        EXPECT(ends_move(ends, 0));
        EXPECT(!link_rx_is_up(&ends->end[1].link));
        EXPECT_EQUAL(ends->end[1].last_reason, cases[i].reason);
        ends_settle(ends);
        EXPECT(link_rx_is_up(&ends->end[1].link));
        ends_destroy(ends);
    }
}

/* --- Hostile memory --------------------------------------------------------------------------- */

static struct {
    uint8_t *bytes;
    size_t length;
} shared; /* the ring of the test that runs */

static bool overwrite_and_confirm(struct phy *phy)
{
    (void)phy;
    memset(shared.bytes, 0xee, shared.length);
    return true;
}

static bool deny(struct phy *phy)
{
    (void)phy;
    return false;
}

/* The oldest frame of end 0, out of the wire, standing in "shared memory". */
static void share_frame(struct ends *ends)
{
    struct end *end = &ends->end[0];

    REQUIRE(end->wire_count > 0);
    shared.length = end->wire[0].length;
    shared.bytes = malloc(shared.length);
    REQUIRE(shared.bytes != NULL);
    memcpy(shared.bytes, end->wire[0].bytes, shared.length);
    ends_drop(ends, 0);
}

static void bytes_that_change_after_the_copy_do_not_matter(void)
{
    for (int with_crc = 0; with_crc < 2; with_crc++) {
        struct ends *ends = ends_create(false, with_crc != 0);

        ends_train(ends);
        EXPECT_EQUAL(ends_send(ends, 0, 1000, SIZE_MAX), ERROR_NONE);
        share_frame(ends);
        link_receive(&ends->end[1].link, shared.bytes, shared.length, overwrite_and_confirm, NULL,
                     ends->now_ns);
        EXPECT_EQUAL(ends->end[1].delivered, 1);
        EXPECT_EQUAL(ends->end[1].wrong, 0);
        free(shared.bytes);
        ends_destroy(ends);
    }
}

static void a_frame_of_a_cable_that_was_cut_meanwhile_changes_nothing(void)
{
    struct ends *ends = ends_create(false, false);
    struct link_statistics before, after;

    ends_splice(ends);
    share_frame(ends); /* a TRAIN */
    link_receive(&ends->end[1].link, shared.bytes, shared.length, deny, NULL, ends->now_ns);
    EXPECT(!link_rx_is_up(&ends->end[1].link));
    free(shared.bytes);
    ends_train(ends);
    EXPECT_EQUAL(ends_send(ends, 0, 64, SIZE_MAX), ERROR_NONE);
    link_acknowledge(&ends->end[0].link, ends->now_ns);
    link_read_statistics(&ends->end[1].link, &before);
    for (int i = 0; i < 2; i++) { /* DATA, then ACK */
        share_frame(ends);
        link_receive(&ends->end[1].link, shared.bytes, shared.length, deny, NULL, ends->now_ns);
        free(shared.bytes);
    }
    link_read_statistics(&ends->end[1].link, &after);
    EXPECT(memcmp(&before, &after, sizeof(before)) == 0);
    EXPECT_EQUAL(ends->end[1].delivered, 0);
    EXPECT_EQUAL(ends->end[1].released, 1);
    ends_destroy(ends);
}

static void every_flipped_bit_of_a_checked_frame_is_noticed(void)
{
    struct ends *ends = ends_create(true, true);
    uint32_t drops;

    ends_train(ends);
    EXPECT_EQUAL(ends_send(ends, 0, 80, SIZE_MAX), ERROR_NONE);
    share_frame(ends);
    for (size_t bit = 0; bit < shared.length * 8; bit++) {
        const uint64_t *counters = ends->end[1].link.statistics.drops;

        shared.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        link_receive(&ends->end[1].link, shared.bytes, shared.length, NULL, NULL, ends->now_ns);
        shared.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        drops = (uint32_t)(counters[LINK_DROP_BAD_HEADER] + counters[LINK_DROP_BAD_PAYLOAD]);
        EXPECT_EQUAL(drops, bit + 1);
    }
    EXPECT_EQUAL(ends->end[1].delivered, 0);
    link_receive(&ends->end[1].link, shared.bytes, shared.length, NULL, NULL, ends->now_ns);
    EXPECT_EQUAL(ends->end[1].delivered, 1);
    EXPECT_EQUAL(ends->end[1].wrong, 0);
    free(shared.bytes);
    ends_destroy(ends);
}

/* --- Long runs -------------------------------------------------------------------------------- */

/* Do to the oldest frame what a bad cable does. */
static void abuse(struct ends *ends, int from)
{
    struct end *end = &ends->end[from];
    int what = rand() % 100;

    if (end->wire_count == 0)
        return;
    if (what < 4) {
        ends_drop(ends, from);
    } else if (what < 8) {
        end->wire[0].bytes[(size_t)rand() % end->wire[0].length] ^= 1 << rand() % 8;
    } else if (what < 12 && end->wire_count > 1) {
        struct end_frame first = end->wire[0];

        end->wire[0] = end->wire[1];
        end->wire[1] = first;
    } else {
        (void)ends_move(ends, from);
    }
}

/* Whatever happens, each message and each buffer ends once (ends_destroy() counts), what is
 * delivered is intact, and when the cable is good again both directions come up. */
static void a_bad_cable_leaks_nothing_and_heals(void)
{
    for (unsigned seed = 0; seed < 60; seed++) {
        struct ends *ends = ends_create(true, true);

        srand(seed);
        ends_splice(ends);
        for (int step = 0; step < 3000; step++) {
            int from = rand() % 2;

            abuse(ends, from);
            if (rand() % 8 == 0 && ends->end[from].sent == ends->end[1 - from].delivered)
                (void)ends_send(ends, from, 24 + (uint32_t)rand() % 20000, 16384);
            if (rand() % 50 == 0) {
                ends->now_ns += (uint64_t)(rand() % 30) * MS;
                link_tick(&ends->end[from].link, ends->now_ns);
            }
            ends->end[from].has_no_memory = rand() % 200 == 0;
            link_pump(&ends->end[from].link, 16384, ends->now_ns);
        }
        ends->end[0].has_no_memory = ends->end[1].has_no_memory = false;
        ends_pass(ends, 3000 * MS);
        for (int i = 0; i < 2; i++) {
            EXPECT(link_tx_is_up(&ends->end[i].link));
            EXPECT(link_rx_is_up(&ends->end[i].link));
            EXPECT_EQUAL(ends->end[i].wrong, 0);
        }
        ends_destroy(ends);
    }
}

static void values_out_of_range_are_refused(void)
{
    struct ends *ends = ends_create(false, false);
    const struct link_configuration good = ends->end[0].link.configuration;
    const struct link_operations *operations = ends->end[0].link.operations;
    struct link_configuration bad[8];
    struct link *link = malloc(sizeof(*link));

    REQUIRE(link != NULL);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        bad[i] = good;
    bad[0].incarnation = 0;
    bad[1].peer_id = good.node_id;
    bad[2].node_id = FRAME_CABLE_NODE;
    bad[3].peer_id = FRAME_CABLE_NODE + 1;
    bad[4].mtu = FRAME_MTU_MINIMUM - 1;
    bad[5].mtu = FRAME_MTU_MAXIMUM + 1;
    bad[6].message_max = LINK_MESSAGE_MAX_MINIMUM - 1;
    bad[7].message_max = LINK_MESSAGE_MAX_MAXIMUM + 1;
    EXPECT_EQUAL(link_initialize(link, &good, operations, NULL), ERROR_NONE);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        EXPECT_EQUAL(link_initialize(link, &bad[i], operations, NULL), ERROR_INVALID);
    free(link);
    ends_destroy(ends);
}

static const struct unit_test tests[] = {
    {"a large message stops at its budget", a_large_message_stops_at_its_budget},
    {"a full PHY delays data but not acks", a_full_phy_delays_data_but_not_acks},
    {"an ack that found no room leaves later", an_ack_that_found_no_room_leaves_later},
    {"the replay window is 64 frames", the_replay_window_is_64_frames},
    {"the replay window is 256 KiB", the_replay_window_is_256_kib},
    {"a replay into a full PHY goes on where it stopped",
     a_replay_into_a_full_phy_goes_on_where_it_stopped},
    {"without memory a ring retrains", without_memory_a_ring_retrains},
    {"without memory a stream replays", without_memory_a_stream_replays},
    {"what the owner says of a message closes the direction",
     what_the_owner_says_of_a_message_closes_the_direction},
    {"bytes that change after the copy do not matter",
     bytes_that_change_after_the_copy_do_not_matter},
    {"a frame of a cable that was cut meanwhile changes nothing",
     a_frame_of_a_cable_that_was_cut_meanwhile_changes_nothing},
    {"every flipped bit of a checked frame is noticed",
     every_flipped_bit_of_a_checked_frame_is_noticed},
    {"a bad cable leaks nothing and heals", a_bad_cable_leaks_nothing_and_heals},
    {"values out of range are refused", values_out_of_range_are_refused},
};

UNIT_SUITE("link", tests);
