/* SPDX-License-Identifier: MIT
 *
 * The black box as its reader sees it (docs/spec/blackbox.md).
 */
#include "native.h"
#include "unit.h"
#include "whole_node.h"

#include <kernel/shared.h>
#include <kernel/thread.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BYTES (1u << 20)
#define INCARNATION 0x100000001ull

static void record(struct test_node *node, enum blackbox_event_kind kind, uint64_t value)
{
    struct blackbox_record event = {
        .kind = kind, .link = 3, .peer = 9, .arg0 = value, .arg1 = value * 3, .arg2 = ~value};

    blackbox_event(&node->host, &event);
}

static void test_open_describes_the_node(void)
{
    struct test_node node;

    test_node_open(&node, 5, INCARNATION, ARENA_BYTES, false);
    const struct blackbox_header *header = test_node_header(&node);
    EXPECT(NATIVE(header->magic) == BLACKBOX_MAGIC);
    EXPECT(NATIVE(header->version) == BLACKBOX_VERSION);
    EXPECT(NATIVE(header->state) == BLACKBOX_STATE_BOOTING);
    EXPECT(NATIVE(header->node_id) == 5);
    EXPECT(NATIVE(header->incarnation) == INCARNATION);
    EXPECT(NATIVE(header->event_head) == 0);
    EXPECT(NATIVE(header->heap_size_bytes) != 0);
    EXPECT(NATIVE(header->heap_used_bytes) != 0);
    EXPECT(NATIVE(test_node_events(&node)[0].sequence) == UINT64_MAX);
    blackbox_set_state(&node.host, BLACKBOX_STATE_READY);
    EXPECT(NATIVE(header->state) == BLACKBOX_STATE_READY);
    test_node_close(&node);
}

static void test_a_new_life_erases_the_old(void)
{
    struct test_node node;

    test_node_open(&node, 5, INCARNATION, ARENA_BYTES, false);
    record(&node, BLACKBOX_EVENT_BOOT, 1);
    struct blackbox_ledger *ledger = blackbox_ledger_allocate(&node.host);
    EXPECT(ledger != NULL);
    STORE(ledger->sent, 77);
    blackbox_panic(&node.host, "PANIC", 5, 1);
    blackbox_close(&node.host);

    struct blackbox_configuration again = {.memory = node.box};
    EXPECT(blackbox_open(&node.host, &again) == ERROR_NONE);
    EXPECT(blackbox_open(&node.host, &again) == ERROR_EXISTS);
    EXPECT(NATIVE(test_node_header(&node)->event_head) == 0);
    EXPECT(test_node_header(&node)->panic[0] == '\0');
    EXPECT(NATIVE(test_node_header(&node)->state) == BLACKBOX_STATE_BOOTING);
    EXPECT(NATIVE(test_node_events(&node)[0].sequence) == UINT64_MAX);
    EXPECT(NATIVE(test_node_ledgers(&node)[0].sent) == 0);
    test_node_close(&node);
}

static void test_events_are_kept_in_order(void)
{
    struct test_node node;

    test_node_open(&node, 1, INCARNATION, ARENA_BYTES, false);
    record(&node, BLACKBOX_EVENT_BOOT, 10);
    record(&node, BLACKBOX_EVENT_NODE_UP, 11);
    const struct blackbox_event *events = test_node_events(&node);
    EXPECT(NATIVE(test_node_header(&node)->event_head) == 2);
    EXPECT(NATIVE(events[0].sequence) == 0 && NATIVE(events[0].kind) == BLACKBOX_EVENT_BOOT);
    EXPECT(NATIVE(events[1].sequence) == 1 && NATIVE(events[1].kind) == BLACKBOX_EVENT_NODE_UP);
    EXPECT(NATIVE(events[1].link) == 3 && NATIVE(events[1].peer) == 9);
    EXPECT(NATIVE(events[1].arg0) == 11 && NATIVE(events[1].arg1) == 33 &&
           NATIVE(events[1].arg2) == ~11ull);
    EXPECT(NATIVE(events[0].time_ns) <= NATIVE(events[1].time_ns));
    EXPECT(NATIVE(test_node_header(&node)->now_ns) == NATIVE(events[1].time_ns));
    test_node_close(&node);
}

static void test_the_ring_overwrites_its_oldest(void)
{
    struct test_node node;
    struct test_event last;

    test_node_open(&node, 1, INCARNATION, ARENA_BYTES, false);
    for (uint64_t i = 0; i < BLACKBOX_EVENT_COUNT + 10; i++) {
        record(&node, BLACKBOX_EVENT_STREAM, i);
    }
    EXPECT(NATIVE(test_node_header(&node)->event_head) == BLACKBOX_EVENT_COUNT + 10);
    EXPECT(NATIVE(test_node_events(&node)[9].sequence) == BLACKBOX_EVENT_COUNT + 9);
    EXPECT(NATIVE(test_node_events(&node)[10].sequence) == 10);
    EXPECT(test_node_count_events(&node, BLACKBOX_EVENT_STREAM, &last) == BLACKBOX_EVENT_COUNT);
    EXPECT(last.arg0 == BLACKBOX_EVENT_COUNT + 9);
    test_node_close(&node);
}

struct writer {
    struct test_node *node;
    uint64_t count;
};

static void writer_main(void *argument)
{
    struct writer *writer = argument;

    for (uint64_t i = 0; i < writer->count; i++) {
        record(writer->node, BLACKBOX_EVENT_STREAM, i);
    }
}

static bool event_is_whole(const struct blackbox_event *slot, uint64_t sequence, bool *overwritten)
{
    *overwritten = shared_load64_acquire(&slot->sequence) != sequence;
    uint64_t arg0 = shared_load64(&slot->arg0);
    uint64_t arg1 = shared_load64(&slot->arg1);
    uint64_t arg2 = shared_load64_acquire(&slot->arg2);
    *overwritten |= shared_load64(&slot->sequence) != sequence;
    return *overwritten || (arg1 == arg0 * 3 && arg2 == ~arg0);
}

static void test_a_reader_never_takes_half_an_event(void)
{
    struct test_node node;
    struct writer writer = {.node = &node, .count = 200000};
    struct thread *thread;
    uint64_t cursor = 0, whole = 0, torn = 0;

    test_node_open(&node, 1, INCARNATION, ARENA_BYTES, false);
    EXPECT(thread_create(&node.host, "writer", writer_main, &writer, &thread) == ERROR_NONE);
    while (cursor < writer.count) {
        uint64_t head = shared_load64_acquire(&test_node_header(&node)->event_head);
        if (head > cursor + BLACKBOX_EVENT_COUNT) {
            cursor = head - BLACKBOX_EVENT_COUNT;
        }
        for (; cursor < head; cursor++) {
            bool overwritten;
            if (!event_is_whole(&test_node_events(&node)[cursor % BLACKBOX_EVENT_COUNT], cursor,
                                &overwritten)) {
                torn++;
            }
            if (overwritten) {
                break;
            }
            whole++;
        }
    }
    thread_join(thread);
    EXPECT(torn == 0);
    EXPECT(whole != 0);
    test_node_close(&node);
}

static void test_a_ledger_is_odd_while_it_changes(void)
{
    struct test_node node;

    test_node_open(&node, 1, INCARNATION, ARENA_BYTES, false);
    struct blackbox_ledger *ledger = blackbox_ledger_allocate(&node.host);
    EXPECT(ledger != NULL);
    uint32_t before = NATIVE(ledger->version);
    EXPECT(before % 2 == 0);
    ledger_begin(ledger);
    EXPECT(NATIVE(ledger->version) == before + 1);
    STORE(ledger->sent, 1);
    ledger_end(ledger);
    EXPECT(NATIVE(ledger->version) == before + 2);
    blackbox_ledger_free(&node.host, ledger);
    EXPECT(NATIVE(ledger->version) ==
           before + 4); /* the next owner's fields are never taken for this one's */
    EXPECT(NATIVE(ledger->sent) == 0 && NATIVE(ledger->role) == BLACKBOX_LEDGER_FREE);
    test_node_close(&node);
}

static void test_ledgers_are_64(void)
{
    struct test_node node;
    struct blackbox_ledger *ledgers[BLACKBOX_LEDGER_COUNT];

    test_node_open(&node, 1, INCARNATION, ARENA_BYTES, false);
    for (uint32_t i = 0; i < BLACKBOX_LEDGER_COUNT; i++) {
        ledgers[i] = blackbox_ledger_allocate(&node.host);
        EXPECT(ledgers[i] == &test_node_ledgers(&node)[i]);
    }
    EXPECT(blackbox_ledger_allocate(&node.host) == NULL);
    blackbox_ledger_free(&node.host, ledgers[17]);
    EXPECT(blackbox_ledger_allocate(&node.host) == ledgers[17]);
    test_node_close(&node);
}

static void test_a_panic_leaves_its_text(void)
{
    struct test_node node;
    struct test_event last;
    char text[3000];

    test_node_open(&node, 1, INCARNATION, ARENA_BYTES, false);
    memset(text, 'x', sizeof(text));
    blackbox_panic(&node.host, text, sizeof(text), 0xabcd);
    const struct blackbox_header *header = test_node_header(&node);
    EXPECT(NATIVE(header->state) == BLACKBOX_STATE_PANICKED);
    EXPECT(strlen(header->panic) == BLACKBOX_PANIC_MAXIMUM - 1);
    EXPECT(test_node_count_events(&node, BLACKBOX_EVENT_PANIC, &last) == 1);
    EXPECT(last.arg0 == 0xabcd);
    test_node_close(&node);
}

static void test_no_memory_leaves_no_box(void)
{
    struct test_node node;

    test_node_open(&node, 1, INCARNATION, ARENA_BYTES, false);
    blackbox_close(&node.host);
    struct blackbox_configuration configuration = {.memory = node.box};
    heap_fail_after(&node.host, 1, false);
    EXPECT(blackbox_open(&node.host, &configuration) == ERROR_NO_MEMORY);
    /* A host without a box: everything is accepted and does nothing. */
    record(&node, BLACKBOX_EVENT_BOOT, 1);
    blackbox_refresh(&node.host);
    blackbox_set_state(&node.host, BLACKBOX_STATE_READY);
    blackbox_panic(&node.host, "p", 1, 0);
    EXPECT(blackbox_ledger_allocate(&node.host) == NULL);
    EXPECT(!blackbox_traces_messages(&node.host));
    EXPECT(NATIVE(test_node_header(&node)->state) == BLACKBOX_STATE_BOOTING);
    test_node_close(&node);
}

static const struct unit_test blackbox_tests[] = {
    {"open describes the node", test_open_describes_the_node},
    {"a new life erases the old", test_a_new_life_erases_the_old},
    {"events are kept in order", test_events_are_kept_in_order},
    {"the ring overwrites its oldest", test_the_ring_overwrites_its_oldest},
    {"a reader never takes half an event", test_a_reader_never_takes_half_an_event},
    {"a ledger is odd while it changes", test_a_ledger_is_odd_while_it_changes},
    {"ledgers are 64", test_ledgers_are_64},
    {"a panic leaves its text", test_a_panic_leaves_its_text},
    {"no memory leaves no box", test_no_memory_leaves_no_box},
};
UNIT_SUITE("blackbox", blackbox_tests);
