/* SPDX-License-Identifier: MIT
 *
 * Console and panic on the machine you sit at: standard error, and abort() so that a debugger or a
 * sanitizer stops here.
 */
#include <kernel/arch.h>
#include <kernel/console.h>
#include <kernel/format.h>
#include <kernel/panic.h>
#include <stdio.h>
#include <stdlib.h>

#define TEXT_SIZE 512

static struct {
    const char *node_name;
    uint32_t node_id;
    uint64_t incarnation;
    panic_recorder recorder;
    void *recorder_context;
} state = {.node_name = "?"};

void console_write(const char *text, size_t len_bytes)
{
    fwrite(text, 1, len_bytes, stderr);
}

void console_printf(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
}

void panic_set_node(const char *name, uint32_t node_id, uint64_t incarnation)
{
    state.node_name = name;
    state.node_id = node_id;
    state.incarnation = incarnation;
}

void panic_set_recorder(panic_recorder recorder, void *context)
{
    state.recorder = recorder;
    state.recorder_context = context;
}

void panic_at(const char *file, int line, const char *format, ...)
{
    char text[TEXT_SIZE];
    va_list arguments;
    int head, tail;

    head = snprintf(text, sizeof(text) / 2,
                    "PANIC node=%s id=%u incarnation=%llx at=%s:%d reason=", state.node_name,
                    state.node_id, (unsigned long long)state.incarnation, file, line);
    if (head >= (int)sizeof(text) / 2)
        head = (int)sizeof(text) / 2 - 1;
    va_start(arguments, format);
    tail = vsnprintf(text + head, sizeof(text) - (size_t)head, format, arguments);
    va_end(arguments);
    fprintf(stderr, "%s\n", text);
    if (state.recorder != NULL && tail >= 0)
        state.recorder(state.recorder_context, text, __builtin_strlen(text), 0);
    abort();
}
