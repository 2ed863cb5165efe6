"""Asking the other processes what they know: a question and its answers go over the backplane.

A question names its id, what it is about and its subject; whoever hears it answers on the same channel, also
if he knows nothing, so that the one who asks knows whom he has heard. It is asked rarely, by hand; that all
processes hear all answers costs less than anything that would have to be kept and cleared away.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec

from cache_ext.coherence.messages import Message, encode_names
from cache_ext.entry import new_stamp
from cache_ext.errors import StoreUnavailable
from cache_ext.explain.answers import Answer
from cache_ext.keys import KeySpace
from cache_ext.loading.background import Background
from cache_ext.transport.connection import RedisGateway

PATIENCE = 0.5
"""Seconds that answers are waited for."""
CHANNEL = 0
"""The bucket whose channel questions and answers take."""
MAX_ANSWER_BYTES = 262_144
"""Of an answer; of requests that are more the newest are told."""
AT_ONCE = 4
"""Questions that a process answers at once; what more it is asked it leaves to others."""

Known = Callable[[Sequence[str]], Answer]
"""Returns what this process knows of a subject: the kind of it, its name, and what else goes with it."""
_decode = msgspec.json.Decoder(Answer).decode


class _Pending:
    """A question of this process that answers are awaited for."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.expected: int | None = None
        self.all_here = threading.Event()

    def look(self) -> None:
        """Let the one who asked go on if nobody is left to wait for."""
        if self.expected is not None and len(self.answers) >= self.expected:
            self.all_here.set()


class Heard(NamedTuple):
    """What came of a question.

    Args:
        answers: of other processes.
        expected: how many should have come, as the server counts who listens.
    """

    answers: tuple[Answer, ...]
    expected: int


class Inquiries:
    """Asks and answers, for one process.

    Args:
        gateway: the way to Redis.
        space: whose channel it is.
        signature: of this process' own messages.
        known: what this process knows.
        listening: waits, so many seconds at most, until this process hears others; returns whether it does.
    """

    def __init__(
        self,
        gateway: RedisGateway,
        space: KeySpace,
        signature: str,
        known: Known,
        listening: Callable[[float], bool],
    ) -> None:
        self._listening = listening
        self._gateway = gateway
        self._channel = space.channels[CHANNEL]
        self._signature = signature
        self._known = known
        self._answering = Background(AT_ONCE, "cache-ext-answer")
        self._pending: dict[str, _Pending] = {}

    def ask(self, subject: Sequence[str]) -> Heard:
        """Return what the others know of *subject*. Raises StoreUnavailable: nobody can be asked."""
        if not self._listening(PATIENCE):
            raise StoreUnavailable("the backplane is not connected")
        question, pending = new_stamp().decode(), _Pending()
        self._pending[question] = pending
        try:
            listeners = self._publish("q", [question, *subject])
            pending.expected = max(0, listeners - 1)
            pending.look()
            pending.all_here.wait(PATIENCE)
            return Heard(tuple(pending.answers), pending.expected)
        finally:
            del self._pending[question]

    def heard(self, message: Message) -> None:
        """Answer a question, in a thread of its own, or take an answer."""
        if message.sender == self._signature or len(message.names) < 2:
            return
        if message.kind == "q":
            self._answering.run(lambda: self._answer(message.names[0], message.names[1:]))
        elif message.kind == "a" and (pending := self._pending.get(message.names[0])) is not None:
            self._take(pending, message.names[1])

    def close(self, patience: float) -> None:
        """Answer nothing more; wait for answers under way, *patience* seconds each."""
        self._answering.close(patience)

    def _answer(self, question: str, subject: Sequence[str]) -> None:
        answer = self._known(subject)
        while len(text := msgspec.json.encode(answer)) > MAX_ANSWER_BYTES and answer.requests:
            newer = answer.requests[len(answer.requests) // 2 + 1 :]
            answer = msgspec.structs.replace(answer, requests=newer)
        with suppress(StoreUnavailable):  # who asked will say that we did not answer
            self._publish("a", [question, text.decode()])

    def _publish(self, kind: str, names: Sequence[str]) -> int:
        """Publish a message; return how many listen on this server."""
        content = f"{kind}::0:".encode() + encode_names(names, self._signature)
        (listeners,) = self._gateway.run_aside([(self._gateway.way.publish, self._channel, content)])
        return listeners if isinstance(listeners, int) else 0

    def _take(self, pending: _Pending, text: str) -> None:
        try:
            answer = _decode(text)
        except (msgspec.MsgspecError, ValueError):
            return  # who speaks another version, or is no process of ours
        pending.answers.append(answer)
        pending.look()
