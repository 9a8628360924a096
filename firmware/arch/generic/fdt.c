/* SPDX-License-Identifier: MIT
 *
 * A flattened device tree (Devicetree Specification 0.4, chapter 5) read once for the size of RAM.
 * Runs before the MMU is on, so it reads aligned words only, which are big-endian. Cells are 64 bits for addresses and
 * sizes, as on the machines that use this.
 */
#include <arch/fdt.h>
#include <kernel/string.h>
#include <stdbool.h>

#define FDT_MAGIC 0xd00dfeedu
#define FDT_HEADER_MAGIC 0u
#define FDT_HEADER_STRUCTURE 8u
#define FDT_HEADER_STRINGS 12u

#define FDT_BEGIN_NODE 1u
#define FDT_END_NODE 2u
#define FDT_PROPERTY 3u
#define FDT_NOP 4u

static uint32_t read32(const uint8_t *address)
{
    uint32_t word = *(const volatile uint32_t *)(const void *)address;

    return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? word : __builtin_bswap32(word);
}

static uint64_t read64(const uint8_t *address)
{
    return (uint64_t)read32(address) << 32 | read32(address + 4);
}

static const uint8_t *align_up(const uint8_t *address)
{
    return (const uint8_t *)(((uintptr_t)address + 3u) & ~(uintptr_t)3u);
}

uint64_t fdt_memory_size(const uint8_t *blob, uint64_t ram_base)
{
    const uint8_t *at, *strings;
    bool in_memory = false;

    if (read32(blob + FDT_HEADER_MAGIC) != FDT_MAGIC)
        return 0;
    at = blob + read32(blob + FDT_HEADER_STRUCTURE);
    strings = blob + read32(blob + FDT_HEADER_STRINGS);
    for (;;) {
        uint32_t token = read32(at);

        at += 4;
        if (token == FDT_BEGIN_NODE) {
            const char *name = (const char *)at;

            in_memory = strncmp(name, "memory@", 7) == 0;
            at = align_up(at + strlen(name) + 1);
        } else if (token == FDT_PROPERTY) {
            uint32_t length = read32(at);
            const char *name = (const char *)strings + read32(at + 4);

            at += 8;
            if (in_memory && length == 16 && strcmp(name, "reg") == 0 && read64(at) == ram_base)
                return read64(at + 8);
            at = align_up(at + length);
        } else if (token == FDT_END_NODE) {
            in_memory = false;
        } else if (token != FDT_NOP) {
            return 0; /* the end, or nonsense */
        }
    }
}
