/* SPDX-License-Identifier: MIT
 *
 * The boot page: text of docs/spec/boot.md into struct boot_configuration. Pure; the page is
 * hostile input, already copied.
 *
 * Keys and attributes are tables of {name, parser}. An unknown one is counted and skipped; a known
 * one with a bad value, or given twice, makes the page invalid. Rules between keys are checked at
 * the end, since lines come in any order.
 */
#include <kernel/boot.h>
#include <kernel/crc32c.h>
#include <kernel/string.h>

/* A piece of the text; not NUL-terminated. */
struct span {
    const char *start;
    size_t length;
};

struct parser {
    struct boot_configuration *configuration;
    uint64_t keys_seen; /* one bit for each entry of `keys` */
};

#define LAUNCH_MAXIMUM 0x7fffffffu
#define NODES_MAXIMUM 0xffffu /* node ids have 16 bits in names */
#define ROUTES_MAXIMUM 0xffffu
#define WINDOW_MAXIMUM 0xffffu
#define DURATION_MAXIMUM_NS (UINT64_MAX / 4) /* sums of a few never wrap */

/* --- Spans ------------------------------------------------------------------------------------ */

static bool span_equals(struct span span, const char *text)
{
    return strlen(text) == span.length && memcmp(span.start, text, span.length) == 0;
}

/* Cut `*rest` at the first `separator`: returns what is before it; `*rest` becomes what is after
 * it. */
static struct span span_cut(struct span *rest, char separator)
{
    struct span head = *rest;
    size_t length = 0;

    while (length < rest->length && rest->start[length] != separator)
        length++;
    head.length = length;
    if (length < rest->length)
        length++;
    rest->start += length;
    rest->length -= length;
    return head;
}

static bool span_contains(struct span span, char character)
{
    for (size_t i = 0; i < span.length; i++)
        if (span.start[i] == character)
            return true;
    return false;
}

/* Decimal digits only, in [minimum, maximum]. */
static bool span_number(struct span span, uint64_t minimum, uint64_t maximum, uint64_t *number)
{
    uint64_t value = 0;

    if (span.length == 0)
        return false;
    for (size_t i = 0; i < span.length; i++) {
        if (span.start[i] < '0' || span.start[i] > '9')
            return false;
        if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(span.start[i] - '0'), &value))
            return false;
    }
    *number = value;
    return value >= minimum && value <= maximum;
}

static bool span_number32(struct span span, uint32_t minimum, uint32_t maximum, uint32_t *number)
{
    uint64_t value;

    if (!span_number(span, minimum, maximum, &value))
        return false;
    *number = (uint32_t)value;
    return true;
}

static bool span_copy(struct span span, char *out, size_t size)
{
    if (span.length == 0 || span.length >= size)
        return false;
    memcpy(out, span.start, span.length);
    out[span.length] = '\0';
    return true;
}

static bool is_name_character(char character)
{
    return (character >= 'a' && character <= 'z') || (character >= '0' && character <= '9') ||
           character == '_' || character == '-';
}

/* Index of the span in `words`, or negative. */
static int span_choose(struct span span, const char *const *words, int count)
{
    for (int i = 0; i < count; i++)
        if (span_equals(span, words[i]))
            return i;
    return -1;
}

/* --- Links ------------------------------------------------------------------------------------ */

static bool link_name(struct span value, struct boot_link *link)
{
    for (size_t i = 0; i < value.length; i++)
        if (value.start[i] <= ' ' || value.start[i] > '~')
            return false;
    return span_copy(value, link->name, sizeof(link->name));
}

static bool link_kind(struct span value, struct boot_link *link)
{
    static const char *const words[] = {"ivshmem", "virtio-serial", "route"};
    int choice = span_choose(value, words, 3);

    link->kind = (enum boot_link_kind)choice;
    return choice >= 0;
}

static bool link_slot(struct span value, struct boot_link *link)
{
    return span_number32(value, 0, 31, &link->slot);
}

static bool link_peer(struct span value, struct boot_link *link)
{
    return span_number32(value, 0, NODES_MAXIMUM - 1, &link->peer);
}

static bool link_via(struct span value, struct boot_link *link)
{
    return span_number32(value, 0, BOOT_LINKS_MAXIMUM - 1, &link->via);
}

static bool link_route(struct span value, struct boot_link *link)
{
    return span_number32(value, 1, ROUTES_MAXIMUM, &link->route);
}

static bool flag(struct span value, bool *out)
{
    static const char *const words[] = {"0", "1"};
    int choice = span_choose(value, words, 2);

    *out = choice == 1;
    return choice >= 0;
}

static bool link_payload_crc(struct span value, struct boot_link *link)
{
    return flag(value, &link->payload_crc);
}

static bool link_replay(struct span value, struct boot_link *link)
{
    return flag(value, &link->replay);
}

static bool link_use(struct span value, struct boot_link *link)
{
    static const char *const words[] = {"link", "raw", "driver"};
    int choice = span_choose(value, words, 3);

    link->use = (enum boot_link_use)choice;
    return choice >= 0;
}

static bool link_driver(struct span value, struct boot_link *link)
{
    return span_copy(value, link->driver, sizeof(link->driver));
}

static bool link_version(struct span value, struct boot_link *link)
{
    return span_number32(value, 1, UINT32_MAX, &link->version);
}

static const struct {
    const char *name;
    bool (*parse)(struct span value, struct boot_link *link);
    bool required;
    const char *broken;
} attributes[] = {
    {"name", link_name, true, "link name: 1 to 31 printable characters"},
    {"kind", link_kind, true, "link kind: ivshmem, virtio-serial or route"},
    {"slot", link_slot, false, "link slot: 0 to 31"},
    {"peer", link_peer, true, "link peer: a node id"},
    {"payload_crc", link_payload_crc, false, "link payload_crc: 0 or 1"},
    {"replay", link_replay, false, "link replay: 0 or 1"},
    {"use", link_use, false, "link use: link, raw or driver"},
    {"driver", link_driver, false, "link driver: 1 to 31 printable characters"},
    {"version", link_version, false, "link version: 1 or more"},
    {"via", link_via, false, "link via: the index of a link"},
    {"route", link_route, false, "link route: 1 to 65535"},
};
#define ATTRIBUTE_COUNT (sizeof(attributes) / sizeof(attributes[0]))

static bool is_of_route(unsigned index)
{
    return attributes[index].parse == link_via || attributes[index].parse == link_route;
}

static bool is_attribute_required(unsigned index, enum boot_link_kind kind)
{
    if (attributes[index].parse == link_slot)
        return kind != BOOT_LINK_ROUTE;
    return is_of_route(index) ? kind == BOOT_LINK_ROUTE : attributes[index].required;
}

static const char *parse_attribute(struct parser *parser, struct span attribute,
                                   struct boot_link *link, uint32_t *seen)
{
    struct span value = attribute;
    struct span name = span_cut(&value, ':');

    for (unsigned i = 0; i < ATTRIBUTE_COUNT; i++) {
        if (!span_equals(name, attributes[i].name))
            continue;
        if ((*seen & 1u << i) != 0)
            return "a link attribute is given twice";
        *seen |= 1u << i;
        return attributes[i].parse(value, link) ? NULL : attributes[i].broken;
    }
    parser->configuration->unknown_keys++;
    return NULL;
}

static const char *parse_link(struct parser *parser, struct span value)
{
    struct boot_configuration *configuration = parser->configuration;
    struct boot_link *link = &configuration->links[configuration->link_count];
    uint32_t seen = 0;
    const char *reason;

    if (configuration->link_count == BOOT_LINKS_MAXIMUM)
        return "more than 64 links";
    while (value.length > 0) {
        struct span attribute = span_cut(&value, ' ');

        if (attribute.length == 0)
            continue;
        reason = parse_attribute(parser, attribute, link, &seen);
        if (reason != NULL)
            return reason;
    }
    for (unsigned i = 0; i < ATTRIBUTE_COUNT; i++) {
        if (is_of_route(i) && link->kind != BOOT_LINK_ROUTE && (seen & 1u << i) != 0)
            return "a link that is no route has via or route";
        if (is_attribute_required(i, link->kind) && (seen & 1u << i) == 0)
            return "a link lacks one of name, kind, peer, slot; a route one of name, kind, peer, "
                   "via, route";
    }
    if ((link->use == BOOT_LINK_USE_DRIVER) != (link->driver[0] != '\0'))
        return "link use:driver and driver:NAME belong together";
    configuration->link_count++;
    return NULL;
}

/* --- Transits --------------------------------------------------------------------------------- */

/* NODE:LINK */
static bool transit_end(struct span value, uint16_t *end, uint8_t *link)
{
    struct span node = span_cut(&value, ':');
    uint32_t node_id, index;

    if (!span_number32(node, 0, NODES_MAXIMUM - 1, &node_id) ||
        !span_number32(value, 0, BOOT_LINKS_MAXIMUM - 1, &index))
        return false;
    *end = (uint16_t)node_id;
    *link = (uint8_t)index;
    return true;
}

static const char *parse_transit(struct parser *parser, struct span value)
{
    struct boot_configuration *configuration = parser->configuration;
    struct boot_transit *transit = &configuration->transits[configuration->transit_count];
    struct span number = span_cut(&value, ' ');
    struct span first = span_cut(&value, ' ');
    uint32_t route;

    if (configuration->transit_count == BOOT_TRANSITS_MAXIMUM)
        return "more than 256 transits";
    if (!span_number32(number, 1, ROUTES_MAXIMUM, &route) ||
        !transit_end(first, &transit->ends[0], &transit->links[0]) ||
        !transit_end(value, &transit->ends[1], &transit->links[1]))
        return "transit: ROUTE NODE:LINK NODE:LINK";
    transit->route = (uint16_t)route;
    configuration->transit_count++;
    return NULL;
}

/* --- Keys ------------------------------------------------------------------------------------- */

static const char *parse_node_name(struct parser *parser, struct span value)
{
    struct boot_configuration *configuration = parser->configuration;

    for (size_t i = 0; i < value.length; i++)
        if (!is_name_character(value.start[i]))
            return "node.name: only a-z, 0-9, _ and - are allowed";
    return span_copy(value, configuration->node_name, sizeof(configuration->node_name))
               ? NULL
               : "node.name: 1 to 31 characters";
}

static const char *parse_idle(struct parser *parser, struct span value)
{
    static const char *const words[] = {"halt", "poll"};
    int choice = span_choose(value, words, 2);

    parser->configuration->idle = (enum boot_idle)choice;
    return choice >= 0 ? NULL : "idle: halt or poll";
}

static const char *parse_trace(struct parser *parser, struct span value)
{
    static const char *const words[] = {"digests", "messages"};
    int choice = span_choose(value, words, 2);

    parser->configuration->trace = (enum boot_trace)choice;
    return choice >= 0 ? NULL : "trace: digests or messages";
}

static const char *parse_servers(struct parser *parser, struct span value)
{
    char *out = parser->configuration->servers;

    for (size_t i = 0; i < value.length; i++)
        if (!is_name_character(value.start[i]) && value.start[i] != ' ')
            return "servers: names of a-z, 0-9, _ and - separated by blanks";
    out[0] = '\0';
    if (value.length > 0 && !span_copy(value, out, BOOT_SERVERS_SIZE))
        return "servers: more than 1023 characters";
    return NULL;
}

#define FIELD(member) __builtin_offsetof(struct boot_configuration, member)

static const struct {
    const char *name;
    const char *(*parse)(struct parser *parser, struct span value); /* null: a number */
    size_t offset;
    unsigned width; /* bytes of the number's field */
    uint64_t minimum, maximum;
    bool required;
    bool repeated;
    const char *broken; /* for numbers, and for required keys that are missing */
} keys[] = {
    {"node.id", NULL, FIELD(node_id), 4, 1, NODES_MAXIMUM - 1, true, false,
     "node.id: 1 to nodes_max-1"},
    {"node.name", parse_node_name, 0, 0, 0, 0, true, false, "node.name is missing"},
    {"launch", NULL, FIELD(launch), 4, 1, LAUNCH_MAXIMUM, true, false, "launch: 1 to 2147483647"},
    {"seed", NULL, FIELD(seed), 8, 0, UINT64_MAX, true, false, "seed: 0 to 2^64-1"},
    {"nodes_max", NULL, FIELD(nodes_max), 4, 2, NODES_MAXIMUM, false, false,
     "nodes_max: 2 to 65535"},
    {"window", NULL, FIELD(window), 4, 1, WINDOW_MAXIMUM, false, false, "window: 1 to 65535"},
    {"keepalive_ns", NULL, FIELD(keepalive_ns), 8, 1, DURATION_MAXIMUM_NS, false, false,
     "keepalive_ns: 1 or more"},
    {"link_down_after_ns", NULL, FIELD(link_down_after_ns), 8, 1, DURATION_MAXIMUM_NS, false, false,
     "link_down_after_ns: 1 or more"},
    {"dead_after_ns", NULL, FIELD(dead_after_ns), 8, 1, DURATION_MAXIMUM_NS, false, false,
     "dead_after_ns: 1 or more"},
    {"ack_delay_ns", NULL, FIELD(ack_delay_ns), 8, 0, DURATION_MAXIMUM_NS, false, false,
     "ack_delay_ns: a number"},
    {"ack_count", NULL, FIELD(ack_count), 4, 1, WINDOW_MAXIMUM, false, false,
     "ack_count: 1 to 65535"},
    {"poll_ns", NULL, FIELD(poll_ns), 8, 0, DURATION_MAXIMUM_NS, false, false, "poll_ns: a number"},
    {"idle", parse_idle, 0, 0, 0, 0, false, false, NULL},
    {"trace", parse_trace, 0, 0, 0, 0, false, false, NULL},
    {"servers", parse_servers, 0, 0, 0, 0, false, false, NULL},
    {"link", parse_link, 0, 0, 0, 0, false, true, NULL},
    {"transit", parse_transit, 0, 0, 0, 0, false, true, NULL},
};
#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))

static const char *parse_number(struct parser *parser, unsigned key, struct span value)
{
    uint8_t *field = (uint8_t *)parser->configuration + keys[key].offset;
    uint64_t number;
    uint32_t narrow;

    if (!span_number(value, keys[key].minimum, keys[key].maximum, &number))
        return keys[key].broken;
    narrow = (uint32_t)number;
    if (keys[key].width == sizeof(narrow))
        memcpy(field, &narrow, sizeof(narrow));
    else
        memcpy(field, &number, sizeof(number));
    return NULL;
}

static const char *parse_line(struct parser *parser, struct span line)
{
    struct span value = line;
    struct span key = span_cut(&value, '=');

    if (!span_contains(line, '='))
        return "a line without =";
    for (unsigned i = 0; i < KEY_COUNT; i++) {
        if (!span_equals(key, keys[i].name))
            continue;
        if (!keys[i].repeated && (parser->keys_seen & 1ull << i) != 0)
            return "a key is given twice";
        parser->keys_seen |= 1ull << i;
        return keys[i].parse != NULL ? keys[i].parse(parser, value)
                                     : parse_number(parser, i, value);
    }
    parser->configuration->unknown_keys++;
    return NULL;
}

/* Is this the index of a link with a cable that carries frames? */
static bool is_cable(const struct boot_configuration *configuration, uint32_t index)
{
    return index < configuration->link_count &&
           configuration->links[index].kind != BOOT_LINK_ROUTE &&
           configuration->links[index].use == BOOT_LINK_USE_LINK;
}

static const char *check_routes(const struct boot_configuration *configuration)
{
    for (uint32_t i = 0; i < configuration->link_count; i++) {
        const struct boot_link *link = &configuration->links[i];

        if (link->kind == BOOT_LINK_ROUTE &&
            (link->via >= i || !is_cable(configuration, link->via) ||
             link->use != BOOT_LINK_USE_LINK))
            return "a route starts over an earlier link that has a cable";
    }
    for (uint32_t i = 0; i < configuration->transit_count; i++) {
        const struct boot_transit *transit = &configuration->transits[i];

        if (!is_cable(configuration, transit->links[0]) ||
            !is_cable(configuration, transit->links[1]) || transit->links[0] == transit->links[1])
            return "a transit joins two links that have cables";
    }
    return NULL;
}

static const char *check_rules(const struct parser *parser)
{
    const struct boot_configuration *configuration = parser->configuration;

    for (unsigned i = 0; i < KEY_COUNT; i++)
        if (keys[i].required && (parser->keys_seen & 1ull << i) == 0)
            return keys[i].broken;
    if (configuration->node_id >= configuration->nodes_max)
        return "node.id: 1 to nodes_max-1";
    for (uint32_t i = 0; i < configuration->link_count; i++) {
        if (configuration->links[i].peer >= configuration->nodes_max)
            return "link peer: 0 to nodes_max-1";
        if (configuration->links[i].peer == configuration->node_id)
            return "a link to the node itself";
    }
    return check_routes(configuration);
}

static const char *check_header(const struct boot_page *page)
{
    uint32_t length = le32_load(page->length);

    if (le64_load(page->magic) != BOOT_MAGIC)
        return "no boot page: wrong magic";
    if (le32_load(page->version) != BOOT_VERSION)
        return "boot page of another version";
    if (length > BOOT_TEXT_MAXIMUM)
        return "boot page longer than 4032 bytes";
    if (crc32c(0, page->text, length) != le32_load(page->text_crc))
        return "boot page with a wrong checksum";
    if (length > 0 && page->text[length - 1] != '\n')
        return "boot page does not end in a newline";
    return NULL;
}

static const char *parse_page(const struct boot_page *page, struct parser *parser)
{
    const char *reason = check_header(page);
    struct span rest = {page->text, le32_load(page->length)};

    while (reason == NULL && rest.length > 0)
        reason = parse_line(parser, span_cut(&rest, '\n'));
    return reason != NULL ? reason : check_rules(parser);
}

int boot_page_parse(const struct boot_page *page, struct boot_configuration *configuration,
                    const char **reason)
{
    struct parser parser = {.configuration = configuration};

    /* Defaults of docs/spec/boot.md. */
    memset(configuration, 0, sizeof(*configuration));
    configuration->nodes_max = 64;
    configuration->window = 64;
    configuration->keepalive_ns = 100000000;
    configuration->link_down_after_ns = 1000000000;
    configuration->dead_after_ns = 3000000000;
    configuration->ack_delay_ns = 100000;
    configuration->ack_count = 16;
    configuration->poll_ns = 50000;
    *reason = parse_page(page, &parser);
    return *reason == NULL ? ERROR_NONE : ERROR_GARBAGE;
}
