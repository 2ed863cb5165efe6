"""A thread of a history: reads, writes and waits as its part says, and notes what it saw and when."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from cache_ext import CacheError, Loaded, Receipt, TieredCache
from tests.history_keys import EVERYTHING, KEYS, TAGS
from tests.history_stage import Stage
from tests.history_truth import Truth

PATIENCE = 15.0
"""Seconds that a plan's flags are waited for."""
SHORT_PATIENCE = 0.04
"""Seconds that a loader waits for writes to pass."""


class Down(Exception):
    """The origin does not answer."""


class Actor:
    """Does a list of steps, each a list of a word and what belongs to it. Steps of a loader are alike.

    A value is a map: ``made`` (when its oldest part was loaded), ``until`` and ``kept`` (the ends of the
    first of its parts, fresh and stale), ``of`` (pairs of a name and the counter that it had), all times on
    the monotonic clock.
    """

    def __init__(self, cache: TieredCache, stage: Stage, truth: Truth, notes: Any, number: int) -> None:
        self._cache = cache
        self._stage = stage
        self._truth = truth
        self._notes = notes
        self._number = number
        self._loads = threading.local()

    def act(self, part: Sequence[Sequence[Any]]) -> None:
        """Do all steps of *part*."""
        for step in part:
            try:
                self._do(*step)
            except (CacheError, TimeoutError) as error:
                self._note("failure", error=f"{step}: {type(error).__name__}: {error}")

    def _do(self, word: str, *rest: Any) -> None:
        if word == "read":
            self._read(*rest)
        elif word == "batch":
            self._batch(*rest)
        elif word in ("invalidate", "soften", "delete", "clear", "put"):
            self._write(word, *rest)
        elif word == "signal":
            self._truth.signal(*rest)
        elif word == "wait":
            self._wait(*rest)
        elif word == "evict":
            self._cache.runtime.near.drop(*rest)
        else:
            start = time.monotonic()
            self._stage.do(word)
            self._note(word, start=start, end=time.monotonic())

    def _wait(self, flag: int) -> None:
        if not self._truth.await_flag(flag, PATIENCE):
            self._note("failure", error=f"nobody raised flag {flag}")

    def _read(self, key: str, how: dict[str, Any] | None = None) -> dict[str, Any] | None:
        how = how or {}
        stops = {point: self._stopping(*flags) for point, flags in how.get("at", {}).items()}
        self._stage.stop(stops)
        after = self._truth.receipt() if how.get("after") else None
        wishes = {} if after is None else {"after": Receipt.parse(after["text"])}
        start, led = time.monotonic(), []

        def loader() -> Any:
            led.append(True)
            return self._with_late_tags(key, self._load(key, how.get("load"), stops, start))

        try:
            spec = KEYS[key]
            found = self._cache.fetch(key, loader, policy=spec.policy, tags=spec.tags, **wishes)
        except Down:
            return None
        self._note_read(key, start, found, bool(led), after and after["write"])
        return found.value

    def _with_late_tags(self, key: str, value: dict[str, Any]) -> Any:
        return Loaded(value, tags=KEYS[key].late) if KEYS[key].late else value

    def _batch(self, keys: Sequence[str]) -> None:
        start, led = time.monotonic(), set()

        def loader(missing: Sequence[str]) -> dict[str, Any]:
            led.update(missing)
            return {key: self._with_late_tags(key, self._load(key, None, {}, start)) for key in missing}

        results = self._cache.fetch_many(
            keys, loader, policy=KEYS[keys[0]].policy, tags_for=lambda key: KEYS[key].tags
        )
        for key, found in results.items():
            if not isinstance(found, Down):
                if isinstance(found, Exception):
                    raise found
                self._note_read(key, start, found, key in led)

    def _note_read(self, key: str, start: float, found: Any, led: bool, after: Any = None) -> None:
        facts = {
            "value": found.value,
            "outcome": found.outcome,
            "layer": found.layer,
            "led": led,
            "after": after,
        }
        end, away = time.monotonic(), self._stage.away_since(start)
        self._note("read", key=key, start=start, end=end, away=away, **facts)

    def _load(
        self, key: str, steps: Sequence[Sequence[Any]] | None, stops: dict[str, Any], asked: float
    ) -> dict[str, Any]:
        """Return the value of *key*. What it reads on its way stops nowhere; *stops* count again after it."""
        self._stage.stop({})
        spec, start = KEYS[key], time.monotonic()
        policy = spec.policy
        value = {"made": start, "until": start + policy.ttl, "of": []}
        value["kept"] = value["until"] + policy.stale_for
        for word, *rest in steps or (["look"], ["parts"]):
            if word == "look":
                names = (*spec.tags, *spec.late, key, EVERYTHING)
                value["of"] += [[name, self._truth.read(name)] for name in names]
            elif word == "part":
                self._take(value, self._read(*rest))
            elif word == "parts":
                for part in spec.parts:
                    self._take(value, self._read(part))
            elif word == "writes":
                self._truth.await_writes(*rest, SHORT_PATIENCE)
            elif word == "fail":
                raise Down
            else:
                self._do(word, *rest)
        self._stage.stop(stops)
        self._note("load", key=key, asked=asked, start=start, end=time.monotonic())
        return value

    def _take(self, value: dict[str, Any], part: dict[str, Any] | None) -> None:
        """Make *part* part of *value*; that of a key itself concerns only who reads that key."""
        if part is None:
            raise Down
        value["of"] += [[name, count] for name, count in part["of"] if name in (*TAGS, EVERYTHING)]
        value["made"] = min(value["made"], part["made"])
        value["until"] = min(value["until"], part["until"])
        value["kept"] = min(value["kept"], part["kept"])

    def _write(self, word: str, name: str = EVERYTHING) -> None:
        start, count = time.monotonic(), self._truth.advance(name)
        receipt = Receipt()
        if word == "invalidate":
            receipt = self._cache.invalidate_tags(name)
        elif word == "soften":
            receipt = self._cache.invalidate_tags(name, soft=True)
        elif word == "delete":
            receipt = self._cache.delete(name)
        elif word == "clear":
            receipt = self._cache.clear()
        else:
            self._put(name)
        end, away = time.monotonic(), self._stage.away_since(start)
        self._truth.written()
        if receipt.applied and word != "put":
            self._truth.leave_receipt({"write": [word, name, count], "text": str(receipt)})
        shared = self._cache.settings.host_dir is not None
        self._note(
            word, name=name, count=count, done=receipt.applied, shared=shared, start=start, end=end, away=away
        )

    def _put(self, name: str) -> None:
        """Set a value that is made after its versions were noted: what is set was true at that moment."""
        spec, value = KEYS[name], self._load(name, [["look"]], {}, time.monotonic())

        def renew() -> None:
            value["of"] = [[each, self._truth.read(each)] for each, _ in value["of"]]

        self._stage.stop({"before settle": renew, "after begin": renew})
        self._cache.set(name, value, policy=spec.policy, tags=(*spec.tags, *spec.late))
        self._stage.stop({})

    def _stopping(self, raised: int, awaited: int) -> Any:
        def stop() -> None:
            self._truth.signal(raised)
            self._wait(awaited)

        return stop

    def _note(self, what: str, **facts: Any) -> None:
        self._notes.note(what, thread=self._number, **facts)
