/* SPDX-License-Identifier: MIT
 *
 * Kernel server `hostile`: on request it writes garbage into a shared-memory cable that its own link
 * manager uses at the same time (docs/spec/flipc.md, section 4). What a hostile or broken kernel can
 * do to a peer through the memory that both see; for scenarios which show that it harms nobody else.
 *
 * It writes into both rings of the cable, never into the cable page: that is the host's, which takes
 * any change there for an attack on itself. One thread serves one request after another.
 */
#include <abi/frame.h>
#include <kernel/boot.h>
#include <kernel/host.h>
#include <kernel/kern_server.h>
#include <kernel/service.h>
#include <kernel/service_thread.h>
#include <kernel/string.h>
#include <phys/ivshmem/cable.h>
#include <phys/ivshmem/device.h>
#include <phys/ivshmem/ring.h>

#define FORGED_BYTES_MAXIMUM 512u /* of one forged frame */
#define HOSTILE_FRAME_MAXIMUM 16384u

struct hostile {
    struct mach_host *host;
    struct service_thread service;
};

/* One request under way. */
struct attack {
    struct ivshmem_device device;
    struct cable_view tx;
    struct cable_view rx;
    uint32_t parts;
    uint64_t random; /* xorshift64* */
    uint64_t words;  /* written so far */
};

static uint64_t next_random(struct attack *attack)
{
    attack->random ^= attack->random >> 12;
    attack->random ^= attack->random << 25;
    attack->random ^= attack->random >> 27;
    return attack->random * 0x2545f4914f6cdd1dull;
}

/* --- What it writes --------------------------------------------------------------------------- */

/* Zero, a bit, a neighbour of what is there, or anything. */
static void spoil(struct attack *attack, le32 *word)
{
    uint64_t random = next_random(attack);
    uint32_t value = shared_load32(word);

    switch (random & 3u) {
    case 0:
        value = 0;
        break;
    case 1:
        value ^= 1u << (random >> 8 & 31u);
        break;
    case 2:
        value += (uint32_t)(random >> 8 & 0xffffu);
        break;
    default:
        value = (uint32_t)(random >> 8);
        break;
    }
    shared_store32_release(word, value);
    attack->words++;
}

static void spoil_producer(struct attack *attack, const struct ring_memory *ring)
{
    le32 *words[] = {&ring->control->session, &ring->control->head, &ring->control->space_wanted,
                     &ring->control->generation};

    spoil(attack, words[next_random(attack) % 4u]);
}

static void spoil_consumer(struct attack *attack, const struct ring_memory *ring)
{
    le32 *words[] = {&ring->control->session_seen, &ring->control->tail, &ring->control->armed};

    spoil(attack, words[next_random(attack) % 3u]);
}

/* A record that the driver never wrote, as if it came next; half of them begin like a frame. */
static void forge_record(struct attack *attack, const struct ring_memory *ring)
{
    uint32_t head = shared_load32(&ring->control->head) & ~(CABLE_RECORD_ALIGN - 1u);
    uint32_t length = (uint32_t)next_random(attack) % FORGED_BYTES_MAXIMUM;
    uint32_t span = ring_record_span(length);
    struct cable_record *record = ring_record_at(ring, head);
    uint8_t *bytes = (uint8_t *)record + sizeof(*record);

    if (span > ring_contiguous(ring, head))
        return;
    shared_store32(&record->length, length);
    for (uint32_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)next_random(attack);
    if (length >= FRAME_HEADER_SIZE && (next_random(attack) & 1u) != 0) {
        struct frame_header header;

        memcpy(&header, bytes, sizeof(header));
        header.magic = le16_of(FRAME_MAGIC);
        header.version = FRAME_VERSION;
        header.length = le32_of(length - FRAME_HEADER_SIZE);
        memcpy(bytes, &header, sizeof(header));
    }
    shared_store32_release(&ring->control->head, head + span);
    attack->words += span / sizeof(le32);
}

static void strike(struct attack *attack)
{
    uint32_t part = 1u << next_random(attack) % 4u;

    if ((attack->parts & part) == 0)
        return;
    switch ((enum hostile_part)part) {
    case HOSTILE_RECORDS:
        forge_record(attack, &attack->tx.ring);
        break;
    case HOSTILE_PRODUCER:
        spoil_producer(attack, &attack->tx.ring);
        break;
    case HOSTILE_CONSUMER:
        spoil_consumer(attack, &attack->rx.ring);
        break;
    case HOSTILE_PEER:
        spoil_producer(attack, &attack->rx.ring);
        spoil_consumer(attack, &attack->tx.ring);
        break;
    }
    ivshmem_device_ring(&attack->device, attack->tx.doorbell);
}

/* --- A request -------------------------------------------------------------------------------- */

/* Both rings as the cable page has them now; false: a direction has no carrier. */
static bool look(struct attack *attack)
{
    return cable_view_read(&attack->tx) == 0 && cable_view_read(&attack->rx) == 0 &&
           attack->tx.usable && attack->rx.usable;
}

static int open_attack(const struct hostile *server, const struct hostile_request *request,
                       struct attack *attack)
{
    const struct boot_configuration *boot = server->host->boot;
    uint32_t index = le32_load(request->link_index);
    const struct cable_end *end;
    int error;

    *attack = (struct attack){.parts = le32_load(request->parts),
                              .random = le64_load(request->seed) | 1u};
    if (boot == NULL || index >= boot->link_count || boot->links[index].use != BOOT_LINK_USE_LINK ||
        boot->links[index].kind != BOOT_LINK_IVSHMEM)
        return ERROR_NOT_FOUND;
    error = ivshmem_device_open(&attack->device, boot->links[index].slot, NULL, NULL);
    if (error != 0)
        return error;
    end = attack->device.end;
    cable_view_open(&attack->tx, attack->device.region, end, &end->tx, HOSTILE_FRAME_MAXIMUM);
    cable_view_open(&attack->rx, attack->device.region, end, &end->rx, HOSTILE_FRAME_MAXIMUM);
    return 0;
}

static bool is_valid(const struct hostile_request *request)
{
    uint32_t parts = le32_load(request->parts);

    return parts != 0 && parts <= HOSTILE_ALL && le64_load(request->duration_ns) != 0 &&
           le64_load(request->duration_ns) <= HOSTILE_DURATION_MAXIMUM_NS &&
           le64_load(request->interval_ns) != 0;
}

static int attack_for_a_while(const struct hostile *server, const struct hostile_request *request,
                              uint64_t *words)
{
    uint64_t end_ns = clock_now_ns() + le64_load(request->duration_ns);
    struct event never;
    struct attack attack;
    int error;

    if (!is_valid(request))
        return ERROR_INVALID;
    error = open_attack(server, request, &attack);
    if (error != 0)
        return error;
    event_init(&never);
    while (clock_now_ns() < end_ns) {
        if (look(&attack))
            strike(&attack);
        (void)event_wait(&never, clock_now_ns() + le64_load(request->interval_ns));
    }
    *words = attack.words;
    return 0;
}

static void serve(struct hostile *server, struct kmsg *message)
{
    struct hostile_request request;
    struct hostile_reply reply;
    uint64_t words = 0;

    if (kmsg_id(message) != HOSTILE_GARBAGE || !service_read(message, &request, sizeof(request))) {
        service_answer_status(server->host, message, ERROR_INVALID);
        return;
    }
    reply.status = service_status_of(attack_for_a_while(server, &request, &words));
    reply.words = le64_of(words);
    service_answer(server->host, message, &reply, sizeof(reply));
}

/* --- The server ------------------------------------------------------------------------------- */

static void hostile_main(void *argument)
{
    struct hostile *server = argument;
    struct kmsg *message;

    while (mach_msg_receive(server->service.port, &message, DEADLINE_NEVER) == MACH_MSG_SUCCESS)
        serve(server, message);
}

static void hostile_unload(struct mach_host *host, void *instance)
{
    struct hostile *server = instance;

    service_thread_stop(&server->service);
    heap_free(host, server);
}

static int hostile_load(struct mach_host *host, void **instance)
{
    struct hostile *server = heap_allocate(host, sizeof(*server));
    int error;

    if (server == NULL)
        return ERROR_NO_MEMORY;
    *server = (struct hostile){.host = host};
    error = service_thread_start(&server->service, host, "hostile", hostile_main, server);
    if (error != 0) {
        heap_free(host, server);
        return error;
    }
    *instance = server;
    return 0;
}

static struct port *hostile_service_port(void *instance)
{
    struct hostile *server = instance;

    return server->service.port;
}

static const struct kern_server hostile_server = {
    .name = "hostile",
    .version = 1,
    .load = hostile_load,
    .unload = hostile_unload,
    .service_port = hostile_service_port,
};

KERN_SERVER(hostile_server);
