"""Models as onnxruntime runs them: opened when first asked, once per process and version."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from shivx.accounts.offload import off_hub
from shivx.errors import ModelUnavailable, UnknownModel
from shivx.importing import load
from shivx.indicators.prices import Floats
from shivx.ml.features import FEATURES_VERSION, NAMES
from shivx.ml.manifest import DamagedModel, Manifest
from shivx.ml.registry import Registry, RegistryUnavailable

log = logging.getLogger(__name__)

NOT_YET_SECONDS = 10.0
"""After which it makes sense to ask again for a model that is not trained yet."""
MAX_OPEN = 4
"""Versions of a model that a process keeps open: while one is replaced, the last may still be asked."""


class OpenModel:
    """A version of a model, ready to answer.

    Args:
        manifest: what is known of it.
        model: its file.
    Raises:
        DamagedModel: it is of no use to this program.
    """

    def __init__(self, manifest: Manifest, model: bytes) -> None:
        onnxruntime: Any = load("onnxruntime")  # late: 60 MB, which a process without predictions saves
        if manifest.features_version != FEATURES_VERSION or manifest.feature_names != NAMES:
            raise DamagedModel("it was trained on other features than this program computes")
        self.manifest = manifest
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
            self._input = self._session.get_inputs()[0].name
            self.predict([[0.0] * len(NAMES)])
        except Exception as error:  # noqa: BLE001 (foreign code, on foreign bytes)
            raise DamagedModel(f"onnxruntime cannot use it: {error}") from None

    def predict(self, rows: Sequence[Sequence[float]] | Floats) -> list[list[float]]:
        """Return the probability of each class for each of *rows* of features, in one call.

        Raises:
            DamagedModel: they are no probabilities.
        """
        given = np.asarray(rows, np.float32)
        found: Any = self._session.run(["probabilities"], {self._input: given})[0]
        if found.shape != (len(given), len(self.manifest.classes)) or not np.isfinite(found).all():
            raise DamagedModel("it does not answer with a probability of each class")
        answers: list[list[float]] = found.tolist()
        return answers


class Sessions:
    """The models of *registry* that this process has open. After a fork the child opens its own."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._begin()
        myself = weakref.ref(self)

        def after_fork() -> None:
            if sessions := myself():
                sessions._begin()

        os.register_at_fork(after_in_child=after_fork)

    def _begin(self) -> None:
        self._open: dict[tuple[str, str], OpenModel] = {}
        self._refused: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def serving(self, name: str) -> str:
        """Return the version of a model that answers now: the active one; if damaged, the newest sound one.

        Raises:
            UnknownModel: there is no model of that name.
            ModelUnavailable: it has no version that could answer.
        """
        try:
            active = off_hub(lambda: self.registry.active(name))
        except RegistryUnavailable as error:
            raise ModelUnavailable(f"the model {name} cannot be used: {error}", NOT_YET_SECONDS) from None
        if active is not None and self._is_sound(name, active):
            return active
        for earlier in reversed(off_hub(lambda: self.registry.versions(name))):
            if self._is_sound(name, earlier.version):
                return earlier.version
        why = "is not trained yet" if active is None else "cannot be used"
        raise ModelUnavailable(f"the model {name} {why}", NOT_YET_SECONDS)

    def opened(self, name: str, version: str) -> OpenModel:
        """Return a version of a model, opened if it is not yet; its file is read only if its hash fits.

        Raises:
            ModelUnavailable: it is damaged, or not there.
        """
        if found := self._open.get((name, version)):
            return found
        with self._lock:
            if found := self._open.get((name, version)):
                return found
            try:
                found = off_hub(lambda: self._load(name, version))
            except (DamagedModel, UnknownModel) as error:
                self._refuse(name, version, error)
                raise ModelUnavailable(f"the model {name} cannot be used", NOT_YET_SECONDS) from None
            self._open[name, version] = found
            self._forget_old(name)
        return found

    def _load(self, name: str, version: str) -> OpenModel:
        return OpenModel(self.registry.manifest(name, version), self.registry.model(name, version))

    def _is_sound(self, name: str, version: str) -> bool:
        try:
            self.opened(name, version)
        except ModelUnavailable:
            return False
        return True

    def _refuse(self, name: str, version: str, error: Exception) -> None:
        if (name, version) not in self._refused:
            self._refused.add((name, version))
            log.error("version %s of the model %s is refused: %s", version, name, error)

    def _forget_old(self, name: str) -> None:
        mine = [key for key in self._open if key[0] == name]
        for key in mine[:-MAX_OPEN]:
            del self._open[key]
