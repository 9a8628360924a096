/* SPDX-License-Identifier: MIT
 *
 * The rights that a message carries - its reply right and those of its descriptors - on their way:
 * out to another node (give, then leave or return), in from one (check, then take). Private to core;
 * with the IPC lock held, except where noted.
 *
 * A right is taken when a receiver takes its message off the queue, which is also when the message
 * is settled. So what was refused, whenever that was, never was anybody's but the sender's, and the
 * sender learns from the one word, settled or refused, who has the rights.
 */
#ifndef CORE_RIGHTS_H
#define CORE_RIGHTS_H

#include "ipc_state.h"
#include "kmsg.h"
#include "share.h"

struct node;
struct port;

/* --- Out -------------------------------------------------------------------------------------- */

/* Are the rights of the descriptors such that rights_give() takes no spare, and none is a receive
 * right? */
bool rights_need_nothing(const struct kmsg *kmsg, const struct node *node);

/* How many spares rights_give() may take, with `local` as the reply right. */
COLD uint32_t rights_give_needs(const struct kmsg *kmsg, const struct port *local,
                                const struct node *node);

/* Write the names of the rights into the message, and put them on the account of `node`. */
void rights_give(struct kmsg *kmsg, struct node *node, struct share_spares *spares);

/* `node` has them now; null: it died with them. */
void rights_leave(struct kmsg *kmsg, struct node *node, struct deferred *deferred);

/* The message came back from `node` unread: they are the message's again. */
COLD void rights_return(struct kmsg *kmsg, struct node *node, struct deferred *deferred);

/* They die with the message. */
APART void rights_die(struct kmsg *kmsg, struct deferred *deferred);

/* --- In --------------------------------------------------------------------------------------- */

/* Is the complex part of a message of `body_bytes` well-formed? Without the lock. Returns how many
 * ports its descriptors name, -1: malformed. */
int rights_check_form(struct kmsg *kmsg, uint32_t body_bytes);

/* Note where the ports of a well-formed complex message are; `rights` has room for them. */
void rights_index(struct kmsg *kmsg, struct kmsg_rights *rights);

/* Can the names of a message from `node` be such? 0, or an enum flipc_nak_reason. */
int rights_check_names(const struct node *node, struct kmsg *kmsg);

/* Does an accepted message for `port`, which is here, bring a port that is not where the message comes
 * from, as far as is known here, or come after such a one? Either the known home has yet to tell that
 * the port moved, or the source lies. So what its source sends to `port` waits until the home has told.
 */
bool rights_are_doubtful(const struct port *port, struct kmsg *kmsg);
COLD void rights_doubt(struct port *port, struct kmsg *kmsg);
void rights_doubt_no_more(struct kmsg *kmsg);

/* The home of a port changed: deliver what is not doubtful any more. */
COLD void rights_review(struct mach_host *host);

/* `kmsg` was taken off the queue of `port`, and its names are not rights yet: make them. May release
 * the lock to allocate. 0; else why the message has to be refused, and nothing was taken. */
int rights_take(struct port *port, struct kmsg *kmsg, struct deferred *deferred);

/* The same for the messages of calls, which need no memory usually: a request that brings a reply right,
 * and the answer to one. False: nothing was done. */
bool rights_take_of_call(struct port *port, struct kmsg *kmsg);

/* A send-once right to `port` that `node` has was used. False: it has none. */
bool rights_use_once(struct port *port, const struct node *node, struct deferred *deferred);

/* `node` dies with `kmsg` unread: it was received here, so a send-once right that it was sent with is
 * used. */
void rights_use_once_of(const struct kmsg *kmsg, const struct node *node,
                        struct deferred *deferred);

#endif
