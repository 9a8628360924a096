/* SPDX-License-Identifier: MIT
 *
 * ARM generic interrupt controller, version 2, with a v2m frame that turns message writes into
 * shared peripheral interrupts.
 */
#ifndef DRIVERS_GICV2_H
#define DRIVERS_GICV2_H

#include <stdint.h>

struct gicv2_config {
    uintptr_t distributor;
    uintptr_t cpu_interface;
    uintptr_t message_frame;
};

/* Defined by the board. */
extern const struct gicv2_config board_gicv2;

#endif
