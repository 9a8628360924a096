"""Boot the self-test image on each architecture and judge what it prints.

Usage: run.py [--build DIR] [--case NAME] ARCH...

Exit status 0: every case passed; 1: one failed; 2: wrong usage. Needs QEMU and the images
``<build>/<arch>/selftest.elf``. Plays the ivshmem server for the device cases. Nothing outlives it: guest RAM and
shared memory are memfds, and a guest that does not end in time is killed.

Cases that end a life of the machine (panics, resets) get a boot each; all others share one.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

RAM_BYTES = 32 << 20
BOOT_PAGE_OFFSET = 0x800000
BLACKBOX_OFFSET = 0x810000
SHARED_BYTES = 4 << 20
BOOT_TIMEOUT_S = 30.0

MACHINES = {
    "x86_64": ["qemu-system-x86_64", "-M", "microvm,pcie=on", "-cpu", "max"],
    "aarch64": ["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a57"],
    "aarch64_be": ["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a57"],
    "riscv64": ["qemu-system-riscv64", "-M", "virt,aia=aplic-imsic", "-bios", "none"],
    "riscv32": ["qemu-system-riscv32", "-M", "virt,aia=aplic-imsic", "-bios", "none"],
}

SHARED_CASES = [
    *("heap_area", "page_pool", "mmu_code", "mmu_arguments", "format", "memory_functions", "crc32c", "little_endian"),
    *("boot_page", "boot_page_refusals", "boot_page_driver", "boot_page_routes", "boot_page_links", "boot_count"),
    *("thread_order", "thread_memory", "thread_exhaustion", "condition", "event", "thread_host", "owned_threads"),
    *("hog", "clock", "timer", "deadlines", "idle", "pci", "msix", "msi_vectors", "figures"),
]

# Case -> what the panic line's reason must match.
PANIC_CASES = {
    "panic": r"spilled 7 of ten",
    "guard": r"page fault: write at 0x[0-9a-f]+ \(stack guard page\)",
    "thread_guard": r"page fault: write at 0x[0-9a-f]+ \(stack guard page\)",
    "wild_read": r"page fault: read at 0xa5a5a000 \(unmapped\)",
    "null_write": r"page fault: write at 0x0 \(null page\)",
    "text_write": r"page fault: write at 0x[0-9a-f]+ \(text\)",
    "const_write": r"page fault: write at 0x[0-9a-f]+ \(read-only data\)",
    "execute_data": r"page fault: execute at 0x[0-9a-f]+ \(RAM\)",
    "illegal": r"illegal instruction|breakpoint",
    "lock": r"thread main acquires a lock that is held",
}

VALID_TEXT = "node.id=1\nnode.name=a\nlaunch=1\nseed=1\n"

# Name -> (boot text, damage done to the finished page, reason of the panic).
BAD_PAGES: dict[str, tuple[str, tuple[int, bytes], str]] = {
    "no_page": (VALID_TEXT, (0, b"\0"), r"no boot page: wrong magic"),
    "other_version": (VALID_TEXT, (8, b"\2"), r"boot page of another version"),
    "too_long": (VALID_TEXT, (12, struct.pack("<I", 4033)), r"boot page longer than 4032 bytes"),
    "bad_checksum": (VALID_TEXT, (70, b"x"), r"boot page with a wrong checksum"),
    "no_id": ("node.name=a\nlaunch=1\nseed=1\n", (0, b"M"), r"node\.id: 1 to nodes_max-1"),
    "id_above_nodes_max": ("node.id=64\nnode.name=a\nlaunch=1\nseed=1\n", (0, b"M"), r"node\.id: 1 to nodes_max-1"),
    "bad_number": ("node.id=1\nnode.name=a\nlaunch=1x\nseed=1\n", (0, b"M"), r"launch: 1 to 2147483647"),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One console line, with when it came and the emulator's CPU time by then, both in seconds."""

    text: str
    at_s: float
    cpu_s: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one machine did: its console, its exit status (None: killed at the timeout), its memories."""

    lines: tuple[Line, ...]
    status: int | None
    ram: bytes
    shared: bytes

    def texts(self) -> list[str]:
        """The console without times."""
        return [line.text for line in self.lines]

    def mark(self, text: str) -> Line | None:
        """The line ``MARK <text>``, or None if it never came."""
        return next((line for line in self.lines if line.text == f"MARK {text}"), None)


class Verdicts:
    """Counts and prints verdicts, one line each."""

    def __init__(self) -> None:
        self.failed = 0

    def say(self, arch: str, case: str, problem: str | None, note: str = "") -> None:
        """Record that a case passed (``problem`` is None) or failed, with a note for the reader."""
        self.failed += problem is not None
        verdict = "ok  " if problem is None else "FAIL"
        print(f"{verdict} {arch} {case} {problem or note}".rstrip(), flush=True)


def crc32c(data: bytes) -> int:
    """CRC-32C of the data, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def boot_page(text: str) -> bytes:
    """The boot page of docs/spec/boot.md around the text."""
    raw = text.encode("ascii")
    return b"MNLBOOT1" + struct.pack("<III44x", 1, len(raw), crc32c(raw)) + raw


@contextlib.contextmanager
def memory(name: str, size_bytes: int) -> Iterator[int]:
    """A memfd of the given size; closed on exit."""
    descriptor = os.memfd_create(name)
    try:
        os.ftruncate(descriptor, size_bytes)
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def ivshmem_server(shared: int) -> Iterator[int]:
    """Everything an ivshmem server (protocol version 0) tells its only client, id 5 with two vectors.

    Yields the client's end of the connection. The vectors' eventfds are the client's own, so its doorbell rings itself.
    """
    ours, theirs = socket.socketpair()
    vectors = [os.eventfd(0), os.eventfd(0)]
    try:
        ours.send(struct.pack("<q", 0))
        ours.send(struct.pack("<q", 5))
        socket.send_fds(ours, [struct.pack("<q", -1)], [shared])
        for vector in vectors:
            socket.send_fds(ours, [struct.pack("<q", 5)], [vector])
        yield theirs.fileno()
    finally:
        for vector in vectors:
            os.close(vector)
        ours.close()
        theirs.close()


def command(arch: str, image: Path, ram: int, server: int) -> list[str]:
    """The command line of one machine; ``ram`` and ``server`` are descriptors it inherits."""
    return [
        *MACHINES[arch],
        *("-accel", "tcg,thread=multi"),
        *("-smp", "1,maxcpus=2"),
        *("-nodefaults", "-display", "none"),
        *("-m", str(RAM_BYTES >> 20)),
        *("-object", f"memory-backend-file,id=ram,size={RAM_BYTES},mem-path=/proc/self/fd/{ram},share=on"),
        *("-machine", "memory-backend=ram"),
        *("-chardev", f"socket,id=ivshmem,fd={server}"),
        *("-device", "ivshmem-doorbell,chardev=ivshmem,vectors=2,addr=3"),
        *("-serial", "stdio"),
        *("-kernel", str(image)),
    ]


def cpu_time_s(pid: int) -> float:
    """User and system time of a process so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run_machine(arch: str, image: Path, page: bytes) -> Outcome:
    """Boot one machine with the given boot page and wait for its end, at most BOOT_TIMEOUT_S."""
    with contextlib.ExitStack() as stack:
        ram = stack.enter_context(memory("ram", RAM_BYTES))
        shared = stack.enter_context(memory("shared", SHARED_BYTES))
        server = stack.enter_context(ivshmem_server(shared))
        os.pwrite(ram, page, BOOT_PAGE_OFFSET)
        os.pwrite(shared, struct.pack("<Q", 0x1122334455667788), 0)
        process = subprocess.Popen(
            command(arch, image, ram, server),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[ram, server],
            errors="replace",
            text=True,
        )
        signal.setitimer(signal.ITIMER_REAL, BOOT_TIMEOUT_S)
        lines: list[Line] = []
        status: int | None = None
        try:
            assert process.stdout is not None
            for text in process.stdout:
                with contextlib.suppress(FileNotFoundError):
                    lines.append(Line(text=text.rstrip("\r\n"), at_s=time.monotonic(), cpu_s=cpu_time_s(process.pid)))
            status = process.wait()
        except TimeoutError:
            lines.append(Line(text="(killed: no end in time)", at_s=time.monotonic(), cpu_s=0.0))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        return Outcome(
            lines=tuple(lines),
            status=status,
            ram=os.pread(ram, RAM_BYTES, 0),
            shared=os.pread(shared, SHARED_BYTES, 0),
        )


def between(outcome: Outcome, start: str, end: str) -> tuple[float, float] | None:
    """Seconds of wall time and of CPU time between two marks, or None if one never came."""
    first, last = outcome.mark(start), outcome.mark(end)
    if first is None or last is None:
        return None
    return last.at_s - first.at_s, last.cpu_s - first.cpu_s


def judge_clock(outcome: Outcome) -> tuple[str | None, str]:
    """The guest's 0.3 s must be the host's, within what a busy host makes of printing two lines."""
    spans = between(outcome, "clock_start", "clock_end")
    if spans is None:
        return "no marks", ""
    wall_s = spans[0]
    return (None if 0.27 <= wall_s <= 0.36 else f"0.3 s of the guest took {wall_s:.3f} s"), f"{wall_s:.4f} s"


def judge_idle(outcome: Outcome) -> tuple[str | None, str]:
    """An idle guest must leave the CPU alone: at most 3 ticks of accounting in 1.5 s."""
    spans = between(outcome, "idle_start", "idle_end")
    if spans is None:
        return "no marks", ""
    wall_s, cpu_s = spans
    note = f"{100 * cpu_s / wall_s:.1f} % of a core"
    if wall_s < 1.4:
        return f"slept {wall_s:.3f} s instead of 1.5", note
    return (None if cpu_s <= 0.03 else f"idle guest took {note}"), note


def judge_pci(outcome: Outcome) -> tuple[str | None, str]:
    """What the guest wrote to the end of the shared memory must be there."""
    found = struct.unpack_from("<Q", outcome.shared, SHARED_BYTES - 8)[0]
    return (None if found == 0x8877665544332211 else f"shared memory holds {found:#x}"), ""


HOST_JUDGES: dict[str, Callable[[Outcome], tuple[str | None, str]]] = {
    "clock": judge_clock,
    "idle": judge_idle,
    "pci": judge_pci,
}


# What a busy host can make look wrong. A boot in which only these failed is repeated.
TIMED_CASES = {"condition", "clock", "timer", "deadlines", "idle", "orderly end"}
ATTEMPTS = 5


def judge_shared_boot(arch: str, image: Path, cases: Sequence[str], verdicts: Verdicts) -> None:
    """Run all cases that live together in one boot; each needs its PASS line and the host's consent."""
    for _ in range(ATTEMPTS):
        outcome = run_machine(arch, image, boot_page(f"{VALID_TEXT}servers={' '.join(cases)}\n"))
        found = judge_cases(outcome, cases)
        failed = {case for case, (problem, _) in found.items() if problem is not None}
        if not failed or not failed <= TIMED_CASES:
            break
    for case, (problem, note) in found.items():
        verdicts.say(arch, case, problem, note)
    for text in outcome.texts():
        if text.startswith("FIGURE "):
            print(f"     {arch} {text}")


def judge_cases(outcome: Outcome, cases: Sequence[str]) -> dict[str, tuple[str | None, str]]:
    """What is wrong with each case (None: nothing), and a note."""
    texts = outcome.texts()
    found: dict[str, tuple[str | None, str]] = {}
    for case in cases:
        failures = [text for text in texts if text.startswith(f"FAIL {case} ")]
        if f"PASS {case}" not in texts:
            found[case] = (failures[0] if failures else "no verdict", "")
        else:
            found[case] = HOST_JUDGES[case](outcome) if case in HOST_JUDGES else (None, "")
    done = f"DONE passed={len(cases)} failed=0" in texts and outcome.status == 0
    found["orderly end"] = (
        None if done else f"status {outcome.status}, console:\n" + "\n".join(texts),
        "",
    )
    return found


def panic_problem(outcome: Outcome, reason: str, node: str, registers: bool) -> str | None:
    """What is wrong with the panic on the console, or None.

    Args:
        outcome: the machine's end.
        reason: regular expression that the whole reason must match.
        node: what follows ``PANIC ``, a regular expression.
        registers: whether REG lines must be there.
    """
    texts = outcome.texts()
    start = next((i for i, text in enumerate(texts) if text.startswith("PANIC ")), None)
    if start is None:
        return "no panic; console:\n" + "\n".join(texts)
    if not re.fullmatch(rf"PANIC {node} at=[\w./]+:\d+ reason=({reason})", texts[start]):
        return f"panic line: {texts[start]}"
    kinds = [text.split(" ")[0] for text in texts[start + 1 :]]
    if kinds[-1:] != ["BACKTRACE"] or set(kinds[:-1]) != ({"REG"} if registers else set()):
        return f"lines after the panic line: {texts[start + 1 :]}"
    if not all(re.fullmatch(r"REG( \w+=0x[0-9a-f]+)+", text) for text in texts[start + 1 : -1]):
        return f"register lines: {texts[start + 1 : -1]}"
    if not re.fullmatch(r"BACKTRACE( 0x[0-9a-f]+)+", texts[-1]):
        return f"backtrace: {texts[-1]}"
    return None if outcome.status == 0 else f"exit status {outcome.status}"


def recorder_problem(outcome: Outcome) -> str | None:
    """What is wrong with the copy that the panic recorder left in RAM, or None."""
    length, program_counter = struct.unpack_from("<QQ", outcome.ram, BLACKBOX_OFFSET)
    recorded = outcome.ram[BLACKBOX_OFFSET + 16 :][:length].decode("ascii", "replace")
    texts = outcome.texts()
    start = next(i for i, text in enumerate(texts) if text.startswith("PANIC "))
    if recorded != "".join(f"{text}\n" for text in texts[start:]):
        return f"recorded text differs: {recorded!r}"
    if not texts[-1].startswith(f"BACKTRACE {program_counter:#x}"):
        return f"recorded program counter {program_counter:#x}"
    return None


def judge_panic(arch: str, image: Path, case: str, verdicts: Verdicts) -> None:
    """One boot that must end in the right panic, on the console and in the recorder."""
    outcome = run_machine(arch, image, boot_page(f"{VALID_TEXT}servers={case}\n"))
    exception = case not in ("panic", "lock")
    problem = panic_problem(outcome, PANIC_CASES[case], "node=a id=1 incarnation=100000001", exception)
    verdicts.say(arch, case, problem or recorder_problem(outcome))


def judge_bad_page(arch: str, image: Path, name: str, verdicts: Verdicts) -> None:
    """One boot from a broken boot page, which must end in a panic that says what is wrong."""
    text, (offset, damage), reason = BAD_PAGES[name]
    page = bytearray(boot_page(text))
    page[offset : offset + len(damage)] = damage
    outcome = run_machine(arch, image, bytes(page))
    verdicts.say(arch, f"bad page {name}", panic_problem(outcome, reason, r"node=\? id=0 incarnation=0", False))


def judge_reset(arch: str, image: Path, verdicts: Verdicts) -> None:
    """Three lives of one machine: the boot count rises and so does the incarnation."""
    outcome = run_machine(arch, image, boot_page(f"{VALID_TEXT}servers=reset\n"))
    texts = outcome.texts()
    counts = [text for text in texts if text.startswith("MARK boot_count=")]
    lives = [text for text in texts if text.startswith("node a id 1 incarnation ")]
    good = (
        counts == [f"MARK boot_count={n}" for n in (1, 2, 3)]
        and [life.split()[5] for life in lives] == ["100000001", "100000002", "100000003"]
        and texts[-1] == "DONE passed=1 failed=0"
        and outcome.status == 0
    )
    verdicts.say(arch, "reset", None if good else f"status {outcome.status}, console:\n" + "\n".join(texts))


def judge_arch(arch: str, image: Path, only: str | None, verdicts: Verdicts) -> None:
    """All cases of one architecture, or the named one."""
    shared = [case for case in SHARED_CASES if only in (None, case)]
    if shared:
        judge_shared_boot(arch, image, shared, verdicts)
    for case in PANIC_CASES:
        if only in (None, case):
            judge_panic(arch, image, case, verdicts)
    for name in BAD_PAGES:
        if only in (None, name):
            judge_bad_page(arch, image, name, verdicts)
    if only in (None, "panic_twice"):
        judge_panic_twice(arch, image, verdicts)
    if only in (None, "idle_poll"):
        judge_idle_poll(arch, image, verdicts)
    if only in (None, "reset"):
        judge_reset(arch, image, verdicts)


def judge_panic_twice(arch: str, image: Path, verdicts: Verdicts) -> None:
    """A panic whose recorder faults: the first panic's lines, one line more, and an orderly power-off."""
    outcome = run_machine(arch, image, boot_page(f"{VALID_TEXT}servers=panic_twice\n"))
    texts = outcome.texts()
    good = "reason=first" in texts[-3] and texts[-1] == "PANIC inside a panic" and outcome.status == 0
    verdicts.say(arch, "panic_twice", None if good else f"status {outcome.status}, console:\n" + "\n".join(texts))


def judge_idle_poll(arch: str, image: Path, verdicts: Verdicts) -> None:
    """With ``idle=poll`` timers work as ever, and waiting takes CPU time, as asked."""
    page = boot_page(f"{VALID_TEXT}idle=poll\nservers=timer deadlines idle\n")
    for _ in range(ATTEMPTS):
        outcome = run_machine(arch, image, page)
        texts = outcome.texts()
        spans = between(outcome, "idle_start", "idle_end")
        problem = None
        if "DONE passed=3 failed=0" not in texts or outcome.status != 0 or spans is None:
            problem = f"status {outcome.status}, console:\n" + "\n".join(texts)
        elif spans[1] < 0.2:
            problem = f"a polling guest took {spans[1]:.2f} s of CPU time in {spans[0]:.2f} s"
        if problem is None:
            break
    verdicts.say(arch, "idle_poll", problem)


def forgotten_cases(known: Sequence[str]) -> list[str]:
    """The cases of the image's tables that nobody here would run."""
    tables = [path.read_text() for path in sorted(Path(__file__).parent.glob("test_*.c"))]
    declared = [name for table in tables for name in re.findall(r'\{"(\w+)", \w+_case\}', table)]
    return [name for name in declared if name not in known]


def on_alarm(_signal: int, _frame: object) -> None:
    """End the wait for a machine."""
    raise TimeoutError


def main() -> int:
    """Parse the command line and judge each architecture."""
    cases = [*SHARED_CASES, *PANIC_CASES, *BAD_PAGES, "panic_twice", "idle_poll", "reset"]
    parser = argparse.ArgumentParser(description="Boot the firmware's self-test images and judge them.")
    parser.add_argument("--build", type=Path, default=Path(__file__).resolve().parents[2] / "build")
    parser.add_argument("--case", choices=cases, metavar="NAME", help="run only this case")
    parser.add_argument("arch", nargs="+", choices=sorted(MACHINES))
    arguments = parser.parse_args()
    signal.signal(signal.SIGALRM, on_alarm)
    verdicts = Verdicts()
    for case in forgotten_cases(cases):
        verdicts.say("no arch", case, "in the image, and not in the lists of run.py")
    for arch in arguments.arch:
        judge_arch(arch, arguments.build / arch / "selftest.elf", arguments.case, verdicts)
    print(f"{verdicts.failed} failed" if verdicts.failed else "all passed")
    return 1 if verdicts.failed else 0


if __name__ == "__main__":
    sys.exit(main())
