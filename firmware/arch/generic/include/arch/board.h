/* SPDX-License-Identifier: MIT
 *
 * What a board is: one const record per machine. To add a board of a supported CPU: a folder
 * boards/<name>/ with board.c, that defines `board` and the configuration structs of the drivers it
 * uses, and board.mk, that names those drivers.
 */
#ifndef ARCH_BOARD_H
#define ARCH_BOARD_H

#include <stddef.h>
#include <stdint.h>

#define BOARD_DEVICES_MAXIMUM 8u

struct board_range {
    uint64_t start;
    uint64_t size_bytes;
};

struct board {
    const char *name;
    uintptr_t ram_base;
    struct board_range
        devices[BOARD_DEVICES_MAXIMUM]; /* registers, mapped at boot; ends at a size of 0 */
    uint64_t pci_ecam;                  /* configuration space of bus 0, among `devices` */
    struct board_range pci_window;      /* where BARs are given addresses */
    void (*console_initialise)(void);
    void (*console_write)(const char *text, size_t len_bytes); /* waits for room */
    void (*power_off)(void);
    void (*reset)(void);
};

extern const struct board board;

#endif
