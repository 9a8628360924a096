/* SPDX-License-Identifier: MIT
 *
 * Words of kernel/little_endian.h against their bytes, alone and in structs of abi/. The guests run
 * the same comparisons (tests/guest/test_text.c), so a big-endian CPU does as well.
 */
#include "unit.h"

#include <abi/flipc.h>
#include <abi/frame.h>
#include <kernel/mach_node_link.h>
#include <kernel/shared.h>
#include <string.h>

static void test_words_are_their_bytes(void)
{
    static const uint8_t bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    le16 two = le16_of(0x0201);
    le32 four = le32_of(0x04030201);
    le64 eight = le64_of(0x0807060504030201);

    EXPECT(sizeof(two) == 2 && sizeof(four) == 4 && sizeof(eight) == 8);
    EXPECT(memcmp(&two, bytes, 2) == 0 && le16_load(two) == 0x0201);
    EXPECT(memcmp(&four, bytes, 4) == 0 && le32_load(four) == 0x04030201);
    EXPECT(memcmp(&eight, bytes, 8) == 0 && le64_load(eight) == 0x0807060504030201);
}

static void test_adding_carries_and_wraps(void)
{
    le32 four = le32_of(0x00ffffff);
    le64 eight = le64_of(UINT64_MAX);

    le32_add(&four, 1);
    EXPECT_EQUAL(le32_load(four), 0x01000000);
    le64_add(&eight, 2);
    EXPECT_EQUAL(le64_load(eight), 1);
    EXPECT((int32_t)le32_load(le32_of((uint32_t)-7)) == -7);
}

static void test_shared_words_are_their_bytes(void)
{
    le64 words[2] = {le64_of(0), le64_of(0)};
    static const uint8_t bytes[16] = {8, 7, 6, 5, 4, 3, 2, 1, 0x22, 0x11, 0, 0, 0x44, 0x33, 0, 0};

    shared_store64_release(&words[0], 0x0102030405060708);
    shared_store16((le16 *)(void *)&words[1], 0x1122);
    shared_store32_release((le32 *)(void *)&words[1] + 1, 0x3344);
    EXPECT(memcmp(words, bytes, sizeof(bytes)) == 0);
    EXPECT_EQUAL(shared_load64_acquire(&words[0]), 0x0102030405060708);
    EXPECT_EQUAL(shared_load32((const le32 *)(const void *)&words[1] + 1), 0x3344);
}

static void test_a_message_header_is_its_bytes(void)
{
    static const uint8_t bytes[24] = {2, 1, 0, 1, 7, 0, 0, 0, 8,    7, 6, 5,
                                      4, 3, 2, 1, 9, 0, 0, 0, 0x20, 1, 0, 0};
    const struct wire_mnl_header header = {.sub = MNL_SUB_FLIPC,
                                           .cmd = FLIPC_IPC,
                                           .flags = MNL_FLAG_SEQUENCED,
                                           .node_id = le32_of(7),
                                           .object = le64_of(0x0102030405060708),
                                           .options = le32_of(9),
                                           .size = le32_of(0x120)};

    EXPECT(memcmp(&header, bytes, sizeof(bytes)) == 0);
    EXPECT_EQUAL(mnl_msg_payload_bytes((const struct mnl_msg *)(const void *)&header), 0x120);
}

static const struct unit_test little_endian_tests[] = {
    {"words are their bytes", test_words_are_their_bytes},
    {"adding carries and wraps", test_adding_carries_and_wraps},
    {"shared words are their bytes", test_shared_words_are_their_bytes},
    {"a message header is its bytes", test_a_message_header_is_its_bytes},
};
UNIT_SUITE("little_endian", little_endian_tests);
