"""Histories on sentinels and clusters: a primary is lost, a replica takes over, the old one comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hypothesis import strategies as st
from redis.crc import REDIS_CLUSTER_HASH_SLOTS

from cache_ext.keys import KeySpace
from tests.cluster import PRIMARIES, Cluster, slot_of
from tests.history_plans import CALM, MAX_THREADS, with_finale
from tests.history_rig import MEMBERS, PATIENCE, Plan
from tests.history_truth import Truth
from tests.namespaces import Partition
from tests.sentinels import Sentinels
from tests.servers import RunningServer
from tests.waiting import until

Site = Sentinels | Cluster
LOST, TAKEN_OVER, BACK = 40, 41, 42
"""Flags: the primary is lost, another one is known to all, the old one is back as a replica."""
_PLACED = ("lose", "take over", "move", "lag", "take over beyond")
FIRST = "a"
"""A key on whose node all of it happens, where there are several."""


class SiteFaults:
    """Plays faults. Use from the main thread.

    Args:
        site: that the processes share.
        truth: has the flags and writes that moments are told by.
        partition: what lies between the sides of the site.
    """

    def __init__(self, site: Site, truth: Truth, partition: Partition | None = None) -> None:
        self._site = site
        self._partition = partition
        self._parted = False
        self._truth = truth
        self._lost: RunningServer | None = None
        self._behind: RunningServer | None = None

    @property
    def pids(self) -> Iterator[int]:
        """The numbers of the servers' processes."""
        yield from self._site.pids

    def close(self) -> None:
        """End nothing: the site has an owner."""

    def line(self, number: int) -> str:
        """Refuse: nobody's line goes through a proxy here."""
        raise RuntimeError(f"process {number} has no line: here nobody goes through a proxy")

    def hang_up(self) -> None:
        """Have all servers again, also after a history that failed."""
        if self._lost is not None:
            self._come_back()
        if self._parted:
            self._join()

    def strike(self, space: KeySpace, fault: str, *rest: Any) -> None:
        """Let one fault happen, or wait for the moment of the next."""
        acts: dict[str, Callable[..., Any]] = {
            "signal": self._truth.signal,
            "writes": self._truth.await_writes,
            "lose": self._lose,
            "take over": self._take_over,
            "come back": self._come_back,
            "move": self._move,
            "wait": self._wait,
            "lag": self._lag,
            "part": self._part,
            "take over beyond": self._take_over_beyond,
            "join": self._join,
        }
        acts[fault](*((space,) if fault in _PLACED else ()), *rest)

    def _wait(self, flag: int) -> None:
        if not self._truth.await_flag(flag, PATIENCE):
            raise RuntimeError(f"nobody raised flag {flag}")

    def _lag(self, space: KeySpace) -> None:
        """Have the replica miss what is written from now on, until the primary is lost."""
        if isinstance(self._site, Cluster):
            (self._behind,) = self._site.replicas_of(space.value(FIRST))
        else:
            (self._behind,) = self._site.replicas
        self._behind.pause()
        self._primary(space).ask("CLIENT KILL TYPE replica")

    def _lose(self, space: KeySpace, how: str) -> None:
        self._lost = self._primary(space)
        getattr(self._lost, how)()
        if self._behind is not None:
            self._behind.resume()
            self._behind = None

    def _take_over(self, space: KeySpace) -> None:
        assert self._lost is not None
        if isinstance(self._site, Cluster):
            self._site.until_taken_over(space.value(FIRST), self._lost)
        else:
            self._site.until_taken_over(self._lost)

    def _come_back(self) -> None:
        assert self._lost is not None
        if self._lost.running:
            self._lost.resume()
        else:
            self._lost.start()
        self._site.until_healthy()
        self._lost = None

    def _move(self, space: KeySpace) -> None:
        """Move the slot of a key to another node."""
        assert isinstance(self._site, Cluster)
        place = space.value(FIRST)
        target = next(node for node in self._site.primaries if node is not self._primary(space))
        self._site.move(place, target)

    def _part(self) -> None:
        assert self._partition is not None
        self._partition.cut()
        self._parted = True

    def _take_over_beyond(self, space: KeySpace) -> None:
        """Wait until the far side has a primary of its own."""
        site = self._site
        if isinstance(site, Cluster):
            place = space.value(FIRST)
            near = site.nodes[near_node()]
            beyond = next(node for node in site.nodes if node is not near)
            until(lambda: site.primary_of(place, beyond) is not near, "the far side has one")
        else:
            heir, (_, *beyond_it) = site.servers[1], site.sentinels
            until(lambda: all(site.named_by(each) is heir for each in beyond_it), "the far side has one")

    def _join(self) -> None:
        assert self._partition is not None
        self._partition.heal()
        self._site.until_healthy()
        self._parted = False

    def _primary(self, space: KeySpace) -> RunningServer:
        if isinstance(self._site, Cluster):
            return self._site.primary_of(space.value(FIRST))
        return self._site.primary


UNHEARD = Plan(
    members=[
        [[["read", "a"], ["signal", 1], ["wait", 2], ["invalidate", "red"], ["signal", 3]]],
        [[["wait", TAKEN_OVER], ["sync"], ["read", "a"]]],
        [],
    ],
    faults=[
        *(["wait", 1], ["lag"], ["signal", 2], ["wait", 3], ["lose", "kill"]),
        *(["take over"], ["signal", TAKEN_OVER]),
    ],
)
"""An invalidation that was applied, and that the replica which takes over has not heard of."""


PARTED = Plan(
    members=[
        [
            [
                *(["read", "a"], ["signal", 1], ["wait", 5]),
                *(["outlast bound"], ["read", "a"], ["signal", 6]),
                *(["wait", BACK], ["sync"], ["read", "a"]),
            ]
        ],
        [
            [
                *(["wait", TAKEN_OVER], ["outlast bound"], ["sync"], ["read", "a"]),
                *(["invalidate", "red"], ["signal", 5]),
                *(["wait", BACK], ["sync"], ["read", "a"]),
            ]
        ],
        [],
    ],
    faults=[
        *(["wait", 1], ["part"], ["take over beyond"], ["signal", TAKEN_OVER]),
        *(["wait", 6], ["join"], ["signal", BACK]),
    ],
    settings={"monitoring": False},
)
"""The first process is cut off together with the primary; another invalidates on the side that counts.

Nobody asks Redis but for what is told here: whoever did would notice, and look at his copies with other eyes.
"""


def near_node() -> int:
    """Return the number of the node of a new cluster on which `FIRST` lies, in every namespace."""
    return slot_of(KeySpace("any").value(FIRST)) * PRIMARIES // REDIS_CLUSTER_HASH_SLOTS


def lossy_plans(how: str) -> st.SearchStrategy[Plan]:
    """Return plans in which a primary is lost: what is done before, while nobody serves, after, and at last.

    Args:
        how: ``kill`` it, or ``pause`` it, so that it wakes as an old one.
    """
    moments = st.integers(0, 4).map(lambda count: ["writes", count, 0.1])
    return st.builds(
        lambda members, moment: _plan(
            members,
            [
                moment,
                *(["lose", how], ["signal", LOST], ["take over"], ["signal", TAKEN_OVER]),
                *(["writes", 1 << 60, 0.2], ["come back"], ["signal", BACK]),
            ],
            (LOST, TAKEN_OVER, BACK),
        ),
        _members(3),
        moments,
    )


def moving_plans() -> st.SearchStrategy[Plan]:
    """Return plans in which a slot moves to another node."""
    moments = st.integers(1, 4).map(lambda count: ["writes", count, 0.1])
    return st.builds(
        lambda members, moment: _plan(members, [moment, ["move"], ["signal", BACK]], (BACK,)),
        _members(1),
        moments,
    )


def _members(moments: int) -> st.SearchStrategy[Any]:
    part = st.lists(CALM, min_size=1, max_size=5)
    parts = st.lists(part, min_size=moments + 1, max_size=moments + 1)
    threads = st.lists(parts, min_size=1, max_size=MAX_THREADS)
    return st.lists(threads, min_size=MEMBERS, max_size=MEMBERS)


def _plan(members: Sequence[Any], faults: Sequence[Any], flags: Sequence[int]) -> Plan:
    def joined(parts: Sequence[Sequence[Any]]) -> list[Any]:
        steps = list(parts[0])
        for flag, part in zip(flags, parts[1:], strict=True):
            steps += [["wait", flag], *part]
        return steps

    crews = [[joined(parts) for parts in threads] for threads in members]
    return with_finale(Plan(crews, faults, settings={"host": True, "op_timeout": 0.3}))
