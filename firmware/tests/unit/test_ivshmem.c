/* SPDX-License-Identifier: MIT
 *
 * The ivshmem PHY driver: two of them on one cable whose host side this file plays. Cuts, splices,
 * restarts of either end with whatever the memory holds, a hostile other end, and sleeping without
 * a lost wake-up.
 */
#include "fake_ivshmem.h"
#include "hosts.h"
#include "native.h"
#include "phys/ivshmem/ring.h"
#include "unit.h"
#include <abi/frame.h>
#include <kernel/boot.h>
#include <kernel/host.h>
#include <kernel/kern_server.h>
#include <stdlib.h>
#include <string.h>

#define BUDGET 65536u

struct phy_end {
    const struct phy_operations *operations;
    struct phy *phy;
    struct mach_host *host;
    struct event wake;
    unsigned index;
    bool tx_up, rx_up, tx_checked;
    uint32_t tx_generation, rx_generation;
    unsigned flaps;    /* times a direction went down */
    uint64_t expected; /* next number */
    uint64_t received, unconfirmed, garbage;
    bool cut_in_frame; /* cut the direction while a frame is being copied */
    bool strict;       /* numbers come without gaps */
    uint32_t sessions;
};

static void on_frame(void *context, const uint8_t *frame, size_t length,
                     bool (*confirm)(struct phy *), struct phy *phy)
{
    struct phy_end *end = context;
    struct frame_header header;

    REQUIRE(length >= FRAME_HEADER_SIZE);
    memcpy(&header, frame, sizeof(header));
    if (end->cut_in_frame) {
        end->cut_in_frame = false;
        fake_cable_cut(1 - end->index);
    }
    if (!confirm(phy)) {
        end->unconfirmed++;
        return;
    }
    EXPECT(end->rx_up);
    if (end->strict) {
        EXPECT_EQUAL(NATIVE(header.src_incarnation), end->expected);
        EXPECT_EQUAL(NATIVE(header.length), length - FRAME_HEADER_SIZE);
    }
    end->expected = NATIVE(header.src_incarnation) + 1;
    end->received++;
}

static void on_carrier(void *context, uint32_t direction, bool up, uint32_t generation,
                       bool checked)
{
    struct phy_end *end = context;
    bool *state = direction == PHY_DIRECTION_TX ? &end->tx_up : &end->rx_up;

    EXPECT(*state != up); /* only changes are told */
    *state = up;
    end->flaps += !up;
    if (direction == PHY_DIRECTION_TX) {
        end->tx_generation = generation;
        end->tx_checked = checked;
    } else {
        end->rx_generation = generation;
    }
}

static void on_drop(void *context, uint32_t reason, uint32_t count)
{
    struct phy_end *end = context;

    EXPECT_EQUAL(reason, LINK_DROP_BAD_RING);
    end->garbage += count;
}

static void start_end(struct phy_end *end, unsigned index, uint32_t launch)
{
    struct boot_link link = {.kind = BOOT_LINK_IVSHMEM, .slot = index};
    struct phy_client client = {.context = end,
                                .wake = &end->wake,
                                .frame = on_frame,
                                .carrier = on_carrier,
                                .drop = on_drop,
                                .sessions = &end->sessions};

    *end = (struct phy_end){.index = index, .strict = true};
    end->host = test_host_create(index + 1, TEST_INCARNATION(launch));
    event_init(&end->wake);
    end->operations = kern_server_find_phy("ivshmem");
    REQUIRE(end->operations != NULL);
    REQUIRE(end->operations->start(end->host, &link, &client, &end->phy) == 0);
}

/* Power cut: the end is gone without a word. (It is stopped for the leak check; what that says in
 * the region is taken back.) */
static void kill_end(struct phy_end *end)
{
    uint8_t *region = malloc(CABLE_REGION_SIZE);

    REQUIRE(region != NULL);
    memcpy(region, fake_cable_region(), CABLE_REGION_SIZE);
    end->operations->stop(end->phy);
    memcpy(fake_cable_region(), region, CABLE_REGION_SIZE);
    free(region);
    test_host_destroy(end->host);
}

struct cable_pair {
    struct phy_end ends[2];
};

/* Polling until nothing happens any more. */
static void settle(struct cable_pair *pair)
{
    for (unsigned i = 0; i < 10; i++)
        for (unsigned end = 0; end < 2; end++)
            (void)pair->ends[end].operations->poll(pair->ends[end].phy, BUDGET);
}

static void start_pair(struct cable_pair *pair, uint64_t seed)
{
    fake_cable_create(seed);
    start_end(&pair->ends[0], 0, 1);
    start_end(&pair->ends[1], 1, 1);
    settle(pair);
    EXPECT(!pair->ends[0].tx_up && !pair->ends[0].rx_up);
    fake_cable_splice(0);
    fake_cable_splice(1);
    settle(pair);
}

static bool all_up(const struct cable_pair *pair)
{
    return pair->ends[0].tx_up && pair->ends[0].rx_up && pair->ends[1].tx_up && pair->ends[1].rx_up;
}

static void end_pair(struct cable_pair *pair)
{
    kill_end(&pair->ends[0]);
    kill_end(&pair->ends[1]);
    fake_cable_destroy();
}

static int send_number(struct phy_end *end, uint64_t number, uint32_t payload_bytes)
{
    static const uint64_t payload[16448 / 8];
    struct frame_header header = {.src_incarnation = le64_of(number),
                                  .length = le32_of(payload_bytes)};

    return end->operations->send(end->phy, &header, payload, payload_bytes);
}

/* Frames from end `from`, flushed; all of them arrive. */
static void exchange(struct cable_pair *pair, unsigned from, uint64_t count)
{
    struct phy_end *to = &pair->ends[1 - from];
    uint64_t before = to->received;

    for (uint64_t i = 0; i < count; i++)
        EXPECT_EQUAL(send_number(&pair->ends[from], to->expected + i, 64), 0);
    pair->ends[from].operations->flush(pair->ends[from].phy);
    settle(pair);
    EXPECT_EQUAL(to->received, before + count);
}

static void both_directions_come_up_and_carry_frames(void)
{
    struct cable_pair pair;

    start_pair(&pair, 1);
    EXPECT(all_up(&pair));
    EXPECT_EQUAL(pair.ends[0].tx_generation, 2);
    EXPECT_EQUAL(pair.ends[1].rx_generation, 2);
    exchange(&pair, 0, 100);
    exchange(&pair, 1, 100);
    EXPECT_EQUAL(pair.ends[0].flaps + pair.ends[1].flaps, 0);
    end_pair(&pair);
}

static void ends_may_start_in_any_order_after_the_splice(void)
{
    for (unsigned first = 0; first < 2; first++) {
        struct cable_pair pair;

        fake_cable_create(2 + first);
        fake_cable_splice(0);
        fake_cable_splice(1);
        start_end(&pair.ends[first], first, 1);
        for (unsigned i = 0; i < 10; i++)
            (void)pair.ends[first].operations->poll(pair.ends[first].phy, BUDGET);
        EXPECT(!pair.ends[first].tx_up); /* nobody follows yet */
        start_end(&pair.ends[1 - first], 1 - first, 1);
        settle(&pair);
        EXPECT(all_up(&pair));
        exchange(&pair, 0, 10);
        exchange(&pair, 1, 10);
        end_pair(&pair);
    }
}

static void a_cut_direction_leaves_the_other_alone(void)
{
    struct cable_pair pair;

    start_pair(&pair, 4);
    fake_cable_cut(0);
    settle(&pair);
    EXPECT(!pair.ends[0].tx_up && !pair.ends[1].rx_up);
    EXPECT(pair.ends[0].rx_up && pair.ends[1].tx_up);
    EXPECT_EQUAL(send_number(&pair.ends[0], 0, 64), (unsigned long long)ERROR_DOWN);
    exchange(&pair, 1, 10);
    fake_cable_set_checked(true);
    fake_cable_splice(0);
    settle(&pair);
    EXPECT(all_up(&pair));
    EXPECT(pair.ends[0].tx_checked);
    EXPECT_EQUAL(pair.ends[1].rx_generation, 4);
    exchange(&pair, 0, 10);
    EXPECT_EQUAL(pair.ends[0].flaps, 1);
    EXPECT_EQUAL(pair.ends[1].flaps, 1);
    end_pair(&pair);
}

static void what_was_in_the_ring_at_a_cut_is_not_delivered(void)
{
    struct cable_pair pair;

    start_pair(&pair, 5);
    for (uint64_t i = 0; i < 10; i++)
        EXPECT_EQUAL(send_number(&pair.ends[0], i, 64), 0);
    pair.ends[0].operations->flush(pair.ends[0].phy);
    fake_cable_cut(0);
    fake_cable_splice(0);
    settle(&pair);
    EXPECT(all_up(&pair));
    EXPECT_EQUAL(pair.ends[1].received, 0);
    exchange(&pair, 0, 10);
    end_pair(&pair);
}

static void a_cut_during_the_copy_of_a_frame_drops_it_and_the_rest(void)
{
    struct cable_pair pair;

    start_pair(&pair, 6);
    for (uint64_t i = 0; i < 10; i++)
        EXPECT_EQUAL(send_number(&pair.ends[0], i, 64), 0);
    pair.ends[0].operations->flush(pair.ends[0].phy);
    pair.ends[1].cut_in_frame = true;
    settle(&pair);
    EXPECT_EQUAL(pair.ends[1].unconfirmed, 1);
    EXPECT_EQUAL(pair.ends[1].received, 0);
    EXPECT(!pair.ends[1].rx_up && !pair.ends[0].tx_up);
    end_pair(&pair);
}

/* With and without the host telling: a crash is followed by a cut and a splice, a reset by nothing.
 */
static void a_restarted_end_finds_its_way_back(void)
{
    for (unsigned variant = 0; variant < 4; variant++) {
        unsigned victim = variant % 2;
        bool told = variant / 2 != 0;
        struct cable_pair pair;

        start_pair(&pair, 7 + variant);
        exchange(&pair, 0, 20);
        exchange(&pair, 1, 20);
        EXPECT_EQUAL(send_number(&pair.ends[1 - victim], 99, 64), 0);
        pair.ends[1 - victim].operations->flush(pair.ends[1 - victim].phy);
        kill_end(&pair.ends[victim]);
        if (told) {
            fake_cable_cut(0);
            fake_cable_cut(1);
            fake_cable_splice(0);
            fake_cable_splice(1);
        }
        start_end(&pair.ends[victim], victim, 2);
        settle(&pair);
        EXPECT(all_up(&pair));
        EXPECT_EQUAL(pair.ends[victim].received, 0); /* of what was meant for its former life */
        pair.ends[1 - victim].expected = 0;
        exchange(&pair, 0, 20);
        exchange(&pair, 1, 20);
        EXPECT_EQUAL(pair.ends[0].garbage + pair.ends[1].garbage, 0);
        end_pair(&pair);
    }
}

/* The next driver of the same life looks before the peer has seen that the former one left. */
static void another_driver_is_not_given_what_waited_for_the_first(void)
{
    struct cable_pair pair;

    start_pair(&pair, 13);
    exchange(&pair, 0, 20);
    EXPECT_EQUAL(send_number(&pair.ends[0], 99, 64), 0);
    pair.ends[0].operations->flush(pair.ends[0].phy);
    pair.ends[1].operations->stop(pair.ends[1].phy);
    test_host_destroy(pair.ends[1].host);
    start_end(&pair.ends[1], 1, 1);
    for (unsigned i = 0; i < 3; i++)
        (void)pair.ends[1].operations->poll(pair.ends[1].phy, BUDGET);
    settle(&pair);
    EXPECT(all_up(&pair));
    EXPECT_EQUAL(pair.ends[1].received, 0);
    exchange(&pair, 0, 20);
    EXPECT_EQUAL(pair.ends[0].garbage + pair.ends[1].garbage, 0);
    end_pair(&pair);
}

static void a_full_ring_is_no_end(void)
{
    struct cable_pair pair;
    uint64_t sent = 0;

    start_pair(&pair, 12);
    while (send_number(&pair.ends[0], sent, 4096) == 0)
        sent++;
    EXPECT(sent > 50);
    EXPECT_EQUAL(send_number(&pair.ends[0], sent, 0), 0); /* an acknowledgement has room */
    sent++;
    EXPECT_EQUAL(send_number(&pair.ends[0], sent, 4096), (unsigned long long)ERROR_FULL);
    pair.ends[0].operations->flush(pair.ends[0].phy);
    EXPECT(!pair.ends[0].operations->poll(pair.ends[0].phy, BUDGET));
    while (pair.ends[1].received < sent)
        (void)pair.ends[1].operations->poll(pair.ends[1].phy, BUDGET);
    EXPECT(pair.ends[0].operations->poll(pair.ends[0].phy, BUDGET)); /* room, told once */
    EXPECT(!pair.ends[0].operations->poll(pair.ends[0].phy, BUDGET));
    exchange(&pair, 0, 5);
    end_pair(&pair);
}

static void the_budget_bounds_a_poll(void)
{
    struct cable_pair pair;

    start_pair(&pair, 13);
    for (uint64_t i = 0; i < 100; i++)
        EXPECT_EQUAL(send_number(&pair.ends[0], i, 64), 0);
    pair.ends[0].operations->flush(pair.ends[0].phy);
    EXPECT(pair.ends[1].operations->poll(pair.ends[1].phy, 1280));
    EXPECT_EQUAL(pair.ends[1].received, 10);
    settle(&pair);
    EXPECT_EQUAL(pair.ends[1].received, 100);
    end_pair(&pair);
}

/* An end that sleeps: arm() said false, and nothing signalled since. */
static bool sleeps(struct phy_end *end)
{
    (void)event_poll(&end->wake);
    return !end->operations->arm(end->phy);
}

static void everything_that_happens_wakes_a_sleeper(void)
{
    struct cable_pair pair;
    struct phy_end *a = &pair.ends[0], *b = &pair.ends[1];
    uint64_t sent = 0;

    start_pair(&pair, 14);
    EXPECT(sleeps(b));
    EXPECT_EQUAL(send_number(a, 0, 64), 0);
    EXPECT(!event_poll(&b->wake));
    a->operations->flush(a->phy);
    EXPECT(event_poll(&b->wake)); /* a frame */
    b->operations->disarm(b->phy);
    settle(&pair);
    EXPECT_EQUAL(send_number(a, 1, 64), 0);
    a->operations->flush(a->phy);
    EXPECT(!event_poll(&b->wake));      /* awake: no doorbell */
    EXPECT(b->operations->arm(b->phy)); /* it is there already */
    b->operations->disarm(b->phy);
    settle(&pair);
    EXPECT(sleeps(b));
    fake_cable_cut(1);
    EXPECT(event_poll(&b->wake)); /* the page */
    EXPECT(b->operations->arm(b->phy));
    b->operations->disarm(b->phy);
    fake_cable_splice(1);
    settle(&pair);
    EXPECT(all_up(&pair));
    for (a->strict = b->strict = false; send_number(a, sent, 4096) == 0;)
        sent++;
    a->operations->flush(a->phy);
    EXPECT(sleeps(a));
    (void)b->operations->poll(b->phy, BUDGET);
    EXPECT(event_poll(&a->wake)); /* room */
    a->operations->disarm(a->phy);
    settle(&pair);
    EXPECT(sleeps(b));
    a->operations->stop(a->phy);
    EXPECT(event_poll(&b->wake)); /* the end of a session */
    (void)b->operations->poll(b->phy, BUDGET);
    EXPECT(!b->rx_up);
    b->operations->disarm(b->phy);
    test_host_destroy(a->host);
    kill_end(b);
    fake_cable_destroy();
}

static struct cable_ring_control *ring_of(unsigned direction)
{
    uint32_t offset = NATIVE(fake_cable_page()->ends[direction].tx.ring_offset);

    return (struct cable_ring_control *)(void *)(fake_cable_region() + offset);
}

static void garbage_ends_the_session_and_a_new_one_begins(void)
{
    struct cable_pair pair;

    start_pair(&pair, 15);
    exchange(&pair, 0, 10);
    shared_store32_release(&ring_of(0)->head, 4);
    settle(&pair);
    EXPECT_EQUAL(pair.ends[1].garbage, 1);
    EXPECT_EQUAL(pair.ends[1].flaps, 1);
    EXPECT_EQUAL(pair.ends[0].flaps, 1);
    EXPECT(all_up(&pair));
    exchange(&pair, 0, 10);
    exchange(&pair, 1, 10);
    shared_store32_release(&ring_of(0)->tail, 4);
    pair.ends[1].strict = false;
    while (pair.ends[0].garbage == 0) {
        (void)send_number(&pair.ends[0], 0, 4096);
        (void)pair.ends[0].operations->poll(pair.ends[0].phy, BUDGET);
    }
    settle(&pair);
    EXPECT(all_up(&pair));
    end_pair(&pair);
}

/* Random cuts, splices, restarts, sends and writes into the shared memory. At the end, with the
 * page as the host wants it, the link is there and carries frames. */
static void random_life(uint64_t seed, bool hostile)
{
    struct cable_pair pair;
    uint64_t random = seed;

    start_pair(&pair, seed);
    pair.ends[0].strict = pair.ends[1].strict = false;
    for (uint32_t step = 0; step < 600; step++) {
        unsigned end;

        random = random * 6364136223846793005u + 1442695040888963407u;
        end = random >> 63;
        switch (random >> 40 & 31) {
        case 0:
            fake_cable_cut(end);
            break;
        case 1:
            fake_cable_splice(end);
            break;
        case 2:
            kill_end(&pair.ends[end]);
            start_end(&pair.ends[end], end, step + 2);
            pair.ends[end].strict = false;
            break;
        case 3:
        case 4:
            if (hostile)
                shared_store32((le32 *)(void *)ring_of(end) + (random >> 50 & 31),
                               (uint32_t)(random >> 20 & 1 ? random >> 13 : random >> 52));
            break;
        default:
            if (random >> 45 & 1)
                (void)send_number(&pair.ends[end], step, (uint32_t)(random >> 50) & 0xff8);
            else
                (void)pair.ends[end].operations->poll(pair.ends[end].phy, BUDGET);
            if (random >> 46 & 1)
                pair.ends[end].operations->flush(pair.ends[end].phy);
        }
        if (!hostile)
            EXPECT_EQUAL(pair.ends[0].garbage + pair.ends[1].garbage, 0);
    }
    fake_cable_splice(0);
    fake_cable_splice(1);
    settle(&pair);
    EXPECT(all_up(&pair));
    exchange(&pair, 0, 10);
    exchange(&pair, 1, 10);
    end_pair(&pair);
}

static void a_random_life_ends_with_the_link_up(void)
{
    for (uint64_t seed = 1; seed <= 60; seed++)
        random_life(seed, false);
}

static void a_hostile_life_ends_with_the_link_up(void)
{
    for (uint64_t seed = 1; seed <= 60; seed++)
        random_life(seed, true);
}

static void start_fails_without_leftovers(void)
{
    struct mach_host *host = test_host_create(1, TEST_INCARNATION(1));
    const struct phy_operations *operations = kern_server_find_phy("ivshmem");
    size_t used = heap_statistics(host).used_bytes;
    struct boot_link link = {.kind = BOOT_LINK_IVSHMEM, .slot = CABLE_END_COUNT};
    uint32_t sessions = 0;
    struct phy_client client = {
        .frame = on_frame, .carrier = on_carrier, .drop = on_drop, .sessions = &sessions};
    struct phy *phy;

    fake_cable_create(16);
    EXPECT_EQUAL(operations->start(host, &link, &client, &phy),
                 (unsigned long long)ERROR_NOT_FOUND);
    link.slot = 0;
    le64_add(&fake_cable_page()->magic, 1);
    EXPECT_EQUAL(operations->start(host, &link, &client, &phy),
                 (unsigned long long)ERROR_UNSUPPORTED);
    heap_fail_after(host, 1, false);
    EXPECT_EQUAL(operations->start(host, &link, &client, &phy),
                 (unsigned long long)ERROR_NO_MEMORY);
    heap_fail_after(host, 0, false);
    EXPECT_EQUAL(heap_statistics(host).used_bytes, used);
    fake_cable_destroy();
    test_host_destroy(host);
}

static const struct unit_test tests[] = {
    {"both directions come up and carry frames", both_directions_come_up_and_carry_frames},
    {"ends may start in any order after the splice", ends_may_start_in_any_order_after_the_splice},
    {"a cut direction leaves the other alone", a_cut_direction_leaves_the_other_alone},
    {"what was in the ring at a cut is not delivered",
     what_was_in_the_ring_at_a_cut_is_not_delivered},
    {"a cut during the copy of a frame drops it and the rest",
     a_cut_during_the_copy_of_a_frame_drops_it_and_the_rest},
    {"a restarted end finds its way back", a_restarted_end_finds_its_way_back},
    {"another driver is not given what waited for the first",
     another_driver_is_not_given_what_waited_for_the_first},
    {"a full ring is no end", a_full_ring_is_no_end},
    {"the budget bounds a poll", the_budget_bounds_a_poll},
    {"everything that happens wakes a sleeper", everything_that_happens_wakes_a_sleeper},
    {"garbage ends the session and a new one begins",
     garbage_ends_the_session_and_a_new_one_begins},
    {"a random life ends with the link up", a_random_life_ends_with_the_link_up},
    {"a hostile life ends with the link up", a_hostile_life_ends_with_the_link_up},
    {"start fails without leftovers", start_fails_without_leftovers},
};
UNIT_SUITE("ivshmem PHY", tests);
