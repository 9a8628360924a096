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

/* The note that the linker makes: three words, "GNU", then the 20 bytes of the build id. */
#define IMAGE_BUILD_ID_OFFSET 16u
extern const uint8_t image_build_id_note[];

#endif
