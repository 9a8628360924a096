# SPDX-License-Identifier: MIT
"""Which routes a topology has."""

from __future__ import annotations

from emulator.config import parse_topology
from emulator.model import HOPS_MAX, Route, Topology, plan_routes


def topology(
    names: str,
    links: str,
    *,
    forward: str = "",
    host_forwards: bool = False,
    raw: str = "",
    driven: str = "",
) -> Topology:
    """Nodes of one letter each; links are two letters, separated by blanks."""
    text = f"[cluster]\nhost_forwards = {str(host_forwards).lower()}\n"
    for name in names:
        text += f'[[node]]\nname = "{name}"\narch = "x86_64"\n'
        text += f"forward = {str(name in forward).lower()}\n"
    for ends in links.split():
        text += f'[[link]]\nkind = "ivshmem"\nends = ["{ends[0]}", "{ends[1]}"]\n'
        text += 'use = "raw"\n' if ends in raw.split() else ""
        text += 'driver = "mnl_ring"\n' if ends in driven.split() else ""
    return parse_topology(text, source="test.toml")


def paths(topology: Topology) -> list[str]:
    return ["".join(node[0] for node in route.nodes) for route in plan_routes(topology)]


def test_a_link_with_a_driver_is_sole_and_passes_nothing_on() -> None:
    assert paths(topology("abc", "ab bc", forward="b", driven="bc")) == []
    assert paths(topology("abc", "ab bc ac", forward="abc", driven="ac")) == []
    assert paths(topology("ab", "ab", host_forwards=True, driven="ab")) == []


def test_nobody_forwards_unless_told_so() -> None:
    assert plan_routes(topology("abc", "ab bc")) == ()
    assert plan_routes(topology("abc", "ab bc", forward="ac")) == ()


def test_a_row() -> None:
    (route,) = plan_routes(topology("abc", "ab bc", forward="b"))
    assert route == Route(number=1, name="a-c.via-b", nodes=("a", "b", "c"), links=("a-b", "b-c"))
    assert route.ends == ("a", "c")
    assert route.directions == ("a->c", "c->a")
    assert route.link_towards("a", "c") == "a-b"
    assert route.link_towards("b", "a") == "a-b"
    assert route.link_towards("b", "c") == "b-c"
    assert route.link_towards("c", "a") == "b-c"


def test_a_cable_has_the_way_round_as_its_spare() -> None:
    assert paths(topology("abc", "ab bc ac", forward="b")) == ["abc"]
    assert paths(topology("abc", "ab bc ac", forward="abc")) == ["acb", "abc", "bac"]


def test_the_second_route_shares_no_link_with_the_first() -> None:
    assert paths(topology("abcd", "ab bd ac cd", forward="bc")) == ["abd", "acd"]
    assert paths(topology("abcd", "ab bc cd", forward="bc")) == ["abc", "abcd", "bcd"]


def test_parallel_cables_make_two_routes_over_the_same_nodes() -> None:
    first, second = plan_routes(topology("abc", "ab ab bc bc", forward="b"))
    assert (first.links, second.links) == (("a-b", "b-c"), ("a-b.2", "b-c.2"))
    assert (first.name, second.name) == ("a-c.via-b", "route-2")


def test_the_shortest_path_wins() -> None:
    shortest = plan_routes(topology("abcd", "ab bc cd ad", forward="bcd"))
    assert next(route.nodes for route in shortest if route.ends == ("a", "c")) == ("a", "b", "c")


def test_the_host_is_the_last_resort() -> None:
    assert paths(topology("ab", "", host_forwards=True)) == ["ahb"]
    assert paths(topology("abc", "ab bc", forward="b", host_forwards=True)) == [
        "ahb",
        "abc",
        "ahc",
        "bhc",
    ]


def test_raw_links_carry_no_routes() -> None:
    assert plan_routes(topology("abc", "ab bc", forward="b", raw="bc")) == ()


def test_no_path_is_longer_than_the_limit() -> None:
    names = "abcdefghijk"
    row = " ".join(names[i : i + 2] for i in range(len(names) - 1))
    longest = max(len(route.links) for route in plan_routes(topology(names, row, forward=names)))
    assert longest == HOPS_MAX


def test_no_path_visits_a_node_twice() -> None:
    names = "abcdef"
    mesh = " ".join(one + other for one in names for other in names if one < other)
    for route in plan_routes(topology(names, mesh, forward=names, host_forwards=True)):
        assert len(set(route.nodes)) == len(route.nodes)
        assert len(route.links) == len(route.nodes) - 1


def test_names_fit_and_are_unique() -> None:
    names = "abcdef"
    mesh = " ".join(one + other for one in names for other in names if one < other)
    routes = plan_routes(topology(names, mesh, forward=names))
    assert len({route.name for route in routes}) == len(routes)
    assert all(len(route.name) <= 31 for route in routes)
