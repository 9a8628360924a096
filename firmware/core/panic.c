/* SPDX-License-Identifier: MIT
 *
 * The panic of kernel/panic.h on a guest. Not in the host build.
 *
 * Nothing here allocates, waits or takes a lock; the text goes to the console line by line, so that
 * a second fault while printing loses only what comes after it.
 */
#include <arch/machine.h>
#include <arch/panic.h>
#include <arch/port.h>
#include <kernel/format.h>
#include <stdarg.h>

#define BACKTRACE_MAXIMUM 16u
#define FRAME_SPAN_MAXIMUM 0x10000u /* a frame larger than this is a broken chain */
#define REGISTERS_PER_LINE 8u

static void add(struct panic_state *state, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void add(struct panic_state *state, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    state->length += format_text_list(state->text + state->length,
                                      sizeof(state->text) - state->length, format, arguments);
    va_end(arguments);
}

/* End the line that begins at `start` and show it. */
static void end_line(struct panic_state *state, size_t start)
{
    if (state->length + 1 >= sizeof(state->text))
        state->length = sizeof(state->text) - 2;
    add(state, "\n");
    arch_console_write(state->text + start, state->length - start);
}

/* A frame pointer is followed only upwards, within RAM and aligned: a smashed stack ends the list,
 * not the panic. */
static bool frame_plausible(uintptr_t frame, uintptr_t below)
{
    uintptr_t ram = (uintptr_t)arch_ram_base();

    return frame % sizeof(uintptr_t) == 0 && frame >= ram + ARCH_PAGE_SIZE &&
           frame <= ram + machine()->ram_size - 2 * sizeof(uintptr_t) && frame > below &&
           (below == 0 || frame - below <= FRAME_SPAN_MAXIMUM);
}

/* The server whose code panicked, or called what did: the innermost of the backtrace that is one's. */
static void add_server(struct panic_state *state, uintptr_t program_counter, uintptr_t frame)
{
    uintptr_t address = program_counter;
    uintptr_t below = 0;
    uint64_t offset;

    for (unsigned i = 0; state->locator != NULL && i < BACKTRACE_MAXIMUM; i++) {
        const char *name = state->locator(state->locator_context, address, &offset);

        if (name != NULL) {
            add(state, "server=%s+0x%llx ", name, (unsigned long long)offset);
            return;
        }
        if (!frame_plausible(frame, below))
            return;
        below = frame;
        arch_frame_step(frame, &frame, &address);
        if (address-- == 0) /* in the call */
            return;
    }
}

static void add_headline(struct panic_state *state, const char *file, int line,
                         uintptr_t program_counter, uintptr_t frame, const char *format,
                         va_list arguments)
{
    size_t start = state->length;

    add(state, "PANIC node=%s id=%u incarnation=%llx at=%s:%d ",
        state->node_name != NULL ? state->node_name : "?", state->node_id,
        (unsigned long long)state->incarnation, file, line);
    add_server(state, program_counter, frame);
    add(state, "reason=");
    state->length += format_text_list(state->text + state->length,
                                      sizeof(state->text) - state->length, format, arguments);
    end_line(state, start);
}

static void add_registers(struct panic_state *state, const struct panic_register *registers,
                          unsigned count)
{
    for (unsigned i = 0; i < count; i += REGISTERS_PER_LINE) {
        size_t start = state->length;

        add(state, "REG");
        for (unsigned j = i; j < count && j < i + REGISTERS_PER_LINE; j++)
            add(state, " %s=0x%llx", registers[j].name, (unsigned long long)registers[j].value);
        end_line(state, start);
    }
}

static void add_backtrace(struct panic_state *state, uintptr_t program_counter, uintptr_t frame)
{
    size_t start = state->length;
    uintptr_t below = 0;
    uintptr_t return_address;

    add(state, "BACKTRACE 0x%zx", (size_t)program_counter);
    for (unsigned i = 0; i < BACKTRACE_MAXIMUM && frame_plausible(frame, below); i++) {
        below = frame;
        arch_frame_step(frame, &frame, &return_address);
        if (return_address == 0)
            break;
        add(state, " 0x%zx", (size_t)return_address);
    }
    end_line(state, start);
}

/* A panic while panicking says so and gives up whatever was still to come. */
static struct panic_state *enter(void)
{
    static const char again[] = "PANIC inside a panic\n";
    struct panic_state *state = &machine()->panic;

    arch_interrupts_disable();
    if (state->depth++ > 0) {
        if (state->depth == 2)
            arch_console_write(again, sizeof(again) - 1);
        arch_power_off();
    }
    state->length = 0;
    return state;
}

static _Noreturn void finish(struct panic_state *state, uintptr_t program_counter)
{
    if (state->recorder != NULL)
        state->recorder(state->recorder_context, state->text, state->length, program_counter);
    arch_power_off();
}

_Noreturn void panic_at(const char *file, int line, const char *format, ...)
{
    uintptr_t program_counter = (uintptr_t)__builtin_return_address(0) - 1; /* in the call */
    uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
    struct panic_state *state = enter();
    uintptr_t ignored;
    va_list arguments;

    arch_frame_step(frame, &frame, &ignored); /* begin with the frame of whoever panicked */
    va_start(arguments, format);
    add_headline(state, file, line, program_counter, frame, format, arguments);
    va_end(arguments);
    add_backtrace(state, program_counter, frame);
    finish(state, program_counter);
}

_Noreturn void panic_exception(const struct panic_register *registers, unsigned count,
                               uintptr_t program_counter, uintptr_t frame, const char *format, ...)
{
    struct panic_state *state = enter();
    va_list arguments;

    va_start(arguments, format);
    add_headline(state, "cpu", 0, program_counter, frame, format, arguments);
    va_end(arguments);
    add_registers(state, registers, count);
    add_backtrace(state, program_counter, frame);
    finish(state, program_counter);
}

void panic_set_node(const char *name, uint32_t node_id, uint64_t incarnation)
{
    struct panic_state *state = &machine()->panic;

    state->node_name = name;
    state->node_id = node_id;
    state->incarnation = incarnation;
}

void panic_set_recorder(panic_recorder recorder, void *context)
{
    machine()->panic.recorder = recorder;
    machine()->panic.recorder_context = context;
}

void panic_set_locator(panic_locator locator, void *context)
{
    machine()->panic.locator = locator;
    machine()->panic.locator_context = context;
}
