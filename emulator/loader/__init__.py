# SPDX-License-Identifier: MIT
"""The kernel-server loader: the daemon's half that lives on the host."""
