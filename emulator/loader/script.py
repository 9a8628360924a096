# SPDX-License-Identifier: MIT
"""Load and unload scripts: the text that a kernel server carries about how it is brought up and down.

One command a line. A line is a command only if its very first character is A to Z; everything else
(comments, blank lines, lower-case words, indented commands) is skipped. A keyword is recognised by
its beginning, in the order of `_KEYWORDS`: STARTUP acts as START. Words are separated by blanks and
tabs and fit 79 characters. An argument that begins with a digit is an integer in C's notation;
anything else is a symbol whose address becomes the argument.

    HMAP port function argument      messages to the port go to function(message, argument)
    SMAP port function argument      the same, server style: function(in, out); MAP means it, too
    ADVERTISE port                   publish a port declared earlier in the script
    CALL function argument           call it while loading; not 0 means that loading failed
    PORT_DEATH function              called when a port or a peer died
    START                            load as soon as allocated
    DETACH                           can never be unloaded
    WIRE                             keep resident; everything is, here

An unload script takes CALL only. Where the original read on past its mistakes, this reader refuses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from emulator.loader.codes import Code, LoaderError

__all__ = [
    "Argument",
    "Call",
    "Entry",
    "PortDeath",
    "PortMap",
    "Script",
    "ScriptError",
    "parse_integer",
]

WORD_MAXIMUM: Final = 79
PORTS_MAXIMUM: Final = 50
_ARGUMENT_LIMIT: Final = 1 << 64
# The order matters: a keyword is recognised by its beginning.
_KEYWORDS: Final = (
    *("ADVERTISE", "CALL", "DETACH", "HMAP", "MAP", "PORT_DEATH", "SMAP", "START", "WIRE"),
)
_ARGUMENTS: Final = {
    "ADVERTISE": ("port",),
    "CALL": ("function", "argument"),
    "DETACH": (),
    "HMAP": ("port", "function", "argument"),
    "MAP": ("port", "function", "argument"),
    "PORT_DEATH": ("function",),
    "SMAP": ("port", "function", "argument"),
    "START": (),
    "WIRE": (),
}

Argument: TypeAlias = int | str
"""A number, or the name of a symbol whose address is meant."""


class ScriptError(LoaderError):
    """A script is wrong.

    Args:
        code: why.
        what: what exactly.
        source: the object's file and the script's section.
        line: from 1.
        word: the word at fault; empty: one is missing.
    """

    def __init__(self, code: Code, what: str, *, source: str, line: int, word: str) -> None:
        at = f" at '{word}'" if word else ""
        super().__init__(code, f"{source}:{line}{at}: {what}")
        self.source = source
        self.line = line
        self.word = word


@dataclass(frozen=True, slots=True, kw_only=True)
class PortMap:
    """HMAP or SMAP: messages to `port` go to `function`.

    Args:
        port: its name, for look-up and ADVERTISE.
        function: a symbol.
        argument: the handler's second argument, or what a server function's message carries.
        server_style: SMAP: the kernel half sends the out message.
        line: of the script.
    """

    port: str
    function: str
    argument: Argument
    server_style: bool
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """CALL: `function(argument)` in the server's main thread."""

    function: str
    argument: Argument
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PortDeath:
    """PORT_DEATH: `function` is called with the dead port's name; the last one wins."""

    function: str
    line: int


Entry: TypeAlias = PortMap | Call | PortDeath


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A script that was read without a mistake.

    Args:
        entries: what is carried out, in the order of the text.
        advertised: ports to publish.
        start: load as soon as allocated.
        wire: keep resident.
        detach: cannot be unloaded.
    """

    entries: tuple[Entry, ...] = ()
    advertised: tuple[str, ...] = ()
    start: bool = False
    wire: bool = False
    detach: bool = False

    @property
    def ports(self) -> tuple[PortMap, ...]:
        """The port mappings, in order."""
        return tuple(entry for entry in self.entries if isinstance(entry, PortMap))

    @property
    def symbols(self) -> tuple[str, ...]:
        """Every symbol that the script names, each once, in order."""
        return tuple(dict.fromkeys(_symbols(self.entries)))

    @classmethod
    def parse_load(cls, text: str, *, source: str) -> Script:
        """Read a load script.

        Args:
            text: the section's text.
            source: what to call it in messages.

        Raises:
            ScriptError: a mistake, with file, line and word: UNKNOWN_KEYWORD, PORT_EXISTS for a
                port declared twice or advertised before it is declared, RESOURCE_SHORTAGE for too
                many ports, BAD_RELOCATABLE for everything else.
        """
        reader = _Reader(source)
        for line in _lines(text):
            reader.take(line)
        script = reader.script()
        if not (script.ports or script.start):
            raise ScriptError(
                Code.BAD_RELOCATABLE,
                "one of HMAP, SMAP and START is needed: nothing would ever load the server",
                source=source,
                line=max(1, text.count("\n")),
                word="",
            )
        return script

    @classmethod
    def parse_unload(cls, text: str, *, source: str) -> Script:
        """Read an unload script: CALL only. Args and Raises as of `parse_load`."""
        reader = _Reader(source, allowed=("CALL",))
        for line in _lines(text):
            reader.take(line)
        return reader.script()


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    words: tuple[str, ...]


def _lines(text: str) -> Iterator[_Line]:
    """The lines that are commands, in words; a comment may follow the last."""
    for number, line in enumerate(text.split("\n"), start=1):
        if "A" <= line[:1] <= "Z":
            words = line.replace("\t", " ").replace("\r", " ").replace("\0", " ").split(" ")
            yield _Line(number, tuple(word for word in words if word))


def _symbols(entries: tuple[Entry, ...]) -> Iterator[str]:
    for entry in entries:
        yield entry.function
        if not isinstance(entry, PortDeath) and isinstance(entry.argument, str):
            yield entry.argument


@dataclass(slots=True)
class _Reader:
    """Collects the commands of one script."""

    source: str
    allowed: tuple[str, ...] = _KEYWORDS
    entries: list[Entry] = field(default_factory=list)
    advertised: list[str] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)

    def script(self) -> Script:
        return Script(
            entries=tuple(self.entries),
            advertised=tuple(self.advertised),
            start="START" in self.flags,
            wire="WIRE" in self.flags,
            detach="DETACH" in self.flags,
        )

    def take(self, line: _Line) -> None:
        """Take one command."""
        keyword = self._keyword(line)
        arguments = self._arguments(line, keyword)
        match keyword:
            case "HMAP" | "SMAP" | "MAP":
                self._map(line, arguments, server_style=keyword != "HMAP")
            case "ADVERTISE":
                self._advertise(line, arguments[0])
            case "CALL":
                self.entries.append(
                    Call(
                        function=self._symbol(line, arguments[0]),
                        argument=self._argument(line, arguments[1]),
                        line=line.number,
                    )
                )
            case "PORT_DEATH":
                function = self._symbol(line, arguments[0])
                self.entries = [item for item in self.entries if not isinstance(item, PortDeath)]
                self.entries.append(PortDeath(function=function, line=line.number))
            case _:
                self.flags.add(keyword)

    def _map(self, line: _Line, arguments: tuple[str, ...], *, server_style: bool) -> None:
        port, function, argument = arguments
        if port in self._ports():
            raise self._error(line, Code.PORT_EXISTS, port, "the port is declared already")
        if len(self._ports()) == PORTS_MAXIMUM:
            what = f"more than {PORTS_MAXIMUM} ports"
            raise self._error(line, Code.RESOURCE_SHORTAGE, port, what)
        self.entries.append(
            PortMap(
                port=port,
                function=self._symbol(line, function),
                argument=self._argument(line, argument),
                server_style=server_style,
                line=line.number,
            )
        )

    def _advertise(self, line: _Line, port: str) -> None:
        if port not in self._ports():
            raise self._error(line, Code.PORT_EXISTS, port, "no HMAP or SMAP before declares it")
        if port not in self.advertised:
            self.advertised.append(port)

    def _ports(self) -> list[str]:
        return [entry.port for entry in self.entries if isinstance(entry, PortMap)]

    def _keyword(self, line: _Line) -> str:
        word = line.words[0]
        keyword = next((key for key in _KEYWORDS if word.startswith(key)), None)
        if keyword is None:
            valid = ", ".join(_KEYWORDS)
            raise self._error(line, Code.UNKNOWN_KEYWORD, word, f"no command; valid: {valid}")
        if keyword not in self.allowed:
            what = f"an unload script takes {', '.join(self.allowed)} only"
            raise self._error(line, Code.BAD_RELOCATABLE, word, what)
        return keyword

    def _arguments(self, line: _Line, keyword: str) -> tuple[str, ...]:
        needed = _ARGUMENTS[keyword]
        words = line.words[1 : 1 + len(needed)]
        for word in line.words:
            if len(word) > WORD_MAXIMUM:
                what = f"a word has at most {WORD_MAXIMUM} characters"
                raise self._error(line, Code.NAME_TOO_LONG, word, what)
        if len(words) < len(needed):
            what = f"{keyword} needs {' '.join(needed)}"
            raise self._error(line, Code.BAD_RELOCATABLE, "", what)
        rest = line.words[1 + len(needed) :]
        if rest and not rest[0].startswith("#"):
            what = f"nothing follows {' '.join((keyword, *needed))}"
            raise self._error(line, Code.BAD_RELOCATABLE, rest[0], what)
        return words

    def _argument(self, line: _Line, word: str) -> Argument:
        if not word[0].isdigit():
            return self._symbol(line, word)
        value = parse_integer(word)
        if value is None or value >= _ARGUMENT_LIMIT:
            what = "no integer of C: decimal, 0x and hexadecimal, or 0 and octal; below 2^64"
            raise self._error(line, Code.BAD_RELOCATABLE, word, what)
        return value

    def _symbol(self, line: _Line, word: str) -> str:
        if not word.isascii() or not (word[0].isalpha() or word[0] in "_.$"):
            raise self._error(line, Code.SERVER_WONT_LINK, word, "no name of a symbol")
        return word

    def _error(self, line: _Line, code: Code, word: str, what: str) -> ScriptError:
        return ScriptError(code, what, source=self.source, line=line.number, word=word)


def parse_integer(word: str) -> int | None:
    """A C integer: the base follows from how it begins; None: it is none."""
    digits, base = word, 10
    if word[:2] in ("0x", "0X"):
        digits, base = word[2:], 16
    elif word[0] == "0" and len(word) > 1:
        digits, base = word[1:], 8
    try:
        return int(digits, base) if digits.isalnum() and digits.isascii() else None
    except ValueError:
        return None
