# SPDX-License-Identifier: MIT
"""Figures of this machine, each beside the bare limit measured in the same run."""

from emulator.bench.catalogue import NAMES, measure
from emulator.bench.figure import Figure

__all__ = ["NAMES", "Figure", "measure"]
