# SPDX-License-Identifier: MIT
"""Finds and opens `libmnlab_sim.so`, the simulator built for this machine."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from cffi import FFI

from emulator.errors import HostError
from emulator.machines.built import find_library
from emulator.sim.declarations import DECLARATIONS

if TYPE_CHECKING:
    from emulator.sim.functions import SimFunctions

__all__ = ["LIBRARY_VARIABLE", "ffi", "open_library"]

LIBRARY_NAME: Final = "libmnlab_sim.so"
LIBRARY_VARIABLE: Final = "MNLAB_SIM_LIBRARY"  # path of the library, instead of a search
_BUILD: Final = "make -C firmware sim"

ffi: Final = FFI()
ffi.cdef(DECLARATIONS)


def _library_path() -> Path:
    path = find_library(LIBRARY_NAME, LIBRARY_VARIABLE)
    if path is None:
        raise HostError("the simulator is not built", f"run: {_BUILD}")
    return path


@functools.cache
def open_library() -> SimFunctions:
    """Return the functions of the simulator; the library is opened once a process.

    Raises:
        HostError: it is not built, cannot be opened, or is of another version.
    """
    path = _library_path()
    try:
        library = cast("SimFunctions", ffi.dlopen(str(path), os.RTLD_NOW))
        sizes = list(library.sim_sizes)
    except (OSError, AttributeError) as error:
        raise HostError(f"cannot open {path}: {error}", f"run: {_BUILD}") from error
    names = ("settings", "entry", "result", "totals", "workload", "agent")
    if sizes != [ffi.sizeof(f"struct sim_{name}") for name in names]:
        raise HostError(f"{path} is of another version", f"run: {_BUILD}")
    return library
