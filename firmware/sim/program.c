/* SPDX-License-Identifier: MIT
 *
 * The threads of a node's program: a service that answers, as the kernel service does, and workers
 * that do what the schedule says, one operation after another.
 */
#include "program.h"
#include "core/port.h"

#include <string.h>

#define SERVICE_LIMIT 64u
#define SERVICE_SLOW_ONE_IN 16u
#define SERVICE_SLOW_NS (2 * SIM_MS)
#define DRAIN_INTERVAL_NS SIM_MS

static struct program programs[SIM_NODES_MAXIMUM];

void program_sleep(uint64_t duration_ns)
{
    struct event never;

    event_init(&never);
    (void)event_wait(&never, clock_now_ns() + duration_ns);
}

static void service_main(void *argument)
{
    struct program *program = argument;
    struct kmsg *kmsg;

    while (mach_msg_receive(program->service, &kmsg, DEADLINE_NEVER) == MACH_MSG_SUCCESS) {
        program_take(program, kmsg, (struct program_way){.port = program->service_id});
        if (!sim.is_draining && fiber_random() % SERVICE_SLOW_ONE_IN == 0) {
            program_sleep(fiber_random() % SERVICE_SLOW_NS);
        }
    }
}

/* Everything that is queued anywhere; nobody else is going to receive it. */
static void drain(struct program *program)
{
    for (uint32_t i = 0; i < PROGRAM_PORTS; i++) {
        struct program_port *slot = &program->ports[i];
        struct kmsg *kmsg;

        if (slot->state != SLOT_LIVE) {
            continue;
        }
        program_enter_port(slot);
        while (mach_msg_receive(slot->port, &kmsg, 0) == MACH_MSG_SUCCESS) {
            program_take(program, kmsg, (struct program_way){.port = slot->id});
        }
        program_leave_port(slot);
    }
}

static void release_rights(struct program *program)
{
    for (uint32_t i = 0; i < PROGRAM_RIGHTS; i++) {
        program_drop_right(&program->rights[i]);
    }
}

static void close_all(struct program *program)
{
    release_rights(program);
    for (uint32_t i = 0; i < PROGRAM_SETS; i++) {
        program_drop_set(&program->sets[i]);
    }
    for (uint32_t i = 0; i < PROGRAM_PORTS; i++) {
        program_drop_port(&program->ports[i]);
    }
    program->is_closed = true;
}

static void worker_main(void *argument)
{
    struct program_worker *worker = argument;
    struct program *program = worker->program;
    bool is_first = worker == &program->workers[0];

    for (;;) {
        while (worker->head != worker->tail) {
            worker->is_busy = true;
            program_perform(program, &sim.entries[worker->queue[worker->head++ % PROGRAM_QUEUE]]);
            worker->is_busy = false;
        }
        if (is_first && sim.is_closing) {
            if (!program->is_closed) {
                close_all(program);
            }
        } else if (is_first && sim.is_draining) {
            drain(program);
            if (sim.is_releasing) {
                release_rights(program);
            }
            (void)event_wait(&worker->event, clock_now_ns() + DRAIN_INTERVAL_NS);
            continue;
        }
        (void)event_wait(&worker->event, DEADLINE_NEVER);
    }
}

static int service_open(struct program *program)
{
    int error = port_create(program->host, &program->service);

    if (error == ERROR_NONE) {
        program->service_id =
            oracle_port(program->service, program->node->life, program->node->index);
        error = program->service_id == SIM_NONE ? ERROR_FULL : ERROR_NONE;
    }
    if (error == ERROR_NONE) {
        port_set_limit(program->service, SERVICE_LIMIT);
        error = port_publish(program->service,
                             NAME_WELL_KNOWN(program->node->id, PROGRAM_SERVICE_SERIAL));
    }
    return error;
}

int program_start(uint32_t node)
{
    struct program *program = &programs[node];
    int error;

    *program = (struct program){.node = &sim_nodes[node], .host = &sim_nodes[node].host};
    error = service_open(program);
    if (error == ERROR_NONE) {
        error = thread_create(program->host, "service", service_main, program, NULL);
    }
    for (uint32_t i = 0; i < SIM_WORKERS && error == ERROR_NONE; i++) {
        program->workers[i].program = program;
        event_init(&program->workers[i].event);
        error = thread_create(program->host, "worker", worker_main, &program->workers[i], NULL);
    }
    return error;
}

void program_end(uint32_t node)
{
    struct program *program = &programs[node];

    for (uint32_t i = 0; i < PROGRAM_PORTS; i++) {
        program->ports[i].state = SLOT_EMPTY;
    }
}

void program_submit(uint32_t entry)
{
    uint32_t node = (sim.entries[entry].target & 0xffu) % sim.settings->node_count;
    struct program_worker *worker;

    if (node_is_agent(node)) {
        if (sim_nodes[node].is_ready) {
            agent_submit(entry);
        }
        return;
    }
    worker = &programs[node].workers[(sim.entries[entry].target >> 8) % SIM_WORKERS];

    if (!sim_nodes[node].is_ready || worker->tail - worker->head == PROGRAM_QUEUE) {
        return; /* an operation of a node that is off is done by nobody */
    }
    worker->queue[worker->tail++ % PROGRAM_QUEUE] = (uint16_t)entry;
    event_signal(&worker->event);
}

bool program_is_idle(uint32_t node)
{
    const struct program *program = &programs[node];

    if (node_is_agent(node)) {
        return agent_is_idle();
    }
    for (uint32_t i = 0; i < SIM_WORKERS; i++) {
        if (program->workers[i].is_busy || program->workers[i].head != program->workers[i].tail) {
            return false;
        }
    }
    return true;
}

static void wake_workers(void)
{
    for (uint32_t i = 0; i < sim.settings->node_count; i++) {
        if (sim_nodes[i].is_ready && !node_is_agent(i)) {
            event_signal(&programs[i].workers[0].event);
        }
    }
}

void program_drain(void)
{
    sim.is_draining = true;
    agent_drain();
    wake_workers();
}

void program_release(void)
{
    sim.is_releasing = true;
    wake_workers();
}

void program_close(void)
{
    sim.is_closing = true;
    agent_close();
    wake_workers();
}

bool program_is_closed(uint32_t node)
{
    return node_is_agent(node) ? agent_is_closed() : programs[node].is_closed;
}
