# SPDX-License-Identifier: MIT
"""The typed event stream of a run: what happened, when, who says so."""
