/* SPDX-License-Identifier: MIT
 *
 * The name table: a hash table with chains through the ports themselves, so that entering a name
 * needs no memory.
 *
 * The number of buckets is fixed at start from the size of the heap, about one for each port that a
 * busy node has. Names come from peers too; the hash is keyed with a random number so that nobody
 * can choose names of one bucket.
 */
#include "name_table.h"
#include "port.h"
#include <abi/flipc.h>
#include <kernel/string.h>

#define HEAP_BYTES_PER_BUCKET 4096u
#define BUCKETS_MINIMUM 64u
#define BUCKETS_MAXIMUM 65536u

struct name_table {
    uint64_t key;
    uint64_t count;
    uint32_t mask;
    uint16_t tag;
    uint32_t next_serial; /* 0: used up */
    struct port *buckets[];
};

/* The multiplier is 2^64 divided by the golden ratio; the upper half of the product depends on
 * every bit of the name. */
static inline struct port **bucket_of(struct name_table *table, uint64_t name)
{
    uint64_t mixed = (name ^ table->key) * 0x9e3779b97f4a7c15ull;

    return &table->buckets[(mixed ^ mixed >> 32) >> 16 & table->mask];
}

int name_table_open(struct mach_host *host)
{
    size_t wanted = heap_statistics(host).size_bytes / HEAP_BYTES_PER_BUCKET;
    struct name_table *table;
    uint32_t buckets = BUCKETS_MINIMUM;

    while (buckets < wanted && buckets < BUCKETS_MAXIMUM)
        buckets *= 2u;
    table = heap_allocate(host, sizeof(*table) + buckets * sizeof(table->buckets[0]));
    if (table == NULL)
        return ERROR_NO_MEMORY;
    memset(table, 0, sizeof(*table) + buckets * sizeof(table->buckets[0]));
    table->key = mach_host_random(host);
    table->mask = buckets - 1u;
    table->tag = NAME_TAG_OF_INCARNATION(host->incarnation);
    table->next_serial = 1;
    host->names = table;
    return 0;
}

uint64_t name_allocate(struct mach_host *host)
{
    struct name_table *table = host->names;

    if (table->next_serial == 0)
        return NAME_NULL;
    return NAME_MAKE(host->node_id, table->tag, table->next_serial++);
}

bool name_was_ours(struct mach_host *host, uint64_t name)
{
    const struct name_table *table = host->names;
    uint32_t serial = NAME_SERIAL(name);

    if (NAME_NODE(name) != host->node_id || NAME_TAG(name) == 0 || serial == 0)
        return false;
    return NAME_TAG(name) != table->tag || table->next_serial == 0 || serial < table->next_serial;
}

void name_insert(struct mach_host *host, struct port *port)
{
    struct name_table *table = host->names;
    struct port **bucket = bucket_of(table, port->name);

    port->name_next = *bucket;
    *bucket = port;
    table->count++;
}

void name_remove(struct mach_host *host, struct port *port)
{
    struct name_table *table = host->names;
    struct port **place = bucket_of(table, port->name);

    while (*place != port)
        place = &(*place)->name_next;
    *place = port->name_next;
    port->name_next = NULL;
    table->count--;
}

struct port *name_lookup(struct mach_host *host, uint64_t name)
{
    struct port *port = *bucket_of(host->names, name);

    while (port != NULL && port->name != name)
        port = port->name_next;
    return port;
}

struct port *name_find_owned(struct mach_host *host, const struct server *owner)
{
    const struct name_table *table = host->names;

    for (uint32_t i = 0; i <= table->mask; i++) {
        for (struct port *port = table->buckets[i]; port != NULL; port = port->name_next) {
            if (port->owner == owner && !port->dead)
                return port;
        }
    }
    return NULL;
}

uint64_t name_count(struct mach_host *host)
{
    return host->names->count;
}
