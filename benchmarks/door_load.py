"""Contestants under load, in turn: requests per second, and what each costs the worker."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.door_client import Connections
from benchmarks.door_servers import PATH, Server

CALLERS = 16
"""Addresses that requests come from, where the server believes a proxy what it says."""


@dataclass(frozen=True)
class Load:
    """A contestant: a server, and what is asked of it.

    Args:
        name: of the contestant.
        status: that each answer has.
        headers: of the request.
    """

    name: str
    server: Server
    status: int = 200
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()

    def check(self) -> None:
        """Ask once; end the program if the answer is not as expected."""
        status, _, _ = self.server.get(dict(self.headers), self.method)
        if status != self.status:
            sys.exit(f"{self.name}: {status} instead of {self.status}")

    def connect(self, count: int) -> Connections:
        """Return *count* connections that ask."""
        requests = []
        for caller in range(CALLERS):
            lines = [f"{self.method} {PATH} HTTP/1.1", f"Host: 127.0.0.1:{self.server.port}"]
            lines += ["User-Agent: door", "Accept: */*", f"X-Forwarded-For: 203.0.113.{caller}"]
            lines += [f"{name}: {value}" for name, value in self.headers]
            requests.append("\r\n".join([*lines, "", ""]).encode())
        bodies = self.method != "HEAD" and self.status == 200
        return Connections(self.server.port, requests, count, self.status, bodies)


@dataclass
class Turns:
    """What the rounds gave a contestant: requests per second, and seconds of the worker's CPU for each."""

    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)


def contest(loads: Sequence[Load], rounds: int, seconds: float, connections: int) -> dict[str, Turns]:
    """Press each in turn, round after round, each round beginning with another one."""
    turns = {load.name: Turns() for load in loads}
    for load in loads:
        load.check()
    for number in range(rounds):
        first = number % len(loads)
        for load in (*loads[first:], *loads[:first]):
            before = load.server.cpu()
            with load.connect(connections) as connected:
                rate, count = connected.press(seconds)
            turns[load.name].rates.append(rate)
            turns[load.name].costs.append((load.server.cpu() - before) / count)
    return turns


def ratios(one: Sequence[float], other: Sequence[float]) -> tuple[float, float, float]:
    """Return how often *other* goes into *one*, round by round: the middle, the least, the most."""
    each = [mine / theirs for mine, theirs in zip(one, other, strict=True)]
    return statistics.median(each), min(each), max(each)
