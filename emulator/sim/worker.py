# SPDX-License-Identifier: MIT
"""A process that runs seeds for `campaign`: one line of JSON for every chunk, in chunks of 250.

Started as `python -m emulator.sim.worker FD FIRST COUNT PROFILE NODES OPERATIONS DIFFERENTIAL`; FD is memory
in which the seed that it is at can be read, whatever becomes of the process.
"""

from __future__ import annotations

import dataclasses
import json
import mmap
import sys
import time

from emulator.sim.engine import WATCH_SIZE, Outcome, Totals, Workload, run_range, watch
from emulator.sim.kinds import Profile

__all__ = ["main"]

_CHUNK = 250


def _line(totals: Totals, failure: Outcome | None, cpu_s: float) -> str:
    return json.dumps(
        {
            "totals": dataclasses.asdict(totals),
            "failure": None if failure is None else dataclasses.asdict(failure),
            "cpu_s": cpu_s,
        }
    )


def main(arguments: list[str]) -> int:
    """Run what the arguments say; ends after the first failure."""
    descriptor, first, count, profile, nodes, operations, differential = map(int, arguments)
    memory = mmap.mmap(descriptor, WATCH_SIZE)
    watch(memory)
    workload = Workload(
        profile=Profile(profile),
        nodes=nodes,
        operations=operations,
        differential=bool(differential),
    )
    done = 0
    while done < count:
        size = min(_CHUNK, count - done)
        begin_s = time.process_time()
        totals, failure = run_range(first + done, size, workload)
        print(_line(totals, failure, time.process_time() - begin_s), flush=True)
        if failure is not None:
            break
        done += size
    memory.flush()  # and it was mapped until now
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
