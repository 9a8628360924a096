# SPDX-License-Identifier: MIT
"""One frozen record per architecture, and what lies in a machine's memory."""
