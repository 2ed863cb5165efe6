"""Training as a job beside the service: when it is asked for, and for models that have no version yet."""

from __future__ import annotations

import contextlib
import logging
import os
import threading

from cache_ext.errors import StoreUnavailable
from shivx.accounts.offload import later, off_hub
from shivx.errors import Conflict, UnknownModel
from shivx.jobs.record import Job
from shivx.jobs.starting import start
from shivx.jobs.store import Jobs, new_id
from shivx.ml.kinds import MODELS
from shivx.ml.registry import Registry, RegistryUnavailable

log = logging.getLogger(__name__)

PROGRAM = "shivx.ml.train"
LOOK_SECONDS = 3.0
AGAIN_SECONDS = 300.0
"""After which a first training that failed is tried again."""


class Retraining:
    """Starts the processes that train.

    Args:
        jobs: where they are known.
        registry: what they fill.
    """

    def __init__(self, jobs: Jobs, registry: Registry) -> None:
        self.jobs = jobs
        self._registry = registry
        self._service = os.getpid()
        self._closed = threading.Event()

    def belong_to(self, service: int) -> None:
        """Let what is started end with the process *service*; if this is never said, with this process."""
        self._service = service

    def start(self, name: str) -> Job:
        """Start a training of the model *name*.

        Raises:
            UnknownModel: there is none of that name that could be trained.
            Conflict: one is being trained.
            StoreUnavailable: Redis gives no usable answer.
        """
        if name not in MODELS:
            raise UnknownModel(f"there is no model {name!r} that is trained; {', '.join(MODELS)}")
        job = new_id(name)
        self.jobs.begin(job)
        try:
            start(PROGRAM, name, "--job", job, "--service", str(self._service))
        except OSError as error:
            self.jobs.fail(job, f"no process could be started: {error.strerror}")
            raise
        return self.jobs.get(job)

    def begin_first(self) -> None:
        """Train what has no version yet, one model after the other, while this process serves.

        Of all processes of all instances one does it; if it fails, one tries again some minutes later.
        """
        later(self._until_trained, "first-training")

    def close(self) -> None:
        """Start no more; what runs goes on."""
        self._closed.set()

    def _until_trained(self) -> None:
        while not self._closed.is_set():
            try:
                untrained = off_hub(lambda: [name for name in MODELS if self._registry.is_empty(name)])
                if not untrained:
                    return
                self._start_one(untrained)
            except (StoreUnavailable, RegistryUnavailable, OSError) as error:
                log.info("no model can be trained yet: %s", error)
            self._closed.wait(LOOK_SECONDS)

    def _start_one(self, untrained: list[str]) -> None:
        """Start the training of the first model that nobody has tried lately, unless one runs."""
        if any(self.jobs.running(name) for name in untrained):
            return
        for name in untrained:
            if self.jobs.claim(name, AGAIN_SECONDS):
                log.info("the model %s has no version yet: training the first", name)
                with contextlib.suppress(Conflict):
                    self.start(name)
                return
