"""What happens to the server of a history, and to the lines that lead to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import redis

from cache_ext.keys import KeySpace, bucket_of
from cache_ext.testing import FaultProxy
from tests.history_truth import Truth
from tests.servers import RunningServer
from tests.waiting import until

PROXIED = ("line", "fail over")
"""Faults for which all connections go through proxies, a line for each process."""
PATIENCE = 40.0
"""Seconds that a plan's flags are waited for."""


class Faults:
    """Plays faults. Use from the main thread.

    Args:
        server: that the processes share.
        truth: has the flags and writes that moments are told by.
    """

    def __init__(self, server: RunningServer, truth: Truth) -> None:
        self._server = server
        self._truth = truth
        self._replica: RunningServer | None = None
        self._lines: dict[int, FaultProxy] = {}

    @property
    def pids(self) -> Iterator[int]:
        """The numbers of the servers' processes."""
        yield from (server.pid for server in (self._server, self._replica) if server and server.running)

    def close(self) -> None:
        """End the replica."""
        if self._replica is not None:
            self._replica.close()

    def line(self, number: int) -> str:
        """Return the address of process *number*'s own line to the server, which `hang_up` ends."""
        if number not in self._lines:
            self._lines[number] = FaultProxy(self._server.url)
        return self._lines[number].url

    def hang_up(self) -> None:
        """End all lines."""
        for proxy in self._lines.values():
            proxy.close()
        self._lines.clear()

    def strike(self, space: KeySpace, fault: str, *rest: Any) -> None:
        """Let one fault happen, or wait for the moment of the next; an unknown word is a server's command."""
        lost: dict[str, Callable[[str], str]] = {
            "lose version": space.version,
            "lose value": space.value,
            "lose epoch": lambda name: space.epoch(bucket_of(name)),
            "lose sequence": lambda name: space.sequence(bucket_of(name)),
        }
        acts: dict[str, Callable[..., Any]] = {
            "wait": self._wait,
            "signal": self._truth.signal,
            "writes": self._truth.await_writes,
            "pause": self._pause,
            "restart": self._restart,
            "line": self._line,
            "follow": self._follow,
            "lag": self._lag,
            "fail over": self._fail_over,
        }
        if fault in lost:
            self._server.ask(f"DEL {lost[fault](*rest)}")
        elif fault in acts:
            acts[fault](*rest)
        else:
            self._server.ask(fault)

    def _wait(self, flag: int) -> None:
        if not self._truth.await_flag(flag, PATIENCE):
            raise RuntimeError(f"nobody raised flag {flag}")

    def _pause(self, seconds: float) -> None:
        self._server.pause()
        self._truth.await_writes(1 << 60, seconds)
        self._server.resume()

    def _restart(self) -> None:
        """Have the server crash, and start again from its last snapshot."""
        self._server.kill()
        self._server.start()

    def _line(self, number: int, what: str, only: str = "") -> None:
        how = {"only": only.encode()} if only else {}
        getattr(self._lines[number], what)(**how)

    def _follow(self) -> None:
        """Have a replica that has all that the server has."""
        if self._replica is None:
            self._replica = RunningServer(self._server.kind)
        self._server.ask("CONFIG SET repl-diskless-sync-delay 0")
        self._replica.ask(f"REPLICAOF 127.0.0.1 {self._server.port}")
        self._await_replica()

    def _lag(self) -> None:
        """Have the replica miss what is written from now on."""
        self._await_replica()
        assert self._replica is not None
        self._replica.ask("REPLICAOF NO ONE")

    def _await_replica(self) -> None:
        """Return when the replica has all that was written so far."""
        assert self._replica is not None
        with redis.Redis.from_url(self._server.url) as one, redis.Redis.from_url(self._replica.url) as other:
            written = one.info("replication")["master_repl_offset"]

            def has_all() -> bool:
                state = other.info("replication")
                return state["master_link_status"] == "up" and state["slave_repl_offset"] >= written

            until(has_all, "the replica has all")

    def _fail_over(self) -> None:
        """Let all lines lead to the replica; nobody reaches the server any more before anybody reaches it."""
        assert self._replica is not None
        for proxy in self._lines.values():
            proxy.refuse()
        for proxy in self._lines.values():
            proxy.retarget("127.0.0.1", self._replica.port)
            proxy.heal()
