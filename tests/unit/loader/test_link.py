# SPDX-License-Identifier: MIT
"""Our linker beside ld.lld: the same object at the same address gives the same bytes."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from emulator.loader.codes import Code, LoaderError
from emulator.loader.elf import ElfObject, read_elf
from emulator.loader.link import Layout, LinkedImage, link
from emulator.machines.machine import MACHINES
from emulator.model import Arch

FLAGS = {
    Arch.X86_64: ["--target=x86_64-none-elf", "-mcmodel=small", "-mgeneral-regs-only"],
    Arch.AARCH64: ["--target=aarch64-none-elf", "-mgeneral-regs-only"],
    Arch.AARCH64_BE: ["--target=aarch64_be-none-elf", "-mgeneral-regs-only"],
    Arch.RISCV64: [
        "--target=riscv64-none-elf",
        "-march=rv64imac",
        "-mabi=lp64",
        "-mcmodel=medany",
        "-mno-relax",
    ],
    Arch.RISCV32: [
        "--target=riscv32-none-elf",
        "-march=rv32imac",
        "-mabi=ilp32",
        "-mcmodel=medany",
        "-mno-relax",
    ],
}
BASES = {arch: MACHINES[arch].ram_base + 0x700000 for arch in Arch}

# Every way in which C refers to something: calls near and far, tail calls, data of every width,
# jump tables, pointers in constants and in data, zeroed data, static helpers.
SOURCE = r"""
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32;
typedef unsigned long long u64;
extern int outside(int); extern u64 outside_data; extern char table_of_theirs[];
static u8 small; static u16 half; static u32 word; static u64 wide; u64 zeroed[100];
int initialised = 5; const char *words[] = {"one", "two", "three"};
static const char *const constants[] = {"four", "five", &"seven"[2], table_of_theirs + 40};
struct pair { u64 a, b; } __attribute__((aligned(16))); struct pair both = {1, 2};
int helper(int x) __attribute__((noinline)); int helper(int x) { return outside(x) + initialised; }
int tail(int x) { return helper(x + 1); }
int fancy(int x)
{
    switch (x) {
    case 0: return outside(3); case 1: return tail(x) * 7; case 2: return helper(9) - 4;
    case 3: return initialised ^ x; case 4: return (int)outside_data; case 5: return x * x;
    case 6: return words[x - 6][0]; case 7: return constants[x & 3][0]; default: return -1;
    }
}
void store(u64 x) { small = x; half = x >> 8; word = x >> 16; wide = x; zeroed[x & 63] = wide; }
u64 load(void) { return small + half + word + wide + zeroed[3] + both.a + both.b; }
int (*const functions[])(int) = {helper, tail, fancy, outside};
int (*address_of(int x))(int) { return functions[x & 3]; }
int looped(int n) { int s = 0; while (n-- > 0) { if (s & n) s += helper(n); else s ^= tail(s); }
    return s; }
"""

# The types that compiled code seldom has. `near` is within every branch's reach.
RARE = {
    Arch.X86_64: "  .quad near - ., outside\n  .long outside - .\n",
    Arch.AARCH64: """
  movz x0, #:abs_g3:outside_data
  movk x0, #:abs_g2_nc:outside_data
  movk x0, #:abs_g1_nc:outside_data
  movk x0, #:abs_g0_nc:outside_data
  movz x1, #:abs_g1:outside_data
  movz x1, #:abs_g2:outside_data
  ldr x2, near
  adr x3, near + 3
  adr x3, near - 5
  tbz x4, #3, near
  cbnz x5, near
  b.eq near
  adrp x6, outside_data
  ldr q0, [x6, :lo12:outside_data + 8]
  ldrh w7, [x6, :lo12:outside_data]
  ldrb w7, [x6, :lo12:outside_data + 1]
  .section .data, "aw"
  .xword near - ., outside_data
  .word near - ., outside_data
  .hword near - .
""",
    Arch.RISCV64: """
  beq a0, a1, near
  bltu a2, a3, near
  jal ra, near
  jal a6, near
  .reloc ., R_RISCV_RVC_BRANCH, near
  .short 0xc101 # c.beqz a0
  .reloc ., R_RISCV_RVC_BRANCH, near - 128
  .short 0xe181 # c.bnez a1
  .reloc ., R_RISCV_RVC_JUMP, near
  .short 0xa001 # c.j
  .reloc ., R_RISCV_RVC_JUMP, near - 300
  .short 0xa001
  lui a0, %hi(low)
  addi a0, a0, %lo(low)
  lw a1, %lo(low)(a0)
  sw a1, %lo(low + 4)(a0)
1: auipc a4, %pcrel_hi(outside_data + 2040)
  lw a5, %pcrel_lo(1b)(a4)
  sw a5, %pcrel_lo(1b)(a4)
  .section .data, "aw"
  .byte 0x51, 0x52, 0x53, 0x54
  .short 0x5555, 0x6666
  .long 0x77777777, 0x88888888
  .reloc .data, R_RISCV_ADD8, low
  .reloc .data + 1, R_RISCV_SUB8, low
  .reloc .data + 2, R_RISCV_SET6, low + 13
  .reloc .data + 3, R_RISCV_SUB6, low + 5
  .reloc .data + 4, R_RISCV_ADD16, low
  .reloc .data + 6, R_RISCV_SUB16, low
  .reloc .data + 8, R_RISCV_ADD32, low
  .reloc .data + 12, R_RISCV_SUB32, low
  .byte 1, 2
  .short 3
  .long 4
  .reloc .data + 16, R_RISCV_SET8, low
  .reloc .data + 17, R_RISCV_NONE, low
  .reloc .data + 18, R_RISCV_SET16, low
  .reloc .data + 20, R_RISCV_SET32, low
  .long near - .
""",
}
RARE[Arch.AARCH64_BE] = RARE[Arch.AARCH64]
RARE[Arch.RISCV32] = RARE[Arch.RISCV64]


@pytest.fixture(scope="module", params=list(Arch), ids=lambda arch: arch.value)
def arch(request: pytest.FixtureRequest) -> Arch:
    value: Arch = request.param
    return value


def compile_object(
    arch: Arch, folder: Path, *flags: str, source: str = SOURCE, name: str = "server.c"
) -> Path:
    file = folder / name
    file.write_text(source, encoding="ascii")
    path = folder / "server.o"
    command = ["clang", *FLAGS[arch], "-ffreestanding", "-fno-pic", "-fno-common", *flags]
    subprocess.run([*command, "-c", str(file), "-o", str(path)], check=True)
    return path


def reach(arch: Arch) -> dict[str, int]:
    """Symbols of an imagined kernel image at the start of the machine's RAM."""
    base = MACHINES[arch].ram_base + 0x200000
    return {
        "outside": base + 0x124,
        "outside_data": base + 0x10008,
        "table_of_theirs": base + 0x20001,
        "near": BASES[arch] + 200,
        "low": 0x12345FF0,
        "memcpy": base + 0x400,
        "memset": base + 0x800,
    }


def linked_by_us(path: Path, arch: Arch) -> tuple[ElfObject, Layout, LinkedImage]:
    elf = read_elf(path.read_bytes(), kind=MACHINES[arch].elf, source=path.name)
    layout = Layout.of(elf)
    return elf, layout, link(elf, layout, BASES[arch], reach(arch).get)


def linked_by_lld(path: Path, arch: Arch, elf: ElfObject, layout: Layout) -> dict[str, bytes]:
    """The bytes of each section, each placed where our layout puts it."""
    placed = [(offset, elf.sections[index].name) for index, offset in layout.offsets.items()]
    script = "SECTIONS {\n"
    for offset, name in sorted(placed):
        script += f"  {name} {BASES[arch] + offset:#x} : {{ *({name}) }}\n"
    script += "  /DISCARD/ : { *(.comment) *(.eh_frame) *(.note*) *(.riscv.attributes) }\n}\n"
    (path.parent / "place.ld").write_text(script, encoding="ascii")
    output = path.with_suffix(".elf")
    defined = [f"--defsym={name}={address:#x}" for name, address in reach(arch).items()]
    flags = ["-static", "-O0", "-nostdlib", "--no-relax", "--entry=0", "--no-check-sections"]
    command = ["ld.lld", *flags, *defined, "-T", str(path.parent / "place.ld"), str(path)]
    subprocess.run([*command, "-o", str(output)], check=True)
    with output.open("rb") as file:
        return {section.name: section.data() for section in ELFFile(file).iter_sections()}


@pytest.mark.parametrize("flags", [["-O2"], ["-O0"], ["-Os", "-ffunction-sections", "-g"]])
def test_same_bytes_as_lld(arch: Arch, flags: list[str], tmp_path: Path) -> None:
    path = compile_object(arch, tmp_path, *flags)
    elf, layout, ours = linked_by_us(path, arch)
    theirs = linked_by_lld(path, arch, elf, layout)
    compared = 0
    for index, offset in layout.offsets.items():
        section = elf.sections[index]
        if section.has_bytes and section.size_bytes:
            data = ours.data[offset : offset + section.size_bytes]
            assert data == theirs[section.name], section.name
            compared += len(data)
    assert compared > 400


def test_rare_types_as_lld_does_them(arch: Arch, tmp_path: Path) -> None:
    text = f"  .text\n{RARE[arch]}"
    path = compile_object(arch, tmp_path, source=text, name="rare.S")
    elf, layout, ours = linked_by_us(path, arch)
    theirs = linked_by_lld(path, arch, elf, layout)
    relocated = [elf.sections[index] for index in elf.relocations]
    assert relocated
    for section in relocated:
        data = ours.data[layout.offsets[section.index] :][: section.size_bytes]
        assert data == theirs[section.name], section.name


def test_memory_is_three_runs_of_pages(arch: Arch, tmp_path: Path) -> None:
    elf, layout, ours = linked_by_us(compile_object(arch, tmp_path, "-O2"), arch)
    runs = (layout.code_bytes, layout.const_bytes, layout.data_bytes)
    assert all(size % 4096 == 0 and size for size in runs)
    ends = list(itertools.accumulate(runs))
    for index, offset in layout.offsets.items():
        section = elf.sections[index]
        run = 0 if section.executable else 2 if section.writable else 1
        assert ends[run] - runs[run] <= offset
        assert offset + section.size_bytes <= ends[run]
        assert offset % section.align_bytes == 0
    zeroed = [elf.sections[index] for index in layout.offsets if not elf.sections[index].has_bytes]
    assert sum(section.size_bytes for section in zeroed) >= 800
    assert len(ours.data) == layout.file_bytes <= layout.size_bytes - 800


def test_symbols_as_written_or_with_underscore(tmp_path: Path) -> None:
    source = "int _plain(void) { return 1; } static int hidden = 4; int *seen = &hidden;"
    path = compile_object(Arch.X86_64, tmp_path, "-O0", source=source)
    _, _, ours = linked_by_us(path, Arch.X86_64)
    assert ours.address_of("plain") == ours.address_of("_plain") == BASES[Arch.X86_64]
    assert ours.address_of("hidden") is not None
    assert ours.address_of("nothing") is None


def test_unresolved_symbol_is_named(arch: Arch, tmp_path: Path) -> None:
    source = "extern int nobody_has_this(int); int f(int x) { return nobody_has_this(x) + 1; }"
    path = compile_object(arch, tmp_path, "-O2", source=source)
    with pytest.raises(LoaderError, match="unresolved symbol nobody_has_this") as caught:
        linked_by_us(path, arch)
    assert caught.value.code is Code.SERVER_WONT_LINK


@pytest.mark.parametrize("out_of_reach", [Arch.X86_64, Arch.AARCH64, Arch.RISCV64], ids=str)
def test_call_out_of_reach(out_of_reach: Arch, tmp_path: Path) -> None:
    path = compile_object(out_of_reach, tmp_path, "-O2")
    elf = read_elf(path.read_bytes(), kind=MACHINES[out_of_reach].elf, source="far.o")
    with pytest.raises(LoaderError, match=r"far\.o, \.text\+0x[0-9a-f]+: R_") as caught:
        link(elf, Layout.of(elf), 1 << 40, reach(out_of_reach).get)
    assert caught.value.code is Code.RELOCATION_RANGE
