/* SPDX-License-Identifier: MIT
 *
 * Writing the black box: the fixed place in RAM where a node records what happened, for a reader
 * who may come after its death. The layout is abi/blackbox.h, the rules for readers
 * docs/spec/blackbox.md.
 *
 * Words. An *event* is a record in a ring that overwrites its oldest. A *ledger* is the account of
 * one traffic stream at one of its ends; its owner changes it between ledger_begin() and
 * ledger_end(), and the reader takes no copy in between.
 *
 * A host without a box (host->blackbox is null) records nothing and has no ledgers; every function
 * accepts it. All may be called from any thread, none from an interrupt handler but
 * blackbox_panic().
 */
#ifndef KERNEL_BLACKBOX_H
#define KERNEL_BLACKBOX_H

#include <abi/blackbox.h>
#include <kernel/error.h>
#include <kernel/shared.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mach_host;

#define BLACKBOX_NO_LINK 0xffffu

struct blackbox_configuration {
    void *memory;        /* BOOT_BLACKBOX_SIZE bytes, 8-byte aligned, kept until blackbox_close() */
    bool trace_messages; /* boot argument trace: an event for every traffic message */
};

/* Erase the memory, write the header in state BOOTING, and make it the host's box. The heap is up.
 * Returns 0, ERROR_EXISTS (the host has one) or ERROR_NO_MEMORY. */
int blackbox_open(struct mach_host *host,
                  const struct blackbox_configuration *configuration) MUST_CHECK;

/* Forget the box; its memory keeps what it holds. */
void blackbox_close(struct mach_host *host);

void blackbox_set_state(struct mach_host *host, enum blackbox_state state);
bool blackbox_traces_messages(const struct mach_host *host);

struct blackbox_record {
    enum blackbox_event_kind kind;
    uint32_t link; /* index in the boot page, or BLACKBOX_NO_LINK */
    uint32_t peer; /* node id; 0 where the kind has none */
    uint64_t arg0;
    uint64_t arg1;
    uint64_t arg2;
};

/* Append an event, stamped with the node clock, and see to it that a frame soon leaves for node 0,
 * which reads the box whenever one arrives. */
void blackbox_event(struct mach_host *host, const struct blackbox_record *record);

/* Bring the header's clock and heap figures up to date. */
void blackbox_refresh(struct mach_host *host);

/* A cleared ledger that belongs to the caller, role FREE until the caller fills it in. Null: all
 * are taken, or no box. */
struct blackbox_ledger *blackbox_ledger_allocate(struct mach_host *host);
void blackbox_ledger_free(struct mach_host *host, struct blackbox_ledger *ledger);

/* Around every change of a ledger. One writer at a time: the owner sees to it. */
static inline void ledger_begin(struct blackbox_ledger *ledger)
{
    shared_store32(&ledger->version, le32_load(ledger->version) + 1);
    /* The odd version must be seen before any field of the change. */
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

static inline void ledger_end(struct blackbox_ledger *ledger)
{
    shared_store32_release(&ledger->version, le32_load(ledger->version) + 1);
}

/* The recorder of kernel/panic.h; `context` is the host. Writes memory only, takes no lock. */
void blackbox_panic(void *context, const char *text, size_t len_bytes, uint64_t program_counter);

#endif
