# SPDX-License-Identifier: MIT
"""`kl_ld`, also `mnlab kl_ld`: makes a kernel server's object from its sources, for one architecture or for several.

A thin front of clang and ld.lld with the original's options; the steps are those of
`firmware/server_object.mk`, and so are the flags. Headers, flags and the exports of the kernel come
with the package, or from a checkout whose firmware was built.
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
from emulator.loader.kit import ServerKit, find_kit
from emulator.model import Arch

LABEL: Final = "kl_ld"
EXIT_FAILED: Final = 1
_DESCRIPTION: Final = "Makes a kernel server's object (docs/spec/server_object.md)."
_SOURCE_SUFFIXES: Final = (".c", ".S")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectPlan:
    """What a server's object is made of.

    Args:
        name: the server's.
        instance: symbol of its instance variable; made unless a source has it.
        load, unload: files with its scripts; None: no unload script.
        loadable: where the loader writes the linked image for a debugger, from the object's
            folder; empty: nowhere.
        inputs: C and assembler sources, and objects; what is not there is looked for in the kit.
        flags: more for the compiler.
    """

    name: str
    instance: str
    load: Path
    unload: Path | None
    loadable: str
    inputs: Sequence[Path]
    flags: Sequence[str] = ()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool.

    Args:
        argv: the words after its name; None: those of the process.

    Returns:
        0; 1 when a step failed or the words make no command.
    """
    parser = argparse.ArgumentParser(prog=LABEL, description=_DESCRIPTION)
    _add_options(parser)
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as ended:
        return EXIT_FAILED if ended.code else 0
    try:
        return _build(arguments)
    except MnlabError as error:
        print(f"{LABEL}: {error}", file=sys.stderr)
        return EXIT_FAILED


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line of `mnlab`."""
    parser = verbs.add_parser(LABEL, help="make a kernel server's object", description=_DESCRIPTION)
    _add_options(parser)
    parser.set_defaults(verb=_build)


def _build(arguments: argparse.Namespace) -> int:
    """Make the object for each architecture that was asked for."""
    plan = ObjectPlan(
        name=arguments.n,
        instance=arguments.i,
        load=arguments.l,
        unload=arguments.u,
        loadable=arguments.d,
        inputs=arguments.inputs,
        flags=arguments.flag,
    )
    arches: list[Arch] = arguments.arch or [Arch.X86_64]
    for arch in arches:
        output: Path = arguments.o
        if len(arches) > 1:
            output = output.with_name(f"{output.stem}.{arch.value}{output.suffix}")
        build_object(plan, arch, output)
    return 0


def build_object(plan: ObjectPlan, arch: Arch, output: Path) -> None:
    """Make an object for an architecture.

    Raises:
        UsageError: a step failed: what the compiler or the linker said is in the details.
        HostError: the firmware is not built, or a program is missing.
    """
    kit = find_kit(arch)
    with tempfile.TemporaryDirectory(prefix="kl_ld-") as folder:
        work = Path(folder)
        objects = [
            _object_of(kit, plan, kit.find(source).absolute(), work / f"{index}.o")
            for index, source in enumerate(plan.inputs)
        ]
        joined, imports, meta = work / "server.o", work / "imports", work / "meta.o"
        _run(kit, "ld.lld", "-r", *map(str, objects), "-o", str(joined))
        listing = (sys.executable, str(kit.imports_tool), "--exports", str(kit.exports))
        imports.write_text(_run(kit, *listing, str(joined)), encoding="ascii")
        _compile(kit, [*_metadata(plan, imports), str(kit.metadata_source)], meta)
        _run(kit, "ld.lld", "-r", str(joined), str(meta), "-o", str(output.absolute()))


def _object_of(kit: ServerKit, plan: ObjectPlan, source: Path, made: Path) -> Path:
    """An input as an object: itself, or what is compiled from it."""
    if source.suffix not in _SOURCE_SUFFIXES:
        return source
    _compile(kit, [*plan.flags, str(source)], made)
    return made


def _compile(kit: ServerKit, words: Sequence[str], made: Path) -> None:
    _run(kit, "clang", *kit.flags, *words, "-c", "-o", str(made))


def _metadata(plan: ObjectPlan, imports: Path) -> list[str]:
    """What `server_object.S` is told."""
    words = [
        f'-DSERVER_NAME="{plan.name}"',
        f"-DSERVER_INSTANCE={plan.instance}",
        f'-DLOAD_COMMANDS="{plan.load.absolute()}"',
        f'-DIMPORTS="{imports}"',
    ]
    if plan.unload is not None:
        words.append(f'-DUNLOAD_COMMANDS="{plan.unload.absolute()}"')
    if plan.loadable:
        words.append(f'-DLOADABLE_NAME="{plan.loadable}"')
    return words


def _run(kit: ServerKit, *command: str) -> str:
    """Run a step in the kit's folder, where include paths begin; return what it printed."""
    try:
        done = subprocess.run(command, cwd=kit.folder, capture_output=True, text=True, check=False)
    except OSError as error:
        raise HostError(
            f"{command[0]} cannot be run: {error.strerror}",
            hint="on Debian: apt-get install clang lld",
        ) from error
    if done.returncode:
        raise UsageError(
            f"{command[0]} failed",
            details=tuple(done.stderr.splitlines()),
            hint=shlex.join(command),
        )
    return done.stdout


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", required=True, metavar="NAME", help="the server's name")
    parser.add_argument("-i", required=True, metavar="VAR", help="symbol of its instance variable")
    parser.add_argument("-l", required=True, type=Path, metavar="FILE", help="load commands")
    parser.add_argument("-u", type=Path, metavar="FILE", help="unload commands")
    parser.add_argument(
        "-d", default="", metavar="FILE", help="where the loader writes the linked image"
    )
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
        "-X",
        dest="flag",
        action="append",
        default=[],
        metavar="FLAG",
        help="for the compiler: -X-DNAME",
    )
    parser.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help=".c, .S or .o")


if __name__ == "__main__":
    sys.exit(main())
