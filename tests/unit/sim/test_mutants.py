# SPDX-License-Identifier: MIT
"""The simulator finds bugs: the core with one planted fails within a few hundred seeds.

Each mutant changes a line or two of a copy of one file; all other objects are those of the build.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

FIRMWARE = Path(__file__).parents[3] / "firmware"
OBJECTS = FIRMWARE / "build" / "host" / "sim"
SEEDS = 1500
FLAGS = [
    "-std=c11",
    "-O2",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-strict-aliasing",
    "-I.",
    "-Iinclude",
    "-Iarch/sim/include",
    "-Iarch/host/include",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    name: str
    file: str
    before: str
    after: str
    also: tuple[str, str] | None = None  # before and after, in another place of the file
    profile: str = "MIXED"


MUTANTS = (
    Mutant(
        name="a duplicate is delivered again",
        file="core/flipc_receive.c",
        before="        return ORDER_REPEATED;",
        after="        return ORDER_NEXT;",
    ),
    Mutant(
        name="nothing is sent again after a retrain",
        file="core/peer.c",
        before="        mnl_flow_resume(peer->node, resume_point(peer, &link->link));",
        after="        (void)resume_point(peer, &link->link);",
    ),
    Mutant(
        name="a TRAIN tells other flags than the epoch began with",
        file="core/link.c",
        before="        renegotiate(link, now_ns);",
        after="        (void)renegotiate;",
        profile="LINKS",
    ),
    Mutant(
        name="a proxy of the dead keeps its name",
        file="core/port.c",
        before="    if (port->name != NAME_NULL)\n        name_remove(port->host, port);\n    port->once = 0;",
        after="    port->once = 0;",
    ),
    Mutant(
        name="a settled message gives no credit back",
        file="core/flipc_ack.c",
        before="    word_store(&flow->credit, flow->credit + 1u);\n    if (list_is_empty(&flow->unsettled))\n"
        "        word_store(&flow->ack, flow->next_expected);\n    else",
        after="    if (list_is_empty(&flow->unsettled))\n"
        "        word_store(&flow->ack, flow->next_expected);\n    else",
    ),
    Mutant(
        name="anybody may say who is dead",
        file="core/flipc_receive.c",
        before="header->cmd == NODE_DEATH && node->id == 0)",
        after="header->cmd == NODE_DEATH)",
        profile="HOSTILE",
    ),
    Mutant(
        name="a peer's credit is taken as it is told",
        file="core/flipc_transmit.c",
        before="    if (sequence_before(limit, credit))\n        credit = limit;",
        after="    (void)limit;",
        profile="HOSTILE",
    ),
    Mutant(
        name="a peer that takes no answer is answered all the same",
        file="core/flipc_transmit.c",
        before="    return node->flow.waiting_bytes < FLOW_WAITING_MAXIMUM;",
        after="    return node != NULL;",
        profile="HOSTILE",
    ),
    Mutant(
        name="pieces may be longer than their message",
        file="core/link_receive.c",
        before="length > total - before || ",
        after="",
        profile="HOSTILE",
    ),
    Mutant(
        name="a send-once right that died is told twice",
        file="core/share.c",
        before="    port_once_died(port, count, deferred);",
        after="    port_once_died(port, 2 * count, deferred);",
    ),
    Mutant(
        name="a used send-once right is used again",
        file="core/rights_take.c",
        before="    if (share == NULL || share_return_once(share, 1, deferred) == 0)\n"
        "        return false;\n    share_settle",
        after="    if (share == NULL)\n        return false;\n    share_settle",
    ),
    Mutant(
        name="holders are not told that a port died",
        file="core/share.c",
        before="            share->tell_dead = true;",
        after="            (void)share;",
    ),
    Mutant(
        name="messages that come back go behind those that were sent after them",
        file="core/migrate.c",
        before="    list_append(port->held_mark, &kmsg->queue);",
        after="    list_append(&port->held, &kmsg->queue);",
    ),
    Mutant(
        name="nobody looks for senders when a right ends",
        file="core/port.c",
        before="        port_check_senders(port, deferred);",
        after="        (void)deferred;",
    ),
    Mutant(
        name="a source that is told of a move does not wait for what it has under way",
        file="core/migrate.c",
        before="port->dead || port->in_flight != 0)",
        after="port->dead || (port->kind != PORT_PROXY && port->in_flight != 0))",
        also=(
            "    rights_review(port->host);\n    if (port->in_flight == 0)",
            "    rights_review(port->host);",
        ),
        profile="CONTROL",
    ),
    Mutant(
        name="a port moves on before what was sent to where it was has landed",
        file="core/migrate.c",
        before="port->dead || port->in_flight != 0)",
        after="port->dead || (port->kind == PORT_PROXY && port->in_flight != 0))",
        also=(
            "    port->move_incarnation = node->incarnation;\n    if (port->in_flight == 0)",
            "    port->move_incarnation = node->incarnation;",
        ),
        profile="CONTROL",
    ),
    Mutant(
        name="a message beyond the credit is accepted",
        file="core/flipc_receive.c",
        before="sequence != flow->next_expected || !sequence_before(sequence, limit)",
        after="sequence != flow->next_expected || sequence == limit + (1u << 31)",
        profile="HOSTILE",
    ),
)


def link_mutant(mutant: Mutant, folder: Path) -> Path:
    source = (FIRMWARE / mutant.file).read_text()
    for before, after in filter(None, ((mutant.before, mutant.after), mutant.also)):
        assert source.count(before) == 1, mutant.file
        source = source.replace(before, after)
    changed = folder / Path(mutant.file).name
    changed.write_text(source)
    objects = [
        path
        for path in OBJECTS.rglob("*.c.o")
        if path != OBJECTS / f"{mutant.file}.o" and path.name != "main.c.o"
    ]
    library = folder / "libmutant.so"
    subprocess.run(
        [
            "clang",
            *FLAGS,
            f"-I{(FIRMWARE / mutant.file).parent}",
            "-shared",
            "-fuse-ld=lld",
            "-flto",
            str(changed),
            *map(str, objects),
            "-o",
            str(library),
        ],
        cwd=FIRMWARE,
        check=True,
        timeout=200,
    )
    return library


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_found(mutant: Mutant, tmp_path: Path) -> None:
    program = (
        "from emulator.sim import *\n"
        f"_, failure = run_range(1, {SEEDS}, Workload(profile=Profile.{mutant.profile}))\n"
        "print('found' if failure else 'missed')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "MNLAB_SIM_LIBRARY": str(link_mutant(mutant, tmp_path))},
        cwd=FIRMWARE.parent,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode < 0 or done.stdout == "found\n", done.stdout + done.stderr
