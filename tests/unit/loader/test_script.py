# SPDX-License-Identifier: MIT
"""Load and unload scripts: lexical rules, every keyword, and every mistake with its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.loader.codes import Code
from emulator.loader.script import Call, PortDeath, PortMap, Script, ScriptError


def load(text: str) -> Script:
    return Script.parse_load(text, source="server.load")


def test_a_driver() -> None:
    script = load(
        "# a driver\n"
        "CALL driver_init 0\n"
        "SMAP first serve 0x10\n"
        "HMAP second handle instance\n"
        "ADVERTISE first\n"
        "PORT_DEATH gone\n"
        "WIRE\nSTART\n"
    )
    assert script == Script(
        entries=(
            Call(function="driver_init", argument=0, line=2),
            PortMap(port="first", function="serve", argument=16, server_style=True, line=3),
            PortMap(
                port="second", function="handle", argument="instance", server_style=False, line=4
            ),
            PortDeath(function="gone", line=6),
        ),
        advertised=("first",),
        start=True,
        wire=True,
    )
    assert script.symbols == ("driver_init", "serve", "handle", "instance", "gone")
    assert [port.port for port in script.ports] == ["first", "second"]


@pytest.mark.parametrize(
    "line", ["# CALL", "", " CALL a 0", "\tCALL a 0", "call a 0", "1CALL", "_X"]
)
def test_only_a_capital_at_the_very_beginning_makes_a_command(line: str) -> None:
    assert load(f"{line}\nSTART\n").entries == ()


@pytest.mark.parametrize("word", ["START", "STARTUP", "STARTxyz", "START_NOW"])
def test_trailing_letters_of_a_keyword_are_ignored(word: str) -> None:
    assert load(word).start


def test_map_is_an_old_word_for_smap() -> None:
    assert load("MAP port f 1") == load("SMAP port f 1")


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("0", 0),
        ("10", 10),
        ("0x1F", 31),
        ("0XfF", 255),
        ("017", 15),
        ("18446744073709551615", 2**64 - 1),
    ],
)
def test_integers_have_the_base_of_c(word: str, value: int) -> None:
    (entry,) = load(f"CALL f {word}\nSTART").entries
    assert isinstance(entry, Call)
    assert entry.argument == value


def test_the_last_port_death_wins_and_others_keep_their_order() -> None:
    script = load("PORT_DEATH one\nCALL f 0\nPORT_DEATH two\nSTART")
    assert [entry.function for entry in script.entries] == ["f", "two"]


def test_blanks_tabs_and_a_comment_behind() -> None:
    assert load("HMAP\t port \t f   3 # why\r\nSTART # now").ports[0].argument == 3


@pytest.mark.parametrize(
    ("text", "code", "line", "word", "what"),
    [
        ("LOAD f 0", Code.UNKNOWN_KEYWORD, 1, "LOAD", "no command"),
        ("START\nSTAR", Code.UNKNOWN_KEYWORD, 2, "STAR", "no command"),
        ("CALL f", Code.BAD_RELOCATABLE, 1, "", "CALL needs function argument"),
        ("START\n\nHMAP p f", Code.BAD_RELOCATABLE, 3, "", "HMAP needs port function argument"),
        ("ADVERTISE", Code.BAD_RELOCATABLE, 1, "", "ADVERTISE needs port"),
        ("PORT_DEATH", Code.BAD_RELOCATABLE, 1, "", "PORT_DEATH needs function"),
        ("CALL f 0 1", Code.BAD_RELOCATABLE, 1, "1", "nothing follows"),
        ("START CALL", Code.BAD_RELOCATABLE, 1, "CALL", "nothing follows START"),
        ("CALL f -1", Code.SERVER_WONT_LINK, 1, "-1", "no name of a symbol"),
        ("CALL 5 0", Code.SERVER_WONT_LINK, 1, "5", "no name of a symbol"),
        ("CALL f 08", Code.BAD_RELOCATABLE, 1, "08", "no integer of C"),
        ("CALL f 0x", Code.BAD_RELOCATABLE, 1, "0x", "no integer of C"),
        ("CALL f 1_0", Code.BAD_RELOCATABLE, 1, "1_0", "no integer of C"),
        ("CALL f 18446744073709551616", Code.BAD_RELOCATABLE, 1, "18446744073709551616", r"2\^64"),
        ("HMAP p f 0\nSMAP p g 0", Code.PORT_EXISTS, 2, "p", "declared already"),
        ("ADVERTISE p\nHMAP p f 0", Code.PORT_EXISTS, 1, "p", "no HMAP or SMAP before"),
        (f"CALL {'f' * 80} 0", Code.NAME_TOO_LONG, 1, "f" * 80, "at most 79"),
        ("CALL f 0\n", Code.BAD_RELOCATABLE, 1, "", "one of HMAP, SMAP and START"),
    ],
)
def test_a_mistake_is_named_with_its_place(
    text: str, code: Code, line: int, word: str, what: str
) -> None:
    with pytest.raises(ScriptError, match=what) as caught:
        load(text)
    error = caught.value
    assert (error.code, error.line, error.word) == (code, line, word)
    assert f"server.load:{line}" in error.message
    assert word in error.message


def test_fifty_ports_and_no_more() -> None:
    lines = [f"HMAP port{index} f {index}\n" for index in range(51)]
    assert len(load("".join(lines[:50])).ports) == 50
    with pytest.raises(ScriptError) as caught:
        load("".join(lines))
    assert (caught.value.code, caught.value.line) == (Code.RESOURCE_SHORTAGE, 51)


def test_an_unload_script_takes_calls_only() -> None:
    script = Script.parse_unload("CALL stop 0\nCALL free 1\n", source="server.unload")
    assert [entry.function for entry in script.entries] == ["stop", "free"]
    assert Script.parse_unload("", source="x") == Script()
    with pytest.raises(ScriptError, match="CALL only") as caught:
        Script.parse_unload("CALL stop 0\nSTART\n", source="server.unload")
    assert (caught.value.line, caught.value.word) == (2, "START")


@given(st.text())
def test_any_text_is_read_or_refused_with_its_line(text: str) -> None:
    lines = text.count("\n") + 1
    refused_at = 0
    try:
        script = Script.parse_load(text, source="any")
    except ScriptError as error:
        refused_at = error.line
    else:
        refused_at = 1 if script.ports or script.start else 0
    assert 1 <= refused_at <= lines
