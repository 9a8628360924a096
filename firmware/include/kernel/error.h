/* SPDX-License-Identifier: MIT
 *
 * Errors of the firmware's own interfaces: 0 is success, errors are negative, one cause has one
 * code at every layer. The published mnl_* functions return the Mach codes of kernel/kern_return.h
 * instead.
 */
#ifndef KERNEL_ERROR_H
#define KERNEL_ERROR_H

enum error {
    ERROR_NONE = 0,
    ERROR_NO_MEMORY = -1,   /* the arena is exhausted, or an injected allocation failure */
    ERROR_INVALID = -2,     /* an argument is outside its documented range */
    ERROR_NOT_FOUND = -3,   /* no such device, node, port, server or link */
    ERROR_EXISTS = -4,      /* the id or name is taken */
    ERROR_FULL = -5,        /* no room now; try again after progress */
    ERROR_TIMED_OUT = -6,   /* the deadline passed */
    ERROR_DOWN = -7,        /* no carrier, link down or node dead */
    ERROR_GARBAGE = -8,     /* bytes from the other side break the protocol */
    ERROR_UNSUPPORTED = -9, /* this device or peer cannot do that */
    ERROR_BUSY = -10,       /* in use, or in a state that does not allow it */
    ERROR_DENIED = -11,     /* not for this sender to ask */
    ERROR_STALE = -12,      /* made for another life or another image */
    ERROR_FAILED = -13,     /* a server's own code said no */
};

#define MUST_CHECK __attribute__((warn_unused_result))

/* Of a function that rarely runs: it stays out of its callers, and the ways to it out of the way. */
#define COLD __attribute__((cold, noinline))

/* Of one that runs often enough, but that is worth a call. */
#define APART __attribute__((noinline))

/* Of one that is part of its callers, however long it is. */
#define MERGED __attribute__((always_inline))

#endif
