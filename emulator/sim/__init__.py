# SPDX-License-Identifier: MIT
"""The level-1 simulator: many nodes of the real C core in one process, decided by one seed.

The simulator itself is C (`firmware/sim`); here are its callers: ranges of seeds on every core,
replay files, and shrinking of what fails.
"""

from emulator.sim.campaign import Failure, Report, run_campaign
from emulator.sim.child import CRASHED, broken_by
from emulator.sim.engine import Outcome, Workload, generate, run, run_range, run_twice
from emulator.sim.kinds import INVARIANTS, Kind, Mode, Profile
from emulator.sim.schedule import Entry, Schedule, read_schedule, write_schedule
from emulator.sim.shrink import shrink

__all__ = [
    "CRASHED",
    "INVARIANTS",
    "Entry",
    "Failure",
    "Kind",
    "Mode",
    "Outcome",
    "Profile",
    "Report",
    "Schedule",
    "Workload",
    "broken_by",
    "generate",
    "read_schedule",
    "run",
    "run_campaign",
    "run_range",
    "run_twice",
    "shrink",
    "write_schedule",
]
