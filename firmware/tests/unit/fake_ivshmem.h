/* SPDX-License-Identifier: MIT
 *
 * A shared-memory cable without a machine: one region, its page written as the host writes it, and
 * in place of phys/ivshmem/device.c a device per end (slot = end) whose doorbells are counted and
 * call the other end's handler.
 */
#ifndef FAKE_IVSHMEM_H
#define FAKE_IVSHMEM_H

#include <abi/cable.h>
#include <stdbool.h>
#include <stdint.h>

/* A fresh region full of random bytes but for its page: both directions known, generation 1,
 * carrier 0. One cable at a time. */
void fake_cable_create(uint64_t seed);
void fake_cable_destroy(void);
uint8_t *fake_cable_region(void);
struct cable_page *fake_cable_page(void);

/* As the host does it: direction 0 is end 0 -> end 1. Rings both ends. */
void fake_cable_cut(unsigned direction);
void fake_cable_splice(unsigned direction);
void fake_cable_set_checked(bool checked); /* shown by the next splice */

unsigned fake_cable_rings(unsigned end); /* doorbells that reached the end so far */

#endif
