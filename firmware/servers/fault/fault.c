/* SPDX-License-Identifier: MIT
 *
 * Kernel server `fault`: does to itself and its node what a broken server would, on request
 * (docs/spec/flipc.md, section 4). For tests of what then happens to everybody else.
 *
 * Its loadable form only: scripts, parameters, log and the ways to give up are what it is for.
 */
#include <abi/services.h>
#include <kernel/server_module.h>
#include <kernel/service.h>
#include <kernel/thread.h>

/* The instance variable: the loader stores the handle in its first word. */
struct fault {
    kern_server_t server;
    uint32_t requests;
};
struct fault fault_instance;

KERN_SERVER_PARAMETER(i32, fault_load_result, "what the load command returns; 0 loads") = 0;
KERN_SERVER_PARAMETER(i32, fault_unload_result, "what the unload command returns") = 0;
KERN_SERVER_PARAMETER(bool, fault_hang_load, "the load command never returns") = false;
KERN_SERVER_PARAMETER(bool, fault_hang_unload, "the unload command never returns") = false;
KERN_SERVER_PARAMETER(bool, fault_keep_thread, "leave a thread of its own behind") = false;
KERN_SERVER_PARAMETER(bool, fault_yields, "what hangs lets others run") = false;

int fault_load(uintptr_t argument);
int fault_unload(uintptr_t argument);
void fault_message(struct kmsg *message, uintptr_t argument);

/* By itself it keeps the CPU, and never calls the kernel. */
static void hang(void)
{
    for (;;) {
        if (fault_yields) {
            thread_yield();
        }
    }
}

static void waste_time(void *argument)
{
    (void)argument;
    hang();
}

int fault_load(uintptr_t argument)
{
    (void)argument;
    if (fault_hang_load) {
        hang();
    }
    if (fault_keep_thread) {
        struct thread *thread;
        (void)!thread_create(kern_server_host(fault_instance.server), "left behind", waste_time,
                             NULL, &thread);
    }
    return fault_load_result;
}

int fault_unload(uintptr_t argument)
{
    (void)argument;
    if (fault_hang_unload) {
        hang();
    }
    return fault_unload_result;
}

static void write_nowhere(void)
{
    *(volatile uint32_t *)(uintptr_t)sizeof(uint32_t) = 0;
}

/* Not a constant to the compiler, so that the write is not refused at build time. */
static void write_code(void)
{
    volatile uint8_t *code = (volatile uint8_t *)(uintptr_t)fault_load;

    *code = 0;
}

static void run_data(void)
{
    void (*volatile function)(void) = (void (*)(void))(uintptr_t)&fault_instance;

    function();
}

static void log_some(struct kmsg *message)
{
    fault_instance.requests++;
    kern_server_log(fault_instance.server, 3, "request %u from node %u: %s",
                    fault_instance.requests, kmsg_source_node(message), (uintptr_t) "as asked", 0,
                    0);
    kern_server_log(fault_instance.server, 7, "urgent", 0, 0, 0, 0, 0);
}

void fault_message(struct kmsg *message, uintptr_t argument)
{
    struct mach_host *host = kern_server_host(fault_instance.server);

    (void)argument;
    switch (kmsg_id(message)) {
    case FAULT_LOG:
        log_some(message);
        service_answer_status(host, message, ERROR_NONE);
        break;
    case FAULT_GIVE_UP:
        kern_server_panic(fault_instance.server, "asked to give up");
        service_answer_status(host, message, ERROR_NONE);
        break;
    case FAULT_HANG:
        kmsg_free(message);
        hang();
        break;
    case FAULT_WRITE_NOWHERE:
        write_nowhere();
        break;
    case FAULT_WRITE_CODE:
        write_code();
        break;
    case FAULT_RUN_DATA:
        run_data();
        break;
    default:
        service_answer_status(host, message, ERROR_INVALID);
        break;
    }
}
