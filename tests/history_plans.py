"""Hypothesis' part: random plans, calm ones and such in which servers, lines and processes fail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from hypothesis import reject
from hypothesis import strategies as st

from tests.history_keys import KEYS, LASTING, TAGS
from tests.history_rig import MEMBERS, Plan

Step = Sequence[Any]
MAX_THREADS = 3
ALL_KEYS = st.sampled_from(sorted(KEYS))
SIMPLE = sorted(key for key, spec in KEYS.items() if not spec.parts and spec.policy is LASTING)
LOADS = st.sampled_from(
    [
        None,
        [["look"], ["parts"], ["writes", 1]],
        [["look"], ["writes", 2], ["parts"]],
        [["parts"], ["writes", 1], ["look"], ["parts"]],
        [["look"], ["fail"]],
    ]
)
READS = st.builds(
    lambda key, load, after: ["read", key, {"load": load, "after": after}], ALL_KEYS, LOADS, st.booleans()
)
BATCHES = st.lists(st.sampled_from(SIMPLE), min_size=2, max_size=5, unique=True).map(
    lambda keys: ["batch", keys]
)
WRITES = st.one_of(
    st.sampled_from(TAGS).map(lambda tag: ["invalidate", tag]),
    st.sampled_from(TAGS).map(lambda tag: ["soften", tag]),
    ALL_KEYS.map(lambda key: ["delete", key]),
    st.sampled_from(SIMPLE).map(lambda key: ["put", key]),
    st.just(["clear"]),
)
PAUSES = st.sampled_from([["sync"], ["outlast ttl"], *(["evict", key] for key in KEYS)])
CALM = st.one_of(READS, READS, READS, BATCHES, WRITES, WRITES, PAUSES)
CUTS = st.sampled_from([["cut"], ["mend"], ["mend"]])
WILD = st.one_of(READS, READS, READS, BATCHES, WRITES, WRITES, PAUSES, CUTS)
ONE = st.sampled_from(range(MEMBERS))
COMMANDS = ["CLIENT KILL TYPE pubsub", "CLIENT KILL TYPE normal", "FLUSHALL", "SCRIPT FLUSH"]
LINES = ["hang", "half_open", "cut"]
USES = ["SUBSCRIBE", "EVALSHA"]
"""What a connection must have been used for to be concerned: the backplane's, or those that write."""
FAULTS: st.SearchStrategy[list[Step]] = st.one_of(
    st.sampled_from(COMMANDS).map(lambda command: [[command]]),
    st.sampled_from(TAGS).map(lambda tag: [["lose version", tag]]),
    st.builds(
        lambda fault, key: [[fault, key]],
        st.sampled_from(["lose value", "lose epoch", "lose sequence"]),
        ALL_KEYS,
    ),
    st.just([["pause", 0.3]]),
    ONE.map(lambda number: [["kill", number]]),
    st.just([["SAVE"], ["writes", 2, 0.2], ["restart"]]),
    st.just([["follow"], ["writes", 1, 0.2], ["lag"], ["writes", 2, 0.2], ["fail over"]]),
    st.builds(
        lambda number, how: [["line", number, *how], ["writes", 4, 0.3], ["line", number, "heal"]],
        ONE,
        st.sampled_from([["refuse"], ["hang"], *([what, only] for what in LINES for only in USES)]),
    ),
)


def _members(steps: st.SearchStrategy[Step]) -> st.SearchStrategy[list[list[list[Step]]]]:
    part = st.lists(steps, min_size=2, max_size=7)
    parts = st.lists(part, min_size=1, max_size=MAX_THREADS)
    return st.lists(parts, min_size=MEMBERS, max_size=MEMBERS)


def calm_plans() -> st.SearchStrategy[Plan]:
    """Return plans in which nothing breaks: processes read and write at once."""
    return _members(CALM).map(lambda members: with_finale(Plan(members)))


def stormy_plans() -> st.SearchStrategy[Plan]:
    """Return plans in which up to three things break."""
    moments = st.integers(0, 6).map(lambda count: ["writes", count, 0.1])
    faults = st.lists(st.tuples(moments, FAULTS), min_size=1, max_size=3)

    def plan(members: Any, reborn: Any, faults: Any, host: bool) -> Plan:
        steps = [step for moment, fault in faults for step in (moment, *fault)]
        if [step[0] for step in steps].count("fail over") > 1:
            reject()  # the server that is left stays behind, so nobody may come back to it
        killed = {step[1] for step in steps if step[0] == "kill"}
        settings: dict[str, Any] = {"host": host}
        if {"pause", "line"} & {step[0] for step in steps}:
            settings["op_timeout"] = 0.1
        return with_finale(Plan(members, steps, {each: reborn[each] for each in killed}, settings=settings))

    return st.builds(plan, _members(WILD), _members(WILD), faults, st.booleans())


def with_finale(plan: Plan) -> Plan:
    """Return *plan* with an end: when all is quiet again, everybody reads everything."""
    flags = {
        number: range(1 + number * MAX_THREADS, 1 + (number + 1) * MAX_THREADS) for number in range(MEMBERS)
    }
    told = {number: 1 + MEMBERS * MAX_THREADS + number for number in range(MEMBERS)}

    def ended(number: int, parts: Sequence[Sequence[Step]]) -> Iterator[list[Step]]:
        for thread, part in enumerate(parts):
            used = [flags[number][thread]] if thread else [flags[number][0], *flags[number][len(parts) :]]
            end: list[Step] = [["mend"], *(["signal", flag] for flag in used)]
            if thread == 0:
                end += [["wait", flag] for each in flags.values() for flag in each]
                end += [["settle"], ["signal", told[number]], *(["wait", flag] for flag in told.values())]
                end += [["sync"], *(["read", key] for key in KEYS)]
            yield [*part, *end]

    return replace(
        plan,
        members=[list(ended(number, parts)) for number, parts in enumerate(plan.members)],
        reborn={number: list(ended(number, parts)) for number, parts in plan.reborn.items()},
    )
