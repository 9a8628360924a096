# SPDX-License-Identifier: MIT
"""QEMU as a process: command line, process, monitor, console."""
