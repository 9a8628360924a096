/* SPDX-License-Identifier: MIT
 *
 * What the link manager does for a link: struct link_operations of kernel/link.h, each by its name.
 *
 * Every image has one owner of links. It is built with LINK_ONE_OWNER, and core/link*.c call these
 * directly, so that they are inlined: an indirect call and its return are two look-ups of code
 * under an emulator. A library does not know who will own its links, and calls by the table.
 */
#ifndef CORE_LINK_OWNER_H
#define CORE_LINK_OWNER_H

#include <kernel/link.h>

int link_owner_transmit(void *context, const struct frame_header *header, const void *payload,
                        size_t payload_bytes);
struct mnl_msg *link_owner_allocate(void *context, uint32_t total_bytes);
void link_owner_release(void *context, struct mnl_msg *message);
enum link_delivery link_owner_deliver(void *context, struct mnl_msg *message, uint32_t total_bytes);
void link_owner_complete(void *context, struct mnl_msg *message);
void link_owner_state(void *context, const struct link_event *event);
void link_owner_trained(void *context, uint64_t incarnation, const struct train_record *record,
                        bool new_life);
void link_owner_refused(void *context, enum link_refusal reason, uint64_t incarnation, bool by_us);
void link_owner_dropped(void *context, enum link_drop reason, uint32_t count);
void link_owner_carrier(void *context, uint32_t direction, bool up, uint32_t generation);
int link_owner_admit(void *context, uint64_t incarnation, const struct train_record *record);
void link_owner_flow_read(void *context, uint32_t *ack, uint32_t *credit);
void link_owner_flow_sent(void *context, uint64_t now_ns);
void link_owner_flow_peer(void *context, uint32_t ack, uint32_t credit);
uint32_t link_owner_flow_next(void *context);
uint64_t link_owner_flow_deadline_ns(void *context);

#ifdef LINK_ONE_OWNER
#define LINK_OWNER(link, callback) link_owner_##callback
#define LINK_OWNER_HAS(link, callback) true
#define LINK_OWNER_OPERATIONS NULL
#else
extern const struct link_operations link_owner_operations;
#define LINK_OWNER(link, callback) (link)->operations->callback
#define LINK_OWNER_HAS(link, callback) ((link)->operations->callback != NULL)
#define LINK_OWNER_OPERATIONS (&link_owner_operations)
#endif

#endif
