/* SPDX-License-Identifier: MIT
 *
 * The console of kernel/console.h over whatever UART the machine has. Keeps nothing.
 */
#include <kernel/arch.h>
#include <kernel/console.h>
#include <kernel/format.h>

void console_write(const char *text, size_t len_bytes)
{
    arch_console_write(text, len_bytes);
}

void console_printf(const char *format, ...)
{
    char text[256];
    va_list arguments;
    size_t length;

    va_start(arguments, format);
    length = format_text_list(text, sizeof(text), format, arguments);
    va_end(arguments);
    arch_console_write(text, length);
}
