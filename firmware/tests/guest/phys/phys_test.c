/* SPDX-License-Identifier: MIT
 *
 * Guest test of the PHY drivers and the raw ring: the kernel_main() of an image of its own. One
 * node plays one end; the boot page's `servers` names what it does, its link 0 is the device under
 * test. Results are console lines RESULT <what>=<number> ..., then VERDICT pass or
 * VERDICT fail <reason>.
 *
 *   raw_active, raw_passive      both measurements of servers/raw_ring, at several sizes
 *   phy_active, phy_passive      frames through the PHY driver: round trips while polling and while
 *                              sleeping, one way, bulk
 *   phy_flaps                  frames while the cable is cut and spliced and one end restarted
 *   phy_echo                   answer every frame with itself, for a peer on the host; ends at a
 *                              frame of type 0xff
 */
#include <abi/frame.h>
#include <abi/services.h>
#include <kernel/arch.h>
#include <kernel/boot.h>
#include <kernel/console.h>
#include <kernel/crc32c.h>
#include <kernel/host.h>
#include <kernel/kern_server.h>
#include <kernel/string.h>

#define SECOND_NS 1000000000ull
#define TEST_TIMEOUT_NS (60 * SECOND_NS)
#define POLL_BUDGET 65536u
#define SPINS_BETWEEN_CLOCKS 2000u
#define COST_FRAMES 1000u
#define FLAPS_WANTED 21u /* 20 splices and a restart, or so */
#define FRAME_TYPE_STOP 0xffu

struct end {
    const struct phy_operations *operations;
    struct phy *phy;
    struct event wake;
    bool tx_up, rx_up, echo, stop;
    bool owed;     /* an answer that waits for sending to come up */
    bool with_crc; /* streams find frames by it; rings do not look */
    uint64_t received, refused, dropped, skipped, carriers;
    uint64_t expected; /* number in the next frame */
    uint64_t wrong;
    bool flapping;
    bool useful;         /* a frame came since receiving came up */
    uint32_t useful_ups; /* times that receiving came up and carried a frame */
    uint64_t latest;     /* number of the latest frame */
    uint32_t payload_bytes;
    uint32_t sessions;
};

static uint8_t private_frame[FRAME_HEADER_SIZE + FRAME_MTU_MAXIMUM] __attribute__((aligned(64)));
static uint8_t out_payload[FRAME_MTU_MAXIMUM] __attribute__((aligned(64)));

static void make_header(struct frame_header *header, uint64_t number, uint32_t length)
{
    *header = (struct frame_header){
        .magic = le16_of(FRAME_MAGIC),
        .version = FRAME_VERSION,
        .src_incarnation = le64_of(number),
        .type = FRAME_DATA,
        .length = le32_of(length),
    };
}

/* Send private_frame back. Receiving may come up before sending: then the answer waits. */
static void answer(struct end *end)
{
    const struct frame_header *header = (const void *)private_frame;

    end->owed = !end->tx_up;
    if (!end->owed &&
        end->operations->send(end->phy, private_frame, private_frame + FRAME_HEADER_SIZE,
                              le32_load(header->length)) != 0)
        end->dropped++;
}

static void on_frame(void *context, const uint8_t *frame, size_t length,
                     bool (*confirm)(struct phy *), struct phy *phy)
{
    struct end *end = context;
    const struct frame_header *header = (const void *)private_frame;
    uint64_t number;

    memcpy(private_frame, frame, length);
    if (!confirm(phy)) {
        end->refused++;
        return;
    }
    if (header->type == FRAME_CABLE)
        return;
    if (header->type == FRAME_TYPE_STOP) {
        end->stop = true;
        return;
    }
    number = le64_load(header->src_incarnation);
    if (end->flapping) {
        end->wrong += number <= end->latest;
        end->latest = number;
        end->received++;
        end->useful_ups += !end->useful;
        end->useful = true;
        return;
    }
    if (number != end->expected || le32_load(header->length) != length - FRAME_HEADER_SIZE)
        end->wrong++;
    end->expected = number + 1;
    end->received++;
    if (end->echo)
        answer(end);
}

static void on_carrier(void *context, uint32_t direction, bool up, uint32_t generation,
                       bool checked)
{
    struct end *end = context;

    if (direction == PHY_DIRECTION_TX)
        end->tx_up = up;
    else
        end->rx_up = up;
    if (end->tx_up && end->owed)
        answer(end);
    if (direction == PHY_DIRECTION_RX)
        end->useful = false;
    end->carriers++;
    if (end->flapping)
        return;
    console_printf("carrier %s %s generation %u checked %d\n",
                   direction == PHY_DIRECTION_TX ? "tx" : "rx", up ? "up" : "down", generation,
                   checked);
}

static void on_drop(void *context, uint32_t reason, uint32_t count)
{
    struct end *end = context;

    if (reason == LINK_DROP_RESYNC) {
        end->skipped += count;
        return;
    }
    end->dropped += count;
    console_printf("drop reason %u count %u\n", reason, count);
}

static _Noreturn void fail(const char *reason)
{
    console_printf("VERDICT fail %s\n", reason);
    arch_power_off();
}

static void send_frame(struct end *end, uint64_t number, uint32_t payload_bytes)
{
    struct frame_header header;
    uint64_t deadline_ns = 0;
    int error;

    make_header(&header, number, payload_bytes);
    if (end->with_crc)
        header.header_crc = le32_of(crc32c(0, &header, FRAME_HEADER_SIZE - 4));
    while ((error = end->operations->send(end->phy, &header, out_payload, payload_bytes)) ==
           ERROR_FULL) {
        end->operations->flush(end->phy);
        (void)end->operations->poll(end->phy, POLL_BUDGET);
        if (deadline_ns == 0)
            deadline_ns = clock_now_ns() + TEST_TIMEOUT_NS;
        else if (clock_now_ns() > deadline_ns)
            fail("no room");
    }
    if (error != 0)
        fail("send");
}

/* Look for frames until `count` were received; sleep when nothing comes, unless `poll_only`. */
static void receive_until(struct end *end, uint64_t count, bool poll_only)
{
    uint32_t idle = 0;
    uint64_t deadline_ns = 0;

    while (end->received < count && !end->stop) {
        uint64_t before = end->received;

        (void)end->operations->poll(end->phy, POLL_BUDGET);
        if (end->received != before || end->stop) {
            end->operations->flush(end->phy);
            idle = 0;
            deadline_ns = 0;
            continue;
        }
        if (poll_only && ++idle % SPINS_BETWEEN_CLOCKS != 0)
            continue;
        if (deadline_ns == 0)
            deadline_ns = clock_now_ns() + TEST_TIMEOUT_NS;
        if (clock_now_ns() > deadline_ns)
            fail("nothing received");
        if (poll_only)
            continue;
        if (!end->operations->arm(end->phy))
            (void)event_wait(&end->wake, deadline_ns);
        end->operations->disarm(end->phy);
    }
}

static void wait_up(struct end *end)
{
    uint64_t deadline_ns = clock_now_ns() + TEST_TIMEOUT_NS;

    while (!end->tx_up || !end->rx_up) {
        (void)end->operations->poll(end->phy, POLL_BUDGET);
        end->operations->flush(end->phy);
        if (clock_now_ns() > deadline_ns)
            fail("no carrier");
        if ((!end->tx_up || !end->rx_up) && !end->operations->arm(end->phy))
            (void)event_wait(&end->wake, deadline_ns);
        end->operations->disarm(end->phy);
    }
}

/* Stay until the peer has left: with this node its frames would leave the ring unread. */
static void wait_left(struct end *end)
{
    uint64_t deadline_ns = clock_now_ns() + TEST_TIMEOUT_NS;

    while (end->rx_up) {
        (void)end->operations->poll(end->phy, POLL_BUDGET);
        if (clock_now_ns() > deadline_ns)
            fail("the peer stayed");
        if (end->rx_up && !end->operations->arm(end->phy))
            (void)event_wait(&end->wake, deadline_ns);
        end->operations->disarm(end->phy);
    }
}

static void round_trips(struct end *end, const char *what, uint32_t payload_bytes, uint64_t count,
                        bool poll_only)
{
    uint64_t start_ns = clock_now_ns();

    for (uint64_t i = 0; i < count; i++) {
        send_frame(end, end->expected, payload_bytes);
        end->operations->flush(end->phy);
        receive_until(end, end->received + 1, poll_only);
    }
    console_printf("RESULT %s.%uB_ns=%llu count=%llu\n", what, payload_bytes,
                   (unsigned long long)((clock_now_ns() - start_ns) / count),
                   (unsigned long long)count);
}

/* `batch` frames to a flush; the other end counts them and answers the last. */
static void one_way(struct end *end, uint32_t payload_bytes, uint64_t count, uint32_t batch)
{
    uint64_t start_ns = clock_now_ns();
    uint64_t elapsed_ns;

    for (uint64_t i = 0; i < count; i++) {
        send_frame(end, i, payload_bytes);
        if ((i + 1) % batch == 0)
            end->operations->flush(end->phy);
    }
    end->operations->flush(end->phy);
    end->expected = count;
    receive_until(end, end->received + 1, true);
    elapsed_ns = clock_now_ns() - start_ns;
    console_printf("RESULT one_way.%uB_ns=%llu batch=%u bytes_per_s=%llu\n", payload_bytes,
                   (unsigned long long)(elapsed_ns / count), batch,
                   (unsigned long long)(count * payload_bytes * SECOND_NS / elapsed_ns));
}

static void one_way_sink(struct end *end, uint64_t count)
{
    end->expected = 0;
    receive_until(end, end->received + count, true);
    send_frame(end, count, 0);
    end->operations->flush(end->phy);
}

/* What one frame costs a side while the ring neither fills nor runs dry. */
static void send_cost(struct end *end, uint32_t payload_bytes)
{
    uint64_t start_ns = clock_now_ns();

    for (uint64_t i = 0; i < COST_FRAMES; i++)
        send_frame(end, end->expected + i, payload_bytes);
    end->operations->flush(end->phy);
    console_printf("RESULT send_cost.%uB_ns=%llu\n", payload_bytes,
                   (unsigned long long)((clock_now_ns() - start_ns) / COST_FRAMES));
    receive_until(end, end->received + 1, true);
}

static void receive_cost(struct end *end)
{
    uint64_t start_ns = clock_now_ns();
    uint64_t count;

    while (clock_now_ns() - start_ns < SECOND_NS / 20)
        continue; /* let them all arrive */
    count = end->received;
    start_ns = clock_now_ns();
    (void)end->operations->poll(end->phy, SIZE_MAX);
    console_printf("RESULT receive_cost_ns=%llu count=%llu\n",
                   (unsigned long long)((clock_now_ns() - start_ns) / COST_FRAMES),
                   (unsigned long long)(end->received - count));
    end->expected -= COST_FRAMES - 1; /* the other end counts from the answer on */
    send_frame(end, end->expected - 1, 0);
    end->operations->flush(end->phy);
}

/* Enough to go round every ring many times; the figures proper are the benchmark's. Two ends that
 * poll need a core each, and the machine may have none to spare. */
struct one_way_run {
    uint32_t payload_bytes;
    uint32_t batch;
    uint64_t count;
};

static const struct one_way_run one_way_runs[] = {
    {64, 1, 40000}, {64, 16, 40000}, {4096, 4, 4000}, {4096, 1, 4000}, {16448, 1, 1000},
};
#define ONE_WAY_RUNS (sizeof(one_way_runs) / sizeof(one_way_runs[0]))
#define POLLED_TRIPS 2000u
#define SLEEPING_TRIPS 500u

static void phy_active(struct end *end)
{
    wait_up(end);
    round_trips(end, "round_trip.first", 64, 100, true);
    round_trips(end, "round_trip.polling", 0, POLLED_TRIPS, true);
    round_trips(end, "round_trip.polling", 64, POLLED_TRIPS, true);
    round_trips(end, "round_trip.sleeping", 64, SLEEPING_TRIPS, false);
    send_cost(end, 0);
    send_cost(end, 64);
    for (size_t i = 0; i < ONE_WAY_RUNS; i++)
        if (one_way_runs[i].payload_bytes <= end->operations->mtu)
            one_way(end, one_way_runs[i].payload_bytes, one_way_runs[i].count,
                    one_way_runs[i].batch);
}

static void phy_passive(struct end *end)
{
    end->echo = true;
    wait_up(end);
    receive_until(end, 100 + 2 * POLLED_TRIPS, true);
    receive_until(end, 100 + 2 * POLLED_TRIPS + SLEEPING_TRIPS, false);
    end->echo = false;
    receive_cost(end);
    receive_cost(end);
    for (size_t i = 0; i < ONE_WAY_RUNS; i++)
        if (one_way_runs[i].payload_bytes <= end->operations->mtu)
            one_way_sink(end, one_way_runs[i].count);
    wait_left(end);
}

/* One frame out, what there is in, and a nap of at most a millisecond. */
static void flap_step(struct end *end, uint64_t number, uint8_t type)
{
    struct frame_header header;

    make_header(&header, number, 64);
    header.type = type;
    (void)end->operations->send(end->phy, &header, out_payload, 64);
    end->operations->flush(end->phy);
    (void)end->operations->poll(end->phy, POLL_BUDGET);
    if (!end->operations->arm(end->phy))
        (void)event_wait(&end->wake, clock_now_ns() + SECOND_NS / 1000);
    end->operations->disarm(end->phy);
}

/* Numbers grow over all lives of the sender, so a frame of an old life or generation shows. Whoever
 * is content says so long enough to be heard through the flaps. */
static void phy_flaps(struct end *end)
{
    uint64_t number = thread_current_host()->incarnation >> 32 << 32; /* the launch */
    uint64_t deadline_ns = clock_now_ns() + TEST_TIMEOUT_NS;

    end->flapping = true;
    while (end->useful_ups < FLAPS_WANTED && !end->stop) {
        flap_step(end, ++number, FRAME_DATA);
        if (clock_now_ns() > deadline_ns)
            fail("not enough flaps");
    }
    deadline_ns = clock_now_ns() + SECOND_NS / 2;
    while (clock_now_ns() < deadline_ns)
        flap_step(end, ++number, FRAME_TYPE_STOP);
    console_printf("RESULT useful_ups=%u\n", end->useful_ups);
}

static void phy_echo(struct end *end)
{
    end->echo = true;
    end->tx_up = end->rx_up = true;
    receive_until(end, UINT64_MAX, false);
    console_printf("RESULT echoed=%llu\n", (unsigned long long)end->received);
    console_printf("RESULT skipped=%llu\n", (unsigned long long)end->skipped);
}

static void run_phy(struct mach_host *host, void (*test)(struct end *))
{
    static struct end end;
    const struct boot_link *link = &host->boot->links[0];
    struct phy_client client = {.context = &end,
                                .wake = &end.wake,
                                .frame = on_frame,
                                .carrier = on_carrier,
                                .drop = on_drop,
                                .sessions = &end.sessions};
    int error;

    end.with_crc = link->kind != BOOT_LINK_IVSHMEM;
    event_init(&end.wake);
    end.operations =
        kern_server_find_phy(link->kind == BOOT_LINK_IVSHMEM ? "ivshmem" : "virtio-serial");
    if (end.operations == NULL)
        fail("no such PHY");
    error = end.operations->start(host, link, &client, &end.phy);
    if (error != 0) {
        console_printf("start: error %d\n", error);
        fail("start");
    }
    test(&end);
    console_printf("RESULT received=%llu wrong=%llu refused=%llu dropped=%llu carriers=%llu\n",
                   (unsigned long long)end.received, (unsigned long long)end.wrong,
                   (unsigned long long)end.refused, (unsigned long long)end.dropped,
                   (unsigned long long)end.carriers);
    if (end.wrong != 0 || end.dropped != 0)
        fail("frames wrong or dropped");
    end.operations->stop(end.phy);
}

struct raw_case {
    uint32_t size_bytes;
    uint64_t count;
};

static const struct raw_case raw_trips[] = {{64, 200}, {64, 2000}, {120, 2000}};
static const struct raw_case raw_streams[] = {{64, 200000}, {4096, 4000}, {65536, 400}};

/* The times of struct raw_reply. */
struct raw_times {
    uint64_t total_ns;
    uint64_t min_ns;
    uint64_t max_ns;
};

/* Ask the raw_ring server of this node, as a client on another node would. */
static struct raw_times ask_raw(struct mach_host *host, int32_t id, enum raw_role role,
                                const struct raw_case *what)
{
    struct raw_reply reply;
    struct port *server = port_from_name(host, kern_server_service_name(host, "raw_ring"));
    struct kmsg *message = kmsg_allocate(host, sizeof(struct raw_request));
    struct port *answers;

    if (server == NULL || message == NULL || port_create(host, &answers) != 0)
        fail("no raw_ring server");
    *(struct raw_request *)kmsg_body(message) = (struct raw_request){
        .role = le32_of(role),
        .size_bytes = le32_of(what->size_bytes),
        .count = le64_of(what->count),
        .timeout_ns = le64_of(TEST_TIMEOUT_NS),
    };
    kmsg_set_id(message, id);
    if (mach_msg_send(message, server, answers, PORT_SEND_ONCE, 0) != MACH_MSG_SUCCESS ||
        mach_msg_receive(answers, &message, DEADLINE_NEVER) != MACH_MSG_SUCCESS ||
        kmsg_id(message) != id + SERVICE_REPLY_OFFSET || kmsg_body_size(message) != sizeof(reply))
        fail("no answer from raw_ring");
    memcpy(&reply, kmsg_body(message), sizeof(reply));
    if (le32_load(reply.status.status) != 0) {
        console_printf("raw_ring: status %d\n", (int)le32_load(reply.status.status));
        fail("raw_ring");
    }
    kmsg_free(message);
    port_destroy(answers);
    port_release(server);
    return (struct raw_times){
        .total_ns = le64_load(reply.total_ns),
        .min_ns = le64_load(reply.min_ns),
        .max_ns = le64_load(reply.max_ns),
    };
}

static void run_raw(struct mach_host *host, enum raw_role role)
{
    struct raw_times reply;

    if (kern_server_load(host, "raw_ring") != 0)
        fail("load raw_ring");
    for (size_t i = 0; i < sizeof(raw_trips) / sizeof(raw_trips[0]); i++) {
        reply = ask_raw(host, RAW_PINGPONG, role, &raw_trips[i]);
        console_printf("RESULT raw_round_trip.%uB_ns=%llu min=%llu max=%llu\n",
                       raw_trips[i].size_bytes,
                       (unsigned long long)(reply.total_ns / raw_trips[i].count),
                       (unsigned long long)reply.min_ns, (unsigned long long)reply.max_ns);
    }
    for (size_t i = 0; i < sizeof(raw_streams) / sizeof(raw_streams[0]); i++) {
        reply = ask_raw(host, RAW_STREAM, role, &raw_streams[i]);
        console_printf("RESULT raw_stream.%uB_ns=%llu bytes_per_s=%llu\n",
                       raw_streams[i].size_bytes,
                       (unsigned long long)(reply.total_ns / raw_streams[i].count),
                       (unsigned long long)(raw_streams[i].count * raw_streams[i].size_bytes *
                                            SECOND_NS / reply.total_ns));
    }
    if (kern_server_unload(host, "raw_ring") != 0)
        fail("unload raw_ring");
}

static void start_host(struct mach_host *host, const struct boot_configuration *boot)
{
    uint8_t *arena;
    size_t arena_bytes;

    arch_memory_range(&arena, &arena_bytes);
    struct mach_host_configuration configuration = {
        .node_id = boot->node_id,
        .incarnation = boot->incarnation,
        .seed = boot->seed,
        .constants = {.nodes_max = boot->nodes_max,
                      .window = boot->window,
                      .keepalive_ns = boot->keepalive_ns,
                      .link_down_after_ns = boot->link_down_after_ns,
                      .dead_after_ns = boot->dead_after_ns,
                      .ack_delay_ns = boot->ack_delay_ns,
                      .ack_count = boot->ack_count},
        .arena = arena,
        .arena_bytes = arena_bytes,
    };
    if (mach_host_initialize(host, &configuration) != 0 || kern_servers_initialize(host) != 0)
        fail("host");
    host->boot = boot;
    thread_set_host(host);
}

void kernel_main(const struct boot_configuration *boot)
{
    static struct mach_host host;
    const char *test = boot->servers;

    start_host(&host, boot);
    if (strcmp(test, "raw_active") == 0)
        run_raw(&host, RAW_ROLE_ACTIVE);
    else if (strcmp(test, "raw_passive") == 0)
        run_raw(&host, RAW_ROLE_PASSIVE);
    else if (strcmp(test, "phy_active") == 0)
        run_phy(&host, phy_active);
    else if (strcmp(test, "phy_passive") == 0)
        run_phy(&host, phy_passive);
    else if (strcmp(test, "phy_flaps") == 0)
        run_phy(&host, phy_flaps);
    else if (strcmp(test, "phy_echo") == 0)
        run_phy(&host, phy_echo);
    else
        fail("unknown test");
    console_printf("RESULT heap_used=%llu\n",
                   (unsigned long long)heap_statistics(&host).used_bytes);
    console_printf("VERDICT pass\n");
}
