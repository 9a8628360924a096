# SPDX-License-Identifier: MIT
"""Finds and opens `libmnlab_core.so`, the firmware core built for this machine.

The library is opened when this module is imported; without it the import fails with an ImportError
that says how to build it. Nothing here knows what the functions mean.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from cffi import FFI

from emulator.core.declarations import DECLARATIONS
from emulator.machines.built import find_library

if TYPE_CHECKING:
    from emulator.core.functions import CoreFunctions

__all__ = ["ffi", "lib", "library_path"]

LIBRARY_NAME: Final = "libmnlab_core.so"
LIBRARY_VARIABLE: Final = "MNLAB_CORE_LIBRARY"  # path of the library, instead of a search


def library_path() -> Path:
    """Return the library to open: named in the environment, else built here, else installed.

    Raises:
        ImportError: There is none.
    """
    path = find_library(LIBRARY_NAME, LIBRARY_VARIABLE)
    if path is None:
        raise ImportError(f"{LIBRARY_NAME} is not built; run: make -C firmware host")
    return path


def _open() -> CoreFunctions:
    path = library_path()
    try:
        opened = cast("CoreFunctions", ffi.dlopen(str(path), os.RTLD_NOW))
        sizes = opened.link_binding_sizes
    except (OSError, AttributeError) as error:
        raise ImportError(f"cannot open {path}: {error}") from error
    for name in ("configuration", "operations", "event", "statistics"):
        has, wanted = getattr(sizes, name), ffi.sizeof(f"struct link_{name}")
        if has != wanted:
            raise ImportError(
                f"{path} is of another version: struct link_{name} has {has} bytes, not {wanted}; "
                "run: make -C firmware host"
            )
    return opened


ffi: Final = FFI()
ffi.cdef(DECLARATIONS)
lib: Final = _open()
