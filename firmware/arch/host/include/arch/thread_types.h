/* SPDX-License-Identifier: MIT
 *
 * The complete types behind kernel/thread.h on the machine you sit at: pthreads. Their fields
 * belong to arch/host/thread.c.
 */
#ifndef ARCH_THREAD_TYPES_H
#define ARCH_THREAD_TYPES_H

#include <pthread.h>
#include <stdint.h>

struct lock {
    pthread_mutex_t mutex;
};

struct condition {
    pthread_cond_t condition;
};

struct event {
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    uint32_t signalled; /* atomic */
};

#endif
