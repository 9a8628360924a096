/* SPDX-License-Identifier: MIT
 *
 * Where the images of loadable servers go: from the first large page above the kernel's image to the
 * boot area, a few MiB. Calls and addresses between there and the kernel reach on every architecture
 * (below 2 GiB on x86_64, within 8 MiB elsewhere), so a server needs no veneers.
 */
#include <arch/board.h>
#include <arch/image.h>
#include <arch/machine.h>
#include <arch/port.h>
#include <kernel/server_table.h>

/* Splitting a large page that the kernel runs in would pull the floor from under it. */
#define LARGE_PAGE ((uintptr_t)ARCH_PAGE_SIZE << ARCH_MMU_INDEX_BITS)

static int protect(void *context, uint8_t *start, size_t len_bytes,
                   enum arch_mmu_attribute attribute)
{
    (void)context;
    return arch_mmu_map((uintptr_t)start, len_bytes, attribute);
}

static bool is_kernel_code(void *context, uint64_t address)
{
    (void)context;
    return address >= (uintptr_t)image_start && address < (uintptr_t)image_text_end;
}

static void forget(void *context, uint8_t *start, size_t len_bytes)
{
    (void)context;
    interrupt_forget((uintptr_t)start, len_bytes);
}

void arch_server_platform(struct server_platform *platform)
{
    uintptr_t start = ((uintptr_t)image_end + LARGE_PAGE - 1) & ~(LARGE_PAGE - 1);
    uintptr_t end = (uintptr_t)arch_ram_base() + BOOT_AREA_OFFSET;

    panic_unless(start < end);
    *platform = (struct server_platform){
        .area = (uint8_t *)start,
        .area_bytes = end - start,
        .build_id = image_build_id_note + IMAGE_BUILD_ID_OFFSET,
        .protect = protect,
        .is_kernel_code = is_kernel_code,
        .forget = forget,
    };
}
