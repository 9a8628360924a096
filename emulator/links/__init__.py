# SPDX-License-Identifier: MIT
"""Cables, host side: ivshmem server and region, byte streams."""
