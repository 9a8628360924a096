# SPDX-License-Identifier: MIT
"""Reads a topology file: TOML to `Topology`, every mistake told at once, each with its line and what would be right.

Nothing of this host is looked at here: a valid file is valid everywhere.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from emulator.config.fields import (
    LINK_NAME_PATTERN,
    LINK_NAME_VALID,
    NAME_PATTERN,
    NAME_VALID,
    Fields,
)
from emulator.config.locate import Locator
from emulator.config.problems import Problems
from emulator.errors import UsageError
from emulator.model import (
    HOST_NAME,
    LINKS_PER_NODE_MAX,
    MEMORY_BYTES_DEFAULT,
    Arch,
    CableMode,
    ClusterConstants,
    Idle,
    LinkKind,
    LinkSpec,
    NodeId,
    NodeSpec,
    Topology,
    Trace,
)

OBJECT_SUFFIX: Final = ".kern_server"
KERNEL_SERVERS: Final = ("echo", "fault", "traffic", "raw_ring", "hostile")
LINK_DRIVERS: Final = ("mnl_ring",)  # built servers that can be a link's `driver`
_NODES_MAX_LIMIT: Final = 1024
_MEMORY_LOW: Final = 16 << 20
_MEMORY_HIGH: Final = 1 << 30
_SEED_MAXIMUM: Final = (1 << 63) - 1  # the largest integer of TOML
_TABLES: Final = ("cluster", "node", "link")
_CLUSTER_KEYS: Final = (
    *("name", "seed", "nodes_max", "window", "keepalive_s", "link_down_after_s", "dead_after_s"),
    *("ack_delay_s", "ack_count", "idle", "poll_us", "trace", "host_forwards"),
)
_NODE_KEYS: Final = ("name", "id", "arch", "memory", "servers", "lazy", "forward")
_LINK_KEYS: Final = ("name", "kind", "ends", "cable", "payload_crc", "use", "driver")
_USES: Final = ("link", "raw")
_SYNTAX_LINE = re.compile(r"(.*) \(at line (\d+), column \d+\)")


def load_topology(path: str | Path) -> Topology:
    """Read a topology file.

    Raises:
        TopologyError: the file is wrong; every problem is listed.
        UsageError: the file cannot be read.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no UTF-8 text"
        raise UsageError(
            f"{path}: cannot be read: {reason}", hint="give the path of a topology file (TOML)"
        ) from error
    return parse_topology(text, source=str(path))


def parse_topology(text: str, *, source: str) -> Topology:
    """Make a topology of a file's text.

    Args:
        text: the text, TOML.
        source: the file's name, for messages.

    Raises:
        TopologyError: the text is wrong; every problem is listed.
    """
    problems = Problems(source)
    try:
        root = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = _SYNTAX_LINE.fullmatch(str(error))
        what, line = (match[1], int(match[2])) if match else (str(error), text.count("\n") + 1)
        problems.add(line, f"not TOML: {what}", "TOML 1.0, see docs/guide/scenario.md")
        problems.raise_if_any()
    topology = _Reader(root, Locator(text), problems, source).read()
    problems.raise_if_any()
    return topology


class _Reader:
    """One pass over a parsed file."""

    def __init__(
        self, root: Mapping[str, object], locator: Locator, problems: Problems, source: str
    ) -> None:
        self._root = root
        self._locator = locator
        self._problems = problems
        self._source = source

    def read(self) -> Topology:
        for key in self._root:
            if key not in _TABLES:
                self._problems.unknown(self._locator.root_key(key), "table", key, _TABLES)
        cluster = self._cluster()
        constants = self._constants(cluster)
        nodes = self._nodes(constants)
        links = self._links(nodes)
        return Topology(
            name=cluster.text("name", NAME_PATTERN, NAME_VALID, _name_of(self._source)),
            seed=cluster.integer("seed", 0, _SEED_MAXIMUM, 1),
            nodes=nodes,
            links=links,
            constants=constants,
            idle=cluster.choice("idle", Idle, Idle.HALT),
            poll_ns=cluster.integer("poll_us", 0, 1_000_000, 50) * 1000,
            trace=cluster.choice("trace", Trace, Trace.DIGESTS),
            host_forwards=cluster.flag("host_forwards", default=False),
            source=self._source,
        )

    def _cluster(self) -> Fields:
        table = self._root.get("cluster", {})
        if not isinstance(table, dict):
            self._problems.add(
                self._locator.root_key("cluster"), "'cluster' is no table", "[cluster]"
            )
            table = {}
        fields = self._fields(table, "cluster", 0)
        fields.refuse_unknown(_CLUSTER_KEYS)
        return fields

    def _constants(self, cluster: Fields) -> ClusterConstants:
        usual = ClusterConstants()
        constants = ClusterConstants(
            nodes_max=cluster.integer("nodes_max", 2, _NODES_MAX_LIMIT, usual.nodes_max),
            window=cluster.integer("window", 1, 256, usual.window),
            keepalive_ns=cluster.duration_ns("keepalive_s", 0.001, 60, usual.keepalive_ns),
            link_down_after_ns=cluster.duration_ns(
                "link_down_after_s", 0.01, 600, usual.link_down_after_ns
            ),
            dead_after_ns=cluster.duration_ns("dead_after_s", 0.01, 3600, usual.dead_after_ns),
            ack_delay_ns=cluster.duration_ns("ack_delay_s", 0, 1, usual.ack_delay_ns),
            ack_count=cluster.integer("ack_count", 1, 256, usual.ack_count),
        )
        if constants.keepalive_ns * 2 > constants.link_down_after_ns:
            key = "keepalive_s" if "keepalive_s" in cluster else "link_down_after_s"
            cluster.bad(key, "keepalive_s at most half of link_down_after_s")
        if constants.link_down_after_ns > constants.dead_after_ns:
            key = "dead_after_s" if "dead_after_s" in cluster else "link_down_after_s"
            cluster.bad(key, "dead_after_s at least link_down_after_s")
        return constants

    def _tables(self, name: str) -> list[Fields]:
        tables = self._root.get(name, [])
        if not isinstance(tables, list) or not all(isinstance(item, dict) for item in tables):
            self._problems.add(
                self._locator.root_key(name), f"'{name}' is no list of tables", f"[[{name}]]"
            )
            return []
        return [self._fields(table, name, index) for index, table in enumerate(tables)]

    def _fields(self, table: Mapping[str, object], name: str, index: int) -> Fields:
        return Fields(table, name=name, index=index, locator=self._locator, problems=self._problems)

    def _nodes(self, constants: ClusterConstants) -> tuple[NodeSpec, ...]:
        tables = self._tables("node")
        if not tables and "node" not in self._root:
            self._problems.add(1, "no node", "at least one [[node]]")
        nodes: list[NodeSpec] = []
        for position, fields in enumerate(tables, start=1):
            node = self._node(fields, position, constants.nodes_max - 1)
            if node.name and any(node.name == other.name for other in nodes):
                fields.bad("name", "a name that no other node has")
            taken = next((other for other in nodes if other.id == node.id), None)
            if taken is not None:
                what = f"node id {node.id} is taken by '{taken.name}'"
                self._problems.add(fields.line_of("id"), what, "an id that no other node has")
            nodes.append(node)
        return tuple(nodes)

    def _node(self, fields: Fields, position: int, id_high: int) -> NodeSpec:
        fields.refuse_unknown(_NODE_KEYS)
        for key, valid in (("name", NAME_VALID), ("arch", ", ".join(arch.value for arch in Arch))):
            if key not in fields:
                fields.missing(key, valid)
        name = fields.text("name", NAME_PATTERN, NAME_VALID, "")
        if name == HOST_NAME:
            fields.bad("name", f"any other name: '{HOST_NAME}' is the orchestrator, node 0")
        if "id" not in fields and position > id_high:
            self._problems.add(
                fields.line, f"node id {position} is out of range", f"1 to {id_high} (nodes_max)"
            )
        return NodeSpec(
            name=name,
            id=NodeId(fields.integer("id", 1, id_high, position) if "id" in fields else position),
            arch=fields.choice("arch", Arch, Arch.X86_64),
            memory_bytes=fields.size_bytes(
                "memory", _MEMORY_LOW, _MEMORY_HIGH, MEMORY_BYTES_DEFAULT
            ),
            servers=self._servers(fields, "servers"),
            lazy=self._servers(fields, "lazy"),
            forward=fields.flag("forward", default=False),
        )

    def _servers(self, fields: Fields, key: str) -> tuple[str, ...]:
        """Names of built servers, and paths of objects, which begin beside the file."""
        valid = f"a list of {', '.join(KERNEL_SERVERS)} and paths of {OBJECT_SUFFIX} files"
        servers = fields.texts(key, valid)
        for server in servers:
            if server not in KERNEL_SERVERS and not server.endswith(OBJECT_SUFFIX):
                self._problems.unknown(fields.line_of(key), "kernel server", server, KERNEL_SERVERS)
        if len(set(servers)) < len(servers):
            fields.bad(key, "each server once")
        if key == "lazy" and set(servers) & set(fields.texts("servers", valid)):
            fields.bad(key, "servers that are not in servers")
        return servers

    def _links(self, nodes: tuple[NodeSpec, ...]) -> tuple[LinkSpec, ...]:
        links: list[LinkSpec] = []
        ends_used: dict[str, int] = {}
        for fields in self._tables("link"):
            link = self._link(fields, nodes, [link.name for link in links])
            if link is None:
                continue
            for end in link.ends:
                ends_used[end] = ends_used.get(end, 0) + 1
                if ends_used[end] == LINKS_PER_NODE_MAX + 1:
                    what = f"node '{end}' has no slot left for this link"
                    self._problems.add(fields.line, what, f"at most {LINKS_PER_NODE_MAX} a node")
            self._check_sole(fields, link, links)
            links.append(link)
        return tuple(links)

    def _check_sole(self, fields: Fields, link: LinkSpec, others: list[LinkSpec]) -> None:
        """A driver of its own is the only way to its peer: nobody could keep messages in order."""
        for other in others:
            if set(other.ends) == set(link.ends) and (link.driver or other.driver):
                first, second = link.ends
                what = f"nodes '{first}' and '{second}' have another link, '{other.name}'"
                key = "driver" if link.driver else "ends"
                valid = "a link with a driver is the only one between its nodes"
                self._problems.add(fields.line_of(key), what, valid)

    def _driver(self, fields: Fields, kind: LinkKind) -> str:
        """The server that drives a link by itself: a built one, or the path of an object."""
        if "driver" not in fields:
            return ""
        valid = f"{', '.join(LINK_DRIVERS)} or the path of a {OBJECT_SUFFIX} file"
        driver = fields.text("driver", re.compile(r".+"), valid, "")
        is_path = driver.endswith(OBJECT_SUFFIX)
        if driver and not is_path and driver not in LINK_DRIVERS:
            line = fields.line_of("driver")
            self._problems.unknown(line, "link driver", driver, LINK_DRIVERS)
        if is_path and not NAME_PATTERN.fullmatch(Path(driver).stem):
            fields.bad("driver", f"a file that is called as its server: {NAME_VALID}")
        if driver and not is_path and kind is not LinkKind.IVSHMEM:
            fields.bad("driver", f"{driver} only with kind ivshmem")
        for key in ("use", "payload_crc"):
            if key in fields:
                fields.bad(key, "no driver, or not this key: the link protocol does not run there")
        return driver

    def _link(
        self, fields: Fields, nodes: tuple[NodeSpec, ...], taken: list[str]
    ) -> LinkSpec | None:
        fields.refuse_unknown(_LINK_KEYS)
        for key, valid in (
            ("kind", ", ".join(kind.value for kind in LinkKind)),
            ("ends", 'the names of two nodes: ["a", "b"]'),
        ):
            if key not in fields:
                fields.missing(key, valid)
        kind = fields.choice("kind", LinkKind, LinkKind.IVSHMEM)
        cable = fields.choice("cable", CableMode, CableMode.DIRECT)
        payload_crc = fields.flag("payload_crc", default=False)
        use = fields.text("use", re.compile("|".join(_USES)), ", ".join(_USES), _USES[0])
        if use == "raw" and kind is not LinkKind.IVSHMEM:
            fields.bad("use", "raw only with kind ivshmem")
        driver = self._driver(fields, kind)
        ends = self._ends(fields, [node.name for node in nodes])
        name = fields.text("name", LINK_NAME_PATTERN, LINK_NAME_VALID, "")
        if ends is None:
            return None
        if not name:
            name = _default_name(ends, taken)
            if not LINK_NAME_PATTERN.fullmatch(name):
                self._problems.add(
                    fields.line, f"default name '{name}' is too long", f"name = {LINK_NAME_VALID}"
                )
        elif name in taken:
            fields.bad("name", "a name that no other link has")
        return LinkSpec(
            name=name,
            kind=kind,
            ends=ends,
            cable=cable,
            payload_crc=payload_crc,
            raw=use == "raw",
            driver=driver,
        )

    def _ends(self, fields: Fields, names: list[str]) -> tuple[str, str] | None:
        if "ends" not in fields:
            return None
        valid = 'the names of two nodes: ["a", "b"]'
        ends = fields.texts("ends", valid)
        line = fields.line_of("ends")
        if len(ends) != 2:
            if ends:
                fields.bad("ends", valid)
            return None
        unknown = [end for end in ends if end not in names]
        for end in unknown:
            if end == HOST_NAME:
                what = "a link to the host"
                self._problems.add(line, what, "two nodes; every node has a link to the host")
            else:
                self._problems.unknown(line, "node", end, list(dict.fromkeys(names)))
        if unknown:
            return None
        first, second = ends
        if first == second:
            self._problems.add(line, f"node '{first}' is linked to itself", "two different nodes")
            return None
        return first, second


def _default_name(ends: tuple[str, str], taken: list[str]) -> str:
    """The ends joined; a second link between them gets `.2`, and so on."""
    base = "-".join(ends)
    name, count = base, 1
    while name in taken:
        count += 1
        name = f"{base}.{count}"
    return name


def _name_of(source: str) -> str:
    stem = re.sub(r"[^a-z0-9_-]", "-", Path(source).stem.lower())[:31]
    return stem or "cluster"
