"""Starting jobs: known to Redis first, so that one at a time does a thing, then a process of its own."""

from __future__ import annotations

import os

from shivx.jobs.record import Job
from shivx.jobs.starting import start
from shivx.jobs.store import Jobs, new_id


class Launcher:
    """Starts the processes of jobs.

    Args:
        jobs: where they are known.
    """

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self._service = os.getpid()

    def belong_to(self, service: int) -> None:
        """Let what is started end with the process *service*; if this is never said, with this process."""
        self._service = service

    def launch(self, thing: str, program: str, *words: str) -> Job:
        """Start a job that does *thing*: *program*, a module, with *words*, ``--job ID``, ``--service PID``.

        Raises:
            Conflict: one does it already.
            StoreUnavailable: Redis gives no usable answer.
            OSError: the system starts no process.
        """
        job = new_id(thing)
        self.jobs.begin(job)
        try:
            start(program, *words, "--job", job, "--service", str(self._service))
        except OSError as error:
            self.jobs.fail(job, f"no process could be started: {error.strerror}")
            raise
        return self.jobs.get(job)
