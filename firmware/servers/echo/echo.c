/* SPDX-License-Identifier: MIT
 *
 * Kernel server `echo`: every ECHO sent back as it came (docs/spec/flipc.md, section 4). The
 * smallest complete kernel server, and the measure of what a round trip to a server costs beside
 * one to the kernel port. echo.load maps its port to the function below.
 */
#include "echo.h"

#include <abi/services.h>
#include <kernel/service.h>
#include <kernel/thread.h>

void echo_message(struct kmsg *message, uintptr_t argument)
{
    (void)argument;
    if (kmsg_id(message) == KERNEL_ECHO) {
        service_echo(message);
    } else {
        service_answer_status(thread_current_host(), message, ERROR_INVALID);
    }
}
