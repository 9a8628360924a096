# SPDX-License-Identifier: MIT
"""What the kernel-server loader answers: its codes, their texts, and the error that carries one.

Numbers 101 to 115 are NeXT's; 3 to 7 are Mach's; from 120 on they are ours. Codes of the kernel
half in the guest are negative (`ErrorCode`), so that no number means two things.
"""

from __future__ import annotations

from enum import IntEnum, unique
from typing import Final

from emulator.errors import MnlabError

__all__ = ["Code", "LoaderError", "error_line", "error_string"]


@unique
class Code(IntEnum):
    """The outcome of a request to the loader."""

    SUCCESS = 0
    NO_SPACE = 3
    INVALID_ARGUMENT = 4
    FAILURE = 5
    RESOURCE_SHORTAGE = 6
    NOT_RECEIVER = 7
    NO_PERMISSION = 101
    UNKNOWN_SERVER = 102
    SERVER_LOADED = 103
    SERVER_UNLOADED = 104
    NEED_SERVER_NAME = 105
    SERVER_EXISTS = 106
    PORT_EXISTS = 107
    SERVER_WONT_LINK = 108
    SERVER_WONT_LOAD = 109
    CANT_OPEN_SERVER = 110
    BAD_RELOCATABLE = 111
    MEM_ALLOC_PROBLEM = 112
    SERVER_DELETED = 113
    WONT_UNLOAD = 114
    DETACHED = 115
    MISSING_DEPENDENCY = 120
    SYMBOL_VERSION = 121
    BUSY = 122
    BAD_HASH = 123
    BAD_PARAMETER = 124
    INIT_FAILED = 125
    QUIESCE_TIMEOUT = 126
    UNSUPPORTED_RELOCATION = 127
    NOT_ELF = 128
    WRONG_ARCHITECTURE = 129
    WRONG_BYTE_ORDER = 130
    TRUNCATED = 131
    MISSING_SECTION = 132
    UNKNOWN_KEYWORD = 133
    TOO_LARGE = 134
    RELOCATION_RANGE = 135
    SECTION_OVERLAP = 136
    NAME_TOO_LONG = 137
    CYCLIC_DEPENDENCY = 138
    SEVERAL_SERVERS = 139
    NODE_UNREACHABLE = 140
    WRONG_IMAGE = 141
    BAD_ID = -303
    BAD_ARGUMENTS = -304


_TEXTS: Final = {
    Code.SUCCESS: "success",
    Code.NO_SPACE: "no space",
    Code.INVALID_ARGUMENT: "invalid argument",
    Code.FAILURE: "failure",
    Code.RESOURCE_SHORTAGE: "resource shortage",
    Code.NOT_RECEIVER: "not the receiver",
    Code.NO_PERMISSION: "permission required",
    Code.UNKNOWN_SERVER: "server not known",
    Code.SERVER_LOADED: "server is loaded",
    Code.SERVER_UNLOADED: "server is not loaded",
    Code.NEED_SERVER_NAME: "server needs a name",
    Code.SERVER_EXISTS: "server exists already",
    Code.PORT_EXISTS: "port exists already",
    Code.SERVER_WONT_LINK: "server will not link",
    Code.SERVER_WONT_LOAD: "server will not load",
    Code.CANT_OPEN_SERVER: "cannot open server",
    Code.BAD_RELOCATABLE: "server object is malformed",
    Code.MEM_ALLOC_PROBLEM: "no memory for the server",
    Code.SERVER_DELETED: "server was deleted meanwhile",
    Code.WONT_UNLOAD: "server did not unload properly",
    Code.DETACHED: "server is detached",
    Code.MISSING_DEPENDENCY: "a server it depends on is missing",
    Code.SYMBOL_VERSION: "symbol is of another kernel",
    Code.BUSY: "server is in use",
    Code.BAD_HASH: "server object is not the one that was allocated",
    Code.BAD_PARAMETER: "load parameter is wrong",
    Code.INIT_FAILED: "server's initialisation failed",
    Code.QUIESCE_TIMEOUT: "server did not come to rest in time",
    Code.UNSUPPORTED_RELOCATION: "relocation type is not supported",
    Code.NOT_ELF: "not an ELF object",
    Code.WRONG_ARCHITECTURE: "object for another architecture",
    Code.WRONG_BYTE_ORDER: "object of the other byte order",
    Code.TRUNCATED: "object is truncated",
    Code.MISSING_SECTION: "section is missing",
    Code.UNKNOWN_KEYWORD: "unknown word in a script",
    Code.TOO_LARGE: "server is too large",
    Code.RELOCATION_RANGE: "relocation out of range",
    Code.SECTION_OVERLAP: "sections overlap",
    Code.NAME_TOO_LONG: "name is too long",
    Code.CYCLIC_DEPENDENCY: "servers depend on each other in a circle",
    Code.SEVERAL_SERVERS: "several servers in one object",
    Code.NODE_UNREACHABLE: "node cannot be reached",
    Code.WRONG_IMAGE: "node runs another kernel image",
    Code.BAD_ID: "bad message id",
    Code.BAD_ARGUMENTS: "bad message arguments",
}


class LoaderError(MnlabError):
    """The loader refused, or could not do it.

    Args:
        code: why.
        what: what exactly, one line; empty: the code's text says it all.
        hint: one line, what to do about it.
    """

    exit_code = 1

    def __init__(self, code: Code, what: str = "", hint: str = "") -> None:
        text = error_string(code)
        super().__init__(f"{text}: {what}" if what else text, hint=hint)
        self.code = code
        self.what = what


def error_string(code: int) -> str:
    """The text of a code, loader's or Mach's."""
    try:
        return _TEXTS[Code(code)]
    except ValueError:
        return "unknown error"


def error_line(label: str, code: int) -> str:
    """A code as the tools print it: label, text and number."""
    return f"{label} : {error_string(code)} ({code})"
