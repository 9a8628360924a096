/* SPDX-License-Identifier: MIT
 *
 * The end of a node: a broken invariant or a CPU exception. Never for what a peer sends.
 *
 * A panic prints, in this order and each ended by a newline,
 *   PANIC node=<name> id=<decimal> incarnation=<hex> at=<file>:<line> [server=<name>+0x<hex>]
 *       reason=<text>               (one line; server= if loaded code is among the callers)
 *   REG <name>=0x<hex> ...          up to eight a line; after a CPU exception only
 *   BACKTRACE 0x<hex> 0x<hex> ...   program counter, then return addresses by frame pointers
 * hands the same text to the recorder, and powers the machine off. The program counter lies in the
 * instruction that failed or called panic(); a return address is the instruction after a call. A
 * panic inside a panic prints the line "PANIC inside a panic" and powers off.
 */
#ifndef KERNEL_PANIC_H
#define KERNEL_PANIC_H

#include <stddef.h>
#include <stdint.h>

/* Any context. `format` as in kernel/format.h, without a newline. */
#define panic(...) panic_at(__FILE__, __LINE__, __VA_ARGS__)

/* Panic, naming the condition, unless it holds. For invariants of our own code only. Always
 * compiled in. */
#define panic_unless(condition)                                                                    \
    ((condition) ? (void)0 : panic_at(__FILE__, __LINE__, "not true: %s", #condition))

_Noreturn void panic_at(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4), cold));

/* Who the panic line names; before this call it says node=? id=0 incarnation=0. `name` is kept, not
 * copied. */
void panic_set_node(const char *name, uint32_t node_id, uint64_t incarnation);

/* Let recorder(context, ...) keep each panic's text (NUL-terminated, len_bytes without the NUL) and
 * program counter. It runs in any context, interrupts masked, with the machine broken: it must only
 * write memory. One recorder; null: none. */
typedef void (*panic_recorder)(void *context, const char *text, size_t len_bytes,
                               uint64_t program_counter);
void panic_set_recorder(panic_recorder recorder, void *context);

/* Let locate(context, address, &offset) say whose loaded code an address lies in; null: nobody's.
 * Called as the recorder is. One locator; null: none. */
typedef const char *(*panic_locator)(void *context, uint64_t address, uint64_t *offset);
void panic_set_locator(panic_locator locator, void *context);

#endif
