/* SPDX-License-Identifier: MIT
 *
 * The incoming message controller of the RISC-V advanced interrupt architecture, supervisor file.
 */
#ifndef DRIVERS_IMSIC_H
#define DRIVERS_IMSIC_H

#include <stdint.h>

struct imsic_config {
    uint64_t supervisor_file; /* physical address of the boot hart's page */
};

/* Defined by the board. */
extern const struct imsic_config board_imsic;

#endif
