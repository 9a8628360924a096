/* SPDX-License-Identifier: MIT
 *
 * The ivshmem driver with faults that can be asked for: what a test loads in its place. Without a
 * fault it is one more build of the same driver. Always a module, never part of an image.
 *
 * The driver itself is included, not copied, so that its tables can be wrapped.
 */
#include <kernel/kern_server.h>
#include <kernel/server_module.h>

#pragma push_macro("KERN_SERVER")
#undef KERN_SERVER
#define KERN_SERVER(record) _Static_assert(sizeof(record) > 0, "its record is not ours")
#include "../ivshmem/ivshmem.c"
#pragma pop_macro("KERN_SERVER")

enum fault {
    FAULT_NONE,
    FAULT_LOAD,    /* the load command fails */
    FAULT_START,   /* no link can be started */
    FAULT_CORRUPT, /* frames are sent damaged */
    FAULT_GIVE_UP, /* the server panics: itself, not the node */
    FAULT_WILD,    /* a write to where nothing is */
    FAULT_HANG,    /* a call that never returns */
    FAULT_SPIN, /* a thread of its own that keeps the CPU, and is not ended by the unload command */
};

KERN_SERVER_PARAMETER(u32, fault,
                      "1 load, 2 start, 3 corrupt, 4 give up, 5 wild, 6 hang, 7 spin") = 0;
KERN_SERVER_PARAMETER(u32, after, "frames sent before the fault") = 100;

#define UNMAPPED ((volatile uint32_t *)16) /* page 0 is */

kern_server_t kern_server_self; /* the instance variable: the loader stores the handle in it */

static uint32_t frames_sent; /* of all links: a module is loaded once a node */
static bool has_given_up;

static bool is_due(enum fault kind)
{
    return fault == (uint32_t)kind && frames_sent >= after;
}

static void spin(void *argument)
{
    (void)argument;
    while (fault == FAULT_SPIN) {
    }
}

static int faulty_load(struct mach_host *host, void **instance)
{
    *instance = NULL;
    if (fault == FAULT_SPIN)
        return thread_create(host, "spin", spin, NULL, NULL);
    kern_server_log(kern_server_self, 1, "fault %u after %u frames\n", fault, after, 0, 0, 0);
    return fault == FAULT_LOAD ? ERROR_INVALID : ERROR_NONE;
}

static void faulty_unload(struct mach_host *host, void *instance)
{
    (void)host;
    (void)instance;
}

static int faulty_start(struct mach_host *host, const struct boot_link *link,
                        const struct phy_client *client, struct phy **phy)
{
    return fault == FAULT_START ? ERROR_NOT_FOUND : ivshmem_start(host, link, client, phy);
}

static int faulty_send(struct phy *phy, const void *header, const void *payload,
                       size_t payload_bytes)
{
    uint64_t damaged[8];

    frames_sent++;
    if (!is_due(FAULT_CORRUPT))
        return ivshmem_send(phy, header, payload, payload_bytes);
    memcpy(damaged, header, sizeof(damaged));
    damaged[5] ^= 1u;
    return ivshmem_send(phy, damaged, payload, payload_bytes);
}

static bool faulty_poll(struct phy *phy, size_t budget_bytes)
{
    if (is_due(FAULT_WILD))
        *UNMAPPED = frames_sent;
    while (is_due(FAULT_HANG)) {
    }
    if (is_due(FAULT_GIVE_UP) && !has_given_up) {
        has_given_up = true;
        kern_server_panic(kern_server_self, "the fault that was asked for");
    }
    return ivshmem_poll(phy, budget_bytes);
}

static const struct phy_operations faulty_operations = {
    .kind = "ivshmem",
    .mtu = IVSHMEM_MTU,
    .lossless = true,
    .start = faulty_start,
    .stop = ivshmem_stop,
    .send = faulty_send,
    .flush = ivshmem_flush,
    .poll = faulty_poll,
    .arm = ivshmem_arm,
    .disarm = ivshmem_disarm,
};

static const struct kern_server faulty_server = {
    .name = "phy_ivshmem",
    .version = 1,
    .phy = &faulty_operations,
    .load = faulty_load,
    .unload = faulty_unload,
};

KERN_SERVER(faulty_server);
