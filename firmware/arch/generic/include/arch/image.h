/* SPDX-License-Identifier: MIT
 *
 * Where the parts of the image lie; from arch/generic/image.ld. All boundaries are page aligned.
 */
#ifndef ARCH_IMAGE_H
#define ARCH_IMAGE_H

#include <stdint.h>

extern uint8_t image_start[];     /* text */
extern uint8_t image_text_end[];  /* read-only data */
extern uint8_t image_const_end[]; /* data, then zeroed data, then the boot stack */
extern uint8_t image_bss_start[];
extern uint8_t image_end[];

#endif
