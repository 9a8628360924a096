/* SPDX-License-Identifier: MIT
 *
 * Routes: links that have no cable of their own (docs/spec/link.md, section 6). At its ends a route
 * is a PHY that writes into another link's PHY; in between a forwarder passes frames from one PHY
 * to another and keeps nothing.
 *
 * The link protocol above it is the ordinary one, end to end. What a forwarder drops or takes down
 * with it comes again by the ends' replay; what changes on the way is found by their checksums,
 * which a route always has.
 *
 * Called by the link manager's thread only.
 */
#include "link_manager_private.h"

#include <kernel/frame.h>
#include <kernel/route.h>
#include <kernel/string.h>

/* --- The decision ----------------------------------------------------------------------------- */

uint32_t route_next(const struct boot_transit *transits, uint32_t count, uint32_t link,
                    const struct frame_header *header, size_t length, uint32_t *out)
{
    uint32_t fault = frame_check_header(header, length, FRAME_ROUTE_MTU);

    if (fault != 0) {
        return fault;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct boot_transit *transit = &transits[i];
        uint32_t from = link == transit->links[0] ? 0 : 1;

        if (transit->route != le16_load(header->route) || transit->links[from] != link) {
            continue;
        }
        if (le16_load(header->src_node) != transit->ends[from] ||
            le16_load(header->dst_node) != transit->ends[1 - from]) {
            return LINK_DROP_WRONG_PEER;
        }
        *out = transit->links[1 - from];
        return 0;
    }
    return LINK_DROP_WRONG_NODE;
}

/* --- Passing on ------------------------------------------------------------------------------- */

static bool send_on(struct managed_link *out, const struct frame_header *header,
                    const uint8_t *payload)
{
    if (out->phy == NULL || !link_tx_is_up(&out->link) ||
        out->phy_operations->send(out->phy, header, payload, le32_load(header->length)) !=
            ERROR_NONE) {
        return false;
    }
    link_must_flush(out);
    return true;
}

/* The payload goes from where it lies: nobody here reads it. */
static void pass_on(struct managed_link *in, const uint8_t *frame, size_t length,
                    bool (*confirm)(struct phy *), struct phy *phy)
{
    struct link_manager *manager = in->manager;
    struct frame_header header;
    uint32_t out = 0;
    uint32_t fault;

    memcpy(&header, frame, sizeof(header));
    fault = route_next(manager->configuration.transits, manager->configuration.transit_count,
                       in->index, &header, length, &out);
    if (confirm != NULL && !confirm(phy)) {
        return;
    }
    if (fault == 0 && !link_rx_is_up(&in->link)) {
        fault = LINK_DROP_NOT_TRAINED;
    }
    if (fault == 0 && !send_on(&manager->links[out], &header, frame + sizeof(header))) {
        fault = LINK_DROP_NOT_FORWARDED;
    }
    if (fault != 0) {
        link_count_drop(&in->link, (enum link_drop)fault, 1);
    } else {
        in->link.statistics.forwarded++;
    }
}

/* The route of that number that starts over `via`; null: none ends here. */
static struct managed_link *route_end(const struct managed_link *via, uint16_t route)
{
    struct link_manager *manager = via->manager;

    for (uint32_t i = via->index + 1; i < manager->link_count; i++) {
        struct managed_link *link = &manager->links[i];

        if (link->via == via && link->link.configuration.route == route) {
            return link;
        }
    }
    return NULL;
}

struct managed_link *link_route_receive(struct managed_link *via, const uint8_t *frame,
                                        size_t length, bool (*confirm)(struct phy *),
                                        struct phy *phy)
{
    struct managed_link *end = route_end(via, link_route_number(frame));

    if (end == NULL) {
        pass_on(via, frame, length, confirm, phy);
    }
    return end;
}

/* --- The PHY of an end ------------------------------------------------------------------------ */

/* What the operations below know as struct phy. */
struct route_phy {
    struct mach_host *host;
    struct phy_client client;
    struct managed_link *via;
    uint32_t generation[2]; /* of transmit, of receive */
    bool up[2];
};

static struct route_phy *route_phy_of(struct phy *phy)
{
    return (struct route_phy *)(void *)phy;
}

static int route_start(struct mach_host *host, const struct boot_link *boot,
                       const struct phy_client *client, struct phy **phy)
{
    struct managed_link *via = &host->links->links[boot->via];
    struct route_phy *route;

    if (via->phy == NULL) {
        return ERROR_NOT_FOUND;
    }
    if (via->phy_operations->mtu < FRAME_ROUTE_MTU) {
        return ERROR_UNSUPPORTED;
    }
    route = heap_allocate(host, sizeof(*route));
    if (route == NULL) {
        return ERROR_NO_MEMORY;
    }
    *route = (struct route_phy){.host = host, .client = *client, .via = via};
    *phy = (struct phy *)(void *)route;
    return ERROR_NONE;
}

static void route_stop(struct phy *phy)
{
    heap_free(route_phy_of(phy)->host, phy);
}

static int route_send(struct phy *phy, const void *header, const void *payload,
                      size_t payload_bytes)
{
    struct managed_link *via = route_phy_of(phy)->via;
    int status;

    if (!link_tx_is_up(&via->link)) {
        return ERROR_DOWN;
    }
    status = via->phy_operations->send(via->phy, header, payload, payload_bytes);
    if (status == ERROR_NONE) {
        link_must_flush(via);
    }
    return status;
}

static void route_flush(struct phy *phy)
{
    struct managed_link *via = route_phy_of(phy)->via;

    if (via->phy != NULL) { /* its driver may be gone */
        via->phy_operations->flush(via->phy);
    }
}

/* Everything arrives by way of the other link, and so does the word that there is room. */
static bool route_poll(struct phy *phy, size_t budget_bytes)
{
    (void)phy;
    (void)budget_bytes;
    return false;
}

static bool route_arm(struct phy *phy)
{
    (void)phy;
    return false;
}

static void route_disarm(struct phy *phy)
{
    (void)phy;
}

const struct phy_operations link_route_phy = {
    .kind = "route",
    .mtu = FRAME_ROUTE_MTU,
    .lossless = false,
    .start = route_start,
    .stop = route_stop,
    .send = route_send,
    .flush = route_flush,
    .poll = route_poll,
    .arm = route_arm,
    .disarm = route_disarm,
};

static void tell_carrier(struct route_phy *route, uint32_t direction, bool up)
{
    uint32_t which = direction == PHY_DIRECTION_TX ? 0 : 1;

    if (route->up[which] == up) {
        return;
    }
    route->up[which] = up;
    route->generation[which]++;
    route->client.carrier(route->client.context, direction, up, route->generation[which], true);
}

void link_route_follow(struct managed_link *via)
{
    struct link_manager *manager = via->manager;

    for (uint32_t i = via->index + 1; i < manager->link_count; i++) {
        struct managed_link *link = &manager->links[i];

        if (link->via == via && link->phy != NULL) {
            tell_carrier(route_phy_of(link->phy), PHY_DIRECTION_TX, link_tx_is_up(&via->link));
            tell_carrier(route_phy_of(link->phy), PHY_DIRECTION_RX, link_rx_is_up(&via->link));
        }
    }
}
