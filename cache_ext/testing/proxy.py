"""A TCP proxy in front of a Redis that delays, hangs, cuts, refuses and vanishes when told to."""

from __future__ import annotations

from dataclasses import replace
from typing import Self
from urllib.parse import urlsplit

from cache_ext.testing.relay import HOST, Relay
from cache_ext.testing.wires import NO_FAULT, Fault

REDIS_PORT = 6379


class FaultProxy:
    """Forwards connections to the Redis at *url*, well or badly. A context manager; any client may use it.

    Faults replace one another; each is in force when the call returns, and `heal` ends it. Several take
    ``only=``: bytes that a client must have sent for its connection to be concerned, for example
    ``b"SUBSCRIBE"``.

    Args:
        url: ``redis://`` or ``rediss://``, of the real server.
    Raises:
        ValueError: *url* has another scheme.
    """

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        if self._url.scheme not in ("redis", "rediss"):
            raise ValueError(f"the proxy stands before redis:// and rediss://, not {self._url.scheme}://")
        self._relay = Relay((self._url.hostname or HOST, self._url.port or REDIS_PORT))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def port(self) -> int:
        """The port of 127.0.0.1 that clients connect to."""
        return self._relay.port

    @property
    def url(self) -> str:
        """The server's URL with the proxy's address in it."""
        user, at, _ = self._url.netloc.rpartition("@")
        return self._url._replace(netloc=f"{user}{at}{HOST}:{self.port}").geturl()

    @property
    def connections(self) -> int:
        """How many connections were accepted in all."""
        return self._relay.accepted

    @property
    def open_connections(self) -> int:
        """How many connections there are now, dead ones that nobody closed included."""
        return len(self._relay.wires)

    @property
    def bytes_up(self) -> int:
        """How many bytes were forwarded to the server in all."""
        return self._relay.forwarded()[0]

    @property
    def bytes_down(self) -> int:
        """How many bytes were forwarded to clients in all."""
        return self._relay.forwarded()[1]

    def delay(self, seconds: float, *, only: bytes = b"") -> None:
        """Let every reply come *seconds* late."""
        self._suffer(Fault(delay=seconds, only=only))

    def hang(self, *, only: bytes = b"") -> None:
        """Accept connections and keep them, but forward nothing until `heal`; what was sent arrives then."""
        self._suffer(Fault(stalls=True, only=only))

    def half_open(self, *, only: bytes = b"") -> None:
        """Let the peer vanish: nothing passes, no end is told; `heal` revives no connection of that time."""
        self._suffer(Fault(vanishes=True, only=only))

    def cut(self, after: int = 0, *, reset: bool = True, lasting: bool = False, only: bytes = b"") -> None:
        """End the connections that are open, each *after* so many bytes more of replies; new ones work.

        Args:
            reset: with RST, as a crashed host does; False: with FIN, as a process that ends does.
            lasting: connections made from now on end after so many bytes too, until `heal`.
        """
        fault = Fault(cut_after=after, reset=reset, only=only)

        def order() -> None:
            self._relay.fault = fault if lasting else replace(fault, cut_after=None)
            for wire in [wire for wire in self._relay.wires if wire.concerned(fault)]:
                wire.cut_left = after
                if after == 0:
                    wire.close(reset)

        self._relay.order(order)

    def refuse(self) -> None:
        """Reset all connections and refuse new ones, as a host does on which nothing listens."""

        def order() -> None:
            self._relay.fault = NO_FAULT
            self._relay.refuse()

        self._relay.order(order)

    def heal(self) -> None:
        """End whatever fault there is."""

        def order() -> None:
            self._relay.fault = NO_FAULT
            self._relay.listen()

        self._relay.order(order)

    def retarget(self, host: str, port: int) -> None:
        """Forward connections that are made from now on to another server; see `cut` for those there are."""
        self._relay.target = (host, port)

    def close(self) -> None:
        """End all connections and the thread."""
        self._relay.close()

    def _suffer(self, fault: Fault) -> None:
        def order() -> None:
            self._relay.fault = fault
            for wire in self._relay.wires:
                wire.stands_still(fault)  # one that vanishes does so now, though nothing is sent

        self._relay.order(order)
