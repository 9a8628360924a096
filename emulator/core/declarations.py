# SPDX-License-Identifier: MIT
"""C declarations of the firmware core, as far as Python calls it.

A copy of what `firmware/include/abi/frame.h`, `abi/services.h`, `kernel/link.h`, `kernel/route.h` and
`firmware/arch/host/link_binding.h` say; `library.py` checks the sizes of the structs against the
library when it is opened.
"""

from __future__ import annotations

from typing import Final

DECLARATIONS: Final = """
uint32_t crc32c(uint32_t state, const void *data, size_t len_bytes);

struct frame_header { uint8_t bytes[64]; };
struct train_record { uint8_t bytes[104]; };
uint32_t frame_check_header(const struct frame_header *header, size_t length, uint32_t mtu);
void frame_binding_seal(struct frame_header *header);

struct boot_transit {
    uint16_t route;
    uint16_t ends[2];
    uint8_t links[2];
};
uint32_t route_next(const struct boot_transit *transits, uint32_t count, uint32_t link,
                    const struct frame_header *header, size_t length, uint32_t *out);

struct cluster_constants {
    uint32_t nodes_max;
    uint32_t window;
    uint64_t keepalive_ns;
    uint64_t link_down_after_ns;
    uint64_t dead_after_ns;
    uint64_t ack_delay_ns;
    uint32_t ack_count;
};

struct link_configuration {
    uint32_t node_id;
    uint32_t peer_id;
    uint64_t incarnation;
    struct cluster_constants constants;
    uint32_t mtu;
    uint32_t message_max;
    bool wants_payload_crc;
    bool offers_replay;
    uint16_t route;
    bool cable_frames;
    uint8_t byte_order;
    uint8_t data_model;
    uint32_t version;
};

struct link_event {
    bool rx_up;
    bool tx_up;
    bool peer_knows_us;
    uint32_t epoch;
    uint32_t peer_epoch;
    uint64_t peer_incarnation;
    uint32_t flipc_next;
    int reason;
};

struct link_operations {
    int (*transmit)(void *, const struct frame_header *, const void *, size_t);
    void *(*allocate)(void *, uint32_t);
    void (*release)(void *, void *);
    int (*deliver)(void *, void *, uint32_t);
    void (*complete)(void *, void *);
    void (*state)(void *, const struct link_event *);
    void (*trained)(void *, uint64_t, const struct train_record *, bool);
    void (*refused)(void *, int, uint64_t, bool);
    void (*dropped)(void *, int, uint32_t);
    void (*carrier)(void *, uint32_t, bool, uint32_t);
    int (*admit)(void *, uint64_t, const struct train_record *);
    void (*flow_read)(void *, uint32_t *, uint32_t *);
    void (*flow_sent)(void *, uint64_t);
    void (*flow_peer)(void *, uint32_t, uint32_t);
    uint32_t (*flow_next)(void *);
    uint64_t (*flow_deadline_ns)(void *);
};

struct link_statistics {
    uint32_t peer;
    uint32_t state;
    uint32_t epoch;
    uint32_t peer_epoch;
    uint64_t trained;
    uint64_t tx_frames;
    uint64_t tx_data_frames;
    uint64_t tx_bytes;
    uint64_t rx_frames;
    uint64_t rx_data_frames;
    uint64_t rx_bytes;
    uint64_t replays;
    uint64_t naks;
    uint64_t round_trip_ns;
    uint64_t forwarded;
    uint64_t drops[19];
};

struct link_binding_sizes {
    uint32_t configuration;
    uint32_t operations;
    uint32_t event;
    uint32_t statistics;
};
extern struct link_binding_sizes link_binding_sizes;

struct link;
struct link *link_binding_create(const struct link_configuration *,
                                 const struct link_operations *, void *context);
void link_binding_destroy(struct link *);
bool link_binding_keeps_messages(const struct link *);
void link_carrier(struct link *, uint32_t direction, bool up, uint32_t generation, bool checked,
                  uint64_t now_ns);
void link_receive(struct link *, const uint8_t *frame, size_t length, void *confirm, void *phy,
                  uint64_t now_ns);
int link_send(struct link *, void *message, uint32_t total_bytes, size_t budget_bytes,
              uint64_t now_ns);
void link_pump(struct link *, size_t budget_bytes, uint64_t now_ns);
void link_tick(struct link *, uint64_t now_ns);
uint64_t link_next_deadline_ns(const struct link *);
void link_peer_died(struct link *, uint64_t incarnation, uint64_t now_ns);
void link_garbage(struct link *, uint64_t now_ns);
void link_close(struct link *, uint64_t now_ns);
void link_read_statistics(const struct link *, struct link_statistics *);
"""
