/* SPDX-License-Identifier: MIT
 *
 * The loop of a server's main thread: it executes the commands of its load, then serves its
 * communication port and its mapped ports until the commands of an unload end it. What happens with
 * each message is here, so that it is compiled into one piece; the rest is server_thread.c.
 */
#include "server_private.h"

/* --- Mapped ports ----------------------------------------------------------------------------- */

static void serve_service(struct server *server, const struct server_port *entry,
                          struct kmsg *request)
{
    struct kmsg *answer = kmsg_allocate(server->host, SERVER_ANSWER_BYTES);

    if (answer == NULL || kmsg_set_body_size(answer, 0) != ERROR_NONE) {
        kmsg_free(answer);
        service_answer_status(server->host, request, ERROR_NO_MEMORY);
        return;
    }
    kmsg_set_id(answer, kmsg_id(request) + SERVICE_REPLY_OFFSET);
    kern_server_service function = (kern_server_service)entry->function;
    if (function(request, answer, entry->argument) == KERN_SERVER_NO_REPLY) {
        kmsg_free(answer);
        kmsg_free(request);
    } else {
        service_answer_with(request, answer);
    }
}

static void serve_port(struct server *server, const struct server_port *entry, struct kmsg *message)
{
    __atomic_store_n(&server->messages, server->messages + 1, __ATOMIC_RELAXED);
    if (entry->style == SERVER_PORT_SERVICE) {
        serve_service(server, entry, message);
    } else {
        kern_server_handler function = (kern_server_handler)entry->function;
        function(message, entry->argument);
    }
}

/* --- The loop --------------------------------------------------------------------------------- */

static bool has_orders(const struct server *server)
{
    return __atomic_load_n(&server->order, __ATOMIC_ACQUIRE) != NULL ||
           __atomic_load_n(&server->must_end, __ATOMIC_ACQUIRE);
}

void server_main(void *argument)
{
    struct server *server = argument;
    struct kmsg *message;
    void *context;

    thread_set_owner(server);
    while (!has_orders(server) || !server_obey(server)) {
        mach_msg_return_t result =
            mach_msg_receive_member(server->set, &message, &context, DEADLINE_NEVER);

        if (result == MACH_MSG_SUCCESS && context != NULL) {
            serve_port(server, context, message);
        } else if (result == MACH_MSG_SUCCESS) {
            server_serve_com(server, message);
        }
        if (__atomic_load_n(&server->attention, __ATOMIC_RELAXED)) {
            server_attend(server);
        }
    }
    server_flag_set(&server->ended);
    event_signal(&server->table->wake);
}
