# SPDX-License-Identifier: MIT
"""The first step of the `mnlab` command.

Importing the package takes a moment, and Ctrl-C in that moment must look like Ctrl-C at any other.
All else is in `emulator.cli`.
"""

from __future__ import annotations

import sys

EXIT_INTERRUPTED = 130


def main() -> int:
    """Run the command line of this process.

    Returns:
        The exit code.
    """
    try:
        from emulator.cli.main import main as run  # noqa: PLC0415  inside the try on purpose
    except KeyboardInterrupt:
        print("mnlab: interrupted before anything was started", file=sys.stderr)
        return EXIT_INTERRUPTED
    return run()


if __name__ == "__main__":
    sys.exit(main())
