/* SPDX-License-Identifier: MIT
 *
 * Changing stacks. What a call preserves is saved on the stack that is left; signal masks and
 * floating-point modes are the process's and stay as they are.
 */
#ifndef SIM_CONTEXT_SWITCH_H
#define SIM_CONTEXT_SWITCH_H

/* Save this context, its stack pointer in `*from`, and go on in the one that was saved as `to`. */
void context_switch(void **from, void *to);

/* A context at the top of a stack whose first act is to call `entry`, which never returns. */
void *context_prepare(void *stack_top, void (*entry)(void));

#endif
