# SPDX-License-Identifier: MIT
"""Text to model: reads topology files, finds every mistake in one pass."""

from emulator.config.topology_file import KERNEL_SERVERS, load_topology, parse_topology

__all__ = ["KERNEL_SERVERS", "load_topology", "parse_topology"]
