/* SPDX-License-Identifier: MIT
 *
 * What a server object says of itself (docs/spec/server_object.md, section 1). Preprocessed with
 *   SERVER_NAME       "echo"
 *   SERVER_INSTANCE   symbol of the instance variable; one is made unless the server has it
 *   LOAD_COMMANDS     "path" of the load script
 *   UNLOAD_COMMANDS   "path" of the unload script; not defined: there is none
 *   LOADABLE_NAME     "path" of the linked image, from the object's folder; not defined: none is written
 *   IMPORTS           "path" of the lines that tools/imports.py made
 */
#define TEXT_OF(symbol) #symbol
#define TEXT(symbol) TEXT_OF(symbol)

    .section .kern_server.name, "", @progbits
    .ascii SERVER_NAME "\n"

    .section .kern_server.version, "", @progbits
    .ascii "2\n"

    .section .kern_server.instance, "", @progbits
    .ascii TEXT(SERVER_INSTANCE) "\n"

    .section .kern_server.load, "", @progbits
    .incbin LOAD_COMMANDS

#ifdef UNLOAD_COMMANDS
    .section .kern_server.unload, "", @progbits
    .incbin UNLOAD_COMMANDS
#endif

#ifdef LOADABLE_NAME
    .section .kern_server.loadable, "", @progbits
    .ascii LOADABLE_NAME "\n"
#endif

    .section .kern_server.imports, "", @progbits
    .incbin IMPORTS

    .bss
    .balign 8
    .weak SERVER_INSTANCE
    .type SERVER_INSTANCE, @object
SERVER_INSTANCE:
    .zero 8
    .size SERVER_INSTANCE, 8
