# SPDX-License-Identifier: MIT
"""Text to model: reads topology files, finds every mistake in one pass."""
