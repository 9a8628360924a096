/* SPDX-License-Identifier: MIT
 *
 * What the supervisor timer driver must be told by the board.
 */
#ifndef DRIVERS_RISCV_SSTC_H
#define DRIVERS_RISCV_SSTC_H

#include <stdint.h>

struct riscv_time_config {
    uint64_t frequency_hz; /* of the time counter */
};

/* Defined by the board. */
extern const struct riscv_time_config board_riscv_time;

#endif
