/* SPDX-License-Identifier: MIT
 *
 * The boot page parser and the boot count, on pages and records made here.
 */
#include "selftest.h"
#include <kernel/crc32c.h>
#include <kernel/string.h>

#define REQUIRED "node.id=1\nnode.name=a\nlaunch=1\nseed=1\n"
#define LINK "link=name:l kind:ivshmem slot:1 peer:0"

struct parsed {
    struct boot_page page;
    struct boot_configuration configuration;
    const char *reason;
    int error;
};

/* Too large for a thread's stack twice over, so there is one. */
static struct parsed parsed;

static const struct boot_configuration *parse(const char *text)
{
    memset(&parsed, 0, sizeof(parsed));
    parsed.page.magic = le64_of(BOOT_MAGIC);
    parsed.page.version = le32_of(BOOT_VERSION);
    parsed.page.length = le32_of((uint32_t)strlen(text));
    memcpy(parsed.page.text, text, strlen(text));
    parsed.page.text_crc = le32_of(crc32c(0, text, strlen(text)));
    parsed.error = boot_page_parse(&parsed.page, &parsed.configuration, &parsed.reason);
    return &parsed.configuration;
}

static void boot_page_case(struct selftest *test)
{
    const struct boot_configuration *configuration =
        parse(REQUIRED "window=8\nidle=poll\ntrace=messages\nservers=echo traffic\nnew.key=x\n"
                       "link=name:a-host kind:virtio-serial slot:3 peer:0 payload_crc:1 replay:1\n"
                       "link=kind:ivshmem  peer:2 name:a-b colour:red slot:4 use:raw version:2\n");

    CHECK(test, parsed.error == ERROR_NONE && parsed.reason == NULL);
    CHECK(test, configuration->node_id == 1 && strcmp(configuration->node_name, "a") == 0);
    CHECK(test, configuration->window == 8 && configuration->nodes_max == 64);
    CHECK(test, configuration->keepalive_ns == 100000000 && configuration->ack_count == 16);
    CHECK(test, configuration->idle == BOOT_IDLE_POLL);
    CHECK(test, configuration->trace == BOOT_TRACE_MESSAGES);
    CHECK(test, strcmp(configuration->servers, "echo traffic") == 0);
    CHECK(test, configuration->unknown_keys == 2 && configuration->link_count == 2);
    const struct boot_link *links = configuration->links;
    CHECK(test, strcmp(links[0].name, "a-host") == 0 && links[0].kind == BOOT_LINK_VIRTIO_SERIAL);
    CHECK(test, links[0].slot == 3 && links[0].peer == 0 && links[0].payload_crc);
    CHECK(test, links[0].replay && links[0].use == BOOT_LINK_USE_LINK);
    CHECK(test, strcmp(links[1].name, "a-b") == 0 && links[1].kind == BOOT_LINK_IVSHMEM);
    CHECK(test, links[1].slot == 4 && links[1].peer == 2 && !links[1].payload_crc);
    CHECK(test, !links[1].replay && links[1].use == BOOT_LINK_USE_RAW);
    CHECK(test, links[0].version == 0 && links[1].version == 2);
}

/* One page each, and the reason that it must be refused for. */
static const struct {
    const char *text;
    const char *reason;
} refusals[] = {
    {"", "node.id: 1 to nodes_max-1"},
    {"node.id=1\nlaunch=1\nseed=1\n", "node.name is missing"},
    {"node.id=1\nnode.name=a\nseed=1\n", "launch: 1 to 2147483647"},
    {"node.id=1\nnode.name=a\nlaunch=1\n", "seed: 0 to 2^64-1"},
    {"node.id=0\n" REQUIRED, "node.id: 1 to nodes_max-1"},
    {REQUIRED "nodes_max=1\n", "nodes_max: 2 to 65535"},
    {"node.id=9\nnode.name=a\nlaunch=1\nseed=1\nnodes_max=9\n", "node.id: 1 to nodes_max-1"},
    {"node.name=\n", "node.name: 1 to 31 characters"},
    {"node.name=A\n", "node.name: only a-z, 0-9, _ and - are allowed"},
    {"node.name=abcdefghijklmnopqrstuvwxyz012345\n", "node.name: 1 to 31 characters"},
    {"launch=2147483648\n", "launch: 1 to 2147483647"},
    {"seed=18446744073709551616\n", "seed: 0 to 2^64-1"},
    {"seed=\n", "seed: 0 to 2^64-1"},
    {"seed=-1\n", "seed: 0 to 2^64-1"},
    {REQUIRED "seed=1\n", "a key is given twice"},
    {REQUIRED "hello\n", "a line without ="},
    {REQUIRED "idle=sleep\n", "idle: halt or poll"},
    {REQUIRED "trace=all\n", "trace: digests or messages"},
    {REQUIRED "servers=Echo\n", "servers: names of a-z, 0-9, _ and - separated by blanks"},
    {REQUIRED "seed2=1", "boot page does not end in a newline"},
    {REQUIRED "link=name:l kind:uart slot:1 peer:0\n",
     "link kind: ivshmem, virtio-serial or route"},
    {REQUIRED "link=name:l kind:ivshmem slot:32 peer:0\n", "link slot: 0 to 31"},
    {REQUIRED "link=name:l kind:ivshmem slot:1 peer:64\n", "link peer: 0 to nodes_max-1"},
    {REQUIRED "link=name:l kind:ivshmem slot:1 peer:1\n", "a link to the node itself"},
    {REQUIRED "link=name:l kind:ivshmem slot:1\n",
     "a link lacks one of name, kind, peer, slot; a route one of name, kind, peer, via, route"},
    {REQUIRED LINK "\nlink=name:r kind:route peer:2 via:0\n",
     "a link lacks one of name, kind, peer, slot; a route one of name, kind, peer, via, route"},
    {REQUIRED "link=name:l kind:ivshmem slot:1 peer:2 route:4\n",
     "a link that is no route has via or route"},
    {REQUIRED LINK "\nlink=name:r kind:route peer:2 via:0 route:0\n", "link route: 1 to 65535"},
    {REQUIRED LINK "\nlink=name:r kind:route peer:2 via:1 route:4\n",
     "a route starts over an earlier link that has a cable"},
    {REQUIRED LINK " use:raw\nlink=name:r kind:route peer:2 via:0 route:4\n",
     "a route starts over an earlier link that has a cable"},
    {REQUIRED LINK "\n" LINK "\ntransit=4 2:0\n", "transit: ROUTE NODE:LINK NODE:LINK"},
    {REQUIRED LINK "\n" LINK "\ntransit=0 2:0 3:1\n", "transit: ROUTE NODE:LINK NODE:LINK"},
    {REQUIRED LINK "\n" LINK "\ntransit=4 2:0 3:0\n", "a transit joins two links that have cables"},
    {REQUIRED LINK "\n" LINK "\ntransit=4 2:0 3:2\n", "a transit joins two links that have cables"},
    {REQUIRED LINK " slot:1\n", "a link attribute is given twice"},
    {REQUIRED LINK " replay:2\n", "link replay: 0 or 1"},
    {REQUIRED LINK " payload_crc:\n", "link payload_crc: 0 or 1"},
    {REQUIRED LINK " use:spare\n", "link use: link, raw or driver"},
    {REQUIRED LINK " driver:\n", "link driver: 1 to 31 printable characters"},
    {REQUIRED LINK " use:driver\n", "link use:driver and driver:NAME belong together"},
    {REQUIRED LINK " driver:mine\n", "link use:driver and driver:NAME belong together"},
    {REQUIRED LINK " version:0\n", "link version: 1 or more"},
    {REQUIRED "link=name: kind:ivshmem slot:1 peer:0\n", "link name: 1 to 31 printable characters"},
};

static void boot_page_refusals_case(struct selftest *test)
{
    for (unsigned i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        parse(refusals[i].text);
        if (parsed.error == ERROR_GARBAGE && strcmp(parsed.reason, refusals[i].reason) == 0)
            continue;
        selftest_fail(test, __FILE__, __LINE__, refusals[i].reason);
    }
}

static void boot_page_driver_case(struct selftest *test)
{
    const struct boot_link *link = parse(REQUIRED LINK " use:driver driver:mine\n")->links;

    CHECK(test, parsed.error == ERROR_NONE && link->use == BOOT_LINK_USE_DRIVER);
    CHECK(test, strcmp(link->driver, "mine") == 0);
}

static void boot_page_routes_case(struct selftest *test)
{
    const struct boot_configuration *configuration =
        parse(REQUIRED LINK "\n" LINK "\nlink=name:r kind:route peer:2 via:1 route:65535\n"
                            "transit=4 2:0 3:1\n");

    CHECK(test, parsed.error == ERROR_NONE && configuration->link_count == 3);
    CHECK(test, configuration->links[2].kind == BOOT_LINK_ROUTE);
    CHECK(test, configuration->links[2].via == 1 && configuration->links[2].route == 65535);
    CHECK(test, configuration->transit_count == 1 && configuration->transits[0].route == 4);
    CHECK(test, configuration->transits[0].ends[0] == 2 && configuration->transits[0].ends[1] == 3);
    CHECK(test,
          configuration->transits[0].links[0] == 0 && configuration->transits[0].links[1] == 1);
}

/* As many links as there may be, then one more. */
static void boot_page_links_case(struct selftest *test)
{
    static char text[BOOT_TEXT_MAXIMUM + 1];
    static const char line[] = LINK "\n";
    size_t length = sizeof(REQUIRED) - 1;

    memcpy(text, REQUIRED, length);
    for (unsigned i = 0; i < BOOT_LINKS_MAXIMUM; i++, length += sizeof(line) - 1)
        memcpy(text + length, line, sizeof(line) - 1);
    text[length] = '\0';
    CHECK(test, parse(text)->link_count == BOOT_LINKS_MAXIMUM && parsed.error == ERROR_NONE);
    memcpy(text + length, line, sizeof(line));
    parse(text);
    CHECK(test, parsed.error == ERROR_GARBAGE && strcmp(parsed.reason, "more than 64 links") == 0);
}

static void boot_count_case(struct selftest *test)
{
    struct boot_count record;

    memset(&record, 0xff, sizeof(record));
    CHECK(test, boot_count_raise(&record) == 1);
    CHECK(test, le64_load(record.magic) == BOOT_COUNT_MAGIC &&
                    le32_load(record.check) == crc32c(0, &record, 12));
    CHECK(test, boot_count_raise(&record) == 2 && le32_load(record.count) == 2);
    record.count = le32_of(7); /* the checksum no longer fits */
    CHECK(test, boot_count_raise(&record) == 1);
    le64_add(&record.magic, 1);
    record.check = le32_of(crc32c(0, &record, 12));
    CHECK(test, boot_count_raise(&record) == 1);
}

const struct selftest_case selftest_boot_cases[] = {
    {"boot_page", boot_page_case},
    {"boot_page_refusals", boot_page_refusals_case},
    {"boot_page_driver", boot_page_driver_case},
    {"boot_page_routes", boot_page_routes_case},
    {"boot_page_links", boot_page_links_case},
    {"boot_count", boot_count_case},
    {NULL, NULL},
};
