# SPDX-License-Identifier: MIT
"""Which routes a topology has: paths between two nodes through nodes that forward.

Every pair of nodes gets at most the shortest path through guests that forward, the shortest that
shares no link with it, and, where the host forwards, the one through the host. All of it follows
from the topology alone, in the order of its file. No path visits a node twice, is longer than
`HOPS_MAX` links, or leads over a link with a driver of its own. What a route is to the nodes on it:
docs/spec/link.md, section 6.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from emulator.model.ids import HOST_NAME
from emulator.model.topology import Topology

HOPS_MAX: Final = 8  # links of a path
ROUTE_NAME_LENGTH: Final = 31
MANAGEMENT_NAME: Final = ""  # no link of a topology is called so


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A path between two nodes.

    Args:
        number: unique in the cluster, from 1.
        name: as events call it.
        nodes: along the path, both ends included.
        links: between them; `MANAGEMENT_NAME` stands for a node's management link.
    """

    number: int
    name: str
    nodes: tuple[str, ...]
    links: tuple[str, ...]

    @property
    def ends(self) -> tuple[str, str]:
        """The nodes it joins."""
        return self.nodes[0], self.nodes[-1]

    @property
    def directions(self) -> tuple[str, str]:
        """Its two directions, `a->c` and `c->a`."""
        first, second = self.ends
        return (f"{first}->{second}", f"{second}->{first}")

    def link_towards(self, node: str, end: str) -> str:
        """The link by which `node` on the path reaches one of the ends."""
        at = self.nodes.index(node)
        return self.links[at - 1] if end == self.nodes[0] else self.links[at]


@dataclass(frozen=True, slots=True)
class _Path:
    nodes: tuple[str, ...]
    links: tuple[str, ...]


def plan_routes(topology: Topology) -> tuple[Route, ...]:
    """Return the routes of a topology, those of one pair in the order in which they are preferred."""
    routes: list[Route] = []
    taken = {link.name for link in topology.links}
    for first, second in combinations([node.name for node in topology.nodes], 2):
        if any(link.driver and set(link.ends) == {first, second} for link in topology.links):
            continue  # a driver of its own is the only link of its peer
        for path in _paths(topology, first, second):
            number = len(routes) + 1
            name = _name(path, taken, number)
            taken.add(name)
            routes.append(Route(number=number, name=name, nodes=path.nodes, links=path.links))
    return tuple(routes)


def _paths(topology: Topology, first: str, second: str) -> list[_Path]:
    paths: list[_Path] = []
    shortest = _shortest(topology, first, second, frozenset())
    if shortest is not None:
        paths.append(shortest)
        spare = _shortest(topology, first, second, frozenset(shortest.links))
        if spare is not None:
            paths.append(spare)
    if topology.host_forwards:
        paths.append(_Path((first, HOST_NAME, second), (MANAGEMENT_NAME, MANAGEMENT_NAME)))
    return paths


def _shortest(topology: Topology, first: str, second: str, avoided: frozenset[str]) -> _Path | None:
    """The shortest path of two links or more through guests that forward; breadth first."""
    forwarders = {node.name for node in topology.nodes if node.forward}
    waiting = deque([_Path((first,), ())])
    reached = {first}
    while waiting:
        path = waiting.popleft()
        here = path.nodes[-1]
        if len(path.links) == HOPS_MAX:
            return None
        for link in topology.links_of(here):
            there = link.ends[1 - link.ends.index(here)]
            if link.raw or link.driver or link.name in avoided or there in reached:
                continue
            if there == second:
                if here != first:
                    return _Path((*path.nodes, there), (*path.links, link.name))
            elif there in forwarders:
                reached.add(there)
                waiting.append(_Path((*path.nodes, there), (*path.links, link.name)))
    return None


def _name(path: _Path, taken: set[str], number: int) -> str:
    """`a-c.via-b`; what is too long, or taken, is called by its number."""
    first, *between, second = path.nodes
    name = f"{first}-{second}.via-{'-'.join(between)}"
    return name if len(name) <= ROUTE_NAME_LENGTH and name not in taken else f"route-{number}"


__all__ = ["HOPS_MAX", "MANAGEMENT_NAME", "Route", "plan_routes"]
