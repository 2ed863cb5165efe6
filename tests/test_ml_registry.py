"""The registry and the models that a process has open: whole or refused, lazily, one thread, after a fork."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cache_ext.testing import FakeClock
from shivx.errors import ModelUnavailable, UnknownModel
from shivx.ml import registry as module
from shivx.ml.registry import Registry, RegistryUnavailable
from shivx.ml.sessions import Sessions
from tests.caches import PATIENCE, begin, stop_after, stop_before
from tests.market_stage import Site, scripted_site
from tests.model_stage import activate, manifest_of, model_bytes
from tests.service import ROOT
from tests.small_disk import SmallDisk

UP, DOWN = (0.1, 0.2, 0.7), (0.6, 0.3, 0.1)
LATER = "20260202T000000Z"
PATH = "/api/ml/predict/BTC-USDC"


def left(folder: Path) -> list[Path]:
    """Return what is unfinished in the folder of a model."""
    return [*folder.glob(f"direction/{module.UNFINISHED}*")]


def truncated(place: Path) -> None:
    """Cut the manifest short."""
    (place / "manifest.json").write_text((place / "manifest.json").read_text()[:100])


def nonsense(place: Path) -> None:
    """Let numbers of the manifest be none."""
    text = (place / "manifest.json").read_text()
    (place / "manifest.json").write_text(text.replace('"model_bytes": ', '"model_bytes": -'))


def elsewhere(place: Path) -> None:
    """Let the model be another's, by a link."""
    (place / "model.onnx").unlink()
    (place / "model.onnx").symlink_to("/etc/hostname")


def swapped(place: Path) -> None:
    """Let both files be of another version, and fit each other."""
    other = manifest_of("direction", model_bytes(DOWN))
    (place / "model.onnx").write_bytes(model_bytes(DOWN))
    (place / "manifest.json").write_text(json.dumps(json_of(other)))


def json_of(manifest: Any) -> Any:
    """Return a manifest as JSON has it."""
    return {name: getattr(manifest, name) for name in manifest.__struct_fields__}


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a bit is flipped": lambda place: (place / "model.onnx").write_bytes(model_bytes(DOWN)[:-1] + b"!"),
    "it is cut short": lambda place: os.truncate(place / "model.onnx", 10),
    "it is empty": lambda place: os.truncate(place / "model.onnx", 0),
    "it is gone": lambda place: (place / "model.onnx").unlink(),
    "it is a folder": lambda place: ((place / "model.onnx").unlink(), (place / "model.onnx").mkdir()),
    "it is a pipe": lambda place: ((place / "model.onnx").unlink(), os.mkfifo(place / "model.onnx")),
    "it leads elsewhere": elsewhere,
    "the manifest is cut short": truncated,
    "the manifest is gone": lambda place: (place / "manifest.json").unlink(),
    "the manifest is nonsense": nonsense,
    "the manifest is no text": lambda place: (place / "manifest.json").write_bytes(b"\xff" * 99),
    "the manifest is another's": swapped,
    "the manifest is nested": lambda place: (place / "manifest.json").write_text("[" * 100_000),
    "it is too large": lambda place: os.truncate(place / "model.onnx", module.MAX_MODEL_BYTES + 1),
    "all of it is gone": lambda place: [each.unlink() for each in place.iterdir()] and place.rmdir(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_is_refused_while_the_one_before_serves(tmp_path: Path, damage: str) -> None:
    """Whatever is wrong with the active version; of a single one nothing answers, and the error says so."""
    old = activate(tmp_path, "direction", UP)
    new = activate(tmp_path, "direction", DOWN, LATER)
    DAMAGE[damage](tmp_path / "direction" / new)
    sessions = Sessions(Registry(tmp_path))
    assert sessions.serving("direction") == old
    with pytest.raises(ModelUnavailable):
        sessions.opened("direction", new)
    DAMAGE["it is gone"](tmp_path / "direction" / old)
    with pytest.raises(ModelUnavailable, match="cannot be used"):
        Sessions(Registry(tmp_path)).serving("direction")


@pytest.mark.parametrize("text", [b"", b"../../etc", b"\xff", b"20260101T000000Z", b"x" * 99_999])
def test_where_the_active_version_is_none_the_newest_sound_one_serves(tmp_path: Path, text: bytes) -> None:
    """Whoever wrote what stands there; it never becomes a path. Nor is it waited for, as a pipe would be."""
    activate(tmp_path, "direction", UP)
    new = activate(tmp_path, "direction", DOWN, LATER)
    (tmp_path / "direction" / "active").write_bytes(text)
    assert Sessions(Registry(tmp_path)).serving("direction") == new
    (tmp_path / "direction" / "active").unlink()
    os.mkfifo(tmp_path / "direction" / "active")
    assert Sessions(Registry(tmp_path)).serving("direction") == new


@pytest.mark.parametrize("version", ["..", "../volatility", "", "a/b", "20260101T000000Z-0000000g", "\0"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, version: str) -> None:
    """Neither a version's nor a model's."""
    registry = Registry(tmp_path)
    for ask in (registry.manifest, registry.model, registry.point_to):
        with pytest.raises(UnknownModel):
            ask("direction", version)
    with pytest.raises(UnknownModel):
        registry.active(f"direction/{version}")


WRITER = """
import os, signal, sys
from pathlib import Path
from shivx.ml import registry
from tests.model_stage import manifest_of, model_bytes
def end(folder):
    os.kill(os.getpid(), signal.SIGKILL)
registry._sync = end
model = model_bytes((0.1, 0.2, 0.7))
registry.Registry(Path(sys.argv[1])).add(manifest_of("direction", model), model)
"""


def test_what_a_killed_writer_has_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    """And is no version meanwhile."""
    done = subprocess.run([sys.executable, "-c", WRITER, str(tmp_path)], cwd=ROOT, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(left(tmp_path)) == 1
    assert Registry(tmp_path).versions("direction") == []
    version = activate(tmp_path, "direction", UP)
    assert left(tmp_path) == []
    assert [each.version for each in Registry(tmp_path).versions("direction")] == [version]


def test_one_writes_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second waits, and takes nothing of the first for a leftover."""
    stop = stop_before(module, "_write")
    first = begin(lambda: activate(tmp_path, "direction", UP))
    stop.wait()
    assert len(left(tmp_path)) == 1
    second = begin(lambda: activate(tmp_path, "direction", DOWN, LATER))
    stop.go()
    versions = {first.result(PATIENCE), second.result(PATIENCE)}
    assert {each.version for each in Registry(tmp_path).versions("direction")} == versions
    assert Registry(tmp_path).active("direction") in versions
    monkeypatch.undo()


def test_a_version_that_goes_while_they_are_listed_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody tidied the folder up: the others are told all the same."""
    old = activate(tmp_path, "direction", UP)
    new = activate(tmp_path, "direction", DOWN, LATER)
    plain = module.Registry.manifest

    def manifest(registry: Registry, name: str, version: str) -> Any:
        if version == old:
            shutil.rmtree(tmp_path / name / version)
        return plain(registry, name, version)

    monkeypatch.setattr(module.Registry, "manifest", manifest)
    assert [each.version for each in Registry(tmp_path).versions("direction")] == [new]


def test_a_full_disk_keeps_no_version_and_says_so(small_disk: SmallDisk) -> None:
    """What serves goes on; when there is space again, the next is kept."""
    folder = small_disk.folder / "models"
    old = activate(folder, "direction", UP)
    small_disk.fill()
    with pytest.raises(RegistryUnavailable, match="No space left"):
        activate(folder, "direction", DOWN, LATER)
    assert (Sessions(Registry(folder)).serving("direction"), left(folder)) == (old, [])
    small_disk.empty()
    assert activate(folder, "direction", DOWN, LATER) == Registry(folder).active("direction")


def test_a_folder_that_cannot_be_read_is_no_bug(clock: FakeClock, tmp_path: Path) -> None:
    """503 with Retry-After; the list says that nothing serves."""
    (tmp_path / "direction").mkdir()
    (tmp_path / "direction" / "active").mkdir()
    with scripted_site(clock, model_dir=tmp_path) as site:
        answer = site.get(PATH)
        assert (answer.status_code, answer.json["code"]) == (503, "model_unavailable")
        assert site.get("/api/ml/models").status_code == 200


@pytest.fixture
def site(clock: FakeClock, tmp_path: Path) -> Iterator[Site]:
    """The application with a model."""
    activate(tmp_path, "direction", UP)
    with scripted_site(clock, model_dir=tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("step", ["the active version", "the model", "the features", "the answer"])
def test_a_load_that_began_before_a_promotion_leaves_nothing_of_the_old(
    site: Site, tmp_path: Path, step: str
) -> None:
    """Whichever step it stands at: once the event is over, all who ask are answered by the new version."""
    services = site.services
    places: dict[str, tuple[Any, str]] = {
        "the active version": (services.predictions.sessions.registry, "active"),
        "the model": (services.predictions.sessions, "opened"),
        "the features": (services.candles, "candles"),
        "the answer": (services.predictions, "_say"),
    }
    stop = stop_after(*places[step])
    early = begin(lambda: site.app.test_client().get(PATH).json["prediction"])
    stop.wait()
    new = activate(tmp_path, "direction", DOWN, LATER)
    services.events.emit("model_retrained", {"model": "direction"})
    late = begin(lambda: site.app.test_client().get(PATH).json)
    stop.go()
    assert early.result(PATIENCE) in ("up", "down")
    for answer in (late.result(PATIENCE), site.get(PATH).json):
        assert (answer["version"], answer["prediction"]) == (new, "down")


def played(folder: Path, scene: str) -> Any:
    """Return what a process of its own says of a scene."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.models_process", str(folder), scene],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_onnxruntime_is_loaded_when_a_model_is_asked_and_starts_no_threads_for_it(tmp_path: Path) -> None:
    """A process without predictions does without its 60 MB; a model computes in the thread that asks."""
    activate(tmp_path, "direction", UP)
    found = played(tmp_path, "lazy")
    assert not found["loaded before"]
    assert found["threads"][1] == found["threads"][0]


def test_a_forked_child_opens_its_own(tmp_path: Path) -> None:
    """Parent and child ask at once, and both are answered right."""
    activate(tmp_path, "direction", UP)
    assert played(tmp_path, "fork") == {"child": "right", "parent": True}


def test_opening_a_model_stops_no_greenlet(tmp_path: Path) -> None:
    """While its file is read and onnxruntime loaded the hub goes on; it is opened once for all who ask."""
    activate(tmp_path, "direction", UP)
    assert played(tmp_path, "gevent") == {"models": 1, "went on": [True], "patched": True}
