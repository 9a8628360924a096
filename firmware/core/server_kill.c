/* SPDX-License-Identifier: MIT
 *
 * Servers whose threads do not end by themselves: a command that never returns, or threads that an
 * unload script left behind. Their threads are taken out, and with them goes what the kernel knows of
 * them: handlers of interrupts, ports, peers of a link driver. What they had of the heap is lost.
 *
 * The memory of the server is unmapped afterwards as at every unload: no thread can run in it then.
 * What cannot be ended here is a PHY driver that hangs: it runs in the link manager's thread.
 */
#include "ipc_state.h"
#include "name_table.h"
#include "node.h"
#include "port.h"
#include "server_private.h"

static void destroy_ports(struct server *server)
{
    struct mach_host *host = server->host;

    for (;;) {
        ipc_lock(host);
        struct port *port = name_find_owned(host, server);
        if (port != NULL) {
            port_reference(port);
        }
        ipc_unlock(host);
        if (port == NULL) {
            return;
        }
        port_destroy(port);
        port_release(port);
    }
}

static bool end_threads(struct server *server)
{
    const struct server_platform *platform = &server->table->platform;

    if (!thread_end_owned(server, server->thread)) {
        return false;
    }
    node_detach_driver(server->host, server, true);
    if (platform->forget != NULL) {
        platform->forget(platform->context, server->image, server_image_bytes(server));
    }
    destroy_ports(server);
    if (server->outcome.status == ERROR_NONE) {
        server->outcome.status = ERROR_TIMED_OUT;
    }
    return true;
}

void server_take_out(struct server *server)
{
    (void)!end_threads(server);
}

bool server_kill(struct server *server)
{
    if (!end_threads(server)) {
        return false;
    }
    server_unmap_all(server);
    struct server_order *running = __atomic_exchange_n(&server->running, NULL, __ATOMIC_ACQUIRE);
    struct server_order *waiting = __atomic_exchange_n(&server->order, NULL, __ATOMIC_ACQUIRE);
    server->outcome.status = ERROR_TIMED_OUT;
    if (running != NULL && waiting != NULL) {
        server_order_finish(server, running, &server->outcome);
    }
    server->last = waiting != NULL ? waiting : running;
    server_flag_set(&server->ended);
    return true;
}
