/* SPDX-License-Identifier: MIT
 *
 * The Mach return codes that the messaging interfaces use; numbers as everywhere in Mach.
 */
#ifndef KERNEL_KERN_RETURN_H
#define KERNEL_KERN_RETURN_H

typedef int kern_return_t;

#define KERN_SUCCESS 0
#define KERN_INVALID_ARGUMENT 4
#define KERN_FAILURE 5
#define KERN_RESOURCE_SHORTAGE 6
#define KERN_NAME_EXISTS 13
#define KERN_NOT_SUPPORTED 46
#define KERN_NODE_DOWN 47

typedef int mach_msg_return_t;

#define MACH_MSG_SUCCESS 0
#define MACH_SEND_INVALID_DEST 0x10000003
#define MACH_SEND_TIMED_OUT 0x10000004
#define MACH_SEND_INTERRUPTED 0x10000007
#define MACH_SEND_MSG_TOO_SMALL 0x10000008
#define MACH_SEND_NO_BUFFER 0x1000000d
#define MACH_SEND_TOO_LARGE 0x1000000e
#define MACH_RCV_TIMED_OUT 0x10004003
#define MACH_RCV_TOO_LARGE 0x10004004
#define MACH_RCV_INTERRUPTED 0x10004005
#define MACH_RCV_PORT_CHANGED 0x10004006
#define MACH_RCV_PORT_DIED 0x10004009

#endif
