# SPDX-License-Identifier: MIT
"""Where and when: lifetimes of machines and cables, deadlines, the objects that scripts hold."""
