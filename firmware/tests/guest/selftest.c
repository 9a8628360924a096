/* SPDX-License-Identifier: MIT
 * temporary
 */
#include <kernel/boot.h>
#include <kernel/console.h>
#include <kernel/thread.h>

void kernel_main(const struct boot_configuration *configuration)
{
    console_printf("hello %s %llu\n", configuration->node_name, (unsigned long long)clock_now_ns());
}
