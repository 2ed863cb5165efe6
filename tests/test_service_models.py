"""Models of the running service: two instances of two workers on one Redis and one folder of models."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.model_stage import activate
from tests.monitored import commands_during
from tests.servers import RunningServer
from tests.service import GunicornService
from tests.traffic import at_once, until_all_serve
from tests.waiting import until

pytestmark = pytest.mark.service

WORKERS = 2
CROWD = 8 * WORKERS  # at once, so that every worker answers some
BOUND = 1.0 + 9.0  # seconds: the staleness bound, and slack: a worker loads onnxruntime, on a busy machine
PATH = "/api/ml/predict/{}?model=direction"
ASKED = "ETH-USDC"
PAIRS = ("BTC-USDC", "ETH-USDC", "SOL-USDC", "BTC-EUR", "ETH-EUR")


@dataclass
class Fleet:
    """Two instances, as two hosts have them, what they share, and a key of a service account."""

    one: GunicornService
    other: GunicornService
    server: RunningServer
    models: Path
    key: str

    def retrained(self) -> Any:
        """Tell one instance that the model of the direction was retrained."""
        headers = {"X-API-Key": self.key, "Content-Type": "application/json"}
        body = json.dumps({"type": "model_retrained", "model": "direction"}).encode()
        answer = self.one.send("POST", "/api/events", body, headers)
        assert answer.status == 202, answer.body
        return json.loads(answer.body)["invalidated"]

    def versions(self, model: str) -> set[str]:
        """Ask all workers of both what *model* says; return which versions answer."""
        path = f"/api/ml/predict/{ASKED}?model={model}"
        answers = [answer for each in (self.one, self.other) for answer in at_once(each, path, CROWD)]
        assert {answer.status for answer in answers} == {200}, answers[0].body
        return {json.loads(answer.body)["version"] for answer in answers}

    def said(self, pair: str) -> set[tuple[str, str]]:
        """Ask all workers of both; return which versions answer, and with which class."""
        answers = [
            answer for each in (self.one, self.other) for answer in at_once(each, PATH.format(pair), CROWD)
        ]
        assert {answer.status for answer in answers} == {200}, answers[0].body
        bodies = [json.loads(answer.body) for answer in answers]
        return {(body["version"], body["prediction"]) for body in bodies}


@pytest.fixture(scope="module")
def fleet(module_redis_server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The fleet, without a model at first; predictions live long enough to be stale if nobody ends them."""
    models = tmp_path_factory.mktemp("models")
    env = {
        "SHIVX_REDIS_URL": module_redis_server.url,
        "SHIVX_SECRET_KEYS": "one-secret-of-both-instances-long-enough",
        "SHIVX_DATABASE_URL": f"sqlite:///{tmp_path_factory.mktemp('accounts')}/shivx.db",
        "SHIVX_CACHE_WARMING_ENABLED": "false",
        "SHIVX_CACHE_ML_PREDICTION_TTL": "600",
        "SHIVX_MODEL_DIR": str(models),
    }
    with (
        GunicornService(workers=WORKERS, env=env) as one,
        GunicornService(workers=WORKERS, env=env) as other,
    ):
        for words in (("create", "trainer", "--tier", "service"), ("keys", "create", "trainer")):
            done = one.run("flask", "--app", "wsgi", "accounts", *words)
            assert done.returncode == 0, done.stderr
        yield Fleet(one, other, module_redis_server, models, done.stdout.strip())


def test_a_promoted_version_answers_everywhere_and_never_the_old_one_again(fleet: Fleet) -> None:
    """Before the first there is 503; the second answers within the bound, from workers born later too."""
    none = fleet.one.get(PATH.format("SOL-USDC"))
    assert (none.status, json.loads(none.body)["code"]) == (503, "model_unavailable")
    assert int(none.headers["Retry-After"]) >= 1
    first = activate(fleet.models, "direction", (0.1, 0.2, 0.7))
    for pair in PAIRS:
        assert fleet.said(pair) == {(first, "up")}
    second = activate(fleet.models, "direction", (0.8, 0.1, 0.1), "20260202T000000Z")
    assert fleet.said("SOL-USDC") == {(first, "up")}
    assert fleet.retrained() == ["model:direction"]
    until(lambda: fleet.said("SOL-USDC") == {(second, "down")}, "all workers answer with the new one", BOUND)
    for pair in PAIRS:
        assert fleet.said(pair) == {(second, "down")}
    for pid in fleet.other.worker_pids():
        os.kill(pid, signal.SIGKILL)
    until_all_serve(fleet.other, WORKERS)
    assert fleet.said("SOL-USDC") == {(second, "down")}


def test_a_cached_batch_is_one_read_as_the_server_saw_it(fleet: Fleet) -> None:
    """A worker of the other instance names all its predictions in one MGET, and none in another command."""
    pairs = [pair for pair in PAIRS if pair != ASKED]
    path = "/api/ml/predictions?pairs={}&model=direction"
    new = activate(fleet.models, "direction", (0.2, 0.6, 0.2), "20260303T000000Z")
    fleet.retrained()
    until(lambda: fleet.versions("direction") == {new}, "all workers answer with it", BOUND)
    first = path.format(",".join(pairs))
    until(lambda: fleet.one.get(first).headers["X-Cache"] == "HIT", "the batch is kept", BOUND)
    again = path.format(",".join(reversed(pairs)))
    answer, commands = commands_during(fleet.server.url, lambda: fleet.other.get(again))
    assert answer.headers["X-Cache"] == "HIT"
    assert json.loads(answer.body)["predictions"].keys() == set(pairs)
    (reading,) = [command for command in commands if ":v:prediction:" in command]
    assert reading.startswith("MGET ")
    assert reading.count(":v:prediction:") == len(pairs)


def test_a_model_trained_beside_the_service_answers_everywhere(fleet: Fleet) -> None:
    """The process that trains reads the service's own candles, judges, activates, and tells all instances."""
    words = ("ml", "train", "volatility", "--pairs", "BTC-USDC", "--json")
    done = fleet.one.run("flask", "--app", "wsgi", *words)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["activated"] is True
    assert result["beats_naive"] == (result["metrics"]["log_loss"] < result["prior"]["log_loss"])
    until(lambda: fleet.versions("volatility") == {result["version"]}, "all workers answer with it", BOUND)
    again = fleet.other.run("flask", "--app", "wsgi", *words, "--force")
    assert again.returncode == 0, again.stderr
    forced = json.loads(again.stdout.splitlines()[-1])
    assert (forced["activated"], forced["reason"]) == (True, "it was forced")
    until(lambda: fleet.versions("volatility") == {forced["version"]}, "all workers answer with it", BOUND)
