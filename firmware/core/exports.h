/* SPDX-License-Identifier: MIT
 *
 * What loadable servers may call: every name here, by its declaration in the headers above. Read by
 * tools/exports.py alone, which makes the export table of the image from it
 * (docs/spec/server_object.md, section 3). A name is added when a server needs it; taking one away,
 * or changing what it or its types look like, makes servers built before it be refused.
 */
#include <abi/flipc.h>
#include <abi/services.h>
#include <kernel/arch.h>
#include <kernel/blackbox.h>
#include <kernel/boot.h>
#include <kernel/console.h>
#include <kernel/crc32c.h>
#include <kernel/format.h>
#include <kernel/host.h>
#include <kernel/interrupt.h>
#include <kernel/ipc.h>
#include <kernel/kern_server.h>
#include <kernel/mach_node_link.h>
#include <kernel/node.h>
#include <kernel/panic.h>
#include <kernel/pci.h>
#include <kernel/phy.h>
#include <kernel/server_module.h>
#include <kernel/service.h>
#include <kernel/service_thread.h>
#include <kernel/string.h>
#include <kernel/thread.h>

/* Servers */
EXPORT(kern_server_callout)
EXPORT(kern_server_host)
EXPORT(kern_server_log)
EXPORT(kern_server_map_port)
EXPORT(kern_server_panic)
EXPORT(kern_server_pass)
EXPORT(kern_server_port)
EXPORT(kern_server_register)
EXPORT(kern_server_unmap_port)
EXPORT(kern_server_unregister)
EXPORT(kern_server_unwatch)
EXPORT(kern_server_watch)

/* Memory and text */
EXPORT(console_printf)
EXPORT(crc32c)
EXPORT(format_text)
EXPORT(heap_allocate)
EXPORT(heap_free)
EXPORT(heap_statistics)
EXPORT(mach_host_random)
EXPORT(memcmp)
EXPORT(memcpy)
EXPORT(memmove)
EXPORT(memset)
EXPORT(panic_at)
EXPORT(strcmp)
EXPORT(strlen)

/* Threads and time */
EXPORT(clock_now_ns)
EXPORT(condition_broadcast)
EXPORT(condition_init)
EXPORT(condition_signal)
EXPORT(condition_wait)
EXPORT(event_init)
EXPORT(event_poll)
EXPORT(event_signal)
EXPORT(event_wait)
EXPORT(lock_acquire)
EXPORT(lock_init)
EXPORT(lock_release)
EXPORT(thread_create)
EXPORT(thread_current_host)
EXPORT(thread_join)
EXPORT(thread_others_runnable)
EXPORT(thread_yield)

/* Ports and messages */
EXPORT(kern_server_service_name)
EXPORT(kmsg_allocate)
EXPORT(kmsg_body)
EXPORT(kmsg_body_size)
EXPORT(kmsg_create)
EXPORT(kmsg_free)
EXPORT(kmsg_id)
EXPORT(kmsg_id_offset)
EXPORT(kmsg_is_from_kernel)
EXPORT(kmsg_is_from_this_kernel)
EXPORT(kmsg_part)
EXPORT(kmsg_part_count)
EXPORT(kmsg_put_reply_port)
EXPORT(kmsg_reply_disposition)
EXPORT(kmsg_qos)
EXPORT(kmsg_sender)
EXPORT(kmsg_set_body_size)
EXPORT(kmsg_set_completion)
EXPORT(kmsg_set_id)
EXPORT(kmsg_set_qos)
EXPORT(kmsg_set_sender)
EXPORT(kmsg_source_incarnation)
EXPORT(kmsg_source_node)
EXPORT(kmsg_take_port)
EXPORT(kmsg_take_reply_port)
EXPORT(mach_msg_forward)
EXPORT(mach_msg_receive)
EXPORT(mach_msg_receive_set)
EXPORT(mach_msg_reply)
EXPORT(mach_msg_send)
EXPORT(mach_msg_send_once)
EXPORT(node_clear_bootstrap)
EXPORT(node_set_bootstrap)
EXPORT(port_body_maximum)
EXPORT(port_create)
EXPORT(port_destroy)
EXPORT(port_from_name)
EXPORT(port_has_messages)
EXPORT(port_has_senders)
EXPORT(port_is_dead)
EXPORT(port_name)
EXPORT(port_notify_dead)
EXPORT(port_notify_no_senders)
EXPORT(port_publish)
EXPORT(port_release)
EXPORT(port_release_right)
EXPORT(port_retain)
EXPORT(port_set_create)
EXPORT(port_set_destroy)
EXPORT(port_set_insert)
EXPORT(port_set_limit)
EXPORT(port_set_remove)
EXPORT(service_answer)
EXPORT(service_answer_status)
EXPORT(service_echo)
EXPORT(service_port_name)
EXPORT(service_promise_keep)
EXPORT(service_promise_make)
EXPORT(service_read)
EXPORT(service_thread_start)
EXPORT(service_thread_stop)

/* Nodes and links */
EXPORT(mnl_attach)
EXPORT(mnl_detach)
EXPORT(mnl_flow_next)
EXPORT(mnl_flow_resume)
EXPORT(mnl_instantiate)
EXPORT(mnl_is_detached)
EXPORT(mnl_msg_alloc)
EXPORT(mnl_msg_complete)
EXPORT(mnl_msg_free)
EXPORT(mnl_msg_from_node)
EXPORT(mnl_msg_from_node_bounded)
EXPORT(mnl_msg_take_from_node)
EXPORT(mnl_msg_to_node)
EXPORT(mnl_msg_try_to_node)
EXPORT(mnl_node_release)
EXPORT(mnl_register)
EXPORT(mnl_set_flow)
EXPORT(mnl_set_incarnation)
EXPORT(mnl_set_link_down)
EXPORT(mnl_set_link_state)
EXPORT(mnl_set_message_max)
EXPORT(mnl_terminate)
EXPORT(node_incarnation)
EXPORT(node_is_declared_dead)

/* The black box */
EXPORT(blackbox_event)
EXPORT(blackbox_ledger_allocate)
EXPORT(blackbox_ledger_free)
EXPORT(blackbox_refresh)
EXPORT(blackbox_traces_messages)

/* Devices */
EXPORT(arch_mmu_map)
EXPORT(interrupt_allocate_msi)
EXPORT(interrupt_free_msi)
EXPORT(pci_bar_map)
EXPORT(pci_config_read16)
EXPORT(pci_config_read32)
EXPORT(pci_config_read8)
EXPORT(pci_config_write16)
EXPORT(pci_config_write32)
EXPORT(pci_config_write8)
EXPORT(pci_find_capability)
EXPORT(pci_find_slot)
EXPORT(pci_msix_disable)
EXPORT(pci_msix_enable)

/* What the compiler calls by name where registers have 32 bits. */
#if __SIZEOF_POINTER__ == 4
uint64_t __udivdi3(uint64_t dividend, uint64_t divisor);
uint64_t __umoddi3(uint64_t dividend, uint64_t divisor);
int64_t __divdi3(int64_t dividend, int64_t divisor);
int64_t __moddi3(int64_t dividend, int64_t divisor);
EXPORT(__divdi3)
EXPORT(__moddi3)
EXPORT(__udivdi3)
EXPORT(__umoddi3)
#endif
