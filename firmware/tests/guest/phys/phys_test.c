/* SPDX-License-Identifier: MIT
 *
 * Guest test of the PHY drivers and the raw ring: the kernel_main() of an image of its own. One node plays one end; the
 * boot page's `servers` names what it does, its link 0 is the device under test. Results are console lines
 *   RESULT <what>=<number> ...   then   VERDICT pass | VERDICT fail <reason>
 *
 *   raw_active, raw_passive      both measurements of servers/raw_ring, at several sizes
 *   phy_active, phy_passive      frames through the PHY driver: round trips while polling and while sleeping, one way, bulk
 *   phy_echo                     answer every frame with itself, for a peer on the host; ends at a frame of type 0xff
 */
#include <abi/frame.h>
#include <kernel/arch.h>
#include <kernel/boot.h>
#include <kernel/console.h>
#include <kernel/crc32c.h>
#include <kernel/host.h>
#include <kernel/kern_server.h>
#include <kernel/string.h>
#include <servers/raw_ring/raw_link.h>

#define SECOND_NS 1000000000ull
#define TEST_TIMEOUT_NS (20 * SECOND_NS)
#define POLL_BUDGET 65536u
#define SPINS_BETWEEN_CLOCKS 2000u
#define COST_FRAMES 1000u
#define FRAME_TYPE_STOP 0xffu
#define ARENA_BYTES (4u << 20)

extern const struct kern_server *const __start_kern_servers[];
extern const struct kern_server *const __stop_kern_servers[];

static uint8_t arena[ARENA_BYTES] __attribute__((aligned(64)));
static size_t arena_used;

/* The drivers' heap here: nothing is reused, every driver is started once. */
void *heap_allocate(struct mach_host *host, size_t bytes)
{
    void *block = arena + arena_used;

    (void)host;
    if (bytes > ARENA_BYTES - arena_used)
        return NULL;
    arena_used += (bytes + 63) & ~(size_t)63;
    return block;
}

void heap_free(struct mach_host *host, void *block)
{
    (void)host;
    (void)block;
}

struct end {
    const struct phy_operations *operations;
    struct phy *phy;
    struct event wake;
    bool tx_up, rx_up, echo, stop;
    bool with_crc; /* streams find frames by it; rings do not look */
    uint64_t received, refused, dropped, carriers;
    uint64_t expected; /* number in the next frame */
    uint64_t wrong;
    uint32_t payload_bytes;
};

static uint8_t private_frame[FRAME_HEADER_SIZE + FRAME_MTU_MAXIMUM] __attribute__((aligned(64)));
static uint8_t out_payload[FRAME_MTU_MAXIMUM] __attribute__((aligned(64)));

static void make_header(struct frame_header *header, uint64_t number, uint32_t length)
{
    *header = (struct frame_header){
        .magic = FRAME_MAGIC,
        .version = FRAME_VERSION,
        .src_incarnation = number,
        .type = FRAME_DATA,
        .length = length,
    };
}

static void on_frame(void *context, const uint8_t *frame, size_t length,
                     bool (*confirm)(struct phy *), struct phy *phy)
{
    struct end *end = context;
    const struct frame_header *header = (const void *)private_frame;

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
    if (header->src_incarnation != end->expected || header->length != length - FRAME_HEADER_SIZE)
        end->wrong++;
    end->expected = header->src_incarnation + 1;
    end->received++;
    if (end->echo && end->operations->send(end->phy, private_frame, private_frame + FRAME_HEADER_SIZE,
                                           length - FRAME_HEADER_SIZE) != 0)
        end->dropped++;
}

static void on_carrier(void *context, uint32_t direction, bool up, uint32_t generation, bool checked)
{
    struct end *end = context;

    if (direction == PHY_DIRECTION_TX)
        end->tx_up = up;
    else
        end->rx_up = up;
    end->carriers++;
    console_printf("carrier %s %s generation %u checked %d\n",
                   direction == PHY_DIRECTION_TX ? "tx" : "rx", up ? "up" : "down", generation,
                   checked);
}

static void on_drop(void *context, uint32_t reason, uint32_t count)
{
    struct end *end = context;

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
        header.header_crc = crc32c(0, &header, FRAME_HEADER_SIZE - 4);
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

struct one_way_run {
    uint32_t payload_bytes;
    uint32_t batch;
    uint64_t count;
};

static const struct one_way_run one_way_runs[] = {
    {64, 1, 400000}, {64, 16, 400000}, {4096, 4, 40000}, {4096, 1, 40000}, {16448, 1, 10000},
};
#define ONE_WAY_RUNS (sizeof(one_way_runs) / sizeof(one_way_runs[0]))
#define POLLED_TRIPS 20000u
#define SLEEPING_TRIPS 2000u

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
}

static void phy_echo(struct end *end)
{
    end->echo = true;
    end->tx_up = end->rx_up = true;
    receive_until(end, UINT64_MAX, false);
    console_printf("RESULT echoed=%llu\n", (unsigned long long)end->received);
    end->wrong = 0;
}

static const struct phy_operations *find_phy(const char *kind)
{
    for (const struct kern_server *const *server = __start_kern_servers;
         server != __stop_kern_servers; server++)
        if ((*server)->phy != NULL && strcmp((*server)->phy->kind, kind) == 0)
            return (*server)->phy;
    return NULL;
}

static void run_phy(const struct boot_configuration *configuration, void (*test)(struct end *))
{
    static struct mach_host host;
    static struct end end;
    const struct boot_link *link = &configuration->links[0];
    struct phy_client client = {.context = &end,
                                .wake = &end.wake,
                                .frame = on_frame,
                                .carrier = on_carrier,
                                .drop = on_drop};
    int error;

    end.with_crc = link->kind != BOOT_LINK_IVSHMEM;
    host.node_id = configuration->node_id;
    host.incarnation = configuration->incarnation;
    event_init(&end.wake);
    end.operations = find_phy(link->kind == BOOT_LINK_IVSHMEM ? "ivshmem" : "virtio-serial");
    if (end.operations == NULL)
        fail("no such PHY");
    error = end.operations->start(&host, link, &client, &end.phy);
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

static const struct raw_case raw_trips[] = {{64, 1000}, {64, 20000}, {120, 20000}};
static const struct raw_case raw_streams[] = {{64, 2000000}, {4096, 40000}, {65536, 4000}};

static void run_raw(const struct boot_configuration *configuration, enum raw_role role)
{
    static struct raw_link link;
    static uint64_t buffer[RAW_SIZE_MAXIMUM / 8];
    struct raw_result result;

    if (raw_link_open(&link, configuration->links[0].slot, configuration->incarnation, buffer) != 0)
        fail("open");
    if (raw_link_wait(&link, clock_now_ns() + TEST_TIMEOUT_NS) != 0)
        fail("not in step");
    for (size_t i = 0; i < sizeof(raw_trips) / sizeof(raw_trips[0]); i++) {
        struct raw_run run = {raw_trips[i].size_bytes, raw_trips[i].count,
                              clock_now_ns() + TEST_TIMEOUT_NS};

        if (raw_pingpong(&link, role, &run, &result) != 0)
            fail("ping-pong");
        console_printf("RESULT raw_round_trip.%uB_ns=%llu min=%llu max=%llu\n", run.size_bytes,
                       (unsigned long long)(result.total_ns / run.count),
                       (unsigned long long)result.min_ns, (unsigned long long)result.max_ns);
    }
    for (size_t i = 0; i < sizeof(raw_streams) / sizeof(raw_streams[0]); i++) {
        struct raw_run run = {raw_streams[i].size_bytes, raw_streams[i].count,
                              clock_now_ns() + TEST_TIMEOUT_NS};

        if (raw_stream(&link, role, &run, &result) != 0)
            fail("stream");
        console_printf("RESULT raw_stream.%uB_ns=%llu bytes_per_s=%llu\n", run.size_bytes,
                       (unsigned long long)(result.total_ns / run.count),
                       (unsigned long long)(run.count * run.size_bytes * SECOND_NS /
                                            result.total_ns));
    }
    raw_link_close(&link);
}

void kernel_main(const struct boot_configuration *configuration)
{
    const char *test = configuration->servers;

    if (strcmp(test, "raw_active") == 0)
        run_raw(configuration, RAW_ROLE_ACTIVE);
    else if (strcmp(test, "raw_passive") == 0)
        run_raw(configuration, RAW_ROLE_PASSIVE);
    else if (strcmp(test, "phy_active") == 0)
        run_phy(configuration, phy_active);
    else if (strcmp(test, "phy_passive") == 0)
        run_phy(configuration, phy_passive);
    else if (strcmp(test, "phy_echo") == 0)
        run_phy(configuration, phy_echo);
    else
        fail("unknown test");
    console_printf("VERDICT pass\n");
}
