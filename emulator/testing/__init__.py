# SPDX-License-Identifier: MIT
"""Fakes that ship with the product and pass the same tests as the real thing."""
