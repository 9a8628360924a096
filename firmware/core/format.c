/* SPDX-License-Identifier: MIT
 *
 * The text formatter of kernel/format.h. Pure; keeps nothing.
 */
#include <kernel/format.h>
#include <kernel/string.h>
#include <stdbool.h>
#include <stdint.h>

#define DIGITS_MAXIMUM 20u /* of 2^64 - 1 in decimal */

struct output {
    char *buffer;
    size_t size;
    size_t length;
};

struct specification {
    bool left;
    bool zero;
    unsigned width;
    size_t precision; /* of a string */
    unsigned length;  /* bytes of an integer argument */
};

static void put(struct output *output, char character)
{
    if (output->length + 1 < output->size)
        output->buffer[output->length++] = character;
}

static void put_repeated(struct output *output, char character, size_t count)
{
    while (count-- > 0)
        put(output, character);
}

static void put_padded(struct output *output, const struct specification *specification,
                       const char *text, size_t length)
{
    size_t padding = specification->width > length ? specification->width - length : 0;

    if (!specification->left)
        put_repeated(output, ' ', padding);
    for (size_t i = 0; i < length; i++)
        put(output, text[i]);
    if (specification->left)
        put_repeated(output, ' ', padding);
}

static void put_integer(struct output *output, const struct specification *specification,
                        uint64_t value, bool negative, unsigned base, bool upper)
{
    const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    char text[DIGITS_MAXIMUM + 1];
    size_t start = sizeof(text);
    size_t length;

    do {
        text[--start] = digits[value % base];
        value /= base;
    } while (value != 0);
    length = sizeof(text) - start + (negative ? 1 : 0);
    if (specification->zero && !specification->left) {
        if (negative)
            put(output, '-');
        if (specification->width > length)
            put_repeated(output, '0', specification->width - length);
        while (start < sizeof(text))
            put(output, text[start++]);
        return;
    }
    if (negative)
        text[--start] = '-';
    put_padded(output, specification, text + start, length);
}

static const char *parse_number(const char *format, unsigned *number)
{
    *number = 0;
    while (*format >= '0' && *format <= '9' && *number < 1000)
        *number = *number * 10 + (unsigned)(*format++ - '0');
    return format;
}

/* Bytes of a number after one more of the letters h, l and z, which stands at `letter`. */
static unsigned length_after(unsigned length, const char *letter)
{
    if (*letter == 'h')
        return length / 2;
    if (*letter == 'z')
        return sizeof(size_t);
    return letter[-1] == 'l' ? sizeof(long long) : sizeof(long);
}

/* Flags, width, precision and length of a conversion; returns where its letter is. */
static const char *parse(const char *format, struct specification *specification)
{
    unsigned precision;

    *specification = (struct specification){.precision = SIZE_MAX, .length = sizeof(int)};
    for (; *format == '-' || *format == '0'; format++) {
        if (*format == '-')
            specification->left = true;
        else
            specification->zero = true;
    }
    format = parse_number(format, &specification->width);
    if (*format == '.') {
        format = parse_number(format + 1, &precision);
        specification->precision = precision;
    }
    for (; *format == 'h' || *format == 'l' || *format == 'z'; format++)
        specification->length = length_after(specification->length, format);
    return format;
}

static void put_signed(struct output *output, const struct specification *specification,
                       int64_t value)
{
    if (specification->length == 1)
        value = (int8_t)value;
    else if (specification->length == 2)
        value = (int16_t)value;
    put_integer(output, specification, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, value < 0,
                10, false);
}

static void put_unsigned(struct output *output, const struct specification *specification,
                         uint64_t value, char conversion)
{
    if (specification->length == 1)
        value = (uint8_t)value;
    else if (specification->length == 2)
        value = (uint16_t)value;
    put_integer(output, specification, value, false, conversion == 'u' ? 10 : 16,
                conversion == 'X');
}

static void put_string(struct output *output, const struct specification *specification,
                       const char *text)
{
    size_t length = 0;

    if (text == NULL)
        text = "(null)";
    while (length < specification->precision && text[length] != '\0')
        length++;
    put_padded(output, specification, text, length);
}

size_t format_text_list(char *buffer, size_t size_bytes, const char *format, va_list arguments)
{
    struct output output = {.buffer = buffer, .size = size_bytes};
    struct specification specification;
    bool wide;

    for (; *format != '\0'; format++) {
        if (*format != '%') {
            put(&output, *format);
            continue;
        }
        const char *start = format;
        char character;

        format = parse(format + 1, &specification);
        wide = specification.length == sizeof(uint64_t);
        switch (*format) {
        case 'd':
        case 'i':
            put_signed(&output, &specification,
                       wide ? va_arg(arguments, int64_t) : va_arg(arguments, int));
            break;
        case 'u':
        case 'x':
        case 'X':
            put_unsigned(&output, &specification,
                         wide ? va_arg(arguments, uint64_t) : va_arg(arguments, unsigned), *format);
            break;
        case 'p':
            put(&output, '0');
            put(&output, 'x');
            put_unsigned(&output, &specification, (uintptr_t)va_arg(arguments, void *), 'x');
            break;
        case 's':
            put_string(&output, &specification, va_arg(arguments, const char *));
            break;
        case 'c':
            character = (char)va_arg(arguments, int);
            put_padded(&output, &specification, &character, 1);
            break;
        case '%':
            put(&output, '%');
            break;
        default: /* the type of the argument is unknown, and so of all that follow */
            while (*start != '\0')
                put(&output, *start++);
            buffer[output.length] = '\0';
            return output.length;
        }
    }
    buffer[output.length] = '\0';
    return output.length;
}

size_t format_text(char *buffer, size_t size_bytes, const char *format, ...)
{
    va_list arguments;
    size_t length;

    va_start(arguments, format);
    length = format_text_list(buffer, size_bytes, format, arguments);
    va_end(arguments);
    return length;
}
