"""The way to a cluster: each command goes to the node its keys lie on, in one round trip a node, in parallel.

A bucket that has come to a node is adopted there, as that of a server that was restarted, before anything on
it counts (see `nodes`). The cluster is taken as one: while a primary does not answer, none of it counts (see
`breaker`), as the cluster itself does where `cluster-require-full-coverage` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from redis.exceptions import AskError, ConnectionError, MovedError, NoScriptError, ResponseError

from cache_ext.transport.commands import Command, Prepared, info_field
from cache_ext.transport.greeting import raise_first_error
from cache_ext.transport.nodes import Nodes
from cache_ext.transport.server import Address, Server
from cache_ext.transport.slots import slot_of, slot_of_command
from cache_ext.transport.ways import WAIT, Texts, whole

MOST_TURNS = 5
"""Times that a command is sent on: a slot on its way needs two."""
_ASKING: Command = ("ASKING",)
_STATE: Prepared = Prepared([("CLUSTER", "INFO")])


class _Errand(NamedTuple):
    """A command on its way.

    Args:
        place: of the command among those that were given.
        guest: the node to which its slot is moving, and which says it has the key; None: whose slot it is.
    """

    place: int
    command: Command
    guest: Address | None = None


class _Parcel(NamedTuple):
    """What goes to one node in one trip."""

    address: Address
    server: Server
    errands: tuple[_Errand, ...]
    wire: Prepared


class Cluster:
    """See `ways.Way`.

    Args:
        nodes: know where each slot lies.
        texts: the scripts that may be run.
        monotonic: the clock, seconds.
    """

    publish = "SPUBLISH"
    clustered = True

    def __init__(self, nodes: Nodes, texts: Texts, monotonic: Callable[[], float]) -> None:
        self.nodes = nodes
        self._texts = texts
        self._monotonic = monotonic

    def converse(self, commands: Sequence[Command], deadline: float) -> list[Any]:
        """See `Way.converse`. TIME and WAIT are asked of each node that is asked anything; see `_JOINS`."""
        replies: list[Any] = [None] * len(commands)
        parcels = self._route(commands, deadline)
        for _ in range(MOST_TURNS):
            again = self._exchange(parcels, replies, deadline)
            if not again:
                return raise_first_error(replies)
            parcels = self._pack(again, deadline)
        raise ConnectionError("slots move to and fro, as nodes of the cluster tell")

    def pulse(self, deadline: float) -> None:
        """See `Way.pulse`."""
        for server in self._primaries(deadline).values():
            (info,) = raise_first_error(server.converse(_STATE, deadline))
            if info_field(info, b"cluster_state") != "ok":
                raise ConnectionError("a node takes the cluster for down")

    def servers(self) -> Mapping[str, Server]:
        """See `Way.servers`."""
        return {str(address): server for address, server in self.nodes.primaries.items()}

    def server_of(self, key: str) -> Server:
        """See `Way.server_of`."""
        return self.nodes.of_slot(slot_of(key))[1]

    def confirm(self) -> object:
        """See `Way.confirm`."""
        return self.nodes.version

    def doubt(self) -> None:
        """See `Way.doubt`."""
        self.nodes.watch.doubt()

    def watch(self, changed: Callable[[], None]) -> None:
        """See `Way.watch`."""
        self.nodes.start(changed)

    def close(self) -> None:
        """See `Way.close`."""
        self.nodes.close()

    def _primaries(self, deadline: float) -> Mapping[Address, Server]:
        self.nodes.of_slot(0, deadline - self._monotonic())
        return self.nodes.primaries

    def _route(self, commands: Sequence[Command], deadline: float) -> Sequence[_Parcel]:
        """Return *commands*, sorted by node; those that are sent again and again remember where they go."""
        version = self.nodes.version  # before it is asked where each lies
        if isinstance(commands, Prepared) and commands.route is not None and commands.route[0] is version:
            return commands.route[1]  # type: ignore[no-any-return]
        parcels = self._pack([_Errand(place, command) for place, command in enumerate(commands)], deadline)
        if isinstance(commands, Prepared):
            commands.route = version, parcels
        return parcels

    def _pack(self, errands: Iterable[_Errand], deadline: float) -> Sequence[_Parcel]:
        """Sort *errands* by node, in one order for everybody: nobody waits for who waits for him."""
        left = deadline - self._monotonic()
        by_node: dict[Address, tuple[Server, list[_Errand]]] = {}
        anywhere = []
        for errand in errands:
            slot = slot_of_command(errand.command)
            if slot is None:
                anywhere.append(errand)
                continue
            owner = errand.guest or self.nodes.of_slot(slot, left)[0]
            by_node.setdefault(owner, (self.nodes.at(owner), []))[1].append(errand)
        if not by_node and anywhere:
            owner, server = self.nodes.of_slot(0, left)
            by_node[owner] = server, []
        return [
            _Parcel(owner, server, mine := (*found, *anywhere), _wire(mine))
            for owner, (server, found) in sorted(by_node.items(), key=lambda each: each[0])
        ]

    def _exchange(self, parcels: Sequence[_Parcel], replies: list[Any], deadline: float) -> list[_Errand]:
        """Send *parcels*, all before any reply is awaited; return what must be sent on."""
        again: list[_Errand] = []
        taken: list[tuple[_Parcel, Any]] = []
        clean = False
        try:
            for parcel in parcels:
                try:
                    taken.append((parcel, parcel.server.take(deadline)))
                except MovedError as error:  # what it was to adopt lies elsewhere
                    self.nodes.move(error.slot_id, _address(error, parcel))
                    again += parcel.errands
            for parcel, connection in taken:
                parcel.server.send(connection, parcel.wire, deadline)
            answers = [
                parcel.server.receive(connection, len(parcel.wire), deadline) for parcel, connection in taken
            ]
            clean = True
        finally:
            for parcel, connection in taken:  # replies may be on their way still: nobody else may read them
                parcel.server.give_back(connection, clean)
        for (parcel, _), found in zip(taken, answers, strict=True):
            again += self._sort(parcel, found, replies)
        return again

    def _sort(self, parcel: _Parcel, found: Sequence[Any], replies: list[Any]) -> list[_Errand]:
        """Put what was *found* where it belongs in *replies*; return the errands that must go on."""
        again, received = [], iter(found)
        for errand in parcel.errands:
            if errand.guest is not None:
                next(received)  # to ASKING
            reply = next(received)
            if (onward := self._follow(parcel, errand, reply)) is not None:
                again.append(onward)
            elif (join := _JOINS.get(str(errand.command[0]))) is not None and replies[
                errand.place
            ] is not None:
                replies[errand.place] = join(replies[errand.place], reply)
            else:
                replies[errand.place] = reply
        if again:
            again += [errand for errand in parcel.errands if errand.command[0] == WAIT]
        return again

    def _follow(self, parcel: _Parcel, errand: _Errand, reply: Any) -> _Errand | None:
        """Return where *errand* goes on to, None if this is the reply to it."""
        if isinstance(reply, MovedError):
            self.nodes.move(reply.slot_id, _address(reply, parcel))
            return errand._replace(guest=None)
        if isinstance(reply, AskError) and not self._tells_others(errand.command):
            return errand._replace(guest=_address(reply, parcel))
        if isinstance(reply, NoScriptError):
            return errand._replace(command=whole(errand.command, self._texts))
        return None

    def _tells_others(self, command: Command) -> bool:
        """Tell whether *command* publishes: nobody would hear it on a node that does not own the slot yet."""
        if command[0] == "EVALSHA":
            return self.publish in self._texts[str(command[1])]
        return command[0] == self.publish or (command[0] == "EVAL" and self.publish in str(command[1]))


def _wire(errands: Sequence[_Errand]) -> Prepared:
    words: list[Command] = []
    for errand in errands:
        if errand.guest is not None:
            words.append(_ASKING)
        words.append(errand.command)
    return Prepared(words)


def _address(error: AskError, parcel: _Parcel) -> Address:
    """Return where *error* sends on to; a node that does not know its own host names none."""
    return Address(error.host or parcel.address.host, error.port)


def _later(one: Any, other: Any) -> Any:
    """Return the later of two replies to TIME."""
    return max(one, other, key=lambda time: (int(time[0]), int(time[1])))


def _joined(join: Callable[[Any, Any], Any], one: Any, other: Any) -> Any:
    """Return what two nodes replied, as one; an error stays one."""
    for reply in (one, other):
        if isinstance(reply, ResponseError):
            return reply
    return join(one, other)


_JOINS: Mapping[str, Callable[[Any, Any], Any]] = {
    "TIME": partial(_joined, _later),
    WAIT: partial(_joined, min),
}
"""What several nodes are asked at once, and how their replies become one."""
