/* SPDX-License-Identifier: MIT
 *
 * What the loader on the host and the kernel half of the loader say to each other. Specified in
 * docs/spec/kern_server.md; ids 100 to 112 and 200 to 203 are kern_loader's.
 */
#ifndef ABI_SERVER_MESSAGES_H
#define ABI_SERVER_MESSAGES_H

#include "services.h"

#define SERVER_INTERFACE_VERSION 2u
#define SERVER_NAME_BYTES 32u /* with the NUL */
#define SERVER_PORTS_MAXIMUM 50u
#define SERVER_COMMANDS_MAXIMUM 256u
#define SERVER_IMAGE_MAXIMUM (1024u * 1024u)
#define SERVER_PORT_LIMIT_DEFAULT 16u
#define SERVER_ANSWER_BYTES 8192u /* room for the answer of an SMAP function */
#define SERVER_PANIC_TEXT_BYTES 256u
#define SERVER_BUILD_ID_BYTES 20u
#define SERVER_LOG_ARGUMENTS 5u
#define SERVER_FORMAT_UNKNOWN UINT32_MAX

/* To the servers port. */
enum servers_request {
    SERVERS_ATTACH = 2400,
    SERVERS_RESERVE = 2401,
    SERVERS_RELEASE = 2402,
    SERVERS_WRITE = 2403,
    SERVERS_LOAD = 2404,
    SERVERS_UNLOAD = 2405,
    SERVERS_INFO = 2406,
    SERVERS_LIST = 2407,
    SERVERS_ARM = 2408,
};

/* To a communication port; also the ids of commands. */
enum server_request {
    SERVER_INSTANCE = 100,
    SERVER_BOOT_PORT = 101,
    SERVER_WIRE = 102,
    SERVER_UNWIRE = 103,
    SERVER_PORT_PROC = 104, /* HMAP */
    SERVER_PORT_DEATH_PROC = 105,
    SERVER_CALL = 106,
    SERVER_SHUTDOWN = 107,
    SERVER_LOG_LEVEL = 108,
    SERVER_GET_LOG = 109,
    SERVER_PORT_SERV = 110, /* SMAP */
    SERVER_VERSION = 111,
    SERVER_LOAD_OBJC = 112,
};

/* To the loader. */
enum loader_message {
    LOADER_PANIC = 200,
    LOADER_LOG_DATA = 202,
    LOADER_FIRST_MESSAGE = 203,
};

enum server_state {
    SERVER_ALLOCATED = 2,
    SERVER_LOADING = 3,
    SERVER_LOADED = 4,
    SERVER_UNLOADING = 5,
    SERVER_FAILED = 8,
};

#define SERVER_FLAG_ARM 1u /* of RESERVE */
#define SERVER_UNLOAD_QUIESCE 1u
#define SERVER_UNLOAD_FORCE 2u
#define SERVER_UNLOAD_ARM 4u
#define SERVER_PORT_ADVERTISED 1u
#define SERVER_PORT_MAPPED 2u

struct server_attach_reply {
    struct service_status status;
    le32 version;
    le32 pointer_bytes;
    le64 area_address;
    le64 area_bytes;
    uint8_t build_id[SERVER_BUILD_ID_BYTES];
    le32 page_bytes;
};

struct server_reserve_request {
    char name[SERVER_NAME_BYTES];
    le32 code_bytes;
    le32 const_bytes;
    le32 data_bytes;
    le32 flags;
    le32 port_count;
    le32 reserved;
};

struct server_reserve_port {
    char name[SERVER_NAME_BYTES];
    le32 flags;
    le32 limit;
};

/* followed by the name of each port */
struct server_reserve_reply {
    struct service_status status;
    le32 server_id;
    le32 reserved;
    le64 address;
};

struct server_id_request {
    le32 server_id;
    le32 reserved;
};

struct server_write_request {
    le32 server_id;
    le32 offset;
};

/* followed by the commands, then the image */
struct server_load_request {
    uint8_t build_id[SERVER_BUILD_ID_BYTES];
    le32 server_id;
    le32 image_bytes;
    le32 command_count;
};

struct server_load_reply {
    struct service_status status;
    le32 done;
    le32 value;
    le64 com_port;
};

/* followed by the commands */
struct server_unload_request {
    le32 server_id;
    le32 flags;
    le32 command_count;
    le32 reserved;
};

struct server_unload_reply {
    struct service_status status;
    le32 done;
    le32 value;
};

struct server_command {
    le32 id;
    le32 port;
    le64 function;
    le64 argument;
    le64 reserved;
};

struct server_command_reply {
    struct service_status status;
    le32 value;
    le32 reserved;
};

struct server_log_level_request {
    le32 level;
    le32 reserved;
};

/* followed by a struct server_info_port for each port */
struct server_info_reply {
    struct service_status status;
    le32 server_id;
    le32 state;
    char name[SERVER_NAME_BYTES];
    le64 address;
    le32 code_bytes;
    le32 const_bytes;
    le32 data_bytes;
    le32 links;
    le64 com_port;
    le32 log_level;
    le32 loads;
    le64 log_lost;
    le64 messages;
    le32 port_count;
    le32 reserved;
};

struct server_info_port {
    le64 name;
    le32 flags;
    le32 waiting;
};

/* followed by the ids */
struct server_list_reply {
    struct service_status status;
    le32 count;
    le32 reserved;
};

struct loader_panic {
    le32 server_id;
    le32 reserved;
    char text[SERVER_PANIC_TEXT_BYTES];
};

struct loader_first_message {
    le32 server_id;
    le32 port;
};

/* followed by the entries */
struct loader_log_data {
    le32 server_id;
    le32 count;
    le64 lost;
};

struct server_log_entry {
    le64 time_ns;
    le32 format; /* offset in the image */
    le32 level;
    le64 arguments[SERVER_LOG_ARGUMENTS];
};

_Static_assert(sizeof(struct server_attach_reply) == 56, "attach reply");
_Static_assert(sizeof(struct server_reserve_request) == 56, "reserve request");
_Static_assert(sizeof(struct server_reserve_port) == 40, "reserved port");
_Static_assert(sizeof(struct server_reserve_reply) == 24, "reserve reply");
_Static_assert(sizeof(struct server_load_request) == 32, "load request");
_Static_assert(sizeof(struct server_load_reply) == 24, "load reply");
_Static_assert(sizeof(struct server_command) == 32, "command");
_Static_assert(sizeof(struct server_info_reply) == 112, "info reply");
_Static_assert(sizeof(struct server_log_entry) == 56, "log entry");

#endif
