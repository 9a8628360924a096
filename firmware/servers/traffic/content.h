/* SPDX-License-Identifier: MIT
 *
 * The bytes of a traffic message: what a source writes, a sink checks, and the host computes alone
 * (docs/spec/flipc.md, section 4). Pure functions; bodies are 8-byte aligned.
 */
#ifndef TRAFFIC_CONTENT_H
#define TRAFFIC_CONTENT_H

#include <abi/services.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Write the message that `header` names (all fields but magic and hash) into `body`, at least 48
 * bytes. With check HEADER the bytes after the header stay as they are. Returns the message's hash.
 */
uint64_t traffic_content_write(void *body, size_t len_bytes, const struct traffic_header *header);

/* Is `body` what a source with its header's fields would have written? At least 48 bytes. */
bool traffic_content_check(const void *body, size_t len_bytes);

/* The running hash after one more message. */
uint64_t traffic_hash_add(uint64_t running, uint64_t hash);

#endif
