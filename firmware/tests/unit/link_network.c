/* SPDX-License-Identifier: MIT
 *
 * Nodes with link managers in one process; see link_network.h.
 */
#define _GNU_SOURCE /* nanosleep(), clock_gettime() */
#include "link_network.h"
#include "core/heap.h"
#include "core/ipc_state.h"
#include "core/node.h"
#include "hosts.h"
#include "unit.h"
#include <kernel/link.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define POLL_NS 20000u
#define LIMIT 64u
#define SHORT_PAUSE_NS 200000u

/* --- Facts ------------------------------------------------------------------------------------ */

static void note(struct network_node *node, struct network_fact fact)
{
    pthread_mutex_lock(&node->lock);
    if (node->fact_count < sizeof(node->facts) / sizeof(node->facts[0]))
        node->facts[node->fact_count] = fact;
    node->fact_count++;
    pthread_cond_broadcast(&node->changed);
    pthread_mutex_unlock(&node->lock);
}

static void node_up(void *context, uint32_t node_id, uint64_t incarnation)
{
    note(context,
         (struct network_fact){.kind = FACT_NODE_UP, .peer = node_id, .incarnation = incarnation});
}

static void node_dead(void *context, uint32_t node_id, uint64_t incarnation,
                      enum node_death_cause cause)
{
    note(context,
         (struct network_fact){
             .kind = FACT_NODE_DEAD, .peer = node_id, .incarnation = incarnation, .detail = cause});
}

static void link_state(void *context, const struct link_change *change)
{
    note(context,
         (struct network_fact){.kind = FACT_LINK,
                               .link = change->link,
                               .peer = change->peer,
                               .incarnation = change->peer_incarnation,
                               .bits = (change->rx_up ? 1u : 0u) | (change->tx_up ? 2u : 0u),
                               .detail = change->reason});
}

static void link_refused(void *context, uint32_t link, uint32_t peer, enum link_refusal reason,
                         uint64_t incarnation, bool by_us)
{
    note(context, (struct network_fact){.kind = by_us ? FACT_REFUSED : FACT_WAS_REFUSED,
                                        .link = link,
                                        .peer = peer,
                                        .incarnation = incarnation,
                                        .detail = reason});
}

static void link_dropped(void *context, uint32_t link, uint32_t peer, enum link_drop reason,
                         uint64_t count)
{
    (void)count;
    note(context,
         (struct network_fact){.kind = FACT_DROP, .link = link, .peer = peer, .detail = reason});
}

static void told_stale(void *context, uint64_t incarnation)
{
    note(context, (struct network_fact){.kind = FACT_STALE, .incarnation = incarnation});
}

static bool is_match(const struct network_fact *fact, enum network_fact_kind kind, uint32_t peer,
                     uint32_t detail)
{
    return fact->kind == kind && (peer == FACT_ANY || fact->peer == peer) &&
           (detail == FACT_ANY || fact->detail == detail);
}

static size_t known_facts(const struct network_node *node)
{
    size_t room = sizeof(node->facts) / sizeof(node->facts[0]);

    return node->fact_count < room ? node->fact_count : room;
}

/* Patience from now on, for pthread_cond_timedwait(). */
static struct timespec patience(void)
{
    struct timespec time;

    clock_gettime(CLOCK_REALTIME, &time);
    time.tv_sec += (time_t)(NETWORK_PATIENCE_NS / 1000000000u);
    return time;
}

bool network_wait(struct network_node *node, size_t from, enum network_fact_kind kind,
                  uint32_t peer, uint32_t detail, size_t *found)
{
    struct timespec deadline = patience();
    bool has_time = true, is_found = false;

    pthread_mutex_lock(&node->lock);
    while (!is_found && has_time) {
        for (; from < known_facts(node) && !is_found; from++)
            is_found = is_match(&node->facts[from], kind, peer, detail);
        if (!is_found)
            has_time = pthread_cond_timedwait(&node->changed, &node->lock, &deadline) == 0;
    }
    pthread_mutex_unlock(&node->lock);
    if (is_found && found != NULL)
        *found = from - 1;
    return is_found;
}

size_t network_count(struct network_node *node, enum network_fact_kind kind, uint32_t detail)
{
    size_t count = 0;

    pthread_mutex_lock(&node->lock);
    for (size_t i = 0; i < known_facts(node); i++)
        count += is_match(&node->facts[i], kind, FACT_ANY, detail);
    pthread_mutex_unlock(&node->lock);
    return count;
}

size_t network_now(struct network_node *node)
{
    size_t now;

    pthread_mutex_lock(&node->lock);
    now = known_facts(node);
    pthread_mutex_unlock(&node->lock);
    return now;
}

static bool wait_state(struct network_node *node, uint32_t link, bool is_up)
{
    struct timespec deadline = patience();
    bool has_time = true;

    pthread_mutex_lock(&node->lock);
    while (has_time && link_manager_is_up(node->host, link) != is_up)
        has_time = pthread_cond_timedwait(&node->changed, &node->lock, &deadline) == 0;
    pthread_mutex_unlock(&node->lock);
    return has_time;
}

bool network_wait_up(struct network_node *node, uint32_t link)
{
    return wait_state(node, link, true);
}

bool network_wait_down(struct network_node *node, uint32_t link)
{
    return wait_state(node, link, false);
}

/* --- Nodes ------------------------------------------------------------------------------------ */

static struct network_node *create(uint32_t node_id, uint64_t incarnation, uint64_t link_down_ns,
                                   uint64_t dead_ns)
{
    struct mach_host_configuration configuration = test_configuration(node_id, incarnation);
    struct network_node *node = calloc(1, sizeof(*node));

    REQUIRE(node != NULL);
    configuration.constants.keepalive_ns = NETWORK_KEEPALIVE_NS;
    configuration.constants.link_down_after_ns = link_down_ns;
    configuration.constants.dead_after_ns = dead_ns;
    configuration.arena = node->arena = aligned_alloc(16, TEST_ARENA_BYTES);
    configuration.arena_bytes = TEST_ARENA_BYTES;
    node->host = malloc(sizeof(*node->host));
    REQUIRE(node->arena != NULL && node->host != NULL);
    REQUIRE(mach_host_initialize(node->host, &configuration) == 0);
    node->node_id = node_id;
    node->incarnation = incarnation;
    node->poll_ns = POLL_NS;
    node->message_max = 1u << 20;
    REQUIRE(pthread_mutex_init(&node->lock, NULL) == 0);
    REQUIRE(pthread_cond_init(&node->changed, NULL) == 0);
    node->observer = (struct node_observer){.context = node, .up = node_up, .dead = node_dead};
    node_observe(node->host, &node->observer);
    return node;
}

struct network_node *network_node_create(uint32_t node_id, uint64_t incarnation)
{
    return create(node_id, incarnation, NETWORK_LINK_DOWN_NS, NETWORK_DEAD_NS);
}

struct network_node *network_mortal_create(uint32_t node_id, uint64_t incarnation)
{
    return create(node_id, incarnation, NETWORK_MORTAL_LINK_DOWN_NS, NETWORK_MORTAL_DEAD_NS);
}

void network_node_destroy(struct network_node *node)
{
    network_stop(node);
    heap_check(node->host);
    mach_host_destroy(node->host);
    pthread_cond_destroy(&node->changed);
    pthread_mutex_destroy(&node->lock);
    free(node->arena);
    free(node->host);
    free(node);
}

void network_plug(struct network_node *node, struct memory_cable *cable, int end, uint32_t peer)
{
    struct boot_link *link = &node->links[node->link_count++];

    REQUIRE(node->link_count <= NETWORK_LINKS_MAXIMUM);
    *link = (struct boot_link){
        .kind = memory_cable_kind(cable),
        .use = BOOT_LINK_USE_LINK,
        .slot = memory_cable_slot(cable, end),
        .peer = peer,
    };
}

void network_route(struct network_node *node, uint32_t via, uint32_t peer, uint16_t route)
{
    REQUIRE(node->link_count < NETWORK_LINKS_MAXIMUM);
    node->links[node->link_count++] = (struct boot_link){.kind = BOOT_LINK_ROUTE,
                                                         .use = BOOT_LINK_USE_LINK,
                                                         .peer = peer,
                                                         .via = via,
                                                         .route = route};
}

void network_transit(struct network_node *node, uint16_t route, uint16_t first, uint8_t first_link,
                     uint16_t second, uint8_t second_link)
{
    REQUIRE(node->transit_count < NETWORK_TRANSITS_MAXIMUM);
    node->transits[node->transit_count++] = (struct boot_transit){
        .route = route, .ends = {first, second}, .links = {first_link, second_link}};
}

void network_start(struct network_node *node)
{
    struct link_manager_configuration configuration = {
        .links = node->links,
        .link_count = node->link_count,
        .transits = node->transits,
        .transit_count = node->transit_count,
        .poll_ns = node->poll_ns,
        .message_max = node->message_max,
        .find_phy = memory_find_phy,
        .observer = {.context = node,
                     .state = link_state,
                     .refused = link_refused,
                     .drop = link_dropped,
                     .stale = told_stale},
    };

    REQUIRE(link_manager_start(node->host, &configuration) == ERROR_NONE);
    REQUIRE(link_manager_failed(node->host) == 0);
}

void network_stop(struct network_node *node)
{
    link_manager_stop(node->host);
}

mnl_node_info_t network_handle(struct network_node *node, uint32_t peer)
{
    mnl_node_info_t handle;

    ipc_lock(node->host);
    REQUIRE(node_slot_of(node->host, peer)->live != NULL);
    handle = &node_slot_of(node->host, peer)->live->info;
    ipc_unlock(node->host);
    return handle;
}

/* --- Traffic ---------------------------------------------------------------------------------- */

static uint64_t peek(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void count_outcome(void *context, enum message_outcome outcome)
{
    struct network_stream *stream = context;
    uint64_t *word = outcome == MESSAGE_SETTLED  ? &stream->settled
                     : outcome == MESSAGE_FAILED ? &stream->failed
                                                 : &stream->unknown;

    __atomic_add_fetch(word, 1, __ATOMIC_RELEASE);
}

static bool must_stop(const struct network_stream *stream)
{
    return __atomic_load_n(&stream->must_stop, __ATOMIC_ACQUIRE);
}

/* Bytes of message `number`: the number, then a pattern of it. */
static void fill_body(struct kmsg *kmsg, uint64_t number)
{
    uint8_t *body = kmsg_body(kmsg);

    memset(body, (int)(number * 31 + 7) & 0xff, kmsg_body_size(kmsg));
    memcpy(body, &number, sizeof(number));
}

static bool check_body(struct kmsg *kmsg, uint64_t number, size_t body_bytes)
{
    const uint8_t *body = kmsg_body(kmsg);
    uint64_t found;

    if (kmsg_body_size(kmsg) != body_bytes)
        return false;
    memcpy(&found, body, sizeof(found));
    for (size_t i = sizeof(found); i < body_bytes; i++) {
        if (body[i] != (uint8_t)(number * 31 + 7))
            return false;
    }
    return found == number;
}

static void pause_ns(uint64_t ns)
{
    struct timespec pause = {.tv_sec = (time_t)(ns / 1000000000u),
                             .tv_nsec = (long)(ns % 1000000000u)};

    nanosleep(&pause, NULL);
}

void network_pause_ms(uint32_t ms)
{
    pause_ns(ms * 1000000ull);
}

static void *send_all(void *context)
{
    struct network_stream *stream = context;
    struct mach_host *host = stream->source->host;
    struct port *port = NULL;

    thread_set_host(host);
    for (uint64_t number = 0; number < stream->count && !must_stop(stream);) {
        struct kmsg *kmsg;
        mach_msg_return_t result;

        if (port == NULL)
            port = port_from_name(host, NAME_WELL_KNOWN(stream->sink->node_id, NAME_SERIAL_KERNEL));
        if (port == NULL)
            break;
        kmsg = kmsg_allocate(host, stream->body_bytes);
        if (kmsg == NULL) { /* until earlier ones are settled */
            pause_ns(SHORT_PAUSE_NS);
            continue;
        }
        fill_body(kmsg, number);
        kmsg_set_completion(kmsg, count_outcome, stream);
        result = mach_msg_send(kmsg, port, NULL, PORT_NONE, clock_now_ns() + NETWORK_KEEPALIVE_NS);
        if (result == MACH_MSG_SUCCESS) {
            number++;
            continue;
        }
        kmsg_set_completion(kmsg, NULL, NULL);
        kmsg_free(kmsg);
        if (result != MACH_SEND_TIMED_OUT)
            break;
    }
    if (port != NULL)
        port_release(port);
    return NULL;
}

static void *receive_all(void *context)
{
    struct network_stream *stream = context;
    uint64_t number = 0;

    thread_set_host(stream->sink->host);
    while (number < stream->count && !must_stop(stream)) {
        struct kmsg *kmsg;

        if (mach_msg_receive(stream->port, &kmsg, clock_now_ns() + NETWORK_KEEPALIVE_NS) !=
            MACH_MSG_SUCCESS)
            continue;
        if (!check_body(kmsg, number, stream->body_bytes))
            __atomic_add_fetch(&stream->wrong, 1, __ATOMIC_RELEASE);
        kmsg_free(kmsg);
        number++;
        __atomic_store_n(&stream->received, number, __ATOMIC_RELEASE);
    }
    return NULL;
}

void network_stream_start(struct network_stream *stream, struct network_node *source,
                          struct network_node *sink, uint64_t count, size_t body_bytes)
{
    *stream = (struct network_stream){
        .source = source, .sink = sink, .count = count, .body_bytes = body_bytes};
    thread_set_host(sink->host);
    REQUIRE(port_create(sink->host, &stream->port) == 0);
    port_set_limit(stream->port, LIMIT);
    REQUIRE(port_publish(stream->port, NAME_WELL_KNOWN(sink->node_id, NAME_SERIAL_KERNEL)) == 0);
    REQUIRE(pthread_create(&stream->receiver, NULL, receive_all, stream) == 0);
    REQUIRE(pthread_create(&stream->sender, NULL, send_all, stream) == 0);
}

/* Until `*word` reaches `least`; looks every 0.2 ms. */
static bool wait_for(const uint64_t *word, uint64_t least)
{
    uint64_t deadline_ns = clock_now_ns() + NETWORK_PATIENCE_NS;

    while (peek(word) < least && clock_now_ns() < deadline_ns)
        pause_ns(SHORT_PAUSE_NS);
    return peek(word) >= least;
}

void network_stream_wait(struct network_stream *stream, uint64_t received)
{
    REQUIRE(wait_for(&stream->received, received));
}

void network_stream_finish(struct network_stream *stream)
{
    EXPECT(wait_for(&stream->settled, stream->count));
    __atomic_store_n(&stream->must_stop, true, __ATOMIC_RELEASE);
    pthread_join(stream->sender, NULL);
    pthread_join(stream->receiver, NULL);
    EXPECT_EQUAL(stream->received, stream->count);
    EXPECT_EQUAL(stream->wrong, 0);
    EXPECT_EQUAL(stream->settled, stream->count);
    EXPECT_EQUAL(stream->failed, 0);
    EXPECT_EQUAL(stream->unknown, 0);
    thread_set_host(stream->sink->host);
    port_destroy(stream->port);
}

void network_stream_abandon(struct network_stream *stream)
{
    __atomic_store_n(&stream->must_stop, true, __ATOMIC_RELEASE);
    pthread_join(stream->sender, NULL);
    pthread_join(stream->receiver, NULL);
    EXPECT_EQUAL(stream->wrong, 0);
    thread_set_host(stream->sink->host);
    port_destroy(stream->port);
}
