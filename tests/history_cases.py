"""For each fence of the engine the history that needs it: without the fence something comes back.

In the plans flags are numbers that one thread raises and another waits for, so each runs in one order only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.history_rig import MEMBERS, Plan

Steps = Sequence[Sequence[Any]]


def _plan(*members: Sequence[Steps], faults: Steps = (), **rest: Any) -> Plan:
    idle: list[Sequence[Steps]] = [[]] * (MEMBERS - len(members))
    return Plan([*members, *idle], faults, **rest)


def _after(flag: int, *steps: Sequence[Any]) -> Steps:
    return [["wait", flag], *steps]


def _held(key: str, reached: int, until: int, *before: Sequence[Any]) -> Sequence[Any]:
    """Return a read of *key* whose loader, having looked, raises *reached* and waits for *until*."""
    return ["read", key, {"load": [*before, ["look"], ["parts"], ["signal", reached], ["wait", until]]}]


def _stopped(key: str, point: str, reached: int, until: int) -> Sequence[Any]:
    return ["read", key, {"at": {point: [reached, until]}}]


SECOND_READER = _plan(
    [[["read", "a"], ["invalidate", "red"], ["signal", 1]]],
    [_after(1, ["read", "a"])],
)
CLEARED = _plan(
    [[["read", "bare"], ["clear"], ["signal", 1]]],
    [_after(1, ["read", "bare"])],
)
OVERTAKEN_PUT = _plan(
    [
        [_held("a", 1, 2), ["signal", 3]],
        _after(1, ["invalidate", "red"], ["sync"], ["signal", 2], ["wait", 3], ["read", "a"]),
    ],
)
COPY_ELSEWHERE = _plan(
    [[["read", "a"], ["signal", 1]], _after(2, ["invalidate", "red"], ["signal", 3])],
    [_after(1, ["read", "a"], ["signal", 2], ["wait", 3], ["sync"], ["read", "a"])],
)
READ_AGAIN = _plan(
    [[["read", "a"], ["signal", 1]], _after(2, ["invalidate", "red"], ["signal", 3])],
    [_after(1, ["read", "a"], ["signal", 2], ["wait", 3], ["evict", "a"], ["read", "a"])],
)
OWN_COPY = _plan([[["read", "a"], ["invalidate", "red"], ["read", "a"]]])
DELETED_ELSEWHERE = _plan(
    [[["read", "a"], ["signal", 1]], _after(2, ["delete", "a"], ["signal", 3])],
    [_after(1, ["read", "a"], ["signal", 2], ["wait", 3], ["sync"], ["read", "a"])],
)
CLEARED_ELSEWHERE = _plan(
    [[["read", "a"], ["signal", 1]], _after(2, ["clear"], ["signal", 3])],
    [_after(1, ["read", "a"], ["signal", 2], ["wait", 3], ["sync"], ["read", "a"])],
)
REPLACED_ELSEWHERE = _plan(
    [[["read", "a"], ["signal", 1]], _after(2, ["put", "a"], ["signal", 3])],
    [_after(1, ["read", "a"], ["signal", 2], ["wait", 3], ["sync"], ["read", "a"])],
)
REPLACED_WHILE_READ = _plan(
    [[["read", "a"], ["signal", 1]], _after(2, ["put", "a"], ["signal", 3])],
    [
        _after(1, _stopped("a", "after read", 2, 4), ["read", "a"]),
        _after(3, ["sync"], ["signal", 4]),
    ],
)
PUT_AND_EVICTED = _plan(
    [
        [_held("a", 1, 4)],
        _after(
            1, ["put", "a"], ["signal", 2], ["wait", 3], ["evict", "a"], _stopped("a", "after board", 4, 4)
        ),
    ],
    faults=[["wait", 2], ["lose value", "a"], ["signal", 3]],
)
INHERITED_IN_FLIGHT = _plan(
    [
        [_held("parent", 1, 2)],
        _after(1, ["invalidate", "red"], _stopped("parent", "after board", 2, 2)),
    ],
)
OWN_FLIGHT = _plan(
    [
        [_held("a", 1, 2)],
        _after(1, ["invalidate", "red"], _stopped("a", "after board", 2, 2)),
    ],
)
LOADED_TWICE = _plan(
    [[_held("a", 1, 2)]],
    [_after(1, _stopped("a", "after begin", 2, 2))],
)
COPY_INSIDE_LOAD = _plan(
    [[["read", "a"], ["lose"], ["signal", 1], ["wait", 2], ["read", "owner"]]],
    [_after(1, ["invalidate", "red"], ["signal", 2])],
)
LOOK_INSIDE_LOAD = _plan(
    [
        _after(1, ["lose"], _stopped("a", "after read", 2, 4)),
        _after(3, ["read", "owner", {"load": [["look"], ["part", "a", {"at": {"after _board": [4, 4]}}]]}]),
    ],
    [[["read", "a"], ["signal", 1], ["wait", 2], ["invalidate", "red"], ["signal", 3]]],
)
PARENT_IN_L2 = _plan(
    [[["read", "parent"], ["invalidate", "red"], ["signal", 1]]],
    [_after(1, ["read", "parent"])],
)
SHORT_PART = _plan([[["read", "mixed"], ["outlast ttl"], ["read", "mixed"]]])
TORN = _plan(
    [
        [
            ["read", "a"],
            ["lose"],
            ["signal", 1],
            ["wait", 2],
            ["read", "pair", {"load": [["look"], ["part", "twin"], ["cut"], ["part", "a"], ["mend"]]}],
            ["signal", 3],
        ]
    ],
    [_after(1, ["invalidate", "red"], ["read", "twin"], ["signal", 2], ["wait", 3], ["read", "pair"])],
)
DELETED_WHILE_LOADING = _plan(
    [[_held("bare", 1, 2), ["signal", 3]]],
    [_after(1, ["delete", "bare"], ["signal", 2], ["wait", 3], ["read", "bare"])],
)
LOST_VERSION = _plan(
    [[["read", "a"], ["invalidate", "red"], ["signal", 1], ["wait", 2], ["read", "twin"], ["signal", 3]]],
    [_after(3, ["read", "a"])],
    faults=[["wait", 1], ["lose version", "red"], ["signal", 2]],
)
LOST_SEQUENCE = _plan(
    [
        [
            ["read", "close:{x}"],
            ["invalidate", "here:{x}"],
            ["signal", 1],
            ["wait", 2],
            ["read", "far:{x}"],
            ["invalidate", "there:{x}"],
            ["read", "eager:{x}"],
            ["signal", 3],
        ]
    ],
    [_after(3, ["read", "close:{x}"])],
    faults=[["wait", 1], ["lose sequence", "here:{x}"], ["lose version", "here:{x}"], ["signal", 2]],
)
OUTLIVED_VERSION = _plan(
    [
        [
            ["read", "close:{x}"],
            *[["invalidate", "here:{x}"]] * 3,
            ["signal", 1],
            ["wait", 2],
            ["read", "close:{x}"],
            *[["invalidate", "here:{x}"]] * 4,
            ["signal", 3],
        ]
    ],
    [_after(3, ["read", "close:{x}"])],
    faults=[["wait", 1], ["lose sequence", "here:{x}"], ["signal", 2]],
)
SNAPSHOT = _plan(
    [[["read", "a"], ["signal", 1], ["wait", 2], ["invalidate", "red"], ["signal", 3]]],
    [_after(4, ["sync"], ["read", "a"])],
    faults=[["wait", 1], ["SAVE"], ["signal", 2], ["wait", 3], ["restart"], ["signal", 4]],
)
FAILED_OVER = _plan(
    [[["read", "a"], ["signal", 1], ["wait", 2], ["invalidate", "red"], ["signal", 3]]],
    [_after(4, ["sync"], ["read", "a"])],
    faults=[["follow"], ["wait", 1], ["lag"], ["signal", 2], ["wait", 3], ["fail over"], ["signal", 4]],
)
DEAF_FOR_A_WHILE = _plan(
    [_after(3, ["invalidate", "red"], ["signal", 4])],
    [
        [
            ["read", "a"],
            ["hold subscribing"],
            ["signal", 1],
            ["be deaf"],
            ["signal", 3],
            ["wait", 4],
            ["subscribe"],
            ["sync"],
            ["read", "a"],
        ]
    ],
    faults=[["wait", 1], ["CLIENT KILL TYPE pubsub"]],
)
STUCK_BACKPLANE = _plan(
    [_after(1, ["invalidate", "red"], ["signal", 2])],
    [[["read", "a"], ["mute"], ["signal", 1], ["wait", 2], ["outlast bound"], ["read", "a"]]],
)
LOST_MESSAGE = _plan(
    [
        [["invalidate", "there:{x}"], ["signal", 1]],
        _after(2, ["invalidate", "here:{x}"], ["signal", 3]),
        _after(4, ["invalidate", "there:{x}"], ["signal", 5]),
    ],
    [
        [
            ["wait", 1],
            ["sync"],
            ["read", "close:{x}"],
            ["lose"],
            ["signal", 2],
            ["wait", 3],
            ["sync"],
            ["hear"],
            ["signal", 4],
            ["wait", 5],
            ["sync"],
            ["read", "close:{x}"],
        ]
    ],
)
QUEUED = _plan([[["read", "a"], ["cut"], ["invalidate", "red"], ["mend"], ["read", "a"]]])
JOINED_LOOK = _plan(
    [
        _after(1, _stopped("a", "after read", 2, 3)),
        _after(2, ["invalidate", "red"], _stopped("a", "after _board", 3, 3)),
    ],
    [[["read", "a"], ["signal", 1]]],
)
UNCHECKED = _plan(
    [_after(1, ["invalidate", "red"], ["signal", 2])],
    [
        [
            ["read", "a"],
            ["mute"],
            ["cut"],
            ["signal", 1],
            ["wait", 2],
            ["outlast bound"],
            ["outlast unchecked"],
            ["read", "a"],
        ]
    ],
)
UNTAGGED_PART = _plan(
    [[["read", "bare"], ["lose"], ["signal", 1], ["wait", 2], ["read", "heir"], ["signal", 3]]],
    [_after(1, ["clear"], ["signal", 2], ["wait", 3], ["read", "heir"])],
)
SOFT_IN_L2 = _plan(
    [[["read", "a"], ["soften", "red"], ["signal", 1]]],
    [_after(1, ["read", "a"])],
)
SOFT_ELSEWHERE = _plan(
    [[["read", "a"], ["signal", 1]], _after(2, ["soften", "red"], ["signal", 3])],
    [_after(1, ["read", "a"], ["signal", 2], ["wait", 3], ["sync"], ["read", "a"])],
)
OWN_SOFT = _plan([[["read", "a"], ["soften", "red"], ["read", "a"]]])
OVERTAKEN_BY_SOFT = _plan(
    [
        [_held("a", 1, 2), ["signal", 3]],
        _after(1, ["soften", "red"], ["sync"], ["signal", 2], ["wait", 3], ["read", "a"]),
    ],
)
LATE_TAG = _plan(
    [[["read", "twin"], _held("late", 1, 2), ["signal", 3]]],
    [_after(1, ["invalidate", "red"], ["signal", 2], ["wait", 3], ["read", "late"])],
)
KILLED_WRITER = _plan(
    [[["read", "a"], ["cut"], ["invalidate", "red"], ["signal", 1], ["wait", 4]]],
    [_after(2, ["read", "a"])],
    faults=[["wait", 1], ["kill", 0], ["signal", 2], ["signal", 4]],
    settings={"host": True},
)
READ_AFTER = _plan(
    [[["read", "a"], ["signal", 1]], _after(2, ["invalidate", "red"], ["signal", 3])],
    [_after(1, ["read", "a"], ["lose"], ["signal", 2], ["wait", 3], ["read", "a", {"after": True}])],
)
CASES = {
    "tag versions": SECOND_READER,
    "tag versions of plain hits": SECOND_READER,
    "key epoch": CLEARED,
    "key epoch of plain hits": CLEARED,
    "credentials of plain hits": READ_AGAIN,
    "marks of arrivals": COPY_ELSEWHERE,
    "marks": OVERTAKEN_PUT,
    "own invalidation of L1": OWN_COPY,
    "heard invalidations": COPY_ELSEWHERE,
    "heard deletions": DELETED_ELSEWHERE,
    "heard epochs": CLEARED_ELSEWHERE,
    "replaced copies": REPLACED_ELSEWHERE,
    "marks of replaced copies": REPLACED_WHILE_READ,
    "outdated flights": PUT_AND_EVICTED,
    "flights too old": INHERITED_IN_FLIGHT,
    "flights": OWN_FLIGHT,
    "frame accepts": COPY_INSIDE_LOAD,
    "inherited tags": PARENT_IN_L2,
    "inherited lifetimes": SHORT_PART,
    "torn frames": TORN,
    "lease": LOADED_TWICE,
    "lease token": DELETED_WHILE_LOADING,
    "lease removal": DELETED_WHILE_LOADING,
    "lost version": LOST_VERSION,
    "outlived version": OUTLIVED_VERSION,
    "lost sequence": LOST_SEQUENCE,
    "run id": SNAPSHOT,
    "run id of a replica": FAILED_OVER,
    "generation": DEAF_FOR_A_WHILE,
    "live until": STUCK_BACKPLANE,
    "holes": LOST_MESSAGE,
    "settling": QUEUED,
    "joined looks": JOINED_LOOK,
    "joined looks inside loads": LOOK_INSIDE_LOAD,
    "untagged parts": UNTAGGED_PART,
    "soft versions": SOFT_IN_L2,
    "heard softenings": SOFT_ELSEWHERE,
    "own softening of L1": OWN_SOFT,
    "marks of softenings": OVERTAKEN_BY_SOFT,
    "late tags": LATE_TAG,
    "journal": KILLED_WRITER,
    "receipts": READ_AFTER,
    "unchecked life": UNCHECKED,
}
