/* SPDX-License-Identifier: MIT
 *
 * What servers ask of the kernel half: logging, giving up; and what goes from here to the
 * loader.
 */
#include "server_private.h"

#include <kernel/string.h>

struct mach_host *kern_server_host(kern_server_t server)
{
    return server->host;
}

struct port *kern_server_port(kern_server_t server, const char *name)
{
    for (uint32_t i = 0; i < server->port_count; i++) {
        if (strcmp(server->ports[i].name, name) == 0) {
            return server->ports[i].port;
        }
    }
    return NULL;
}

/* --- To the loader ---------------------------------------------------------------------------- */

static struct port *loader_of(struct server *server)
{
    struct server_table *table = server->table;

    lock_acquire(&table->lock);
    struct port *port = server->boot != NULL ? server->boot : table->loader;
    if (port != NULL) {
        port_retain(port); /* it may be replaced as soon as the lock is released */
    }
    lock_release(&table->lock);
    return port;
}

static bool send_to_loader(struct server *server, struct kmsg *message)
{
    struct port *port = loader_of(server);

    if (port == NULL) {
        return false;
    }
    bool is_sent = mach_msg_send(message, port, NULL, PORT_NONE, 0) == MACH_MSG_SUCCESS;
    port_release(port);
    return is_sent;
}

bool server_tell_loader(struct server *server, int32_t id, const void *body, size_t len_bytes)
{
    struct kmsg *message = kmsg_allocate(server->host, len_bytes);

    if (message == NULL) {
        return false;
    }
    kmsg_set_id(message, id);
    memcpy(kmsg_body(message), body, len_bytes);
    bool is_sent = send_to_loader(server, message);
    if (!is_sent) {
        kmsg_free(message);
    }
    return is_sent;
}

void kern_server_panic(kern_server_t server, const char *text)
{
    struct loader_panic body = {.server_id = le32_of(server->id)};
    size_t length = 0;

    while (length + 1 < sizeof(body.text) && text[length] != '\0') {
        length++;
    }
    memcpy(body.text, text, length);
    if (__atomic_exchange_n(&server->gave_up, true, __ATOMIC_ACQ_REL)) {
        return;
    }
    for (uint32_t i = 0; i < server->port_count; i++) {
        port_set_remove(server->ports[i].port);
    }
    server_set_state(server, SERVER_FAILED);
    (void)!server_tell_loader(server, LOADER_PANIC, &body, sizeof(body));
}

/* --- Log -------------------------------------------------------------------------------------- */

/* Pointers are told as offsets in the image where they can be; the host has a copy of it. */
void kern_server_log(kern_server_t server, uint32_t level, const char *format, uint64_t argument1,
                     uint64_t argument2, uint64_t argument3, uint64_t argument4, uint64_t argument5)
{
    uint64_t address = (uintptr_t)format;

    if (!server_log_wants(&server->log, level)) {
        return;
    }
    bool is_known = server_image_holds(server, address, 1);
    struct server_log_entry entry = {
        .time_ns = le64_of(clock_now_ns()),
        .format = le32_of(is_known ? (uint32_t)(address - (uintptr_t)server->image)
                                   : SERVER_FORMAT_UNKNOWN),
        .level = le32_of(level),
        .arguments = {le64_of(argument1), le64_of(argument2), le64_of(argument3),
                      le64_of(argument4), le64_of(argument5)},
    };
    if (server_log_add(&server->log, &entry) &&
        __atomic_load_n(&server->log_read_pending, __ATOMIC_ACQUIRE)) {
        event_signal(&server->table->wake);
    }
}

/* One message with all that is there; `count` 0 says that no more will come. */
static void send_entries(struct server *server, uint32_t count)
{
    size_t head_bytes = sizeof(struct loader_log_data);
    struct kmsg *message =
        kmsg_allocate(server->host, head_bytes + count * sizeof(struct server_log_entry));

    if (message == NULL) {
        return; /* the next entry, or the next look, tries again */
    }
    uint8_t *body = kmsg_body(message);
    count = server_log_take(&server->log, (struct server_log_entry *)(void *)(body + head_bytes),
                            count);
    struct loader_log_data head = {
        .server_id = le32_of(server->id),
        .count = le32_of(count),
        .lost = le64_of(__atomic_load_n(&server->log.lost, __ATOMIC_RELAXED)),
    };
    memcpy(body, &head, head_bytes);
    kmsg_set_id(message, LOADER_LOG_DATA);
    __atomic_store_n(&server->log_read_pending, false, __ATOMIC_RELEASE);
    if (!send_to_loader(server, message)) {
        __atomic_fetch_add(&server->log.lost, count, __ATOMIC_RELAXED);
        kmsg_free(message);
    }
}

void server_log_deliver(struct server *server)
{
    bool was_closed = server_flag_take(&server->log_was_closed);

    if (was_closed) {
        server_log_discard(&server->log);
    }
    if (!__atomic_load_n(&server->log_read_pending, __ATOMIC_ACQUIRE)) {
        return;
    }
    uint32_t count = server_log_count(&server->log);
    if (count != 0 || was_closed) {
        send_entries(server, count);
    }
}
