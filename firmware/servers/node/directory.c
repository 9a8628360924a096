/* SPDX-License-Identifier: MIT
 *
 * Services by name; see directory.h. A list: a node has a handful of services.
 */
#include "directory.h"
#include <kernel/host.h>
#include <kernel/string.h>

void directory_open(struct directory *directory, struct mach_host *host)
{
    *directory = (struct directory){.host = host};
}

static void entry_remove(struct directory *directory, struct directory_entry **place)
{
    struct directory_entry *entry = *place;

    *place = entry->next;
    directory->count--;
    port_release(entry->port);
    heap_free(directory->host, entry);
}

void directory_close(struct directory *directory)
{
    while (directory->entries != NULL) {
        entry_remove(directory, &directory->entries);
    }
}

static struct directory_entry **place_of(struct directory *directory, const char *name)
{
    struct directory_entry **place = &directory->entries;

    while (*place != NULL && strcmp((*place)->name, name) != 0) {
        place = &(*place)->next;
    }
    return place;
}

int directory_add(struct directory *directory, const char *name, struct port *port)
{
    struct directory_entry **place = place_of(directory, name);
    struct directory_entry *entry;

    if (*place != NULL && !port_is_dead((*place)->port)) {
        return ERROR_EXISTS;
    }
    if (*place != NULL) {
        entry_remove(directory, place);
    }
    if (directory->count == DIRECTORY_MAXIMUM) {
        return ERROR_FULL;
    }
    entry = heap_allocate(directory->host, sizeof(*entry));
    if (entry == NULL) {
        return ERROR_NO_MEMORY;
    }
    *entry = (struct directory_entry){.next = directory->entries, .port = port};
    memcpy(entry->name, name, strlen(name));
    directory->entries = entry;
    directory->count++;
    return ERROR_NONE;
}

int directory_remove(struct directory *directory, const char *name)
{
    struct directory_entry **place = place_of(directory, name);

    if (*place == NULL) {
        return ERROR_NOT_FOUND;
    }
    entry_remove(directory, place);
    return ERROR_NONE;
}

struct port *directory_find(struct directory *directory, const char *name)
{
    struct directory_entry **place = place_of(directory, name);

    if (*place == NULL) {
        return NULL;
    }
    if (port_is_dead((*place)->port)) {
        entry_remove(directory, place);
        return NULL;
    }
    port_retain((*place)->port);
    return (*place)->port;
}

void directory_clean(struct directory *directory)
{
    struct directory_entry **place = &directory->entries;

    while (*place != NULL) {
        if (port_is_dead((*place)->port)) {
            entry_remove(directory, place);
        } else {
            place = &(*place)->next;
        }
    }
}
