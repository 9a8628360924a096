/* SPDX-License-Identifier: MIT
 *
 * PING and PING_PORT of the kernel service: ECHO round trips to a port, one after another. Private
 * to core.
 */
#ifndef CORE_PING_H
#define CORE_PING_H

#include <abi/services.h>
#include <kernel/ipc.h>

/* What is asked for, in native words. */
struct ping_order {
    uint64_t port_name;
    uint32_t count;
    uint32_t size_bytes;
    uint64_t timeout_ns;
};

/* Run a ping to its end or its timeout, in the calling thread. `*stop` (may be null) set by another
 * thread ends it within 50 ms as ERROR_DOWN. Fills the reply; its status is 0, ERROR_INVALID (count
 * 0, body too large), ERROR_NOT_FOUND (no such port or node is known), ERROR_DOWN (it died),
 * ERROR_TIMED_OUT, ERROR_NO_MEMORY or ERROR_GARBAGE (an echo was not what was sent). */
void ping_run(struct mach_host *host, const struct ping_order *order, const bool *stop,
              struct ping_reply *reply);

#endif
