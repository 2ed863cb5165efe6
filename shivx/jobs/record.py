"""What is known of a job, as clients get it and as Redis keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Self

import msgspec
from msgspec import Struct

VANISHED = "its process ended without a word"


class Status(StrEnum):
    """Where a job stands; the last three are for good."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN = (Status.QUEUED, Status.RUNNING)


class Job(Struct, frozen=True):
    """One job.

    Args:
        progress: the share that is done, 0 to 1.
        result: what it found, once it has succeeded.
        error: why it failed, for humans.
    """

    id: str
    status: Status
    progress: float
    result: dict[str, Any] | None = None
    error: str | None = None

    @classmethod
    def of(cls, job: str, fields: Mapping[bytes, bytes], alive: bool) -> Self | None:
        """Return the job that Redis keeps, None if that is no job.

        Args:
            alive: whether its process was heard of lately; one that was not has failed.
        """
        try:
            status = Status(fields[b"status"].decode())
            progress = min(1.0, max(0.0, msgspec.json.decode(fields[b"progress"], type=float)))
            result = msgspec.json.decode(fields.get(b"result", b"null"), type=dict[str, Any] | None)
            error = fields[b"error"].decode() if b"error" in fields else None
        except (KeyError, ValueError, RecursionError):
            return None
        if status in OPEN and not alive:
            return cls(job, Status.FAILED, progress, None, VANISHED)
        return cls(job, status, progress, result, error)
