/* SPDX-License-Identifier: MIT
 *
 * The receiving end of streams: what arrived in order, twice, not at all, or was never sent.
 *
 * Rules (docs/spec/blackbox.md, section 3). A stream at a sink is known by its id, the node and the
 * incarnation that the message came from, as the kernel says, not as the message claims. Its ledger
 * is opened by its first good message. A message that fails its check changes `corrupt` alone, so
 * the sequence number it claims to be shows as a gap. What finds no ledger (none is left, or the
 * message is not good) is counted as refused: it was received, so its source's ledger says acked,
 * and the event STREAM_REFUSED explains the difference.
 */
#include "content.h"
#include "traffic.h"

struct traffic_sink {
    struct traffic_sink *next;
    struct traffic_account account;
    uint64_t stream_id;
    uint64_t incarnation;                      /* of the source */
    uint64_t seed;                             /* of the stream, as its first message said */
    uint32_t node;                             /* of the source */
    struct port *kept[TRAFFIC_RIGHTS_MAXIMUM]; /* send rights that its first message brought */
};

/* What a DATA message is and where it came from. */
struct arrival {
    struct kmsg *message;
    const struct traffic_header *header;
    uint64_t stream_id; /* the header's */
    uint32_t size_bytes;
    uint32_t node;
    uint64_t incarnation;
    bool good; /* it is what the source it names would have sent */
};

struct traffic_account *traffic_sink_account(struct traffic_sink *sink)
{
    return &sink->account;
}

struct traffic_sink *traffic_sink_next(struct traffic_sink *sink)
{
    return sink->next;
}

/* False: not a traffic message at all. */
static bool arrival_parse(struct kmsg *message, struct arrival *arrival)
{
    size_t size_bytes = kmsg_body_size(message);

    arrival->message = message;
    arrival->header = kmsg_body(message);
    arrival->size_bytes = (uint32_t)size_bytes;
    arrival->node = kmsg_source_node(message);
    arrival->incarnation = kmsg_source_incarnation(message);
    if (size_bytes < sizeof(struct traffic_header) ||
        le32_load(arrival->header->magic) != TRAFFIC_MAGIC ||
        le32_load(arrival->header->check) > TRAFFIC_CHECK_CONTENT ||
        (le64_load(arrival->header->stream_id) & TRAFFIC_SINK_BIT) != 0) {
        return false;
    }
    arrival->stream_id = le64_load(arrival->header->stream_id);
    arrival->good = le64_load(arrival->header->source_incarnation) == arrival->incarnation &&
                    traffic_content_check(arrival->header, size_bytes);
    return true;
}

/* Moves what it finds to the front of the list. Caller holds the lock. */
static struct traffic_sink *sink_find(struct traffic *traffic, const struct arrival *arrival)
{
    for (struct traffic_sink **link = &traffic->sinks; *link != NULL; link = &(*link)->next) {
        struct traffic_sink *sink = *link;
        if (sink->stream_id == arrival->stream_id && sink->incarnation == arrival->incarnation &&
            sink->node == arrival->node) {
            *link = sink->next;
            sink->next = traffic->sinks;
            traffic->sinks = sink;
            return sink;
        }
    }
    return NULL;
}

/* Keep the send rights of a message; what else it brings ends with it. */
static void rights_keep(struct traffic_sink *sink, struct kmsg *message)
{
    uint32_t count = kmsg_part_count(message);
    enum port_disposition right;

    for (uint32_t i = 0; i < count && i < TRAFFIC_RIGHTS_MAXIMUM; i++) {
        struct message_part part = kmsg_part(message, i);

        if (part.type == MESSAGE_PORT && part.disposition == PORT_SEND) {
            sink->kept[i] = kmsg_take_port(message, i, 0, &right);
        }
    }
}

static struct traffic_sink *sink_open(struct traffic *traffic, const struct arrival *arrival)
{
    struct traffic_sink *sink = heap_allocate(traffic->host, sizeof(*sink));

    if (sink == NULL) {
        return NULL;
    }
    struct blackbox_ledger *ledger = blackbox_ledger_allocate(traffic->host);
    if (ledger == NULL) {
        heap_free(traffic->host, sink);
        return NULL;
    }
    *sink = (struct traffic_sink){
        .account.ledger = ledger,
        .stream_id = arrival->stream_id,
        .incarnation = arrival->incarnation,
        .seed = le64_load(arrival->header->seed),
        .node = arrival->node,
    };
    ledger_begin(ledger);
    ledger->role = le32_of(BLACKBOX_LEDGER_SINK);
    ledger->stream_id = le64_of(sink->stream_id);
    ledger->peer = le32_of(sink->node);
    ledger->size_bytes = le32_of(arrival->size_bytes);
    ledger->peer_incarnation = le64_of(sink->incarnation);
    ledger_end(ledger);
    rights_keep(sink, arrival->message);
    return sink;
}

/* Caller holds the lock. */
static void refuse(struct traffic *traffic, const struct arrival *arrival, uint64_t stream_id)
{
    traffic->refused++;
    traffic->refused_stream_id = stream_id;
    traffic->refused_incarnation = arrival->incarnation;
    traffic->refused_node = arrival->node;
    traffic_moved(traffic);
}

/* Caller holds the lock. */
static void account_good(struct blackbox_ledger *ledger, const struct traffic_header *header)
{
    uint64_t sequence = le64_load(header->sequence);
    uint64_t expected = le64_load(ledger->next_sequence);

    if (sequence < expected) {
        le64_add(&ledger->duplicates, 1);
        return;
    }
    le64_add(&ledger->gaps, sequence - expected);
    ledger->next_sequence = le64_of(sequence + 1);
    ledger->running_hash =
        le64_of(traffic_hash_add(le64_load(ledger->running_hash), le64_load(header->hash)));
    le64_add(&ledger->received, 1);
}

/* Caller holds the lock. */
static void account_arrival(struct traffic_sink *sink, const struct arrival *arrival)
{
    struct blackbox_ledger *ledger = sink->account.ledger;

    ledger_begin(ledger);
    if (arrival->good && le64_load(arrival->header->seed) == sink->seed) {
        account_good(ledger, arrival->header);
    } else {
        le64_add(&ledger->corrupt, 1);
    }
    ledger_end(ledger);
}

/* Find the message's stream or begin it, and put the message into its account. Null: there is none
 * and can be none. */
static struct traffic_sink *sink_account(struct traffic *traffic, const struct arrival *arrival)
{
    lock_acquire(&traffic->lock);
    struct traffic_sink *sink = sink_find(traffic, arrival);
    bool opened = false;
    if (sink == NULL && arrival->good) {
        lock_release(&traffic->lock); /* allocates; only this thread adds streams */
        sink = sink_open(traffic, arrival);
        opened = sink != NULL;
        lock_acquire(&traffic->lock);
    }
    if (opened) {
        sink->next = traffic->sinks;
        traffic->sinks = sink;
        traffic_digest_write(traffic, &sink->account);
    }
    if (sink != NULL) {
        account_arrival(sink, arrival);
        traffic_moved(traffic);
    } else {
        refuse(traffic, arrival, arrival->stream_id);
    }
    lock_release(&traffic->lock);
    return sink;
}

static void trace(struct traffic *traffic, const struct arrival *arrival)
{
    struct blackbox_record record = {
        .kind = BLACKBOX_EVENT_MESSAGE,
        .link = BLACKBOX_NO_LINK,
        .peer = arrival->node,
        .arg0 = arrival->stream_id,
        .arg1 = le64_load(arrival->header->sequence),
        .arg2 = arrival->incarnation,
    };

    blackbox_event(traffic->host, &record);
}

void traffic_sink_receive(struct traffic *traffic, struct kmsg *message)
{
    struct arrival arrival;

    if (!arrival_parse(message, &arrival)) {
        lock_acquire(&traffic->lock);
        refuse(traffic, &arrival, 0);
        lock_release(&traffic->lock);
    } else if (sink_account(traffic, &arrival) != NULL && arrival.good &&
               blackbox_traces_messages(traffic->host)) {
        trace(traffic, &arrival);
    }
    kmsg_free(message);
}

static struct traffic_sink *sink_unlink(struct traffic *traffic, uint64_t stream_id)
{
    struct traffic_sink *found = NULL;

    lock_acquire(&traffic->lock);
    for (struct traffic_sink **link = &traffic->sinks; *link != NULL; link = &(*link)->next) {
        if ((*link)->stream_id == stream_id) {
            found = *link;
            *link = found->next;
            break;
        }
    }
    lock_release(&traffic->lock);
    return found;
}

static void sink_free(struct traffic *traffic, struct traffic_sink *sink)
{
    for (uint32_t i = 0; i < TRAFFIC_RIGHTS_MAXIMUM; i++) {
        if (sink->kept[i] != NULL) {
            port_release(sink->kept[i]);
        }
    }
    blackbox_ledger_free(traffic->host, sink->account.ledger);
    heap_free(traffic->host, sink);
}

int traffic_sink_close(struct traffic *traffic, uint64_t stream_id)
{
    struct traffic_sink *sink = sink_unlink(traffic, stream_id);
    int error = sink == NULL ? ERROR_NOT_FOUND : ERROR_NONE;

    while (sink != NULL) {
        sink_free(traffic, sink);
        sink = sink_unlink(traffic, stream_id);
    }
    return error;
}

void traffic_sink_destroy_all(struct traffic *traffic)
{
    while (traffic->sinks != NULL) {
        struct traffic_sink *sink = traffic->sinks;
        traffic->sinks = sink->next;
        sink_free(traffic, sink);
    }
}
