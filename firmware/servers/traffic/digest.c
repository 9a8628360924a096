/* SPDX-License-Identifier: MIT
 *
 * Digests: every 100 ms one event for each account that changed, as long as any does. An idle
 * server's thread waits without a deadline, so idle nodes stay asleep.
 */
#include "traffic.h"

void traffic_digest_write(struct traffic *traffic, struct traffic_account *account)
{
    const struct blackbox_ledger *ledger = account->ledger;
    uint64_t sink_bit = le32_load(ledger->role) == BLACKBOX_LEDGER_SINK ? TRAFFIC_SINK_BIT : 0;
    struct blackbox_record record = {
        .kind = BLACKBOX_EVENT_STREAM,
        .link = BLACKBOX_NO_LINK,
        .peer = le32_load(ledger->peer),
        .arg0 = le64_load(ledger->stream_id) | sink_bit,
        .arg1 = le64_load(ledger->next_sequence),
        .arg2 = le64_load(ledger->running_hash),
    };

    account->digest_messages = record.arg1;
    account->digest_hash = record.arg2;
    blackbox_event(traffic->host, &record);
}

/* Returns whether it had changed. */
static bool account_tick(struct traffic *traffic, struct traffic_account *account)
{
    const struct blackbox_ledger *ledger = account->ledger;

    if (account->digest_messages == le64_load(ledger->next_sequence) &&
        account->digest_hash == le64_load(ledger->running_hash)) {
        return false;
    }
    traffic_digest_write(traffic, account);
    return true;
}

static bool refused_tick(struct traffic *traffic)
{
    if (traffic->refused == traffic->refused_told) {
        return false;
    }
    struct blackbox_record record = {
        .kind = BLACKBOX_EVENT_STREAM_REFUSED,
        .link = BLACKBOX_NO_LINK,
        .peer = traffic->refused_node,
        .arg0 = traffic->refused_stream_id,
        .arg1 = traffic->refused,
        .arg2 = traffic->refused_incarnation,
    };
    traffic->refused_told = traffic->refused;
    blackbox_event(traffic->host, &record);
    return true;
}

/* Caller holds the lock. Returns whether anything moved since the last tick. */
static bool tick(struct traffic *traffic)
{
    bool moved = refused_tick(traffic);

    for (struct traffic_source *source = traffic->sources; source != NULL;
         source = traffic_source_next(source)) {
        moved |= account_tick(traffic, traffic_source_account(source));
    }
    for (struct traffic_sink *sink = traffic->sinks; sink != NULL; sink = traffic_sink_next(sink)) {
        moved |= account_tick(traffic, traffic_sink_account(sink));
    }
    return moved;
}

/* Caller holds the lock. */
static void period_wait(struct traffic *traffic)
{
    uint64_t deadline_ns = clock_now_ns() + TRAFFIC_DIGEST_PERIOD_NS;

    while (!traffic->stopping &&
           condition_wait(&traffic->digest_wake, &traffic->lock, deadline_ns)) {
    }
}

void traffic_digest_main(void *argument)
{
    struct traffic *traffic = argument;

    lock_acquire(&traffic->lock);
    while (!traffic->stopping) {
        if (!traffic->moving) {
            (void)condition_wait(&traffic->digest_wake, &traffic->lock, DEADLINE_NEVER);
            continue;
        }
        period_wait(traffic);
        traffic->moving = tick(traffic);
        lock_release(&traffic->lock);
        blackbox_refresh(traffic->host);
        lock_acquire(&traffic->lock);
    }
    lock_release(&traffic->lock);
}
