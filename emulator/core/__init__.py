# SPDX-License-Identifier: MIT
"""The firmware's core on this machine: CRC-32C, frame codec and link protocol, called from Python.

Importing the package opens `libmnlab_core.so` (`make -C firmware host`) and fails with an
ImportError where it is missing or of another version.
"""

from emulator.core.frames import check_header, crc32c, seal
from emulator.core.library import library_path
from emulator.core.link import CLinkEnd

__all__ = ["CLinkEnd", "check_header", "crc32c", "library_path", "seal"]
