# SPDX-License-Identifier: MIT
"""The protocols of a cluster as state machines: bytes, events and the time go in; bytes, events and
deadlines come out.

No sockets, no asyncio, no clock. `link.py` is the link protocol over one cable, `flipc.py` the
sequenced streams between two incarnations, `node.py` the table of incarnations, `services.py` the
messages that kernels understand.
"""
