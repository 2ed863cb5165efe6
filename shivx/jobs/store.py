"""The records of jobs in Redis, for all instances; each thing is done by one job at a time."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from cache_ext.errors import StoreUnavailable
from cache_ext.keys import KeySpace, bucket_of
from cache_ext.transport.connection import RedisGateway
from shivx.errors import Conflict, UnknownJob
from shivx.jobs.record import Job, Status

START_SECONDS = 60.0
"""A process has so long to say its first word: Python starts slowly on a busy machine."""
SILENCE_SECONDS = 10.0
"""After which a job that has said nothing counts as dead. Its process speaks every second."""
KEEP_SECONDS = 86_400.0
_RANDOM_BYTES = 8
_ID = re.compile(rf"([a-z_]{{1,32}})-[0-9a-f]{{{2 * _RANDOM_BYTES}}}", re.ASCII)
_LUA = Path(__file__).with_name("lua")
OK, CANCELLED, LOST = b"ok", b"cancelled", b"lost"
"""What Redis answers to a job's process: go on, you were cancelled, another has begun."""


def new_id(thing: str) -> str:
    """Return an id for a job that does *thing*, a word of small letters."""
    return f"{thing}-{secrets.token_hex(_RANDOM_BYTES)}"


class Jobs:
    """All jobs of a namespace.

    Args:
        gateway: the way to the Redis that keeps them, None if there is none.
        namespace: prefix of the keys.
    Raises (all methods):
        StoreUnavailable: Redis gives no usable answer.
    """

    def __init__(self, gateway: RedisGateway | None, namespace: str) -> None:
        self._gateway = gateway
        self._keys = KeySpace(namespace)
        text = {path.stem: path.read_text() for path in _LUA.glob("*.lua")}
        self._texts = {name: text["kept"] + text[name] for name in ("begin", "tell", "look")}

    def begin(self, job: str) -> None:
        """Begin *job*, a new id: from now on its process is expected to speak.

        Raises:
            Conflict: another job does the same thing.
        """
        running = self._run("begin", job, job, _ms(START_SECONDS), _ms(KEEP_SECONDS)).decode(errors="replace")
        if running != job:
            raise Conflict(f"the job {running} does that already")

    def tell(self, job: str, fields: Mapping[str, str | bytes], *, over: bool = False) -> bytes:
        """Say what is new of *job*; return `OK`, `CANCELLED` or `LOST`.

        Args:
            over: these are its last words.
        """
        words = [word for pair in fields.items() for word in pair]
        answer: bytes = self._run(
            "tell", job, job, _ms(SILENCE_SECONDS), _ms(KEEP_SECONDS), "1" if over else "0", *words
        )
        return answer

    def fail(self, job: str, why: str) -> None:
        """Say that *job*, begun, will not run."""
        self.tell(job, {"status": Status.FAILED, "progress": "0", "error": why}, over=True)

    def get(self, job: str) -> Job:
        """Return what is known of *job*.

        Raises:
            UnknownJob: there is none of that id, or no more.
        """
        return self._look(job, "0")

    def cancel(self, job: str) -> Job:
        """Cancel *job* unless it has ended, or come so far that it will; return what became of it.

        Raises:
            UnknownJob: there is none of that id, or no more.
        """
        return self._look(job, "1")

    def running(self, thing: str) -> bool:
        """Tell whether a job does *thing* now."""
        return bool(self._run("look", new_id(thing), "0")[0])

    def claim(self, thing: str, seconds: float) -> bool:
        """Tell whether *thing* may be tried: once in so many seconds, by whoever asks first."""
        return self._ask([("SET", self._tried(thing), "1", "NX", "PX", _ms(seconds))]) is not None

    def tried(self, thing: str) -> bool:
        """Tell whether somebody has claimed *thing*, and its time is not over."""
        return bool(self._ask([("EXISTS", self._tried(thing))]))

    def _tried(self, thing: str) -> str:
        return self._keys.place(_bucket(thing), f"tried:{thing}")

    def _look(self, job: str, cancel: str) -> Job:
        if not _ID.fullmatch(job):
            raise UnknownJob(f"there is no job {job!r}")
        holder, *words = self._run("look", job, cancel)
        fields = dict(zip(words[::2], words[1::2], strict=True))
        found = Job.of(job, fields, alive=holder == job.encode())
        if found is None:
            raise UnknownJob(f"there is no job {job!r}, or it was over a day ago")
        return found

    def _run(self, script: str, job: str, *arguments: str | bytes) -> Any:
        thing = job.rpartition("-")[0]
        keys = [self._keys.place(_bucket(thing), what) for what in (f"doing:{thing}", f"job:{job}")]
        return self._ask([("EVALSHA", self._sha(script), len(keys), *keys, *arguments)])

    def _sha(self, script: str) -> str:
        return "" if self._gateway is None else self._gateway.register_script(self._texts[script])

    def _ask(self, commands: list[tuple[Any, ...]]) -> Any:
        if self._gateway is None:
            raise StoreUnavailable("there is no Redis to keep jobs")
        return self._gateway.run(commands)[0]


def record_of(status: Status, progress: float, **more: object) -> dict[str, str | bytes]:
    """Return the fields that say where a job stands; *more* is `result` or `settled`."""
    return {
        "status": status,
        "progress": f"{progress:.3f}",
        **{name: msgspec.json.encode(value) for name, value in more.items()},
    }


def _bucket(thing: str) -> int:
    return bucket_of(f"job:{thing}")


def _ms(seconds: float) -> str:
    return str(round(seconds * 1000))
