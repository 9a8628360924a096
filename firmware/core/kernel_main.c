/* SPDX-License-Identifier: MIT
 *
 * Bring-up of a node above the machine layer, and its end: host, black box, kernel service,
 * servers, links, `ready`; then wait until this life is over. On guests only; on the machine you
 * sit at, tests do these steps themselves.
 *
 * Services and servers come before the links, so no message finds half a node. What cannot be
 * brought up is a panic: its line on the console and in the black box says what, and a node that
 * runs without what its boot page asks for would lie.
 *
 * All state is on the first thread's stack, which lives as long as the machine.
 */
#include "kernel_events.h"

#include <arch/port.h>
#include <kernel/blackbox.h>
#include <kernel/boot.h>
#include <kernel/console.h>
#include <kernel/host.h>
#include <kernel/kern_server.h>
#include <kernel/kernel_service.h>
#include <kernel/panic.h>
#include <kernel/server_table.h>
#include <kernel/string.h>

#define SERVER_NAME_SIZE 32u
/* Of an mnl message: header, Mach header and body. */
#define MESSAGE_MAXIMUM (MESSAGE_BODY_MAXIMUM + 64u)

struct kernel {
    struct mach_host host;
    const struct boot_configuration *boot;
    struct kernel_service *service;
    struct kernel_events events;
};

static void require(int error, const char *what)
{
    if (error != ERROR_NONE) {
        panic("bring-up: %s: error %d", what, error);
    }
}

static void host_open(struct kernel *kernel)
{
    const struct boot_configuration *boot = kernel->boot;
    struct mach_host_configuration configuration = {
        .node_id = boot->node_id,
        .incarnation = boot->incarnation,
        .seed = boot->seed,
        .constants =
            {
                .nodes_max = boot->nodes_max,
                .window = boot->window,
                .keepalive_ns = boot->keepalive_ns,
                .link_down_after_ns = boot->link_down_after_ns,
                .dead_after_ns = boot->dead_after_ns,
                .ack_delay_ns = boot->ack_delay_ns,
                .ack_count = boot->ack_count,
            },
    };
    uint8_t *arena;

    arch_memory_range(&arena, &configuration.arena_bytes);
    configuration.arena = arena;
    require(mach_host_initialize(&kernel->host, &configuration), "host");
    kernel->host.boot = boot;
    thread_set_host(&kernel->host);
}

static void box_open(struct kernel *kernel)
{
    struct blackbox_configuration configuration = {
        .memory = arch_ram_base() + BOOT_BLACKBOX_OF(kernel->boot->boot_count),
        .trace_messages = kernel->boot->trace == BOOT_TRACE_MESSAGES,
    };
    struct blackbox_record record = {
        .kind = BLACKBOX_EVENT_BOOT, .link = BLACKBOX_NO_LINK, .arg0 = kernel->boot->boot_count};

    require(blackbox_open(&kernel->host, &configuration), "black box");
    panic_set_recorder(blackbox_panic, &kernel->host);
    blackbox_event(&kernel->host, &record);
}

static void panic_asked(void *context, uint32_t asked_by_node)
{
    (void)context;
    panic("asked for by node %u", asked_by_node);
}

static void hang_asked(void *context)
{
    (void)context;
    arch_interrupts_disable();
    for (;;) {
        arch_relax();
    }
}

static void service_open(struct kernel *kernel)
{
    struct kernel_service_operations operations = {.panic = panic_asked, .hang = hang_asked};

    require(kernel_service_start(&kernel->host, &operations, &kernel->service), "kernel service");
}

static const char *locate_server(void *context, uint64_t address, uint64_t *offset)
{
    return server_table_locate(context, address, offset);
}

/* Let the loader in, then load the servers of the boot page: names separated by one blank. */
static void servers_open(struct kernel *kernel)
{
    const char *rest = kernel->boot->servers;

    struct server_platform platform;

    require(kern_servers_initialize(&kernel->host), "servers");
    arch_server_platform(&platform);
    require(server_table_start(&kernel->host, &platform), "loader");
    panic_set_locator(locate_server, &kernel->host);
    thread_set_code_check(server_is_code_of);
    while (*rest != '\0') {
        char name[SERVER_NAME_SIZE] = {0};
        for (size_t length = 0; *rest != '\0' && *rest != ' '; rest++) {
            if (length < sizeof(name) - 1) {
                name[length++] = *rest;
            }
        }
        rest += *rest == ' ' ? 1 : 0;
        int error = kern_server_load(&kernel->host, name);
        if (error != ERROR_NONE) {
            panic("bring-up: server %s: error %d", name, error);
        }
    }
}

static void links_open(struct kernel *kernel)
{
    const struct boot_configuration *boot = kernel->boot;
    struct link_manager_configuration configuration = {
        .links = boot->links,
        .link_count = boot->link_count,
        .transits = boot->transits,
        .transit_count = boot->transit_count,
        .poll_ns = boot->poll_ns,
        .poll_forever = boot->idle == BOOT_IDLE_POLL,
        .message_max = MESSAGE_MAXIMUM,
        .find_phy = kern_server_find_phy,
        .find_loaded_phy = kern_server_find_loaded_phy,
        .observer = kernel_events_link_observer(&kernel->events),
    };

    require(link_manager_start(&kernel->host, &configuration), "link manager");
    uint32_t failed = link_manager_failed(&kernel->host);
    if (failed != 0) {
        console_printf("mnlab: %u of %u links have no device or no driver\n", failed,
                       boot->link_count);
    }
}

static void ready(struct kernel *kernel)
{
    struct blackbox_record record = {.kind = BLACKBOX_EVENT_READY, .link = BLACKBOX_NO_LINK};

    blackbox_set_state(&kernel->host, BLACKBOX_STATE_READY);
    blackbox_event(&kernel->host, &record);
    console_printf("mnlab: node %s id %u incarnation %llx ready\n", kernel->boot->node_name,
                   kernel->boot->node_id, (unsigned long long)kernel->boot->incarnation);
}

static void wait_for_management(struct kernel_events *events)
{
    while (!kernel_events_management_up(events) && !kernel_events_life_over(events)) {
        (void)event_wait(&events->wake, DEADLINE_NEVER);
    }
}

static void wait_for_end(struct kernel_events *events)
{
    while (!kernel_events_life_over(events)) {
        (void)event_wait(&events->wake, DEADLINE_NEVER);
    }
}

/* Declared dead is final: only a new incarnation may speak again. */
static _Noreturn void reset_machine(struct kernel *kernel)
{
    console_printf("mnlab: node %s id %u incarnation %llx was declared dead, resetting\n",
                   kernel->boot->node_name, kernel->boot->node_id,
                   (unsigned long long)kernel->boot->incarnation);
    arch_reset();
}

void kernel_main(const struct boot_configuration *boot)
{
    struct kernel kernel = {.boot = boot};

    host_open(&kernel);
    box_open(&kernel);
    kernel_events_open(&kernel.events, &kernel.host);
    service_open(&kernel);
    servers_open(&kernel);
    links_open(&kernel);
    wait_for_management(&kernel.events);
    if (!kernel_events_life_over(&kernel.events)) {
        ready(&kernel);
    }
    wait_for_end(&kernel.events);
    reset_machine(&kernel);
}
