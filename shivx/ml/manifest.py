"""What is known of one version of a model, kept beside its file."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from shivx.ml.kinds import MODELS

VERSION = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
"""The end of the data that it was trained on, and the beginning of its hash."""
Score = Annotated[float, Meta(ge=0)]


class DamagedModel(Exception):
    """What is kept of a version is not what was written: the message says what does not fit."""


class Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    """A version of a model. Times are Unix seconds.

    Args:
        features_version: of the features that it was trained on and must be asked with.
        rows: of the parts ``train`` and ``held_out``.
        metrics: ``log_loss`` and ``accuracy`` on the held-out part.
        prior: the same, of saying always how frequent each class is.
        moves: the mean move, percent, in the training part's rows of each class.
    """

    name: str
    version: str
    kind: str
    classes: tuple[str, ...]
    horizon_seconds: Annotated[int, Meta(ge=1)]
    features_version: str
    feature_names: tuple[str, ...]
    trained_at: float
    data_from: float
    data_until: float
    source: str
    pairs: tuple[str, ...]
    rows: dict[str, int]
    metrics: dict[str, Score]
    prior: dict[str, Score]
    beats_naive: bool
    moves: tuple[float, ...]
    model_sha256: str
    model_bytes: Annotated[int, Meta(ge=1)]

    def judged(self, metrics: dict[str, float]) -> Manifest:
        """Return this with *metrics*, and whether they beat the prior."""
        return replace(self, metrics=metrics, beats_naive=metrics["log_loss"] < self.prior["log_loss"])


def read_manifest(text: bytes, name: str, version: str) -> Manifest:
    """Return the manifest of *version* of the model *name*.

    Raises:
        DamagedModel: *text* is not that.
    """
    try:
        found = msgspec.json.decode(text, type=Manifest)
    except msgspec.MsgspecError as error:
        raise DamagedModel(f"its manifest cannot be read: {error}") from None
    if (found.name, found.version, found.kind) != (name, version, name):
        raise DamagedModel(f"its manifest is that of {found.name} {found.version}")
    if found.classes != MODELS[name].classes or len(found.moves) != len(found.classes):
        raise DamagedModel("its classes are not those of the program")
    return found


def check_model(manifest: Manifest, model: bytes) -> None:
    """Raise DamagedModel if *model* is not the file that *manifest* tells of."""
    if len(model) != manifest.model_bytes:
        raise DamagedModel(f"its file has {len(model)} bytes, not {manifest.model_bytes}")
    if hashlib.sha256(model).hexdigest() != manifest.model_sha256:
        raise DamagedModel("its file has another hash than its manifest says")
