/* SPDX-License-Identifier: MIT
 *
 * Page tables, the page pool and the heap area.
 */
#include "selftest.h"
#include <abi/boot.h>
#include <arch/image.h>
#include <kernel/arch.h>
#include <kernel/string.h>

static void heap_area_case(struct selftest *test)
{
    uint8_t *start;
    size_t size;

    arch_memory_range(&start, &size);
    CHECK(test, (size_t)(start - (arch_ram_base() + BOOT_HEAP_OFFSET)) < 0x100000);
    /* It goes on where the image ends, as far as the low eight bits of page numbers say. */
    CHECK(test, (((uintptr_t)start - (uintptr_t)image_end) & 0xfffff) < ARCH_PAGE_SIZE);
    CHECK(test, (uintptr_t)start % ARCH_PAGE_SIZE == 0);
    CHECK(test, size >= 0x400000);
    for (size_t offset = 0; offset < size; offset += ARCH_PAGE_SIZE)
        start[offset] = (uint8_t)(offset >> 12);
    for (size_t offset = 0; offset < size; offset += ARCH_PAGE_SIZE)
        CHECK(test, start[offset] == (uint8_t)(offset >> 12));
}

static void page_pool_case(struct selftest *test)
{
    uint8_t *one = page_allocate(1);
    uint8_t *three = page_allocate(3);
    uint8_t *again;

    CHECK(test, one != NULL && three != NULL);
    CHECK(test, ((uintptr_t)one | (uintptr_t)three) % ARCH_PAGE_SIZE == 0);
    CHECK(test, one + ARCH_PAGE_SIZE <= three || three + 3 * ARCH_PAGE_SIZE <= one);
    page_free(three, 3);
    again = page_allocate(3);
    CHECK(test, again == three);
    page_free(again, 3);
    page_free(one, 1);
    CHECK(test, page_allocate(0) == NULL);
    CHECK(test, page_allocate(1u << 20) == NULL);
}

__attribute__((noinline)) static int answer(void)
{
    return 42;
}

/* Code written as data runs once it is mapped as code, and the page is data again afterwards; the
 * block it lies in is split. */
static void mmu_code_case(struct selftest *test)
{
    uint8_t *start;
    size_t size;
    int (*function)(void);

    arch_memory_range(&start, &size);
    memcpy(start, (const void *)(uintptr_t)answer, 64);
    CHECK(test, arch_mmu_map((uintptr_t)start, ARCH_PAGE_SIZE, ARCH_MMU_CODE) == ERROR_NONE);
    function = (int (*)(void))(uintptr_t)start;
    CHECK(test, function() == 42);
    CHECK(test, arch_mmu_map((uintptr_t)start, ARCH_PAGE_SIZE, ARCH_MMU_DATA) == ERROR_NONE);
    start[0] = 1;
    CHECK(test, start[0] == 1);
}

static void mmu_arguments_case(struct selftest *test)
{
    CHECK(test, arch_mmu_map(0x1000, 0, ARCH_MMU_DATA) == ERROR_INVALID);
    CHECK(test, arch_mmu_map(1ull << 39, 1, ARCH_MMU_DATA) == ERROR_INVALID);
    CHECK(test, arch_mmu_map((1ull << 39) - 1, 2, ARCH_MMU_DATA) == ERROR_INVALID);
}

const struct selftest_case selftest_memory_cases[] = {
    {"heap_area", heap_area_case},
    {"page_pool", page_pool_case},
    {"mmu_code", mmu_code_case},
    {"mmu_arguments", mmu_arguments_case},
    {NULL, NULL},
};
