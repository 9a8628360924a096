/* SPDX-License-Identifier: MIT
 *
 * The page tables: one identity map for all of the machine's life. Pages have 4 KiB and a table is
 * one page; how many levels there are and how wide an entry is, a port says (arch/mmu_geometry.h),
 * and it gives the encoding of entries.
 *
 * What fills an entry of the level before the last (2 or 4 MiB) becomes a block; a block of which a part changes is split first. Tables are
 * never freed: a range that once needed pages is likely to need them again, and there are few.
 *
 * A live entry goes through "absent" before it becomes something else (break before make); nothing
 * may touch the range meanwhile, which holds because one CPU runs, interrupt handlers use none of
 * what is remapped, and no caller remaps the stack it stands on. The page pool, where the tables
 * and the stacks are, is mapped by pages from the start, so it is never split.
 */
#include <arch/board.h>
#include <arch/image.h>
#include <arch/machine.h>
#include <arch/panic.h>
#include <arch/port.h>
#include <kernel/string.h>

#define ENTRY_COUNT (1u << ARCH_MMU_INDEX_BITS)
#define LAST_LEVEL (ARCH_MMU_LEVELS - 1u)
#define BLOCK_LEVEL (LAST_LEVEL - 1u)
#define ADDRESS_LIMIT (1ull << ARCH_MMU_ADDRESS_BITS)
#define BLOCK_SIZE ((uint64_t)ARCH_PAGE_SIZE << ARCH_MMU_INDEX_BITS)

_Static_assert(ENTRY_COUNT * sizeof(arch_mmu_entry) == ARCH_PAGE_SIZE, "a table is one page");

static unsigned entry_index(uint64_t address, unsigned level)
{
    return (unsigned)(address >> (12 + ARCH_MMU_INDEX_BITS * (LAST_LEVEL - level))) % ENTRY_COUNT;
}

static arch_mmu_entry *entry_table(arch_mmu_entry entry)
{
    return (arch_mmu_entry *)(uintptr_t)arch_mmu_entry_address(entry);
}

/* The same mapping as the block `entry`, in pages. */
static void table_fill_from_block(arch_mmu_entry *table, arch_mmu_entry entry)
{
    enum arch_mmu_attribute attribute = arch_mmu_entry_attribute(entry);
    uint64_t base = arch_mmu_entry_address(entry);

    for (unsigned i = 0; i < ENTRY_COUNT; i++)
        table[i] = arch_mmu_leaf_entry(base + i * (uint64_t)ARCH_PAGE_SIZE, attribute, false);
}

/* The table that `*entry` points to, made if there is none; null: no page left. */
static arch_mmu_entry *table_below(arch_mmu_entry *entry)
{
    arch_mmu_entry old = *entry;
    arch_mmu_entry *table;

    if (old != 0 && arch_mmu_entry_is_table(old))
        return entry_table(old);
    table = page_allocate(1);
    if (table == NULL)
        return NULL;
    memset(table, 0, ARCH_PAGE_SIZE);
    if (old != 0) {
        table_fill_from_block(table, old);
        *entry = 0;
        arch_mmu_flush(arch_mmu_entry_address(old), ENTRY_COUNT);
    }
    *entry = arch_mmu_table_entry((uintptr_t)table);
    return table;
}

/* Change one entry; a table it pointed to stays allocated but unused. */
static void entry_set(arch_mmu_entry *entry, arch_mmu_entry value, uint64_t address,
                      size_t page_count)
{
    if (*entry == value)
        return;
    if (*entry != 0) {
        *entry = 0;
        arch_mmu_flush(address, page_count);
    }
    *entry = value;
}

/* Map one block or one page at `address`; returns the bytes done, 0: no page left. */
static uint64_t map_step(arch_mmu_entry *root, uint64_t address, uint64_t len_bytes,
                         enum arch_mmu_attribute attribute)
{
    bool block = address % BLOCK_SIZE == 0 && len_bytes >= BLOCK_SIZE;
    arch_mmu_entry *table = root;
    arch_mmu_entry *entry;

    for (unsigned level = 0; level < BLOCK_LEVEL; level++) {
        table = table_below(&table[entry_index(address, level)]);
        if (table == NULL)
            return 0;
    }
    entry = &table[entry_index(address, BLOCK_LEVEL)];
    if (block && (*entry == 0 || !arch_mmu_entry_is_table(*entry))) {
        entry_set(entry, arch_mmu_leaf_entry(address, attribute, true), address, ENTRY_COUNT);
        return BLOCK_SIZE;
    }
    table = table_below(entry);
    if (table == NULL)
        return 0;
    entry_set(&table[entry_index(address, LAST_LEVEL)],
              arch_mmu_leaf_entry(address, attribute, false), address, 1);
    return ARCH_PAGE_SIZE;
}

static int map(arch_mmu_entry *root, uint64_t physical, uint64_t len_bytes,
               enum arch_mmu_attribute attribute)
{
    const uint64_t page_mask = ARCH_PAGE_SIZE - 1;
    uint64_t address = physical & ~page_mask;
    uint64_t end, done;

    if (len_bytes == 0 || physical >= ADDRESS_LIMIT || len_bytes > ADDRESS_LIMIT - physical)
        return ERROR_INVALID;
    end = (physical + len_bytes + page_mask) & ~page_mask;
    for (; address < end; address += done) {
        done = map_step(root, address, end - address, attribute);
        if (done == 0)
            return ERROR_NO_MEMORY;
    }
    arch_mmu_flush(physical & ~page_mask,
                   (size_t)((end - (physical & ~page_mask)) / ARCH_PAGE_SIZE));
    return ERROR_NONE;
}

int arch_mmu_map(uint64_t physical, size_t len_bytes, enum arch_mmu_attribute attribute)
{
    int error = map(machine()->mmu_root, physical, len_bytes, attribute);

    if (error == ERROR_NONE && attribute == ARCH_MMU_CODE)
        arch_instruction_flush(physical, len_bytes);
    return error;
}

static void map_range(arch_mmu_entry *root, const uint8_t *start, const uint8_t *end,
                      enum arch_mmu_attribute attribute)
{
    if (start == end)
        return;
    if (map(root, (uintptr_t)start, (uint64_t)(end - start), attribute) != ERROR_NONE)
        panic("no memory for page tables");
}

static void map_pool(arch_mmu_entry *root, const struct page_pool *pool)
{
    for (size_t i = 0; i < pool->page_count; i++) {
        const uint8_t *page = pool->start + i * ARCH_PAGE_SIZE;

        map_range(root, page, page + ARCH_PAGE_SIZE, ARCH_MMU_DATA);
    }
}

/* All of RAM is data, then the image gets its own rights. Page 0 is unmapped even where RAM does
 * not begin there. */
void mmu_initialise(struct machine *machine)
{
    const uint8_t *ram = arch_ram_base();
    arch_mmu_entry *root = page_allocate(1);

    if (root == NULL)
        panic("no memory for page tables");
    memset(root, 0, ARCH_PAGE_SIZE);
    map_range(root, ram, machine->pages.start, ARCH_MMU_DATA);
    map_pool(root, &machine->pages);
    map_range(root, image_start, image_text_end, ARCH_MMU_CODE);
    map_range(root, image_text_end, image_const_end, ARCH_MMU_CONST);
    map_range(root, NULL, (const uint8_t *)ARCH_PAGE_SIZE, ARCH_MMU_NONE);
    for (const struct board_range *device = board.devices; device->size_bytes != 0; device++)
        if (map(root, device->start, device->size_bytes, ARCH_MMU_DEVICE) != ERROR_NONE)
            panic("no memory for page tables");
    machine->mmu_root = root;
    arch_mmu_activate(root);
}

const char *panic_describe_address(uintptr_t address)
{
    const struct page_pool *pool = &machine()->pages;

    if (address < ARCH_PAGE_SIZE)
        return "null page";
    if (address >= (uintptr_t)image_start && address < (uintptr_t)image_text_end)
        return "text";
    if (address >= (uintptr_t)image_text_end && address < (uintptr_t)image_const_end)
        return "read-only data";
    if (address - (uintptr_t)pool->start < pool->page_count * ARCH_PAGE_SIZE)
        return "stack guard page";
    if (address - (uintptr_t)arch_ram_base() < machine()->ram_size)
        return "RAM";
    return "unmapped";
}
