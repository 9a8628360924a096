# SPDX-License-Identifier: MIT
"""Server objects: what a good one says, and every faulty one's own code and message."""

from __future__ import annotations

import contextlib
import io
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.loader.codes import Code, LoaderError
from emulator.loader.commands import load_commands, port_requests, unload_commands, words_of
from emulator.loader.kernel import Export, KernelImage
from emulator.loader.loadable import loadable_image
from emulator.loader.node_messages import CommandId, NodeCommand, PortRequest
from emulator.loader.object import LinkedServer, ServerObject
from emulator.machines.machine import MACHINES
from emulator.model import Arch
from emulator.testing.server_writer import Reference, ServerWriter, write_kernel

DATA = Path(__file__).parents[2] / "data" / "servers"
KIND = MACHINES[Arch.X86_64].elf
ADDRESS = 0x700000
KERNEL = KernelImage(
    build_id=bytes(20),
    exports={"kmsg_free": Export(0x201000, 0x11111111), "far_away": Export(1 << 40, 0x33333333)},
)
FAULTS = sorted(path.stem for path in DATA.glob("*.txt"))


def read(data: bytes, name: str = "tiny.kern_server") -> ServerObject:
    return ServerObject.read(data, kind=KIND, source=name)


def bring_up(data: bytes, name: str = "tiny.kern_server") -> LinkedServer:
    """Everything that is checked before a node is asked."""
    linked = read(data, name).link(ADDRESS, KERNEL)
    load_commands(linked)
    unload_commands(linked)
    return linked


def test_the_files_are_what_their_generator_makes() -> None:
    objects = runpy.run_path(str(DATA / "make.py"))["faulty_objects"]()
    assert {path.stem for path in DATA.glob("*.kern_server")} == set(objects)
    for fault, content in objects.items():
        assert (DATA / f"{fault}.kern_server").read_bytes() == content, fault


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_its_code_and_message(fault: str) -> None:
    code, _, message = (DATA / f"{fault}.txt").read_text(encoding="utf-8").strip().partition("\n")
    name = f"{fault}.kern_server"
    with pytest.raises(LoaderError) as caught:
        bring_up((DATA / name).read_bytes(), name)
    assert (caught.value.code.name, caught.value.message) == (code, message)


def test_every_rejection_of_the_contract_has_a_file_and_a_code_of_its_own() -> None:
    named = {
        *("not_elf", "wrong_architecture", "wrong_byte_order", "truncated", "unresolved_symbol"),
        *("symbol_version", "missing_section", "unknown_keyword", "duplicate_port", "too_large"),
        *("relocation_out_of_range", "section_overlap", "name_too_long", "cyclic_dependency"),
    }
    assert named <= set(FAULTS)
    codes = {(DATA / f"{fault}.txt").read_text(encoding="utf-8").split()[0] for fault in named}
    assert len(codes) == len(named)


def test_a_good_one() -> None:
    linked = bring_up((DATA / "good.kern_server").read_bytes())
    server = linked.server
    assert (server.name, server.version, server.instance) == ("tiny", 2, "tiny_instance")
    assert port_requests(server) == (PortRequest(name="tiny", advertised=True),)
    assert load_commands(linked) == (
        NodeCommand(id=CommandId.INSTANCE, function=ADDRESS + 0x1000),
        NodeCommand(id=CommandId.VERSION, argument=2),
        NodeCommand(id=CommandId.CALL, function=ADDRESS),
        NodeCommand(id=CommandId.HMAP, function=ADDRESS + 8, argument=7),
    )
    assert unload_commands(linked) == (NodeCommand(id=CommandId.CALL, function=ADDRESS + 16),)
    assert linked.image.data[0x1010:0x1018] == (0x201000).to_bytes(8, "little")
    assert linked.image.data[0x1018:0x1020] == ADDRESS.to_bytes(8, "little")
    assert [words_of(server, index) for index in range(5)] == [
        "the instance variable",
        "the version",
        "CALL tiny_init 0",
        "HMAP tiny tiny_handler 7",
        "the end of the script",
    ]


@pytest.mark.parametrize("arch", list(Arch), ids=lambda arch: arch.value)
def test_every_architecture(arch: Arch) -> None:
    kind = MACHINES[arch].elf
    data = ServerWriter(kind=kind).write()
    server = ServerObject.read(data, kind=kind, source="tiny")
    linked = server.link(ADDRESS, KERNEL)
    size = kind.bits // 8
    assert linked.image.data[0x1010:][:size] == (0x201000).to_bytes(size, server.order)
    for other in Arch:
        if MACHINES[other].elf != kind:
            with pytest.raises(LoaderError) as caught:
                ServerObject.read(data, kind=MACHINES[other].elf, source="tiny")
            assert caught.value.code in (Code.WRONG_ARCHITECTURE, Code.WRONG_BYTE_ORDER)


def test_the_digest_is_of_the_content() -> None:
    one, same = read(ServerWriter().write(), "one"), read(ServerWriter().write(), "two")
    other = read(replace(ServerWriter(), code=b"\x90" * 64).write())
    assert one.digest == same.digest != other.digest


@pytest.mark.parametrize("arch", list(Arch), ids=lambda arch: arch.value)
def test_the_linked_image_as_a_file(arch: Arch) -> None:
    """Each loaded section is at its address with its linked bytes; all else is as it was."""
    kind = MACHINES[arch].elf
    data = ServerWriter(kind=kind, loadable="tiny.linked").write()
    server = ServerObject.read(data, kind=kind, source="tiny")
    assert server.loadable == "tiny.linked"
    linked = server.link(ADDRESS, KERNEL)
    made = loadable_image(data, linked)
    before, after = ELFFile(io.BytesIO(data)), ELFFile(io.BytesIO(made))
    layout = linked.image.layout
    for index, (old, new) in enumerate(
        zip(before.iter_sections(), after.iter_sections(), strict=True)
    ):
        if index in layout.offsets:
            at = layout.offsets[index]
            assert new["sh_addr"] == ADDRESS + at
            if new["sh_type"] == "SHT_PROGBITS":
                assert new.data() == linked.image.data[at : at + new["sh_size"]]
        else:
            assert (new.header, new.data()) == (old.header, old.data())
    assert len(made) == len(data)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("small=on", b"\1"),
        ("count=-2", b"\xfe\xff\xff\xff"),
        ("big=0x10", (16).to_bytes(8, "little")),
        ("label=hello", b"hello\0\0\0"),
    ],
)
def test_parameters_are_written_into_the_image(word: str, expected: bytes) -> None:
    names = ("tiny_instance", "small", "count", "big", "label")
    parameters = "bool small a flag\0i32 count how many\0u64 big\0string:8 label a text\0"
    writer = ServerWriter(parameters=parameters, variables=names, references=(), imports={})
    linked = bring_up(writer.write())
    at = 0x1000 + 16 * names.index(word.partition("=")[0])
    assert linked.with_parameters([word])[at : at + len(expected)] == expected
    assert linked.with_parameters([]) == linked.image.data


@pytest.mark.parametrize(
    "word", ["small", "small=2", "nothing=1", "count=5000000000", "big=-1", "label=longer than it"]
)
def test_wrong_parameters(word: str) -> None:
    names = ("tiny_instance", "small", "count", "big", "label")
    parameters = "bool small a flag\0i32 count how many\0u64 big\0string:8 label a text\0"
    writer = ServerWriter(parameters=parameters, variables=names, references=(), imports={})
    with pytest.raises(LoaderError) as caught:
        bring_up(writer.write()).with_parameters([word])
    assert caught.value.code is Code.BAD_PARAMETER
    assert word.split("=", maxsplit=1)[0] in caught.value.message


@pytest.mark.parametrize("arch", [Arch.X86_64, Arch.AARCH64_BE, Arch.RISCV32])
def test_a_kernel_image(arch: Arch, tmp_path: Path) -> None:
    path = tmp_path / "kernel.elf"
    path.write_bytes(write_kernel(MACHINES[arch].elf, {"b": (0x2000, 7), "a": (0x1000, 9)}))
    kernel = KernelImage.read(path)
    assert kernel.exports == {"a": Export(0x1000, 9), "b": Export(0x2000, 7)}
    assert kernel.build_id == bytes(range(20))
    assert KernelImage.read(path) is kernel
    path.write_bytes(ServerWriter().write())
    with pytest.raises(LoaderError, match="no section kern_exports"):
        KernelImage.read(path)


@settings(max_examples=300)
@given(st.data())
def test_any_damage_is_refused_or_harmless(data: st.DataObject) -> None:
    whole = bytearray(
        ServerWriter(references=(Reference(16, "kmsg_free"), Reference(24, "tiny_stop"))).write()
    )
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(whole)) | st.just(len(whole)))
    with contextlib.suppress(LoaderError):  # either way is right; no other way is
        linked = bring_up(bytes(whole[:end]))
        assert len(linked.image.data) <= linked.server.layout.size_bytes
