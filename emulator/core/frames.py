# SPDX-License-Identifier: MIT
"""The C frame codec, with the interface of its Python twin in `emulator.protocol.frames`."""

from __future__ import annotations

from typing import Final

from crc32c import crc32c as _python_crc32c

from emulator.core.library import ffi, lib
from emulator.protocol.constants import FRAME_HEADER_SIZE, LinkDrop

__all__ = ["check_header", "crc32c", "seal"]

_SELF_TEST: Final = b"123456789"


def crc32c(data: bytes, state: int = 0) -> int:
    """Return the CRC-32C of what `state` stands for followed by `data`."""
    return lib.crc32c(state, data, len(data))


def check_header(frame: bytes, mtu: int) -> LinkDrop | None:
    """Return why the header of a received frame cannot be used, or None.

    Args:
        frame: The whole frame as the PHY delivered it.
        mtu: Largest payload this end receives, in bytes.
    """
    header = ffi.new("struct frame_header *")
    known = frame[:FRAME_HEADER_SIZE]
    ffi.memmove(header, known, len(known))
    fault = lib.frame_check_header(header, len(frame), mtu)
    return LinkDrop(fault) if fault else None


def seal(header: bytes) -> bytes:
    """Return the 64 bytes of `header` with their header CRC set."""
    sealed = ffi.new("struct frame_header *")
    ffi.memmove(sealed, header, FRAME_HEADER_SIZE)
    lib.frame_binding_seal(sealed)
    return bytes(ffi.buffer(sealed))


if crc32c(_SELF_TEST) != _python_crc32c(_SELF_TEST):
    raise ImportError("the library computes another CRC-32C than Python does")
