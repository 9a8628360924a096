/* SPDX-License-Identifier: MIT
 *
 * The introductions of two mnl_ring drivers, moved by hand: what each says, in which order, and what
 * it takes from whom.
 */
#include "unit.h"
#include <kernel/mach_node_link.h>
#include <servers/mnl_ring/handshake.h>

#define LIFE_A 0x100000001ull
#define LIFE_B 0x200000001ull

union record {
    struct ring_hello hello;
    struct ring_welcome welcome;
    struct ring_piece piece;
    uint8_t bytes[sizeof(struct ring_hello)];
};

static struct ring_hello hello_of(uint32_t node_id, uint64_t incarnation)
{
    return (struct ring_hello){
        .incarnation = le64_of(incarnation),
        .node_id = le32_of(node_id),
        .message_max = le32_of(1000),
        .version_min = le32_of(MNL_PROTOCOL_V1),
        .version_max = le32_of(MNL_PROTOCOL_V1),
    };
}

/* a is node 1 and b node 2; nothing stands between them yet. */
static void open_both(struct handshake *a, struct handshake *b)
{
    struct ring_hello hello_a = hello_of(1, LIFE_A);
    struct ring_hello hello_b = hello_of(2, LIFE_B);

    handshake_open(a, &hello_a, 2);
    handshake_open(b, &hello_b, 1);
}

static void join(struct handshake *writer, struct handshake *reader, uint32_t session)
{
    handshake_set_tx(writer, session);
    handshake_set_rx(reader, session);
}

/* Everything that `from` has to say reaches `to`, which expects `next`. Returns how many records. */
static unsigned move_all(struct handshake *from, struct handshake *to, uint32_t next)
{
    union record record;
    unsigned count = 0;
    size_t length;

    while ((length = handshake_due(from, next, &record)) != 0) {
        int kind = handshake_kind(to, &record, length);

        count++;
        handshake_sent(from, &record);
        if (kind == RING_HELLO) {
            EXPECT(handshake_life(to, &record.hello) == le64_load(from->self.incarnation));
            handshake_accept(to, handshake_life(to, &record.hello));
        } else {
            EXPECT_EQUAL(kind, RING_WELCOME);
            EXPECT(handshake_welcomes(to, &record.welcome));
            EXPECT_EQUAL(le32_load(record.welcome.next), next);
        }
    }
    return count;
}

static void both_directions_come_up(void)
{
    struct handshake a, b;

    open_both(&a, &b);
    EXPECT_EQUAL(move_all(&a, &b, 0), 0); /* nobody follows */
    join(&a, &b, 11);
    EXPECT_EQUAL(move_all(&a, &b, 0), 1);
    EXPECT(b.heard && !a.welcomed); /* b has nowhere to say WELCOME */
    join(&b, &a, 22);
    EXPECT_EQUAL(move_all(&b, &a, 5), 2);
    EXPECT(a.heard && a.welcomed && !b.welcomed);
    EXPECT_EQUAL(move_all(&a, &b, 7), 1);
    EXPECT(b.welcomed);
    EXPECT_EQUAL(move_all(&a, &b, 7) + move_all(&b, &a, 5), 0);
}

static void open_and_join(struct handshake *a, struct handshake *b)
{
    open_both(a, b);
    join(a, b, 11);
    join(b, a, 22);
    (void)move_all(a, b, 0);
    (void)move_all(b, a, 0);
    (void)move_all(a, b, 0);
    REQUIRE(a->welcomed && b->welcomed);
}

static void one_direction_begins_anew_alone(void)
{
    struct handshake a, b;

    open_and_join(&a, &b);
    handshake_set_tx(&a, 0);
    handshake_set_rx(&b, 0);
    EXPECT(!a.welcomed && !b.heard);
    EXPECT(b.welcomed && a.heard); /* the other one stands */
    join(&a, &b, 12);
    EXPECT_EQUAL(move_all(&a, &b, 0),
                 2); /* HELLO, and WELCOME once more: the old one may be lost */
    EXPECT(b.heard && !a.welcomed);
    EXPECT_EQUAL(move_all(&b, &a, 9), 1);
    EXPECT(a.welcomed);
}

static void a_welcome_to_somebody_else_is_nobody_s(void)
{
    struct handshake a, b;
    union record record;

    open_and_join(&a, &b);
    join(&a, &b, 12);
    handshake_accept(&b, LIFE_A);
    REQUIRE(handshake_due(&b, 3, &record) == sizeof(record.welcome));
    EXPECT(!a.welcomed);
    record.welcome.session = le32_of(11); /* of a session that is over */
    EXPECT(!handshake_welcomes(&a, &record.welcome));
    record.welcome.session = le32_of(12);
    record.welcome.incarnation = le64_of(LIFE_A - 1); /* to a life that is over */
    EXPECT(!handshake_welcomes(&a, &record.welcome));
    record.welcome.incarnation = le64_of(LIFE_A);
    EXPECT(handshake_welcomes(&a, &record.welcome));
    handshake_set_tx(&a, 0);
    record.welcome.session = le32_of(0);
    EXPECT(
        !handshake_welcomes(&a, &record.welcome)); /* nobody follows: there is nothing to welcome */
}

static void another_life_has_not_welcomed_us(void)
{
    struct handshake a, b;

    open_and_join(&a, &b);
    handshake_set_rx(&a, 23);
    handshake_accept(&a, LIFE_B);
    EXPECT(a.welcomed);
    handshake_set_rx(&a, 24);
    handshake_accept(&a, LIFE_B + (1ull << 32));
    EXPECT(!a.welcomed);
}

static void records_that_may_not_come_now_are_garbage(void)
{
    struct handshake a, b;
    union record record = {.bytes = {0}};

    open_both(&a, &b);
    join(&a, &b, 11);
    record.hello = a.self;
    EXPECT_EQUAL(handshake_kind(&b, &record, sizeof(record.hello)), RING_HELLO);
    EXPECT_EQUAL(handshake_kind(&b, &record, sizeof(record.hello) - 1), ERROR_GARBAGE);
    EXPECT_EQUAL(handshake_kind(&b, &record, 3), ERROR_GARBAGE);
    record.piece.kind = le32_of(RING_PIECE); /* before HELLO: whose? */
    EXPECT_EQUAL(handshake_kind(&b, &record, sizeof(record.piece) + 1), ERROR_GARBAGE);
    record.welcome.kind = le32_of(RING_WELCOME);
    EXPECT_EQUAL(handshake_kind(&b, &record, sizeof(record.welcome)), ERROR_GARBAGE);
    handshake_accept(&b, LIFE_A);
    EXPECT_EQUAL(handshake_kind(&b, &record, sizeof(record.welcome)), RING_WELCOME);
    record.piece.kind = le32_of(RING_PIECE);
    EXPECT_EQUAL(handshake_kind(&b, &record, sizeof(record.piece) + 1), RING_PIECE);
    EXPECT_EQUAL(handshake_kind(&b, &record, sizeof(record.piece)), ERROR_GARBAGE); /* empty */
    record.hello = a.self; /* twice in a session */
    EXPECT_EQUAL(handshake_kind(&b, &record, sizeof(record.hello)), ERROR_GARBAGE);
    record.hello.kind = le32_of(4);
    EXPECT_EQUAL(handshake_kind(&b, &record, sizeof(record.hello)), ERROR_GARBAGE);
}

static void only_the_peer_is_heard(void)
{
    struct handshake a, b;
    struct ring_hello hello;

    open_both(&a, &b);
    EXPECT(handshake_life(&b, &a.self) == LIFE_A);
    hello = a.self;
    hello.node_id = le32_of(3);
    EXPECT_EQUAL(handshake_life(&b, &hello), 0);
    hello = a.self;
    hello.magic = le32_of(RING_MAGIC + 1);
    EXPECT_EQUAL(handshake_life(&b, &hello), 0);
    hello = a.self;
    hello.version_min = le32_of(MNL_PROTOCOL_V1 + 1);
    hello.version_max = le32_of(MNL_PROTOCOL_V1 + 1);
    EXPECT_EQUAL(handshake_life(&b, &hello), 0);
}

static const struct unit_test handshake_tests[] = {
    {"both directions come up", both_directions_come_up},
    {"one direction begins anew alone", one_direction_begins_anew_alone},
    {"a welcome to somebody else is nobody's", a_welcome_to_somebody_else_is_nobody_s},
    {"another life has not welcomed us", another_life_has_not_welcomed_us},
    {"records that may not come now are garbage", records_that_may_not_come_now_are_garbage},
    {"only the peer is heard", only_the_peer_is_heard},
};
UNIT_SUITE("handshake", handshake_tests);
