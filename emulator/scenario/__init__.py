# SPDX-License-Identifier: MIT
"""Scenarios: find, load and run them, and earn their verdicts."""

from emulator.scenario.load import Scenario, find_scenario, load_scenario
from emulator.scenario.run import RunResult, run_scenario

__all__ = ["RunResult", "Scenario", "find_scenario", "load_scenario", "run_scenario"]
