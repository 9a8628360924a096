/* SPDX-License-Identifier: MIT
 *
 * Console and panic in the simulator. A panic ends a node, not the process: the simulator takes it
 * for the violation that it is.
 */
#include "fiber.h"

#include <kernel/console.h>
#include <kernel/panic.h>
#include <stdio.h>
#include <stdlib.h>

#define TEXT_SIZE 256

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
    (void)name;
    (void)node_id;
    (void)incarnation;
}

void panic_set_recorder(panic_recorder recorder, void *context)
{
    (void)recorder;
    (void)context;
}

void panic_at(const char *file, int line, const char *format, ...)
{
    char text[TEXT_SIZE];
    va_list arguments;
    int head = snprintf(text, sizeof(text), "%s:%d: ", file, line);

    va_start(arguments, format);
    if (head >= 0 && head < TEXT_SIZE) {
        vsnprintf(text + head, sizeof(text) - (size_t)head, format, arguments);
    }
    va_end(arguments);
    fiber_panic(text);
    abort();
}
