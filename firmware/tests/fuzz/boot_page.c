/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: the boot page. The first byte says whether the rest is text under a right header, or
 * the page as it stands. Promised: a page is refused with a reason, or what was read keeps the
 * bounds that everybody relies on.
 *
 * Built with -fsanitize=fuzzer,address,undefined; corpus in corpus/boot_page.
 */
#include "core/boot_page.c" /* a guest's own, not in the host library */
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void fill(struct boot_page *page, const uint8_t *data, size_t size)
{
    bool is_text = size != 0 && (data[0] & 1u) != 0;

    memset(page, 0, sizeof(*page));
    data += size != 0;
    size -= size != 0;
    if (!is_text) {
        memcpy(page, data, size < sizeof(*page) ? size : sizeof(*page));
        return;
    }
    size = size < sizeof(page->text) ? size : sizeof(page->text);
    page->magic = le64_of(BOOT_MAGIC);
    page->version = le32_of(BOOT_VERSION);
    page->length = le32_of((uint32_t)size);
    memcpy(page->text, data, size);
    page->text_crc = le32_of(crc32c(0, page->text, size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct boot_configuration configuration;
    static struct boot_page page;
    const char *reason = NULL;

    fill(&page, data, size);
    if (boot_page_parse(&page, &configuration, &reason) != 0) {
        must(reason != NULL);
        return 0;
    }
    must(configuration.node_id < configuration.nodes_max);
    must(configuration.link_count <= BOOT_LINKS_MAXIMUM);
    must(configuration.transit_count <= BOOT_TRANSITS_MAXIMUM);
    for (uint32_t i = 0; i < configuration.link_count; i++) {
        const struct boot_link *link = &configuration.links[i];

        must(memchr(link->name, 0, sizeof(link->name)) != NULL);
        must(link->peer < configuration.nodes_max && link->slot < 32);
        must(link->route == 0 || link->via < configuration.link_count);
    }
    for (uint32_t i = 0; i < configuration.transit_count; i++) {
        const struct boot_transit *transit = &configuration.transits[i];

        must(transit->links[0] < configuration.link_count);
        must(transit->links[1] < configuration.link_count);
        must(transit->links[0] != transit->links[1]);
    }
    return 0;
}
