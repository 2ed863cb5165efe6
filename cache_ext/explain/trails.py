"""What the requests of this process did lately: a bounded ring, to which a hit adds one tuple and no more."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any, NamedTuple

PLACES = 4_096
"""Requests that a process remembers."""
MAX_READS = 128
"""Reads that are noted of one request; a batch has no more keys than 100."""
WHOLE = 512
"""Requests whose reads are all remembered; of older ones there are some."""
KEPT_READS = 8

Hit = tuple[str, float, str, float]
"""What a door notes of a response from L1: request id, when (s, monotonic), key, when that was loaded."""


class Read(NamedTuple):
    """A key that a request read.

    Args:
        at: when that was done, seconds on the monotonic clock.
        age: of what was served, seconds; 0 if nothing was.
    """

    key: str
    cache: str
    layer: str
    outcome: str
    at: float
    age: float


class Plain(NamedTuple):
    """A request that no door answered: a view, or the refusal of one.

    Args:
        name: of the view; a path may hold what is nobody's business.
    """

    id: str
    at: float
    method: str
    name: str
    status: int


class Trail:
    """What one request does, noted as it goes; the context of its thread or greenlet leads to it.

    Args:
        id: of the request.
        began: seconds on the monotonic clock.
        key: of the response that it asks for.
    """

    __slots__ = (
        "_lock",
        "_open",
        "_token",
        "answered",
        "began",
        "cache_status",
        "hidden",
        "id",
        "key",
        "method",
        "outcome",
        "reads",
        "reasons",
        "status",
    )

    def __init__(self, id: str, began: float, method: str, key: str) -> None:
        self.id = id
        self.began = began
        self.method = method
        self.key = key
        self.reads: list[Read] = []
        self.reasons: dict[str, str] = {}
        """By key, why what the store had of it did not count."""
        self.hidden = 0
        """Reads that are not shown: of sensitive values, or too many."""
        self.status = 0
        self.outcome = self.cache_status = ""
        self.answered = 0.0
        self._open = True
        self._lock = threading.Lock()
        self._token: Token[Trail | None] | None = None

    def note(self, read: Read, *, sensitive: bool = False) -> None:
        """Note *read*, unless the request is over; of a *sensitive* one only that there was one."""
        if not self._open:
            return
        with self._lock:
            if sensitive or len(self.reads) >= MAX_READS:
                self.hidden += 1
            else:
                self.reads.append(read)

    def explain(self, key: str, reason: str) -> None:
        """Note why what the store has of *key* does not count."""
        if self._open and len(self.reasons) < MAX_READS:
            self.reasons[key] = reason

    def trim(self) -> None:
        """Forget all but some of the reads: what a process remembers is bounded in bytes too."""
        with self._lock:
            self.hidden += len(self.reads[KEPT_READS:])
            del self.reads[KEPT_READS:]
            kept = {read.key for read in self.reads}
            self.reasons = {key: reason for key, reason in self.reasons.items() if key in kept}

    def answering(
        self, start_response: Callable[..., Any], monotonic: Callable[[], float]
    ) -> Callable[..., Any]:
        """Return *start_response*, which notes what is answered."""

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            self.answered = monotonic()
            self.status = int(status[:3])
            for name, value in headers:
                if name == "X-Cache":
                    self.outcome = value
                elif name == "Cache-Status":
                    self.cache_status = value
            return start_response(status, headers, *rest)

        return start

    def __enter__(self) -> None:
        self._token = _current.set(self)

    def __exit__(self, *_: object) -> None:
        self._open = False  # a greenlet begun inside keeps the context, and may outlive the request
        if self._token is not None:
            _current.reset(self._token)
            self._token = None


_current: ContextVar[Trail | None] = ContextVar("cache_ext_trail", default=None)


current_trail: Callable[[], Trail | None] = _current.get
"""Returns the trail of the request that the caller works for, None if none is noted."""


class Requests:
    """The ring: what there is no place for any more is forgotten, oldest first."""

    def __init__(self) -> None:
        self._ring: deque[Hit | Plain] = deque(maxlen=PLACES)
        self._trails: deque[Trail] = deque(maxlen=PLACES)
        self.note: Callable[[Hit | Plain], None] = self._ring.append
        """Adds a request; atomic, a single call into C."""

    def follow(self, trail: Trail) -> None:
        """Add a request that notes what it does."""
        self._trails.append(trail)
        if len(self._trails) > WHOLE:
            self._trails[-WHOLE - 1].trim()

    def of(self, id: str) -> tuple[list[Trail], list[Hit], list[Plain]]:
        """Return what there is of the request *id*; clients may give several the same one."""
        hits: list[Hit] = []
        plain: list[Plain] = []
        for each in [each for each in list(self._ring) if each[0] == id]:
            if isinstance(each, Plain):
                plain.append(each)
            else:
                hits.append(each)
        return [trail for trail in list(self._trails) if trail.id == id], hits, plain

    def __len__(self) -> int:
        return len(self._ring) + len(self._trails)
