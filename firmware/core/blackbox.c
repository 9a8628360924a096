/* SPDX-License-Identifier: MIT
 *
 * The writer of the black box (docs/spec/blackbox.md). It is not a reader: everything the writer
 * must remember is kept in private memory, nothing is taken back from the box.
 *
 * Invariants: one event is written at a time (the lock); an event's sequence is invalid while its
 * fields change and is stored last; event_head rises after the event is whole. Ledgers have one
 * owner each, who orders its own changes. Only blackbox_panic() writes without the lock: the
 * machine has stopped, and whoever held it never goes on.
 */
#include <abi/boot.h>
#include <kernel/blackbox.h>
#include <kernel/host.h>
#include <kernel/link_manager.h>
#include <kernel/string.h>
#include <kernel/thread.h>

#define SEQUENCE_NONE UINT64_MAX

struct blackbox {
    struct lock lock; /* guards next_sequence, ledgers_taken, the ring and the header */
    struct blackbox_header *header;
    struct blackbox_event *events;
    struct blackbox_ledger *ledgers;
    uint64_t next_sequence;
    uint64_t ledgers_taken; /* bit per ledger */
    bool trace_messages;
};

_Static_assert(BLACKBOX_LEDGER_COUNT == 64, "one bit a ledger");
_Static_assert((BLACKBOX_EVENT_COUNT & (BLACKBOX_EVENT_COUNT - 1)) == 0, "ring index by mask");
_Static_assert(BLACKBOX_EVENTS_OFFSET + BLACKBOX_EVENT_COUNT * sizeof(struct blackbox_event) ==
                   BLACKBOX_LEDGERS_OFFSET,
               "ledgers follow the ring");
_Static_assert(BLACKBOX_LEDGERS_OFFSET + BLACKBOX_LEDGER_COUNT * sizeof(struct blackbox_ledger) <=
                   BOOT_BLACKBOX_SIZE,
               "the box fits its place");

/* Caller holds the lock, and read the heap's figures before it took it. */
static void figures_write(struct blackbox *box, const struct heap_statistics *heap, uint64_t now_ns)
{
    box->header->heap_used_bytes = le64_of(heap->used_bytes);
    box->header->heap_peak_bytes = le64_of(heap->peak_bytes);
    box->header->heap_size_bytes = le64_of(heap->size_bytes);
    box->header->now_ns = le64_of(now_ns);
}

static void header_write(struct mach_host *host, struct blackbox *box)
{
    struct heap_statistics heap = heap_statistics(host);
    struct blackbox_header *header = box->header;

    memset(header, 0, sizeof(*header));
    header->version = le32_of(BLACKBOX_VERSION);
    header->state = le32_of(BLACKBOX_STATE_BOOTING);
    header->node_id = le32_of(host->node_id);
    header->incarnation = le64_of(host->incarnation);
    figures_write(box, &heap, clock_now_ns());
    /* Last: a reader who finds the magic finds everything. */
    shared_store64_release(&header->magic, BLACKBOX_MAGIC);
}

int blackbox_open(struct mach_host *host, const struct blackbox_configuration *configuration)
{
    if (host->blackbox != NULL) {
        return ERROR_EXISTS;
    }
    struct blackbox *box = heap_allocate(host, sizeof(*box));
    if (box == NULL) {
        return ERROR_NO_MEMORY;
    }
    uint8_t *memory = configuration->memory;
    *box = (struct blackbox){
        .header = (struct blackbox_header *)(void *)memory,
        .events = (struct blackbox_event *)(void *)(memory + BLACKBOX_EVENTS_OFFSET),
        .ledgers = (struct blackbox_ledger *)(void *)(memory + BLACKBOX_LEDGERS_OFFSET),
        .trace_messages = configuration->trace_messages,
    };
    lock_init(&box->lock);
    /* RAM survives a reset, so the box may hold a former life: invalid first, then empty. */
    shared_store64_release(&box->header->magic, 0);
    memset(box->ledgers, 0, BLACKBOX_LEDGER_COUNT * sizeof(*box->ledgers));
    for (uint32_t i = 0; i < BLACKBOX_EVENT_COUNT; i++) {
        box->events[i].sequence = le64_of(SEQUENCE_NONE);
    }
    header_write(host, box);
    host->blackbox = box;
    return ERROR_NONE;
}

void blackbox_close(struct mach_host *host)
{
    struct blackbox *box = host->blackbox;

    host->blackbox = NULL;
    heap_free(host, box);
}

void blackbox_set_state(struct mach_host *host, enum blackbox_state state)
{
    if (host->blackbox != NULL) {
        shared_store32_release(&host->blackbox->header->state, (uint32_t)state);
    }
}

bool blackbox_traces_messages(const struct mach_host *host)
{
    return host->blackbox != NULL && host->blackbox->trace_messages;
}

/* Caller: the lock held, or the machine stopped. */
static void event_append(struct blackbox *box, const struct blackbox_record *record,
                         uint64_t now_ns)
{
    uint64_t sequence = box->next_sequence++;
    struct blackbox_event *event = &box->events[sequence & (BLACKBOX_EVENT_COUNT - 1)];

    shared_store64(&event->sequence, SEQUENCE_NONE);
    /* A reader who sees one new field must see that the old event is gone. */
    __atomic_thread_fence(__ATOMIC_RELEASE);
    shared_store64(&event->time_ns, now_ns);
    shared_store16(&event->kind, (uint16_t)record->kind);
    shared_store16(&event->link, (uint16_t)record->link);
    shared_store32(&event->peer, record->peer);
    shared_store64(&event->arg0, record->arg0);
    shared_store64(&event->arg1, record->arg1);
    shared_store64(&event->arg2, record->arg2);
    shared_store64_release(&event->sequence, sequence);
    shared_store64_release(&box->header->event_head, sequence + 1);
}

/* Append `record` (null: nothing), and write the figures anew. */
static void update(struct mach_host *host, const struct blackbox_record *record)
{
    struct blackbox *box = host->blackbox;
    struct heap_statistics heap = heap_statistics(host);
    uint64_t now_ns = clock_now_ns();

    lock_acquire(&box->lock);
    if (record != NULL) {
        event_append(box, record, now_ns);
    }
    figures_write(box, &heap, now_ns);
    lock_release(&box->lock);
}

void blackbox_event(struct mach_host *host, const struct blackbox_record *record)
{
    if (host->blackbox == NULL) {
        return;
    }
    update(host, record);
    if (host->links != NULL) {
        link_manager_kick(host);
    }
}

void blackbox_refresh(struct mach_host *host)
{
    if (host->blackbox != NULL) {
        update(host, NULL);
    }
}

struct blackbox_ledger *blackbox_ledger_allocate(struct mach_host *host)
{
    struct blackbox *box = host->blackbox;
    struct blackbox_ledger *ledger = NULL;

    if (box == NULL) {
        return NULL;
    }
    lock_acquire(&box->lock);
    if (~box->ledgers_taken != 0) {
        uint32_t index = (uint32_t)__builtin_ctzll(~box->ledgers_taken);
        box->ledgers_taken |= 1ull << index;
        ledger = &box->ledgers[index];
    }
    lock_release(&box->lock);
    return ledger;
}

/* The version goes on rising, so a reader never takes two owners' fields for one ledger. */
static void ledger_clear(struct blackbox_ledger *ledger)
{
    ledger_begin(ledger);
    memset((uint8_t *)ledger + sizeof(ledger->version), 0,
           sizeof(*ledger) - sizeof(ledger->version));
    ledger_end(ledger);
}

void blackbox_ledger_free(struct mach_host *host, struct blackbox_ledger *ledger)
{
    struct blackbox *box = host->blackbox;

    if (box == NULL || ledger == NULL) {
        return;
    }
    ledger_clear(ledger);
    lock_acquire(&box->lock);
    box->ledgers_taken &= ~(1ull << (ledger - box->ledgers));
    lock_release(&box->lock);
}

void blackbox_panic(void *context, const char *text, size_t len_bytes, uint64_t program_counter)
{
    struct mach_host *host = context;
    struct blackbox *box = host->blackbox;

    if (box == NULL) {
        return;
    }
    size_t kept = len_bytes < BLACKBOX_PANIC_MAXIMUM ? len_bytes : BLACKBOX_PANIC_MAXIMUM - 1;
    memcpy(box->header->panic, text, kept);
    box->header->panic[kept] = '\0';
    struct blackbox_record record = {
        .kind = BLACKBOX_EVENT_PANIC, .link = BLACKBOX_NO_LINK, .arg0 = program_counter};
    event_append(box, &record, clock_now_ns());
    shared_store32_release(&box->header->state, BLACKBOX_STATE_PANICKED);
}
