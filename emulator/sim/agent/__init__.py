# SPDX-License-Identifier: MIT
"""The Python protocol stack as one node of a simulated cluster, among nodes of the C core.

`node` is one life of it, made of `emulator.protocol`; `ports` and `program` are what a kernel and
its programs would be; `world` is the simulator as they see it; `driver` joins the two.
"""
