# SPDX-License-Identifier: MIT
"""A run as people see it: readers of the event stream, live on a terminal, else line by line."""
