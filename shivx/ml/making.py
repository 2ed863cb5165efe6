"""How a version of a model is made: candles, rows, LightGBM, ONNX, judgement, and whether it is to serve."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import numpy as np

from shivx.errors import ModelUnavailable, ShivxError
from shivx.indicators.prices import Floats
from shivx.ml.dataset import AHEAD, Rows, rows_of, split
from shivx.ml.export import to_onnx
from shivx.ml.features import FEATURES_VERSION, LENGTH, NAMES, TIMEFRAME, matrix
from shivx.ml.judging import prior_of, scores, verdict
from shivx.ml.kinds import MODELS
from shivx.ml.manifest import Manifest
from shivx.ml.sessions import OpenModel, Sessions
from shivx.ml.training import learn
from shivx.models import Candle, Pair
from shivx.wiring import Services

CANDLES = 3000
"""Of each pair: a third of a year, which simulated and real exchanges can give at least in part."""
LEAST_ROWS = 500

Tell = Callable[[float, str], None]
"""Takes the share that is done, 0 to 1, and what is done next."""


class TooLittle(ShivxError):
    """There is not enough to learn from."""


def train(
    services: Services,
    name: str,
    source: str,
    pairs: list[Pair],
    *,
    force: bool = False,
    tell: Tell = lambda share, step: None,
    settle: Callable[[], None] = lambda: None,
) -> dict[str, object]:
    """Train the model *name* on what *source* gives of *pairs*; return what became of it.

    Args:
        force: let the version serve even if it is no better.
        tell: called as it goes on.
        settle: called before anything is kept; what it raises ends the training without a trace.
    Raises:
        TooLittle: there are too few candles.
        ShivxError: the source gives none.
    """
    candles = {}
    for number, pair in enumerate(pairs):
        tell(round(0.6 * number / len(pairs), 3), f"candles of {pair}")
        candles[pair] = _candles(services, source, pair)
    tell(0.6, "learning")
    learning, held_out = _rows(name, source, candles)
    model = to_onnx(learn(learning, len(MODELS[name].classes)).dump_model())
    tell(0.9, "judging")
    manifest = _judged(name, model, learning, held_out, source, pairs)
    sessions = services.predictions.sessions
    settle()

    def judge() -> tuple[bool, str]:
        loss, prior = manifest.metrics["log_loss"], manifest.prior["log_loss"]
        active = _active_loss(sessions, name, held_out)
        return verdict(loss, prior, active, force=force, first=sessions.registry.is_empty(name))

    chosen, reason = sessions.registry.add(manifest, model, judge)
    if chosen:
        services.events.emit("model_retrained", {"model": name})
    return {
        "version": manifest.version,
        "activated": chosen,
        "reason": reason,
        "metrics": manifest.metrics,
        "prior": manifest.prior,
        "beats_naive": manifest.beats_naive,
    }


def _rows(name: str, source: str, candles: Mapping[Pair, tuple[Candle, ...]]) -> tuple[Rows, Rows]:
    """Return what is learnt from, and what is held out."""
    if not any(candles.values()):
        raise TooLittle(f"{source} has no candles of {', '.join(candles)}")
    learning, held_out = split(rows_of(name, {pair: each for pair, each in candles.items() if each}, matrix))
    if min(len(learning.times), len(held_out.times)) < LEAST_ROWS // 4 or len(learning.times) < LEAST_ROWS:
        raise TooLittle(f"{len(learning.times)} and {len(held_out.times)} rows are too few")
    return learning, held_out


def _candles(services: Services, source: str, pair: Pair) -> tuple[Candle, ...]:
    until = services.candles.closed_until(TIMEFRAME)
    since = until - CANDLES * LENGTH
    return services.candles.candles(source, pair, TIMEFRAME, since, until, closed=True).fact.candles.candles


def _judged(
    name: str, model: bytes, learning: Rows, held_out: Rows, source: str, pairs: list[Pair]
) -> Manifest:
    """Return the manifest of *model*, judged by what it had not seen."""
    kind = MODELS[name]
    digest = hashlib.sha256(model).hexdigest()
    until = int(held_out.times[-1]) + (1 + AHEAD) * LENGTH
    ended = datetime.fromtimestamp(until / 1000, UTC)
    prior = prior_of(learning.classes, len(kind.classes))
    manifest = Manifest(
        name=name,
        version=f"{ended:%Y%m%dT%H%M%SZ}-{digest[:8]}",
        kind=name,
        classes=kind.classes,
        horizon_seconds=kind.horizon_seconds,
        features_version=FEATURES_VERSION,
        feature_names=NAMES,
        trained_at=time.time(),
        data_from=int(learning.times[0]) / 1000,
        data_until=until / 1000,
        source=source,
        pairs=tuple(pairs),
        rows={"train": len(learning.times), "held_out": len(held_out.times)},
        metrics={},
        prior=scores(np.tile(prior, (len(held_out.times), 1)), held_out.classes),
        beats_naive=False,
        moves=tuple(_mean_move(learning, number) for number in range(len(kind.classes))),
        model_sha256=digest,
        model_bytes=len(model),
    )
    return manifest.judged(_scores(OpenModel(manifest, model), held_out))


def _active_loss(sessions: Sessions, name: str, held_out: Rows) -> float | None:
    """Return the log-loss of the version that serves now on the same rows; None if none can."""
    try:
        opened = sessions.opened(name, sessions.serving(name))
    except ModelUnavailable:
        return None
    return _scores(opened, held_out)["log_loss"]


def _scores(opened: OpenModel, rows: Rows) -> dict[str, float]:
    probabilities: Floats = np.array(opened.predict(rows.features), np.float64)
    return scores(probabilities, rows.classes)


def _mean_move(rows: Rows, number: int) -> float:
    mine = rows.moves[rows.classes == number]
    return float(mine.mean()) if len(mine) else 0.0
