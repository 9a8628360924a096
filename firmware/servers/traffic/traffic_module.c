/* SPDX-License-Identifier: MIT
 *
 * The traffic server as the loader runs it: what traffic.load and traffic.unload call. Its port is
 * the loader's, so it is there before the server, and the first message to it loads the server.
 */
#include "traffic.h"

#include <kernel/server_module.h>

#define TURN_NS 1000000ull /* how long the end looks at its port before it looks at its streams */

/* The instance variable: the loader stores the handle in its first word. */
struct traffic_instance {
    kern_server_t server;
    struct traffic traffic;
};
struct traffic_instance traffic_instance;

int traffic_begin(uintptr_t argument);
int traffic_end(uintptr_t argument);
void traffic_message(struct kmsg *message, uintptr_t argument);

int traffic_begin(uintptr_t argument)
{
    struct port *port = kern_server_port(traffic_instance.server, "traffic");

    (void)argument;
    if (port != NULL) {
        port_set_limit(port, PORT_LIMIT_MAXIMUM);
    }
    return traffic_open(&traffic_instance.traffic, kern_server_host(traffic_instance.server));
}

void traffic_message(struct kmsg *message, uintptr_t argument)
{
    (void)argument;
    traffic_handle(&traffic_instance.traffic, message);
}

/* Two nodes whose traffic servers end at the same time each wait for what the other has not taken
 * yet, so this one goes on serving its port until nothing of its own is under way. */
int traffic_end(uintptr_t argument)
{
    struct traffic *traffic = &traffic_instance.traffic;
    struct port *port = kern_server_port(traffic_instance.server, "traffic");

    (void)argument;
    if (traffic->host == NULL) {
        return 0; /* the load ended before it began */
    }
    traffic_source_stop_all(traffic);
    while (port != NULL && !traffic_source_all_finished(traffic)) {
        struct kmsg *message;

        if (mach_msg_receive(port, &message, clock_now_ns() + TURN_NS) == MACH_MSG_SUCCESS) {
            traffic_handle(traffic, message);
        }
    }
    traffic_close(traffic);
    return 0;
}
