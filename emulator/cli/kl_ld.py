# SPDX-License-Identifier: MIT
"""`kl_ld`: makes a kernel server's object from its sources, for one architecture or for several.

A thin front of clang and ld.lld with the original's options; the steps are those of
`firmware/server_object.mk`, and so are the flags. It needs a checkout whose firmware was built: a
server is made against the exports of a kernel.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from emulator.errors import HostError, MnlabError, UsageError
from emulator.model import Arch

LABEL: Final = "kl_ld"
FIRMWARE: Final = Path(__file__).resolve().parents[2] / "firmware"
EXIT_FAILED: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectPlan:
    """What a server's object is made of.

    Args:
        name: the server's.
        instance: symbol of its instance variable; made unless a source has it.
        load, unload: files with its scripts; None: no unload script.
        inputs: C and assembler sources, and objects.
        flags: more for the compiler.
    """

    name: str
    instance: str
    load: Path
    unload: Path | None
    inputs: Sequence[Path]
    flags: Sequence[str] = ()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool.

    Args:
        argv: the words after its name; None: those of the process.

    Returns:
        0; 1 when a step failed or the words make no command.
    """
    parser = _parser()
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as ended:
        return EXIT_FAILED if ended.code else 0
    plan = ObjectPlan(
        name=arguments.n,
        instance=arguments.i,
        load=arguments.l,
        unload=arguments.u,
        inputs=arguments.inputs,
        flags=arguments.flag,
    )
    arches: list[Arch] = arguments.arch or [Arch.X86_64]
    try:
        for arch in arches:
            output: Path = arguments.o
            if len(arches) > 1:
                output = output.with_name(f"{output.stem}.{arch.value}{output.suffix}")
            build_object(plan, arch, output)
    except MnlabError as error:
        print(f"{LABEL}: {error}", file=sys.stderr)
        return EXIT_FAILED
    return 0


def build_object(plan: ObjectPlan, arch: Arch, output: Path) -> None:
    """Make an object for an architecture.

    Raises:
        UsageError: a step failed: what the compiler or the linker said is in the details.
        HostError: the firmware is not built, or a program is missing.
    """
    exports = FIRMWARE / "build" / arch.value / "exports.list"
    if not exports.is_file():
        raise HostError(f"{exports} is not there", hint="build the firmware: make firmware")
    flags = _run("make", "-s", "-C", str(FIRMWARE), "print-flags", f"ARCH={arch.value}").split()
    clang = ["clang", *flags, *plan.flags]
    with tempfile.TemporaryDirectory(prefix="kl_ld-") as folder:
        work = Path(folder)
        objects = []
        for index, source in enumerate(plan.inputs):
            if source.suffix in (".c", ".S"):
                made = work / f"{index}.o"
                _run(*clang, "-c", str(source.absolute()), "-o", str(made))
                objects.append(made)
            else:
                objects.append(source.absolute())
        joined, imports, meta = work / "server.o", work / "imports", work / "meta.o"
        _run("ld.lld", "-r", *map(str, objects), "-o", str(joined))
        listed = _run(sys.executable, "tools/imports.py", "--exports", str(exports), str(joined))
        imports.write_text(listed, encoding="ascii")
        _run(*clang, *_metadata(plan, imports), "-o", str(meta))
        _run("ld.lld", "-r", str(joined), str(meta), "-o", str(output.absolute()))


def _metadata(plan: ObjectPlan, imports: Path) -> list[str]:
    """What makes the sections that say what the server is."""
    words = [
        f'-DSERVER_NAME="{plan.name}"',
        f"-DSERVER_INSTANCE={plan.instance}",
        f'-DLOAD_COMMANDS="{plan.load.absolute()}"',
        f'-DIMPORTS="{imports}"',
    ]
    if plan.unload is not None:
        words.append(f'-DUNLOAD_COMMANDS="{plan.unload.absolute()}"')
    return [*words, "-c", str(FIRMWARE / "arch" / "generic" / "server_object.S")]


def _run(*command: str) -> str:
    """Run a step in the firmware's folder, where its include paths begin; return what it printed."""
    try:
        done = subprocess.run(command, cwd=FIRMWARE, capture_output=True, text=True, check=False)
    except OSError as error:
        raise HostError(
            f"{command[0]} cannot be run: {error.strerror}",
            hint="on Debian: apt-get install clang lld make",
        ) from error
    if done.returncode:
        raise UsageError(
            f"{command[0]} failed",
            details=tuple(done.stderr.splitlines()),
            hint=shlex.join(command),
        )
    return done.stdout


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=LABEL, description="Makes a kernel server's object (docs/spec/server_object.md)."
    )
    parser.add_argument("-n", required=True, metavar="NAME", help="the server's name")
    parser.add_argument("-i", required=True, metavar="VAR", help="symbol of its instance variable")
    parser.add_argument("-l", required=True, type=Path, metavar="FILE", help="load commands")
    parser.add_argument("-u", type=Path, metavar="FILE", help="unload commands")
    parser.add_argument("-o", required=True, type=Path, metavar="FILE", help="the object")
    parser.add_argument(
        "-arch",
        action="append",
        type=Arch,
        choices=list(Arch),
        metavar="ARCH",
        help="for this architecture; again: for that one, too, its name before the suffix",
    )
    parser.add_argument(
        "-X", dest="flag", action="append", default=[], metavar="FLAG", help="for the compiler"
    )
    parser.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help=".c, .S or .o")
    return parser


if __name__ == "__main__":
    sys.exit(main())
