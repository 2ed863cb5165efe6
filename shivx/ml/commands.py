"""``flask ml``: train models, list their versions, choose which one serves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import click
from flask import current_app
from flask.cli import AppGroup

from shivx.errors import ModelUnavailable, UnknownModel
from shivx.ml.judging import verdict
from shivx.ml.kinds import MODELS
from shivx.ml.manifest import DamagedModel
from shivx.ml.registry import RegistryUnavailable
from shivx.ml.rendering import render_models
from shivx.ml.sessions import Sessions
from shivx.wiring import services_of

SOURCE_ROOT = Path(__file__).resolve().parents[2]
PERCENT = 100
WORDS = {"progress", "result", "error"}
"""One of which is in each line of the process that trains."""


def model_commands() -> AppGroup:
    """Return the group of commands."""
    group = AppGroup("ml", help="Train models, list their versions, choose which one serves.")
    for name, command in (("train", train), ("list", list_versions), ("activate", activate)):
        group.command(name)(command)
    return group


@click.argument("name", type=click.Choice([*MODELS]))
@click.option("--source", help="Where the candles come from; the default source if not given.")
@click.option("--pairs", help="A,B,…; SHIVX_WARM_PAIRS if not given.")
@click.option("--force", is_flag=True, help="Let it serve even if it is no better.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def train(name: str, source: str | None, pairs: str | None, force: bool, as_json: bool) -> None:
    """Train a model in a process of its own; it serves if it is the first, or better."""
    given = [("--source", source), ("--pairs", pairs)]
    words = [word for option, value in given if value for word in (option, value)]
    words += ["--force"] if force else []
    last: Mapping[str, object] = {}
    with (
        subprocess.Popen(  # noqa: S603 (this program, with words that click has read)
            [sys.executable, "-m", "shivx.ml.train", name, *words],
            env={**os.environ, "PYTHONPATH": str(SOURCE_ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
        click.progressbar(length=PERCENT, label=f"training {name}", file=sys.stderr) as bar,
    ):
        for line in process.stdout or ():
            if (told := _heard(line)) is None:
                click.echo(line, nl=False, err=True)  # of a library, perhaps: whoever trains may know it
                continue
            last = told
            done = 1.0 if "result" in told else told.get("progress")
            if isinstance(done, float):
                bar.update(int(done * PERCENT) - bar.pos)
    result = last.get("result")
    if not isinstance(result, dict):
        raise click.ClickException(str(last.get("error", "the training ended without a result")))
    click.echo(json.dumps(result) if as_json else _told(result))


@click.option("--json", "as_json", is_flag=True, help="Print what GET /api/ml/models answers.")
def list_versions(as_json: bool) -> None:
    """List all versions, how good they are, and which of them serve."""
    sessions = services_of(current_app).predictions.sessions
    registry = sessions.registry
    serving = {name: _serving(sessions, name) for name in MODELS}
    found = render_models({name: registry.versions(name) for name in MODELS}, serving)
    if as_json:
        click.echo(found)
        return
    for each in json.loads(found)["models"]:
        if each["version"] is None:
            click.echo(f"  {each['name']:<10}  not trained yet")
            continue
        loss, prior = each["metrics"]["log_loss"], each["prior"]["log_loss"]
        mark = "*" if each["active"] else " "
        click.echo(f"{mark} {each['name']:<10}  {each['version']}  log-loss {loss:.5f}, prior {prior:.5f}")


@click.argument("name", type=click.Choice([*MODELS]))
@click.argument("version")
@click.option("--force", is_flag=True, help="Even if it is no better than the one that serves.")
def activate(name: str, version: str, force: bool) -> None:
    """Let a version serve from now on, if it is better by what is known of both."""
    services = services_of(current_app)
    sessions = services.predictions.sessions
    try:
        chosen, reason = sessions.registry.point_to(
            name, version, lambda: _judged(sessions, name, version, force=force)
        )
        if not chosen:
            raise click.ClickException(f"{version} does not serve: {reason}")
    except (DamagedModel, UnknownModel, RegistryUnavailable) as error:
        raise click.ClickException(f"{version} of {name} cannot serve: {error}") from None
    services.events.emit("model_retrained", {"model": name})
    click.echo(f"{version} of {name} serves: {reason}")


def _heard(line: str) -> Mapping[str, object] | None:
    """Return what the process that trains says in a line; None if it is something else that was printed."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) and told.keys() & WORDS else None


def _judged(sessions: Sessions, name: str, version: str, *, force: bool) -> tuple[bool, str]:
    registry = sessions.registry
    serving = _serving(sessions, name)
    new = registry.manifest(name, version)
    alone = serving is None or serving == version
    active = None if serving is None or alone else registry.manifest(name, serving).metrics["log_loss"]
    loss, prior = new.metrics["log_loss"], new.prior["log_loss"]
    return verdict(loss, prior, active, force=force, first=alone)


def _serving(sessions: Sessions, name: str) -> str | None:
    try:
        return sessions.serving(name)
    except ModelUnavailable:
        return None


def _told(result: dict[str, object]) -> str:
    return f"{result['version']} {'serves' if result['activated'] else 'does not serve'}: {result['reason']}"
