"""What the process of a job says of it while it works, and how it hears that it shall end."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from cache_ext.errors import StoreUnavailable
from shivx.errors import ShivxError
from shivx.jobs.record import Status
from shivx.jobs.store import CANCELLED, LOST, OK, Jobs, record_of

log = logging.getLogger(__name__)

BEAT_SECONDS = 1.0
PATIENCE_SECONDS = 60.0
"""For Redis to come back, when it must be known whether the job was cancelled, or the end be told."""
_REASONS = {LOST: "another job for the same has begun", CANCELLED: "it was cancelled"}
STOPPED = "it was told to end"
SERVICE_GONE = "the service that started it has stopped"
BUG = "a bug: its process' log says more"


class Ended(ShivxError):
    """The job is not to go on: it was cancelled, or another has taken its place."""


class Report:
    """Says once a second that the job lives, and how far it is; ends the process if it shall not go on.

    Args:
        jobs: where to say it.
        job: the id; it need not have begun there, if Redis was away.
        service: the process without which the job ends too, None if it is on its own.
        beat: seconds between two words.
    """

    def __init__(self, jobs: Jobs, job: str, service: int | None = None, beat: float = BEAT_SECONDS) -> None:
        self._jobs, self._job, self._beat = jobs, job, beat
        self._service = None if service is None else _watched(service)
        self._progress = 0.0
        self._settled = False
        self._why = STOPPED
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live, name="job", daemon=True)

    @property
    def cancelled(self) -> bool:
        """Whether it was told that somebody has cancelled the job."""
        return self._why == _REASONS[CANCELLED]

    def progress(self, share: float) -> None:
        """Say from the next word on that so much, 0 to 1, is done."""
        self._progress = share

    def settle(self) -> None:
        """Make sure that the job goes on, and cannot be cancelled any more.

        Raises:
            Ended: it shall not go on.
            StoreUnavailable: that could not be found out in `PATIENCE_SECONDS`.
        """
        word = self._insist(lambda: self._tell(settled=True))
        if word != OK:
            self._why = _REASONS[word]
            raise Ended(self._why)
        self._settled = True

    @contextlib.contextmanager
    def telling(self) -> Iterator[Callable[[Mapping[str, object]], None]]:
        """Return a with block for the work, which gives its result to what is returned.

        SIGTERM ends it, by SystemExit. Whatever comes of it is told at its end.
        """
        results: list[Mapping[str, object]] = []
        before = signal.signal(signal.SIGTERM, self._stop)
        try:
            self._thread.start()
            yield results.append
            self._end(record_of(Status.SUCCEEDED, 1.0, result=results[0]))
        except (ShivxError, StoreUnavailable) as error:
            self._end(self._failed(str(error)))
            raise
        except (SystemExit, KeyboardInterrupt):
            self._end(self._failed(self._why))
            raise
        except BaseException:
            self._end(self._failed(BUG))
            raise
        finally:
            signal.signal(signal.SIGTERM, before)
            if self._service is not None:
                os.close(self._service)

    def _live(self) -> None:
        """Speak until the end; a word that Redis does not hear is said again a moment later."""
        while not self._over.is_set():
            if self._service is not None and select.select([self._service], [], [], 0)[0]:
                self._give_up(SERVICE_GONE)
                return
            with contextlib.suppress(StoreUnavailable):
                if (word := self._tell()) != OK:
                    self._give_up(_REASONS[word])
                    return
            self._over.wait(self._beat)

    def _tell(self, **more: object) -> bytes:
        more |= {"settled": True} if self._settled else {}
        return self._jobs.tell(self._job, record_of(Status.RUNNING, self._progress, **more))

    def _give_up(self, why: str) -> None:
        self._why = why
        log.warning("the job %s ends: %s", self._job, why)
        os.kill(os.getpid(), signal.SIGTERM)

    def _stop(self, *_: object) -> None:
        raise SystemExit(1)

    def _failed(self, why: str) -> dict[str, str | bytes]:
        return record_of(Status.FAILED, self._progress) | {"error": why}

    def _end(self, fields: Mapping[str, str | bytes]) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._over.set()
        self._thread.join()
        with contextlib.suppress(StoreUnavailable):
            self._insist(lambda: self._jobs.tell(self._job, fields, over=True))

    def _insist(self, say: Callable[[], bytes]) -> bytes:
        """Return the answer to what *say* says, which is said again as long as Redis does not hear it."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return say()
            except StoreUnavailable:
                if time.monotonic() >= until:
                    raise
                time.sleep(self._beat)


def _watched(process: int) -> int:
    """Return a descriptor that can be read once *process* has ended."""
    try:
        return os.pidfd_open(process)
    except ProcessLookupError:
        ours, theirs = os.pipe()
        os.close(theirs)
        return ours
