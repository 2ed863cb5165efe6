"""The ways to Redis: to one server here; see `sentinels` and `cluster` for the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from redis.exceptions import NoScriptError

from cache_ext.transport.commands import Command
from cache_ext.transport.greeting import raise_first_error
from cache_ext.transport.server import Server

WAIT = "WAIT"
"""Asks, as the last of several commands, how many replicas have what was written by those before it."""
Texts = Mapping[str, str]
"""The scripts that may be run, by SHA1."""


class Way(Protocol):
    """How commands come to where their keys lie."""

    publish: str
    """The command that publishes on a channel."""

    @property
    def clustered(self) -> bool:
        """Whether commands are refused whose keys lie in several slots."""
        ...

    def converse(self, commands: Sequence[Command], deadline: float) -> list[Any]:
        """Return the replies to *commands*, in one round trip a server.

        Raises:
            RedisError: or OSError; one of them was refused, or a server did not answer until *deadline*.
        """
        ...

    def pulse(self, deadline: float) -> None:
        """Return if what keys lie on is there to answer. Raises as `converse`."""
        ...

    def servers(self) -> Mapping[str, Server]:
        """Return those that keys lie on, by name."""
        ...

    def server_of(self, key: str) -> Server:
        """Return the one that *key*, or a channel, lies on."""
        ...

    def confirm(self) -> object:
        """Return what changes as soon as keys lie elsewhere.

        Raises:
            RedisError: nobody can say where they lie.
        """
        ...

    def doubt(self) -> None:
        """Look soon whether keys still lie where they did: a server failed, or said so."""
        ...

    def watch(self, changed: Callable[[], None]) -> None:
        """Go on finding out, in a thread, where keys lie; *changed* is called when that changes."""
        ...

    def close(self) -> None:
        """End all connections, and the watch."""
        ...


class Single:
    """One server, at one address."""

    publish = "PUBLISH"

    def __init__(self, server: Server, texts: Texts) -> None:
        self.server = server
        self._texts = texts

    @property
    def clustered(self) -> bool:
        """See `Way`."""
        return self.server.reception.clustered

    def converse(self, commands: Sequence[Command], deadline: float) -> list[Any]:
        """See `Way.converse`."""
        replies = self.server.converse(commands, deadline)
        if forgotten := [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]:
            again = [whole(commands[at], self._texts) for at in forgotten]
            if commands[-1][0] == WAIT:
                forgotten.append(len(commands) - 1)
                again.append(commands[-1])
            for at, reply in zip(forgotten, self.server.converse(again, deadline), strict=True):
                replies[at] = reply
        return raise_first_error(replies)

    def pulse(self, deadline: float) -> None:
        """See `Way.pulse`."""
        self.converse([("PING",)], deadline)

    def servers(self) -> Mapping[str, Server]:
        """See `Way.servers`."""
        return {"": self.server}

    def server_of(self, key: str) -> Server:
        """See `Way.server_of`."""
        return self.server

    def confirm(self) -> object:
        """See `Way.confirm`: it stays."""
        return None

    def doubt(self) -> None:
        """See `Way.doubt`: there is no other."""

    def watch(self, changed: Callable[[], None]) -> None:
        """See `Way.watch`: there is nothing to find out."""

    def close(self) -> None:
        """See `Way.close`."""
        self.server.pool.disconnect()


def whole(command: Command, texts: Texts) -> Command:
    """Return *command*, which runs a script by name, with the script's text."""
    return ("EVAL", texts[str(command[1])], *command[2:])
