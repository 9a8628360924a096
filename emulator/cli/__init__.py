# SPDX-License-Identifier: MIT
"""The `mnlab` command: parses arguments, calls the packages below, prints. Nothing else prints."""
