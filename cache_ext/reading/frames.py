"""Nesting: what a load read on its way decides how long its own result may live, and under which versions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from cache_ext.entry import Version
from cache_ext.errors import NestedLoadError
from cache_ext.keys import witness_of
from cache_ext.reading.slot import Slot


class Frame:
    """A load under way: the versions it stands on and the shortest life among what it read.

    Args:
        keys: what is being loaded.
        versions: noted before the loader was called.
        previous: what is to be replaced, by key.
        outer: the load inside which this one runs, None at the top.
    """

    def __init__(
        self,
        keys: frozenset[str],
        versions: Mapping[str, Version],
        previous: Mapping[str, Slot],
        outer: Frame | None,
    ) -> None:
        self.keys = keys
        self.previous = previous
        self._outer = outer
        self.versions = dict(versions)
        self.inherited: dict[str, Version] = {}
        self.loaded = math.inf
        self.fresh_until = math.inf
        self.stale_until = math.inf
        self.early_at = math.inf
        """When the first of what it read is to be refreshed."""
        self.torn = False
        """Whether its parts do not fit together, or one has nothing to show: what is made is not stored."""

    def accepts(self, slot: Slot) -> bool:
        """Tell whether *slot* was made under the versions that this load and those around it stand on."""
        frame: Frame | None = self
        while frame is not None:
            for tag, epoch, counter in slot.entry.tags:
                if frame.versions.get(tag, (epoch, counter)) != (epoch, counter):
                    return False
            frame = frame._outer
        return True

    def absorb(self, slot: Slot) -> None:
        """Take over the versions and the lifetime of what was just read; a contradiction tears the frame.

        What has no tags stands on the epoch of its bucket alone: `clear` may replace it unheard of here.
        """
        versions = slot.entry.versions or {witness_of(slot.key): Version(slot.entry.epoch, 0)}
        for tag, version in versions.items():
            if self.versions.setdefault(tag, version) != version:
                self.torn = True
            self.inherited.setdefault(tag, version)
        self.loaded = min(self.loaded, slot.loaded)
        self.fresh_until = min(self.fresh_until, slot.fresh_until)
        self.stale_until = min(self.stale_until, slot.stale_until)
        self.early_at = min(self.early_at, slot.early_at)

    def refuse_circle(self, key: str) -> None:
        """Raise NestedLoadError if *key* is being loaded by this load or one around it."""
        frame: Frame | None = self
        while frame is not None:
            if key in frame.keys:
                raise NestedLoadError(f"the loader of {key!r} asks for {key!r}")
            frame = frame._outer


_current: ContextVar[Frame | None] = ContextVar("cache_ext_frame", default=None)
_ahead: ContextVar[bool] = ContextVar("cache_ext_ahead", default=False)


current_frame: Callable[[], Frame | None] = _current.get
"""Returns the load inside which the caller runs, None outside of any."""


is_ahead: Callable[[], bool] = _ahead.get
"""Tells whether the caller works ahead: for nobody who waits, so that others need not."""


@contextmanager
def ahead() -> Iterator[None]:
    """Run the body, which refreshes something: what it reads is loaded if it is due, not served once more."""
    reset = _ahead.set(True)
    try:
        yield
    finally:
        _ahead.reset(reset)


@contextmanager
def loading(
    keys: frozenset[str], versions: Mapping[str, Version], previous: Mapping[str, Slot]
) -> Iterator[Frame]:
    """Run the body, a loader, inside a frame of its own; see `Frame`."""
    frame = Frame(keys, versions, previous, _current.get())
    reset = _current.set(frame)
    try:
        yield frame
    finally:
        _current.reset(reset)


@contextmanager
def apart() -> Iterator[None]:
    """Run the body, the part of a loader of many that makes one key's value, inside a frame of its own.

    What it reads must fit to the versions that the load stands on, but other keys do not inherit it. Nor does
    this one: its tags are to name all that is read, and `Loaded` says how long it lives.
    """
    frame = _current.get()
    if frame is None:
        yield
        return
    with loading(frozenset(), frame.versions, {}) as own:
        yield
    frame.torn |= own.torn
