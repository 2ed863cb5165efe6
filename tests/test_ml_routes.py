"""The routes of predictions: what models say, which version says it, and what is kept of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from cache_ext.testing import FakeClock
from shivx.ml.features import FEATURES_VERSION
from shivx.ml.registry import Registry
from shivx.ml.sessions import OpenModel
from tests.caches import connected
from tests.market_stage import ScriptedExchange, Site, down, open_site, scripted_site, settings_for
from tests.model_stage import activate

UP = (0.1, 0.2, 0.7)
DOWN = (0.6, 0.3, 0.1)
WILD = (0.25, 0.25, 0.5)
LATER = "20260202T000000Z"
PATH = "/api/ml/predict/BTC-USDC"
BATCH = "/api/ml/predictions?pairs=BTC-USDC,ETH-USDC,SOL-USDC"


@pytest.fixture
def site(clock: FakeClock, tmp_path: Path) -> Iterator[Site]:
    """The application with both models trained."""
    activate(tmp_path, "direction", UP)
    activate(tmp_path, "volatility", WILD)
    with scripted_site(clock, model_dir=tmp_path) as opened:
        yield opened


def models_of(site: Site) -> Registry:
    """Return the site's registry."""
    return site.services.predictions.sessions.registry


def test_a_prediction_has_the_fields_of_the_contract(site: Site) -> None:
    """Class, confidence, probabilities, expected move, and which version of which model says so."""
    body = site.get("/api/ml/predict/btc-usdc").json
    assert body.keys() == {
        *("pair", "model", "version", "prediction", "confidence", "probabilities"),
        *("expected_move_percent", "horizon_seconds", "beats_naive", "candles_until"),
        *("source", "as_of", "received_at", "stale"),
    }
    assert (body["pair"], body["model"], body["prediction"]) == ("BTC-USDC", "direction", "up")
    assert body["version"] == models_of(site).active("direction")
    assert body["probabilities"] == pytest.approx({"down": 0.1, "flat": 0.2, "up": 0.7}, abs=1e-6)
    assert body["confidence"] == pytest.approx(0.7, abs=1e-6)
    assert body["expected_move_percent"] == pytest.approx(0.6, abs=1e-6)
    assert site.get(PATH).headers["X-Cache"] == "HIT"


def test_the_ensemble_trusts_its_direction_less_in_a_wild_market(site: Site) -> None:
    """Its confidence is that of the direction times the probability that the market is not wild."""
    alone, both = site.get(PATH).json, site.get(f"{PATH}?model=ensemble").json
    assert both["confidence"] == pytest.approx(0.7 * 0.5, abs=1e-6)
    assert both["version"] == "+".join(
        str(models_of(site).active(name)) for name in ("direction", "volatility")
    )
    same = alone.keys() - {"model", "version", "confidence"}
    assert {name: both[name] for name in same} == {name: alone[name] for name in same}


def test_the_list_says_which_version_answers_and_how_good_it_is(site: Site, tmp_path: Path) -> None:
    """Beside each metric stands that of the naive prior."""
    old = models_of(site).active("direction")
    new = activate(tmp_path, "direction", DOWN, LATER)
    site.services.events.emit("model_retrained", {"model": "direction"})
    listed = site.get("/api/ml/models").json["models"]
    mine = [each for each in listed if each["name"] == "direction"]
    assert [(each["version"], each["active"]) for each in mine] == [(new, True), (old, False)]
    assert (mine[0]["metrics"]["log_loss"], mine[0]["prior"]["log_loss"]) == (1.0, 1.1)
    assert mine[0]["classes"] == ["down", "flat", "up"]


def test_before_the_first_training_one_is_asked_to_come_again(clock: FakeClock, tmp_path: Path) -> None:
    """503 with Retry-After, for one pair and for many; the list names the models all the same."""
    with scripted_site(clock, model_dir=tmp_path) as site:
        for path in (PATH, BATCH, f"{PATH}?model=ensemble"):
            answer = site.get(path)
            assert (answer.status_code, answer.json["code"]) == (503, "model_unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
        listed = site.get("/api/ml/models").json["models"]
        assert [(each["name"], each["version"]) for each in listed] == [
            ("direction", None),
            ("volatility", None),
        ]
        activate(tmp_path, "direction", UP)
        assert site.get(PATH).status_code == 200


def test_a_promoted_version_answers_after_its_event(site: Site, tmp_path: Path) -> None:
    """Until then the active version is one fact; the predictions of the other model stay."""
    volatility = f"{PATH}?model=volatility"
    site.get(PATH), site.get(volatility)
    new = activate(tmp_path, "direction", DOWN, LATER)
    assert site.get(PATH).json["prediction"] == "up"
    site.services.events.emit("model_retrained", {"model": "direction"})
    answer = site.get(PATH)
    assert (answer.json["version"], answer.json["prediction"]) == (new, "down")
    assert site.get(volatility).headers["X-Cache"] == "HIT"


def test_a_damaged_version_is_refused_while_the_old_one_answers(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file with another hash is not opened; the log says so once."""
    old = site.get(PATH).json["version"]
    new = activate(tmp_path, "direction", DOWN, LATER)
    place = tmp_path / "direction" / new / "model.onnx"
    place.write_bytes(place.read_bytes()[:-1] + b"!")
    for _ in range(2):
        site.services.events.emit("model_retrained", {"model": "direction"})
        assert site.get(PATH).json["version"] == old
    said = [record.message for record in caplog.records if "refused" in record.message]
    assert len(said) == 1
    assert new in said[0]
    assert "hash" in said[0]


def test_a_model_of_other_features_is_refused(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What it was trained on must be what it is asked with."""
    old = site.get(PATH).json["version"]
    new = activate(tmp_path, "direction", DOWN, LATER)
    place = tmp_path / "direction" / new / "manifest.json"
    place.write_text(place.read_text().replace(FEATURES_VERSION, "0" * 16))
    site.services.events.emit("model_retrained", {"model": "direction"})
    assert site.get(PATH).json["version"] == old
    assert any("other features" in record.message for record in caplog.records)


def test_a_trade_ends_the_predictions_of_its_pair_alone(site: Site) -> None:
    """Of several that were made together as well."""
    site.get(BATCH)
    site.services.events.emit("trade_executed", {"pair": "BTC-USDC", "source": "scripted"})
    assert site.get(PATH).headers["X-Cache"] == "MISS"
    for other in ("ETH-USDC", "SOL-USDC"):
        assert site.get(f"/api/ml/predict/{other}").headers["X-Cache"] == "HIT"


def test_a_batch_is_one_inference(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """All its pairs are asked at once, each model once."""
    calls: list[int] = []
    original = OpenModel.predict

    def predict(self: OpenModel, rows: Any) -> Any:
        calls.append(len(rows))
        return original(self, rows)

    site.get(f"{PATH}?model=ensemble")
    site.services.cache.clear()
    monkeypatch.setattr(OpenModel, "predict", predict)
    assert len(site.get(BATCH).json["predictions"]) == 3
    assert calls == [3]
    site.get(f"{BATCH}&model=ensemble")
    assert calls == [3, 3]


def test_a_cached_batch_is_one_round_trip(
    redis_url: str, namespace: str, clock: FakeClock, tmp_path: Path, trips: list[str]
) -> None:
    """Another process that knows the version gets all of them from Redis at once."""
    activate(tmp_path, "direction", UP)
    settings = settings_for(redis_url, cache_namespace=namespace, model_dir=tmp_path)
    with (
        open_site(settings, ScriptedExchange(clock)) as one,
        open_site(settings, ScriptedExchange(clock)) as other,
    ):
        for each in (one, other):
            each.services.candles._now = clock.time
        assert one.get(BATCH).status_code == 200
        connected(other.services.cache)
        other.get("/api/market/pairs")
        other.services.predictions.version("direction")
        trips.clear()
        answer = other.get("/api/ml/predictions?pairs=SOL-USDC,ETH-USDC,BTC-USDC")
        assert answer.headers["X-Cache"] == "HIT"
        assert trips.count("read") == 2, "the look for the whole answer, and the predictions"


def test_what_goes_wrong_with_a_pair_is_said_beside_the_others(site: Site) -> None:
    """An unknown pair is an item of `errors`, as in the batch of prices."""
    answer = site.get("/api/ml/predictions?pairs=BTC-USDC,NO-WAY")
    assert answer.status_code == 200
    assert answer.json["errors"]["NO-WAY"]["code"] == "unknown_pair"
    assert list(answer.json["predictions"]) == ["BTC-USDC"]
    assert site.get("/api/ml/predictions?pairs=NO-WAY").status_code == 404


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/ml/predict/NO-WAY", 404, "unknown_pair"),
        (f"{PATH}?model=oracle", 404, "unknown_model"),
        (f"{BATCH}&model=oracle", 404, "unknown_model"),
        ("/api/ml/predictions", 400, "invalid_request"),
        (f"{PATH}?horizon=1", 400, "invalid_request"),
        ("/api/ml/models?x=1", 400, "invalid_request"),
    ],
)
def test_what_cannot_be_answered_says_why(site: Site, path: str, status: int, code: str) -> None:
    """The problem names its kind."""
    answer = site.get(path)
    assert (answer.status_code, answer.json["code"]) == (status, code)


def test_when_the_exchange_fails_the_last_prediction_is_served_marked(site: Site, clock: FakeClock) -> None:
    """Who wants nothing stale, or never had one, gets 503."""
    clock.advance(3580.0 - clock.time() % 3600.0)
    first = site.get(PATH).json
    site.exchange.failure = down()
    clock.advance(60.0)
    again = site.get(PATH)
    assert again.status_code == 200
    assert (again.json["stale"], again.json["version"]) == (True, first["version"])
    assert site.get(PATH, headers={"Cache-Control": "stale-if-error=0"}).status_code == 503
    assert site.get("/api/ml/predict/ETH-USDC").status_code == 503


def test_predictions_are_counted_by_model_and_outcome(site: Site) -> None:
    """Each pair once, however it was asked for."""

    def counted(outcome: str) -> float:
        labels = {"model": "ensemble", "outcome": outcome}
        return REGISTRY.get_sample_value("ml_predictions_total", labels) or 0.0

    before = {outcome: counted(outcome) for outcome in ("miss", "hit", "error")}
    site.get(f"{PATH}?model=ensemble")
    site.get(f"{BATCH}&model=ensemble")
    site.get("/api/ml/predictions?pairs=BTC-USDC,NO-WAY&model=ensemble")
    found = {outcome: counted(outcome) - before[outcome] for outcome in before}
    assert found == {"miss": 3.0, "hit": 2.0, "error": 1.0}
