"""Versions of models in a folder: written whole or not at all, never changed, read only if their hash fits.

``NAME/VERSION/manifest.json`` and ``model.onnx``; ``NAME/active`` holds the version that is to serve.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from shivx.errors import ShivxError, UnknownModel
from shivx.ml.kinds import MODELS
from shivx.ml.manifest import VERSION, DamagedModel, Manifest, check_model, read_manifest

log = logging.getLogger(__name__)

MANIFEST, MODEL, ACTIVE = "manifest.json", "model.onnx", "active"
UNFINISHED = ".new-"
"""How the names of what is being written begin."""
MAX_MODEL_BYTES = 64 * 1024 * 1024
MAX_NAME_BYTES = 256
Judgement = tuple[bool, str]
Judge = Callable[[], Judgement]
"""Tells whether a version is to serve, and why."""


def _only_kept() -> Judgement:
    return False, "it is kept"


def _told() -> Judgement:
    return True, "it was told to"


class RegistryUnavailable(ShivxError):
    """The folder of models cannot be read or written: full, read-only, gone."""


class Registry:
    """The models in *folder*, which several instances may share; it need not exist.

    Raises (all methods that take a name or a version):
        UnknownModel: there is none of that name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """Return the names of all models, trained or not."""
        return list(MODELS)

    def versions(self, name: str) -> list[Manifest]:
        """Return all sound versions of a model, newest data last."""
        found = []
        for place in sorted(self._place(name).glob("*/")):
            if VERSION.fullmatch(place.name):
                try:
                    found.append(self.manifest(name, place.name))
                except UnknownModel:
                    continue  # removed since it was listed
                except DamagedModel as error:
                    log.warning("version %s of the model %s is damaged: %s", place.name, name, error)
        return found

    def is_empty(self, name: str) -> bool:
        """Tell whether a model has no version at all, sound or damaged."""
        return not any(VERSION.fullmatch(each.name) for each in self._place(name).glob("*/"))

    def active(self, name: str) -> str | None:
        """Return the version that is to serve, None if none has been activated.

        Raises:
            RegistryUnavailable: that cannot be read.
        """
        try:
            text = _content(self._place(name) / ACTIVE, MAX_NAME_BYTES).decode("ascii").strip()
        except (FileNotFoundError, UnicodeDecodeError, DamagedModel):
            return None
        except OSError as error:
            raise RegistryUnavailable(f"the active version cannot be read: {error.strerror}") from None
        return text if VERSION.fullmatch(text) else None

    def manifest(self, name: str, version: str) -> Manifest:
        """Return what is known of a version.

        Raises:
            DamagedModel: it is not what was written.
        """
        return read_manifest(self._read(name, version, MANIFEST), name, version)

    def model(self, name: str, version: str) -> bytes:
        """Return the file of a version, ONNX.

        Raises:
            DamagedModel: it is not what was written.
        """
        manifest = self.manifest(name, version)
        content = self._read(name, version, MODEL)
        check_model(manifest, content)
        return content

    def add(self, manifest: Manifest, model: bytes, judge: Judge = _only_kept) -> Judgement:
        """Keep a version, and let it serve if *judge* says so; one that is there already stays as it is.

        Args:
            judge: asked before it is kept, while nobody else changes what there is or which version is to
                serve; it must not write here.
        Raises:
            DamagedModel: the two do not belong together.
            RegistryUnavailable: the folder takes nothing.
        """
        check_model(manifest, model)
        place = self._version(manifest.name, manifest.version)
        with _writing(place.parent):
            judgement = judge()
            made = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=place.parent))
            _write(made / MODEL, model)
            _write(made / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
            _sync(made)
            made.chmod(0o755)
            if not place.exists():
                made.rename(place)
                _sync(place.parent)
            self._point(manifest.name, manifest.version, judgement)
        return judgement

    def point_to(self, name: str, version: str, judge: Judge = _told) -> Judgement:
        """Make *version* the one that is to serve if *judge*, asked as by `add`, says so.

        Raises:
            DamagedModel: it is not what was written.
            RegistryUnavailable: the folder takes nothing.
        """
        self.model(name, version)
        with _writing(self._place(name)):
            judgement = judge()
            self._point(name, version, judgement)
        return judgement

    def _point(self, name: str, version: str, judgement: Judgement) -> None:
        if judgement[0]:
            self.model(name, version)
            place = self._place(name)
            made = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=place)) / ACTIVE
            _write(made, version.encode())
            made.rename(place / ACTIVE)
            _sync(place)

    def _place(self, name: str) -> Path:
        if name not in MODELS:
            raise UnknownModel(f"there is no model {name!r}")
        return self.folder / name

    def _version(self, name: str, version: str) -> Path:
        if not VERSION.fullmatch(version):
            raise UnknownModel(f"the model {name} has no version {version!r}")
        return self._place(name) / version

    def _read(self, name: str, version: str, file: str) -> bytes:
        place = self._version(name, version)
        if not place.is_dir():
            raise UnknownModel(f"the model {name} has no version {version}")
        try:
            return _content(place / file, MAX_MODEL_BYTES)
        except OSError as error:
            raise DamagedModel(f"its {file} cannot be read: {error.strerror}") from None


def _content(path: Path, most: int) -> bytes:
    """Return what is in a file of at most so many bytes; a pipe would never end, or never begin."""
    about = path.stat()
    if stat.S_ISDIR(about.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(about.st_mode) or about.st_size > most:
        raise DamagedModel(f"its {path.name} is too large, or no file")
    return path.read_bytes()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Return a with block for the only writer of *folder*, which clears what a killed one has left."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
            try:
                yield
            finally:
                for left in folder.glob(f"{UNFINISHED}*"):
                    shutil.rmtree(left, ignore_errors=True)
        finally:
            os.close(number)
    except OSError as error:
        raise RegistryUnavailable(f"{folder} takes no model: {error.strerror}") from None


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
