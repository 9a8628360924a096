/* SPDX-License-Identifier: MIT
 *
 * The image of a server in its range: written while it is data, then code that nobody writes,
 * constants that nobody writes, and data that nobody executes. A range that no image is in is
 * unmapped, so whoever calls into a server that is gone faults.
 */
#include "server_private.h"

#include <kernel/string.h>

static int protect(struct server *server, uint32_t offset, uint32_t len_bytes,
                   enum arch_mmu_attribute attribute)
{
    const struct server_platform *platform = &server->table->platform;

    if (len_bytes == 0) {
        return ERROR_NONE;
    }
    return platform->protect(platform->context, server->image + offset, len_bytes, attribute);
}

static int make_writable(struct server *server)
{
    if (server->is_mapped) {
        return ERROR_NONE;
    }
    int error = protect(server, 0, server_image_bytes(server), ARCH_MMU_DATA);
    server->is_mapped = error == ERROR_NONE;
    return error;
}

int server_image_write(struct server *server, uint32_t offset, const void *bytes, size_t len_bytes)
{
    uint32_t size_bytes = server_image_bytes(server);

    if (offset > size_bytes || len_bytes > size_bytes - offset) {
        return ERROR_INVALID;
    }
    int error = make_writable(server);
    if (error == ERROR_NONE) {
        memcpy(server->image + offset, bytes, len_bytes);
    }
    return error;
}

int server_image_commit(struct server *server, uint32_t image_bytes)
{
    uint32_t data_offset = server->code_bytes + server->const_bytes;
    int error = make_writable(server);

    if (error == ERROR_NONE && image_bytes != 0) {
        memset(server->image + image_bytes, 0, server_image_bytes(server) - image_bytes);
    }
    if (error == ERROR_NONE) {
        error = protect(server, server->code_bytes, server->const_bytes, ARCH_MMU_CONST);
    }
    if (error == ERROR_NONE) {
        error = protect(server, data_offset, server->data_bytes, ARCH_MMU_DATA);
    }
    if (error == ERROR_NONE) {
        error = protect(server, 0, server->code_bytes, ARCH_MMU_CODE);
    }
    server->is_mapped = false;
    return error;
}

/* Taking rights away needs no page, so it cannot fail. */
void server_image_unmap(struct server *server)
{
    server->is_mapped = false;
    (void)!protect(server, 0, server_image_bytes(server), ARCH_MMU_NONE);
}

bool server_image_holds(const struct server *server, uint64_t address, size_t len_bytes)
{
    uint64_t start = (uintptr_t)server->image;
    uint64_t size_bytes = server_image_bytes(server);

    return server->image != NULL && address >= start && address - start <= size_bytes &&
           len_bytes <= size_bytes - (address - start);
}
