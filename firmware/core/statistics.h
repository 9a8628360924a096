/* SPDX-License-Identifier: MIT
 *
 * Figures of this node and of its links as the bodies of STATISTICS answers. Private to core.
 */
#ifndef CORE_STATISTICS_H
#define CORE_STATISTICS_H

#include <kernel/ipc.h>

/* Answer a STATISTICS request; takes it over. Waits for the link manager, so not from its thread.
 */
void statistics_answer(struct mach_host *host, struct kmsg *request);

#endif
