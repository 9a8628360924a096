/* SPDX-License-Identifier: MIT
 *
 * The rule of docs/design/locking.md: with the IPC lock held nothing is allocated or freed. The
 * linker sends every call of the heap through here (host.mk), so all unit tests hold the core to
 * it.
 */
#include "core/heap.h"
#include "core/ipc_state.h"
#include "hosts.h"
#include "unit.h"
#include <errno.h>
#include <pthread.h>

static uint64_t calls;                /* atomic: tests have threads */
static _Thread_local bool is_planted; /* the test below breaks the rule on purpose */
static unsigned found;                /* then it is only counted */

static void check_free_of_locks(struct mach_host *host)
{
    if (host == NULL || host->ipc == NULL)
        return;
    __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
    if (pthread_mutex_lock(&host->ipc->lock.mutex) == 0) {
        pthread_mutex_unlock(&host->ipc->lock.mutex);
        return;
    }
    if (is_planted)
        found++;
    else
        EXPECT(!"the heap was called with the IPC lock held");
}

void *__real_heap_allocate(struct mach_host *host, size_t bytes);
void *__wrap_heap_allocate(struct mach_host *host, size_t bytes);
void *__wrap_heap_allocate(struct mach_host *host, size_t bytes)
{
    check_free_of_locks(host);
    return __real_heap_allocate(host, bytes);
}

void *__real_heap_allocate_kind(struct mach_host *host, size_t bytes, enum heap_kind kind);
void *__wrap_heap_allocate_kind(struct mach_host *host, size_t bytes, enum heap_kind kind);
void *__wrap_heap_allocate_kind(struct mach_host *host, size_t bytes, enum heap_kind kind)
{
    check_free_of_locks(host);
    return __real_heap_allocate_kind(host, bytes, kind);
}

void __real_heap_free(struct mach_host *host, void *block);
void __wrap_heap_free(struct mach_host *host, void *block);
void __wrap_heap_free(struct mach_host *host, void *block)
{
    check_free_of_locks(host);
    __real_heap_free(host, block);
}

void __real_heap_free_list(struct mach_host *host, struct list *blocks);
void __wrap_heap_free_list(struct mach_host *host, struct list *blocks);
void __wrap_heap_free_list(struct mach_host *host, struct list *blocks)
{
    check_free_of_locks(host);
    __real_heap_free_list(host, blocks);
}

static void a_breach_of_the_rule_is_noticed(void)
{
    struct mach_host *host = test_host_create(1, 1);
    void *block;

    is_planted = true;
    ipc_lock(host);
    block = heap_allocate(host, 16);
    heap_free(host, block);
    ipc_unlock(host);
    is_planted = false;
    EXPECT_EQUAL(found, 2);
    test_host_destroy(host);
}

/* Everything that the published design did under a spin lock: register, publish, acknowledge,
 * refuse, retire, die. */
static void a_whole_life_calls_the_heap_with_no_lock_held(void)
{
    uint64_t before = __atomic_load_n(&calls, __ATOMIC_RELAXED);
    struct talk talk = talk_create();
    struct outcomes outcomes = {0};

    EXPECT_EQUAL(test_send_counted(talk.proxy, 1, &outcomes), MACH_MSG_SUCCESS);
    EXPECT_EQUAL(test_send_counted(talk.proxy, 2, &outcomes), MACH_MSG_SUCCESS);
    EXPECT(pair_move_one(&talk.pair, 0));
    EXPECT(test_receive(talk.principal, 1));
    EXPECT(pair_move_one(&talk.pair, 0));
    port_destroy(talk.principal); /* refuses what is queued */
    talk.principal = NULL;
    pair_settle(&talk.pair);
    EXPECT_EQUAL(test_send_counted(talk.proxy, 3, &outcomes), MACH_MSG_SUCCESS);
    EXPECT_EQUAL(mnl_terminate(talk.pair.nodes[0], 0), KERN_SUCCESS);
    EXPECT(outcomes.settled == 1 && outcomes.failed == 2 && outcomes.unknown == 0);
    EXPECT(__atomic_load_n(&calls, __ATOMIC_RELAXED) > before + 10);
    talk_destroy(&talk);
}

static const struct unit_test locking_tests[] = {
    {"a breach of the rule is noticed", a_breach_of_the_rule_is_noticed},
    {"a whole life calls the heap with no lock held",
     a_whole_life_calls_the_heap_with_no_lock_held},
};
UNIT_SUITE("locking", locking_tests);
