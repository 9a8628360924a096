/* SPDX-License-Identifier: MIT
 *
 * The shared-memory cable: page 0 of an ivshmem region (the cable page) and the rings behind it.
 * Specified in docs/spec/cable.md. All words little-endian, all offsets from the start of the
 * region.
 *
 * Rule for CABLE_VERSION: raised when a field moves or changes meaning.
 */
#ifndef ABI_CABLE_H
#define ABI_CABLE_H

#include <kernel/little_endian.h>
#include <stdint.h>

#define CABLE_MAGIC 0x454c4241434c4e4dull /* "MNLCABLE" */
#define CABLE_VERSION 1u
#define CABLE_REGION_SIZE 0x200000u
#define CABLE_END_COUNT 2u

/* One direction as one end sees it. Written by the host only. */
struct cable_direction {
    le32 generation; /* one higher at every change of this direction */
    le32 carrier;    /* 1: the direction carries frames */
    le32 ring_offset;
    le32 ring_size; /* bytes of ring data, a power of two */
    le32 doorbell;  /* value for the ivshmem doorbell register that wakes the other side of this
                           ring */
    le32 reserved;
};

struct cable_end {
    le32 ivshmem_id; /* the end's own id (IVPosition register) */
    le32 flags;      /* CABLE_END_* */
    struct cable_direction tx;
    struct cable_direction rx;
    le32 reserved[2];
};

/* Bytes may change on the way (a tapped cable): payload CRC and replay are required. */
#define CABLE_END_CHECKED 1u

struct cable_page {
    le64 magic;
    le32 version;
    le32 region_size;
    le32 reserved[12];
    struct cable_end ends[CABLE_END_COUNT]; /* an end finds its record by its own ivshmem id */
};

/* A ring: one control page, then ring_size bytes of data. One writer a field. */
#define CABLE_RING_CONTROL_SIZE 0x1000u
#define CABLE_RING_DATA_SIZE 0x40000u

/* In session_seen: that session is followed no more, by nobody. No session of the same node. */
#define CABLE_SESSION_LEFT(session) (~(session))

struct cable_ring_control {
    /* producer's line */
    le32 session;      /* names one life of the ring's producer; never 0 while producing */
    le32 head;         /* bytes produced in that life, modulo 2^32 (store-release) */
    le32 space_wanted; /* odd: the producer sleeps until the consumer has made room; raised by
                              one at each change */
    le32 generation;   /* of the direction, when the session began */
    le32 reserved0[12];
    /* consumer's line */
    le32
        session_seen; /* the session the consumer follows; or CABLE_SESSION_LEFT() of it; 0: none */
    le32 tail;        /* bytes consumed of that life, modulo 2^32 (store-release) */
    le32 armed; /* odd: the consumer sleeps, ring its doorbell after producing; raised by one at
                       each change */
    le32 reserved1[13];
};

/* A record: this header, then `length` bytes of frame, padded to 8. A record never wraps: where it
 * would not fit, a marker of CABLE_RECORD_WRAP tells the consumer to go on at offset 0. */
struct cable_record {
    le32 length;
    le32 reserved; /* 0 */
};

#define CABLE_RECORD_WRAP 0xffffffffu
#define CABLE_RECORD_ALIGN 8u
#define CABLE_RING_RESERVE 1024u /* bytes that only frames without payload may use */

_Static_assert(sizeof(struct cable_direction) == 24, "cable direction");
_Static_assert(sizeof(struct cable_end) == 64, "cable end");
_Static_assert(sizeof(struct cable_page) == 192, "cable page");
_Static_assert(sizeof(struct cable_ring_control) == 128, "ring control is two cache lines");
_Static_assert(sizeof(struct cable_record) == 8, "record header");

#endif
