"""Training: what is learnt from, how it is judged, and what LightGBM's trees become."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from shivx.app import create_app
from shivx.indicators.prices import Floats
from shivx.ml import commands
from shivx.ml.dataset import AHEAD, LookAhead, rows_of, split
from shivx.ml.export import to_onnx
from shivx.ml.features import FEATURES_VERSION, LENGTH, NAMES, SPECS, matrix, vector, version_of
from shivx.ml.judging import prior_of, scores, verdict
from shivx.ml.making import train
from shivx.ml.registry import Registry
from shivx.ml.sessions import OpenModel
from shivx.ml.training import as_served, learn
from shivx.models import Candle
from shivx.wiring import services_of
from tests.caches import begin
from tests.market_stage import open_site, settings_for
from tests.model_stage import activate, manifest_of, model_bytes
from tests.service import ROOT
from tests.waiting import until

PAIR = "BTC-USDC"
TRAINED = 120.0  # seconds; a training takes three on an idle machine


@pytest.fixture(scope="module")
def candles() -> list[Candle]:
    """Hourly candles of a random walk whose volatility changes, with a gap in the middle."""
    random = np.random.default_rng(3)
    scale = 0.002 + 0.008 * (np.sin(np.arange(1600) / 60) > 0)
    close = 100 * np.exp(np.cumsum(random.normal(0, 1, 1600) * scale))
    begin = np.concatenate(([100.0], close[:-1]))
    found: list[Candle] = []
    for number, (start, end) in enumerate(zip(begin.tolist(), close.tolist(), strict=True)):
        at = (500_000 + number + 10 * (number > 800)) * LENGTH
        prices = (start, max(start, end) * 1.001, min(start, end) * 0.999, end, 5.0 + number % 7)
        found.append((at, *(f"{each:.6f}" for each in prices)))
    return found


def test_what_onnxruntime_says_is_what_lightgbm_says(candles: list[Candle]) -> None:
    """To 1e-6, on random rows with holes, whether training saw holes in a feature or not."""
    learning, _ = split(rows_of("volatility", {PAIR: candles}, matrix))
    learning.features[::5, 2] = np.nan
    booster = learn(learning, 3)
    model = to_onnx(booster.dump_model())
    opened = OpenModel(manifest_of("volatility", model), model)
    random = np.random.default_rng(4)
    rows = learning.features[random.integers(0, len(learning.times), 2000)]
    rows = rows * random.normal(1, 0.3, rows.shape)
    rows[random.random(rows.shape) < 0.1] = np.nan
    expected = np.asarray(booster.predict(as_served(rows)))
    assert np.ptp(expected[:, 0]) > 0.05
    np.testing.assert_allclose(np.array(opened.predict(rows)), expected, atol=1e-6)


def test_the_same_rows_give_the_same_file(candles: list[Candle]) -> None:
    """Seeds are fixed, and one thread adds up in one order."""
    learning, _ = split(rows_of("direction", {PAIR: candles}, matrix))
    files = {hashlib.sha256(to_onnx(learn(learning, 3).dump_model())).hexdigest() for _ in range(2)}
    assert len(files) == 1


def test_features_that_look_ahead_are_caught(candles: list[Candle]) -> None:
    """One that knows the next close, by a shift in the wrong direction, is refused."""

    def leaking(known: Sequence[Candle]) -> Floats:
        features = matrix(known)
        features[:-1, 0] = features[1:, 0]
        return features

    with pytest.raises(LookAhead):
        rows_of("direction", {PAIR: candles}, leaking)


def test_nothing_to_learn_from_reaches_into_what_judges(candles: list[Candle]) -> None:
    """All that came of the last row is known before the first row of the other part."""
    learning, held_out = split(rows_of("direction", {PAIR: candles, "ETH-USDC": candles[300:]}, matrix))
    assert learning.times.max() + AHEAD * LENGTH < held_out.times.min()
    assert 0.15 < len(held_out.times) / len(learning.times) < 0.5


def test_classes_are_what_came(candles: list[Candle]) -> None:
    """Up if the close four hours later is clearly higher; rows beside the gap are left out."""
    rows = rows_of("direction", {PAIR: candles}, matrix)
    close = {candle[0]: float(candle[4]) for candle in candles}
    for at, number, move in zip(rows.times.tolist(), rows.classes.tolist(), rows.moves.tolist(), strict=True):
        assert move == pytest.approx(100 * np.log(close[at + AHEAD * LENGTH] / close[at]))
        assert number == 1 or (number == 2) == (move > 0)
    assert set(rows.classes.tolist()) == {0, 1, 2}
    assert 500_799 * LENGTH not in rows.times


def test_serving_computes_what_training_did(candles: list[Candle]) -> None:
    """The features of the newest candle are the last row of the matrix."""
    row = vector(candles)
    assert len(row) == len(NAMES)
    np.testing.assert_array_equal(row, matrix(candles)[-1])
    assert np.isfinite(row).all()


def test_a_judge_knows_the_naive_prior() -> None:
    """Saying how frequent each class is costs its entropy; certainty costs nothing."""
    classes = np.array([0, 0, 1, 2])
    naive = np.tile(prior_of(classes, 3), (4, 1))
    assert scores(naive, classes)["log_loss"] == pytest.approx(1.5 * np.log(2))
    assert scores(np.eye(3)[classes], classes) == {"log_loss": 0.0, "accuracy": 1.0}


@pytest.mark.parametrize(
    ("new", "prior", "active", "force", "serves"),
    [
        (1.2, 1.0, None, False, True),
        (0.8, 1.0, 0.9, False, True),
        (0.95, 1.0, 0.9, False, False),
        (1.05, 1.0, 1.1, False, False),
        (1.2, 1.0, 0.9, True, True),
    ],
)
def test_later_versions_serve_only_if_better(
    new: float, prior: float, active: float | None, force: bool, serves: bool
) -> None:
    """Than the prior and the active one, unless forced; the first serves whatever it scores."""
    assert verdict(new, prior, active, force=force, first=active is None)[0] is serves


def test_where_versions_are_and_none_serves_the_prior_has_to_be_beaten() -> None:
    """A version that was lost or damaged makes no other one the first."""
    assert not verdict(1.2, 1.1, None, force=False)[0]
    assert verdict(1.0, 1.1, None, force=False)[0]
    assert verdict(1.2, 1.1, None, force=True)[0]


def test_a_first_training_serves_at_once(tmp_path: Path) -> None:
    """From the candles of the simulated market to a prediction."""
    with open_site(settings_for(model_dir=tmp_path)) as site:
        made = train(site.services, "direction", "simulated", [PAIR])
        assert (made["activated"], made["reason"]) == (True, "it is the first")
        answer = site.get(f"/api/ml/predict/{PAIR}")
        assert answer.json["version"] == made["version"]
        assert answer.json["beats_naive"] == made["beats_naive"]
        assert sum(answer.json["probabilities"].values()) == pytest.approx(1.0)
        again = train(site.services, "direction", "simulated", [PAIR])
        assert (again["version"], again["activated"]) == (made["version"], False)


def test_a_training_after_a_loss_is_not_the_first(tmp_path: Path) -> None:
    """Where the active version is damaged, or nobody knows which it was."""
    with open_site(settings_for(model_dir=tmp_path)) as site:
        old = activate(tmp_path, "direction", (0.2, 0.2, 0.6))
        (tmp_path / "direction" / old / "model.onnx").write_bytes(b"nothing")
        for _ in range(2):
            made = train(site.services, "direction", "simulated", [PAIR])
            assert made["activated"] == made["beats_naive"]
            assert made["reason"] != "it is the first"
            (tmp_path / "direction" / "active").unlink(missing_ok=True)


def test_commands_train_list_and_choose(tmp_path: Path) -> None:
    """What is worse is refused unless forced, what is damaged always; the list marks what serves."""
    with open_site(settings_for(model_dir=tmp_path)) as site:

        def run(*words: str) -> Any:
            app = create_app(site.services.settings)
            done = app.test_cli_runner().invoke(args=["ml", *words])
            services_of(app).close()
            return done

        assert "not trained yet" in run("list").output
        good = activate(tmp_path, "direction", (0.2, 0.2, 0.6))
        model = model_bytes((0.3, 0.3, 0.4))
        worse = manifest_of("direction", model, metrics={"log_loss": 1.05, "accuracy": 0.4})
        Registry(tmp_path).add(worse, model)
        assert f"* direction   {good}" in run("list").output
        refused = run("activate", "direction", worse.version)
        assert refused.exit_code == 1
        assert "not better than the active version's" in refused.output
        assert run("activate", "direction", worse.version, "--force").exit_code == 0
        assert site.get(f"/api/ml/predict/{PAIR}").json["version"] == worse.version
        (tmp_path / "direction" / good / "model.onnx").write_bytes(b"nothing")
        damaged = run("activate", "direction", good, "--force")
        assert damaged.exit_code == 1
        assert "cannot serve" in damaged.output
        listed = json.loads(run("list", "--json").output)["models"]
        assert [each["version"] for each in listed if each["active"]] == [worse.version]


PROMOTER = """
import sys
from pathlib import Path
from shivx.ml.registry import Registry
from tests.model_stage import manifest_of, model_bytes
def judge():
    print("judging", flush=True)
    sys.stdin.readline()
    return True, "better"
model = model_bytes((0.2, 0.2, 0.6))
Registry(Path(sys.argv[1])).add(manifest_of("direction", model), model, judge)
"""


def while_another_is_promoted(folder: Path, call: Callable[[], Any]) -> Any:
    """Return what *call*, which promotes as well, returns: it comes while another process is about to."""
    with subprocess.Popen(
        [sys.executable, "-c", PROMOTER, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "judging\n"
        waiting = f"-> FLOCK  ADVISORY  WRITE {os.getpid()} "
        ours = begin(call)
        until(lambda: waiting in Path("/proc/locks").read_text() or ours.done(), "it waits", TRAINED)
        print("go on", file=other.stdin, flush=True)
        found = ours.result(TRAINED)
    assert other.returncode == 0
    return found


def test_who_trains_is_judged_by_what_serves_when_he_is_done(tmp_path: Path) -> None:
    """Another process made the first version meanwhile: this one is not the first any more."""
    with open_site(settings_for(model_dir=tmp_path)) as site:
        made = while_another_is_promoted(
            tmp_path, lambda: train(site.services, "direction", "simulated", [PAIR])
        )
        assert made["reason"] != "it is the first"
        assert len(Registry(tmp_path).versions("direction")) == 2


def test_who_activates_is_judged_by_what_serves_then(tmp_path: Path) -> None:
    """Better than what served when the command began, and not than what serves since."""
    registry = Registry(tmp_path)
    versions = []
    for loss, share in ((1.08, 0.4), (1.05, 0.5)):
        model = model_bytes((0.3, 0.3, share))
        manifest = manifest_of("direction", model, metrics={"log_loss": loss, "accuracy": 0.4})
        registry.add(manifest, model)
        versions.append(manifest.version)
    registry.point_to("direction", versions[0])
    with open_site(settings_for(model_dir=tmp_path)) as site:
        app = create_app(site.services.settings)
        words = ["ml", "activate", "direction", versions[1]]
        done = while_another_is_promoted(tmp_path, lambda: app.test_cli_runner().invoke(args=words))
        services_of(app).close()
    assert done.exit_code == 1
    assert "is not better than the active version's 1.00000" in done.output


TRAINER = """
import os, sys
sys.argv[0] = "trainer"
print("a library's remark")
print("[1]")
print('{"progress": 0.5, "step": "x"}')
print('{"library": "says this"}')
%s
"""


def all_of(terminal: int) -> str:
    """Read what was written to *terminal*, to its end, and close it: one read may bring a part."""
    parts = []
    with os.fdopen(terminal, "rb", buffering=0) as read, contextlib.suppress(OSError):  # how its end is told
        while part := read.read(100_000):
            parts.append(part)
    return b"".join(parts).decode()


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ('print(\'{"error": "too few candles"}\'); sys.exit(1)', "too few candles"),
        ("os.kill(os.getpid(), 9)", "the training ended without a result"),
    ],
)
def test_a_training_that_fails_does_not_look_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, said: str
) -> None:
    """The bar stays where it was, what is no word of the trainer's is passed on, and the status is 1."""
    folder = tmp_path / "shivx" / "ml"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "__init__.py").touch()
    (folder / "train.py").write_text(TRAINER % end)
    monkeypatch.setattr(commands, "SOURCE_ROOT", tmp_path)
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    master, slave = pty.openpty()
    with (
        os.fdopen(slave, "w") as terminal,
        contextlib.redirect_stderr(terminal),
        pytest.raises(click.ClickException, match=said),
    ):
        commands.train("direction", None, None, force=False, as_json=False)
    shown = all_of(master)
    assert "50%" in shown
    assert "100%" not in shown
    assert "a library's remark" in shown
    assert '{"library": "says this"}' in shown


def test_features_of_another_definition_have_another_version() -> None:
    """Another period, output, scale or order: what was trained on the one is not asked with the other."""
    spec, output, scale = SPECS["rsi"]
    others = [
        {**SPECS, "rsi": ("rsi:15", output, scale)},
        {**SPECS, "rsi": (spec, "other", scale)},
        {**SPECS, "rsi": (spec, output, "of the price")},
        dict(reversed(SPECS.items())),
    ]
    assert version_of(dict(SPECS)) == FEATURES_VERSION
    assert len({FEATURES_VERSION, *map(version_of, others)}) == 1 + len(others)
