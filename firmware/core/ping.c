/* SPDX-License-Identifier: MIT
 *
 * PING and PING_PORT: round trips to another kernel's or a server's ECHO, checked and timed one by one.
 *
 * One message goes round: what comes back is sent again, so a round trip allocates nothing here,
 * and the clock is read once an iteration (the end of one is the start of the next), or more rarely
 * where there are many. The body of
 * iteration n is words (n + 1) * k + w, so an echo of an earlier iteration or of another ping is
 * not taken for this one's.
 */
#include "ping.h"

#include <abi/flipc.h>
#include <kernel/host.h>
#include <kernel/service.h>
#include <kernel/string.h>

/* How long a wait for an echo goes on without looking whether the peer died or the service stops.
 */
#define PING_SLICE_NS 50000000ull
/* With so many round trips the clock is read once in so many, as the raw ring does. */
#define PING_BATCHED_COUNT 1024u
#define PING_BATCH 16u
#define PING_PATTERN                                                                               \
    0x9e3779b97f4a7c15ull /* 2^64 / golden ratio: neighbours differ in all bytes                   \
                           */

typedef uint64_t body_word __attribute__((may_alias)); /* bodies are 8-byte aligned */

struct ping {
    struct mach_host *host;
    struct port *remote;
    struct port *answers;
    struct kmsg *message; /* ours between two round trips */
    uint32_t size_bytes;
    uint64_t deadline_ns;
    const bool *stop;
};

static uint64_t pattern_word(uint64_t iteration, size_t index)
{
    return (iteration + 1) * PING_PATTERN + index;
}

static void pattern_write(void *body, size_t len_bytes, uint64_t iteration)
{
    body_word *words = body;
    size_t whole = len_bytes / sizeof(*words);

    for (size_t i = 0; i < whole; i++) {
        words[i] = pattern_word(iteration, i);
    }
    uint64_t last = pattern_word(iteration, whole);
    if (len_bytes % sizeof(*words) != 0) {
        memcpy(words + whole, &last, len_bytes % sizeof(*words));
    }
}

static bool pattern_matches(const void *body, size_t len_bytes, uint64_t iteration)
{
    const body_word *words = body;
    size_t whole = len_bytes / sizeof(*words);

    uint64_t difference = 0;

    for (size_t i = 0; i < whole; i++) {
        difference |= words[i] ^ pattern_word(iteration, i);
    }
    if (difference != 0) {
        return false;
    }
    uint64_t last = pattern_word(iteration, whole);
    return len_bytes % sizeof(*words) == 0 ||
           memcmp(words + whole, &last, len_bytes % sizeof(*words)) == 0;
}

/* Why a send did not happen. */
static int send_error(mach_msg_return_t result)
{
    switch (result) {
    case MACH_MSG_SUCCESS:
        return ERROR_NONE;
    case MACH_SEND_INVALID_DEST:
        return ERROR_DOWN;
    case MACH_SEND_TIMED_OUT:
        return ERROR_TIMED_OUT;
    case MACH_SEND_TOO_LARGE:
        return ERROR_INVALID;
    default:
        return ERROR_NO_MEMORY;
    }
}

static int receive_slice(struct ping *ping, uint64_t now_ns)
{
    uint64_t slice_ns = now_ns + PING_SLICE_NS;
    uint64_t until_ns = slice_ns < ping->deadline_ns ? slice_ns : ping->deadline_ns;

    if (mach_msg_receive(ping->answers, &ping->message, until_ns) == MACH_MSG_SUCCESS) {
        return ERROR_NONE;
    }
    ping->message = NULL;
    if (port_is_dead(ping->remote) ||
        (ping->stop != NULL && __atomic_load_n(ping->stop, __ATOMIC_ACQUIRE))) {
        return ERROR_DOWN;
    }
    return until_ns == ping->deadline_ns ? ERROR_TIMED_OUT : ERROR_FULL;
}

static int answer_receive(struct ping *ping, uint64_t now_ns)
{
    int error = receive_slice(ping, now_ns);

    while (error == ERROR_FULL) {
        error = receive_slice(ping, clock_now_ns());
    }
    return error;
}

static int answer_check(struct ping *ping, uint64_t iteration)
{
    if (kmsg_id(ping->message) == NOTIFY_SEND_ONCE) {
        return ERROR_DOWN; /* nobody will answer */
    }
    bool good = kmsg_id(ping->message) == KERNEL_ECHO + SERVICE_REPLY_OFFSET &&
                kmsg_body_size(ping->message) == ping->size_bytes &&
                pattern_matches(kmsg_body(ping->message), ping->size_bytes, iteration);
    return good ? ERROR_NONE : ERROR_GARBAGE;
}

static int round_trip(struct ping *ping, uint64_t iteration, uint64_t now_ns)
{
    pattern_write(kmsg_body(ping->message), ping->size_bytes, iteration);
    kmsg_set_id(ping->message, KERNEL_ECHO);
    int error = send_error(mach_msg_send(ping->message, ping->remote, ping->answers, PORT_SEND_ONCE,
                                         ping->deadline_ns));
    if (error != ERROR_NONE) {
        return error;
    }
    ping->message = NULL;
    error = answer_receive(ping, now_ns);
    return error == ERROR_NONE ? answer_check(ping, iteration) : error;
}

/* What a ping found, in native words. */
struct ping_result {
    int status;
    uint32_t answered;
    uint64_t total_ns;
    uint64_t min_ns;
    uint64_t max_ns;
};

static void ping_loop(struct ping *ping, uint32_t count, struct ping_result *result)
{
    uint32_t batch = count < PING_BATCHED_COUNT ? 1 : PING_BATCH;
    uint64_t first_ns = clock_now_ns();
    uint64_t now_ns = first_ns;

    result->min_ns = UINT64_MAX;
    while (result->answered < count) {
        result->status = round_trip(ping, result->answered, now_ns);
        if (result->status != ERROR_NONE) {
            break;
        }
        result->answered++;
        if (result->answered % batch != 0) {
            continue;
        }
        uint64_t end_ns = clock_now_ns();
        uint64_t mean_ns = (end_ns - now_ns) / batch;
        now_ns = end_ns;
        result->min_ns = mean_ns < result->min_ns ? mean_ns : result->min_ns;
        result->max_ns = mean_ns > result->max_ns ? mean_ns : result->max_ns;
    }
    now_ns = clock_now_ns();
    result->total_ns = now_ns - first_ns;
    if (result->answered < batch) {
        result->min_ns = 0;
    }
}

static int ping_open(struct ping *ping, const struct ping_order *order)
{
    uint64_t timeout_ns = order->timeout_ns;

    if (order->count == 0 || ping->size_bytes > MESSAGE_BODY_MAXIMUM) {
        return ERROR_INVALID;
    }
    uint64_t now_ns = clock_now_ns();
    ping->deadline_ns = timeout_ns < DEADLINE_NEVER - now_ns ? now_ns + timeout_ns : DEADLINE_NEVER;
    ping->remote = port_from_name(ping->host, order->port_name);
    if (ping->remote == NULL) {
        return ERROR_NOT_FOUND;
    }
    ping->message = kmsg_allocate(ping->host, ping->size_bytes);
    if (ping->message == NULL) {
        return ERROR_NO_MEMORY;
    }
    return port_create(ping->host, &ping->answers);
}

static void ping_close(struct ping *ping)
{
    kmsg_free(ping->message);
    if (ping->answers != NULL) {
        port_destroy(ping->answers);
    }
    if (ping->remote != NULL) {
        port_release(ping->remote);
    }
}

void ping_run(struct mach_host *host, const struct ping_order *order, const bool *stop,
              struct ping_reply *reply)
{
    struct ping ping = {.host = host, .size_bytes = order->size_bytes, .stop = stop};
    struct ping_result result = {.answered = 0};

    result.status = ping_open(&ping, order);
    if (result.status == ERROR_NONE) {
        ping_loop(&ping, order->count, &result);
    }
    ping_close(&ping);
    *reply = (struct ping_reply){
        .status = service_status_of(result.status),
        .answered = le32_of(result.answered),
        .total_ns = le64_of(result.total_ns),
        .min_ns = le64_of(result.min_ns),
        .max_ns = le64_of(result.max_ns),
    };
}
