/* SPDX-License-Identifier: MIT
 *
 * What the two ways to run the echo server have in common. Private to servers/echo.
 */
#ifndef SERVERS_ECHO_H
#define SERVERS_ECHO_H

#include <kernel/ipc.h>
#include <stdint.h>

/* Answer one message, as HMAP wants it (kernel/server_module.h); takes it over. */
void echo_message(struct kmsg *message, uintptr_t argument);

#endif
