/* SPDX-License-Identifier: MIT
 *
 * Settings and schedules from seeds. Nothing that runs depends on how a schedule was made.
 */
#include "world.h"

#define START_SPREAD_NS (30 * SIM_MS)
#define FAULTS_MAXIMUM 40u
#define CHASE_SLOTS 4u
#define CHASE_STEPS 8u
#define CHASE_WINDOW 48u /* of three chases */

struct generator {
    uint64_t random;
    struct sim_settings *settings;
    struct sim_entry *entries;
    uint32_t count;
    uint32_t spread; /* slots, nodes and names that the programs pick from */
};

/* --- Chance
 * --------------------------------------------------------------------------------------- */

static uint64_t next(struct generator *generator)
{
    uint64_t value = generator->random += 0x9e3779b97f4a7c15ull;

    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9ull;
    value = (value ^ value >> 27) * 0x94d049bb133111ebull;
    return value ^ value >> 31;
}

static uint32_t below(struct generator *generator, uint32_t n)
{
    return (uint32_t)(next(generator) >> 32) % n;
}

static bool one_in(struct generator *generator, uint32_t n)
{
    return below(generator, n) == 0;
}

/* From `least` to `most`, every order of magnitude alike. */
static uint64_t scale(struct generator *generator, uint64_t least, uint64_t most)
{
    uint32_t doublings = 63u - (uint32_t)__builtin_clzll(most / least);
    uint64_t base = least << below(generator, doublings + 1);
    uint64_t value = base + next(generator) % base;

    return value < most ? value : most;
}

/* --- Settings
 * ------------------------------------------------------------------------------------- */

static void add_link(struct generator *generator, uint32_t a, uint32_t b)
{
    struct sim_settings *settings = generator->settings;

    if (settings->link_count < SIM_LINKS_MAXIMUM) {
        settings->links[settings->link_count++] = (struct sim_link_settings){
            .ends = {a, b},
            .kind = below(generator, 2),
            .latency_ns = (uint32_t)scale(generator, 2 * SIM_US, 400 * SIM_US),
            .mtu = 1024};
    }
}

/* Up to four nodes: everybody with everybody; five: a ring and chords. Some pairs have two. */
static void choose_links(struct generator *generator)
{
    uint32_t nodes = generator->settings->node_count;

    for (uint32_t a = 0; a < nodes; a++) {
        for (uint32_t b = a + 1; b < nodes; b++) {
            bool is_next = b == a + 1 || (a == 0 && b == nodes - 1);

            if (nodes < 5 || is_next || one_in(generator, 2)) {
                add_link(generator, a, b);
            }
            if (one_in(generator, 6)) {
                add_link(generator, a, b);
            }
        }
    }
}

/* Half of the links as their kind has it; of the others each end as it likes. */
static void choose_options(struct generator *generator)
{
    for (uint32_t link = 0; link < generator->settings->link_count; link++) {
        bool is_plain = one_in(generator, 2);

        for (uint32_t end = 0; end < 2; end++) {
            generator->settings->links[link].options[end] =
                is_plain ? 0 : below(generator, SIM_END_WANTS_CRC + SIM_END_OFFERS_REPLAY + 1);
        }
    }
}

static void choose_settings(struct generator *generator)
{
    struct sim_settings *settings = generator->settings;

    settings->mode = one_in(generator, 4) ? SIM_SAFETY : SIM_LIVENESS;
    settings->first_id = one_in(generator, 8) ? 0 : 1;
    settings->end_ns = scale(generator, 100 * SIM_MS, 800 * SIM_MS);
    settings->keepalive_ns = (20 + 20 * below(generator, 3)) * SIM_MS;
    settings->link_down_after_ns = settings->keepalive_ns * (3 + below(generator, 4));
    settings->dead_after_ns = settings->keepalive_ns * (5 + below(generator, 10));
    settings->ack_delay_ns = scale(generator, 20 * SIM_US, 500 * SIM_US);
    settings->ack_count = 1u << below(generator, 6);
    settings->window = one_in(generator, 3) ? 1 + below(generator, 8) : 64;
    settings->poll_ns = one_in(generator, 8) ? 20 * SIM_US : 0;
    settings->preempt_one_in = one_in(generator, 3) ? 0 : 1u << (1 + below(generator, 7));
    settings->spurious_one_in = one_in(generator, 3) ? 16 : 0;
    settings->random_order = !one_in(generator, 4);
    settings->switch_cost_ns = 200 + below(generator, 2000);
    settings->clock_cost_ns = settings->poll_ns == 0 ? 50 : 4000;
    for (uint32_t i = 0; i < settings->node_count; i++) {
        settings->start_ns[i] = one_in(generator, 2) ? 0 : next(generator) % START_SPREAD_NS;
    }
    choose_links(generator);
}

/* --- Programs
 * ------------------------------------------------------------------------------------- */

static struct sim_entry *add_entry(struct generator *generator, uint32_t kind, uint64_t time_ns)
{
    struct sim_entry *entry = &generator->entries[generator->count];

    if (generator->count == SIM_ENTRIES_MAXIMUM) {
        return NULL;
    }
    generator->count++;
    *entry = (struct sim_entry){.time_ns = time_ns, .kind = kind};
    return entry;
}

/* What programs do, by how often. */
static const struct {
    uint8_t kind;
    uint8_t weight;
} weights[] = {
    {SIM_OP_SEND, 30},        {SIM_OP_RECEIVE, 14},     {SIM_OP_RIGHT_GET, 10},
    {SIM_OP_PORT_CREATE, 10}, {SIM_OP_CALL, 8},         {SIM_OP_STREAM, 5},
    {SIM_OP_FORWARD, 4},      {SIM_OP_PORT_DESTROY, 3}, {SIM_OP_RIGHT_DROP, 5},
    {SIM_OP_SET_CREATE, 2},   {SIM_OP_SET_INSERT, 3},   {SIM_OP_SET_RECEIVE, 4},
    {SIM_OP_SET_REMOVE, 1},   {SIM_OP_SET_DESTROY, 1},  {SIM_OP_PORT_LIMIT, 1},
    {SIM_OP_SEND_RIGHTS, 30}, {SIM_OP_MOVE, 7},         {SIM_OP_RIGHT_MAKE, 3},
    {SIM_OP_BURST, 7},        {SIM_OP_ASK_SENDERS, 6},  {SIM_OP_ASK_DEAD, 4},
};

static uint32_t choose_operation(struct generator *generator)
{
    uint32_t total = 0, at;

    for (uint32_t i = 0; i < sizeof(weights) / sizeof(weights[0]); i++) {
        total += weights[i].weight;
    }
    at = below(generator, total);
    for (uint32_t i = 0;; i++) {
        if (at < weights[i].weight) {
            return weights[i].kind;
        }
        at -= weights[i].weight;
    }
}

static uint32_t choose_size(struct generator *generator)
{
    return (uint32_t)scale(generator, 8, one_in(generator, 8) ? 8000 : 700);
}

static uint32_t slot(struct generator *generator)
{
    return below(generator, generator->spread < 32 ? generator->spread : 32);
}

/* What a message brings: most often one right, seldom the port itself. */
static uint32_t choose_rights(struct generator *generator)
{
    static const uint8_t how[] = {
        SIM_GIVE_MOVE, SIM_GIVE_MOVE,  SIM_GIVE_COPY,      SIM_GIVE_COPY,      SIM_GIVE_MAKE,
        SIM_GIVE_MAKE, SIM_GIVE_MAKE,  SIM_GIVE_MAKE_ONCE, SIM_GIVE_MAKE_ONCE, SIM_GIVE_MAKE_ONCE,
        SIM_GIVE_NULL, SIM_GIVE_BYTES, SIM_GIVE_RECEIVE,
    };
    uint32_t rights = 0;

    for (uint32_t i = 1 + below(generator, one_in(generator, 2) ? 1 : SIM_CARGO); i != 0; i--) {
        rights = rights << 8 | how[below(generator, sizeof(how))] | slot(generator) << 3;
    }
    return rights;
}

static void choose_arguments(struct generator *generator, struct sim_entry *entry)
{
    for (uint32_t i = 0; i < 4; i++) {
        entry->arguments[i] = below(generator, generator->spread);
    }
    entry->duration_ns = one_in(generator, 4) ? 0 : scale(generator, 100 * SIM_US, 100 * SIM_MS);
    switch (entry->kind) {
    case SIM_OP_SEND:
        entry->arguments[1] = choose_size(generator);
        break;
    case SIM_OP_CALL:
        entry->arguments[1] = choose_size(generator);
        entry->duration_ns = scale(generator, SIM_MS, 100 * SIM_MS);
        break;
    case SIM_OP_SEND_RIGHTS:
        entry->arguments[0] =
            below(generator, generator->spread) | (one_in(generator, 2) ? SIM_TO_SERVICE : 0);
        entry->arguments[1] = choose_size(generator);
        entry->arguments[2] = choose_rights(generator);
        entry->arguments[3] = below(generator, 8) | slot(generator) << 8;
        break;
    case SIM_OP_STREAM:
    case SIM_OP_BURST:
        entry->arguments[1] = choose_size(generator);
        entry->arguments[2] = one_in(generator, 2) ? below(generator, 4) : below(generator, 32);
        entry->arguments[3] = one_in(generator, 2) ? 0 : below(generator, 500);
        break;
    default:
        break;
    }
}

/* In bursts: what happens at once meets. */
static void add_program(struct generator *generator, uint32_t operations)
{
    uint64_t time_ns = 0;

    /* With few slots and names the same ports and rights are used again and again. */
    generator->spread = one_in(generator, 2) ? 64 : 2 + below(generator, 4);
    for (uint32_t i = 0; i < operations; i++) {
        struct sim_entry *entry;

        if (i == 0 || one_in(generator, 6)) {
            time_ns = next(generator) % generator->settings->end_ns;
        } else {
            time_ns += next(generator) % (500 * SIM_US);
        }
        if (time_ns >= generator->settings->end_ns) {
            time_ns = generator->settings->end_ns - 1;
        }
        entry = add_entry(generator, choose_operation(generator), time_ns);
        if (entry == NULL) {
            return;
        }
        entry->target =
            below(generator, generator->settings->node_count) | below(generator, SIM_WORKERS) << 8;
        choose_arguments(generator, entry);
    }
}

static void add_step(struct generator *generator, uint32_t kind, uint64_t time_ns, uint32_t node,
                     const uint32_t arguments[4])
{
    struct sim_entry *entry = add_entry(generator, kind, time_ns);

    if (entry == NULL) {
        return;
    }
    entry->target = node | below(generator, SIM_WORKERS) << 8;
    for (uint32_t i = 0; i < 4; i++) {
        entry->arguments[i] = arguments[i];
    }
}

/* A port comes to a node that has messages to it under way, and goes on to a third before they are
 * settled. Whoever is in the way moves, too. */
static void add_chase(struct generator *generator)
{
    uint32_t nodes = generator->settings->node_count;
    uint32_t home = below(generator, nodes);
    uint32_t sender = (home + 1 + below(generator, nodes - 1)) % nodes;
    uint32_t next_home = (sender + 1 + below(generator, nodes - 1)) % nodes;
    uint32_t slot_at_home = below(generator, CHASE_SLOTS);
    uint64_t time_ns = next(generator) % generator->settings->end_ns;

    add_step(generator, SIM_OP_PORT_CREATE, time_ns, home, (uint32_t[4]){slot_at_home});
    add_step(generator, SIM_OP_SEND_RIGHTS, time_ns, home,
             (uint32_t[4]){SIM_TO_SERVICE | sender, 8, SIM_GIVE_MAKE | slot_at_home << 3});
    time_ns += scale(generator, 100 * SIM_US, 2 * SIM_MS);
    for (uint32_t i = 0; i < 2; i++) {
        add_step(generator, SIM_OP_BURST, time_ns, sender,
                 (uint32_t[4]){i, 8, below(generator, 8)});
    }
    add_step(generator, SIM_OP_MOVE, time_ns + next(generator) % (50 * SIM_US), home,
             (uint32_t[4]){slot_at_home, sender});
    for (uint32_t i = 0; i < CHASE_STEPS; i++) {
        time_ns += next(generator) % (200 * SIM_US);
        add_step(generator, SIM_OP_MOVE, time_ns, sender,
                 (uint32_t[4]){below(generator, CHASE_SLOTS), next_home});
    }
}

/* By dice of their own: nothing else that a seed makes depends on them. Not where windows are small: two
 * ports on their way to each other's node, and the windows full of messages to them, wait for ever. */
static void add_chases(struct generator *generator)
{
    uint64_t random = generator->random;

    generator->random = generator->settings->seed * 0x9e3779b97f4a7c15ull;
    if (generator->settings->node_count > 1 && generator->settings->window > CHASE_WINDOW &&
        one_in(generator, 4)) {
        for (uint32_t i = 1 + below(generator, 3); i != 0; i--) {
            add_chase(generator);
        }
    }
    generator->random = random;
}

/* --- Faults
 * --------------------------------------------------------------------------------------- */

static uint64_t any_time(struct generator *generator)
{
    return next(generator) % generator->settings->end_ns;
}

static uint64_t any_duration(struct generator *generator)
{
    return scale(generator, 50 * SIM_US, generator->settings->end_ns);
}

static void add_link_fault(struct generator *generator)
{
    static const uint8_t kinds[] = {
        SIM_FAULT_CUT,      SIM_FAULT_CUT,       SIM_FAULT_CUT,     SIM_FAULT_FLAP,
        SIM_FAULT_LOSS,     SIM_FAULT_DUPLICATE, SIM_FAULT_REORDER, SIM_FAULT_CORRUPT,
        SIM_FAULT_TRUNCATE, SIM_FAULT_JUNK,      SIM_FAULT_STALE,   SIM_FAULT_DELAY,
        SIM_FAULT_JITTER,   SIM_FAULT_JAM,       SIM_FAULT_MUTE,    SIM_FAULT_DOORBELL,
        SIM_FAULT_FULL,     SIM_FAULT_TAP,
    };
    struct sim_entry *entry =
        add_entry(generator, kinds[below(generator, sizeof(kinds))], any_time(generator));

    if (entry == NULL) {
        return;
    }
    entry->target = below(generator, generator->settings->link_count);
    entry->duration_ns = any_duration(generator);
    entry->arguments[0] = one_in(generator, 2) ? 3 : 1 + below(generator, 2);
    entry->arguments[1] = one_in(generator, 4) ? 1000 : (uint32_t)scale(generator, 5, 800);
    if (entry->kind == SIM_FAULT_FLAP) {
        entry->duration_ns = scale(generator, 10 * SIM_US, 20 * SIM_MS);
    } else if (entry->kind == SIM_FAULT_DELAY || entry->kind == SIM_FAULT_JITTER) {
        entry->arguments[1] = (uint32_t)scale(generator, 10, 50000);
    }
}

static void fill_crash(struct generator *generator, struct sim_entry *entry)
{
    entry->arguments[0] = !one_in(generator, 4);
    entry->arguments[1] = one_in(generator, 3) ? 0 : (uint32_t)scale(generator, 10, 20000);
    entry->arguments[2] = (uint32_t)scale(generator, 1, 20000);
    entry->duration_ns = one_in(generator, 3) ? 0 : scale(generator, 10 * SIM_US, 300 * SIM_MS);
}

static void add_node_fault(struct generator *generator)
{
    static const uint8_t kinds[] = {
        SIM_FAULT_CRASH, SIM_FAULT_CRASH, SIM_FAULT_CRASH,   SIM_FAULT_RESET, SIM_FAULT_HANG,
        SIM_FAULT_HANG,  SIM_FAULT_TWICE, SIM_FAULT_SILENCE, SIM_FAULT_ALL,
    };
    struct sim_entry *entry =
        add_entry(generator, kinds[below(generator, sizeof(kinds))], any_time(generator));

    if (entry == NULL) {
        return;
    }
    entry->target = below(generator, generator->settings->node_count);
    entry->duration_ns = any_duration(generator);
    if (entry->kind != SIM_FAULT_HANG && entry->kind != SIM_FAULT_SILENCE) {
        fill_crash(generator, entry);
    }
}

static void add_memory_fault(struct generator *generator)
{
    struct sim_entry *entry = add_entry(generator, SIM_FAULT_HEAP, any_time(generator));

    if (entry != NULL) {
        entry->target = below(generator, generator->settings->node_count);
        entry->duration_ns = any_duration(generator);
        entry->arguments[0] = below(generator, 20);
        entry->arguments[1] = one_in(generator, 2);
    }
}

/* Nobody can be protected from node 0's word: it is never hostile. */
static void add_hostile_node(struct generator *generator)
{
    uint32_t first = generator->settings->first_id == 0 ? 1 : 0;
    struct sim_entry *entry = add_entry(generator, SIM_FAULT_HOSTILE, any_time(generator));

    if (entry != NULL) {
        entry->target = first + below(generator, generator->settings->node_count - first);
        entry->duration_ns = any_duration(generator);
        entry->arguments[0] = one_in(generator, 3) ? 0 : (uint32_t)scale(generator, 5, 1000);
        entry->arguments[1] = one_in(generator, 4) ? 0 : (uint32_t)scale(generator, 50, 20000);
        entry->arguments[2] = one_in(generator, 3);
        entry->arguments[3] = below(generator, 3);
        if (entry->arguments[3] == 2) {
            entry->arguments[0] = 0;
            entry->arguments[1] = (uint32_t)scale(generator, 50, 2000);
        }
    }
}

/* Cut some links one after another, and splice them in another order. */
static void add_swizzle(struct generator *generator)
{
    uint64_t end_ns = generator->settings->end_ns;

    for (uint32_t link = 0; link < generator->settings->link_count; link++) {
        uint64_t cut_ns = next(generator) % (end_ns / 2);
        struct sim_entry *entry;

        if (one_in(generator, 3)) {
            continue;
        }
        entry = add_entry(generator, SIM_FAULT_CUT, cut_ns);
        if (entry == NULL) {
            return;
        }
        entry->target = link;
        entry->duration_ns = end_ns / 2 - cut_ns + next(generator) % (end_ns / 2);
        entry->arguments[0] = one_in(generator, 3) ? 1 + below(generator, 2) : 3;
    }
}

static void add_crash_loop(struct generator *generator)
{
    uint32_t node = below(generator, generator->settings->node_count);
    uint32_t times = 3 + below(generator, 12);

    for (uint32_t i = 0; i < times; i++) {
        struct sim_entry *entry =
            add_entry(generator, one_in(generator, 3) ? SIM_FAULT_RESET : SIM_FAULT_CRASH,
                      any_time(generator));

        if (entry == NULL) {
            return;
        }
        entry->target = node;
        fill_crash(generator, entry);
        entry->duration_ns = scale(generator, SIM_US, 20 * SIM_MS);
    }
}

static void add_some(struct generator *generator, uint32_t most,
                     void (*add_one)(struct generator *generator))
{
    for (uint32_t i = 1 + below(generator, most); i != 0; i--) {
        add_one(generator);
    }
}

static void add_faults(struct generator *generator, uint32_t profile)
{
    switch ((enum sim_profile)profile) {
    case SIM_PROFILE_SINGLE:
        add_some(generator, 1, one_in(generator, 2) ? add_link_fault : add_node_fault);
        break;
    case SIM_PROFILE_LINKS:
        add_some(generator, 8, add_link_fault);
        break;
    case SIM_PROFILE_NODES:
        add_some(generator, 5, add_node_fault);
        break;
    case SIM_PROFILE_ALL:
        add_some(generator, 6, add_link_fault);
        add_some(generator, 4, add_node_fault);
        break;
    case SIM_PROFILE_SWIZZLE:
        add_swizzle(generator);
        break;
    case SIM_PROFILE_CRASH_LOOP:
        add_crash_loop(generator);
        break;
    case SIM_PROFILE_MEMORY:
        add_some(generator, 3, add_memory_fault);
        add_some(generator, 2, one_in(generator, 2) ? add_link_fault : add_node_fault);
        break;
    case SIM_PROFILE_HOSTILE:
        add_hostile_node(generator);
        add_some(generator, 2, one_in(generator, 3) ? add_link_fault : add_hostile_node);
        break;
    case SIM_PROFILE_MIXED:
    case SIM_PROFILE_CONTROL:
    case SIM_PROFILE_COUNT:
        break;
    }
}

/* --- A schedule
 * ----------------------------------------------------------------------------------- */

/* By insertion: stable, and bursts are ordered already. */
static void sort(struct sim_entry *entries, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        struct sim_entry entry = entries[i];
        uint32_t at = i;

        while (at != 0 && entries[at - 1].time_ns > entry.time_ns) {
            entries[at] = entries[at - 1];
            at--;
        }
        entries[at] = entry;
    }
}

static uint32_t choose_profile(struct generator *generator)
{
    static const uint8_t profiles[] = {
        SIM_PROFILE_CONTROL, SIM_PROFILE_SINGLE,  SIM_PROFILE_SINGLE,     SIM_PROFILE_LINKS,
        SIM_PROFILE_LINKS,   SIM_PROFILE_NODES,   SIM_PROFILE_NODES,      SIM_PROFILE_ALL,
        SIM_PROFILE_ALL,     SIM_PROFILE_SWIZZLE, SIM_PROFILE_CRASH_LOOP, SIM_PROFILE_MEMORY,
        SIM_PROFILE_HOSTILE,
    };

    return profiles[below(generator, sizeof(profiles))];
}

/* Whichever node, of any byte order and data model. */
static void choose_agent(uint64_t seed, struct sim_settings *settings)
{
    settings->agent = 1u + (uint32_t)(seed % settings->node_count);
    settings->agent_byte_order = 1u + (uint32_t)(seed / settings->node_count % 2u);
    settings->agent_data_model = 1u + (uint32_t)(seed / settings->node_count / 2u % 2u);
}

uint32_t sim_generate(uint64_t seed, const struct sim_workload *workload,
                      struct sim_settings *settings, struct sim_entry *entries)
{
    uint32_t profile = workload->profile;
    uint32_t room = SIM_ENTRIES_MAXIMUM - FAULTS_MAXIMUM;
    struct generator generator = {
        .random = seed * 0xd1342543de82ef95ull + profile, .settings = settings, .entries = entries};

    *settings = (struct sim_settings){.seed = seed, .node_count = workload->node_count};
    choose_settings(&generator);
    if (workload->has_agent != 0) {
        choose_agent(seed, settings);
    }
    if (profile == SIM_PROFILE_MIXED) {
        profile = choose_profile(&generator);
    }
    add_program(&generator, workload->operations < room ? workload->operations : room);
    add_faults(&generator, profile);
    if (workload->operations != 0) {
        add_chases(&generator);
    }
    sort(entries, generator.count);
    choose_options(&generator);
    return generator.count;
}
