"""Training as a job beside the service: when it is asked for, and for models that have no version yet."""

from __future__ import annotations

import contextlib
import logging
import threading

from cache_ext.errors import StoreUnavailable
from shivx.accounts.offload import later, off_hub
from shivx.errors import Conflict, UnknownModel
from shivx.jobs.launching import Launcher
from shivx.jobs.record import Job
from shivx.ml.kinds import MODELS
from shivx.ml.registry import Registry, RegistryUnavailable

log = logging.getLogger(__name__)

PROGRAM = "shivx.ml.train"
WARMING = "warm"
"""What goes first: it is short, and loads what trainings read."""
LOOK_SECONDS = 3.0
AGAIN_SECONDS = 300.0
"""After which a first training that failed is tried again."""


class Retraining:
    """Starts the processes that train.

    Args:
        launcher: starts them.
        registry: what they fill.
    """

    def __init__(self, launcher: Launcher, registry: Registry) -> None:
        self._launcher = launcher
        self._registry = registry
        self._closed = threading.Event()

    def start(self, name: str) -> Job:
        """Start a training of the model *name*.

        Raises:
            UnknownModel: there is none of that name that could be trained.
            Conflict: one is being trained.
            StoreUnavailable: Redis gives no usable answer.
        """
        if name not in MODELS:
            raise UnknownModel(f"there is no model {name!r} that is trained; {', '.join(MODELS)}")
        return self._launcher.launch(name, PROGRAM, name)

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
        """Start the training of the first model that nobody tried lately, unless one runs, or warming."""
        jobs = self._launcher.jobs
        if any(jobs.running(thing) for thing in (WARMING, *untrained)):
            return
        for name in untrained:
            if jobs.claim(name, AGAIN_SECONDS):
                log.info("the model %s has no version yet: training the first", name)
                with contextlib.suppress(Conflict):
                    self.start(name)
                return
