"""``/api/ml``: the models, and what they say of pairs."""

from __future__ import annotations

import math

from flask import Blueprint, Response, current_app, jsonify, request, url_for
from msgspec import to_builtins

from blueprints.answers import answer, as_asked, broken_batch
from blueprints.asked import pairs, text
from blueprints.audited import audited_change, record
from blueprints.parameters import Query
from blueprints.problems import batch_status, problem
from blueprints.rights import requires
from cache_ext import CachePolicy, Outcome
from shivx.accounts.offload import off_hub
from shivx.audit.events import Outcome as Recorded
from shivx.errors import ModelUnavailable, UnknownPair
from shivx.identity import Tier
from shivx.jobs.record import Job
from shivx.ml.kinds import MODELS
from shivx.ml.rendering import render_models, render_prediction
from shivx.render import render_batch
from shivx.services import Answer
from shivx.services.predictions import DEFAULT
from shivx.wiring import Services, services_of

ml = Blueprint("ml", __name__, url_prefix="/api/ml")
admins_only = requires(Tier.ADMIN, scope="admin")

LISTING = CachePolicy(ttl=1, name="model_listing")
"""Versions come and go by commands too, of which no process is told."""


PAIRS = pairs()
MODEL = text("model", f"`direction`, `volatility` or `ensemble`; `{DEFAULT}` if left out.", example=DEFAULT)


def _services() -> Services:
    return services_of(current_app)


@ml.get("/models")
def list_models() -> Response:
    """Return all versions of all models, how good they are, and which of them answer."""
    Query(request.environ).finish()
    predictions = _services().predictions
    serving: dict[str, str | None] = {}
    for name in MODELS:
        try:
            serving[name] = predictions.version(name)
        except ModelUnavailable:
            serving[name] = None
    registry = predictions.sessions.registry
    body = render_models(off_hub(lambda: {name: registry.versions(name) for name in MODELS}), serving)
    return answer(body, Answer(None, Outcome.HIT, 0.0, math.inf), LISTING)


@ml.get("/predict/<pair>")
def get_prediction(pair: str) -> Response:
    """Return what a model says of a pair."""
    services = _services()
    with Query(request.environ) as query:
        name = query.pair(pair)
        model = MODEL.read(query) or DEFAULT
        source = query.source(services.market.sources)
    found = services.predictions.predictions(source, [name], model)[name]
    if isinstance(found, Exception):
        raise found
    body = render_prediction(found.fact, source=source, stale=found.stale)
    return answer(body, found, services.policies.predictions)


@ml.get("/predictions")
def get_predictions() -> Response:
    """Return what a model says of up to 100 pairs, and what went wrong with the others."""
    services = _services()
    with Query(request.environ) as query:
        named = PAIRS.read(query)
        model = MODEL.read(query) or DEFAULT
        source = query.source(services.market.sources)
    found = services.predictions.predictions(source, named, model)
    asked = {pair: as_asked(result) for pair, result in found.items()}
    served = {pair: result for pair, result in asked.items() if not isinstance(result, Exception)}
    failed = {pair: result for pair, result in asked.items() if isinstance(result, Exception)}
    items = {
        pair: render_prediction(result.fact, source=source, stale=result.stale)
        for pair, result in served.items()
    }
    errors = {pair: problem(error, "pairs") for pair, error in failed.items()}
    body, freshness = render_batch("predictions", items, errors), Answer.of(None, served.values())
    if served and all(isinstance(error, UnknownPair) for error in failed.values()):
        return answer(body, freshness, services.policies.predictions)
    return broken_batch(body, freshness, failed.values(), batch_status(len(items), errors.values()))


@ml.post("/models/<name>/retrain")
@admins_only
def retrain_model(name: str) -> Response:
    """Train a model in a process of its own; the answer says where to see how far it is."""
    Query(request.environ).finish()
    with audited_change("models.train", name):
        job = _services().retraining.start(name)
    response = _told(job)
    response.status_code = 202
    response.headers["Location"] = url_for("ml.get_job", job=job.id)
    return response


@ml.get("/jobs/<job>")
@admins_only
def get_job(job: str) -> Response:
    """Return how far a training is, what it found, or why it failed."""
    Query(request.environ).finish()
    found = _services().launcher.jobs.get(job)
    record("admin.read", Recorded.READ)
    return _told(found)


@ml.delete("/jobs/<job>")
@admins_only
def cancel_job(job: str) -> Response:
    """Cancel a training unless it has ended, or is putting its version in place; return what became of it."""
    Query(request.environ).finish()
    with audited_change("models.cancel", job):
        return _told(_services().launcher.jobs.cancel(job))


def _told(job: Job) -> Response:
    response = jsonify(to_builtins(job))
    response.headers["Cache-Control"] = "no-store"
    return response
